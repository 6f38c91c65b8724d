"""Voice activity detection: keep the frames in which somebody speaks."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features._base import FramesTransformer
from sklearn_speechsent.frame_checks import check_frames
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_private import Interval, StrOptions, fit_context
from sklearn_speechsent.utterances import UtteranceFrames

#: Frames over which scores are median-filtered: clicks shorter than half of it vanish.
_MEDIAN = 11
#: Frames below the upper threshold by less than this (dB) belong to speech that reached it.
_HYSTERESIS_DB = 3.0
#: Nothing further than this (dB) below the loudest frames is taken for speech.
_RANGE_DB = 40.0


def energy_scores(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Level of each frame above the noise floor of its utterance, in dB.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, n_mels)
        Log-mel energies before any mean normalisation.

    Returns
    -------
    ndarray of shape (n_frames,)

    Notes
    -----
    The floor is the 10th percentile of the utterance's own levels, or 40 dB below its 95th where
    that is higher, so that neither a quiet recording nor digital silence moves the decision.
    """
    with np.errstate(invalid="ignore"):  # frames of NaN stand for recordings without any
        level = 10 / np.log(10) * np.logaddexp.reduce(frames.astype(np.float64), axis=1)
    floor, top = np.percentile(level, [10, 95])
    return level - max(floor, top - _RANGE_DB)


def smooth(
    scores: NDArray[np.floating], *, threshold: float, hysteresis: float, hangover: int
) -> NDArray[np.bool_]:
    """Turn scores per frame into runs of speech.

    Median filter, then hysteresis (a run must reach ``threshold`` somewhere and may fall
    ``hysteresis`` below it), then ``hangover`` frames more on both sides.

    Parameters
    ----------
    scores : ndarray of shape (n_frames,)
    threshold, hysteresis : float
        In the unit of the scores.
    hangover : int
        In frames.

    Returns
    -------
    ndarray of bool of shape (n_frames,)
    """
    filtered = ndimage.median_filter(scores, size=_MEDIAN, mode="nearest")
    runs, n_runs = ndimage.label(filtered > threshold - hysteresis)
    reached = np.zeros(n_runs + 1, dtype=bool)
    reached[runs[filtered > threshold]] = True
    speech = reached[runs] & (runs > 0)
    if hangover and speech.any():
        speech = ndimage.binary_dilation(speech, np.ones(2 * hangover + 1, dtype=bool))
    return speech


class VoiceActivityDetector(FramesTransformer):
    """Drop the frames of an utterance in which nobody speaks.

    Belongs between :class:`~sklearn_speechsent.MelFilterBank` and
    :class:`~sklearn_speechsent.SlidingCMN`: it needs levels, which CMN takes away.

    Parameters
    ----------
    method : {"energy"}, default="energy"
        How frames are scored. ``"energy"``: level above the utterance's own noise floor in dB.
    threshold : float, default=9.0
        Score that speech must reach.
    hangover : float, default=0.25
        Seconds kept before and after each run of speech; word edges are faint.
    min_duration : float, default=1.0
        An utterance that would keep less than this many seconds keeps all its frames.

    Attributes
    ----------
    n_features_in_ : int
        Number of mel bins.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
    >>> rng = np.random.default_rng(0)
    >>> noise = 1e-4 * rng.standard_normal(5 * 16000)
    >>> noise[16000:48000] *= 300  # two loud seconds, from 1 s to 3 s
    >>> frames = MelFilterBank().fit_transform([noise])
    >>> len(frames[0]), len(VoiceActivityDetector().fit_transform(frames)[0])
    (498, 252)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "method": [StrOptions({"energy"})],
        "threshold": [Interval(Real, None, None, closed="neither")],
        "hangover": [Interval(Real, 0, None, closed="left")],
        "min_duration": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        method: str = "energy",
        *,
        threshold: float = 9.0,
        hangover: float = 0.25,
        min_duration: float = 1.0,
    ) -> None:
        self.method = method
        self.threshold = threshold
        self.hangover = hangover
        self.min_duration = min_duration

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> VoiceActivityDetector:
        """Remember the number of bins; the energy method learns nothing.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_mels)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        check_frames(self, X, reset=True)
        return self

    def transform(self, X: Any) -> UtteranceFrames:
        """Keep the frames of speech.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_mels)

        Returns
        -------
        UtteranceFrames

        Raises
        ------
        ValueError
            If the frames were mean-normalised before.
        """
        check_is_fitted(self)
        frames = check_frames(self, X, reset=False)
        if "cmn" in frames.frontend:
            raise ValueError(
                "VoiceActivityDetector needs levels, but the frames come out of SlidingCMN. Put "
                "the detector before it."
            )
        shift = frames.frontend.get("frame_shift", 0.01)
        minimum = round(self.min_duration / shift)
        kept = []
        for utterance in frames:
            speech = smooth(
                energy_scores(utterance),
                threshold=self.threshold,
                hysteresis=_HYSTERESIS_DB,
                hangover=round(self.hangover / shift),
            )
            enough = speech.sum() >= max(minimum, 1)
            kept.append(utterance[speech] if enough else utterance)
        return frames.with_frames(kept, dtype=frames.dtype, vad=self.method)
