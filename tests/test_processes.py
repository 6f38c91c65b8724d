"""Light work in joblib's worker processes, which are started once for all tests of this file."""

import pickle
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent import (
    FeatureStore,
    MelFilterBank,
    OrdinalClassifier,
    SlidingCMN,
    make_sentiment_pipeline,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.metrics import get_scorer

LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True, scope="module")
def no_workers_left(end_workers):
    """End the workers after the last test."""
    yield
    end_workers()


@pytest.fixture
def paths(tmp_path):
    """12 recordings of a quarter of a second, none as long as another."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "recordings"
    folder.mkdir()
    paths = [str(folder / f"{number:02d}.wav") for number in range(12)]
    for number, path in enumerate(paths):
        soundfile.write(path, rng.normal(0, 0.05, 3000 + 20 * number), 16000)
    return paths


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def assert_tidy(store):
    """No file is damaged, and no temporary file is left."""
    assert store.check().empty
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}


# -- features in a store ---------------------------------------------------------------------------


def test_the_backend_that_was_chosen_computes(paths, store):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        frames = MelFilterBank(memory=store).fit_transform(paths)
    expected = MelFilterBank().fit_transform(paths)
    for utterance, right in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(utterance, right)
    assert store.summary().set_index("step").loc["mfb", "utterances"] == len(paths)
    assert_tidy(store)


class LoggingBank(MelFilterBank):
    """Writes down which recordings are decoded, in whatever process."""

    def _function(self, rows):
        return partial(_log, super()._function(rows))


def _log(function, recordings):
    recordings = list(recordings)
    with open(Path(recordings[0].source).parent / "decoded.log", "a") as file:
        file.writelines(f"{Path(recording.source).name}\n" for recording in recordings)
    return function(recordings)


def two_steps(bank, memory):
    return make_pipeline(bank, SlidingCMN(0.1, memory=memory), FrameStatistics(), RidgeClassifier())


@pytest.mark.parametrize("fitted", [False, True])
def test_a_search_decodes_each_recording_once(paths, store, fitted):
    """Also one that is given a fitted estimator from a pickle, which is cloned."""
    model = two_steps(LoggingBank(memory=store), store)
    if fitted:
        model = pickle.loads(pickle.dumps(model.fit(paths, LABELS)))
    search = partial(GridSearchCV, param_grid={"slidingcmn__window": [0.1, None]}, cv=2)
    found = search(model, n_jobs=2, error_score="raise").fit(paths, LABELS)
    log = Path(paths[0]).parent / "decoded.log"
    assert sorted(log.read_text().split()) == sorted(Path(path).name for path in paths)
    expected = search(two_steps(MelFilterBank(), None)).fit(paths, LABELS)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name])


def test_cross_validation_shares_the_store(paths, store):
    pipeline = Pipeline(
        [
            ("mfb", MelFilterBank(memory=store)),
            ("cmn", SlidingCMN(0.1, memory=store, n_jobs=2)),
            ("pool", FrameStatistics()),
            ("net", LogisticRegression()),
        ]
    )
    uncached = clone(pipeline).set_params(mfb__memory=None, cmn__memory=None)
    expected = cross_validate(uncached, paths, LABELS, cv=3)
    scores = cross_validate(pipeline, paths, LABELS, cv=3, n_jobs=2, error_score="raise")
    np.testing.assert_array_equal(scores["test_score"], expected["test_score"])
    assert set(store.summary()["utterances"]) == {12}
    assert_tidy(store)
    # And frames that lie in the store go to workers as rows and names of files.
    frames = pipeline[:2].fit_transform(paths)
    scores = cross_validate(pipeline[2:], frames, LABELS, cv=3, n_jobs=2, error_score="raise")
    np.testing.assert_array_equal(scores["test_score"], expected["test_score"])


# -- estimators and labels -------------------------------------------------------------------------


def test_a_category_keeps_its_order(rng):
    code = np.arange(35) % 4
    X = (code[:, None] + 0.1 * rng.normal(size=(35, 3))).astype(np.float32)
    y = pd.Categorical.from_codes(code, ["poor", "fair", "good", "best"], ordered=True)
    model = make_pipeline(StandardScaler(), OrdinalClassifier())
    search = GridSearchCV(
        model,
        {"ordinalclassifier__C": [1.0, 10.0]},
        scoring=get_scorer("neg_ranked_probability_error"),
        cv=3,
        n_jobs=2,
    )
    search.fit(X, pd.Series(y, index=np.arange(35)[::-1]))
    assert search.best_score_ > -0.1
    assert search.best_estimator_[-1].levels_.tolist() == ["poor", "fair", "good", "best"]


def test_copies_do_not_warn():
    """The version that a pickle names is that of the workers."""
    pipeline = make_sentiment_pipeline()
    for loaded in joblib.Parallel(2)(joblib.delayed(clone)(pipeline) for _ in range(2)):
        assert repr(loaded) == repr(pipeline)
        assert not [name for name in vars(loaded["mfb"]) if "version" in name]
