"""Sentiment of recordings over time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from sklearn_speechsent import audio
from sklearn_speechsent.audio import Recording, RecordingError, SilentRecordingError, io
from sklearn_speechsent.audio.channels import ChannelPowers
from sklearn_speechsent.audio.extent import END_TOLERANCE
from sklearn_speechsent.audio.names import printable
from sklearn_speechsent.inference.detection import BLOCK, RATE, CausalDetector, Detection
from sklearn_speechsent.inference.events import Event, Score
from sklearn_speechsent.inference.listener import Listener
from sklearn_speechsent.inference.scoring import EventMaker, Scorer
from sklearn_speechsent.inference.segments import check_within, in_samples, segments_of
from sklearn_speechsent.inference.windows import WindowRule
from sklearn_speechsent.store import FeatureStore, NullStore, RecordingRows, check_store
from sklearn_speechsent.utils.threads import torch_threads
from sklearn_speechsent.vad import VoiceActivityDetector

#: File, channel, speaker and score.
_Row = tuple[Any, int | None, Any, Score]


@dataclass(frozen=True)
class _Signal:
    """One channel, or the mix, of a recording, and the channels that it stands for."""

    recording: Recording
    channels: tuple[int | None, ...]
    segments: pd.DataFrame | None


def sentiment_timeline(
    pipeline: Any,
    X: Any,
    *,
    segments: Any = "speech",
    window: float = 5.0,
    step: float = 1.0,
    min_speech: float = 1.0,
    max_window: float = 15.0,
    channels: str = "mix",
    detector: VoiceActivityDetector | CausalDetector | None = None,
    on_error: str = "raise",
    memory: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Sentiment of recordings over time: of each utterance, and of windows of it.

    A final row has the score of an utterance as a whole, and the rows before it those of its
    windows as they were known while it lasted. The numbers are those that
    :class:`~sklearn_speechsent.StreamingSentiment` gives for the same samples as a live stream.
    Recordings are decoded block by block: those of hours take no more memory than short ones.

    Parameters
    ----------
    pipeline : estimator
        Fitted; from recordings to levels (``predict_proba``) or to intensities.
    X : array-like of str or Path, DataFrame, sequence of arrays, ``(rate, array)``, bytes or files
        Whole recordings, see :func:`~sklearn_speechsent.audio.as_recordings`.
    segments : {"speech"}, None, DataFrame, MultiIndex or path, default="speech"
        Utterances. ``"speech"`` finds them; None takes each recording as one. A DataFrame has the
        columns ``file``, ``start``, ``end`` (seconds; a missing end is that of the recording) and
        may have ``speaker`` and, for separate channels, ``channel``; files are called as in X, or
        without folder and suffix, and samples in memory by their row. Also audformat's index of
        segments, and the path of an RTTM file, whose channel 1 is channel 0 here.
    window : float, default=5.0
        Seconds of the windows.
    step : float, default=1.0
        Seconds between windows.
    min_speech : float, default=1.0
        An utterance with fewer seconds of speech gets no score: its row is NaN.
    max_window : float, default=15.0
        A longer utterance gets the mean of its windows of full length, weighted by speech.
    channels : {"mix", "separate"}, default="mix"
        Whether the channels of a recording are mixed down or scored each by itself, as calls with
        one speaker per channel need it. A ``channel`` in X takes that one.
    detector : VoiceActivityDetector or CausalDetector, optional
        Finds utterances; of its parameters ``weights``, ``threshold`` and ``hangover`` count.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a recording that cannot be used: raise an error that names it, or give it
        a single row of NaN, with a warning.
    memory : str, Path, FeatureStore or joblib.Memory, optional
        Folder in which it is stored where somebody speaks, by content of the recording, so that an
        interrupted time line resumes, and one with other parameters takes less time. What a
        pipeline computes of windows is stored in its own ``memory``.
    n_jobs : int, optional
        Recordings and channels at a time, in processes unless :func:`joblib.parallel_config` says
        otherwise: the networks are too small for threads. -1 uses all cores.
    verbose : int, default=0
        Whether to show progress bars.

    Returns
    -------
    DataFrame
        By recording, channel and utterance. Columns:

        file : str or int
            As in X; the row of X for samples in memory.
        channel : Int64
            From 0; missing for a mix.
        speaker : object
            Of the given segment, or None.
        start, end : float
            Seconds.
        level : object
            The level with the most probable side of every threshold; NaN of a regressor.
        expected : float
            Expected level; for levels of text the mean position, 0 being the lowest.
        p(level) : float
            Probability of each level, in ordinal order; there are none of a regressor.
        speech : float
            Seconds of speech in it.
        final : bool
            Whether this is an utterance as a whole.

        Recordings in which nobody speaks have no rows. All is NaN where nothing can be said.

    Raises
    ------
    NotFittedError
        If the pipeline is not fitted.
    RecordingError
        If a recording cannot be used, or a segment is not inside of it, and ``on_error`` is
        "raise".
    TypeError, ValueError
        If a parameter or the segments are not what they can be.
    StoreError
        If nothing can be stored in ``memory``.

    Warns
    -----
    UserWarning
        If the channels of a recording that are to be scored each by itself are the same: one is
        scored, and its rows are repeated.
    DomainWarning
        Once, see :func:`~sklearn_speechsent.make_sentiment_pipeline`.

    See Also
    --------
    StreamingSentiment : The same for a live stream.
    aggregate_timeline : Means over files, channels and speakers.

    Examples
    --------
    >>> from sklearn_speechsent import make_sentiment_pipeline, sentiment_timeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline().fit(corpus.data, corpus.target)
    >>> timeline = sentiment_timeline(pipeline, corpus.data[:1])
    >>> list(timeline.columns)  # doctest: +NORMALIZE_WHITESPACE
    ['file', 'channel', 'speaker', 'start', 'end', 'level', 'expected', 'p(-1)', 'p(1)', 'speech',
     'final']
    >>> timeline["final"].tolist()
    [False, False, True]
    """
    for name, value, choices in (
        ("channels", channels, ("mix", "separate")),
        ("on_error", on_error, ("raise", "nan")),
    ):
        if value not in choices:
            raise ValueError(f"{name}={value!r} must be {choices[0]!r} or {choices[1]!r}.")
    rule = WindowRule.of_seconds(
        window=window, step=step, min_speech=min_speech, max_window=max_window
    )
    causal = CausalDetector.of(detector)
    scorer = Scorer(pipeline)
    store = check_store(memory)
    store.prepare()
    recordings = audio.as_recordings(X)
    for recording in recordings:
        _check_whole(recording)
    separate = channels == "separate"
    given = segments_of(segments, recordings, separate=separate)
    attempt = partial(_attempt, catch=on_error == "nan")
    signals = [
        attempt(_signals, recording, each, separate)
        for recording, each in zip(recordings, given, strict=True)
    ]
    tasks = [signal for found in signals if isinstance(found, list) for signal in found]
    n_jobs = min(joblib.effective_n_jobs(n_jobs), max(len(tasks), 1))
    n_threads = 1 if n_jobs > 1 else None  # torch's own would wait for each other
    marks = _marks(tasks, causal, store, n_jobs, verbose)
    jobs = (
        joblib.delayed(attempt)(_follow, scorer, causal, rule, signal, known, n_threads, verbose)
        for signal, known in zip(tasks, marks, strict=True)
    )
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    bar = tqdm(parallel(jobs), "scores", len(tasks), unit="channel", disable=not verbose)
    found = iter(list(bar))
    rows: list[_Row] = []
    for recording, of_recording in zip(recordings, signals, strict=True):
        if isinstance(of_recording, list):
            of_recording = [(signal.channels, next(found)) for signal in of_recording]
        rows += _rows(scorer, recording, of_recording)
    return _table(rows, scorer)


