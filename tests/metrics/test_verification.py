"""Error rates of speaker verification from their equations, the trials and the DET picture."""

import tracemalloc
from collections import Counter
from fractions import Fraction
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest

from sklearn_speechsent.metrics import (
    VerificationDetDisplay,
    equal_error_rate,
    make_trials,
    min_detection_cost,
)


def rates(same, scores, threshold):
    """Miss and false-alarm rate of accepting what reaches the threshold, as fractions."""
    missed = [s < threshold for s, t in zip(scores, same, strict=True) if t]
    raised = [s >= threshold for s, t in zip(scores, same, strict=True) if not t]
    return Fraction(int(sum(missed)), len(missed)), Fraction(int(sum(raised)), len(raised))


def operating_points(same, scores):
    """Miss and false-alarm rate of every threshold, from accepting all to rejecting all."""
    return [rates(same, scores, threshold) for threshold in [*sorted(set(scores)), np.inf]]


def neighbours(same, scores):
    """Return the operating points around miss = false alarm."""
    points = operating_points(same, scores)
    past = next(i for i, (miss, alarm) in enumerate(points) if miss >= alarm)
    return points[past - 1 : past + 1]


def eer_by_equation(same, scores):
    """Solve miss = false alarm on the line through the two neighbouring operating points."""
    (miss_0, alarm_0), (miss_1, alarm_1) = neighbours(same, scores)
    x = (alarm_0 - miss_0) / ((miss_1 - miss_0) - (alarm_1 - alarm_0))
    assert 0 <= x <= 1
    return miss_0 + x * (miss_1 - miss_0)


@pytest.fixture(params=range(12))
def trials(request):
    """Few or many trials, balanced or not, with continuous scores or many ties."""
    rng = np.random.default_rng(request.param)
    same = np.repeat([True, False], rng.integers(1, 60, 2))
    scores = rng.normal(size=len(same)) + rng.choice([-1, 0, 1, 2]) * same
    scores = np.round(scores, request.param % 3) if request.param % 4 else scores
    order = rng.permutation(len(same))
    return same[order], scores[order]


def test_eer_follows_its_equation(trials):
    eer = equal_error_rate(*trials)
    assert eer == pytest.approx(float(eer_by_equation(*trials)), abs=1e-12)
    assert type(eer) is float


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_eer_threshold_is_the_better_of_the_two_around_the_crossing(trials, dtype):
    same, scores = trials[0], trials[1].astype(dtype)
    eer, threshold = equal_error_rate(same, scores, return_threshold=True)
    assert eer == equal_error_rate(same, scores)
    assert type(threshold) is float
    assert np.isfinite(threshold)
    # compared as a user does, in the precision of the scores
    accepted = scores >= threshold
    point = 1 - accepted[same].mean(), accepted[~same].mean()
    around = neighbours(same, scores.astype(float))
    assert any(point == pytest.approx([float(rate) for rate in other]) for other in around)
    best = min(abs(float(sum(other)) / 2 - eer) for other in around)
    assert abs(sum(point) / 2 - eer) == pytest.approx(best, abs=1e-12)


def test_eer_of_hand_counted_trials():
    same, scores = [1, 1, 1, 0, 0, 0, 0], [9, 7, 2, 8, 4, 3, 1]
    # at 7: 1 of 3 missed, 1 of 4 raised; at 4: 1 of 3 and 2 of 4; the step between is at 1/3
    eer, threshold = equal_error_rate(same, scores, return_threshold=True)
    assert eer == pytest.approx(1 / 3)
    assert threshold == 5.5


def test_eer_of_normal_scores():
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((i + 0.5) / 5000) for i in range(5000)])
    scores = np.concatenate([quantiles + 2, quantiles])
    same = np.repeat([True, False], 5000)
    eer, threshold = equal_error_rate(same, scores, return_threshold=True)
    assert eer == pytest.approx(normal.cdf(-1), abs=1e-3)
    assert threshold == pytest.approx(1, abs=1e-2)


def test_eer_depends_only_on_the_order_of_scores(trials):
    same, scores = trials
    eer = equal_error_rate(same, scores)
    assert equal_error_rate(same, np.exp(scores)) == pytest.approx(eer)
    assert equal_error_rate(same, -scores) == pytest.approx(1 - eer)
    assert equal_error_rate(~same, -scores) == pytest.approx(eer)


