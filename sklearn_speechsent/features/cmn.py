"""Cepstral-style mean normalisation over a sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT, FramesTransformer
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.store import as_store
from sklearn_speechsent.store.kept import kept
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import Interval, fit_context

#: Part of every key: raise it when the same settings give other frames.
_VERSION = 2
#: Frame shift (s) assumed for frames that do not say how they were made.
_DEFAULT_SHIFT = 0.01


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


def _subtract_means(
    utterance: NDArray[Any], width: int | None, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Frames of an utterance without their means, in float32 at least.

    The window is centred, and shifted inward at the edges, which share the first and last mean.
    """
    if out is None:
        out = np.empty(utterance.shape, np.result_type(utterance, np.float32))
    width = min(width or len(utterance), len(utterance))
    means = window_means(utterance, width).astype(out.dtype, copy=False)
    first = width // 2
    last = first + len(means)
    np.subtract(utterance[:first], means[0], out=out[:first])
    np.subtract(utterance[first:last], means, out=out[first:last])
    np.subtract(utterance[last:], means[-1], out=out[last:])
    return out


def _subtract_means_of_batch(frames: UtteranceFrames, width: int | None) -> Iterator[NDArray[Any]]:
    for utterance in frames:
        yield _subtract_means(utterance, width)


class SlidingCMN(FramesTransformer):
    """Subtract the mean over a centred sliding window from each frame.

    What is constant over a few seconds is the channel, the microphone and the loudness, not the
    affect. The name comes from cepstra, for which the method was made; here it works on MFB.

    Parameters
    ----------
    window : float or None, default=3.0
        Width in seconds. At the edges the window is shifted inward; an utterance shorter than it
        loses its mean. None subtracts the mean of the whole utterance.
    n_jobs : int, optional
        Threads over utterances, where frames are kept; -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which frames are kept, see :class:`~sklearn_speechsent.FeatureStore`. Without it
        they are held in memory, as many as went in.
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

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> SlidingCMN:
        """Remember the number of bins; nothing is learned.

        Parameters
        ----------
        X : UtteranceFrames, sequence of (n_frames, n_bins), or array-like of shape (n, n_frames)
            A 2-D table holds utterances of one bin.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        check_frames(self, X, reset=True, bins=True)
        return self

    def transform(self, X: Any) -> UtteranceFrames:
        """Subtract the means.

        Parameters
        ----------
        X : UtteranceFrames, sequence of (n_frames, n_bins), or array-like of shape (n, n_frames)

        Returns
        -------
        UtteranceFrames
            In the type of the frames, float32 at least.
        """
        check_is_fitted(self)
        frames = check_frames(self, X, reset=False, bins=True)
        width = None
        if self.window is not None:
            shift = frames.frame_settings.get("frame_shift", _DEFAULT_SHIFT)
            width = max(1, round(self.window / shift))
        settings = {"version": _VERSION, "width": width}
        if self.memory is None:
            lengths = frames.lengths
            stops = np.cumsum(lengths)
            dtype = np.result_type(frames.dtype, np.float32)
            base = np.empty((int(stops[-1]), *frames.frame_shape), dtype)
            made = UtteranceFrames(
                base,
                stops - lengths,
                stops,
                frame_settings=frames.frame_settings,
                embeddings=frames.embeddings,
            )
            for row, utterance in enumerate(frames):
                _subtract_means(utterance, width, out=made[row])
        else:
            made = kept(
                as_store(self.memory).shelf("cmn", settings),
                frames,
                partial(_subtract_means_of_batch, width=width),
                n_jobs=self.n_jobs,
                verbose=self.verbose,
                description="CMN",
            )
        made.frame_settings["cmn"] = "utterance" if self.window is None else float(self.window)
        return made
