"""WaveformPerturbation as an estimator, its defaults and its predictions."""

import numpy as np
import pandas as pd
import pytest
from perturbation_spies import (
    PATHS,
    Samples,
    Through,
    Y,
    quick,
    spied,
    with_copies,
)
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.audio.conditions import MIX
from sklearn_speechsent.features import FrameStatistics

# -- an estimator like any other -------------------------------------------------------------------


def test_parameters_are_left_alone_and_refitted(speech):
    model = with_copies(quick(), random_state=0)
    before = {name: id(value) for name, value in model.get_params(deep=True).items()}
    assert model.fit(speech.data[:12], speech.target[:12]) is model
    assert {name: id(value) for name, value in model.get_params(deep=True).items()} == before
    assert not hasattr(model.estimator["net"], "coef_")
    again = clone(model)
    assert not hasattr(again, "estimator_")
    model.fit(speech.data, speech.target)
    again.fit(speech.data, speech.target)
    np.testing.assert_array_equal(
        model.predict_proba(speech.data), again.predict_proba(speech.data)
    )
    again.set_params(estimator__net__C=0.5, estimator__mfb__n_mels=40, speeds=())
    assert again.estimator["net"].C == 0.5 and again.get_params()["estimator__mfb__n_mels"] == 40


def test_a_refit_forgets_the_table(rng):
    model = with_copies(spied()).fit(rng.normal(size=(3, 400)), Y)
    assert model.n_features_in_ == 400
    with pytest.raises(ValueError, match="399 features"):
        model.predict(rng.normal(size=(3, 399)))
    model.fit(PATHS, Y)
    assert not hasattr(model, "n_features_in_")
    assert model.predict(rng.normal(size=(2, 399))).shape == (2,)


def test_html_shows_the_pipeline(speech):
    model = WaveformPerturbation(quick(), predict_speeds=(1,))
    assert repr(model).startswith("WaveformPerturbation(estimator=Pipeline(")
    for fitted in (model, clone(model).fit(speech.data, speech.target)):
        html = estimator_html_repr(fitted)
        for name in ("WaveformPerturbation", "MelFilterBank", "LogisticRegression"):
            assert name in html


def test_before_fit():
    model = with_copies(quick())
    assert is_classifier(model) and not hasattr(model, "classes_")
    assert hasattr(model, "predict_proba")
    for call in (
        lambda: model.classes_,
        lambda: model.predict(PATHS),
        lambda: model.predict_proba(PATHS),
        lambda: model.score(PATHS, Y),
    ):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(ValueError):  # a table is seen, and then the labels are wrong
        model.fit(np.ones((3, 400)), [1, 2])
    with pytest.raises(NotFittedError):
        model.predict(np.ones((3, 400)))
    regressor = with_copies(quick(Ridge()))
    assert not is_classifier(regressor) and not hasattr(regressor, "predict_proba")


def test_defaults():
    """The copies of the defaults are those of tests/audio/test_conditions.py."""
    params = WaveformPerturbation(spied()).get_params(deep=False)
    assert params | {"estimator": None} == {
        "estimator": None,
        "speeds": (0.9,),
        "snr_db": (),
        "gain_db": (),
        "conditions": MIX,
        "predict_speeds": (0.9, 1.0, 1.1),
        "random_state": 0,
    }


def test_rows_and_speeds():
    """Four copies of a recording are fitted, and it is predicted at three speeds."""
    model = with_copies(spied())
    model.fit(PATHS, Y)
    made = [(1.0, None), (0.9, None), (1.1, None), (1.0, 15.0)]
    copies = [(r.speed, r.snr_db) for r in model.estimator_[-1].X_]
    assert copies == [how for how in made for _ in PATHS]
    model.predict(PATHS)
    assert [r.speed for r in model.estimator_[-1].asked_] == [0.9] * 3 + [1.0] * 3 + [1.1] * 3


def test_a_sentiment_pipeline_inside(speech):
    pipeline = make_sentiment_pipeline(weights=None, vad="passthrough")
    model = with_copies(pipeline)
    assert model.fit(speech.data, speech.target).score(speech.data, speech.target) > 0.9


# -- predictions -----------------------------------------------------------------------------------


def test_without_copies_it_is_the_pipeline(speech):
    model = with_copies(quick(), speeds=(), snr_db=(), predict_speeds=(1,)).fit(
        speech.data, speech.target
    )
    plain = quick().fit(speech.data, speech.target)
    np.testing.assert_array_equal(model.predict(speech.data), plain.predict(speech.data))
    np.testing.assert_array_equal(
        model.predict_proba(speech.data), plain.predict_proba(speech.data)
    )
    assert model.score(speech.data, speech.target) == plain.score(speech.data, speech.target)
    np.testing.assert_array_equal(model.classes_, plain.classes_)


