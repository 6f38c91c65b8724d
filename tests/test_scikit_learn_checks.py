"""scikit-learn's checks of estimators, and tests that replace those that cannot apply."""

import warnings

import numpy as np
import pytest
from estimators import VERIFIER, assert_same, inputs, output, small
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sklearn_speechsent import (
    IntensityRegressor,
    MelFilterBank,
    OrdinalClassifier,
    SlidingCMN,
    SpeakerEmbeddingFusion,
    SpeakerVerifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
    VoiceActivityDetector,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.sentiment.net import SpeechSentimentNet
from sklearn_speechsent.sentiment.tables import TableEstimator

# Tables of one frame a row: few epochs of small batches do, and no masks on single frames.
_TABLES = dict(
    max_epochs=4,
    batch_size=64,
    lr=4e-2,
    lr_schedule=None,
    spec_augment=False,
    n_jobs=1,
    random_state=0,
)

# Rows of two to ten samples are waveforms here.
_TINY_BANK = MelFilterBank(sample_rate=1000, frame_length=0.002, frame_shift=0.001, n_mels=2)

_VOICES = VERIFIER | dict(
    frontend=_TINY_BANK,
    spec_augment=False,
    batch_size=32,
    module__widths=(4,),
    module__depths=(1,),
)

_STATE = "skorch sets attributes for its state in __init__: test_init_sets_parameters_and_state"
_WEIGHTS = (
    "batches of other rows are drawn, so weights equal repetition in expectation only: "
    "test_weights_act_like_repetition"
)
_MEDIAN = (
    "the level is the number of thresholds exceeded, the median and not the most likely one: "
    "test_level_is_the_median"
)
_ROUNDED = "real labels count as the nearest level: test_real_labels_are_rounded"
_TEXT = (
    "text has no order, which is asked for: tests/sentiment/test_kinds_of_labels.py, "
    "test_text_needs_an_order and test_an_order_by_name"
)
_BALANCED = (
    "balanced class weights and the scaler count rows, not weights: "
    "test_weights_reach_the_default_estimator and test_a_weight_of_zero_is_no_row"
)
_COUNTED = (
    "the scaler counts rows, not weights: tests/sentiment/test_intensity.py, "
    "test_weights_reach_the_default_estimator and test_a_weight_of_zero_is_no_row"
)
_COMPONENTS = (
    "the check sets n_components, which is an error next to an estimator; the default estimator "
    "passes it"
)
_SILENCE = "a row of equal integers is silence, and NaN: test_waveforms_of_any_number_type"
_NET = {
    "check_no_attributes_set_in_init": _STATE,
    "check_sample_weight_equivalence_on_dense_data": _WEIGHTS,
}
_ORDINAL = {
    "check_classifiers_regression_target": _ROUNDED,
    "check_classifiers_classes": _TEXT,
}
#: Checks that set n_components.
_SET_COMPONENTS = (
    "check_dont_overwrite_parameters",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
)


def _expected_failures(estimator):
    failures = dict(_NET) if isinstance(estimator, SpeechSentimentNet) else {}
    if isinstance(estimator, SpeakerVerifier):
        failures["check_no_attributes_set_in_init"] = _STATE
    if isinstance(estimator, SpeakerVerifier):
        failures["check_estimators_dtypes"] = _SILENCE
    if isinstance(estimator, (SpeechSentimentClassifier, OrdinalClassifier)):
        failures |= _ORDINAL
    if isinstance(estimator, OrdinalClassifier):
        failures["check_classifiers_train"] = _MEDIAN
    if isinstance(estimator, TableEstimator) and estimator.estimator is not None:
        failures |= dict.fromkeys(_SET_COMPONENTS, _COMPONENTS)
    elif isinstance(estimator, TableEstimator):
        weights = _COUNTED if isinstance(estimator, IntensityRegressor) else _BALANCED
        failures["check_sample_weight_equivalence_on_dense_data"] = weights
    return failures


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        _TINY_BANK,
        SlidingCMN(),
        VoiceActivityDetector("energy"),  # the U-net takes tables of 80 columns only
        SpeakerEmbeddingFusion(FrameStatistics()),
        SpeakerVerifier(**_VOICES),
        OrdinalClassifier(),
        OrdinalClassifier(LogisticRegression()),
        IntensityRegressor(),
        IntensityRegressor(Ridge()),
        SpeechSentimentRegressor(**_TABLES),
        SpeechSentimentClassifier(**_TABLES),
    ],
    expected_failed_checks=_expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


