"""Log-mel filter bank energies after Kaldi's conventions, as pure functions of samples."""

import math
from functools import lru_cache

import numpy as np
import scipy.fft
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

#: Kaldi floors energies at the machine epsilon of float32, whatever the working precision.
LOG_FLOOR = float(np.finfo(np.float32).eps)
#: Frames worked on at a time: the spectra of a block stay in the processor's cache.
_BLOCK = 512


def window_function(name: str, length: int) -> NDArray[np.float64]:
    """Symmetric analysis window.

    Parameters
    ----------
    name : {"hamming", "povey"}
        Povey is Hann to the power of 0.85.
    length : int
        In samples.

    Returns
    -------
    ndarray of shape (length,)
    """
    if length == 1:
        return np.ones(1)
    if name == "hamming":
        return np.hamming(length)
    return np.hanning(length) ** 0.85


@lru_cache(maxsize=8)
def mel_banks(
    n_mels: int, n_fft: int, sample_rate: int, low_freq: float, high_freq: float
) -> NDArray[np.float32]:
    """Triangular filters on Kaldi's mel scale, shape (n_mels, n_fft // 2 + 1).

    The steps are those of torchaudio, in its float32, so that the filters are the same to the last
    bit; but any number of bands may be had. The Nyquist bin is in none of them.
    """

    def mel(frequency: float) -> float:
        return 1127.0 * math.log(1.0 + frequency / 700.0)

    spacing = (mel(high_freq) - mel(low_freq)) / (n_mels + 1)
    edges = mel(low_freq) + torch.arange(n_mels + 2)[:, None] * spacing
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    frequencies = sample_rate / n_fft * torch.arange(n_fft // 2)
    position = 1127.0 * (1.0 + frequencies / 700.0).log()
    rising = (position - left) / (centre - left)
    falling = (right - position) / (right - centre)
    banks = torch.minimum(rising, falling).clamp(min=0.0)
    padded = np.zeros((n_mels, n_fft // 2 + 1), dtype=np.float32)
    padded[:, :-1] = banks.numpy()
    padded.setflags(write=False)
    return padded


def log_mel_energies(
    samples: NDArray[np.floating],
    *,
    sample_rate: int,
    n_mels: int,
    frame_length: int,
    frame_shift: int,
    window: str,
    low_freq: float,
    high_freq: float,
    preemphasis: float,
    scale: float,
    dtype: DTypeLike,
) -> NDArray[np.floating]:
    """Log energies of mel bands in overlapping frames.

    Only whole frames are used (Kaldi's ``snip_edges``), each with its mean removed, pre-emphasised
    and windowed; the power spectrum of the zero-padded frame is summed by triangular filters.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,)
        At least ``frame_length`` of them.
    sample_rate, n_mels
        See :class:`~sklearn_speechsent.MelFilterBank`.
    frame_length, frame_shift : int
        In samples.
    window, low_freq, high_freq, preemphasis, scale
        See :class:`~sklearn_speechsent.MelFilterBank`.
    dtype : dtype
        Working precision and type of the result.

    Returns
    -------
    ndarray of shape (n_frames, n_mels)
    """
    dtype = np.dtype(dtype)
    n_fft = 1 << (frame_length - 1).bit_length()
    taper = (window_function(window, frame_length) * scale).astype(dtype)
    banks = mel_banks(n_mels, n_fft, sample_rate, low_freq, high_freq).T.astype(dtype)
    frames = sliding_window_view(samples.astype(dtype, copy=False), frame_length)[::frame_shift]
    energies = np.empty((len(frames), n_mels), dtype=dtype)
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK]
        block = block - block.mean(axis=1, keepdims=True)
        previous = np.concatenate([block[:, :1], block[:, :-1]], axis=1)
        block -= np.multiply(previous, preemphasis, out=previous)
        block *= taper
        spectrum = scipy.fft.rfft(block, n_fft, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        np.matmul(power, banks, out=energies[first : first + _BLOCK])
    np.maximum(energies, LOG_FLOOR, out=energies)
    return np.log(energies, out=energies)