def test_at_its_own_speed_it_predicts_as_the_estimator(speech):
    model = with_copies(quick(), predict_speeds=(1,)).fit(speech.data, speech.target)
    for method in ("predict", "predict_proba"):
        np.testing.assert_array_equal(
            getattr(model, method)(speech.data), getattr(model.estimator_, method)(speech.data)
        )


def test_probabilities_and_levels_are_averaged_over_speeds(speech):
    speeds = (0.8, 1.0, 1.3)
    model = WaveformPerturbation(
        quick(OrdinalClassifier(LogisticRegression(C=1e-3, max_iter=1000))), predict_speeds=speeds
    ).fit(speech.data, speech.target)
    each = [
        model.estimator_.predict_proba(pd.DataFrame({"file": speech.data, "speed": speed}))
        for speed in speeds
    ]
    proba = model.predict_proba(speech.data)
    np.testing.assert_allclose(proba, np.mean(each, axis=0), atol=1e-6)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    # A level's thresholds: above the first, above the second.
    above = np.stack([proba[:, 1:].sum(axis=1), proba[:, 2]], axis=1)
    levels = np.array([-1, 0, 1])[(above > 0.5).sum(axis=1)]
    np.testing.assert_array_equal(model.predict(speech.data), levels)
    assert model.score(speech.data, speech.target) == accuracy_score(speech.target, levels)
    alone = [model.predict_proba([path])[0] for path in speech.data[:3]]
    np.testing.assert_allclose(alone, proba[:3], atol=1e-5)


def test_intensities_are_averaged_over_speeds(speech):
    speeds = np.array([0.9, 1.1])
    model = with_copies(quick(Ridge()), speeds=(), predict_speeds=speeds)
    predicted = model.fit(speech.data, speech.target).predict(speech.data)
    each = [
        model.estimator_.predict(pd.DataFrame({"file": speech.data, "speed": speed}))
        for speed in speeds
    ]
    np.testing.assert_allclose(predicted, np.mean(each, axis=0), atol=1e-5)
    weight = np.arange(24)
    expected = r2_score(speech.target, predicted, sample_weight=weight)
    assert model.score(speech.data, speech.target, weight) == pytest.approx(expected)


def test_classifiers_without_probabilities(speech):
    model = with_copies(quick(LinearSVC()), speeds=(), snr_db=(), predict_speeds=(1,))
    assert not hasattr(model, "predict_proba")
    model.fit(speech.data, speech.target)
    assert model.predict(speech.data).shape == (24,)
    says = "no probabilities to average: LinearSVC has no predict_proba"
    model.set_params(predict_speeds=(0.9, 1.0))
    for call in (lambda: model.fit(speech.data, speech.target), lambda: model.predict(speech.data)):
        with pytest.raises((ValueError, AttributeError), match="predict_proba"):
            call()
    with pytest.raises(ValueError, match=says):
        model.fit(speech.data, speech.target)


def test_levels_may_be_words():
    pipeline = make_pipeline(Through(), DummyClassifier(strategy="prior"))
    y = ["a_bad", "c_good", "b_neutral"]
    model = with_copies(pipeline, predict_speeds=(0.9, 1.1)).fit(PATHS, y)
    assert model.predict(PATHS).tolist() == ["b_neutral"] * 3
    assert model.predict_proba(PATHS).shape == (3, 3)


# -- scikit-learn's checks -------------------------------------------------------------------------


_SILENCE = "a row of equal numbers is silence, and refused: "
_DTYPES = _SILENCE + "test_every_kind_of_input_gives_the_same_model"
_WEIGHTS = _SILENCE + "test_groups_and_weights_follow_their_recordings"
_FEATURES = (
    "mel bands of two samples do not tell points apart: the same check on Samples, and "
    "test_without_copies_it_is_the_pipeline"
)
_SHORT = (
    "the front end decides which recording is too short: "
    "test_too_short_copies_name_the_recording_and_the_speed"
)


def _expected_failures(model):
    if not isinstance(model.estimator[0], MelFilterBank):
        return {}
    return {
        "check_estimators_dtypes": _DTYPES,
        "check_fit2d_1feature": _SHORT,
        "check_regressors_train": _FEATURES,
        "check_sample_weights_not_an_array": _WEIGHTS,
        "check_sample_weights_not_overwritten": _WEIGHTS,
        "check_sample_weights_pandas_series": _WEIGHTS,
        "check_sample_weights_shape": _WEIGHTS,
    }


_BANK = MelFilterBank(sample_rate=1000, frame_length=0.002, frame_shift=0.001, n_mels=2)
_SLOWER = dict(speeds=(0.5,), snr_db=(20,), predict_speeds=(0.5, 1.0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        with_copies(make_pipeline(_BANK, FrameStatistics(), Ridge()), **_SLOWER),
        with_copies(make_pipeline(Samples(), LogisticRegression()), predict_speeds=(1,)),
        with_copies(make_pipeline(Samples(), Ridge()), **_SLOWER),
    ],
    expected_failed_checks=_expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
