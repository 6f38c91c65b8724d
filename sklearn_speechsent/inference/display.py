"""Display of a time line, drawn with matplotlib, an optional extra."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent.audio import as_recordings, read_blocks
from sklearn_speechsent.inference.aggregate import timeline_levels

#: Rate (Hz) at which waveforms are read to be drawn, and columns that they are drawn in.
_RATE, _COLUMNS = 16_000, 2_000
#: From negative to positive; all of them are dark enough to be seen on grey.
_COLOURS = ("#a50f15", "#d9602b", "#8c7a1f", "#4a9a3c", "#0b5d24")
#: Seconds up to which utterances are drawn one by one, and parts of longer time lines.
_LONG, _PARTS = 300.0, 90
#: Share of the probability inside the band.
_BAND = 0.8


class TimelineDisplay:
    """Sentiment over time: waveform, speech, and the expected level with its band of probability.

    One panel for each channel, or for each speaker where they are known. Bars are final scores,
    from the start to the end of their utterance, coloured from negative to positive, on a band
    that holds 80 % of the probability; dots are provisional scores. Of more than five minutes, the
    bars stand for themselves, and line and band for the mean over ninetieths of the time, weighted
    by speech. Speech of which nothing could be said is hatched at the bottom. Create it with
    :meth:`from_timeline`.

    Parameters
    ----------
    timeline : DataFrame
        Of :func:`~sklearn_speechsent.sentiment_timeline`, of one file.
    by : {"channel", "speaker"}
        Column whose values have panels.
    envelopes : list of ndarray of shape (n_columns, 3), or None
        Times (s), lowest and highest samples of the waveform of each panel.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        Panels drawn on.
    figure_ : matplotlib Figure

    See Also
    --------
    sentiment_timeline : What it draws.
    """

    def __init__(
        self, timeline: pd.DataFrame, *, by: str, envelopes: list[Any] | None = None
    ) -> None:
        self.timeline = timeline
        self.by = by
        self.envelopes = envelopes

    def plot(self, *, axes: Any = None) -> Self:
        """Draw the panels.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            One for each panel; None makes a new figure.

        Returns
        -------
        TimelineDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many axes as panels.
        """
        panels = _panels(self.timeline, self.by)
        axes = _new_axes(len(panels)) if axes is None else np.atleast_1d(np.asarray(axes)).ravel()
        if len(axes) != len(panels):
            raise ValueError(f"axes has {len(axes)} Axes, and there are {len(panels)} panels.")
        levels = timeline_levels(self.timeline)
        envelopes = [None] * len(panels) if self.envelopes is None else self.envelopes
        for ax, (value, rows), envelope in zip(axes, panels, envelopes, strict=True):
            self._draw(ax, rows, levels, envelope)
            if len(panels) > 1:
                ax.set_title(f"{self.by} {value}", loc="left", fontsize="medium")
        axes[-1].set_xlabel("time (h:min:s)" if self._end() >= 3600 else "time (min:s)")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _end(self) -> float:
        return float(self.timeline["end"].max())

    def _draw(
        self,
        ax: Any,
        rows: pd.DataFrame,
        levels: NDArray[Any],
        envelope: NDArray[np.float64] | None,
    ) -> None:
        from matplotlib.colors import LinearSegmentedColormap, Normalize
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        values = _positions(levels)
        columns = [f"p({level})" for level in levels.tolist()]
        scale = values if len(values) else rows["expected"].dropna().to_numpy(float)
        low, high = (scale.min() - 0.3, scale.max() + 0.3) if len(scale) else (-1.0, 1.0)
        if envelope is not None:
            self._draw_waveform(ax, envelope, low, high)
        long = self._end() > _LONG
        known = rows["expected"].notna()
        final = rows[rows["final"] & known]
        parts = _means(final, columns, self._end()) if long else final
        if columns and len(parts):
            bottom, top = band(parts[columns].to_numpy(float), values)
            width = parts["end"] - parts["start"]
            shade = {"color": "0.55", "alpha": 0.35, "linewidth": 0}
            ax.bar(parts["start"], top - bottom, width, bottom, align="edge", **shade)
        if long:
            middles = (parts["start"] + parts["end"]) / 2
            ax.plot(middles, parts["expected"], color="0.2", linewidth=1.2)
        else:
            provisional = rows[~rows["final"] & known]
            ax.plot(provisional["end"], provisional["expected"], ".", color="0.45", markersize=3)
        # Zero is the middle of the colours where the scale has a zero.
        middle = 0.0 if levels.dtype.kind != "U" and low < 0 < high else (low + high) / 2
        reach = max(high - middle, middle - low)
        colours = LinearSegmentedColormap.from_list("sentiment", _COLOURS)(
            Normalize(middle - reach, middle + reach)(final["expected"])
        )
        width = 2.5 if long else 5
        ax.hlines(final["expected"], final["start"], final["end"], colors=colours, linewidth=width)
        hatched = {"facecolor": "none", "edgecolor": "0.6", "hatch": "/////", "linewidth": 0}
        for start, end in rows.loc[rows["final"] & ~known, ["start", "end"]].to_numpy():
            ax.axvspan(start, end, ymax=0.06, **hatched)
        ax.axhline(middle, color="0.3", linewidth=0.6)
        ax.set(xlim=(0, self._end()), ylim=(low, high), ylabel="expected level")
        if levels.dtype.kind == "U":
            ax.set_yticks(values, levels)
        else:
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 3, 6, 10]))
        ax.xaxis.set_major_formatter(FuncFormatter(_clock))
        ax.spines[["top", "right"]].set_visible(False)

    def _draw_waveform(
        self, ax: Any, envelope: NDArray[np.float64], low: float, high: float
    ) -> None:
        """In the height of the panel, behind everything else."""
        times, lowest, highest = envelope.T
        loudest = max(np.abs(envelope[:, 1:]).max(), 1e-9)
        middle, scale = (low + high) / 2, (high - low) / 2.2 / loudest
        ax.fill_between(
            times,
            middle + scale * lowest,
            middle + scale * highest,
            color="#8fb3d9",
            alpha=0.45,
            linewidth=0,
            step="post",
            zorder=0,
        )

    @classmethod
    def from_timeline(
        cls,
        timeline: pd.DataFrame,
        *,
        audio: Any = None,
        by: str | None = None,
        axes: Any = None,
    ) -> Self:
        """Draw a time line.

        Parameters
        ----------
        timeline : DataFrame
            Of :func:`~sklearn_speechsent.sentiment_timeline`, of one file.
        audio : str, Path, ndarray or (int, ndarray), default=None
            The recording, whose waveform is drawn behind, as
            :func:`~sklearn_speechsent.sentiment_timeline` takes it; None draws none.
        by : {"channel", "speaker"}, default=None
            What has a panel of its own. None takes speakers where some are named, otherwise
            channels.
        axes : array-like of matplotlib Axes, default=None
            One for each panel; None makes a new figure.

        Returns
        -------
        TimelineDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        RecordingError
            If ``audio`` cannot be read.
        ValueError
            If the time line is empty, of several files, or not a time line.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import pandas as pd
        >>> from sklearn_speechsent.inference import TimelineDisplay
        >>> timeline = pd.DataFrame({
        ...     "file": "call.wav", "channel": 0, "speaker": None, "start": [0.0, 4.0],
        ...     "end": [3.0, 9.0], "level": [1, -1], "expected": [0.8, -0.4],
        ...     "p(-1)": [0.0, 0.7], "p(0)": [0.2, 0.0], "p(1)": [0.8, 0.3],
        ...     "speech": [3.0, 4.5], "final": True})
        >>> len(TimelineDisplay.from_timeline(timeline).axes_)
        1
        """
        absent = {"file", "channel", "start", "end", "expected", "final"} - set(timeline.columns)
        if absent:
            raise ValueError(f"A time line has the columns {', '.join(sorted(absent))}.")
        files = timeline["file"].unique()
        if len(files) != 1:
            raise ValueError(
                f"The time line is of {len(files)} files: choose the rows of one, "
                "timeline[timeline.file == file]."
            )
        if by is None:
            by = "speaker" if timeline.get("speaker", pd.Series()).notna().any() else "channel"
        if by not in ("channel", "speaker"):
            raise ValueError(f"by={by!r} must be 'channel' or 'speaker'.")
        envelopes = None
        if audio is not None:
            channels = [rows["channel"].dropna().unique() for _, rows in _panels(timeline, by)]
            envelopes = [
                envelope(audio, *found[:1] if len(found) == 1 else ()) for found in channels
            ]
        return cls(timeline, by=by, envelopes=envelopes).plot(axes=axes)


def _panels(timeline: pd.DataFrame, by: str) -> list[tuple[Any, pd.DataFrame]]:
    """Values of a column and their rows."""
    return list(timeline.groupby(by, dropna=False, sort=True))


def _means(final: pd.DataFrame, columns: list[str], end: float) -> pd.DataFrame:
    """Means of scores over equal parts of the time, weighted by speech."""
    part = ((final["start"] + final["end"]) / 2 // (end / _PARTS)).astype(int)
    weight = final["speech"].clip(lower=1e-9)
    columns = ["expected", *columns]
    sums = final[columns].mul(weight, axis=0).groupby(part).sum()
    means = sums.div(weight.groupby(part).sum(), axis=0)
    starts = means.index.to_numpy() * (end / _PARTS)
    return means.assign(start=starts, end=starts + end / _PARTS)


def _positions(levels: NDArray[Any]) -> NDArray[np.float64]:
    """Levels as numbers: those in words are counted from 0, as the expected level does."""
    return (np.arange(len(levels)) if levels.dtype.kind == "U" else levels).astype(np.float64)


def band(
    probabilities: NDArray[np.float64], levels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Range of levels that holds most of the probability, as much of it above as below.

    A level's probability is spread evenly over the half-way to its neighbours.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_levels)
    levels : ndarray of shape (n_levels,)
        In ascending order.

    Returns
    -------
    low, high : ndarray of shape (n,)
    """
    middles = (levels[1:] + levels[:-1]) / 2
    edges = np.concatenate([[2 * levels[0] - middles[0]], middles, [2 * levels[-1] - middles[-1]]])
    below = np.pad(np.cumsum(probabilities, axis=1), ((0, 0), (1, 0)))
    wanted = np.array([(1 - _BAND) / 2, (1 + _BAND) / 2])
    found = np.array([np.interp(wanted * row[-1], row, edges) for row in below])
    found = found.reshape(-1, 2).clip(levels[0], levels[-1])
    return found[:, 0], found[:, 1]


