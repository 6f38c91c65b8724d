"""Fits in joblib's worker processes, which are started once for all tests of this file."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_speechsent import SpeechSentimentRegressor, make_sentiment_pipeline
from sklearn_speechsent.metrics import get_scorer
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
from sklearn_speechsent.training.net import UtteranceNet


@pytest.fixture(autouse=True, scope="module")
def no_workers_left(end_workers):
    """End the workers after the last test."""
    yield
    end_workers()


def assert_same_scores(search, other, atol):
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(search.cv_results_[name], other.cv_results_[name], atol=atol)


def test_a_search_over_steps_and_net(speech, tmp_path):
    pipeline = make_sentiment_pipeline(
        "1/2SREx-SEResNet-16 + C",
        weights=None,
        vad="passthrough",
        max_epochs=1,
        chunk_duration=0.3,
        batch_size=12,
        n_jobs=1,
        random_state=0,
        memory=str(tmp_path),
    )
    search = GridSearchCV(
        pipeline,
        [{"cmn__window": [None, 1.0]}, {"net__lr": [1e-2]}],
        scoring=get_scorer("neg_mean_absolute_error"),
        cv=StratifiedSpeakerKFold(2),
        n_jobs=2,
        error_score="raise",
    )
    search.fit(speech.data, speech.target, groups=speech.groups)
    assert len(search.cv_results_["params"]) == 3
    assert search.predict(speech.data[:2]).shape == (2,)
    alone = clone(search).set_params(n_jobs=None, refit=False)
    assert_same_scores(alone.fit(speech.data, speech.target, groups=speech.groups), search, 1e-5)


def test_a_search_has_a_file_for_each_fit(data, tmp_path, monkeypatch):
    X, y = data
    net = SpeechSentimentRegressor(max_epochs=1, batch_size=4, n_jobs=1, random_state=0)
    alone = GridSearchCV(
        net, {"lr": [1e-3, 1e-2]}, cv=2, scoring="neg_mean_absolute_error", error_score="raise"
    )
    search = clone(alone).set_params(estimator__resume=str(tmp_path), n_jobs=2).fit(X, y)
    assert_same_scores(search, alone.fit(X, y), 1e-5)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2 * 2 + 1 and {file.suffix for file in files} == {".fit"}

    def refuse(*args):
        raise AssertionError("a finished fit was trained again")

    monkeypatch.setattr(UtteranceNet, "train_step_single", refuse)
    again = clone(search).set_params(n_jobs=None).fit(X, y)
    assert_same_scores(again, search, 0)
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert sorted(tmp_path.iterdir()) == files
