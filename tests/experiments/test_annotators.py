import json

import numpy as np
import pytest

from experiments import annotators
from sklearn_speechsent.datasets import count_votes

LEVELS = [-1, 0, 1]


def test_annotators_choose_as_often_as_they_should():
    index = np.repeat([0, 1, 2], 4000)
    ratings = annotators.draw_ratings(index, LEVELS, seed=0)
    expected = annotators.confusions(LEVELS)
    np.testing.assert_allclose(expected.sum(axis=2), 1)
    assert expected[1, 1, 0] == pytest.approx(0.338, abs=0.001)  # bias -.25, deviation .6
    for place in range(3):
        shares = count_votes(ratings[index == place], LEVELS).mean() / len(annotators.ANNOTATORS)
        np.testing.assert_allclose(shares, expected.mean(axis=0)[place], atol=0.02)


def test_the_distribution_itself_has_no_error():
    index = np.arange(30) % 3
    perfect = annotators.confusions(LEVELS).mean(axis=0)[index]
    scores = annotators.score(perfect, index, LEVELS)
    assert scores["distribution"] == pytest.approx(0) and scores["qwk"] == 1 < 1 + scores["truth"]


def test_end_to_end(manifest, tmp_path):
    out = tmp_path / "a.json"
    arguments = ["--corpus", str(manifest), "--system", "small", "--n-folds", "2", "--seeds", "2"]
    assert annotators.main([*arguments, "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert len(document["rows"]) == 9 and not document["failed"]
    assert all(len(each["distribution"]) == 2 for each in document["rows"].values())
    assert "| logistic | majority vote |" in out.with_suffix(".md").read_text()
    n = len(list((tmp_path / "a_folds").glob("*.json")))
    assert annotators.main([*arguments, "--out", str(out)]) == 0  # read, not computed
    assert len(list((tmp_path / "a_folds").glob("*.json"))) == n == 16
