"""Display of an explanation, drawn with matplotlib, an optional extra."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.inspection.occlusion import RATE, Explanation, explain, spectrum_of

#: Decibels below the loudest that are drawn.
_RANGE = 70.0


class ExplanationDisplay:
    """What parts of a recording add to its prediction, around its spectrogram.

    Below the spectrogram stands what each window adds to the expected level, on its right what
    each band does: blue where the part makes the prediction more positive, red where it makes it
    more negative. Outermost are the thresholds, in the same colours: how much the part adds to the
    probability that the level lies above each of them. Create it with :meth:`from_estimator`.

    Parameters
    ----------
    explanation : Explanation

    Attributes
    ----------
    axes_ : dict of str to matplotlib Axes
        ``spectrogram, time, frequency`` and, of a classifier, ``time_thresholds,
        frequency_thresholds``.
    figure_ : matplotlib Figure

    See Also
    --------
    explain : The changes themselves.
    """

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation

    def plot(self) -> Self:
        """Draw a figure.

        Returns
        -------
        ExplanationDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                "ExplanationDisplay needs matplotlib to draw: "
                'pip install "sklearn-speechsent[plot]".'
            ) from error
        found = self.explanation
        thresholds = found.thresholds
        mosaic: Any = [["spectrogram", "frequency"], ["time", "."]]
        widths, heights = [5.0, 1.2], [3.0, 1.1]
        if thresholds:
            mosaic = [
                ["spectrogram", "frequency", "frequency_thresholds"],
                ["time", "scale", "scale"],
                ["time_thresholds", "scale", "scale"],
            ]
            size = max(0.6, 0.25 * len(thresholds))
            widths, heights = [*widths, size], [*heights, size]
        figure, axes = pyplot.subplot_mosaic(
            mosaic,
            figsize=(1.6 + sum(widths), 1.2 + sum(heights)),
            width_ratios=widths,
            height_ratios=heights,
            layout="constrained",
        )
        self._draw_spectrogram(axes["spectrogram"])
        self._draw_time(axes["time"])
        self._draw_frequency(axes["frequency"])
        if thresholds:
            self._draw_thresholds(figure, axes)
        expected = f"{found.expected:+z.2f}" if found.has_numbers else f"{found.expected:.2f}"
        axes["spectrogram"].set_title(f"expected level {expected}", loc="left", fontsize="medium")
        self.axes_, self.figure_ = axes, figure
        return self

    @property
    def _end(self) -> float:
        return len(self.explanation.samples) / RATE

    def _draw_spectrogram(self, ax: Any) -> None:
        power = 20 * np.log10(np.abs(spectrum_of(self.explanation.samples)) + 1e-9)
        extent = (0, self._end, 0, RATE / 2000)
        limits = {"vmin": power.max() - _RANGE, "vmax": power.max()}
        ax.imshow(power, origin="lower", aspect="auto", extent=extent, cmap="gray_r", **limits)
        ax.set(ylabel="kHz", xlim=extent[:2])
        ax.tick_params(labelbottom=False)

    def _draw_time(self, ax: Any) -> None:
        rows = self.explanation.time
        change, middles = rows["change"], (rows["start"] + rows["end"]) / 2
        ax.bar(middles, change, self._steps()[1] - self._steps()[0], color=_colours(change))
        ax.axhline(0, color="0.3", linewidth=0.6)
        ax.set(
            xlim=(0, self._end), ylabel="adds", xlabel="" if self.explanation.thresholds else "s"
        )
        ax.tick_params(labelbottom=not self.explanation.thresholds)
        ax.spines[["top", "right"]].set_visible(False)

    def _draw_frequency(self, ax: Any) -> None:
        rows = self.explanation.frequency
        change, low, high = rows["change"], rows["low"] / 1000, rows["high"] / 1000
        ax.barh(low, change, high - low, align="edge", color=_colours(change), edgecolor="white")
        ax.axvline(0, color="0.3", linewidth=0.6)
        ax.set(ylim=(0, RATE / 2000), xlabel="adds")
        ax.tick_params(labelleft=False)
        ax.spines[["top", "right"]].set_visible(False)

    def _draw_thresholds(self, figure: Any, axes: dict[str, Any]) -> None:
        found, names = self.explanation, self.explanation.thresholds
        time, frequency = found.time[names].to_numpy(), found.frequency[names].to_numpy()
        reach = max(np.nanmax(np.abs(np.concatenate([time, frequency]))), 1e-9)
        style = {"cmap": "RdBu", "vmin": -reach, "vmax": reach}
        places = np.arange(len(names) + 1)
        labels = [name[2:-1] for name in names]
        ax = axes["time_thresholds"]
        drawn = ax.pcolormesh(self._steps(), places, time.T, **style)
        ax.set(xlim=(0, self._end), xlabel="s", yticks=places[:-1] + 0.5, yticklabels=labels)
        ax = axes["frequency_thresholds"]
        edges = np.append(found.frequency["low"], found.frequency["high"].iloc[-1]) / 1000
        ax.pcolormesh(places, edges, frequency, **style)
        ax.set(ylim=(0, RATE / 2000), xticks=places[:-1] + 0.5)
        ax.set_xticklabels(labels, rotation=90)
        ax.tick_params(labelleft=False)
        axes["scale"].axis("off")
        place = axes["scale"].inset_axes([0.1, 0.4, 0.9, 0.1])
        figure.colorbar(drawn, cax=place, orientation="horizontal", label="adds to P(above)")
        place.set_xticks([-reach, 0, reach], [f"{-reach:.2f}", "0", f"{reach:.2f}"])

    def _steps(self) -> NDArray[np.float64]:
        """Edges of time between the middles of windows."""
        rows = self.explanation.time
        middles = ((rows["start"] + rows["end"]) / 2).to_numpy()
        step = middles[1] - middles[0]
        return np.append(middles - step / 2, middles[-1] + step / 2)

    @classmethod
    def from_estimator(cls, pipeline: Any, recording: Any, **params: Any) -> Self:
        """Explain a prediction and draw the explanation.

        Parameters
        ----------
        pipeline : estimator
            Fitted.
        recording : str, Path, ndarray, ``(rate, array)`` or DataFrame of one row
        **params
            Of :func:`explain`.

        Returns
        -------
        ExplanationDisplay
        """
        return cls(explain(pipeline, recording, **params)).plot()


def _colours(change: Any) -> list[str]:
    return ["#2166ac" if value > 0 else "#b2182b" for value in change]
