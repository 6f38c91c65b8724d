"""Every public estimator under scikit-learn's checks and under our own."""

import inspect
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import sklearn_speechsent
from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    SlidingCMN,
    SpeakerFeatureExtractor,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)
from sklearn_speechsent.pretrained import has_weights
from sklearn_speechsent.sentiment._base import SpeechSentimentNet

# Tables of one frame a row: few epochs of small batches do, and no masks on single frames.
_TABLES = dict(
    max_epochs=8,
    batch_size=64,
    lr=2e-2,
    lr_schedule=None,
    spec_augment=False,
    n_jobs=1,
    random_state=0,
)

_STATE = "skorch keeps its state in attributes from the start: test_init_sets_parameters_and_state"
_WEIGHTS = (
    "batches of other rows are drawn, so weights equal repetition in expectation only: "
    "test_weights_pull_as_repetition_does"
)
_MEDIAN = (
    "the level is the number of thresholds exceeded, the median and not the most likely one: "
    "test_level_is_the_median"
)
_ROUNDED = "real labels count as the nearest level: test_real_labels_are_rounded"
_SILENCE = "a row of equal integers is silence, and refused: test_waveforms_of_any_number_type"
_NET = {
    "check_no_attributes_set_in_init": _STATE,
    "check_sample_weight_equivalence_on_dense_data": _WEIGHTS,
}
_ORDINAL = {
    "check_classifiers_train": _MEDIAN,
    "check_classifiers_regression_target": _ROUNDED,
}


def _expected_failures(estimator):
    failures = dict(_NET) if isinstance(estimator, SpeechSentimentNet) else {}
    if isinstance(estimator, MelFilterBank):
        failures["check_estimators_dtypes"] = _SILENCE
    if isinstance(estimator, (SpeechSentimentClassifier, OrdinalClassifier)):
        failures |= _ORDINAL
    return failures


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        MelFilterBank(sample_rate=1000, frame_length=0.002, frame_shift=0.001, n_mels=2),
        SlidingCMN(),
        OrdinalClassifier(),
        OrdinalClassifier(LogisticRegression()),
        SpeechSentimentRegressor(**_TABLES),
        SpeechSentimentClassifier(**_TABLES),
    ],
    expected_failed_checks=_expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


class RandomOutput(TransformerMixin, BaseEstimator):
    """Looks like a filter bank and returns noise."""

    def fit(self, X, y=None):
        MelFilterBank(sample_rate=1000, frame_length=0.002, frame_shift=0.001).fit(X, y)
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X):
        frames = np.random.default_rng().random((sum(map(len, X)), 2))
        stops = np.cumsum([len(row) for row in X])
        return UtteranceFrames(frames, stops - [len(row) for row in X], stops)


def test_trap_15_random_output_fails_the_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(RandomOutput(), on_fail=None, on_skip=None)
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    assert {
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_transformer_general",
    } <= failed


# -- our own checks --------------------------------------------------------------------------------


def public_estimators():
    for name in sklearn_speechsent.__all__:
        cls = getattr(sklearn_speechsent, name)
        if inspect.isclass(cls) and issubclass(cls, BaseEstimator):
            yield cls


def small(cls):
    """Instance of a public estimator that fits in a moment."""
    if issubclass(cls, SpeechSentimentNet):
        return cls(max_epochs=1, batch_size=4, n_jobs=1, random_state=0)
    if cls is SpeakerFeatureExtractor:
        return cls(n_blocks=1)
    return cls()


def inputs(cls, n=8, size=80, longer=1):
    """Input of the kind the estimator takes: waveforms, statistics or frames."""
    rng = np.random.default_rng(longer)
    lengths = longer * rng.integers(30, 70, n)
    if cls is MelFilterBank:
        return [0.1 * rng.normal(size=160 * length) for length in lengths]
    if cls is OrdinalClassifier:
        return rng.normal(size=(n, size))
    return UtteranceFrames.from_arrays(
        [rng.normal(size=(length, size)).astype(np.float32) for length in lengths]
    )


