"""Reading recordings: the only file that opens them.

A recording is a path, a segment of a file, or samples in memory. Whatever it is, it leaves this
room as mono float32 samples in [-1, 1] at the rate that was asked for, or as an error that names
its row and says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.typing import NDArray

#: Containers that libsndfile cannot open and FFmpeg can turn into one that it opens.
_NEEDS_CONVERSION = {".m4a", ".aac", ".mp4", ".wma", ".webm", ".mkv", ".mov", ".avi", ".amr"}
#: A segment may end this many seconds after its recording (rounded times), not more.
_END_TOLERANCE = 0.5
#: One step of a 24-bit recording: what moves less than this is digital silence.
_SILENCE = 2.0**-23


class RecordingError(ValueError):
    """A recording that cannot be used; the message names the row, the file and the remedy."""


class MissingRecordingError(RecordingError, FileNotFoundError):
    """A recording whose file does not exist."""


@dataclass(frozen=True)
class Recording:
    """One row of X.

    Parameters
    ----------
    row : int
        Position in X, for messages.
    source : str or ndarray of shape (n_samples,) or (n_samples, n_channels)
        File, or samples.
    rate : int or None
        Sample rate (Hz) of samples in memory; None if they are already at the wanted rate.
    start, stop : float or None
        Segment of a file in seconds; None for its beginning and end.
    """

    row: int
    source: str | NDArray[Any]
    rate: int | None = None
    start: float | None = None
    stop: float | None = None

    def __str__(self) -> str:
        if not isinstance(self.source, str):
            return f"row {self.row} (samples in memory)"
        if self.start is None and self.stop is None:
            return f"row {self.row} ({self.source})"
        stop = "end" if self.stop is None else f"{self.stop:g}"
        return f"row {self.row} ({self.source}, {self.start or 0:g} to {stop} s)"

    def error(self, problem: str) -> RecordingError:
        """Error that names this recording."""
        return RecordingError(f"{self}: {problem}")

    def identity(self) -> tuple[Any, ...]:
        """What a cache must see: path, size, time of change and segment, or the samples."""
        if not isinstance(self.source, str):
            return (self.rate, self.source)
        status = os.stat(self.source)
        path = os.path.realpath(self.source)
        return (path, status.st_size, status.st_mtime_ns, self.start, self.stop)


def as_recordings(X: Any) -> list[Recording]:
    """Read X row by row as recordings, without opening any.

    Parameters
    ----------
    X : array-like of str or Path, DataFrame, sequence of arrays or of ``(rate, array)``
        A DataFrame needs the column ``file`` and may have ``start`` and ``end`` in seconds (a
        missing value is the beginning or the end). A 2-D numeric array is a batch of waveforms of
        equal length. Integer samples are scaled by the range of their type; floats are taken as
        they are, full scale being [-1, 1].

    Returns
    -------
    list of Recording

    Raises
    ------
    TypeError
        If a row is none of these, or X is a single path or a single pair.
    ValueError
        If a segment ends before it starts, or starts before 0.
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(f"X must be a list of recordings, got the single path {X!r}: pass [{X!r}].")
    if isinstance(X, tuple) and len(X) == 2 and np.ndim(X[0]) == 0 and np.ndim(X[1]) >= 1:
        raise TypeError("X must be a list of recordings, got one (rate, array) pair: pass [pair].")
    if isinstance(X, pd.DataFrame):
        return _from_frame(X)
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1 and X.dtype.kind in "OUS":
        X = X[:, 0]
    return [_from_item(row, item) for row, item in enumerate(X)]


def _from_frame(X: pd.DataFrame) -> list[Recording]:
    if "file" not in X.columns:
        raise ValueError(
            f"A DataFrame of recordings needs the column 'file', got {list(X.columns)}."
        )
    bounds: list[list[float | None]] = []
    for column in ("start", "end"):
        values = X[column] if column in X.columns else pd.Series(np.nan, index=X.index)
        if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "m":
            values = values.dt.total_seconds()
        bounds.append([None if pd.isna(v) else float(v) for v in values])
    recordings = []
    for row, (file, start, stop) in enumerate(zip(X["file"], *bounds, strict=True)):
        path = _from_item(row, file)
        recording = Recording(row, path.source, start=start, stop=stop)
        if start is not None and start < 0:
            raise recording.error("the segment starts before 0 s. Clip start at 0.")
        if stop is not None and (start or 0.0) >= stop:
            raise recording.error("the segment's start is not before its end. Check the columns.")
        recordings.append(recording)
    return recordings