class RandomOutput(TransformerMixin, BaseEstimator):
    """Has the interface of a filter bank and returns noise."""

    def fit(self, X, y=None):
        MelFilterBank(sample_rate=1000, frame_length=0.002, frame_shift=0.001).fit(X, y)
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X):
        frames = np.random.default_rng().random((sum(map(len, X)), 2))
        stops = np.cumsum([len(row) for row in X])
        return UtteranceFrames(frames, stops - [len(row) for row in X], stops)


def test_random_output_fails_the_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(RandomOutput(), on_fail=None, on_skip=None)
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    assert {
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_transformer_general",
    } <= failed


# -- replacements of the expected failures ---------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_waveforms_of_any_number_type(dtype, rng):
    """Replaces check_estimators_dtypes, with waveforms that are not silent."""
    X = rng.integers(-100, 100, size=(20, 8))
    for estimator in (_TINY_BANK, SpeakerVerifier(**VERIFIER, frontend=_TINY_BANK)):
        y = np.arange(20) % 3
        expected = output(estimator.fit(X.astype(float), y), X.astype(float))
        assert_same(output(estimator.fit(X.astype(dtype), y), X.astype(dtype)), expected)


@pytest.mark.parametrize("cls", [SpeechSentimentClassifier, OrdinalClassifier])
def test_level_is_the_median(cls, rng):
    """Replaces check_classifiers_train: accuracy, consistency, errors."""
    y = np.repeat([0, 1, 2], 40)
    X = y[:, None] + 0.4 * rng.normal(size=(120, 3))
    estimator = cls(**_TABLES) if cls is SpeechSentimentClassifier else cls()
    estimator.fit(X, y)
    proba = estimator.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    median = (np.cumsum(proba, axis=1)[:, :-1] < 0.5).sum(axis=1)
    np.testing.assert_array_equal(estimator.predict(X), estimator.classes_[median])
    assert estimator.score(X, y) > 0.85
    with pytest.raises(ValueError, match="features"):
        estimator.predict(X[:, :2])
    with pytest.raises(ValueError, match="inconsistent"):
        estimator.fit(X, y[:-1])


@pytest.mark.parametrize("cls", [SpeechSentimentClassifier, OrdinalClassifier])
def test_real_labels_are_rounded(cls):
    """Replaces check_classifiers_regression_target; halves go to the even level."""
    estimator = small(cls)
    X = inputs(cls, n=6)
    estimator.fit(X, [-1.4, -0.5, 0.5, 0.6, 1.5, 2.5])
    np.testing.assert_array_equal(estimator.classes_, [-1, 0, 1, 2])


@pytest.mark.parametrize("cls", [SpeechSentimentRegressor, SpeechSentimentClassifier])
def test_weights_act_like_repetition(cls, rng):
    """Replaces the equivalence check: an utterance of weight 0 has no influence."""
    X = np.repeat([[-1.0, 1.0], [1.0, -1.0]], 30, axis=0) + 0.1 * rng.normal(size=(60, 2))
    right = np.repeat([0, 1], 30)
    wrong = 1 - right
    weight = np.repeat([1.0, 0.0], 60)
    # Four epochs without a schedule leave it to the seed, these do not.
    net = cls(**_TABLES | dict(max_epochs=20, lr=2e-2, lr_schedule="milestones"))
    net.fit(np.vstack([X, X]), np.concatenate([right, wrong]), sample_weight=weight)
    assert np.mean(np.rint(net.predict(X)) == right) > 0.95