@pytest.mark.parametrize("kind", [bool, int, float, object])
def test_truth_may_be_of_any_type(kind):
    same = np.array([True, False, True, False]).astype(kind)
    scores = [0.9, 0.4, 0.3, 0.1]
    assert equal_error_rate(same, scores) == 0.5
    assert min_detection_cost(list(same), scores) == 0.5


def test_perfect_separation_puts_the_threshold_between_the_kinds():
    eer, threshold = equal_error_rate([0, 1, 0, 1], [1, 7, 3, 5], return_threshold=True)
    assert (eer, threshold) == (0.0, 4.0)
    assert min_detection_cost([0, 1, 0, 1], [1, 7, 3, 5]) == 0.0
    assert equal_error_rate([1, 0, 1, 0], [1, 7, 3, 5]) == 1.0


@pytest.mark.parametrize("start", np.linspace(0.9, 1, 8))
def test_threshold_between_neighbouring_floats_still_separates(start):
    low = np.float32(start)  # the middle rounds down for some, up for others
    scores = np.array([low, np.nextafter(low, np.float32(2))])
    threshold = equal_error_rate([0, 1], scores, return_threshold=True)[1]
    assert (scores >= threshold).tolist() == [False, True]


def test_tied_scores_are_chance():
    # accepting all is as good as rejecting all, and its threshold is finite
    assert equal_error_rate([1, 0, 0, 1, 0], [0.7] * 5, return_threshold=True) == (0.5, 0.7)
    assert min_detection_cost([1, 0, 0, 1, 0], [0.7] * 5) == 1.0


def test_threshold_takes_equal_rates_over_an_equal_mean():
    # accepting 5 gives rates 1/2 and 1/2, accepting 4 as well gives 0 and 1: both means are 1/2
    same, scores = [1, 1, 0, 0], [6, 4, 5, 4]
    assert equal_error_rate(same, scores, return_threshold=True) == (0.5, 4.5)


@pytest.mark.parametrize(
    ("p_target", "c_miss", "c_false_alarm"),
    [(0.01, 1, 1), (0.05, 1, 1), (0.5, 2.0, 1), (0.01, 10, 0.1), (0.9, 1, 3.0)],
)
def test_detection_cost_follows_its_equation(trials, p_target, c_miss, c_false_alarm):
    weight_miss = Fraction(c_miss) * Fraction(p_target)
    weight_alarm = Fraction(c_false_alarm) * (1 - Fraction(p_target))
    points = operating_points(*trials)
    costs = [weight_miss * miss + weight_alarm * alarm for miss, alarm in points]
    # the first point accepts every trial, the last rejects every one
    expected = float(min(costs) / min(costs[0], costs[-1]))
    weights = {"p_target": p_target, "c_miss": c_miss, "c_false_alarm": c_false_alarm}
    cost = min_detection_cost(*trials, **weights)
    assert cost == pytest.approx(expected, abs=1e-12)
    assert type(cost) is float
    assert cost <= 1


def test_detection_cost_of_hand_counted_trials():
    same, scores = [1] * 4 + [0] * 50, [9, 8, 6, 3, 7, *[0] * 49]
    # half are missed without a false alarm, or none at 1 of 50, which costs 99 / 50 or 19 / 50
    assert min_detection_cost(same, scores) == 0.5
    assert min_detection_cost(same, scores, p_target=0.05) == pytest.approx(0.38)