def _attempt(function: Callable[..., Any], *arguments: Any, catch: bool) -> Any:
    """Result of a function, or what is wrong with a recording."""
    try:
        return function(*arguments)
    except RecordingError as exception:
        if not catch:
            raise
        return exception


def _rows(scorer: Scorer, recording: Recording, found: Any) -> list[_Row]:
    """Rows of a recording, of whose signals each has scores or a problem, or has one itself."""
    file = recording.source if isinstance(recording.source, str) else recording.row
    problems = [found] if isinstance(found, RecordingError) else [each for _, each in found]
    problems = [each for each in problems if isinstance(each, RecordingError)]
    if not problems:
        return [
            (file, channel, *each)
            for channels, scores in found
            for channel in channels
            for each in scores
        ]
    warnings.warn(f"{problems[0]} Its row is NaN.", UserWarning, stacklevel=3)
    nothing = scorer.summary(np.full(scorer.n_values, np.nan))
    score = Score(0, 0, 0, 0.0, np.nan, *nothing, speech=np.nan, final=True)
    return [(file, recording.channel, None, score)]


def _check_whole(recording: Recording) -> None:
    if recording.variant() != replace(recording.unperturbed(), start=None, stop=None).variant():
        raise recording.error(
            "a time line is of a whole recording as it is. Leave its segment and its perturbation "
            "out of X; utterances go into segments=."
        )


