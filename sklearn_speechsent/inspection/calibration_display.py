"""Display of calibration over thresholds, drawn with matplotlib, an optional extra."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_speechsent.inference.scoring import fitted_levels
from sklearn_speechsent.inspection.calibration import ThresholdCalibration, threshold_calibration
from sklearn_speechsent.inspection.thresholds import below_above
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, level_index
from sklearn_speechsent.metrics.scale import scored_labels

#: Area of the largest marker, in points squared.
_AREA = 150.0


class CalibrationDisplay:
    """How often the level lies above a threshold, by the probability that it does.

    A point for each bin of probabilities, whose area goes with the number of recordings in it (of
    pairs of recording and threshold, where thresholds are pooled). Points of probabilities that
    come true as often as they say lie on the diagonal. Create it with :meth:`from_predictions` or
    :meth:`from_estimator`.

    Parameters
    ----------
    calibrations : dict of str to ThresholdCalibration
        Curves by their names in the legend.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One per curve.
    points_ : list of matplotlib PathCollection
        Their points.
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    threshold_calibration : The figures behind it.
    OrdinalCalibrator : Moves the points to the diagonal.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn_speechsent.inspection import CalibrationDisplay
    >>> proba = [[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]]
    >>> display = CalibrationDisplay.from_predictions(
    ...     [-1, 0, 1], proba, levels=[-1, 0, 1], pooled=False)
    >>> list(display.calibrations)
    ['above -1', 'above 0']
    """

    def __init__(self, calibrations: dict[str, ThresholdCalibration]) -> None:
        self.calibrations = calibrations

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure. Curves are added to those of another display.
        **kwargs : dict
            Properties of the lines, such as `color` and `linestyle`.

        Returns
        -------
        CalibrationDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from matplotlib import pyplot

        if ax is None:
            _, ax = pyplot.subplots()
        if not any(line.get_gid() == "perfect" for line in ax.lines):
            ax.plot([0, 1], [0, 1], ":", color="gray", gid="perfect", label="as often as it says")
        self.lines_, self.points_ = [], []
        for name, found in self.calibrations.items():
            predicted, observed, n = found.reliability[["predicted", "observed", "n"]].T.to_numpy()
            label = f"{name}: ECE {found.error:.3f} (perfect {found.perfect:.3f})"
            (line,) = ax.plot(predicted, observed, **{"label": label, "linewidth": 1, **kwargs})
            area, colour = _AREA * n / n.max(), line.get_color()
            self.points_.append(ax.scatter(predicted, observed, area, color=colour, alpha=0.6))
            self.lines_.append(line)
        ax.set(
            xlabel="Predicted probability of a level above the threshold",
            ylabel="Share of levels above it",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
            box_aspect=1,
        )
        ax.legend(fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        proba: ArrayLike,
        *,
        levels: ArrayLike | range = SENTIMENT_LEVELS,
        pooled: bool = True,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the calibration of probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True intensities, rounded to the levels; or text, if the levels are.
        proba : array-like of shape (n, n_levels)
            Probability of each level, in the order of ``classes_``.
        levels : array-like of shape (n_levels,), default=range(-3, 4)
            The fixed set of levels, from the lowest to the highest.
        pooled : bool, default=True
            One curve of all thresholds together; otherwise one for each.
        name : str, default=None
            Of the system, in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Properties of the lines.

        Returns
        -------
        CalibrationDisplay
            The display, already drawn.

        Raises
        ------
        ValueError
            If lengths differ, a value is missing, or rows of `proba` are not distributions over
            the levels.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from sklearn_speechsent.inspection import CalibrationDisplay
        >>> display = CalibrationDisplay.from_predictions(
        ...     [0, 1, 1, 1], [[0.5, 0.5]] * 4, levels=[0, 1], name="coin")
        >>> display.lines_[0].get_label()
        'coin: ECE 0.250 (perfect 0.158)'
        """
        whole = threshold_calibration(y_true, proba, levels)  # which checks all of it
        if pooled:
            return cls({name or "all thresholds": whole}).plot(ax, **kwargs)
        true, scale = scored_labels(y_true, levels)
        index = level_index(true, scale)
        columns = np.asarray(proba, dtype=np.float64)[:, np.argsort(np.argsort(scale))]
        above = np.clip(below_above(columns)[1], 0, 1)
        prefix = "" if name is None else f"{name}, "
        curves = {}
        for k, level in enumerate(scale[:-1].tolist()):
            pair = np.stack([1 - above[:, k], above[:, k]], axis=1)
            found = threshold_calibration((index > k).astype(int), pair, [0, 1])
            curves[f"{prefix}above {level}"] = found
        return cls(curves).plot(ax, **kwargs)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, **kwargs: Any) -> Self:
        """Draw the calibration of a fitted classifier.

        Parameters
        ----------
        estimator : object
            Fitted classifier of levels with ``predict_proba``.
        X : array-like of shape (n,) or (n, n_features)
            Recordings of speakers that it was not fitted on, or whatever it predicts from.
        y : array-like of shape (n,)
            True labels.
        **kwargs : dict
            Parameters of :meth:`from_predictions`; `levels` are by default those that were learned.

        Returns
        -------
        CalibrationDisplay
            The display, already drawn.

        Raises
        ------
        ValueError
            As :meth:`from_predictions`.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import numpy as np
        >>> from sklearn_speechsent import OrdinalClassifier
        >>> from sklearn_speechsent.inspection import CalibrationDisplay
        >>> X, y = np.arange(40.0)[:, None], np.repeat([-1, 0, 1, 2], 10)
        >>> model = OrdinalClassifier().fit(X, y)
        >>> len(CalibrationDisplay.from_estimator(model, X, y, pooled=False).lines_)
        3
        """
        settings = {"levels": fitted_levels(estimator), **kwargs}
        return cls.from_predictions(y, estimator.predict_proba(X), **settings)