@pytest.mark.parametrize("measure", [equal_error_rate, min_detection_cost])
@pytest.mark.parametrize(
    ("same", "scores", "message"),
    [
        ([1, 0, 0], [0.2, np.nan, np.inf], r"2 score\(s\), the first in row 1 \(nan\).*Leave"),
        ([1, 0, 0], [-np.inf, 1, 2], r"1 score\(s\), the first in row 0 \(-inf\)"),
        ([1, 1, 1], [1, 2, 3], "3 same-speaker and 0 different-speaker.*make_trials"),
        ([False] * 2, [1, 2], "0 same-speaker and 2 different-speaker"),
        ([], [], "0 same-speaker and 0 different-speaker"),
        ([1, 0, 1], [1, 2], "y_true has 3 trials, y_score 2 scores"),
        (["same", "other"], [1, 2], "such as .'same', 'other'.*compare names"),
        ([1, np.nan, 0], [1, 2, 3], "without a truth"),
        ([1, None, 0], [1, 2, 3], "without a truth"),
        ([1, 0], [[1, 2], [3, 4]], "1d array"),
    ],
)
def test_trials_that_have_no_error_rate(measure, same, scores, message):
    with pytest.raises(ValueError, match=message):
        measure(same, scores)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"p_target": 0}, "p_target must be .* got 0"),
        ({"p_target": 1.0}, "p_target must be .* got 1.0"),
        ({"p_target": np.nan}, "p_target must be .* got nan"),
        ({"c_miss": 0}, "c_miss must be a positive"),
        ({"c_false_alarm": -1}, "c_false_alarm must be a positive, finite cost, got -1"),
        ({"c_false_alarm": np.inf}, "c_false_alarm must be a positive, finite cost, got inf"),
    ],
)
def test_costs_that_weigh_nothing(parameters, message):
    with pytest.raises(ValueError, match=message):
        min_detection_cost([1, 0], [1, 0], **parameters)


SPEAKERS = ["eve", "ann", "eve", "bob", "ann", "bob", "eve", "eve", "ann"]


NUMBERS = [{"eve": 7, "ann": -2}.get(name, 0) for name in SPEAKERS]


@pytest.mark.parametrize("speakers", [SPEAKERS, np.array(SPEAKERS, dtype=object), NUMBERS])
def test_all_pairs_in_lexicographic_order(speakers):
    first, second, same = make_trials(speakers)
    pairs = list(combinations(range(len(SPEAKERS)), 2))
    assert list(zip(first, second, strict=True)) == pairs
    assert same.tolist() == [SPEAKERS[i] == SPEAKERS[j] for i, j in pairs]
    assert (first.dtype, second.dtype, same.dtype) == (np.intp, np.intp, bool)


# 10 pairs of SPEAKERS are of one speaker, 26 of two
@pytest.mark.parametrize(
    ("n_trials", "n_same", "n_different"),
    [(2, 1, 1), (5, 2, 3), (12, 6, 6), (20, 10, 10), (30, 10, 20), (36, 10, 26), (999, 10, 26)],
)
def test_drawn_pairs_are_some_of_all(n_trials, n_same, n_different):
    first, second, same = make_trials(SPEAKERS, n_trials=n_trials, random_state=0)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert (first < second).all()
    assert same.tolist() == [SPEAKERS[i] == SPEAKERS[j] for i, j in pairs]
    assert (same.sum(), (~same).sum()) == (n_same, n_different)
    assert first.dtype == second.dtype == np.intp