def _from_item(row: int, item: Any) -> Recording:
    if isinstance(item, (str, os.PathLike)):
        return Recording(row, os.fspath(item))
    if isinstance(item, (tuple, list)) and len(item) == 2 and np.ndim(item[0]) == 0:
        rate, samples = item
        if np.ndim(samples) in (1, 2):
            if not float(rate).is_integer() or rate <= 0:
                raise Recording(row, np.empty(0)).error(f"{rate!r} is no sample rate in Hz.")
            return Recording(row, np.asarray(samples), rate=int(rate))
    if not isinstance(item, bytes) and np.ndim(item) == 1:
        return Recording(row, np.asarray(item))
    raise TypeError(
        f"Row {row} of X is {type(item).__name__}: {item!r:.80}. A recording is a path, a 1-D "
        "array of samples, or a (rate, array) pair; segments of files come as a DataFrame with the "
        "columns file, start and end."
    )


def probe(recording: Recording, sample_rate: int, min_duration: float) -> float:
    """Look at a recording's header only.

    Parameters
    ----------
    recording : Recording
    sample_rate : int
        Rate (Hz) of samples in memory that carry none.
    min_duration : float
        Shortest duration (s) that is of use.

    Returns
    -------
    float
        Duration in seconds.

    Raises
    ------
    RecordingError
        If the file cannot be opened as audio or is too short.
    """
    if isinstance(recording.source, str):
        with _open(recording) as file:
            first, last = _span(recording, file)
            n_samples, rate = last - first, file.samplerate
    else:
        n_samples, rate = len(recording.source), recording.rate or sample_rate
    if n_samples == 0:
        raise recording.error("it has no samples.")
    # Half a sample of slack: 400 samples at 16 kHz are 25 ms, whatever floats make of it.
    if n_samples + 0.5 < min_duration * rate:
        raise recording.error(
            f"it lasts {1000 * n_samples / rate:.3g} ms ({n_samples} samples), shorter than one "
            f"frame of {1000 * min_duration:g} ms. Leave it out."
        )
    return n_samples / rate


def read(recording: Recording, sample_rate: int) -> NDArray[np.float32]:
    """Decode a recording, mix it down to one channel and resample it.

    Parameters
    ----------
    recording : Recording
    sample_rate : int
        Wanted rate in Hz.

    Returns
    -------
    ndarray of shape (n_samples,), float32
        Samples, full scale being [-1, 1].

    Raises
    ------
    RecordingError
        If it cannot be decoded to its end, has no samples, NaN or infinite samples, or is silent.
    """
    if isinstance(recording.source, str):
        samples, rate = _decode(recording)
    else:
        samples, rate = _to_float(recording), recording.rate or sample_rate
    if samples.size == 0:
        raise recording.error("it has no samples.")
    if samples.ndim == 2:
        samples = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    # One pass: the extremes are NaN or infinite as soon as one sample is.
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite(low) or not np.isfinite(high):
        bad = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise recording.error(
            f"sample {bad} is {samples[bad]}; NaN or infinity is no sound. Repair or leave it out."
        )
    if high - low < _SILENCE:
        raise recording.error("it is silent from beginning to end. Leave it out.")
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
    return samples


def _open(recording: Recording) -> soundfile.SoundFile:
    path = str(recording.source)
    suffix = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        raise recording.error("it is a directory. Pass the files in it.")
    if not os.path.exists(path):
        raise MissingRecordingError(f"{recording}: there is no such file.")
    if os.path.getsize(path) == 0:
        raise recording.error("the file is empty (0 bytes).")
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, OSError) as exception:
        # soundfile asks for more arguments (TypeError) when a suffix stands for headerless audio.
        if suffix in _NEEDS_CONVERSION:
            stem = os.path.splitext(os.path.basename(path))[0]
            remedy = f"convert it first: ffmpeg -i {os.path.basename(path)} {stem}.wav"
        else:
            remedy = "wav, flac, ogg and mp3 files can be read; is it damaged or mislabelled?"
        raise recording.error(f"cannot open as audio: {remedy} [{exception}]") from exception


