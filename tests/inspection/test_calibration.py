"""Calibration over thresholds against its equation."""

import numpy as np
import pytest

from sklearn_speechsent.inspection import threshold_calibration
from sklearn_speechsent.metrics import ranked_probability_error


def by_hand(y, proba, levels):
    """Expected calibration error, bin by bin."""
    errors = []
    for k in range(len(levels) - 1):
        above, outcome = proba[:, k + 1 :].sum(axis=1), y > levels[k]
        error = 0.0
        for low in np.arange(10) / 10:
            inside = (above >= low) & (above < low + 0.1) if low < 0.9 else above >= low
            if inside.any():
                error += inside.mean() * abs(above[inside].mean() - outcome[inside].mean())
        errors.append(error)
    return np.mean(errors)


def test_error_is_that_of_its_equation(rng):
    levels = np.arange(-1, 3)
    proba, y = rng.dirichlet(np.ones(4), 300), rng.integers(-1, 3, 300)
    found = threshold_calibration(y, proba, levels)
    assert found.error == pytest.approx(by_hand(y, proba, levels))
    assert found.ranked_probability_error == ranked_probability_error(y, proba, levels)
    assert found.reliability["n"].sum() == 300 * 3
    pooled = found.reliability
    outcome = (y[:, None] > levels[:-1]).mean()
    assert np.average(pooled["observed"], weights=pooled["n"]) == pytest.approx(outcome)


def test_a_perfect_forecaster_is_told_from_one_that_is_not(rng):
    levels = np.arange(4)
    proba = rng.dirichlet(np.ones(4), 1000)
    y = (proba.cumsum(axis=1) < rng.random((1000, 1))).sum(axis=1)
    perfect = threshold_calibration(y, proba, levels)
    assert perfect.error == pytest.approx(perfect.perfect, rel=0.5)
    sure = np.eye(4)[proba.argmax(axis=1)]
    boastful = threshold_calibration(y, 0.9 * sure + 0.025, levels)
    assert boastful.error > 3 * boastful.perfect


def test_columns_of_text_levels_are_sorted():
    found = threshold_calibration(
        ["low", "high"], [[0.0, 1.0], [1.0, 0.0]], levels=["low", "high"]
    )  # columns: high, low
    assert found.error == 0


def test_probabilities_are_checked():
    with pytest.raises(ValueError, match="proba"):
        threshold_calibration([0, 1], [[0.5, 0.6], [0.5, 0.5]], levels=[0, 1])
