"""One scale with a gap, trained, scored and loaded by the same rounding rule."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from sklearn_speechsent import (
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)
from sklearn_speechsent.datasets import LabelDistributionDisplay, load_manifest
from sklearn_speechsent.metrics import (
    LevelConfusionDisplay,
    get_scorer,
    get_scorer_names,
    ordinal_report,
    round_to_levels,
)
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

LEVELS = [-2, -1, 1, 2]
NEAR_ZERO = np.linspace(0.2, 0.45, 6)
#: Labels that whole numbers would round to 0, which is not a level, and some of the outer levels.
Y = np.concatenate([NEAR_ZERO, -NEAR_ZERO, np.linspace(1.6, 2, 6), np.linspace(-2, -1.6, 6)])
EXPECTED = np.repeat([1, -1, 2, -2], 6)

NET = {
    **{"levels": LEVELS, "batch_size": 8, "lr": 0.02, "max_epochs": 12},
    **{"spec_augment": False, "n_jobs": 1, "random_state": 0},
}


def make_table(rng):
    """A perfect feature as rows of a table: the level with next to no noise."""
    return EXPECTED[:, None] + 0.01 * rng.normal(size=(len(Y), 2))


def make_frames(rng):
    """A perfect feature as frames of 8 bins."""
    arrays = [level + 0.1 * rng.normal(size=(10, 8)).astype(np.float32) for level in EXPECTED]
    return UtteranceFrames.from_arrays(arrays)


def ordinal_side(estimator):
    return estimator if hasattr(estimator, "predict_proba") else estimator.as_classifier()


ESTIMATORS = {
    "OrdinalClassifier": (make_table, OrdinalClassifier(levels=LEVELS)),
    "classifier": (make_frames, SpeechSentimentClassifier(**NET)),
    # without the loss of the regression head, only the levels of the labels matter
    "two-headed regressor": (
        make_frames,
        SpeechSentimentRegressor(two_headed=True, criterion__regression_weight=0.0, **NET),
    ),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_trains_on_the_levels_that_metrics_score(name, rng):
    make, estimator = ESTIMATORS[name]
    X = make(rng)
    np.testing.assert_array_equal(round_to_levels(Y, LEVELS), EXPECTED)
    fitted = ordinal_side(estimator.fit(X, Y))
    proba, predicted = fitted.predict_proba(X), fitted.predict(X)
    again = ordinal_side(estimator.fit(X, EXPECTED))
    np.testing.assert_array_equal(again.predict_proba(X), proba)

    np.testing.assert_array_equal(predicted, EXPECTED)
    assert accuracy_score(EXPECTED, predicted) == 1
    report = ordinal_report(Y, predicted, LEVELS)
    assert report["accuracy"] == report["polarity_accuracy"] == 1 and report["macro_mae"] == 0
    assert get_scorer("rounded_accuracy", levels=LEVELS)(fitted, X, Y) == 1
    display = LevelConfusionDisplay.from_estimator(fitted, X, Y, levels=LEVELS)
    np.testing.assert_array_equal(display.confusion_matrix, 6 * np.eye(4))


def test_a_regressor_draws_and_holds_out_by_the_same_levels(rng):
    X = make_frames(rng)
    one_headed = SpeechSentimentRegressor(sampling_exponent=1.0, early_stopping=True, **NET)
    one_headed.fit(X, Y)
    np.testing.assert_array_equal(np.array(LEVELS)[one_headed._level_index(Y)], EXPECTED)


def test_loaders_and_splitters_see_the_same_levels(tmp_path, rng):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    names = [f"{row}.wav" for row in range(len(Y))]
    for name in names:
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(800), 8000)
    table = pd.DataFrame({"file": names, "label": Y, "speaker": np.arange(len(Y)) % 6})
    table.to_csv(tmp_path / "labels.csv", index=False)
    bunch = load_manifest(tmp_path / "labels.csv", levels=LEVELS)
    assert "-2: 6, -1: 6, 1: 6, 2: 6" in bunch.DESCR

    display = LabelDistributionDisplay.from_labels(bunch.target, levels=bunch.levels)
    assert display.rounded.tolist() == [6, 6, 6, 6]
    np.testing.assert_allclose(display.sampled, 0.25)
    cv = StratifiedSpeakerKFold(3, levels=bunch.levels)
    plain = StratifiedGroupKFold(3).split(bunch.data, EXPECTED, bunch.groups)
    for (_, test), (_, expected) in zip(
        cv.split(bunch.data, bunch.target, bunch.groups), plain, strict=True
    ):
        np.testing.assert_array_equal(test, expected)
        assert np.unique(EXPECTED[test], return_counts=True)[1].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("name", sorted({*get_scorer_names()} - {"acc5", "acc7", "acc7_sdk"}))
def test_scorers_take_levels_that_are_not_whole_numbers(name, rng):
    levels = [-1.5, 0, 2]
    y = rng.choice([-1.4, -0.8, -0.6, 0.1, 0.9, 1.1, 2.2], size=30)
    X = round_to_levels(y, levels)[:, None]
    model = OrdinalClassifier(levels=levels).fit(X, y)
    np.testing.assert_array_equal(model.classes_, levels)
    np.testing.assert_array_equal(model.predict(X), round_to_levels(y, levels))
    score = get_scorer(name, levels=levels)(model, X, y)
    assert np.isfinite(score)
    if name.startswith(("rounded", "threshold", "within")):  # polarity reads the labels' own sign
        assert score == 1
