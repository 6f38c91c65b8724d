"""Samples of recordings: mixed down, resampled and perturbed, block by block.

A recording becomes mono float32 samples in [-1, 1] at the wanted rate, or an error that names its
row and says what to do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.audio import effects, io
from sklearn_speechsent.audio.channels import ChannelPowers
from sklearn_speechsent.audio.extent import Extent
from sklearn_speechsent.audio.names import printable
from sklearn_speechsent.audio.recording import Recording, RecordingError, SilentRecordingError

#: One step of a 32-bit recording: samples with a smaller range are digital silence.
_SILENCE = 2.0**-31
#: Samples that are larger have another full scale than 1; a loud recording or a filter that
#: overshoots reaches 2.
_LOUDEST = 4.0
#: Full scale of 32-bit integers: no samples are larger, however few.
_LARGEST = 2.0**31
#: One step of a 16-bit recording: nothing that was recorded stays below it.
_QUIETEST = 2.0**-15
#: Fewer samples do not tell a scale: they are shorter than any frame of speech.
_TELLING = 100
#: Samples whose squares are summed at a time, which makes a difference in the last bits.
_SUMMED = 2**20
#: Seconds of each voice in babble.
_VOICE = 30
#: Extents of files, by source.
Headers = dict[Any, Extent]


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
        Wanted rate (Hz), and that of samples in memory that carry none.
    min_duration : float
        Shortest usable duration (s) at this rate.
    headers : dict, optional
        Files that were opened before; this one is added. A long recording with many segments is
        then opened once.

    Returns
    -------
    float
        Duration in seconds.

    Raises
    ------
    RecordingError
        If the file cannot be opened as audio, its header promises more than there is, or it is too
        short.
    """
    for voice in recording.babble:
        try:
            probe(voice, sample_rate, 0.0, headers)
        except RecordingError as exception:
            raise _no_babble(recording, exception) from exception
    if recording.is_file:
        extent = _extent(recording, headers)
    else:
        extent = _extent_in_memory(recording, sample_rate)
    first, last = _checked_span(recording, extent, sample_rate, min_duration)
    spoken = ((_length(extent) if last is None else last) - first) / extent.rate / recording.speed
    return recording.silence_before + spoken + recording.silence_after


def duration(recording: Recording, headers: Headers | None = None) -> float:
    """Duration of a whole file, of which a recording may be a segment, from its header.

    Parameters
    ----------
    recording : Recording
        Of a file.
    headers : dict, optional
        As in :func:`probe`.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    RecordingError
        If the file cannot be opened as audio, or the recording is the whole file and samples are
        missing.
    """
    extent = _extent(recording, headers)
    if recording.start is None and recording.stop is None:
        extent.span(recording)
    return _length(extent) / extent.rate


def read(recording: Recording, sample_rate: int) -> NDArray[np.float32]:
    """Decode a recording as a whole, see :func:`read_blocks`.

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
        As :func:`read_blocks` does.
    """
    blocks = list(read_blocks(recording, sample_rate))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def read_blocks(
    recording: Recording,
    sample_rate: int,
    notes: list[str] | None = None,
    min_duration: float = 0.0,
) -> Iterator[NDArray[np.float32]]:
    """Decode a recording, mix it down or take a channel, resample and perturb it as it asks for.

    Parameters
    ----------
    recording : Recording
    sample_rate : int
        Wanted rate in Hz.
    notes : list of str, optional
        Gets what is odd and no error: samples that are far too small, channels that are the same.
        Without it there is a warning, of channels only where one is asked for.
    min_duration : float, default=0.0
        Shortest usable duration (s) at the wanted rate.

    Yields
    ------
    ndarray of shape (n_samples,), float32
        Samples, full scale being [-1, 1]; a minute of speech at most. Where noise is asked for,
        whose power depends on the whole, a longer recording is decoded twice. Perturbations come
        in the order that :class:`Recording` lists.

    Raises
    ------
    RecordingError
        If it cannot be decoded to its end, has no samples or is too short, has NaN or infinite
        samples, samples of another scale, channels that cancel, or is silent: some of that shows
        only after the last block.
    """
    blocks = _in_place(recording, sample_rate, notes, min_duration)
    if recording.snr_db is not None:
        blocks = _with_noise(recording, sample_rate, blocks)
    gain = np.float32(10.0 ** (recording.gain_db / 20))
    if gain != 1.0:
        blocks = (block * gain for block in blocks)
    if recording.clip:
        blocks = (np.clip(block, -1.0, 1.0) for block in blocks)
    yield from _sent(recording, sample_rate, blocks)


