"""Every metric from its equation, in plain loops over items, levels and pairs."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from sklearn_speechsent import metrics

LEVELS = list(range(-3, 4))


def to_level(value, levels=LEVELS):
    return min(max(round(float(value)), levels[0]), levels[-1])


def moments(values, weight):
    mean = sum(w * v for w, v in zip(weight, values, strict=True)) / sum(weight)
    return mean, sum(w * (v - mean) ** 2 for w, v in zip(weight, values, strict=True)) / sum(weight)


def ccc(true, pred, weight):
    (mean_t, var_t), (mean_p, var_p) = moments(true, weight), moments(pred, weight)
    items = zip(true, pred, weight, strict=True)
    cov = sum(w * (t - mean_t) * (p - mean_p) for t, p, w in items) / sum(weight)
    return 2 * cov / (var_t + var_p + (mean_t - mean_p) ** 2)


def macro_mae(true, pred, weight):
    per_level = []
    for level in LEVELS:
        rows = [i for i, t in enumerate(true) if to_level(t) == level and weight[i] > 0]
        if rows:
            error = sum(weight[i] * abs(to_level(pred[i]) - level) for i in rows)
            per_level.append(error / sum(weight[i] for i in rows))
    return sum(per_level) / len(per_level)


def kappa(true, pred, weight):
    n = len(LEVELS)
    observed = np.zeros((n, n))
    for t, p, w in zip(true, pred, weight, strict=True):
        observed[to_level(t) + 3, to_level(p) + 3] += w
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    cost = np.array([[(j - k) ** 2 for k in range(n)] for j in range(n)])
    return 1 - (cost * observed).sum() / (cost * expected).sum()


def threshold_accuracy(true, pred, weight):
    total = 0.0
    for level in LEVELS[:-1]:
        for t, p, w in zip(true, pred, weight, strict=True):
            total += w * ((to_level(t) > level) == (to_level(p) > level))
    return total / sum(weight) / (len(LEVELS) - 1)


def share(hits, weight):
    return sum(w for hit, w in zip(hits, weight, strict=True) if hit) / sum(weight)


def within_one(true, pred, weight):
    pairs = zip(true, pred, strict=True)
    return share([abs(to_level(t) - to_level(p)) <= 1 for t, p in pairs], weight)


def accuracy(true, pred, weight):
    return share([to_level(t) == to_level(p) for t, p in zip(true, pred, strict=True)], weight)


def sdk_bin(value):
    """Bin of the SDK: intervals that hold their outer end, and 0 by itself."""
    edges = [(-3, -2), (-2, -1), (-1, 0)]
    value = min(max(value, -3), 3)
    if value == 0:
        return 0
    side = -1 if value > 0 else 1
    return side * next(low for low, high in edges if low <= side * value < high)


def binned_accuracy(true, pred, weight):
    return share([sdk_bin(t) == sdk_bin(p) for t, p in zip(true, pred, strict=True)], weight)


def f1_by_class(true, pred, weight):
    result = {}
    for label in {*true, *pred}:
        items = list(zip(true, pred, weight, strict=True))
        hit = sum(w for t, p, w in items if t == label and p == label)
        false = sum(w for t, p, w in items if (t == label) != (p == label))
        result[label] = (2 * hit / (2 * hit + false), sum(w for t, _, w in items if t == label))
    return result


def weighted_f1(true, pred, weight):
    scores = f1_by_class(true, pred, weight).values()
    return sum(f1 * support for f1, support in scores) / sum(weight)


def f1_of_levels(true, pred, weight):
    return weighted_f1([to_level(t) for t in true], [to_level(p) for p in pred], weight)


def polar(true, pred, weight):
    rows = [i for i, t in enumerate(true) if t != 0]
    sides = [true[i] > 0 for i in rows], [pred[i] > 0 for i in rows]
    return *sides, [weight[i] for i in rows]


def polarity_accuracy(true, pred, weight):
    t, p, w = polar(true, pred, weight)
    return share([a == b for a, b in zip(t, p, strict=True)], w)


def polarity_f1(true, pred, weight):
    return weighted_f1(*polar(true, pred, weight))


def nonnegative_accuracy(true, pred, weight):
    return share([(t < 0) == (p < 0) for t, p in zip(true, pred, strict=True)], weight)


def nonnegative_f1(true, pred, weight):
    return weighted_f1([t < 0 for t in true], [p < 0 for p in pred], weight)


EQUATIONS = {
    "concordance_correlation_score": ccc,
    "macro_mean_absolute_error": macro_mae,
    "quadratic_weighted_kappa_score": kappa,
    "threshold_accuracy_score": threshold_accuracy,
    "within_one_accuracy_score": within_one,
    "rounded_accuracy_score": accuracy,
    "binned_accuracy_score": binned_accuracy,
    "rounded_f1_score": f1_of_levels,
    "polarity_accuracy_score": polarity_accuracy,
    "polarity_f1_score": polarity_f1,
    "nonnegative_accuracy_score": nonnegative_accuracy,
    "nonnegative_f1_score": nonnegative_f1,
}


@pytest.fixture(params=range(3))
def items(request):
    """Thirds as in CMU-MOSEI, some 0, some beyond the scale; predictions with exact zeros."""
    rng = np.random.default_rng(request.param)
    true = rng.integers(-9, 10, 80) / 3
    pred = np.where(rng.random(80) < 0.1, 0.0, 0.6 * true + rng.normal(0, 1.5, 80))
    return true, pred, rng.integers(0, 4, 80).astype(float)


@pytest.mark.parametrize("name", EQUATIONS)
def test_weighted_metric_follows_its_equation(name, items):
    true, pred, weight = items
    metric, equation = getattr(metrics, name), EQUATIONS[name]
    assert metric(true, pred) == pytest.approx(equation(true, pred, np.ones(80)), abs=1e-12)
    weighted = metric(true, pred, sample_weight=weight)
    assert weighted == pytest.approx(equation(true, pred, weight), abs=1e-12)
    assert type(weighted) is float


@pytest.mark.parametrize("name", EQUATIONS)
def test_integer_weights_repeat_items_and_order_is_nothing(name, items):
    true, pred, weight = items
    metric = getattr(metrics, name)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(80), weight.astype(int)))
    repeated = metric(true[rows], pred[rows])
    assert metric(true, pred, sample_weight=weight) == pytest.approx(repeated, abs=1e-12)


def mean_ranks(values):
    return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]


def pearson(true, pred):
    (mean_t, var_t), (mean_p, var_p) = moments(true, np.ones(80)), moments(pred, np.ones(80))
    cov = sum((t - mean_t) * (p - mean_p) for t, p in zip(true, pred, strict=True)) / 80
    return cov / math.sqrt(var_t * var_p)


def test_correlations_follow_their_equations(items):
    true, pred, _ = items
    assert metrics.pearson_score(true, pred) == pytest.approx(pearson(true, pred))
    expected = pearson(mean_ranks(true), mean_ranks(pred))
    assert metrics.spearman_score(true, pred) == pytest.approx(expected)
    signs = [
        (np.sign(true[i] - true[j]), np.sign(pred[i] - pred[j]))
        for i, j in combinations(range(80), 2)
    ]
    order = sum(a * b for a, b in signs)
    untied = sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs)
    assert metrics.kendall_score(true, pred) == pytest.approx(order / math.sqrt(untied))


def test_kappa_is_scikit_learns(items):
    true, pred, weight = items
    sides = metrics.round_to_levels(true), metrics.round_to_levels(pred)
    expected = cohen_kappa_score(*sides, labels=LEVELS, weights="quadratic", sample_weight=weight)
    result = metrics.quadratic_weighted_kappa_score(true, pred, sample_weight=weight)
    assert result == pytest.approx(expected)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_f1_is_averaged_as_named(average, items):
    true, pred, _ = items
    sides = [to_level(t) for t in true], [to_level(p) for p in pred]
    by_level = f1_by_class(*sides, np.ones(80))
    expected = {
        "macro": np.mean([f1 for f1, _ in by_level.values()]),
        "micro": accuracy(true, pred, np.ones(80)),
    }
    result = metrics.rounded_f1_score(true, pred, average=average)
    assert result == pytest.approx(expected[average])


def test_f1_refuses_an_unnamed_average():
    with pytest.raises(ValueError, match="average must be"):
        metrics.rounded_f1_score([0], [0], average="binary")


def test_threshold_accuracy_is_the_mae_of_levels(items):
    true, pred, _ = items
    mae = np.mean([abs(to_level(t) - to_level(p)) for t, p in zip(true, pred, strict=True)])
    assert metrics.threshold_accuracy_score(true, pred) == pytest.approx(1 - mae / 6)


def test_ranked_probability_error_follows_its_equation(items):
    true, _, weight = items
    proba = np.random.default_rng(1).dirichlet(np.ones(7), 80)
    per_item = [
        sum((sum(row[: k + 1]) - (to_level(t) <= LEVELS[k])) ** 2 for k in range(6))
        for t, row in zip(true, proba, strict=True)
    ]
    error = metrics.ranked_probability_error
    assert error(true, proba) == pytest.approx(np.mean(per_item))
    expected = np.average(per_item, weights=weight)
    assert error(true, proba, LEVELS, sample_weight=weight) == pytest.approx(expected)


def test_ranked_probability_error_of_a_certain_prediction_is_the_mae(items):
    true, pred, _ = items
    ranks = metrics.round_to_levels(pred) + 3
    mae = np.mean(np.abs(metrics.round_to_levels(true) + 3 - ranks))
    assert metrics.ranked_probability_error(true, np.eye(7)[ranks]) == pytest.approx(mae)


def test_both_readings_of_acc7_on_cmu_mosei(data_home):
    """What the best constant reaches in each of them, on the official test fold."""
    labels = pd.read_csv(data_home / "cmu_mosei" / "labels.csv")
    y = labels.loc[labels["split"] == "test", "sentiment"].to_numpy()
    readings = metrics.rounded_accuracy_score, metrics.binned_accuracy_score
    always = {c: [f"{100 * m(y, np.full(len(y), c)):.2f}" for m in readings] for c in (0.0, 0.4)}
    assert always == {0.0: ["41.36", "22.00"], 0.4: ["41.36", "32.41"]}


def test_labels_off_the_scale_have_no_bin():
    with pytest.raises(ValueError, match=r"Label 4\.0 in row 1 of y_true"):
        metrics.binned_accuracy_score([0, 4], [0, 0])
    assert metrics.binned_accuracy_score([-3, 3], [-7.5, 9]) == 1.0