def envelope(audio: Any, channel: Any = None) -> NDArray[np.float64]:
    """Lowest and highest samples of a recording over time, read block by block.

    Parameters
    ----------
    audio : str, Path, ndarray or (int, ndarray)
    channel : int, optional
        None mixes down.

    Returns
    -------
    ndarray of shape (n_columns, 3)
        Times (s), lowest and highest samples.

    Raises
    ------
    RecordingError
        If the recording cannot be read.
    """
    source = audio
    if channel is not None:
        source = pd.DataFrame({"file": [audio], "channel": [int(channel)]})
    (recording,) = as_recordings(source if channel is not None else [audio])
    size = _RATE // 100
    parts, rest = [], np.empty(0, np.float32)
    for block in read_blocks(recording, _RATE, notes=[]):
        block = np.concatenate([rest, block])
        whole = len(block) // size * size
        cut = block[:whole].reshape(-1, size)
        parts.append(np.stack([cut.min(1), cut.max(1)], 1))
        rest = block[whole:]
    if len(rest):
        parts.append(np.array([[rest.min(), rest.max()]]))
    extremes = np.concatenate(parts).astype(np.float64)
    starts = np.unique(np.linspace(0, len(extremes), _COLUMNS, endpoint=False).astype(int))
    lowest = np.minimum.reduceat(extremes[:, 0], starts)
    highest = np.maximum.reduceat(extremes[:, 1], starts)
    return np.stack([starts * size / _RATE, lowest, highest], 1)


def _clock(seconds: float, place: int) -> str:
    """Time as minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _new_axes(n_panels: int) -> NDArray[Any]:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            'TimelineDisplay needs matplotlib to draw: pip install "sklearn-speechsent[plot]".'
        ) from error
    size = (10, 0.6 + 2.2 * n_panels)
    _, axes = pyplot.subplots(
        n_panels, figsize=size, sharex=True, squeeze=False, layout="constrained"
    )
    return axes.ravel()
