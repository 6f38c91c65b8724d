"""Log-mel filter bank energies after Kaldi's conventions, as pure functions of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

#: Kaldi floors energies at the machine epsilon of float32, whatever the working precision.
LOG_FLOOR = float(np.finfo(np.float32).eps)
#: Frames computed at a time: their spectra stay in the processor's cache, and threads that take
#: turns with the interpreter seldom meet. And the fewest: a product of fewer rows rounds otherwise.
_BLOCK, _FEWEST = 1024, 8
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


class LogMel:
    """Log energies of mel bands in overlapping frames of many signals, in order.

    Only whole frames are used (Kaldi's ``snip_edges``), each with its mean removed, pre-emphasised
    and windowed; the power spectrum of the zero-padded frame is summed by triangular filters.

    Parameters
    ----------
    sample_rate, n_mels
        See :class:`~sklearn_speechsent.MelFilterBank`.
    frame_length, frame_shift : int
        In samples.
    window, low_freq, high_freq, preemphasis, scale
        See :class:`~sklearn_speechsent.MelFilterBank`.
    dtype : dtype
        Working precision and type of the result.

    Notes
    -----
    Signals are laid behind one another on a tape, each at a multiple of the shift, and all frames
    of the tape are computed at once: short recordings share the cost of a call, long ones pass in
    pieces. Frames that begin in one signal and end in the next are left out.

    Frames overlap, so the signal is pre-emphasised once for all of them. The effect on their means
    is subtracted afterwards, and the first sample of a frame, which has none before it, is
    computed again.

    The buffers are used again for every block. So one object belongs to one thread at a time.
    """

    def __init__(
        self,
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
    ) -> None:
        self._length, self._shift = frame_length, frame_shift
        self._preemphasis = preemphasis
        kind = getattr(torch, np.dtype(dtype).name)
        n_fft = 1 << (frame_length - 1).bit_length()
        self._taper = torch.from_numpy(window_function(window, frame_length) * scale).to(kind)
        self._groups = _grouped_banks(n_mels, n_fft, sample_rate, low_freq, high_freq, kind)
        n = (_BLOCK - 1) * frame_shift + max(frame_length, frame_shift)
        # torch throughout: its transform takes half the time of SciPy's, and its threads can be
        # limited next to those that compute other recordings.
        # Zeros of NumPy take no memory before they are written to.
        self._signal, self._emphasised, self._padded = (
            torch.from_numpy(np.zeros(shape, dtype)) for shape in (n, n, (_BLOCK, n_fft))
        )
        self._spectra = torch.empty(_BLOCK, n_fft // 2 + 1, dtype=kind.to_complex())
        self._energies = torch.empty(_BLOCK, n_mels, dtype=kind)
        self._tape: NDArray[np.floating] = self._signal.numpy()
        self._end = 0  # of what is on the tape
        self._on_tape: list[_Signal] = []

    def each(
        self,
        signals: Iterable[Iterable[NDArray[np.floating]]],
        failures: tuple[type[Exception], ...] = (),
    ) -> Iterator[Any]:
        """Frames of each signal.

        Parameters
        ----------
        signals : iterable of iterables of ndarray of shape (n_samples_i,)
            Blocks of samples; frames do not depend on where a block ends, nor on other signals.
        failures : tuple of type, default=()
            Exceptions that a signal may raise, which then stand for its frames.

        Yields
        ------
        ndarray of shape (n_frames, n_mels), or Exception
            Empty for fewer samples than a frame has.
        """
        self._end, self._on_tape = 0, []
        for blocks in signals:
            start = -(-self._end // self._shift) * self._shift
            if start + self._length > len(self._tape):
                yield from self._computed()
                start = 0
            signal = _Signal(start, np.empty((0, self._energies.shape[1]), self._tape.dtype))
            self._end = start
            self._on_tape.append(signal)
            done: list[NDArray[np.floating] | Exception] = []
            try:
                for block in blocks:
                    while len(block):
                        part = block[: len(self._tape) - self._end]
                        self._tape[self._end : self._end + len(part)] = part
                        self._end, block = self._end + len(part), block[len(part) :]
                        if self._end == len(self._tape):
                            done += self._computed()
            except failures as exception:
                signal.failure, self._end = exception, signal.start
            signal.stop = self._end
            yield from done
        yield from self._computed()

    def _computed(self) -> list[NDArray[np.floating] | Exception]:
        """Results of the signals that end on the tape, which is then empty but for an open one."""
        end, signals = self._end, self._on_tape
        rows = self._frames(max(0, (end - self._length) // self._shift + 1))
        self._end, self._on_tape = 0, []
        for signal in signals:
            first = signal.start // self._shift
            stop = end if signal.stop is None else signal.stop
            last = max(first, (stop - self._length) // self._shift + 1)
            signal.add(rows[first:last])
            if signal.stop is None:  # its next frame begins on what is left
                left = self._tape[last * self._shift : end].copy()
                self._tape[: len(left)] = left
                signal.start, self._end, self._on_tape = 0, len(left), [signal]
        return [signal.result() for signal in signals if signal.stop is not None]

    def _frames(self, n: int) -> NDArray[np.floating]:
        """First frames of the tape, in a buffer."""
        n = max(n, _FEWEST)
        size = (n - 1) * self._shift + self._length
        signal, emphasised, block = self._signal[:size], self._emphasised[:size], self._padded[:n]
        torch.sub(signal[1:], signal[:-1], alpha=self._preemphasis, out=emphasised[1:])
        frames, emphasised = (x.unfold(0, self._length, self._shift) for x in (signal, emphasised))
        means = frames.mean(dim=1, keepdim=True).mul_(1 - self._preemphasis)
        tapered = block[:, : self._length]
        torch.sub(emphasised, means, out=tapered)
        torch.sub((1 - self._preemphasis) * frames[:, :1], means, out=tapered[:, :1])
        tapered.mul_(self._taper)
        spectra = torch.fft.rfft(block, out=self._spectra[:n])
        power = torch.view_as_real(spectra).flatten(start_dim=1).square_()
        energies = self._energies[:n]
        for filters, parts, weights in self._groups:
            torch.mm(power[:, parts], weights, out=energies[:, filters])
        return energies.clamp_(min=LOG_FLOOR).log_().numpy()


@dataclass
class _Signal:
    """Signal of which a part is on the tape, and its frames before that."""

    start: int  #: Sample of the tape at which its next frame begins.
    frames: NDArray[np.floating]
    n: int = 0
    stop: int | None = None  #: None before its last block.
    failure: Exception | None = None

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add frames; a long signal never has them twice."""
        n = self.n + len(rows)
        if n > len(self.frames):
            room = n if self.n == 0 else n + max(len(rows), self.n // 8)
            self.frames.resize((room, rows.shape[1]), refcheck=False)
        self.frames[self.n : n] = rows
        self.n = n

    def result(self) -> NDArray[np.floating] | Exception:
        """All frames, or the failure."""
        self.frames.resize((self.n, self.frames.shape[1]), refcheck=False)
        return self.frames if self.failure is None else self.failure
