"""Truth of other scales, text and missing values in metrics, scorers and displays."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from sklearn_speechsent import metrics
from sklearn_speechsent.metrics.labels import as_labels
from sklearn_speechsent.metrics.levels import level_index, off_scale
from sklearn_speechsent.metrics.scale import read_labels

#: Metrics of levels, as functions of truth, prediction and levels.
LEVELED = {
    name: getattr(metrics, name)
    for name in (
        "macro_mean_absolute_error",
        "ordinal_report",
        "quadratic_weighted_kappa_score",
        "rounded_accuracy_score",
        "rounded_f1_score",
        "threshold_accuracy_score",
        "within_one_accuracy_score",
    )
}
NAMES = ["poor", "fair", "good"]  # not their alphabetical order


@pytest.fixture(params=LEVELED)
def metric(request):
    """A metric of levels."""
    return LEVELED[request.param]


@pytest.mark.parametrize(
    ("y", "levels", "message"),
    [
        ([1, 2, 3, 7], None, r"Label 7 in row 3 of y_true lies off the scale \[-3"),
        ([0, 40, 100], None, r"Label 40 in row 1 of y_true .*, like 1 more\. Pass levels="),
        ([0, 0.5, 1.3], [0, 0.25, 0.5, 1], r"Label 1\.3 in row 2"),
        ([-3.0, 1, 3], [-1, 0, 1], r"Label -3\.0 in row 0 of y_true .*like 1 more"),
        ([0, 1, 2, 5], range(1, 6), "Label 0 in row 0"),
    ],
)
def test_truth_off_the_scale(metric, y, levels, message):
    given = {} if levels is None else {"levels": levels}
    with pytest.raises(ValueError, match=message):
        metric(y, np.ones(len(y)), **given)
    with pytest.raises(ValueError, match=message):
        scale = range(-3, 4) if levels is None else levels
        metrics.ranked_probability_error(y, np.eye(len(scale))[[0] * len(y)], **given)
    with pytest.raises(ValueError, match=message):
        metrics.LevelConfusionDisplay.from_predictions(y, y, **given)


def test_scorers_refuse_it_too():
    X, y = np.zeros((7, 1)), np.arange(1, 8)
    model = DummyClassifier().fit(X, y)
    for name in ("acc7", "acc5", "quadratic_weighted_kappa", "neg_ranked_probability_error"):
        with pytest.raises(ValueError, match="off the scale"):
            metrics.get_scorer(name)(model, X, y)
    scorer = metrics.get_scorer("rounded_accuracy", levels=range(1, 8))
    assert scorer(model, X, y) == 1 / 7


def test_acc5_is_the_only_metric_that_clips_the_truth():
    true, pred = [-3, 0, 3], [-2, 0, 9]
    assert metrics.rounded_accuracy_score(true, pred, range(-2, 3)) == 1
    assert metrics.rounded_f1_score(true, pred, [-2, -1, 0, 1, 2]) == 1
    with pytest.raises(ValueError, match="Label 4"):
        metrics.rounded_accuracy_score([-3, 0, 4], pred, range(-2, 3))
    with pytest.raises(ValueError, match="Label -3"):
        metrics.within_one_accuracy_score(true, pred, range(-2, 3))


@pytest.mark.parametrize("container", [np.array, "object", "levels of a category"])
def test_text_is_scored_like_its_positions(metric, container):
    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 3, (2, 50))
    expected = metric(true, pred, levels=range(3))
    text, found = np.array(NAMES)[true], np.array(NAMES)[pred]
    if container == "levels of a category":
        result = metric(pd.Series(pd.Categorical.from_codes(true, NAMES, ordered=True)), found)
    else:
        y = text.astype(object) if container == "object" else text
        result = metric(y, found, levels=NAMES)
    if isinstance(result, dict):
        assert np.isnan(result.pop("polarity_accuracy"))
        del expected["polarity_accuracy"]
    assert result == pytest.approx(expected)


def test_columns_of_text_are_sorted():
    """As ``predict_proba`` gives them."""
    true = [0, 1, 2, 2]
    proba = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    expected = metrics.ranked_probability_error(true, proba, levels=range(3))
    columns = proba[:, [NAMES.index(name) for name in sorted(NAMES)]]
    text = np.array(NAMES)[true]
    assert metrics.ranked_probability_error(text, columns, NAMES) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        (["1", "2"], ["1", "2"], r"y_true holds numbers as text.*pd\.to_numeric"),
        (["low", "high"], ["low", "high"], r"labels must be numbers.*levels="),
        ([0, 1], ["0", "1"], "y_pred holds numbers as text"),
        ([0, np.nan], [0, 1], "y_true contains NaN or infinity: 1 of 2 values, in row 1"),
        ([0, 1, 2], [0, np.nan, np.inf], "y_pred contains NaN.*2 of 3 .*rows 1, 2.*yourself"),
        (pd.Series([0, None], dtype="Int64"), [0, 1], "y_true contains NaN"),
    ],
)
def test_what_cannot_be_scored(metric, true, pred, message):
    with pytest.raises(ValueError, match=message):
        metric(true, pred)


@pytest.mark.parametrize("metric", [metrics.spearman_score, metrics.polarity_accuracy_score])
def test_metrics_of_numbers_refuse_text(metric):
    with pytest.raises(ValueError, match="Numbers are needed here"):
        metric(NAMES, NAMES)
    with pytest.raises(ValueError, match="have no sign"):
        metrics.polarity_from_proba([[1, 0, 0]], NAMES)


def test_text_that_is_not_a_level(metric):
    with pytest.raises(ValueError, match="Label 'Good' in row 1 of y_true"):
        metric(["poor", "Good"], ["poor", "good"], levels=NAMES)
    with pytest.raises(ValueError, match="Label 'Good' in row 1 of y_pred"):
        metric(["poor", "good"], ["poor", "Good"], levels=NAMES)
    with pytest.raises(ValueError, match="are text, and labels are not"):
        metric([0, 1], [0, 1], levels=NAMES)


def test_descending_categories_of_numbers():
    """Grades, of which 1 is the best."""
    true = pd.Categorical([4, 1, 2], categories=[4, 3, 2, 1], ordered=True)
    assert metrics.within_one_accuracy_score(true, [4, 2, 4]) == pytest.approx(2 / 3)
    assert metrics.ordinal_report(true, [4, 1, 2])["spearman"] == pytest.approx(1)
    values, scale = read_labels(true)
    assert level_index(values, scale).tolist() == [0, 3, 2]
    assert off_scale(np.array([4, 2.5]), scale).tolist() == [False, True]


def test_confusion_of_text():
    display = metrics.LevelConfusionDisplay.from_predictions(NAMES, NAMES, levels=NAMES)
    labels = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert labels == NAMES and display.confusion_matrix.trace() == 3


def test_off_the_scale_is_half_a_level_beyond_its_ends():
    levels = np.array([0, 0.2, 1])
    assert off_scale(np.array([-0.11, -0.1, 1.4, 1.41]), levels).tolist() == [
        *(True, False, False, True)
    ]
    y = np.array([0.5, 3.5, 0.4, 3.6])
    assert off_scale(y, np.array([1, 2, 3])).tolist() == [False, False, True, True]


def test_names_of_rows_stay_short():
    with pytest.raises(ValueError, match=r"100 of 100 values, in rows 0, 1, 2, 3, 4 and 95 more"):
        as_labels(np.full(100, np.nan))