def _signals(recording: Recording, segments: pd.DataFrame | None, separate: bool) -> list[_Signal]:
    """Channels of a recording that are followed each by itself, or its mix."""
    if not separate or recording.channel is not None:
        channel = recording.channel
        return [_Signal(recording, (channel,), _of_channel(segments, channel))]
    n_channels = _n_channels(recording)
    signals = [
        _Signal(replace(recording, channel=k), (k,), _of_channel(segments, k))
        for k in range(n_channels)
    ]
    named = set() if segments is None else set(segments["channel"].dropna().astype(int))
    if wrong := sorted(named - set(range(n_channels))):
        raise recording.error(
            f"a segment is of channel {wrong[0]}, and it has channels 0 to {n_channels - 1}. "
            "Correct the column 'channel'."
        )
    if n_channels > 1 and not named and _same_channels(recording):
        warnings.warn(
            printable(
                f"{recording}: all {n_channels} channels are the same, so that one is scored and "
                "its rows are repeated. Was one speaker per channel expected?"
            ),
            UserWarning,
            stacklevel=4,
        )
        return [replace(signals[0], channels=tuple(range(n_channels)))]
    return signals


def _of_channel(segments: pd.DataFrame | None, channel: int | None) -> pd.DataFrame | None:
    if segments is None or channel is None:
        return segments
    return segments[segments["channel"].isna() | (segments["channel"] == channel)]


def _n_channels(recording: Recording) -> int:
    if not recording.is_file:
        shape = np.shape(recording.source)
        return shape[1] if len(shape) == 2 else 1
    with io.open_audio(recording) as file:
        return file.extent.channels


def _same_channels(recording: Recording) -> bool:
    """Whether all channels are the same, which takes decoding them once."""
    powers = ChannelPowers()
    if recording.is_file:
        with io.open_audio(recording) as file:
            for block in file.blocks(0, None):
                powers.add(block, block.mean(axis=1))
    else:
        block = np.asarray(recording.source)
        powers.add(block, block.mean(axis=1))
    return powers.same()


