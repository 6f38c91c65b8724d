"""Tables of votes: how they are read, and metrics against them."""

import re

import krippendorff
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from sklearn_speechsent import OrdinalClassifier, metrics
from sklearn_speechsent.metrics import get_scorer, get_scorer_names
from sklearn_speechsent.metrics.votes import median_index, read_votes, share_above
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

LEVELS = [-2, -1, 0, 1, 2]
SCALE = ["bad", "fair", "good"]  # sorted by chance
NAMES = ["low", "medium", "high"]


@pytest.fixture
def votes(rng):
    """Votes of one to five annotators on 40 recordings."""
    counts = [rng.multinomial(rng.integers(1, 6), rng.dirichlet(np.ones(5))) for _ in range(40)]
    return pd.DataFrame(counts, columns=LEVELS)


def each_vote(votes, *others):
    """One row per vote: level, weight of one in the number of its recording, and others' rows."""
    levels, weights, rows = [], [], []
    for row, counts in enumerate(votes.to_numpy()):
        for level, count in zip(votes.columns, counts, strict=True):
            levels += [level] * count
            weights += [1 / counts.sum()] * count
            rows += [row] * count
    return (np.array(levels), np.array(weights), *(np.asarray(other)[rows] for other in others))


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda v: v,
        lambda v: v[[2, -1, 0, 1, -2]],
        lambda v: v.to_numpy(),
        lambda v: v.to_numpy().tolist(),
        lambda v: v.div(v.sum(axis=1), axis=0),
        lambda v: v.rename(columns=str),
        lambda v: v.rename(columns=float).astype("Int64"),
        lambda v: v.set_index(np.arange(100, 140)),
    ],
    ids=["table", "order", "array", "lists", "shares", "text", "nullable", "index"],
)
def test_the_same_votes_in_every_form(form, votes):
    shares, scale = read_votes(form(votes), LEVELS)
    np.testing.assert_allclose(shares, votes.div(votes.sum(axis=1), axis=0), rtol=1e-15)
    assert scale.tolist() == LEVELS


def test_levels_without_votes_may_lack():
    shares, scale = read_votes(pd.DataFrame({1: [1], -1: [1]}), LEVELS)
    assert shares.tolist() == [[0, 0.5, 0, 0.5, 0]] and scale.tolist() == LEVELS


def test_text():
    table = pd.DataFrame([[1, 0, 3]], columns=["high", "low", "medium"])  # as crosstab sorts them
    shares, scale = read_votes(table, NAMES)
    assert shares.tolist() == [[0, 0.75, 0.25]] and scale.tolist() == NAMES
    table.columns = pd.CategoricalIndex(table.columns, categories=NAMES, ordered=True)
    assert read_votes(table)[0].tolist() == shares.tolist()
    descending = pd.CategoricalIndex([1, -1], categories=[1, 0, -1], ordered=True)
    shares, scale = read_votes(pd.DataFrame([[3, 1]], columns=descending))
    assert shares.tolist() == [[0.75, 0, 0.25]] and scale.tolist() == [1, 0, -1]
    with pytest.raises(ValueError, match=r"'high', 'low', 'medium'.*order is not known"):
        read_votes(pd.DataFrame([[1, 0, 3]], columns=["high", "low", "medium"]))


@pytest.mark.parametrize(
    ("table", "levels", "says"),
    [
        ([[1, 0], [2, -1]], [0, 1], "negative number: -1 in row 1, column 1 .1 of 2 rows.*count_v"),
        (pd.DataFrame({0: [1, 0], 1: [1, 0]}), None, "row 1 .1 of 2. has none.*Leave"),
        (pd.DataFrame({0: [1, 1], 1: [1, np.nan]}), None, "NaN: nan in row 1, column 1.*Write 0"),
        (pd.DataFrame({0: [1, 1], 1: [1, None]}, dtype="Int64"), None, "NaN: <NA> in row 1"),
        (pd.DataFrame({0: [1, 1], 1: [1, "x"]}), None, "not a number: 'x' in row 1, column 1"),
        ([[1, np.inf], [1, 1]], [0, 1], "infinity: inf in row 0, column 1"),
        ([[1, 0], [0, 1]], None, "2 columns.*levels are not known.*levels=.*cross_val_predict"),
        ([[1, 0], [0, 1]], [0, 1, 2], r"2 columns of votes for the 3 levels \[0, 1, 2\].*levels="),
        (pd.DataFrame({0: [1], 5: [1]}), [0, 1], r"column 5, and the levels are \[0, 1\]"),
        (pd.DataFrame([[1, 1]], columns=["1", "1.0"]), None, "ascending order"),
        (pd.DataFrame([[1, 1]], columns=["1", "1.0"]), [0, 1], "several columns of one level"),
        (pd.DataFrame([[1, 1]], columns=["ann", "ben"]), [0, 1], "column 'ann'"),
        (pd.DataFrame([[1, 1]], columns=["ann", "ben"]), None, "order is not known.*annotators"),
        (np.zeros((0, 3)), [0, 1, 2], "0 sample"),
        (pd.DataFrame([[1, 1]], columns=[0, "x"]), None, "order is not known"),
        (pd.DataFrame([[1, 1]], columns=pd.MultiIndex.from_product([[0], [1, 2]])), None, "order"),
    ],
    ids=range(16),
)
def test_what_is_refused(table, levels, says):
    with pytest.raises(ValueError, match=says):
        read_votes(table, levels)


