import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import trust
from experiments._harness.corpus import load_corpus
from sklearn_speechsent import OrdinalClassifier, OrdinalVotingClassifier
from sklearn_speechsent.pipeline import make_sentiment_pipeline


@pytest.fixture
def corpus(manifest, monkeypatch):
    found = load_corpus(str(manifest))
    levels = replace(found, y=np.rint(found.y).astype(int))
    monkeypatch.setattr(trust, "load_corpus", lambda name: levels)
    return levels


def test_end_to_end(corpus, tmp_path):
    out = tmp_path / "t.json"
    arguments = ["--out", str(out), "--systems", "constant,small", "--n-folds", "2"]
    arguments += ["--draws", "2", "--speakers", "1"]
    assert trust.main(arguments) == 0
    document = json.loads(out.read_text())
    assert [row["method"] for row in document["calibration"]] == [*trust.METHODS] * 2
    kinds = [(row["system"], row["kind"], row["draw"]) for row in document["sets"]]
    systems = ("constant", "small")
    assert kinds == [
        (system, kind, draw)
        for kind, draws in ((1, 2), (trust.BASE, 2), (trust.PLUS, 1))
        for draw in range(draws)
        for system in systems
    ]
    for row in document["sets"]:
        assert 0 <= row["sets"]["coverage"] <= 1 <= row["sets"]["size"] <= 3
        assert row["guaranteed"]["coverage"] == 1  # of so few speakers
    assert out.with_suffix(".png").stat().st_size > 1000
    table = out.with_suffix(".md").read_text()
    assert "| small | folds, CV+ | 1 |" in table and "| constant | 1 | 2 |" in table
    files = set((tmp_path / "t_folds").iterdir())
    assert trust.main(arguments) == 0
    assert set((tmp_path / "t_folds").iterdir()) == files  # read, not computed


def test_large_on_its_table_is_large_on_recordings(corpus, speech):
    members = [
        (name, make_sentiment_pipeline("small", vad="passthrough", n_jobs=1, net__C=C))
        for name, C in (("a", 1.0), ("b", 10.0))
    ]
    whole = make_sentiment_pipeline("small").set_params(
        steps=[("net", OrdinalVotingClassifier(members, weights=[1, 2]))]
    )
    table, rest = trust.tabled(whole, corpus.X)
    expected = whole.fit(corpus.X, corpus.y).predict_proba(corpus.X)
    np.testing.assert_allclose(rest.fit(table, corpus.y).predict_proba(table), expected, atol=1e-6)


def test_what_was_learned_is_taken_over_for_the_same_rows_only(rng):
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    first = trust.Remembered().fit(X, y)
    assert trust.Remembered().fit(X, y).estimators_ is first.estimators_
    for other in (trust.Remembered(C=1.0).fit(X, y), trust.Remembered().fit(X[1:], y[1:])):
        assert other.estimators_ is not first.estimators_
    np.testing.assert_array_equal(
        OrdinalClassifier().fit(X, y).predict_proba(X), first.predict_proba(X)
    )


def test_labels_between_levels_are_refused(manifest, tmp_path, capsys):
    out = tmp_path / "t.json"
    assert trust.main(["--corpus", str(manifest), "--out", str(out), "--systems", "constant"]) == 2
    assert "labels between levels" in capsys.readouterr().err