@pytest.mark.parametrize("n_trials", [4, 12, 24])
def test_every_pair_of_a_kind_is_drawn_equally_often(n_trials):
    seen, rng, n_draws = Counter(), np.random.RandomState(0), 1500
    for _ in range(n_draws):
        first, second, _ = make_trials(SPEAKERS, n_trials=n_trials, random_state=rng)
        seen.update(zip(first.tolist(), second.tolist(), strict=True))
    n_same = min(n_trials // 2, 10)
    for i, j in combinations(range(len(SPEAKERS)), 2):
        chance = n_same / 10 if SPEAKERS[i] == SPEAKERS[j] else (n_trials - n_same) / 26
        spread = np.sqrt(chance * (1 - chance) / n_draws)
        assert seen[i, j] / n_draws == pytest.approx(chance, abs=4.5 * spread + 1e-12)


def test_seed_makes_the_same_trials():
    speakers = np.arange(200) % 20
    one, two, other = (make_trials(speakers, n_trials=50, random_state=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[:2], other[:2])


@pytest.mark.parametrize("n_rare", [2, 11_500, 20_000])
def test_pairs_of_a_large_corpus_are_not_all_made(n_rare):
    """23,000 utterances make 264 million pairs, whose row numbers alone fill 4 GB."""
    speakers = np.zeros(23_000, dtype=int)
    speakers[-n_rare:] = 1 + np.arange(n_rare) % max(n_rare // 200, 1)
    tracemalloc.start()
    first, second, same = make_trials(speakers, n_trials=10_000, random_state=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert (same.sum(), len(same)) == (5000, 10_000)
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 10_000
    np.testing.assert_array_equal(same, speakers[first] == speakers[second])


@pytest.mark.parametrize(
    ("speakers", "message"),
    [
        (["ann", "ann"], r"1 speaker\(s\) \['ann'\].*two or more"),
        ([], r"0 speaker\(s\)"),
        (["ann", "ann", "bob", "eve", "eve"], r"1 of 3 speakers have .* \('bob'\).*leave"),
        ([0, 0, *range(7, 0, -1)], r"7 of 8 .* \(7, 6, 5, 4, 3, …\)"),
        (["ann", None, "ann"], r"1 missing value\(s\), the first in row 1"),
        ([1.0, 1.0, np.nan, np.nan], r"2 missing value\(s\), the first in row 2"),
    ],
)
@pytest.mark.parametrize("n_trials", [None, 4])
def test_speakers_that_make_no_trials(speakers, message, n_trials):
    with pytest.raises(ValueError, match=message):
        make_trials(speakers, n_trials=n_trials)


@pytest.mark.parametrize("n_trials", [1, 0, -3, 2.5, "10"])
def test_number_of_trials_is_checked(n_trials):
    with pytest.raises(ValueError, match=f"at least 2, .*got {n_trials!r}"):
        make_trials(SPEAKERS, n_trials=n_trials)


@pytest.fixture
def pyplot():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    yield pyplot
    pyplot.close("all")


def legend_of(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_display_marks_the_equal_error_point(pyplot, trials):
    display = VerificationDetDisplay.from_predictions(*trials, name="ours", color="C3")
    eer = equal_error_rate(*trials)
    assert display.eer_ == pytest.approx(eer)
    assert legend_of(display) == [f"ours (EER {eer:.2%})"]
    x, y = display.marker_.get_data()
    deviate = NormalDist().inv_cdf(np.clip(eer, 1e-9, 1 - 1e-9))
    assert x == y == pytest.approx(np.clip(deviate, -3, 3))
    assert display.marker_.get_color() == display.line_.get_color() == "C3"
    display.figure_.canvas.draw()


def test_display_draws_the_curve_in_normal_deviates(pyplot):
    same, scores = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0], [9, 8, 6, 4, 2, 7, 5, 3, 1, 0]
    display = VerificationDetDisplay.from_predictions(same, scores)
    drawn = [NormalDist().cdf(v) for v in np.ravel(display.line_.get_data())]
    steps = np.reshape(drawn, (2, -1)).T
    # miss and false-alarm rate by hand; 0 is drawn as the smallest positive step
    corners = [(0.6, 0), (0.6, 0.2), (0.4, 0.2), (0.4, 0.4), (0.2, 0.4), (0.2, 0.6), (0, 0.6)]
    np.testing.assert_allclose(steps, [(alarm, miss) for miss, alarm in corners[::-1]], atol=1e-9)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("False alarm rate", "Miss rate")
    assert "5%" in [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert legend_of(display) == ["EER 40.00%"]


def test_displays_share_axes_and_are_drawn_again(pyplot):
    _, ax = pyplot.subplots()
    parameters = {"name": "a", "label": "mine", "ax": ax}
    first = VerificationDetDisplay.from_predictions([1, 1, 0, 0], [4, 3, 2, 1], **parameters)
    again = first.plot(ax, name="b")
    assert first.ax_ is again.ax_ is ax
    assert again.eer_ == 0.0
    assert legend_of(again) == ["mine", "b (EER 0.00%)"]
    assert again.marker_.get_data()[0] == ax.get_xlim()[0]


def test_display_of_a_verifier(pyplot):
    class Verifier:
        def score_pairs(self, X1, X2):
            return -np.abs(np.subtract(X1, X2))

    X1, X2, same = [1, 5, 2, 9], [1, 8, 4, 4], [True, True, False, False]
    display = VerificationDetDisplay.from_estimator(Verifier(), X1, X2, same)
    assert display.eer_ == equal_error_rate(same, [0, -3, -2, -5]) == 0.5
    assert legend_of(display) == ["Verifier (EER 50.00%)"]
    named = VerificationDetDisplay.from_estimator(Verifier(), X1, X2, same, name="x")
    assert legend_of(named) == ["x (EER 50.00%)"]
