"""Known values and the edges: constants, absent levels, scales with gaps, probabilities."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import mean_absolute_error

from sklearn_speechsent import metrics

REPORT_KEYS = [
    "mae",
    "spearman",
    "ccc",
    "qwk",
    "accuracy",
    "macro_mae",
    "polarity_accuracy",
    "within_one",
    "threshold_accuracy",
]
ZERO_FOR_CONSTANTS = [
    metrics.concordance_correlation_score,
    metrics.quadratic_weighted_kappa_score,
    metrics.pearson_score,
    metrics.spearman_score,
    metrics.kendall_score,
]


def test_constant_predictor_of_ravdess():
    """The row of the evaluation page, from the level counts of RAVDESS."""
    true = np.repeat([-2, -1, 0, 1, 2], [384, 384, 288, 96, 96])
    report = metrics.ordinal_report(true, np.full(1248, np.median(true)), levels=range(-2, 3))
    assert list(report) == REPORT_KEYS
    assert all(type(value) is float for value in report.values())
    expected = {"mae": 0.923, "ccc": 0, "qwk": 0, "spearman": 0, "accuracy": 0.308}
    expected |= {"macro_mae": 1.4, "polarity_accuracy": 0.8}
    assert {key: round(report[key], 3) for key in expected} == expected
    assert report["threshold_accuracy"] == pytest.approx(1 - report["mae"] / 4)


def test_report_reads_raw_values_where_the_protocol_says_so():
    true, pred = [-2, -1, 0, 1, 2], [-0.4, -0.2, 0.1, 0.3, 9.0]
    report = metrics.ordinal_report(true, pred, range(-2, 3))
    assert report["mae"] == pytest.approx((1.6 + 0.8 + 0.1 + 0.7 + 7) / 5)
    assert report["spearman"] == 1
    assert report["ccc"] == metrics.concordance_correlation_score(true, pred)
    assert report["polarity_accuracy"] == 1
    assert report["accuracy"] == 0.4
    assert report["within_one"] == 0.8
    assert report["macro_mae"] == 0.8
    assert report["threshold_accuracy"] == 0.8


def test_report_without_a_rare_level_holds_no_nan():
    report = metrics.ordinal_report([0, 0, 1], [0, 0, 3])
    assert np.isfinite(list(report.values())).all()
    assert report["threshold_accuracy"] == pytest.approx(1 - 2 / 3 / 6)


@pytest.mark.parametrize("metric", ZERO_FOR_CONSTANTS)
@pytest.mark.parametrize("constant", [0, 0.1, -3])
def test_a_constant_has_no_correlation(metric, constant):
    varied = [-3, -1, 0.1, 2]
    assert metric(varied, [constant] * 4) == 0.0
    assert metric([constant] * 4, varied) == 0.0
    assert metric([constant] * 4, [constant] * 4) == 0.0
    assert metric([constant], [constant]) == 0.0


@pytest.mark.parametrize("metric", ZERO_FOR_CONSTANTS)
def test_rounding_error_does_not_count_as_variation(metric):
    nearly = np.array([0.1, 0.1 + 1e-16, 0.1, np.nextafter(0.1, 1)])
    assert metric([-3, -1, 0, 2], nearly) == 0.0


@pytest.mark.parametrize("metric", ZERO_FOR_CONSTANTS)
def test_perfect_and_reversed(metric):
    true = np.array([-3, -1, 0, 1, 3])
    assert metric(true, true) == pytest.approx(1)
    assert metric(true, -true) == pytest.approx(-1)
    assert metric(true[:2], true[:2]) == pytest.approx(1)


def test_weights_of_zero_leave_items_out():
    true, pred, weight = [-1, 0, 1, 3], [0, 0, 0, 3], [1, 1, 1, 0]
    assert metrics.concordance_correlation_score(true, pred, sample_weight=weight) == 0.0
    error = metrics.macro_mean_absolute_error(true, pred, sample_weight=weight)
    assert error == pytest.approx(2 / 3)


def test_levels_are_fixed_and_not_read_off_the_data():
    true, pred = [-3, 3], [3, 3]
    assert metrics.threshold_accuracy_score(true, pred) == 0.5
    assert metrics.threshold_accuracy_score(true, pred, range(-4, 5)) == pytest.approx(5 / 8)
    assert metrics.macro_mean_absolute_error(true, pred) == 3
    assert metrics.macro_mean_absolute_error([-1, 1], pred, levels=range(-1, 2)) == 1


def test_neighbours_on_a_scale_with_gaps():
    levels = [-2, -1, 1, 2]
    assert metrics.within_one_accuracy_score([-1, -2], [1, 1], levels) == 0.5
    assert metrics.threshold_accuracy_score([-1, -2], [1, 1], levels) == pytest.approx(0.5)
    assert metrics.macro_mean_absolute_error([-1, -2], [1, 1], levels) == 2.5


def test_acc5_clips_truth_and_prediction():
    assert metrics.rounded_accuracy_score([-3, 3, 2], [-2, 2.4, 3], range(-2, 3)) == 1


def test_a_prediction_of_zero_is_negative_in_one_reading_only():
    true, zeros = [-1, 0, 0.3], [0.0, -0.0, 0.0]
    assert metrics.polarity_accuracy_score(true, zeros) == 0.5
    assert metrics.nonnegative_accuracy_score(true, zeros) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", [metrics.polarity_accuracy_score, metrics.polarity_f1_score])
def test_polarity_of_neutral_items_is_undefined(metric):
    with pytest.warns(UndefinedMetricWarning, match="Every true value is 0"):
        assert np.isnan(metric([0, 0], [1, 2]))


def test_polarity_from_proba_weighs_the_sides():
    proba = np.array([[0.0, 0.3, 0.4, 0.2, 0.1], [0.1, 0.1, 0.5, 0.3, 0.0]])
    polarity = metrics.polarity_from_proba(proba, range(-2, 3))
    np.testing.assert_allclose(polarity, [0.0, 0.1], atol=1e-12)
    proba = np.array([[0.1, 0.2, 0.7]])
    np.testing.assert_allclose(metrics.polarity_from_proba(proba, [0, 1, 2]), [0.9])


@pytest.mark.parametrize(
    ("proba", "message"),
    [
        ([[0.5, 0.5]], "2 columns for 3 levels"),
        ([[0.5, 0.4, 0.0]], "sum to 1"),
        ([[-0.5, 1.0, 0.5]], "non-negative"),
        ([[np.nan, 1.0, 0.5]], "proba contains NaN"),
    ],
)
def test_probabilities_have_to_be_distributions(proba, message):
    with pytest.raises(ValueError, match=message):
        metrics.ranked_probability_error([0], proba, range(-1, 2))
    with pytest.raises(ValueError, match=message):
        metrics.polarity_from_proba(proba, range(-1, 2))


@pytest.mark.data
def test_constant_predictors_of_cmu_mosei(data_home):
    """Scores of always answering 0 on the test set, as published next to every result."""
    table = pd.read_csv(data_home / "cmu_mosei" / "labels.csv")
    true = table.loc[table["split"] == "test", "sentiment"].to_numpy()
    zeros, ones = np.zeros(len(true)), np.ones(len(true))
    assert round(mean_absolute_error(true, zeros), 3) == 0.838
    assert round(100 * metrics.rounded_accuracy_score(true, zeros), 2) == 41.36
    assert round(100 * metrics.threshold_accuracy_score(true, zeros), 2) == 86.43
    assert round(100 * metrics.polarity_accuracy_score(true, ones), 2) == 62.85
    assert round(100 * metrics.nonnegative_accuracy_score(true, zeros), 2) == 71.02
    f1 = metrics.rounded_f1_score(true, zeros, average="micro")
    assert f1 == pytest.approx(metrics.rounded_accuracy_score(true, zeros))


@pytest.mark.data
def test_rounded_labels_of_cmu_mosei(data_home):
    table = pd.read_csv(data_home / "cmu_mosei" / "labels.csv")
    levels = metrics.round_to_levels(table["sentiment"])
    assert (levels == table["label7"]).all()
    counts = np.bincount(levels[table["split"] == "train"] + 3)
    assert counts.tolist() == [311, 1305, 2039, 6798, 4117, 1549, 207]
