"""Display of the confusion of levels, drawn with matplotlib, an optional extra."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS
from sklearn_speechsent.metrics.scale import level_pair


class LevelConfusionDisplay(ConfusionMatrixDisplay):
    """Confusion of levels, every level of the scale in its row and column.

    Continuous predictions are rounded and clipped. Cells show counts and are shaded by their
    share of the true level's row, so that rare levels are as readable as frequent ones. Create
    it with :meth:`from_predictions` or :meth:`from_estimator`.

    Parameters
    ----------
    confusion_matrix : ndarray of shape (n_levels, n_levels)
        Counts, true levels in rows; or shares, if normalized.
    display_labels : array-like of shape (n_levels,), default=None
        The levels.

    Attributes
    ----------
    im_ : matplotlib AxesImage
        The shading.
    text_ : ndarray of shape (n_levels, n_levels) of matplotlib Text, or None
        The written values.
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ordinal_report : The same predictions in numbers.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn_speechsent.metrics import LevelConfusionDisplay
    >>> display = LevelConfusionDisplay.from_predictions(
    ...     [-1, 0, 0, 1], [-0.8, 0.1, 0.7, 1.9], levels=range(-1, 2))
    >>> display.confusion_matrix
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """

    confusion_matrix: np.ndarray

    def plot(self, *, cmap: Any = "Blues", values_format: str | None = None, **kwargs: Any) -> Self:
        """Draw the matrix.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="Blues"
            Colours of the shading.
        values_format : str, default=None
            Format of the written values; None is "d" for counts and ".2f" for shares.
        **kwargs : dict
            `ax`, `include_values`, `xticks_rotation`, `colorbar`, `im_kw` and `text_kw` of
            :meth:`sklearn.metrics.ConfusionMatrixDisplay.plot`.

        Returns
        -------
        LevelConfusionDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        values = self.confusion_matrix
        counts = np.issubdtype(values.dtype, np.integer)
        shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1) if counts else values
        drawn = ConfusionMatrixDisplay(shares, display_labels=self.display_labels)
        drawn.plot(cmap=cmap, values_format=None if counts else values_format or ".2f", **kwargs)
        self.im_, self.text_ = drawn.im_, drawn.text_
        self.ax_, self.figure_ = drawn.ax_, drawn.figure_
        if counts and self.text_ is not None:
            for text, count in zip(self.text_.flat, values.flat, strict=True):
                text.set_text(format(count, values_format or "d"))
        self.ax_.set(xlabel="Predicted level", ylabel="True level")
        if counts and self.im_.colorbar is not None:
            self.im_.colorbar.set_label("Share of the true level")
        return self

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        levels: ArrayLike | range = SENTIMENT_LEVELS,
        normalize: Literal["true", "pred", "all"] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the confusion of predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True intensities, rounded to the levels; or text, if the levels are.
        y_pred : array-like of shape (n_samples,)
            Predicted intensities, rounded and clipped to the levels; or text.
        levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
            The fixed set of levels.
        normalize : {"true", "pred", "all"}, default=None
            Write and shade shares of rows, columns or all items. None writes counts and shades
            by rows.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        LevelConfusionDisplay
            The display, already drawn.

        Raises
        ------
        ValueError
            If lengths differ, a value is NaN or infinite, or `levels` are not two or more
            numbers in ascending order.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from sklearn_speechsent.metrics import LevelConfusionDisplay
        >>> display = LevelConfusionDisplay.from_predictions([-3, 0, 2], [-2.2, 0.1, 5])
        >>> display.confusion_matrix.shape
        (7, 7)
        """
        true, pred, _, scale = level_pair(y_true, y_pred, levels)
        matrix = confusion_matrix(true, pred, labels=np.arange(len(scale)), normalize=normalize)
        return cls(matrix, display_labels=scale).plot(ax=ax, **kwargs)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, **kwargs: Any) -> Self:
        """Draw the confusion of a fitted estimator's predictions.

        Parameters
        ----------
        estimator : object
            Fitted regressor or classifier of levels.
        X : array-like of shape (n_samples,) or (n_samples, n_features)
            What `estimator` predicts from.
        y : array-like of shape (n_samples,)
            True intensities.
        **kwargs : dict
            Parameters of :meth:`from_predictions`.

        Returns
        -------
        LevelConfusionDisplay
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
        >>> from sklearn.linear_model import LinearRegression
        >>> from sklearn_speechsent.metrics import LevelConfusionDisplay
        >>> X, y = np.arange(-3, 4)[:, np.newaxis], np.arange(-3, 4)
        >>> model = LinearRegression().fit(X, y)
        >>> LevelConfusionDisplay.from_estimator(model, X, y).confusion_matrix.trace()
        np.int64(7)
        """
        return cls.from_predictions(y, estimator.predict(X), **kwargs)
