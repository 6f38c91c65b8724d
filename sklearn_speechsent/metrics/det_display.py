"""Display of the two errors of verification, drawn with matplotlib, an optional extra."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.metrics import DetCurveDisplay, det_curve

from sklearn_speechsent.metrics._checks import check_trials
from sklearn_speechsent.metrics.verification import find_equal_error


class VerificationDetDisplay(DetCurveDisplay):
    """Detection error trade-off (DET) of verification scores, with the equal error rate.

    Miss rate against false-alarm rate over all thresholds, both on the scale of normal deviates,
    where normally distributed scores give a straight line [1]_. A dot marks the equal-error point
    and the legend names its rate; draw several systems on the same axes to compare them. Create
    it with :meth:`from_predictions` or :meth:`from_estimator`.

    Parameters
    ----------
    fpr : ndarray of shape (n_thresholds,)
        False-alarm rates, falling, as :func:`sklearn.metrics.det_curve` returns them.
    fnr : ndarray of shape (n_thresholds,)
        Miss rates, rising.
    estimator_name : str, default=None
        Name of the system in the legend.
    pos_label : int, float, bool or str, default=None
        Label of same-speaker trials. Part of scikit-learn's interface; the axes do not show it.

    Attributes
    ----------
    eer_ : float
        Equal error rate in [0, 1].
    line_ : matplotlib Line2D
        The curve. Rates of 0 and 1 lie outside the axes, so that scores which separate the trials
        perfectly show the dot alone.
    marker_ : matplotlib Line2D
        The dot; at the corner if the rate lies outside the axes.
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    equal_error_rate : The rate of the dot, and its threshold.

    References
    ----------
    .. [1] A. Martin, G. Doddington, T. Kamm, M. Ordowski and M. Przybocki (1997). "The DET curve
       in assessment of detection task performance". Proc. Eurospeech, 1895-1898.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn_speechsent.metrics import VerificationDetDisplay
    >>> same = [True, True, True, True, False, False, False, False]
    >>> scores = [0.9, 0.8, 0.7, 0.3, 0.5, 0.2, 0.1, 0.0]
    >>> display = VerificationDetDisplay.from_predictions(same, scores, name="ResNet34")
    >>> display.line_.get_label()
    'ResNet34 (EER 25.00%)'
    """

    fpr: np.ndarray
    fnr: np.ndarray

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        name : str, default=None
            Name of the system in the legend; None takes `estimator_name`.
        **kwargs : dict
            Properties of the line, such as `color` and `linestyle`. A `label` replaces the
            entry of the legend, EER included.

        Returns
        -------
        VerificationDetDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.eer_ = find_equal_error(self.fpr, self.fnr)
        name = self.estimator_name if name is None else name
        label = f"EER {self.eer_:.2%}" if name is None else f"{name} (EER {self.eer_:.2%})"
        # on a second display, because scikit-learn's plot changes the rates it draws
        drawn = DetCurveDisplay(fpr=self.fpr, fnr=self.fnr).plot(ax=ax, name=label, **kwargs)
        self.line_, self.ax_, self.figure_ = drawn.line_, drawn.ax_, drawn.figure_
        place = np.clip(norm.ppf(self.eer_), *self.ax_.get_xlim())
        (self.marker_,) = self.ax_.plot(
            place,
            place,
            "o",
            color=self.line_.get_color(),
            zorder=self.line_.get_zorder() + 1,
            clip_on=False,  # a dot at the corner is drawn whole
        )
        self.ax_.set(xlabel="False alarm rate", ylabel="Miss rate", box_aspect=1)
        self.ax_.legend(loc="upper right")  # where only curves worse than chance go
        return self

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the trade-off of scores.

        Parameters
        ----------
        y_true : array-like of shape (n_trials,)
            True (or 1) for a trial of one speaker, False (or 0) for a trial of two.
        y_score : array-like of shape (n_trials,)
            Similarity of the two utterances, on any scale; higher is more alike.
        name : str, default=None
            Name of the system in the legend; None writes the EER alone.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        VerificationDetDisplay
            The display, already drawn.

        Raises
        ------
        ValueError
            As :func:`equal_error_rate`.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from sklearn_speechsent.metrics import VerificationDetDisplay
        >>> display = VerificationDetDisplay.from_predictions([1, 1, 0, 0], [4, 2, 3, 1])
        >>> display.eer_
        0.5
        """
        same, scores = check_trials(y_true, y_score)
        # the corners draw the same curve with far fewer points
        fpr, fnr, _ = det_curve(same, scores, drop_intermediate=True)
        return cls(fpr=fpr, fnr=fnr, estimator_name=name, pos_label=True).plot(ax=ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        verifier: Any,
        X1: Any,
        X2: Any,
        y_true: ArrayLike,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the trade-off of a fitted verifier's scores.

        Parameters
        ----------
        verifier : object
            Has ``score_pairs(X1, X2)``, which returns one similarity for each pair.
        X1 : array-like of shape (n_trials, ...)
            First utterance of each trial, as `verifier` takes it.
        X2 : array-like of shape (n_trials, ...)
            Second utterance of each trial.
        y_true : array-like of shape (n_trials,)
            True (or 1) for a trial of one speaker, False (or 0) for a trial of two.
        name : str, default=None
            Name of the system in the legend; None takes the verifier's class.
        **kwargs : dict
            Parameters of :meth:`from_predictions`.

        Returns
        -------
        VerificationDetDisplay
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
        >>> from sklearn_speechsent.metrics import VerificationDetDisplay
        >>> class Distance:
        ...     def score_pairs(self, X1, X2):
        ...         return -np.abs(X1 - X2).ravel()
        >>> X1, X2 = np.array([[1], [2], [1], [3]]), np.array([[1], [3], [6], [9]])
        >>> display = VerificationDetDisplay.from_estimator(Distance(), X1, X2, [1, 1, 0, 0])
        >>> display.line_.get_label()
        'Distance (EER 0.00%)'
        """
        name = type(verifier).__name__ if name is None else name
        return cls.from_predictions(y_true, verifier.score_pairs(X1, X2), name=name, **kwargs)
