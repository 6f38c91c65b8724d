"""Sentiment of files and streams by an exported model."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sklearn_speechsent.runtime.audio import (
    one_channel,
    read_file,
    resampled,
    resampler,
    whole,
)

#: Version of inputs, outputs and metadata of models that can be run.
_FORMAT = "1"
#: Rates (Hz) that samples can have.
_RATES = (1000, 768_000)


class Score(NamedTuple):
    """Sentiment of a stream, or of a window of it.

    Parameters
    ----------
    start, end : float
        Seconds from the beginning of the stream.
    level : object
        One of ``levels``; None where nothing can be said, and of intensities.
    expected : float
        Expected level, for text the expected position in ``levels``; or the intensity. NaN where
        nothing can be said.
    probabilities : tuple of float
        In the order of ``levels``; empty of intensities.
    final : bool
        Whether it is the score of the whole stream.
    """

    start: float
    end: float
    level: Any
    expected: float
    probabilities: tuple[float, ...]
    final: bool


class OnnxSentiment:
    """Sentiment of recordings by a model that :func:`~sklearn_speechsent.deploy.export_onnx` wrote.

    It needs NumPy, onnxruntime, soundfile and soxr, and imports neither torch nor scikit-learn.

    Parameters
    ----------
    path : str or path-like
        Of the model.
    n_threads : int, default=1
        Threads of onnxruntime.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a recording that cannot be used: raise an error that names it, or warn and
        give NaN.
    window : float, default=5.0
        Seconds of the windows of provisional scores of a stream.
    step : float, optional
        Seconds between provisional scores; without it there are none.
    max_duration : float, default=300.0
        Longer recordings and streams, in seconds, are an error: memory grows with them, by up to
        350 MiB per minute.

    Attributes
    ----------
    levels : list or None
        In ordinal order, as probabilities are; None of a model of intensities.
    sample_rate : int
        That the model takes, in Hz; other rates are resampled.
    speeds : list of float
        Speeds that scores are averaged over.

    Raises
    ------
    ValueError
        If the model was not written by ``export_onnx`` with ``kind="waveform"``.

    See Also
    --------
    export_onnx : Writes its model.

    Notes
    -----
    A recording is one utterance from its beginning to its end. Its channels are mixed down, and it
    is resampled once, from its first sample. The whole stream has the score that a file of the same
    samples has, whatever the chunks are. A provisional score is that of the samples ``[max(0,
    k * step - window), k * step)``, in seconds, by themselves; it never changes.

    An object follows one stream, and belongs to one thread at a time. ``copy.copy`` gives one for
    another stream that shares the model.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent import make_sentiment_pipeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> from sklearn_speechsent.deploy import export_onnx
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline().fit(corpus.data, corpus.target)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scorer = OnnxSentiment(export_onnx(pipeline, f"{folder}/model.onnx"))
    >>> scorer.levels, scorer.predict(corpus.data).tolist() == corpus.target.tolist()
    ([-1, 1], True)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_threads: int = 1,
        on_error: str = "raise",
        window: float = 5.0,
        step: float | None = None,
        max_duration: float = 300.0,
    ) -> None:
        if on_error not in ("raise", "nan"):
            raise ValueError(f"on_error={on_error!r} must be 'raise' or 'nan'.")
        if window <= 0 or (step is not None and step <= 0) or max_duration <= 0:
            raise ValueError(
                f"window={window}, step={step} and max_duration={max_duration} must be positive "
                "numbers of seconds."
            )
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"There is no model {os.fspath(path)!r}: export_onnx writes it."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        self._session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"]
        )
        about = self._session.get_modelmeta().custom_metadata_map
        if about.get("format") != _FORMAT or about.get("kind") != "waveform":
            raise ValueError(
                f"{os.fspath(path)!r} has format {about.get('format')} and kind "
                f"{about.get('kind')}, and this version runs format {_FORMAT} and kind waveform. "
                'Write it again: export_onnx(pipeline, path, kind="waveform").'
            )
        self.levels: list[Any] | None = json.loads(about["levels"])
        self.sample_rate = int(about["sample_rate"])
        self.speeds: list[float] = json.loads(about["speeds"])
        self._shortest = int(about["shortest"])
        self._on_error = on_error
        self._window, self._step = window, step
        self._max_duration = max_duration
        self.reset()

    def __copy__(self) -> OnnxSentiment:
        copied = object.__new__(OnnxSentiment)
        vars(copied).update(vars(self))
        copied.reset()
        return copied

    # -- recordings ----------------------------------------------------------------------------

    def predict(self, recordings: Iterable[Any]) -> NDArray[Any]:
        """Level of each recording, or its intensity.

        Parameters
        ----------
        recordings : iterable of str, path-like or (rate, samples)
            Files (wav, flac, ogg, mp3), or arrays of shape (n_samples,) or (n_samples, n_channels).

        Returns
        -------
        ndarray of shape (n,)
            Where nothing can be said, NaN, or None for levels of text.

        Raises
        ------
        ValueError
            If a recording cannot be used and ``on_error="raise"``; the message names it.
        """
        found = [level for level, _, _ in self._scores(recordings)]
        missing = any(level is None for level in found)
        if self.levels is None or (missing and not isinstance(self.levels[0], str)):
            return np.array([np.nan if value is None else value for value in found], np.float64)
        return np.array(found, dtype=object if missing else None)

    def predict_proba(self, recordings: Iterable[Any]) -> NDArray[np.float64]:
        """Probability of each level.

        Parameters
        ----------
        recordings : iterable of str, path-like or (rate, samples)
            See :meth:`predict`.

        Returns
        -------
        ndarray of shape (n, n_levels)
            In the order of ``levels``; NaN where nothing can be said.

        Raises
        ------
        AttributeError
            If the model gives intensities.
        ValueError
            If a recording cannot be used and ``on_error="raise"``; the message names it.
        """
        if self.levels is None:
            raise AttributeError("The model gives intensities, without probabilities: use predict.")
        found = [probabilities for _, _, probabilities in self._scores(recordings)]
        return np.array(found).reshape(-1, len(self.levels))

    def _scores(self, recordings: Iterable[Any]) -> list[tuple[Any, float, NDArray[np.float64]]]:
        """Level (or intensity), expected level and probabilities of each recording."""
        if isinstance(recordings, (str, os.PathLike)):
            raise ValueError(f"Pass a list of recordings: [{str(recordings)!r}].")
        if isinstance(recordings, bytes):
            raise ValueError("Pass a list of recordings: [contents].")
        found = []
        for row, recording in enumerate(recordings):
            pair = isinstance(recording, tuple)
            name = f"row {row}" if pair else f"row {row} ({os.fspath(recording)!r})"
            try:
                if pair:
                    rate, samples = recording
                    samples = whole(samples)
                else:
                    rate, samples = read_file(recording, self._max_duration)
                found.append(self._score(samples, rate))
            except ValueError as exception:
                if self._on_error == "raise":
                    raise ValueError(f"{name}: {exception}") from exception
                warnings.warn(f"{name}: {exception}", UserWarning, stacklevel=3)
                found.append(self._nothing())
        if self.levels is None:
            return [(expected, expected, values) for _, expected, values in found]
        return found

    def _nothing(self) -> tuple[Any, float, NDArray[np.float64]]:
        return None, np.nan, np.full(len(self.levels or ()), np.nan)

    def _score(
        self, samples: NDArray[np.float32], rate: float
    ) -> tuple[Any, float, NDArray[np.float64]]:
        """Level, expected level (or intensity) and probabilities of an utterance."""
        if len(samples) > self._max_duration * rate:
            raise ValueError(
                f"it lasts more than max_duration={self._max_duration:g} s. Cut it into utterances."
            )
        made = [self._run(resampled(samples, rate * s, self.sample_rate)) for s in self.speeds]
        outputs = {name: np.mean([each[name] for each in made], axis=0) for name in made[0]}
        expected = float(outputs["expected"][0])
        if np.isnan(expected):
            return self._nothing()
        if self.levels is None:
            return None, expected, np.empty(0)
        probabilities = outputs["probabilities"]
        above = 1 - np.cumsum(probabilities)[:-1]
        return self.levels[int((above > 0.5).sum())], expected, probabilities

    def _run(self, samples: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Outputs of the graph."""
        if len(samples) < self._shortest:
            raise ValueError(
                f"it has {len(samples)} samples at {self.sample_rate} Hz, fewer than a frame of "
                f"{self._shortest}. Leave it out."
            )
        names = [output.name for output in self._session.get_outputs()]
        values = self._session.run(names, {"samples": np.ascontiguousarray(samples)})
        return dict(zip(names, values, strict=True))

    # -- streams -------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the stream: the next samples are the first ones of another."""
        self._rate: int | None = None
        self._resampler: Any = None
        self._n = 0
        self._chunks: list[NDArray[np.float32]] = []
        self._n_scored = 0

    def push(self, samples: Any, rate: int = 16000) -> list[Score]:
        """Take the next samples of a stream.

        Parameters
        ----------
        samples : array-like of shape (n_samples,) or (n_samples, n_channels)
            Any number of them, floats in [-1, 1] or integers of up to 32 bits.
        rate : int, default=16000
            Of the samples, in Hz, the same for the whole stream.

        Returns
        -------
        list of Score
            Provisional scores, of which the samples complete the windows; empty without ``step``.

        Raises
        ------
        ValueError
            If samples cannot be used, the rate changes, or the stream lasts too long.
        """
        if not _RATES[0] <= rate <= _RATES[1]:
            raise ValueError(f"rate={rate} is not from {_RATES[0]} to {_RATES[1]} Hz.")
        if rate != (self._rate or rate):
            raise ValueError(
                f"The stream began with {self._rate} Hz, and goes on with {rate} Hz. Call finish() "
                "or reset() first."
            )
        chunk = one_channel(samples)
        if self._rate is None:
            self._rate = rate
            if rate != self.sample_rate:
                self._resampler = resampler(rate, self.sample_rate)
        if self._n + len(chunk) > self._max_duration * rate:
            raise ValueError(
                f"The stream lasts more than max_duration={self._max_duration:g} s. Call finish() "
                "at the end of an utterance."
            )
        self._n += len(chunk)
        # Whoever pushes may use its buffer again.
        chunk = chunk.copy() if self._resampler is None else self._resampler.resample_chunk(chunk)
        self._chunks.append(chunk)
        return self._provisional()

    def finish(self) -> Score:
        """Score of the whole stream, which ends; the next samples are those of another.

        Returns
        -------
        Score

        Raises
        ------
        ValueError
            If no or too few samples were pushed.
        """
        if self._resampler is not None:
            nothing = np.empty(0, np.float32)
            self._chunks.append(self._resampler.resample_chunk(nothing, last=True))
        samples = self._joined()
        self.reset()
        return self._scored(samples, 0, len(samples), final=True)

    def _joined(self) -> NDArray[np.float32]:
        """All samples of the stream."""
        if len(self._chunks) != 1:
            self._chunks = [np.concatenate([np.empty(0, np.float32), *self._chunks])]
        return self._chunks[0]

    def _provisional(self) -> list[Score]:
        """Scores of windows that are complete."""
        if self._step is None:
            return []
        step, window = (round(s * self.sample_rate) for s in (self._step, self._window))
        found = []
        n = sum(map(len, self._chunks))
        while (end := (self._n_scored + 1) * step) <= n:
            self._n_scored += 1
            start = max(0, end - window)
            if end - start >= self._shortest:
                found.append(self._scored(self._joined(), start, end, final=False))
        return found

    def _scored(self, samples: NDArray[np.float32], start: int, end: int, *, final: bool) -> Score:
        level, expected, probabilities = self._score(samples[start:end], self.sample_rate)
        seconds = (start / self.sample_rate, end / self.sample_rate)
        return Score(*seconds, level, expected, tuple(probabilities.tolist()), final)
