"""Cepstral-style mean normalisation over a sliding window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT, FramesTransformer
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.utils.sklearn_compat import Interval

#: Part of every cache key: increased when the same settings give other frames.
_VERSION = 2


def window_means(frames: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Mean of every window of ``width`` frames.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, ...)
    width : int
        Window in frames, ``n_frames`` at most.

    Returns
    -------
    ndarray of shape (n_frames - width + 1, ...)

    Notes
    -----
    One window differs from the next by the frame that enters and the one that leaves. Summing
    that up in float64 makes the cost independent of the window and agrees with the literal double
    loop to about 1e-13.
    """
    sums = np.empty((len(frames) - width + 1, *frames.shape[1:]))
    frames[:width].sum(axis=0, dtype=np.float64, out=sums[0, ...])
    np.subtract(frames[width:], frames[:-width], dtype=np.float64, out=sums[1:])
    steps = torch.from_numpy(sums)
    torch.cumsum(steps, dim=0, out=steps)  # twice as fast as NumPy's along this axis
    sums /= width
    return sums


def _without_means(utterances: Iterable[NDArray[Any]], width: int | None) -> Iterator[NDArray[Any]]:
    """Frames of each utterance without their means, in float32 at least.

    The window is centred, and shifted inward at the edges, which share the first and last mean.
    """
    for utterance in utterances:
        out = np.empty(utterance.shape, np.result_type(utterance, np.float32))
        length = min(width or len(utterance), len(utterance))
        means = window_means(utterance, length).astype(out.dtype, copy=False)
        first = length // 2
        last = first + len(means)
        np.subtract(utterance[:first], means[0], out=out[:first])
        np.subtract(utterance[first:last], means, out=out[first:last])
        np.subtract(utterance[last:], means[-1], out=out[last:])
        yield out


class SlidingCMN(FramesTransformer):
    """Subtract the mean over a centred sliding window from each frame.

    What is constant over a few seconds is the channel, the microphone and the loudness, not the
    affect. The name comes from cepstra, for which the method was made; here it works on MFB.

    X is :class:`~sklearn_speechsent.UtteranceFrames`, a sequence of (n_frames, n_bins), or an
    array-like of shape (n, n_frames), whose rows are utterances of one bin. Nothing is learned.
    The frames that come out have the type of those that go in, float32 at least.

    Parameters
    ----------
    window : float or None, default=3.0
        Width in seconds. At the edges the window is shifted inward; an utterance shorter than it
        loses its mean. None subtracts the mean of the whole utterance.
    n_jobs : int, optional
        Threads over utterances; -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which frames are stored, see :class:`~sklearn_speechsent.FeatureStore`. Without it
        they are held in memory.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Number of bins.

    References
    ----------
    .. [1] D. Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import SlidingCMN
    >>> ramp = np.arange(4.0)[:, None]
    >>> SlidingCMN(window=None).fit_transform([ramp])[0].ravel()
    array([-1.5, -0.5,  0.5,  1.5])
    """

    _step, _label = "cmn", "CMN"
    _parameter_constraints: dict[str, list[Any]] = {
        "window": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [Integral, None],
        "memory": MEMORY_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        window: float | None = 3.0,
        *,
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.window = window
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> FrameRows:
        return FrameRows(check_frames(self, X, reset=reset, bins=True))

    def _settings(self, rows: FrameRows) -> dict[str, Any]:
        return {"version": _VERSION, "width": self._width(rows)}

    def _function(self, rows: FrameRows) -> Function:
        return partial(_without_means, width=self._width(rows))

    def _lengths(self, rows: FrameRows) -> NDArray[np.int64]:
        return rows.frames.lengths

    def _finish(self, made: UtteranceFrames, rows: FrameRows) -> UtteranceFrames:
        made = super()._finish(made, rows)
        made.frame_settings["cmn"] = "utterance" if self.window is None else float(self.window)
        return made

    def _width(self, rows: FrameRows) -> int | None:
        """Window in frames; None is the utterance."""
        if self.window is None:
            return None
        return max(1, round(self.window / rows.frames.frame_shift))