def labels(n=8):
    return np.arange(n) % 3 - 1


def output(estimator, X):
    """What a fitted estimator says about X, one array a row."""
    if hasattr(estimator, "transform"):
        return [np.asarray(row) for row in estimator.transform(X)]
    method = "predict" if is_regressor(estimator) else "predict_proba"
    return [np.asarray(row) for row in getattr(estimator, method)(X)]


def take(X, rows):
    return [X[row] for row in rows] if isinstance(X, list) else X[rows]


def assert_same(first, second, atol=1e-5):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


@pytest.fixture(params=list(public_estimators()), ids=lambda cls: cls.__name__)
def cls(request):
    if request.param is SpeakerFeatureExtractor and not has_weights(
        SpeakerFeatureExtractor().weights
    ):
        pytest.skip("no pre-trained weights in the data home")
    return request.param


def test_registry_finds_the_estimators():
    names = {cls.__name__ for cls in public_estimators()}
    assert {"MelFilterBank", "OrdinalClassifier", "SpeechSentimentRegressor"} <= names


def test_clone_of_a_fitted_estimator_fits_other_lengths(cls):
    fitted = small(cls).fit(inputs(cls), labels())
    again = clone(fitted)
    assert not [name for name in vars(again) if name in ("module_", "n_features_in_")]
    X = inputs(cls, n=6, longer=2)
    again.fit(X, labels(6))
    assert len(output(again, X)) == 6


def test_trap_2_refit_on_another_size(cls):
    sizes = {SpeakerFeatureExtractor: (80, 80)}.get(cls, (80, 16))
    estimator = small(cls).fit(inputs(cls, size=sizes[0]), labels())
    before = estimator.get_params(deep=False)
    X = inputs(cls, n=9, size=sizes[1])
    assert len(output(estimator.fit(X, labels(9)), X)) == 9
    assert estimator.get_params(deep=False) == before


def test_trap_22_alone_batched_and_shuffled_agree(cls):
    X = inputs(cls)
    estimator = small(cls).fit(X, labels())
    together = output(estimator, X)
    order = np.random.default_rng(0).permutation(8)
    assert_same(output(estimator, take(X, order)), [together[row] for row in order])
    alone = [output(estimator, take(X, [row]))[0] for row in range(8)]
    assert_same(alone, together)


def test_trap_22_longer_neighbours_change_nothing(cls):
    X, longer = inputs(cls), inputs(cls, n=2, longer=4)
    estimator = small(cls).fit(X, labels())
    mixed = [*take(X, range(8)), *take(longer, range(2))]
    if cls is OrdinalClassifier:
        mixed = np.array(mixed)
    assert_same(output(estimator, mixed)[:8], output(estimator, X))


def test_pickles_predict_the_same_in_another_process(tmp_path):
    """One process for all estimators: starting it takes longer than anything it does."""
    fitted = {}
    for cls in public_estimators():
        if cls is not SpeakerFeatureExtractor or has_weights(cls().weights):
            X = inputs(cls, n=4)
            fitted[cls.__name__] = small(cls).fit(X, [-1, 0, 1, 0]), X
    joblib.dump(fitted, tmp_path / "in.joblib")
    code = (
        "import sys, joblib, torch; torch.set_num_threads(1)\n"
        "def output(estimator, X):\n"
        "    names = ('transform', 'predict_proba', 'predict')\n"
        "    name = next(name for name in names if hasattr(estimator, name))\n"
        "    return list(getattr(estimator, name)(X))\n"
        "fitted = joblib.load(sys.argv[1])\n"
        "joblib.dump({name: output(*pair) for name, pair in fitted.items()}, sys.argv[2])"
    )
    files = [tmp_path / "in.joblib", tmp_path / "out.joblib"]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *files], check=True)
    loaded = joblib.load(files[1])
    assert set(loaded) == set(fitted)
    for name, (estimator, X) in fitted.items():
        assert_same(loaded[name], output(estimator, X), atol=1e-6)


