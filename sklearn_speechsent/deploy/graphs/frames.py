"""Log-mel frames, digital silence and mean normalisation in a graph."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.features.mel import MelFilterBank
from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.speech import log_mel
from sklearn_speechsent.utils.silence import DIGITAL_FLOOR

#: Range below which samples are digital silence: one step of 32 bits.
_SILENCE = 2.0**-31


def is_silent(samples: Value) -> Value:
    """Whether samples are digital silence from beginning to end, shape (1,).

    Parameters
    ----------
    samples : Value of shape (n,)

    Returns
    -------
    Value
    """
    return samples.reduce("Max", 0) - samples.reduce("Min", 0) < _SILENCE


def unfold(graph: Graph, samples: Value, length: int, shift: int) -> Value:
    """Overlapping frames of samples.

    Parameters
    ----------
    graph : Graph
    samples : Value of shape (n,)
    length, shift : int
        In samples. They are multiples of a number that is not too small.

    Returns
    -------
    Value of shape ((n - length) // shift + 1, length)
    """
    step = math.gcd(length, shift)
    n = samples.size()
    n_frames = (n - length) // shift + 1
    n_frames += graph.require(n >= length, "recording_is_shorter_than_one_frame")
    chunks = samples.part(0, n // step * step).reshape(-1, step)
    every = shift // step
    parts = [
        chunks.part(first, n_frames * every + first, step=every) for first in range(length // step)
    ]
    return graph.Concat(*parts, axis=1)


def _fourier(length: int, n_fft: int, bins: NDArray[np.intp]) -> NDArray[np.float64]:
    """Real and imaginary parts of chosen bins of a spectrum, shape (length, 2 * n_bins)."""
    # Turns are reduced as whole numbers, so that angles are exact.
    angles = 2 * np.pi / n_fft * (np.outer(np.arange(length), bins) % n_fft)
    return np.stack([np.cos(angles), -np.sin(angles)], axis=2).reshape(length, -1)


def mel_frames(graph: Graph, samples: Value, step: MelFilterBank) -> Value:
    """Log-mel frames as :class:`~sklearn_speechsent.MelFilterBank` makes them.

    Parameters
    ----------
    graph : Graph
    samples : Value of shape (n,)
    step : MelFilterBank

    Returns
    -------
    Value of shape (n_frames, n_mels), float32
    """
    design = step.design()
    frames = unfold(graph, samples, *design.frame)
    frames = frames - frames.reduce("Mean", 1)
    before = graph.Concat(frames.part(0, 1, axis=1), frames.part(0, -1, axis=1), axis=1)
    frames = (frames - before * design.preemphasis) * design.window.astype(np.float32)
    bins = np.flatnonzero(design.banks.any(axis=0))
    spectra = frames @ _fourier(len(design.window), design.n_fft, bins)
    energies = (spectra * spectra) @ design.banks[:, bins].T.repeat(2, axis=0)
    return graph.Log(graph.Max(energies, np.float32(design.floor)))


def whisper_frames(graph: Graph, samples: Value, n_mels: int) -> Value:
    """Log-mel frames as Whisper was trained on.

    Parameters
    ----------
    graph : Graph
    samples : Value of shape (n,)
    n_mels : int

    Returns
    -------
    Value of shape (n // 160, n_mels), float32
    """
    length, shift = log_mel.LENGTH, log_mel.SHIFT
    half = length // 2
    mirrored = graph.Pad(samples, [half, half], mode="reflect")
    frames = unfold(graph, mirrored, length, shift).part(0, -1)
    filters = log_mel.mel_filters(n_mels)
    bins = np.flatnonzero(filters.any(axis=0))
    window = np.hanning(length + 1)[:-1]
    spectra = frames @ (window[:, None] * _fourier(length, length, bins))
    energies = (spectra * spectra) @ filters[:, bins].T.repeat(2, axis=0)
    decades = graph.Log(graph.Max(energies, np.float32(log_mel.FLOOR))) / np.log(10.0)
    decades = graph.Max(decades, decades.reduce("Max", 0, 1) - log_mel.RANGE)
    return (decades + 4.0) / 4.0


def trimmed(graph: Graph, samples: Value) -> Value:
    """Samples without zeros at the beginning and the end, with zeros behind less than a frame.

    Parameters
    ----------
    graph : Graph
    samples : Value of shape (n,)

    Returns
    -------
    Value
    """
    sound = graph.Abs(graph.Sign(samples))
    first = graph.ArgMax(sound, axis=0)
    last = graph.ArgMax(sound, axis=0, select_last_index=1) + 1
    sound = samples.part(first, last)
    missing = graph.Max(log_mel.LENGTH - (last - first), [0])
    return graph.Pad(sound, graph.Concat([0], missing, axis=0))


def audible(graph: Graph, frames: Value, n_cut: int) -> Value:
    """Which log-mel frames are neither digital silence nor cut by it.

    Parameters
    ----------
    graph : Graph
    frames : Value of shape (n_frames, n_mels)
    n_cut : int
        Frames on either side of digital silence that hold some of it.

    Returns
    -------
    Value of shape (n_frames,), bool
    """
    silent = frames.reduce("Max", 1, keep=False) <= DIGITAL_FLOOR
    return ~widened(graph, silent, n_cut)


def widened(graph: Graph, mask: Value, n: int) -> Value:
    """Mask with n more frames on both sides of every run.

    Parameters
    ----------
    graph : Graph
    mask : Value of shape (n_frames,), bool
    n : int

    Returns
    -------
    Value of shape (n_frames,), bool
    """
    if not n:
        return mask
    row = mask.cast(np.float32).reshape(1, 1, -1)
    row = graph.MaxPool(row, kernel_shape=[2 * n + 1], pads=[n, n])
    return row.reshape(-1) > 0.5


def some(mask: Value) -> Value:
    """Whether any entry of a mask is true, shape (1,)."""
    return mask.cast(np.float32).reduce("Max", 0) > 0.5


def chosen(graph: Graph, frames: Value, mask: Value) -> Value:
    """Frames of a mask, or all of them where there is none.

    Parameters
    ----------
    graph : Graph
    frames : Value of shape (n_frames, ...)
    mask : Value of shape (n_frames,), bool

    Returns
    -------
    Value
    """
    return graph.Compress(frames, mask | ~some(mask), axis=0)


def without_means(graph: Graph, frames: Value, width: int | None) -> Value:
    """Frames without their mean over a centred window, or over the utterance.

    Parameters
    ----------
    graph : Graph
    frames : Value of shape (n_frames, n_bins), float32
    width : int or None
        Of the window in frames; at the edges it is shifted inward.

    Returns
    -------
    Value
    """
    double = frames.cast(np.float64)
    if width is None:
        return frames - double.reduce("Mean", 0).cast(np.float32)
    n = frames.size()
    length = graph.Min(n, [width])
    sums = graph.Pad(graph.CumSum(double, np.int64(0)), [1, 0, 0, 0])
    starts = graph.Min(graph.Max(graph.arange(n) - length // 2, [0]), n - length)
    means = (sums.take(starts + length) - sums.take(starts)) / length.cast(np.float64)
    return frames - means.cast(np.float32)