def _span(recording: Recording, file: soundfile.SoundFile) -> tuple[int, int]:
    """First and last sample of the segment in its file."""
    duration = file.frames / file.samplerate
    if recording.start is not None and recording.start >= max(duration, 1e-9):
        raise recording.error(f"the segment starts after the recording's end at {duration:.3f} s.")
    if recording.stop is not None and recording.stop > duration + _END_TOLERANCE:
        raise recording.error(f"the segment ends after the recording's end at {duration:.3f} s.")
    first = round((recording.start or 0.0) * file.samplerate)
    last = file.frames
    if recording.stop is not None:
        last = min(last, round(recording.stop * file.samplerate))
    return first, last


def _decode(recording: Recording) -> tuple[NDArray[np.float32], int]:
    with _open(recording) as file:
        first, last = _span(recording, file)
        try:
            if first:
                file.seek(first)
            samples = file.read(last - first, dtype="float32")
        except soundfile.SoundFileError as exception:
            raise recording.error(f"decoding failed, is it cut off? [{exception}]") from exception
        # Headers of mp3 and ogg only estimate the length; elsewhere a short read is a cut file.
        if len(samples) < last - first and file.format not in ("MP3", "OGG", "MPEG"):
            raise recording.error(
                f"it ends after {len(samples)} of {last - first} samples: the file is cut off."
            )
        return samples, file.samplerate


def _to_float(recording: Recording) -> NDArray[np.float32]:
    samples = np.asarray(recording.source)
    kind, bits = samples.dtype.kind, 8 * samples.dtype.itemsize
    if kind == "f":
        return samples.astype(np.float32, copy=False)
    if kind == "i":
        return (samples / np.float32(2 ** (bits - 1))).astype(np.float32, copy=False)
    if kind == "u":
        half = np.float32(2 ** (bits - 1))
        return (samples.astype(np.float32) - half) / half
    raise recording.error(f"samples must be real numbers, got dtype {samples.dtype}.")


def raise_for_bad_recordings(problems: Sequence[RecordingError], n: int) -> None:
    """Raise one error for all bad recordings of a batch, naming the first few.

    Parameters
    ----------
    problems : sequence of RecordingError
    n : int
        Size of the batch.

    Raises
    ------
    RecordingError
        If there are problems. A single missing file stays a ``FileNotFoundError`` too.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise problems[0]
    lines = [str(problem) for problem in problems[:5]]
    if len(problems) > 5:
        lines.append(f"... and {len(problems) - 5} more")
    missing = all(isinstance(problem, MissingRecordingError) for problem in problems)
    raise (MissingRecordingError if missing else RecordingError)(
        f"{len(problems)} of {n} recordings cannot be used. "
        "sklearn_speechsent.audio.check_recordings(X) gives a mask of the good ones.\n  "
        + "\n  ".join(lines)
    )


def check_recordings(
    X: Any,
    *,
    sample_rate: int = 16000,
    min_duration: float = 0.025,
    n_jobs: int | None = None,
    return_problems: bool = False,
) -> NDArray[np.bool_] | tuple[NDArray[np.bool_], list[str | None]]:
    """Decode every recording and say which ones can be used.

    Rows must be left out before ``Pipeline.fit``, where X and y can still be cut alike.

    Parameters
    ----------
    X : see :func:`as_recordings`
    sample_rate : int, default=16000
        Rate (Hz) of samples in memory that carry none.
    min_duration : float, default=0.025
        Shortest duration of use in seconds: one frame.
    n_jobs : int, optional
        Threads that decode.
    return_problems : bool, default=False
        Whether to return the messages as well.

    Returns
    -------
    mask : ndarray of bool of shape (n,)
        True for recordings that can be used.
    problems : list of str or None
        Only if ``return_problems``: what is wrong with each row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.audio import check_recordings
    >>> tone = np.sin(np.arange(16000) / 10.0)
    >>> check_recordings([tone, np.zeros(16000)])
    array([ True, False])
    """

    def problem(recording: Recording) -> str | None:
        try:
            probe(recording, sample_rate, min_duration)
            read(recording, sample_rate)
        except RecordingError as exception:
            return str(exception)
        return None

    recordings = as_recordings(X)
    problems = joblib.Parallel(n_jobs=n_jobs, prefer="threads")(
        joblib.delayed(problem)(recording) for recording in recordings
    )
    mask = np.array([message is None for message in problems], dtype=bool)
    return (mask, list(problems)) if return_problems else mask
