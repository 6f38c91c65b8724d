"""Distribution of labels, drawn without a screen, its numbers counted a second time."""

import collections
import sys

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.datasets import LabelDistributionDisplay
from sklearn_speechsent.metrics.levels import sampling_weights
from sklearn_speechsent.training.data import RandomBatches

matplotlib = pytest.importorskip("matplotlib")

Y = [-1.0, -0.5, 0.0, 0.2, 0.5, 0.5, 1.4, 1.5, 2.5]  # halves go to 0, 2 and 2


@pytest.fixture(autouse=True)
def pyplot():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def heights(display):
    return {name: [bar.get_height() for bar in bars] for name, bars in display.bars_.items()}


def written(display, name):
    ax = display.axes_[list(display.bars_).index(name)]
    return [text.get_text() for text in ax.texts]


def test_counts_round_halves_to_even():
    display = LabelDistributionDisplay.from_labels(Y, y_test=[0.5, 3.5, -2.4])
    assert display.levels.tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert display.rounded.tolist() == [0, 1, 5, 1, 2, 0, 0]
    assert display.test.tolist() == [1, 0, 1, 0, 0, 0, 1]
    drawn = heights(display)
    assert list(drawn) == ["original", "rounded", "sampled", "test"]
    assert drawn["rounded"] == display.rounded.tolist() and drawn["test"] == display.test.tolist()
    assert drawn["original"] == display.original.tolist() and sum(drawn["original"]) == len(Y)
    assert written(display, "rounded") == ["0", "1", "5", "1", "2", "0", "0"]
    assert written(display, "test") == ["1", "0", "1", "0", "0", "0", "1"]


def test_the_histogram_has_three_bars_for_each_level():
    y = np.array([-1, -0.9, -0.7, 0.0, 0.3, 0.4, 1.0])
    display = LabelDistributionDisplay.from_labels(y, levels=range(-1, 2))
    np.testing.assert_allclose(display.bin_edges, np.linspace(-1.5, 1.5, 10))
    assert display.original.tolist() == [0, 2, 1, 0, 1, 2, 0, 1, 0]
    np.testing.assert_array_equal(display.original.reshape(3, 3).sum(axis=1), display.rounded)
    left = [bar.get_x() for bar in display.bars_["original"]]
    np.testing.assert_allclose(left, display.bin_edges[:-1])
    assert LabelDistributionDisplay.from_labels(y, bins=4).original.tolist() == [3, 0, 3, 1]


@pytest.mark.parametrize("y", [[-7.2, 0, 9.6], [-1.5, 1.5], [-2.5, 2.5, 0.1]])
def test_labels_off_the_scale_are_clipped_but_seen(y):
    display = LabelDistributionDisplay.from_labels(y, levels=range(-1, 2))
    assert display.rounded[[0, -1]].tolist() == [1, 1] and display.rounded.sum() == len(y)
    assert display.original.sum() == len(y)
    assert display.bin_edges[0] <= min(y) and display.bin_edges[-1] >= max(y)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_shares_are_those_that_training_draws(exponent):
    levels = [-2, -1, 0, 1, 2]
    counts = dict(zip(levels, [5, 20, 0, 60, 15], strict=True))
    y = np.repeat(levels, list(counts.values())).astype(float)
    display = LabelDistributionDisplay.from_labels(y, levels=levels, sampling_exponent=exponent)
    weight = {level: n * n**-exponent if n else 0 for level, n in counts.items()}
    expected = np.array([weight[level] for level in levels]) / sum(weight.values())
    np.testing.assert_allclose(display.sampled, expected)
    assert heights(display)["sampled"] == display.sampled.tolist()
    assert written(display, "sampled") == [f"{share:.1%}" if share else "0" for share in expected]
    # What the sampler of the networks really draws, within five standard deviations.
    index = np.searchsorted(levels, y)
    n_drawn = 20_000
    batches = RandomBatches(
        len(y), 256, np.random.RandomState(0), sampling_weights(index, exponent), n_drawn
    )
    drawn = np.bincount(index[np.concatenate(list(batches))], minlength=5)
    error = np.abs(drawn / drawn.sum() - expected)
    assert (error <= 5 * np.sqrt(expected * (1 - expected) / n_drawn) + 1e-12).all()


