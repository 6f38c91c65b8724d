"""Display of the distribution of labels, drawn with matplotlib, an optional extra."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d

from sklearn_speechsent.metrics.levels import (
    check_levels,
    level_index,
    sampling_weights,
    whole_levels,
)

#: Bars of the histogram for each level: the count of a whole level is the sum of three.
BINS_PER_LEVEL = 3
COLOURS = {"original": "0.45", "rounded": "C0", "sampled": "C2", "test": "C1"}


class LabelDistributionDisplay:
    """Distribution of labels: original, rounded, as training draws them, and in the test set.

    Most labels of sentiment are near neutral. Sampling by rarity balances the levels in training
    and leaves the test set as it is [1]_. Values are written on the bars; a level that does not
    occur is shown with a 0. Create it with :meth:`from_labels`.

    Parameters
    ----------
    levels : ndarray of shape (n_levels,)
        The levels of the scale in ascending order.
    bin_edges : ndarray of shape (n_bins + 1,)
        Borders of the bars of the continuous labels.
    original : ndarray of int of shape (n_bins,)
        Number of continuous labels in each of these.
    rounded : ndarray of int of shape (n_levels,)
        Number of labels at each level.
    sampled : ndarray of shape (n_levels,)
        Expected share of each level in what training draws; they sum to 1.
    test : ndarray of int of shape (n_levels,), default=None
        Number of test labels at each level.

    Attributes
    ----------
    bars_ : dict of str to matplotlib BarContainer
        The bars of each view: ``original, rounded, sampled`` and, if there is one, ``test``.
    axes_ : ndarray of shape (3,) or (4,) of matplotlib Axes
        Axes of the views in this order.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    sklearn_speechsent.metrics.LevelConfusionDisplay : Confusion of the levels in prediction.

    References
    ----------
    .. [1] Weighted sampling by the inverse frequency of the rounded label, as in
       `sampling_exponent` of :class:`~sklearn_speechsent.SpeechSentimentClassifier`.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn_speechsent.datasets import LabelDistributionDisplay
    >>> display = LabelDistributionDisplay.from_labels([-1, 0, 0, 0.4, 0.7, 1.5], y_test=[0, 2])
    >>> display.levels, display.rounded, display.test
    (array([-1,  0,  1,  2]), array([1, 3, 1, 1]), array([0, 1, 0, 1]))
    >>> display.sampled
    array([0.25, 0.25, 0.25, 0.25])
    """

    def __init__(
        self,
        *,
        levels: NDArray[Any],
        bin_edges: NDArray[np.float64],
        original: NDArray[np.int64],
        rounded: NDArray[np.int64],
        sampled: NDArray[np.float64],
        test: NDArray[np.int64] | None = None,
    ) -> None:
        self.levels = levels
        self.bin_edges = bin_edges
        self.original = original
        self.rounded = rounded
        self.sampled = sampled
        self.test = test

    def plot(self, *, axes: Any = None) -> Self:
        """Draw the views side by side, or two by two with a test set.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            One for each view, of any shape; None makes a new figure.

        Returns
        -------
        LabelDistributionDisplay
            The display itself.

        Raises
        ------
        ValueError
            If there are not as many axes as views.
        ImportError
            If matplotlib is not installed.
        """
        names = [name for name in COLOURS if name != "test" or self.test is not None]
        self.axes_ = _new_axes(len(names)) if axes is None else np.ravel(np.asarray(axes))
        if len(self.axes_) != len(names):
            raise ValueError(
                f"axes must be {len(names)} Axes, one for each of {', '.join(names)}; got "
                f"{len(self.axes_)}."
            )
        self.figure_ = self.axes_[0].figure
        self.bars_ = {
            name: self._draw(name, ax) for name, ax in zip(names, self.axes_, strict=True)
        }
        return self

    def _draw(self, name: str, ax: Any) -> Any:
        ticks = [format(level, "g") for level in self.levels]
        ax.yaxis.get_major_locator().set_params(integer=name != "sampled")
        if name == "original":
            bars = ax.bar(
                self.bin_edges[:-1],
                self.original,
                np.diff(self.bin_edges),
                align="edge",
                color=COLOURS[name],
                edgecolor="white",
                linewidth=0.5,
            )
            ax.set(title=f"Original (n = {self.original.sum()})", ylabel="Labels")
            ax.set(xlabel="Label", xticks=self.levels, xticklabels=ticks)
        else:
            values = getattr(self, name)
            # By position, not by value: levels may have gaps.
            bars = ax.bar(np.arange(len(self.levels)), values, 0.8, color=COLOURS[name])
            ax.set(xlabel="Level", xticks=np.arange(len(self.levels)), xticklabels=ticks)
            if name == "sampled":
                written = [format(share, ".1%") if share else "0" for share in values]
                ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
                ax.set(title="As training draws them", ylabel="Expected share")
            else:
                written = [format(count, "d") for count in values]
                title = {"rounded": "Rounded", "test": "Test, rounded"}[name]
                ax.set(title=f"{title} (n = {values.sum()})", ylabel="Labels")
            ax.bar_label(bars, written, padding=2, fontsize="small")
        ax.margins(y=0.12)  # room for the values on the bars
        ax.spines[["top", "right"]].set_visible(False)
        return bars

    @classmethod
    def from_labels(
        cls,
        y: ArrayLike,
        *,
        y_test: ArrayLike | None = None,
        levels: ArrayLike | range | None = None,
        sampling_exponent: float = 1.0,
        bins: Any = None,
        axes: Any = None,
    ) -> Self:
        """Draw the distribution of labels.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels of the training set, continuous or rounded.
        y_test : array-like of shape (n_test,), default=None
            Labels of the test set; None leaves its view out.
        levels : array-like of numbers of shape (n_levels,), default=None
            The fixed set of levels, to which labels are rounded and clipped as by
            :func:`~sklearn_speechsent.metrics.round_to_levels`. None takes all integers from the
            lowest to the highest rounded label of both sets.
        sampling_exponent : float, default=1.0
            As the parameter of the estimators: utterances are drawn with a probability that goes
            with the frequency of their level to the power of minus `sampling_exponent`. 1 draws
            all levels that occur equally often, 0 leaves them as they are.
        bins : int, str or array-like, default=None
            Bars of the continuous labels, see :func:`numpy.histogram`. None takes three for each
            level, whose middle ones are centred at the levels.
        axes : array-like of matplotlib Axes, default=None
            One for each view, of any shape; None makes a new figure.

        Returns
        -------
        LabelDistributionDisplay
            The display, already drawn.

        Raises
        ------
        ValueError
            If labels are NaN, infinite or none, `levels` are not two or more numbers in
            ascending order, `sampling_exponent` is negative, or there are not as many axes as
            views.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from sklearn_speechsent.datasets import LabelDistributionDisplay
        >>> display = LabelDistributionDisplay.from_labels(
        ...     [-1, 0, 0, 0, 1.5], levels=range(-2, 3), sampling_exponent=0.5)
        >>> display.rounded, display.sampled.round(2)
        (array([0, 1, 3, 0, 1]), array([0.  , 0.27, 0.46, 0.  , 0.27]))
        """
        if not sampling_exponent >= 0:
            raise ValueError(f"sampling_exponent must be 0 or more, got {sampling_exponent}.")
        labels = _check_labels(y, "y")
        test = None if y_test is None else _check_labels(y_test, "y_test")
        if levels is None:
            levels = _levels_of(labels if test is None else np.concatenate([labels, test]))
        levels = check_levels(levels)
        index = level_index(labels, levels)
        weights = sampling_weights(index, sampling_exponent)
        sampled = np.bincount(index, weights, minlength=len(levels))
        original, edges = np.histogram(
            labels, bins=_edges(labels, levels) if bins is None else bins
        )
        if test is not None:
            test = np.bincount(level_index(test, levels), minlength=len(levels))
        return cls(
            levels=levels,
            bin_edges=edges,
            original=original,
            rounded=np.bincount(index, minlength=len(levels)),
            sampled=sampled / sampled.sum(),
            test=test,
        ).plot(axes=axes)


def _check_labels(y: ArrayLike, name: str) -> NDArray[Any]:
    return column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name=name))


def _levels_of(labels: NDArray[np.float64]) -> NDArray[np.int64]:
    levels = whole_levels(labels)
    # A scale has two levels at least.
    return levels if len(levels) > 1 else np.append(levels, levels + 1)


def _edges(labels: NDArray[np.float64], levels: NDArray[Any]) -> NDArray[np.float64]:
    """Edges of bars that are narrow parts of the levels, around all labels."""
    step = min(1.0, np.diff(levels).min())
    low = np.floor(min(labels.min() / step + 0.5, levels[0] / step)) - 0.5
    high = np.ceil(max(labels.max() / step - 0.5, levels[-1] / step)) + 0.5
    return step * np.linspace(low, high, round(high - low) * BINS_PER_LEVEL + 1)


def _new_axes(n_views: int) -> NDArray[Any]:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "LabelDistributionDisplay needs matplotlib to draw: pip install "
            '"sklearn-speechsent[plot]".'
        ) from error
    shape = (2, 2) if n_views == 4 else (1, n_views)
    size = (4.5 * shape[1], 3.2 * shape[0])
    _, axes = pyplot.subplots(*shape, figsize=size, layout="constrained")
    return axes.ravel()
