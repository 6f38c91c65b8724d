"""Log-mel frames after Whisper's conventions, as pure functions of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

#: Rate in Hz, samples of a frame, and samples from one frame to the next.
SAMPLE_RATE, LENGTH, SHIFT = 16000, 400, 160
#: Energies below are raised to it.
FLOOR = 1e-10
#: Decades below the maximum of the recording to which energies are raised.
RANGE = 8.0
#: Frames that are computed at a time.
_BLOCK = 512
#: Above it, Slaney's mel scale is logarithmic: in Hz, and in mel.
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_STEP = np.log(6.4) / 27.0


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * (_BREAK_HZ / _BREAK_MEL)
    return np.where(mel < _BREAK_MEL, linear, _BREAK_HZ * np.exp(_STEP * (mel - _BREAK_MEL)))


@lru_cache(maxsize=4)
def mel_filters(n_mels: int) -> NDArray[np.float64]:
    """Triangular filters of equal area on Slaney's mel scale [1]_, up to half the rate.

    Parameters
    ----------
    n_mels : int

    Returns
    -------
    ndarray of shape (n_mels, 201)
        Weights of the bins of a spectrum of 400 samples at 16 kHz. Read-only.

    References
    ----------
    .. [1] M. Slaney, "Auditory toolbox", technical report 1998-010, Interval Research, 1998.

    Examples
    --------
    >>> from sklearn_speechsent.speech.log_mel import mel_filters
    >>> mel_filters(80).shape
    (80, 201)
    """
    highest = _BREAK_MEL + np.log(SAMPLE_RATE / 2 / _BREAK_HZ) / _STEP
    edges = _mel_to_hz(np.linspace(0.0, highest, n_mels + 2))[:, None]
    bins = np.fft.rfftfreq(LENGTH, 1 / SAMPLE_RATE)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (right - left))
    filters.setflags(write=False)
    return filters


def whisper_log_mel(
    blocks: Iterable[NDArray[np.floating]], n_mels: int = 80
) -> NDArray[np.float32]:
    """Log-mel frames as Whisper [1]_ was trained on, of a recording at its own length.

    A frame is centred at each multiple of 160 samples, the last one left out; the recording is
    mirrored at its ends. Energies more than eight decades below the maximum of the recording are
    raised to that.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n_samples_i,)
        Samples at 16 kHz in order, more than 200; the frames do not depend on where one block ends.
    n_mels : int, default=80

    Returns
    -------
    ndarray of shape (n_samples // 160, n_mels), float32

    References
    ----------
    .. [1] A. Radford et al., "Robust speech recognition via large-scale weak supervision",
       ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.speech.log_mel import whisper_log_mel
    >>> whisper_log_mel([np.zeros(800), np.zeros(800)]).shape
    (10, 80)
    """
    window = torch.hann_window(LENGTH, dtype=torch.float32)
    filters = torch.from_numpy(mel_filters(n_mels).T.astype(np.float32))
    frames, n = np.empty((0, n_mels), np.float32), 0
    for samples in _pieces(_mirrored(blocks)):
        spectra = torch.fft.rfft(torch.from_numpy(samples).unfold(0, LENGTH, SHIFT) * window)
        power = torch.view_as_real(spectra).square_().sum(-1)
        energies = (power @ filters).clamp_(min=FLOOR).log10_().numpy()
        if n + len(energies) > len(frames):
            # In place: the frames of a long recording are never there twice.
            frames.resize((n + max(len(energies), n // 8), n_mels), refcheck=False)
        frames[n : n + len(energies)] = energies
        n += len(energies)
    frames.resize((n - 1, n_mels), refcheck=False)
    if n > 1:
        np.maximum(frames, frames.max() - np.float32(RANGE), out=frames)
    frames += 4.0
    frames /= 4.0
    return frames


def _mirrored(blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
    """Blocks with half a frame of mirrored samples at both ends."""
    half = LENGTH // 2
    first, last = np.empty(0, np.float32), np.empty(0, np.float32)
    begun = False
    for block in blocks:
        block = np.asarray(block, np.float32)
        last = np.concatenate([last, block[-half - 1 :]])[-half - 1 :]
        if begun:
            yield block
            continue
        first = np.concatenate([first, block])
        if len(first) > half:
            begun = True
            yield np.concatenate([first[half:0:-1], first])
    yield last[-2::-1]


def _pieces(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Samples of ``_BLOCK`` frames at a time; the last piece has what is left, at least a frame."""
    samples = np.empty(0, np.float32)
    size, step = (_BLOCK - 1) * SHIFT + LENGTH, _BLOCK * SHIFT
    for block in blocks:
        samples = np.concatenate([samples, block]) if len(samples) else block
        first = 0
        while first + size <= len(samples):
            yield samples[first : first + size]
            first += step
        samples = samples[first:]
    if len(samples) >= LENGTH:
        yield samples
