"""Confusion of levels, drawn without a screen."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sklearn_speechsent.metrics import LevelConfusionDisplay

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def pyplot():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


TRUE, PRED = [-2, 0, 0, 0, 1], [-1.6, 0.2, 0.9, -7.0, 1.4]
COUNTS = [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]


def test_counts_are_written_and_shares_of_the_row_shaded():
    display = LevelConfusionDisplay.from_predictions(TRUE, PRED, levels=range(-2, 3))
    assert display.confusion_matrix.tolist() == COUNTS
    written = [[int(text.get_text()) for text in row] for row in display.text_]
    assert written == COUNTS
    shares = np.array(COUNTS) / [[1], [1], [3], [1], [1]]
    np.testing.assert_allclose(display.im_.get_array(), shares)
    labels = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert labels == ["-2", "-1", "0", "1", "2"]
    assert display.ax_.get_ylabel() == "True level"
    assert display.im_.colorbar.ax.get_ylabel() == "Share of the true level"


def test_normalized_matrix_is_written_as_it_is():
    display = LevelConfusionDisplay.from_predictions(
        TRUE, PRED, levels=range(-2, 3), normalize="all"
    )
    np.testing.assert_allclose(display.confusion_matrix, np.array(COUNTS) / 5)
    assert display.text_[0, 0].get_text() == "0.20"


def test_every_level_of_the_scale_is_drawn_by_default():
    display = LevelConfusionDisplay.from_predictions([0, 1], [0, 1])
    assert display.confusion_matrix.shape == (7, 7)


def test_levels_with_gaps_and_fractions():
    display = LevelConfusionDisplay.from_predictions(
        [-1.4, 0.3, 1.9], [-0.8, 1.1, 2.5], levels=[-1.5, 0, 2]
    )
    assert display.confusion_matrix.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    labels = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert labels == ["-1.5", "0.0", "2.0"]


def test_draws_on_given_axes_with_the_parameters_of_scikit_learn(pyplot):
    _, ax = pyplot.subplots()
    display = LevelConfusionDisplay.from_predictions(
        TRUE, PRED, ax=ax, include_values=False, colorbar=False, cmap="Greys"
    )
    assert isinstance(display, LevelConfusionDisplay)
    assert display.ax_ is ax
    assert display.text_ is None
    assert display.im_.cmap.name == "Greys"


def test_from_estimator():
    X = np.arange(-3, 4)[:, np.newaxis]
    model = LinearRegression().fit(X, X.ravel())
    display = LevelConfusionDisplay.from_estimator(model, X, X.ravel(), normalize="true")
    np.testing.assert_array_equal(display.confusion_matrix, np.eye(7))