def test_levels_with_gaps_stand_side_by_side():
    display = LabelDistributionDisplay.from_labels([-2, 2, 1.1], levels=[-2, -1, 1, 2])
    ax = display.axes_[1]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["-2", "-1", "1", "2"]
    assert display.rounded.tolist() == [1, 0, 1, 1]


def test_levels_between_whole_numbers():
    display = LabelDistributionDisplay.from_labels([0, 0.1, 0.24, 0.5], levels=[0, 0.25, 0.5])
    assert [tick.get_text() for tick in display.axes_[1].get_xticklabels()] == ["0", "0.25", "0.5"]
    assert display.rounded.tolist() == [2, 1, 1]
    np.testing.assert_allclose(display.bin_edges, np.linspace(-0.125, 0.625, 10))
    assert display.original.sum() == 4


def test_without_a_test_set_there_are_three_views():
    display = LabelDistributionDisplay.from_labels([1, 1, 1])
    assert display.test is None and len(display.axes_) == 3 and "test" not in display.bars_
    assert display.levels.tolist() == [1, 2] and display.rounded.tolist() == [3, 0]


def test_draws_on_given_axes_and_again(pyplot):
    figure, axes = pyplot.subplots(2, 2)
    display = LabelDistributionDisplay.from_labels(Y, y_test=Y, axes=axes)
    assert display.figure_ is figure and display.axes_.tolist() == axes.ravel().tolist()
    assert [ax.get_title() for ax in display.axes_] == [
        "Original (n = 9)",
        "Rounded (n = 9)",
        "As training draws them",
        "Test, rounded (n = 9)",
    ]
    assert display.plot() is display and display.figure_ is not figure
    with pytest.raises(ValueError, match=r"axes must be 3 Axes.*original, rounded, sampled; got 4"):
        LabelDistributionDisplay.from_labels(Y, axes=axes)


@pytest.mark.parametrize(
    ("y", "parameters", "says"),
    [
        ([0, np.nan], {}, "NaN"),
        ([0, np.inf], {}, "infinity"),
        ([], {}, "minimum of 1"),
        ([0, 1], {"levels": [1]}, "two or more different numbers"),
        ([0, 1], {"y_test": [np.nan]}, "y_test contains NaN"),
        ([0, 1], {"sampling_exponent": -1}, "sampling_exponent must be 0 or more, got -1"),
    ],
)
def test_labels_that_cannot_be_drawn(y, parameters, says):
    with pytest.raises(ValueError, match=says):
        LabelDistributionDisplay.from_labels(y, **parameters)


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"sklearn-speechsent\[plot\]"):
        LabelDistributionDisplay.from_labels(Y)


@pytest.mark.data
def test_the_levels_of_cmu_mosei(data_home):
    path = data_home / "cmu_mosei" / "labels.csv"
    if not path.is_file():
        pytest.skip(f"no labels at {path}")
    labels = pd.read_csv(path).groupby("split")["sentiment"]
    train, test = labels.get_group("train"), labels.get_group("test")
    display = LabelDistributionDisplay.from_labels(train, y_test=test)
    assert display.levels.tolist() == list(range(-3, 4))
    # The counts that the paper's figure goes with: plain ones, before any weighting.
    assert display.rounded.tolist() == [311, 1305, 2039, 6798, 4117, 1549, 207]
    counted = collections.Counter(round(label) for label in test)  # halves to even, too
    assert display.test.tolist() == [counted[level] for level in display.levels.tolist()]
    np.testing.assert_allclose(display.sampled, np.full(7, 1 / 7))
    assert display.original.sum() == 16326 and display.test.sum() == 4659