def _marks(
    signals: list[_Signal],
    detector: CausalDetector,
    store: FeatureStore | NullStore,
    n_jobs: int,
    verbose: int,
) -> list[NDArray[np.uint8] | Exception]:
    """Where somebody speaks in each signal, or what is wrong with its recording."""
    rows = RecordingRows([signal.recording for signal in signals], n_jobs)
    if not len(rows):
        return []
    made, problems = store.compute(
        "utterances",
        detector.settings(),
        rows,
        partial(_detect, detector=detector, verbose=verbose),
        frames=False,  # nor would they be marks in half precision
        n_jobs=n_jobs,
        prefer="processes",
        verbose=verbose,
        label="speech",
    )
    found = iter([] if made is None else made)
    return [problems[row] if row in problems else next(found) for row in range(len(rows))]


def _detect(
    recordings: list[Recording], detector: CausalDetector, verbose: int
) -> Iterator[NDArray[np.uint8] | Exception]:
    """Marks of each recording; a store needs one frame at least."""
    for recording in recordings:
        detection = Detection(detector)
        found: list[NDArray[np.uint8]] = []
        try:
            for block in _blocks(recording, verbose):
                found += detection.push(block)
        except RecordingError as problem:
            yield problem
        else:
            found += detection.finish()
            yield np.concatenate(found or [np.zeros(BLOCK, np.uint8)])


def _follow(
    scorer: Scorer,
    detector: CausalDetector,
    rule: WindowRule,
    signal: _Signal,
    marks: NDArray[np.uint8] | Exception,
    n_threads: int | None,
    verbose: int,
) -> list[tuple[Any, Score]]:
    """Speakers and scores of a signal, by utterance."""
    if isinstance(marks, Exception):
        raise marks
    recording, segments = signal.recording, signal.segments
    bounds = None if segments is None else in_samples(segments, recording, RATE)
    if bounds is not None and not bounds:
        return []
    listener, maker = Listener(detector, rule, bounds, marks), EventMaker(scorer)
    events: list[Event] = []
    with torch_threads(n_threads):
        for block in _blocks(recording, verbose):
            for item in listener.push(block):
                events += maker.add(item)
        for item in listener.finish():
            events += maker.add(item)
        events += maker.flush()
    if bounds is not None:
        check_within(bounds, recording, listener.n, RATE, END_TOLERANCE)
    scores = [event for event in events if isinstance(event, Score)]
    scores.sort(key=lambda score: score.utterance)
    speakers = None if segments is None else segments["speaker"].tolist()
    return [(speakers and speakers[score.utterance], score) for score in scores]


def _blocks(recording: Recording, verbose: int) -> Iterator[NDArray[np.float32]]:
    """Samples at 16 kHz, also where all of them are zero, with a bar of the seconds."""
    n = 0
    with tqdm(desc=str(recording), unit="s", leave=False, disable=not verbose) as bar:
        try:
            for block in audio.read_blocks(recording, RATE, []):
                n += len(block)
                yield block
                bar.update(round(n / RATE) - bar.n)
        except SilentRecordingError:
            rest = round(audio.probe(recording, RATE, 0.0) * RATE) - n
            for first in range(0, rest, io.BLOCK):
                yield np.zeros(min(io.BLOCK, rest - first), np.float32)


def _table(rows: list[_Row], scorer: Scorer) -> pd.DataFrame:
    """Time line of all recordings."""
    files, channels, speakers, scores = zip(*rows, strict=True) if rows else ((), (), (), ())
    table = pd.DataFrame({"file": pd.Series(files, dtype=object if not rows else None)})
    table["channel"] = pd.array(list(channels), dtype="Int64")
    table["speaker"] = pd.Series(speakers, dtype=object)
    for name in ("start", "end", "level", "expected"):
        kind = object if name == "level" and scorer.has_text else float
        table[name] = pd.Series([getattr(score, name) for score in scores], dtype=kind)
    levels = [] if scorer.levels is None else scorer.levels.tolist()
    for k, level in enumerate(levels):
        table[f"p({level})"] = np.array([score.probabilities[k] for score in scores], dtype=float)
    table["speech"] = np.array([score.speech for score in scores], dtype=float)
    table["final"] = np.array([score.final for score in scores], dtype=bool)
    return table