def test_medians_and_sides_are_exact(rng):
    """A tie is a tie and unanimous votes are unanimous, whatever their shares are."""
    for n in range(1, 12):
        counts = np.array([[0, n, 0, 0], [n, 0, 0, n], [0, n, n, 0], [1, 2, 4, 0]])
        for table in (counts, counts / counts.sum(axis=1, keepdims=True) * rng.random((4, 1))):
            shares, _ = read_votes(table, range(4))
            assert median_index(shares).tolist() == [1, 0, 1, 2]
            assert share_above(shares)[0].tolist() == [1, 0, 0]


# -- metrics ---------------------------------------------------------------------------------------


@pytest.fixture
def proba(rng):
    return rng.dirichlet(np.ones(5), size=40)


def test_ranked_probability_error(votes, proba):
    expected = 0
    for row in range(40):
        share = votes.to_numpy()[row] / votes.to_numpy()[row].sum()
        for k in range(4):
            expected += (proba[row, : k + 1].sum() - share[: k + 1].sum()) ** 2 / 40
    assert metrics.ranked_probability_error(votes, proba) == pytest.approx(expected)
    shares = votes.div(votes.sum(axis=1), axis=0)
    assert metrics.ranked_probability_error(votes, shares) == pytest.approx(0)


def test_cross_entropy_is_the_log_loss_of_single_votes(votes, proba):
    y, weight, of_votes = each_vote(votes, proba)
    expected = sklearn.metrics.log_loss(y, of_votes, sample_weight=weight, labels=LEVELS)
    assert metrics.cross_entropy_error(votes, proba) == pytest.approx(expected)
    assert np.isfinite(metrics.cross_entropy_error([0], [[1.0, 0, 0]], levels=[-1, 0, 1]))


def test_expected_error_and_share_are_those_of_single_votes(votes, rng):
    predicted = rng.uniform(-3, 3, 40)
    y, weight, of_votes = each_vote(votes, predicted)
    expected = sklearn.metrics.mean_absolute_error(y, of_votes, sample_weight=weight)
    assert metrics.expected_absolute_error(votes, predicted) == pytest.approx(expected)
    levels = metrics.round_to_levels(of_votes, LEVELS)
    expected = sklearn.metrics.accuracy_score(y, levels, sample_weight=weight)
    assert metrics.vote_share_score(votes, predicted) == pytest.approx(expected)


def test_metrics_of_text():
    votes = np.array([[3, 1, 0], [0, 1, 1]])
    assert metrics.vote_share_score(votes, ["low", "high"], NAMES) == pytest.approx(0.625)
    assert metrics.expected_absolute_error(votes, ["high", "high"], NAMES) == pytest.approx(
        (0.75 * 2 + 0.25) / 2 / 2 + 0.25 + (0.75 * 2 + 0.25) / 4 - 0.0
    )
    # Columns of probabilities are sorted: high, low, medium.
    assert metrics.ranked_probability_error(
        votes, [[0, 0.75, 0.25], [0.5, 0, 0.5]], NAMES
    ) == pytest.approx(0)


def test_a_descending_category_is_a_scale():
    columns = pd.CategoricalIndex([3, 2, 1], categories=[3, 2, 1], ordered=True)  # grades
    votes = pd.DataFrame([[4, 1, 0], [0, 1, 3]], columns=columns)
    assert metrics.vote_share_score(votes, [3, 1]) == pytest.approx((0.8 + 0.75) / 2)
    assert metrics.quadratic_weighted_kappa_score(votes, [3, 1]) == 1
    assert metrics.expected_absolute_error(votes, [3, 1]) == pytest.approx((0.2 + 0.25) / 2)
    proba = votes.div(votes.sum(axis=1), axis=0).to_numpy()[:, ::-1]
    assert metrics.ranked_probability_error(votes, proba) == pytest.approx(0)


def test_acc5_takes_votes_on_seven_levels():
    votes = pd.DataFrame({-3: [3, 0], 2: [0, 1], 3: [0, 2]})
    assert metrics.rounded_accuracy_score(votes, [-2, 2], levels=range(-2, 3)) == 1
    assert metrics.rounded_accuracy_score(votes, [-2, 3], levels=range(-3, 4)) == 0.5


