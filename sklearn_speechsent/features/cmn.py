"""Cepstral-style mean normalisation over a sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT, FramesTransformer
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.frames.audible import audible
from sklearn_speechsent.frames.no_speech import rows_of_nan, warn_without_speech
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.utils.sklearn_compat import Interval

#: Part of every cache key: increased when the same settings give other frames.
_VERSION = 3
#: Windows that are computed at a time: in double precision they take some megabytes.
_BLOCK = 4096


def window_means(frames: NDArray[Any], width: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Means of all windows of ``width`` frames, a block of them at a time.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, ...)
    width : int
        Window in frames, ``n_frames`` at most.

    Yields
    ------
    windows : slice
        By their first frames.
    means : ndarray of shape (n_windows, ...)

    Notes
    -----
    One window differs from the next by the frame that enters and the one that leaves. Summing
    that up in float64 makes the cost independent of the window and agrees with the literal double
    loop to about 1e-13.
    """
    total = frames[:width].sum(axis=0, dtype=np.float64)
    for first in range(0, len(frames) - width + 1, _BLOCK):
        last = min(first + _BLOCK, len(frames) - width + 1)
        sums = np.empty((last - first, *frames.shape[1:]))
        sums[0] = total
        if first:
            sums[0] += np.subtract(frames[first + width - 1], frames[first - 1], dtype=np.float64)
        entering, leaving = frames[first + width : last + width - 1], frames[first : last - 1]
        np.subtract(entering, leaving, dtype=np.float64, out=sums[1:])
        steps = torch.from_numpy(sums)
        torch.cumsum(steps, dim=0, out=steps)  # twice as fast as NumPy's along this axis
        total = sums[-1].copy()
        yield slice(first, last), sums / width


def _without_means(
    utterances: UtteranceFrames, width: int | None, log_mel: bool
) -> Iterator[NDArray[Any]]:
    """Frames of each utterance without their means, in float32 at least.

    The window is centred, and shifted inward at the edges, which share the first and last mean.
    """
    for utterance in utterances:
        out_type = np.result_type(utterance, np.float32)
        heard = audible(utterance, utterances) if log_mel else np.ones(1, dtype=bool)
        if not heard.any():
            yield np.full((1, *utterance.shape[1:]), np.nan, out_type)
            continue
        if not heard.all():
            utterance = utterance[heard]
        out = np.empty(utterance.shape, out_type)
        length = min(width or len(utterance), len(utterance))
        half, n_windows = length // 2, len(utterance) - length + 1
        for windows, means in window_means(utterance, length):
            means = means.astype(out_type, copy=False)
            if windows.start == 0:
                np.subtract(utterance[:half], means[0], out=out[:half])
            rows = slice(half + windows.start, half + windows.stop)
            np.subtract(utterance[rows], means, out=out[rows])
            if windows.stop == n_windows:
                np.subtract(utterance[rows.stop :], means[-1], out=out[rows.stop :])
        yield out


class SlidingCMN(FramesTransformer):
    """Subtract the mean over a centred sliding window from each frame.

    What is constant over a few seconds is the channel, the microphone and the loudness, not the
    affect. The name comes from cepstra, for which the method was made; here it works on MFB.

    Frames of digital silence, as :class:`~sklearn_speechsent.MelFilterBank` makes them of zeros,
    lie far below the noise of any microphone: they count in no mean and are left out, and with them
    the frames that they cut. An utterance of nothing else becomes a single frame of NaN.

    X is :class:`~sklearn_speechsent.UtteranceFrames`, a sequence of (n_frames, n_bins), or an
    array-like of shape (n, n_frames), whose rows are utterances of one bin. Nothing is learned.
    The frames that come out have the type of those that go in, float32 at least.

    Parameters
    ----------
    window : float or None, default=3.0
        Width in seconds. At the edges the window is shifted inward; an utterance shorter than it
        loses its mean. None subtracts the mean of the whole utterance.
    n_jobs : int, optional
        Threads over utterances, where these last 40 s and more; -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which frames are stored, see :class:`~sklearn_speechsent.FeatureStore`. Without it
        they are held in memory.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Number of bins.

    See Also
    --------
    MelFilterBank : The frames.
    VoiceActivityDetector : The step before it.
    SpeakerFeatureExtractor : The step behind it.

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
        return {"version": _VERSION, **self._arguments(rows)}

    def _function(self, rows: FrameRows) -> Function:
        return partial(_without_means, **self._arguments(rows))

    def _compute(self, rows: Any, **options: Any) -> Computed:
        # The means of a short utterance are a few calls of microseconds.
        short = rows.frames.lengths.mean() < _BLOCK
        return super()._compute(rows, prefer="neither" if short else "threads", **options)

    def _lengths(self, rows: FrameRows) -> NDArray[np.int64] | None:
        frames = rows.frames
        if not _log_mel(frames):
            return frames.lengths
        if not isinstance(frames.base, np.ndarray):  # what lies in files is not read for this
            return None
        return np.array([max(1, audible(utterance, frames).sum()) for utterance in frames])

    def _finish(self, made: UtteranceFrames, rows: FrameRows) -> UtteranceFrames:
        made = super()._finish(made, rows)
        found = rows_of_nan(made) & ~rows_of_nan(rows.frames)
        warn_without_speech(found, made, "hold digital silence only")
        made.frame_settings["cmn"] = "utterance" if self.window is None else float(self.window)
        return made

    def _arguments(self, rows: FrameRows) -> dict[str, Any]:
        """Window in frames, of which None is the utterance, and whether zeros lie at a floor."""
        width = self.window and max(1, round(self.window / rows.frames.frame_shift))
        return {"width": width, "log_mel": _log_mel(rows.frames)}


def _log_mel(frames: UtteranceFrames) -> bool:
    """Whether frames are log-mel energies before any normalisation, with a floor for zeros."""
    settings = frames.frame_settings
    return "n_mels" in settings and settings.get("cmn") is None
