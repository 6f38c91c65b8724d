"""Cepstral-style mean normalisation over a sliding window."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features._base import FramesTransformer
from sklearn_speechsent.frame_checks import check_frames
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_private import Interval, fit_context
from sklearn_speechsent.utterances import UtteranceFrames

#: Frame shift (s) assumed for frames that do not say how they were made.
_DEFAULT_SHIFT = 0.01


def sliding_mean(frames: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Mean of a centred window of ``width`` frames, shifted inward at the edges.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, ...)
    width : int
        Window in frames.

    Returns
    -------
    ndarray of shape (n_frames, ...) or (1, ...)
        One mean for all frames if the window covers them all.

    Notes
    -----
    A cumulative sum in float64 makes the cost independent of the window and agrees with the
    literal double loop to about 1e-13.
    """
    n_frames = len(frames)
    if n_frames <= width:
        return frames.mean(axis=0, dtype=np.float64, keepdims=True)
    sums = np.zeros((n_frames + 1, *frames.shape[1:]))
    np.cumsum(frames, axis=0, dtype=np.float64, out=sums[1:])
    means = (sums[width:] - sums[:-width]) / width
    starts = np.clip(np.arange(n_frames) - width // 2, 0, n_frames - width)
    return means[starts]


class SlidingCMN(FramesTransformer):
    """Subtract the mean over a centred sliding window from each frame.

    What is constant over a few seconds is the channel, the microphone and the loudness, not the
    affect. The name comes from cepstra, for which the method was made; here it works on MFB.

    Parameters
    ----------
    window : float or None, default=3.0
        Width in seconds. At the edges the window is shifted inward; an utterance shorter than it
        loses its mean. None subtracts the mean of the whole utterance.

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
    }

    def __init__(self, window: float | None = 3.0) -> None:
        self.window = window

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
            shift = frames.frontend.get("frame_shift", _DEFAULT_SHIFT)
            width = max(1, round(self.window / shift))
        lengths = frames.lengths
        stops = np.cumsum(lengths)
        starts = stops - lengths
        dtype = np.result_type(frames.dtype, np.float32)
        base = np.empty((int(stops[-1]), *frames.frame_shape), dtype)
        for utterance, start, stop in zip(frames, starts, stops, strict=True):
            mean = sliding_mean(utterance, width or len(utterance))
            np.subtract(utterance, mean, out=base[start:stop], casting="same_kind")
        cmn = "utterance" if self.window is None else float(self.window)
        return UtteranceFrames(
            base,
            starts,
            stops,
            frontend={**frames.frontend, "cmn": cmn},
            embeddings=frames.embeddings,
        )
