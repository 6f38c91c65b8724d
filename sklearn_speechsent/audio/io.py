"""Reading of recordings, the only place that opens audio files.

A recording becomes mono float32 samples in [-1, 1] at the wanted rate, or an error that names its
row and says what to do.
"""

from __future__ import annotations

import os

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sklearn_speechsent.audio.recording import (
    MissingRecordingError,
    Recording,
    RecordingError,
    SilentRecordingError,
)

#: Containers that libsndfile cannot open and FFmpeg can convert.
_NEEDS_CONVERSION = {".m4a", ".aac", ".mp4", ".wma", ".webm", ".mkv", ".mov", ".avi", ".amr"}
#: A segment may end this many seconds after its recording (rounded times), not more.
_END_TOLERANCE = 0.5
#: One step of a 32-bit recording: samples with a smaller range are digital silence.
_SILENCE = 2.0**-31
#: Samples per channel and rate of each file, from its header.
Headers = dict[str, tuple[int, int]]


def probe(
    recording: Recording,
    sample_rate: int,
    min_duration: float,
    headers: Headers | None = None,
) -> float:
    """Duration of a recording, from its header.

    Parameters
    ----------
    recording : Recording
    sample_rate : int
        Rate (Hz) of samples in memory that carry none.
    min_duration : float
        Shortest usable duration (s).
    headers : dict, optional
        Headers that were read before; this one is added. A long recording with many segments is
        then opened once.

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
        headers = {} if headers is None else headers
        if recording.source not in headers:
            with _open(recording) as file:
                headers[recording.source] = file.frames, file.samplerate
        n_frames, rate = headers[recording.source]
        first, last = _span(recording, n_frames, rate)
        n_samples = last - first
    else:
        n_samples, rate = len(recording.source), recording.rate or sample_rate
    if n_samples == 0:
        raise recording.error("it has no samples.")
    n_samples = round(n_samples / recording.speed)
    # Half a sample of tolerance for rounding: 400 samples at 16 kHz are 25 ms.
    if n_samples + 0.5 < min_duration * rate:
        shape = np.shape(recording.source)
        lying = len(shape) == 2 and shape[1] > shape[0]
        played = "" if recording.speed == 1 else f" at speed {recording.speed:g}"
        raise recording.error(
            f"it lasts {1000 * n_samples / rate:.3g} ms ({n_samples} samples){played}, shorter "
            f"than one frame of {1000 * min_duration:g} ms. "
            + ("Samples go along the first axis: transpose it." if lying else "Leave it out.")
        )
    return n_samples / rate


def duration(recording: Recording) -> float:
    """Duration of a whole file, of which a recording may be a segment, from its header.

    Parameters
    ----------
    recording : Recording
        Of a file.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    RecordingError
        If the file cannot be opened as audio.
    """
    with _open(recording) as file:
        return file.frames / file.samplerate


def read(recording: Recording, sample_rate: int) -> NDArray[np.float32]:
    """Decode a recording, mix it down to one channel, resample and perturb it as it asks for.

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
        samples, recorded = _decode(recording)
    else:
        samples, recorded = _to_float(recording), recording.rate or sample_rate
    if samples.size == 0:
        raise recording.error("it has no samples.")
    if samples.ndim == 2:
        samples = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    # The extremes are NaN or infinite if one sample is.
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite(low) or not np.isfinite(high):
        bad = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise recording.error(
            f"sample {bad} is {samples[bad]}; NaN and infinity are not sound. Repair it or leave "
            "it out."
        )
    if high - low < _SILENCE:
        raise recording.error(
            "it is silent from beginning to end. Leave it out.", SilentRecordingError
        )
    # A faster recording is resampled like one of a higher rate: one filter for both.
    rate = recorded * recording.speed
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
    return _with_gain_and_noise(samples, recording)


def _with_gain_and_noise(samples: NDArray[np.float32], recording: Recording) -> NDArray[np.float32]:
    gain = 10.0 ** (recording.gain_db / 20)
    if recording.snr_db is None:
        return samples if gain == 1.0 else samples * np.float32(gain)
    power = np.dot(samples, samples) / len(samples)
    noise = np.random.default_rng(recording.seed).standard_normal(len(samples), dtype=np.float32)
    noise *= np.float32(np.sqrt(power * 10.0 ** (-recording.snr_db / 10)))
    noise += samples
    noise *= np.float32(gain)
    return noise


def _open(recording: Recording) -> soundfile.SoundFile:
    path = str(recording.source)
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, OSError) as exception:
        # soundfile asks for more arguments (TypeError) when a suffix stands for headerless audio.
        raise _cannot_open(recording, path, exception) from exception


def _cannot_open(recording: Recording, path: str, exception: Exception) -> RecordingError:
    """Error that says why a file does not open."""
    if os.path.isdir(path):
        return recording.error("it is a directory. Pass the files in it.")
    if not os.path.exists(path):
        return recording.error("there is no such file.", MissingRecordingError)
    if os.path.getsize(path) == 0:
        return recording.error("the file is empty (0 bytes).")
    stem, suffix = os.path.splitext(os.path.basename(path))
    if suffix.lower() in _NEEDS_CONVERSION:
        remedy = f"convert it first: ffmpeg -i {stem}{suffix} {stem}.wav"
    else:
        remedy = "wav, flac, ogg and mp3 files can be read; is it damaged or mislabelled?"
    return recording.error(f"cannot open as audio: {remedy} [{exception}]")


def _span(recording: Recording, n_frames: int, rate: int) -> tuple[int, int]:
    """First and last sample of the segment in a file of ``n_frames`` samples."""
    duration = n_frames / rate
    if recording.start is not None and recording.start < 0:
        raise recording.error("the segment starts before 0 s. Clip start at 0.")
    if recording.stop is not None and (recording.start or 0.0) >= recording.stop:
        raise recording.error("the segment's start is not before its end. Check the columns.")
    if recording.start is not None and recording.start >= max(duration, 1e-9):
        raise recording.error(f"the segment starts after the recording's end at {duration:.3f} s.")
    if recording.stop is not None and recording.stop > duration + _END_TOLERANCE:
        raise recording.error(f"the segment ends after the recording's end at {duration:.3f} s.")
    first, last = round((recording.start or 0.0) * rate), n_frames
    if recording.stop is not None:
        last = min(last, round(recording.stop * rate))
    return first, last


def _decode(recording: Recording) -> tuple[NDArray[np.float32], int]:
    with _open(recording) as file:
        first, last = _span(recording, file.frames, file.samplerate)
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
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype.itemsize == 8:
        raise recording.error(
            f"the full scale of {samples.dtype} samples is not known. Pass them as the int16 (or "
            "other) type that they were recorded in, or as floats in [-1, 1]."
        )
    # In float64, which holds any 32-bit integer exactly.
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = half if samples.dtype.kind == "u" else 0.0
    return ((samples - offset) / half).astype(np.float32)
