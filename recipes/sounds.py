"""Generated sounds and rooms for the speech of the training recipes.

Nothing here is recorded: noises, music and rooms come from a random generator, so that a
recipe needs no recordings but its speech. Waveforms are 1-D float32 arrays at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import signal

RATE = 16000
Wave = NDArray[np.float32]


def loudness(wave: Wave) -> float:
    """Root mean square, never zero."""
    return float(np.sqrt(np.mean(np.square(wave)) + 1e-12))


def coloured_noise(n: int, rng: np.random.Generator) -> Wave:
    """Noise whose power falls with frequency: white (exponent 0), pink (1), brown (2), between."""
    frequencies = np.fft.rfftfreq(n, 1 / RATE)
    frequencies[0] = 1.0
    shape = np.maximum(frequencies, 20.0) ** (-rng.uniform(0, 2) / 2)
    # A resonance or a notch makes machines out of noise.
    centre, width = np.exp(rng.uniform(np.log(100), np.log(6000))), rng.uniform(0.1, 1.0)
    shape *= 10 ** (rng.normal(0, 10) / 20 * np.exp(-(np.log(frequencies / centre) ** 2) / width))
    spectrum = rng.standard_normal((2, len(frequencies))).astype(np.float32)
    noise = np.fft.irfft((spectrum[0] + 1j * spectrum[1]) * shape, n)
    if rng.random() < 0.4:  # wind and traffic rise and fall
        knots = np.exp(rng.normal(0, 0.7, 2 + n // RATE))
        noise *= np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(knots)), knots)
    return noise.astype(np.float32)


def music(n: int, rng: np.random.Generator) -> Wave:
    """Notes of decaying or held harmonics over a beat, a little like music."""
    out = np.zeros(n, np.float32)
    beat = int(RATE * rng.uniform(0.12, 0.6))
    scale = np.cumsum(rng.choice([1, 2, 2, 3], 12))
    root, held = rng.uniform(55, 330), rng.random() < 0.5
    for start in range(-beat, n, beat):
        if start > 0 and rng.random() < 0.2:
            continue  # a rest
        for _ in range(rng.integers(1, 4)):
            length = int(beat * rng.uniform(0.8, 3.0))
            seconds = np.arange(length, dtype=np.float32) / RATE
            pitch = root * 2 ** (rng.choice(scale) / 12)
            harmonics = np.arange(1, 1 + min(10, int(7500 / pitch)))[:, None]
            gains = harmonics ** -rng.uniform(0.5, 2.0) * rng.uniform(0.3, 1, harmonics.shape)
            vibrato = 0.002 * rng.random() * np.sin(2 * np.pi * 5.5 * seconds) / 5.5
            note = (gains * np.sin(2 * np.pi * pitch * harmonics * (seconds + vibrato))).sum(0)
            decay = np.exp(-seconds * (0.3 if held else rng.uniform(2, 12)))
            note *= decay * np.minimum(1, np.minimum(seconds, seconds[::-1]) / 0.01)
            begin, end = max(start, 0), min(start + length, n)
            if end > begin:
                out[begin:end] += note[begin - start : end - start]
        if rng.random() < 0.4:  # a drum
            hit = coloured_noise(beat, rng)[: n - max(start, 0)]
            hit *= np.exp(-np.arange(len(hit)) / RATE * rng.uniform(15, 60)) * 2 / loudness(hit)
            out[max(start, 0) : max(start, 0) + len(hit)] += hit
    return out


def clatter(n: int, rng: np.random.Generator) -> Wave:
    """Knocks, clicks and keys: short resonant bursts at random times."""
    out = 1e-3 * rng.standard_normal(n).astype(np.float32)
    for _ in range(rng.poisson(n / RATE * rng.uniform(0.5, 6)) + 1):
        length = int(RATE * rng.uniform(0.005, 0.15))
        seconds = np.arange(length) / RATE
        tone = np.sin(2 * np.pi * np.exp(rng.uniform(5, 8.5)) * seconds)
        burst = (rng.standard_normal(length) + rng.uniform(0, 3) * tone) * np.exp(
            -seconds * rng.uniform(30, 600)
        )
        start = rng.integers(0, n)
        out[start : start + length] += (rng.lognormal(0, 0.7) * burst)[: n - start]
    return out


def rustle(n: int, rng: np.random.Generator) -> Wave:
    """Paper, cloth and breath: noise that swells and changes colour as fast as syllables do."""
    out = np.zeros(n, np.float32)
    for _ in range(rng.integers(1, 4)):  # bands that move apart from each other
        rate = np.exp(rng.uniform(np.log(1.0), np.log(25.0)))  # swells a second
        knots = rng.normal(0, rng.uniform(0.7, 2.5), int(n / RATE * rate) + 3)
        grid = np.linspace(0, 1, len(knots))
        envelope = np.exp(np.interp(np.linspace(0, 1, n), grid, knots))
        low = np.exp(rng.uniform(np.log(60), np.log(3000)))
        high = min(low * np.exp(rng.uniform(0.7, 3.5)), 7900.0)
        band = signal.butter(2, [low, high], "band", fs=RATE, output="sos")
        part = signal.sosfilt(band, rng.standard_normal(n)) * envelope
        out += (rng.uniform(0.2, 1) * part / loudness(part)).astype(np.float32)
    return out


def hum(n: int, rng: np.random.Generator) -> Wave:
    """Mains hum or a fan: steady harmonics under a little noise."""
    base = rng.choice([50.0, 60.0, rng.uniform(40, 400)])
    harmonics = np.arange(1, 13)[:, None]
    gains = rng.exponential(1, (12, 1)) * harmonics ** -rng.uniform(0.3, 1.5)
    phases = rng.uniform(0, 2 * np.pi, (12, 1))
    tones = (gains * np.sin(2 * np.pi * base * harmonics * np.arange(n) / RATE + phases)).sum(0)
    noise = coloured_noise(n, rng)
    return (tones + rng.uniform(0.1, 2) * loudness(tones) * noise / loudness(noise)).astype(
        np.float32
    )


def babble(n: int, rng: np.random.Generator, speech: Sequence[Wave]) -> Wave:
    """Many voices at once, too many to follow any.

    Parameters
    ----------
    n : int
        Samples.
    rng : Generator
    speech : sequence of ndarray
        Recordings to take the voices from.

    Returns
    -------
    ndarray of float32 of shape (n,)
    """
    out = np.zeros(n, np.float32)
    for _ in range(rng.integers(5, 12)):
        voice = speech[rng.integers(len(speech))]
        out += np.resize(np.roll(voice, rng.integers(len(voice))), n) / loudness(voice)
    return out


def interference(n: int, rng: np.random.Generator, speech: Sequence[Wave]) -> Wave:
    """One of the noises, or two at once.

    Parameters
    ----------
    n : int
        Samples.
    rng : Generator
    speech : sequence of ndarray
        For `babble`; empty leaves babble out.

    Returns
    -------
    ndarray of float32 of shape (n,)
        Of root mean square 1.
    """
    out = np.zeros(n, np.float32)
    for _ in range(1 + (rng.random() < 0.3)):
        kind = rng.choice(5, p=[0.45, 0.2, 0.12, 0.08, 0.15])
        if kind == 4 and len(speech):
            part = babble(n, rng, speech)
        else:
            part = (coloured_noise, music, clatter, hum)[kind % 4](n, rng)
        out += rng.uniform(0.3, 1) * part / loudness(part)
    return out / loudness(out)


def reverberate(wave: Wave, rng: np.random.Generator) -> Wave:
    """Put a voice into a room: direct sound, a few early reflections, a decaying tail.

    Parameters
    ----------
    wave : ndarray of shape (n,)
    rng : Generator

    Returns
    -------
    ndarray of float32 of shape (n,)
        Of the same loudness, and not delayed.
    """
    decay_time = rng.uniform(0.15, 0.9)  # to -60 dB, in seconds
    n = int(RATE * min(decay_time, 0.6))
    seconds = np.arange(n) / RATE
    tail = rng.standard_normal(n) * np.exp(-6.9 * seconds / decay_time)
    tail[: int(RATE * rng.uniform(0.002, 0.02))] = 0
    tail = signal.lfilter([1 - (p := rng.uniform(0, 0.7))], [1, -p], tail)  # walls are soft
    reflections = rng.integers(int(0.001 * RATE), int(0.04 * RATE), rng.integers(2, 8))
    response = tail / np.sqrt(np.sum(tail**2) + 1e-12)
    response[reflections] += rng.uniform(-0.5, 0.5, len(reflections))
    response *= 10 ** (-rng.uniform(-6, 12) / 20)  # ratio of direct to reverberant sound
    response[0] = 1.0
    out = signal.oaconvolve(wave, response)[: len(wave)].astype(np.float32)
    return out * (loudness(wave) / loudness(out))


def change_speed(wave: Wave, speed: float) -> Wave:
    """Play faster or slower, which also moves the pitch.

    Parameters
    ----------
    wave : ndarray of shape (n,)
    speed : float

    Returns
    -------
    ndarray of float32 of shape (n / speed,)
    """
    return soxr.resample(wave, RATE * speed, RATE, quality="LQ").astype(np.float32)
