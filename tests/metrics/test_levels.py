"""Rounding to levels and the validation behind every metric."""

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.metrics import round_to_levels, rounded_accuracy_score


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
def test_refuses_values_that_are_no_numbers(value):
    with pytest.raises(ValueError, match=r"Input y contains"):
        round_to_levels([0.0, value])
    with pytest.raises(ValueError, match=r"Input y_pred contains"):
        rounded_accuracy_score([0.0, 1.0], [0.0, value])


@pytest.mark.parametrize(
    "levels", [[0], [1, 0], [0, 0, 1], [0, 0.5, 1], ["low", "high"], [[0, 1]], 3, [0, np.nan]]
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_refuses_levels_that_are_no_scale(levels):
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
