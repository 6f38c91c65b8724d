"""Samples of files and arrays: one channel, float32, checked, at the rate of a model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

#: Samples that are larger have another full scale than 1.
_LOUDEST = 4.0
#: Power of a mix, compared with that of independent channels, below which they cancel.
_CANCELLED = 0.02


def read_file(path: str | os.PathLike[str], max_duration: float) -> tuple[int, NDArray[np.float32]]:
    """Rate, and samples of one channel, of an audio file.

    Parameters
    ----------
    path : str or path-like
    max_duration : float
        Seconds that are read at most, and one sample more.

    Returns
    -------
    rate : int
        In Hz.
    samples : ndarray of shape (n_samples,), float32

    Raises
    ------
    ValueError
        If it cannot be read, or its samples cannot be used.
    """
    if not os.path.exists(path):
        raise ValueError("there is no such file. Correct its name.")
    if not os.path.isfile(path):
        raise ValueError("it is not a file. Pass the files in it.")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            samples = file.read(int(max_duration * rate) + 1, dtype="float32")
    except (soundfile.SoundFileError, TypeError, OSError) as exception:
        # soundfile asks for more arguments (TypeError) where a suffix means: no header.
        stem, _ = os.path.splitext(os.path.basename(path))
        raise ValueError(
            "it cannot be opened as audio: wav, flac, ogg and mp3 files can be read. Get the whole "
            f"file, or convert it: ffmpeg -i {os.path.basename(path)} {stem}.wav [{exception}]"
        ) from exception
    return rate, whole(samples)


def whole(samples: Any) -> NDArray[np.float32]:
    """Samples of a whole recording mixed down, see :func:`one_channel`.

    Parameters
    ----------
    samples : array-like of shape (n_samples,) or (n_samples, n_channels)

    Returns
    -------
    ndarray of shape (n_samples,), float32

    Raises
    ------
    ValueError
        As :func:`one_channel`, or if the channels cancel, as those of a part of a stream may.
    """
    channels, mix = _as_float(samples), one_channel(samples)
    if channels.ndim == 2 and len(mix):
        n, power = channels.shape[1], channels.var(axis=0, dtype=np.float64).mean()
        if mix.var(dtype=np.float64) < _CANCELLED / n * power:
            raise ValueError(f"its {n} channels cancel when they are mixed. Pass one of them.")
    return mix


def one_channel(samples: Any) -> NDArray[np.float32]:
    """Samples of all channels mixed down, full scale being [-1, 1].

    Parameters
    ----------
    samples : array-like of shape (n_samples,) or (n_samples, n_channels)
        Floats in [-1, 1], or integers of up to 32 bits.

    Returns
    -------
    ndarray of shape (n_samples,), float32

    Raises
    ------
    ValueError
        If they are not finite, or have another scale.

    Examples
    --------
    >>> import numpy as np
    >>> one_channel(np.array([[16384, 0], [-32768, -32768]], np.int16))
    array([ 0.25, -1.  ], dtype=float32)
    """
    channels = _as_float(samples)
    mix = channels.mean(axis=1) if channels.ndim == 2 else channels
    peak = float(np.abs(mix).max(initial=0.0))
    if not np.isfinite(peak):
        raise ValueError("samples are NaN or infinite, which is not sound. Repair it.")
    if peak > _LOUDEST:
        raise ValueError(
            f"samples reach {peak:g}, and full scale is 1. Divide them by the full scale that they "
            "were recorded with (32768 for 16 bits), or pass the integers."
        )
    return mix


def _as_float(samples: Any) -> NDArray[np.float32]:
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise ValueError(
            f"samples have the shape {samples.shape} and type {samples.dtype}, and must be numbers "
            "of shape (n_samples,) or (n_samples, n_channels)."
        )
    if samples.dtype.kind != "f":
        if samples.dtype.itemsize > 4:
            raise ValueError(
                f"the full scale of {samples.dtype} samples is not known. Pass them as int16, or "
                "as floats in [-1, 1]."
            )
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples - (half if samples.dtype.kind == "u" else 0.0)) / half
    return samples.astype(np.float32, copy=False)


def resampled(samples: NDArray[np.float32], rate: float, new_rate: float) -> NDArray[np.float32]:
    """Samples at another rate.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,), float32
    rate, new_rate : float
        In Hz.

    Returns
    -------
    ndarray of float32
    """
    if rate == new_rate:
        return samples
    return resampler(rate, new_rate).resample_chunk(samples, last=True)


def resampler(rate: float, new_rate: float) -> soxr.ResampleStream:
    """Resampler of samples that come in pieces, which has the same result as one of all.

    Parameters
    ----------
    rate, new_rate : float
        In Hz.

    Returns
    -------
    soxr.ResampleStream
    """
    return soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