def test_other_metrics_take_median_or_mean(votes, rng):
    predicted = rng.uniform(-2, 2, 40)
    shares, scale = read_votes(votes)
    median, mean = scale[median_index(shares)], shares @ scale
    for name in ("quadratic_weighted_kappa_score", "rounded_accuracy_score"):
        assert getattr(metrics, name)(votes, predicted) == getattr(metrics, name)(median, predicted)
    for name in ("spearman_score", "concordance_correlation_score", "polarity_accuracy_score"):
        assert getattr(metrics, name)(votes, predicted) == getattr(metrics, name)(mean, predicted)
    report = metrics.ordinal_report(votes, predicted)
    assert report["mae"] == pytest.approx(np.abs(mean - predicted).mean())
    assert report == metrics.ordinal_report(votes.to_numpy(), predicted, LEVELS)
    assert report["accuracy"] == metrics.rounded_accuracy_score(median, predicted, LEVELS)


@pytest.mark.parametrize("name", get_scorer_names())
def test_every_scorer_cross_validates(name, votes, rng):
    X = votes.to_numpy() @ np.arange(-2, 3)[:, None] + rng.normal(size=(40, 2))
    model = OrdinalClassifier(LogisticRegression())
    scores = cross_val_score(model, X, votes, scoring=get_scorer(name), cv=4)
    shuffled = cross_val_score(model, X[::-1], votes, scoring=get_scorer(name), cv=4)
    assert np.isfinite(scores).all() and scores.mean() > shuffled.mean()


def test_an_array_needs_the_levels_of_its_columns(votes):
    with pytest.raises(ValueError, match=re.escape("5 columns of votes for the 7 levels")):
        metrics.vote_share_score(votes.to_numpy(), np.zeros(40))
    assert metrics.vote_share_score(votes.to_numpy(), np.zeros(40), LEVELS) > 0


# -- annotators ------------------------------------------------------------------------------------


def test_alpha_of_the_published_example():
    """Krippendorff (2011), data of four observers on twelve units; 12 has one value only."""
    nan = np.nan
    ratings = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    votes = np.stack([(ratings == level).sum(axis=0) for level in range(1, 6)], axis=1)
    for distance, alpha in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        found = metrics.krippendorff_alpha_score(votes, range(1, 6), distance=distance)
        assert found == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize("distance", ["ordinal", "interval", "nominal"])
def test_alpha_is_that_of_another_package(distance, votes):
    expected = krippendorff.alpha(
        value_counts=votes.to_numpy(), value_domain=LEVELS, level_of_measurement=distance
    )
    assert metrics.krippendorff_alpha_score(votes, distance=distance) == pytest.approx(expected)


def test_alpha_of_what_says_nothing():
    assert np.isnan(metrics.krippendorff_alpha_score([[3, 0], [2, 0]], [0, 1]))
    assert np.isnan(metrics.krippendorff_alpha_score([[1, 0], [0, 1]], [0, 1]))
    assert metrics.krippendorff_alpha_score([[3, 0], [0, 2]], [0, 1]) == 1
    with pytest.raises(ValueError, match=r"shares, such as \[0.5, 0.5\] in row 0"):
        metrics.krippendorff_alpha_score([[0.5, 0.5], [1, 0]], [0, 1])


def test_leave_one_out(rng):
    heard = rng.normal(size=200)
    ratings = pd.DataFrame({name: heard + 0.3 * rng.normal(size=200) for name in "abc"})
    ratings["deaf"] = rng.normal(size=200)
    ratings.loc[:49, "a"] = np.nan
    found = metrics.leave_one_out_agreement(ratings)
    assert list(found.index) == ["a", "b", "c", "deaf"] and found[:3].min() > 0.8
    assert abs(found["deaf"]) < 0.3
    rows = ratings.dropna()
    expected = metrics.spearman_score(rows[["b", "c", "deaf"]].mean(axis=1), rows["a"])
    assert found["a"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="Number the levels"):
        metrics.leave_one_out_agreement(pd.DataFrame({"a": ["low"], "b": ["high"]}))


# -- folds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "array", "text"])
def test_folds_are_those_of_the_medians(form, votes):
    shares, scale = read_votes(votes)
    speakers = np.arange(40) % 8
    expected = StratifiedSpeakerKFold(2).split(votes, scale[median_index(shares)], speakers)
    table = votes.to_numpy() if form == "array" else votes.copy()
    if form == "text":
        names = list("zyxwv")
        table.columns = pd.CategoricalIndex(names, categories=names, ordered=True)
    found = StratifiedSpeakerKFold(2).split(votes, table, speakers)
    for (_, test), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(test, other)


def test_bins_are_those_of_the_means(votes):
    speakers = np.arange(40) % 8
    cv = StratifiedSpeakerKFold(2, n_bins=3)
    means = read_votes(votes)[0] @ np.array(LEVELS)
    for (_, test), (_, other) in zip(
        cv.split(votes, votes, speakers), cv.split(votes, means, speakers), strict=True
    ):
        np.testing.assert_array_equal(test, other)
