"""Effects of a room, of noise and of a line on a voice, block by block.

Each takes blocks of samples of any size and gives blocks with as many samples in all; where blocks
end makes no difference to the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve, sosfilt, zpk2sos

Samples = NDArray[np.float32]
Blocks = Iterable[Samples]

#: Samples that are worked on at a time, where that takes memory or makes a difference.
_HOP = 2**16
#: Seconds before the first reflection: a detour of nearly a metre.
_FIRST_REFLECTION = 0.0025
#: Lowest frequency (Hz) of pink noise; below it is white.
_PINK_FROM = 20.0
#: Rates (Hz) at which lines and formats carry speech.
_CODEC_RATES = {"telephone": 8000, "mp3": 16000, "ogg": 16000}
#: Seconds that are written and read at a time.
_PIECE = 60
#: How soundfile writes them: 32 kbit/s for 16 kHz.
_FORMATS: dict[str, dict[str, Any]] = {
    "mp3": {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.84},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
}
#: Samples by which an MP3 comes late that does not say so itself: LAME's 576 and a decoder's 529.
_MP3_DELAY = 1105


def equal_blocks(blocks: Blocks, size: int) -> Iterator[Samples]:
    """Blocks of one size, the last one shorter, whatever size they came in.

    Parameters
    ----------
    blocks : iterable of ndarray
    size : int

    Yields
    ------
    ndarray of shape (size,) or shorter
    """
    held: list[Samples] = []
    n = 0
    for block in blocks:
        while n + len(block) >= size:
            head, block = block[: size - n], block[size - n :]
            yield np.concatenate([*held, head]) if held else head
            held, n = [], 0
        if len(block):
            held.append(block)
            n += len(block)
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def at_rate(blocks: Blocks, rate: float, new_rate: float) -> Iterator[Samples]:
    """Resampled blocks.

    Parameters
    ----------
    blocks : iterable of ndarray
    rate, new_rate : float
        In Hz.

    Yields
    ------
    ndarray of float32
    """
    if rate == new_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def impulse_response(rate: int, rt60: float, seed: int) -> Samples:
    """Impulse response of a room: the direct sound and noise that decays exponentially.

    Parameters
    ----------
    rate : int
        In Hz.
    rt60 : float
        Time (s) in which the reverberation decays by 60 dB.
    seed : int

    Returns
    -------
    ndarray of float32
        Of energy 1, half of which is the direct sound: the distance at which both are equal.
    """
    time = np.arange(max(2, round(rt60 * rate))) / rate
    response = np.random.default_rng((seed, 1)).standard_normal(len(time))
    response *= 10.0 ** (-3 * time / rt60) * (time >= _FIRST_REFLECTION)
    response /= np.linalg.norm(response) or 1.0
    response[0] = 1.0
    return (response / np.linalg.norm(response)).astype(np.float32)


def in_room(blocks: Blocks, rate: int, rt60: float, seed: int) -> Iterator[Samples]:
    """Voice in a room; what sounds on after its end is cut off.

    Parameters
    ----------
    blocks : iterable of ndarray
    rate : int
        In Hz.
    rt60 : float
        See :func:`impulse_response`.
    seed : int

    Yields
    ------
    ndarray of float32
    """
    response = impulse_response(rate, rt60, seed)
    rest = np.zeros(len(response) - 1, np.float32)
    for block in equal_blocks(blocks, _HOP):
        wet = fftconvolve(block, response)
        wet[: len(rest)] += rest
        yield wet[: len(block)]
        rest = wet[len(block) :]


def noise(colour: str, rate: int, seed: int) -> Callable[[int], Samples]:
    """Source of noise of unit power.

    Parameters
    ----------
    colour : {"white", "pink"}
        Pink noise has equal power in every octave from 20 Hz on.
    rate : int
        In Hz.
    seed : int

    Returns
    -------
    callable
        Gives the next n samples.
    """
    generator = np.random.default_rng(seed)

    def white(n: int) -> Samples:
        return generator.standard_normal(n, dtype=np.float32)

    if colour == "white":
        return white
    sections = _pink_filter(rate)
    state = np.zeros((len(sections), 2))

    def pink(n: int) -> Samples:
        nonlocal state
        samples = white(n)
        for at in range(0, n, _HOP):
            piece = slice(at, at + _HOP)
            samples[piece], state = sosfilt(sections, samples[piece], zi=state)
        return samples

    pink(rate // 5)  # the filter starts from silence
    return pink


def babble(voices: list[Samples], n: int, seed: int) -> Callable[[int], Samples]:
    """Source of babble of unit power: voices that speak at the same time, all equally loud.

    Parameters
    ----------
    voices : list of ndarray of shape (n_samples,), float32
        None of them silent; each is repeated as long as needed.
    n : int
        Samples that will be drawn, over which the power is taken.
    seed : int
        Of the places at which they begin.

    Returns
    -------
    callable
        Gives the next samples.
    """
    generator = np.random.default_rng((seed, 2))
    parts = []
    for voice in voices:
        loudness = np.sqrt(np.mean(np.square(voice, dtype=np.float64)))
        parts.append((voice, generator.integers(len(voice)), np.float32(1 / loudness)))

    def together(first: int, last: int) -> Iterator[Samples]:
        for at in range(first, last, _HOP):
            index = np.arange(at, min(at + _HOP, last))
            piece = np.zeros(len(index), np.float32)
            for voice, begin, factor in parts:
                piece += factor * voice[(begin + index) % len(voice)]
            yield piece

    energy = sum(float(np.sum(np.square(piece))) for piece in together(0, n))
    scale = np.float32(np.sqrt(n / energy) if energy else 0.0)
    drawn = 0

    def draw(n: int) -> Samples:
        nonlocal drawn
        drawn += n
        return scale * np.concatenate([*together(drawn - n, drawn)])

    return draw


@lru_cache
def _pink_filter(rate: int) -> NDArray[np.float64]:
    """Sections of a filter that falls by 3 dB per octave: by 6 in every other one."""
    poles = _PINK_FROM * 4.0 ** np.arange(20)
    poles = poles[poles < rate / 2]
    zeros = 2 * poles[2 * poles < rate / 2]
    turn = -2 * np.pi / rate
    sections = zpk2sos(np.exp(turn * zeros), np.exp(turn * poles), 1.0)
    response = sosfilt(sections, np.eye(1, max(rate, 100))[0])
    sections[0, :3] /= np.linalg.norm(response)
    return sections


def band_limited(blocks: Blocks, rate: int, limit: float) -> Iterator[Samples]:
    """Nothing above a frequency, by resampling to twice of it and back.

    Parameters
    ----------
    blocks : iterable of ndarray
    rate : int
        In Hz.
    limit : float
        In Hz; up to nine tenths of it all passes.

    Returns
    -------
    iterator of ndarray
    """
    return _by_way_of(blocks, rate, 2 * limit) if 2 * limit < rate else iter(blocks)


def coded(blocks: Blocks, rate: int, codec: str) -> Iterator[Samples]:
    """What a telephone line or a compressed file leaves of the samples.

    Parameters
    ----------
    blocks : iterable of ndarray
    rate : int
        In Hz.
    codec : {"telephone", "mp3", "ogg"}
        8 kHz and mu-law (G.711); MP3 and Ogg Vorbis at 16 kHz and about 32 kbit/s, a minute at a
        time.

    Returns
    -------
    iterator of ndarray
    """
    through = _mu_law if codec == "telephone" else partial(_compressed, codec=codec)
    return _by_way_of(blocks, rate, _CODEC_RATES[codec], through)


def _by_way_of(
    blocks: Blocks,
    rate: int,
    other: float,
    through: Callable[[Blocks], Blocks] | None = None,
) -> Iterator[Samples]:
    """Blocks at another rate, through something there, and back; as many samples as came."""
    n = at = 0

    def counted() -> Iterator[Samples]:
        nonlocal n
        for block in blocks:
            n += len(block)
            yield block

    there: Blocks = at_rate(equal_blocks(counted(), _HOP), rate, other)
    for block in at_rate(there if through is None else through(there), other, rate):
        block = block[: n - at]  # filters are late: more than came comes at the end only
        at += len(block)
        yield block
    if at < n:
        yield np.zeros(n - at, np.float32)


def _mu_law(blocks: Blocks) -> Iterator[Samples]:
    """Samples in the steps of G.711: sixteen in each octave above a bias of 132."""
    for block in blocks:
        size = np.minimum(np.abs(block) * 32768 + 132, 32767)
        mantissa, exponent = np.frexp(size)
        size = np.ldexp(np.floor(mantissa * 32) + np.float32(0.5), exponent - 5) - 132
        yield np.copysign(size / 32768, block)


def _compressed(blocks: Blocks, codec: str) -> Iterator[Samples]:
    """Samples that were written to a file of a format and read again."""
    rate = _CODEC_RATES[codec]
    for block in equal_blocks(blocks, _PIECE * rate):
        file = BytesIO()
        soundfile.write(file, block, rate, **_FORMATS[codec])
        file.seek(0)
        samples, _ = soundfile.read(file, dtype="float32")
        late = _MP3_DELAY if len(samples) > len(block) else 0
        yield samples[late : late + len(block)]


def with_silence(blocks: Blocks, rate: int, before: float, after: float) -> Iterator[Samples]:
    """Digital silence in front of the samples and behind them.

    Parameters
    ----------
    blocks : iterable of ndarray
    rate : int
        In Hz.
    before, after : float
        In seconds.

    Yields
    ------
    ndarray of float32
    """
    yield np.zeros(round(before * rate), np.float32)
    yield from blocks
    yield np.zeros(round(after * rate), np.float32)
