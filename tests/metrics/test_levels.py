"""The rounding rule and the validation that all metrics share."""

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.metrics import round_to_levels, rounded_accuracy_score
from sklearn_speechsent.metrics.levels import level_index, observed_levels


def test_rounds_half_to_even_and_clips():
    y = [-9, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.2, 1e30]
    assert round_to_levels(y).tolist() == [-3, -2, -2, 0, 0, 2, 2, 3, 3]
    assert round_to_levels(y, range(-1, 2)).tolist() == [-1, -1, -1, 0, 0, 1, 1, 1, 1]


def test_returns_integers_of_any_container_of_numbers():
    assert round_to_levels(pd.Series([0.7, -0.7])).dtype == np.int64
    assert round_to_levels(np.float32([[0.7], [-0.7]])).tolist() == [1, -1]
    assert round_to_levels([1, 0], np.array([-1.0, 0.0, 1.0])).tolist() == [1, 0]


def test_a_scale_with_gaps_takes_the_nearest_level():
    levels = [-2, -1, 1, 2]
    y = np.random.default_rng(0).normal(0, 2, 200)
    expected = [min(levels, key=lambda level: (abs(value - level), level)) for value in y]
    assert round_to_levels(y, levels).tolist() == expected
    assert round_to_levels([0.0], levels).tolist() == [-1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_values_that_are_not_numbers(value):
    with pytest.raises(ValueError, match=r"Input y contains"):
        round_to_levels([0.0, value])
    with pytest.raises(ValueError, match=r"Input y_pred contains"):
        rounded_accuracy_score([0.0, 1.0], [0.0, value])


@pytest.mark.parametrize(
    "levels",
    [
        *([0], [1, 0], [0, 0, 1], [0, np.inf], [[0, 1]], 3, [0, np.nan], [0, None]),
        *(["low", "low"], ["low", 1], ["low"], ["low", None], [b"low", b"high"]),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_refuses_levels_that_are_not_a_scale(levels):
    with pytest.raises(ValueError, match="levels must be"):
        round_to_levels([0.0], levels)


@pytest.mark.parametrize(
    ("weight", "message"),
    [([1], "1 entries for 2"), ([1, -1], "non-negative"), ([0, 0], "zero everywhere")],
)
def test_refuses_what_cannot_be_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        rounded_accuracy_score([0, 1], [0, 1], sample_weight=weight)


def test_refuses_lengths_that_differ_and_nothing_at_all():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        rounded_accuracy_score([0, 1], [0])
    with pytest.raises(ValueError, match="0 sample"):
        rounded_accuracy_score([], [])


@pytest.mark.parametrize("levels", [[-1.5, 0, 2], [0, 0.1, 0.3], [1, 10, 100], [-0.5, 0.5, 1.5]])
def test_any_increasing_numbers_are_levels(levels):
    y = np.random.default_rng(0).uniform(levels[0] - 1, levels[-1] + 1, 200)
    expected = [min(levels, key=lambda level: (abs(value - level), level)) for value in y]
    rounded = round_to_levels(y, levels)
    assert rounded.tolist() == expected
    assert rounded.dtype == (np.int64 if levels[-1] == 100 else np.float64)
    assert rounded_accuracy_score(rounded, y, levels) == 1
    assert rounded_accuracy_score(y.clip(levels[0], levels[-1]), rounded, levels) == 1
    middle = (np.array(levels[1:]) + levels[:-1]) / 2
    np.testing.assert_array_equal(round_to_levels(middle, levels), levels[:-1])


def test_observed_levels_all_have_a_label():
    assert observed_levels(np.array([-2.2, 0.9, 1.2])).tolist() == [-2, 1]
    assert observed_levels(np.float32([1.5, 1, 0.5])).tolist() == [0, 1, 2]
    gap = np.array([-3, 1, 1.5])  # no label is nearer to 2 than to 1
    assert observed_levels(gap).tolist() == [-3, 1]
    assert level_index(gap, observed_levels(gap)).tolist() == [0, 1, 1]
    assert observed_levels(np.uint8([200, 255, 200])).dtype == np.uint8