def test_repr_and_html(cls):
    estimator = small(cls)
    assert repr(cls()) == f"{cls.__name__}()"
    assert repr(estimator).startswith(cls.__name__)
    assert cls.__name__ in estimator_html_repr(estimator)
    estimator.fit(inputs(cls), labels())
    assert cls.__name__ in estimator_html_repr(estimator)


def test_init_sets_parameters_and_state(cls):
    estimator = cls()
    state = {"history_", "initialized_", "virtual_params_"}
    extra = (
        set(vars(estimator))
        - set(estimator.get_params(deep=False))
        - {
            "_modules",
            "_criteria",
            "_optimizers",
            "_params_to_validate",
        }
    )
    assert extra <= (state if issubclass(cls, SpeechSentimentNet) else set())


def test_trap_1_private_state_is_no_parameter(cls):
    estimator = small(cls).fit(inputs(cls), labels())
    names = set(estimator.get_params(deep=False))
    estimator._parent_callback_ctx = object()
    assert set(estimator.get_params(deep=False)) == names
    assert not [name for name in names if name.startswith("_")]
    assert not hasattr(clone(estimator), "_parent_callback_ctx")


def test_trap_3_fit_returns_self_and_leaves_generators_alone(cls):
    numpy_state = np.random.get_state
    before, torch_before = numpy_state()[1].copy(), torch.get_rng_state()
    estimator = small(cls)
    assert estimator.fit(inputs(cls), labels()) is estimator
    np.testing.assert_array_equal(numpy_state()[1], before)
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_random_state_decides(cls):
    estimator, X = small(cls), inputs(cls)
    if "random_state" not in estimator.get_params():  # nothing random: every fit is the same
        results = [output(clone(estimator).fit(X, labels()), X) for _ in range(2)]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
        return
    results = [
        output(clone(estimator).set_params(random_state=seed).fit(X, labels()), X)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])


# -- replacements of the expected failures ---------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32])
def test_waveforms_of_any_number_type(dtype, rng):
    """Stands for check_estimators_dtypes on waveforms that are not silent."""
    X = rng.integers(-100, 100, size=(20, 8))
    bank = MelFilterBank(sample_rate=1000, frame_length=0.002, frame_shift=0.001, n_mels=2)
    expected = output(bank.fit(X.astype(float)), X.astype(float))
    assert_same(output(bank.fit(X.astype(dtype)), X.astype(dtype)), expected)


@pytest.mark.parametrize("cls", [SpeechSentimentClassifier, OrdinalClassifier])
def test_level_is_the_median(cls, rng):
    """Stands for check_classifiers_train: accuracy, consistency, errors."""
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
    """Stands for check_classifiers_regression_target; halves go to the even level."""
    estimator = small(cls)
    X = inputs(cls, n=6)
    estimator.fit(X, [-1.4, -0.5, 0.5, 0.6, 1.5, 2.5])
    np.testing.assert_array_equal(estimator.classes_, [-1, 0, 1, 2])


@pytest.mark.parametrize("cls", [SpeechSentimentRegressor, SpeechSentimentClassifier])
def test_weights_pull_as_repetition_does(cls, rng):
    """Stands for the equivalence check: an utterance of weight 0 teaches nothing."""
    X = np.repeat([[-1.0, 1.0], [1.0, -1.0]], 30, axis=0) + 0.1 * rng.normal(size=(60, 2))
    right = np.repeat([0, 1], 30)
    wrong = 1 - right
    weight = np.repeat([1.0, 0.0], 60)
    net = cls(**_TABLES).fit(
        np.vstack([X, X]), np.concatenate([right, wrong]), sample_weight=weight
    )
    assert np.mean(np.rint(net.predict(X)) == right) > 0.95
