"""Display of a learning curve over speakers, drawn with matplotlib, an optional extra."""

from __future__ import annotations

from typing import Any, Self

import pandas as pd

from sklearn_speechsent.inspection.transfer import learning_curve


class SpeakerCurveDisplay:
    """Scores by number of training speakers, with the interval over held-out speakers.

    The dashed line is the constant predictor. Create it with :meth:`from_estimator`.

    Parameters
    ----------
    curve : DataFrame
        Of :func:`learning_curve`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Drawn on.
    figure_ : matplotlib Figure

    See Also
    --------
    learning_curve : The scores themselves.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.inspection import SpeakerCurveDisplay
    >>> curve = pd.DataFrame({"n_speakers": [2, 4], "mae": [0.9, 0.7], "mae_low": [0.8, 0.6],
    ...     "mae_high": [1.0, 0.8], "mae_constant": [1.0, 1.0]})
    >>> display = SpeakerCurveDisplay(curve).plot()
    >>> display.ax_.get_ylabel()
    'mae'
    """

    def __init__(self, curve: pd.DataFrame) -> None:
        self.curve = curve

    def plot(self, *, measure: str = "mae", ax: Any = None) -> Self:
        """Draw the curve of a measure.

        Parameters
        ----------
        measure : str, default="mae"
            One that the curve has.
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        SpeakerCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the curve lacks the measure.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                "SpeakerCurveDisplay needs matplotlib to draw: "
                'pip install "sklearn-speechsent[plot]".'
            ) from error
        curve = self.curve
        known = [name.removesuffix("_constant") for name in curve if name.endswith("_constant")]
        if measure not in known:
            raise ValueError(f"The curve has {', '.join(known)}; got measure={measure!r}.")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        x = curve["n_speakers"]
        ax.fill_between(
            x, curve[f"{measure}_low"], curve[f"{measure}_high"], alpha=0.2, linewidth=0
        )
        ax.plot(x, curve[measure], "o-", label="model")
        ax.plot(x, curve[f"{measure}_constant"], "--", color="0.5", label="constant")
        ax.set(xlabel="training speakers", ylabel=measure, xticks=x)
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls, pipeline: Any, X: Any, y: Any, *, measure: str = "mae", ax: Any = None, **params: Any
    ) -> Self:
        """Compute a curve and draw it.

        Parameters
        ----------
        pipeline : estimator
        X : array-like of shape (n,)
            Recordings.
        y : array-like of shape (n,)
            Labels.
        measure : str, default="mae"
            Drawn.
        ax : matplotlib Axes, default=None
        **params
            Of :func:`learning_curve`.

        Returns
        -------
        SpeakerCurveDisplay
        """
        params = {"measures": [measure], **params}
        return cls(learning_curve(pipeline, X, y, **params)).plot(measure=measure, ax=ax)
