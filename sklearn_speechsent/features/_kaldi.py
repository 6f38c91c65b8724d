"""Log-mel filter bank energies after Kaldi's conventions, as pure functions of samples."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

#: Kaldi floors energies at the machine epsilon of float32, whatever the working precision.
LOG_FLOOR = float(np.finfo(np.float32).eps)
#: Frames computed at a time: the spectra of a block stay in the processor's cache.
_BLOCK = 512
#: Filters applied at a time: neighbours share most of their bins.
_GROUP = 16


@lru_cache(maxsize=8)
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

    The operations are those of torchaudio, in float32, so that the filters are bit-equal, for any
    number of bands. No filter contains the Nyquist bin.
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


@lru_cache(maxsize=8)
def _grouped_banks(
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    low_freq: float,
    high_freq: float,
    dtype: torch.dtype,
) -> list[tuple[slice, slice, torch.Tensor]]:
    """Filters of :func:`mel_banks` in groups, without the bins that a group does not need.

    Returns
    -------
    list of (slice, slice, Tensor)
        Filters; parts of a spectrum, two per bin, the real and the imaginary one; their weights,
        shape (n_parts, n_filters).
    """
    banks = mel_banks(n_mels, n_fft, sample_rate, low_freq, high_freq)
    groups = []
    for first in range(0, n_mels, _GROUP):
        filters = slice(first, first + _GROUP)
        bins = np.flatnonzero(banks[filters].any(axis=0))
        low, high = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1)
        weights = torch.from_numpy(banks[filters, low:high].T.repeat(2, axis=0)).to(dtype)
        groups.append((filters, slice(2 * low, 2 * high), weights))
    return groups


def log_mel_energies(
    blocks: Iterable[NDArray[np.floating]],
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
    blocks : iterable of ndarray of shape (n_samples_i,)
        Samples in order; the frames do not depend on where one block ends.
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
        Empty if there are fewer samples than one frame has.

    Notes
    -----
    Frames overlap, so the signal is pre-emphasised once for all of them. The effect on their means
    is subtracted afterwards, and the first sample of a frame, which has none before it, is
    computed again.
    """
    kind = getattr(torch, np.dtype(dtype).name)
    n_fft = 1 << (frame_length - 1).bit_length()
    taper = torch.from_numpy(window_function(window, frame_length) * scale).to(kind)
    groups = _grouped_banks(n_mels, n_fft, sample_rate, low_freq, high_freq, kind)
    # torch throughout: its transform takes half the time of SciPy's, and its threads can be
    # limited next to those that compute other recordings.
    padded = torch.zeros(0, n_fft, dtype=kind)
    result, n = np.empty((0, n_mels), dtype), 0
    for samples in _pieces(blocks, frame_length, frame_shift):
        signal = torch.tensor(samples, dtype=kind)
        emphasised = signal.clone()
        emphasised[1:].sub_(signal[:-1], alpha=preemphasis)
        frames, emphasised = (x.unfold(0, frame_length, frame_shift) for x in (signal, emphasised))
        means = frames.mean(dim=1, keepdim=True).mul_(1 - preemphasis)
        if len(means) > len(padded):
            padded = torch.zeros(len(means), n_fft, dtype=kind)
        block = padded[: len(means)]
        tapered = block[:, :frame_length]
        torch.sub(emphasised, means, out=tapered)
        torch.sub((1 - preemphasis) * frames[:, :1], means, out=tapered[:, :1])
        tapered.mul_(taper)
        power = torch.view_as_real(torch.fft.rfft(block)).flatten(start_dim=1).square_()
        energies = torch.empty(len(means), n_mels, dtype=kind)
        for filters, parts, weights in groups:
            torch.mm(power[:, parts], weights, out=energies[:, filters])
        if n + len(means) > len(result):
            # In place: what holds the frames of a long recording is never there twice.
            result.resize((n + max(len(means), n // 8), n_mels), refcheck=False)
        result[n : n + len(means)] = energies.clamp_(min=LOG_FLOOR).log_().numpy()
        n += len(means)
    result.resize((n, n_mels), refcheck=False)
    return result


def _pieces(
    blocks: Iterable[NDArray[np.floating]], length: int, shift: int
) -> Iterator[NDArray[np.floating]]:
    """Samples of ``_BLOCK`` frames at a time; the last piece has what is left, at least a frame."""
    samples, first = np.empty(0, np.float32), 0
    for block in blocks:
        left = samples[first:]
        first = max(0, first - len(samples))
        samples = np.concatenate([left, block]) if len(left) else block
        while first + (_BLOCK - 1) * shift + length <= len(samples):
            yield samples[first : first + (_BLOCK - 1) * shift + length]
            first += _BLOCK * shift
    if first + length <= len(samples):
        yield samples[first:]