def _in_place(
    recording: Recording, sample_rate: int, notes: list[str] | None, min_duration: float
) -> Iterator[NDArray[np.float32]]:
    """The voice where it sounds, in a room if it asks for one."""
    blocks = _resampled(recording, sample_rate, notes, min_duration)
    if recording.rt60 is not None:
        blocks = effects.in_room(blocks, sample_rate, recording.rt60, recording.seed)
    return effects.equal_blocks(blocks, io.BLOCK)


def _with_noise(
    recording: Recording, sample_rate: int, blocks: Iterator[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Blocks with noise, whose power depends on that of them all."""
    assert recording.snr_db is not None
    first = list(islice(blocks, 2))
    several = len(first) == 2
    power, n = _power(effects.equal_blocks(chain(first, blocks), _SUMMED))
    blocks = _in_place(recording, sample_rate, None, 0.0) if several else iter(first)
    del first
    amplitude = np.float32(np.sqrt(power * 10.0 ** (-recording.snr_db / 10)))
    if recording.noise == "babble":
        draw = effects.babble(_voices(recording, sample_rate), n, recording.seed)
    else:
        draw = effects.noise(recording.noise, sample_rate, recording.seed)
    for block in blocks:
        noise = draw(len(block))
        noise *= amplitude
        noise += block
        yield noise


def _voices(recording: Recording, sample_rate: int) -> list[NDArray[np.float32]]:
    """Half a minute of each recording that babble is made of."""
    voices = []
    most = _VOICE * sample_rate
    for voice in recording.babble:
        blocks: list[NDArray[np.float32]] = []
        try:
            for block in read_blocks(voice, sample_rate, []):
                blocks.append(block)
                if sum(map(len, blocks)) >= most:
                    break
        except SilentRecordingError:
            continue
        except RecordingError as exception:
            raise _no_babble(recording, exception) from exception
        samples = np.concatenate(blocks)[:most]
        if np.ptp(samples) >= _SILENCE:
            voices.append(samples)
    if not voices:
        raise recording.error("the recordings that its babble is made of are silent. Pass others.")
    return voices


def _no_babble(recording: Recording, exception: RecordingError) -> RecordingError:
    return recording.error(f"its babble cannot be made of {exception}")


def _sent(
    recording: Recording, sample_rate: int, blocks: Iterator[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Blocks of what was recorded, after their way to the listener."""
    silence = recording.silence_before, recording.silence_after
    if recording.band_limit is None and recording.codec is None and not any(silence):
        return blocks
    if recording.band_limit is not None:
        blocks = effects.band_limited(blocks, sample_rate, recording.band_limit)
    if recording.codec is not None:
        blocks = effects.coded(blocks, sample_rate, recording.codec)
    blocks = effects.with_silence(blocks, sample_rate, *silence)
    return effects.equal_blocks(blocks, io.BLOCK)


def _extent(recording: Recording, headers: Headers | None) -> Extent:
    """Extent of a file, which is opened unless it was before."""
    if headers is None:
        headers = {}
    if recording.source not in headers:
        headers[recording.source] = _measured(recording)
    return headers[recording.source]


def _measured(recording: Recording) -> Extent:
    """Extent of a file; decoded once to its end where the header leaves it open."""
    with io.open_audio(recording) as file:
        extent = file.extent
        if extent.length is not None:
            return extent
        n, flaw = 0, ""
        try:
            for block in file.blocks(0, None):
                n += len(block)
        except RecordingError:  # segments of what comes before can be used
            flaw = extent.flaw or "it is cut off or damaged"
    return replace(extent, there=n, flaw=flaw)


def _checked_span(
    recording: Recording, extent: Extent, sample_rate: int, min_duration: float
) -> tuple[int, int | None]:
    """First and last sample of a recording, which lasts long enough as far as the header tells."""
    first, last = extent.span(recording)
    end = extent.length if last is None else last
    if end is not None:
        n = (end - first) * sample_rate / (extent.rate * recording.speed)
        _check_length(recording, int(n + 0.5), sample_rate, min_duration)  # as many as soxr gives
    return first, last


def _check_length(recording: Recording, n: int, rate: int, min_duration: float) -> None:
    """Raise if there are fewer samples at the wanted rate than a frame has."""
    if n == 0:
        raise recording.error("it has no samples.")
    if n < int(min_duration * rate + 1e-6):
        shape = np.shape(recording.source)
        lying = len(shape) == 2 and shape[1] > shape[0]
        played = "" if recording.speed == 1 else f" at speed {recording.speed:g}"
        raise recording.error(
            f"it lasts {1000 * n / rate:.3g} ms ({n} samples at {rate} Hz){played}, shorter than "
            f"one frame of {1000 * min_duration:g} ms. "
            + ("Samples go along the first axis: transpose it." if lying else "Leave it out.")
        )


def _length(extent: Extent) -> int:
    assert extent.length is not None  # see _extent
    return extent.length


def _resampled(
    recording: Recording, sample_rate: int, notes: list[str] | None, min_duration: float
) -> Iterator[NDArray[np.float32]]:
    """Samples of one channel at the wanted rate, in blocks as they come."""
    with ExitStack() as stack:
        if recording.is_file:
            file = io.open_audio(recording)
            stack.callback(file.close)
            extent, decode = file.extent, file.blocks
        else:
            extent = _extent_in_memory(recording, sample_rate)
            decode = partial(_in_memory, recording)
        blocks = decode(*_checked_span(recording, extent, sample_rate, min_duration))
        blocks = _mixed_down(recording, blocks, notes)
        # A faster recording is resampled like one of a higher rate: one filter for both.
        blocks = effects.at_rate(blocks, extent.rate * recording.speed, sample_rate)
        n = 0
        for block in blocks:
            n += len(block)
            yield block
        _check_length(recording, n, sample_rate, min_duration)


def _extent_in_memory(recording: Recording, sample_rate: int) -> Extent:
    shape = np.shape(recording.source)
    channels = shape[1] if len(shape) == 2 else 1
    return Extent(recording.rate or sample_rate, channels, shape[0], shape[0])


def _in_memory(recording: Recording, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
    """Samples in memory as a decoder would give them."""
    samples = np.asarray(recording.source)[first:last]
    step = max(1, io.BLOCK // (samples.shape[1] if samples.ndim == 2 else 1))
    for first in range(0, len(samples), step):
        block = _to_float(recording, samples[first : first + step])
        yield block if block.ndim == 2 else block[:, None]


def _mixed_down(
    recording: Recording, blocks: Iterable[NDArray[np.float32]], notes: list[str] | None
) -> Iterator[NDArray[np.float32]]:
    """Samples of one channel, once they are sound."""
    n, lowest, highest = 0, np.inf, -np.inf
    channels = ChannelPowers()
    for block in blocks:
        if block.shape[1] == 1:
            samples = block[:, 0]
        else:
            with np.errstate(invalid="ignore", over="ignore"):  # said below
                mix = block.mean(axis=1)
            channels.add(block, mix)
            samples = mix if recording.channel is None else block[:, recording.channel].copy()
        # The extremes are NaN or infinite if one sample is.
        low, high = float(samples.min()), float(samples.max())
        if not np.isfinite(low) or not np.isfinite(high):
            bad = int(np.flatnonzero(~np.isfinite(samples))[0])
            raise recording.error(
                f"sample {n + bad} is {samples[bad]}; NaN and infinity are not sound. Repair it or "
                "leave it out."
            )
        lowest, highest = min(low, lowest), max(high, highest)
        n += len(samples)
        peak = max(-lowest, highest)
        if peak > (_LOUDEST if n >= _TELLING else _LARGEST):
            raise recording.error(
                f"its samples reach {peak:g}, and full scale is 1. Divide them by the full scale "
                "that they were recorded with (32768 for 16 bits), or pass the integers."
            )
        yield samples
    if n == 0:
        raise recording.error("it has no samples.")
    if recording.channel is None and channels.cancel():
        raise recording.error(
            f"its {channels.n} channels cancel when they are mixed. Choose one of them by the "
            f"column 'channel', 0 to {channels.n - 1}."
        )
    if highest - lowest < _SILENCE:
        raise recording.error(
            "it is silent from beginning to end. Leave it out.", SilentRecordingError
        )
    if channels.same() and (recording.channel is not None or notes is not None):
        _remark(
            recording,
            f"all {channels.n} channels are the same, so it does not matter which one is taken. "
            "Was one speaker per channel expected?",
            notes,
        )
    if (highest - lowest) / 2 < _QUIETEST and n >= _TELLING:
        _remark(
            recording,
            f"its samples stay within {(highest - lowest) / 2:.2g}, less than a step of 16 bits. "
            "Pass 16-bit samples as int16; floats are divided by their full scale once.",
            notes,
        )


def _remark(recording: Recording, text: str, notes: list[str] | None) -> None:
    """Note what is odd about a recording, or warn of it."""
    if notes is not None:
        notes.append(printable(f"{recording}: {text}"))
    else:
        warnings.warn(printable(f"{recording}: {text}"), UserWarning, stacklevel=3)


def _power(blocks: Iterable[NDArray[np.float32]]) -> tuple[np.floating, int]:
    """Mean square of all samples, and how many there are."""
    energies, n = [], 0
    for block in blocks:
        energies.append(np.dot(block, block))
        n += len(block)
    return (energies[0] if len(energies) == 1 else np.sum(energies, dtype=np.float64)) / n, n


def _to_float(recording: Recording, samples: NDArray[Any]) -> NDArray[np.float32]:
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity is said elsewhere
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
