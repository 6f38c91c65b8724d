"""Sentiment of a live stream of samples."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from sklearn_speechsent.audio.extent import RATES
from sklearn_speechsent.inference.detection import RATE, CausalDetector
from sklearn_speechsent.inference.events import Event
from sklearn_speechsent.inference.listener import Item, Listener
from sklearn_speechsent.inference.scoring import EventMaker, Scorer
from sklearn_speechsent.inference.windows import WindowRule
from sklearn_speechsent.vad import VoiceActivityDetector

#: Samples beyond it have another full scale than 1, as in files.
_LOUDEST = 4.0


class StreamingSentiment:
    """Sentiment of one stream, while and right after somebody speaks.

    Samples go in as they come, and events come out: the start and the end of each utterance,
    provisional scores while it lasts, and its final score. These are the numbers that
    :func:`~sklearn_speechsent.sentiment_timeline` gives for a file of the same samples.

    An object follows one stream, and belongs to one thread at a time. Streams share a pipeline,
    which is only read. Memory does not grow with the stream.

    Parameters
    ----------
    pipeline : estimator
        Fitted; from recordings to levels (``predict_proba``) or to intensities.
    sample_rate : int, default=16000
        Of the samples that are pushed, in Hz.
    channel : int, optional
        Channel that is taken, from 0; None mixes all down.
    window : float, default=5.0
        Seconds of the windows of provisional scores.
    step : float, default=1.0
        Seconds between provisional scores.
    min_speech : float, default=1.0
        An utterance with fewer seconds of speech gets a final score of NaN.
    max_window : float, default=15.0
        A longer utterance gets the mean of its windows as its final score, weighted by speech.
    detector : VoiceActivityDetector or CausalDetector, optional
        Finds utterances; of its parameters ``weights``, ``threshold`` and ``hangover`` count.
        Streams share a :class:`~sklearn_speechsent.inference.CausalDetector` and its network.

    Attributes
    ----------
    levels : ndarray of shape (n_levels,) or None
        Levels of the probabilities in :class:`~sklearn_speechsent.inference.Score`; None for a
        regressor.

    Raises
    ------
    NotFittedError
        If the pipeline is not fitted.
    ValueError
        If a parameter is not what it can be.

    See Also
    --------
    sentiment_timeline : The same for recordings.

    Examples
    --------
    >>> import soundfile
    >>> from sklearn_speechsent import StreamingSentiment, make_sentiment_pipeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline().fit(corpus.data, corpus.target)
    >>> stream = StreamingSentiment(pipeline, sample_rate=16000)
    >>> samples, _ = soundfile.read(corpus.data[0], dtype="int16")
    >>> events = []
    >>> for first in range(0, len(samples), 320):  # 20 ms
    ...     events += stream.push(samples[first : first + 320])
    >>> events += stream.finish()
    >>> [type(event).__name__ for event in events]
    ['SpeechStart', 'Score', 'Score', 'Score', 'SpeechEnd']
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        sample_rate: int = RATE,
        channel: int | None = None,
        window: float = 5.0,
        step: float = 1.0,
        min_speech: float = 1.0,
        max_window: float = 15.0,
        detector: VoiceActivityDetector | CausalDetector | None = None,
    ) -> None:
        if not (isinstance(sample_rate, Integral) and RATES[0] <= sample_rate <= RATES[1]):
            raise ValueError(
                f"sample_rate={sample_rate!r} is not a whole number of Hz from {RATES[0]} to "
                f"{RATES[1]}."
            )
        if channel is not None and not (isinstance(channel, Integral) and channel >= 0):
            raise ValueError(f"channel={channel!r} is neither None nor a whole number from 0.")
        self._scorer: Scorer = Scorer(pipeline)
        self._rate: int = int(sample_rate)
        self._channel: int | None = None if channel is None else int(channel)
        self._rule: WindowRule = WindowRule.of_seconds(
            window=window, step=step, min_speech=min_speech, max_window=max_window
        )
        self._detector: CausalDetector = CausalDetector.of(detector)
        self.levels = self._scorer.levels
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next samples are the first ones of another."""
        self._listener = Listener(self._detector, self._rule)
        self._events = EventMaker(self._scorer)
        self._resampler = None
        if self._rate != RATE:
            self._resampler = soxr.ResampleStream(
                self._rate, RATE, 1, dtype="float32", quality="HQ"
            )
        self._n_channels: int | None = None
        self._n = 0
        self._over = ""

    @property
    def n_left_out(self) -> int:
        """Number of provisional scores that were left out since the stream began."""
        return self._listener.n_left_out

    def push(self, samples: ArrayLike, *, provisional: bool = True) -> list[Event]:
        """Take the next samples.

        Parameters
        ----------
        samples : array-like of shape (n_samples,) or (n_samples, n_channels)
            As many as there are: int16, or float32 or float64 with a full scale of [-1, 1].
        provisional : bool, default=True
            False leaves out the provisional scores that these samples would bring, for a stream
            that is behind. Final scores stay the same.

        Returns
        -------
        list of SpeechStart, Score and SpeechEnd
            What is known now and was not before, in the order of the utterances.

        Raises
        ------
        TypeError
            If the samples are of another type.
        ValueError
            If they hold NaN or infinity, are beyond full scale, or their number of channels has
            changed. The stream is then as it was before, and can go on.
        RuntimeError
            After :meth:`finish`, or after the pipeline has failed.
        """
        self._check_not_over()
        mono = self._mono(np.asarray(samples))
        if self._resampler is not None and len(mono):
            mono = self._resampler.resample_chunk(mono)
        return self._collect(self._listener.push(mono, provisional=provisional))

    def finish(self) -> list[Event]:
        """Take the end of the stream.

        Returns
        -------
        list of SpeechStart, Score and SpeechEnd

        Raises
        ------
        RuntimeError
            If it was called before, or the pipeline has failed.
        """
        self._check_not_over()
        events: list[Event] = []
        if self._resampler is not None and self._n:
            rest = self._resampler.resample_chunk(np.empty(0, np.float32), last=True)
            events = self._collect(self._listener.push(rest))
        events += self._collect(self._listener.finish())
        self._over = "it is finished"
        return events

    def _check_not_over(self) -> None:
        if self._over:
            raise RuntimeError(f"The stream takes nothing more: {self._over}. Call reset() first.")

    def _collect(self, items: Iterable[Item]) -> list[Event]:
        self._over = "its pipeline has failed"
        events: list[Event] = []
        for item in items:
            events += self._events.add(item)
        events += self._events.flush()
        self._over = ""
        return events

    def _mono(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """Samples of one channel, once they are sound."""
        if samples.dtype not in (np.int16, np.float32, np.float64):
            raise TypeError(
                f"samples are {samples.dtype}, and a stream takes int16, float32 and float64. "
                "Convert them; bytes of 16-bit PCM by numpy.frombuffer(data, 'int16')."
            )
        if samples.ndim not in (1, 2):
            raise ValueError(
                f"samples have the shape {samples.shape}; it must be (n_samples,) or (n_samples, "
                "n_channels)."
            )
        n_channels = samples.shape[1] if samples.ndim == 2 else 1
        if self._n_channels not in (None, n_channels):
            raise ValueError(
                f"samples have {n_channels} channels, and those before had {self._n_channels}. "
                "Call finish() and reset() where another stream begins."
            )
        if not n_channels or (self._channel or 0) >= n_channels:
            raise ValueError(
                f"samples have {n_channels} channels, so that there is no channel "
                f"{self._channel or 0} (from 0)."
            )
        block = samples.reshape(len(samples), n_channels)
        if block.dtype == np.int16:
            block = block.astype(np.float32) / np.float32(32768)
        with np.errstate(over="ignore"):  # infinity is said below
            block = block.astype(np.float32, copy=False)
        mono = block.mean(axis=1) if self._channel is None else block[:, self._channel]
        peak = float(np.abs(block).max(initial=0.0))
        if not np.isfinite(peak):
            bad = int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(
                f"sample {self._n + bad} of the stream is {samples[bad]}; NaN and infinity are not "
                "sound. Repair or replace it."
            )
        if peak > _LOUDEST:
            raise ValueError(
                f"samples reach {peak:g}, and full scale is 1. Divide them by the full scale that "
                "they were recorded with (32768 for 16 bits), or push the integers."
            )
        self._n_channels = n_channels
        self._n += len(mono)
        return np.ascontiguousarray(mono)
