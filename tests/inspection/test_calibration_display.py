"""Curves of calibration: their points, one or many, on axes of one's own."""

import numpy as np
import pytest

from sklearn_speechsent import OrdinalClassifier
from sklearn_speechsent.inspection import CalibrationDisplay, threshold_calibration

pyplot = pytest.importorskip("matplotlib.pyplot")
LEVELS = [-1, 0, 1]


@pytest.fixture
def forecast(rng):
    return rng.integers(-1, 2, 200), rng.dirichlet(np.ones(3), 200)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    pyplot.close("all")


def test_pooled_points_are_those_of_the_figures(forecast):
    y, proba = forecast
    display = CalibrationDisplay.from_predictions(y, proba, levels=LEVELS, name="guess")
    found = threshold_calibration(y, proba, LEVELS)
    (line,), (points,) = display.lines_, display.points_
    np.testing.assert_allclose(line.get_xdata(), found.reliability["predicted"])
    np.testing.assert_allclose(line.get_ydata(), found.reliability["observed"])
    n = found.reliability["n"]
    np.testing.assert_allclose(points.get_sizes() / points.get_sizes().max(), n / n.max())
    assert line.get_label() == f"guess: ECE {found.error:.3f} (perfect {found.perfect:.3f})"


def test_one_curve_for_each_threshold(forecast):
    y, proba = forecast
    display = CalibrationDisplay.from_predictions(y, proba, levels=LEVELS, pooled=False)
    assert list(display.calibrations) == ["above -1", "above 0"]
    for k, found in enumerate(display.calibrations.values()):
        assert found.reliability["n"].sum() == 200
        observed = np.average(found.reliability["observed"], weights=found.reliability["n"])
        assert observed == pytest.approx((y > LEVELS[k]).mean())
    whole = threshold_calibration(y, proba, LEVELS)
    each = [found.error for found in display.calibrations.values()]
    assert np.mean(each) == pytest.approx(whole.error)


def test_two_systems_share_axes_and_one_diagonal(forecast):
    y, proba = forecast
    _, ax = pyplot.subplots()
    first = CalibrationDisplay.from_predictions(y, proba, levels=LEVELS, name="a", ax=ax)
    second = CalibrationDisplay.from_predictions(
        y, proba, levels=LEVELS, name="b", ax=ax, linestyle="--"
    )
    assert first.ax_ is second.ax_ is ax and len(ax.lines) == 3
    assert second.lines_[0].get_linestyle() == "--"
    assert len(ax.get_legend().get_texts()) == 3


def test_levels_of_an_estimator_and_of_text(rng):
    words = np.array(["low", "middle", "high"])
    y = np.repeat([0, 1, 2], 30)
    X = y[:, None] + rng.normal(size=(90, 1))
    number = OrdinalClassifier().fit(X, y)
    text = OrdinalClassifier(levels=words).fit(X, words[y])
    curves = [
        CalibrationDisplay.from_estimator(model, X, labels, pooled=False).calibrations
        for model, labels in ((number, y), (text, words[y]))
    ]
    assert list(curves[1]) == ["above low", "above middle"]
    for a, b in zip(*(curve.values() for curve in curves), strict=True):
        assert a.error == pytest.approx(b.error)
    with pytest.raises(ValueError, match="columns for 2 levels"):
        CalibrationDisplay.from_estimator(number, X, np.minimum(y, 1), levels=[0, 1])
