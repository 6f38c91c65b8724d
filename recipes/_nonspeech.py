"""Generated sounds of mouths that are not speech: laughter, humming, breath and coughs.

Waveforms are 1-D float32 arrays at 16 kHz of root mean square 1.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from recipes.sounds import RATE, Wave, loudness


def nonspeech(n: int, rng: np.random.Generator) -> Wave:
    """One of the sounds, repeated or held for the whole time.

    Parameters
    ----------
    n : int
        Samples.
    rng : Generator

    Returns
    -------
    ndarray of float32 of shape (n,)
    """
    sound = (_laughter, _humming, _breath, _cough)[rng.choice(4, p=[0.35, 0.2, 0.25, 0.2])](n, rng)
    return (sound / loudness(sound)).astype(np.float32)


def _voiced(n: int, pitch: Wave, tilt: float) -> Wave:
    """Harmonics of a pitch (Hz, one value per sample), falling by a tilt."""
    k = np.arange(1, 1 + int(min(30, 7500 / pitch.max())))[:, None]
    period = (np.sin(2 * np.pi * k * np.arange(4096) / 4096) * k**-tilt).sum(0)
    return period[(np.cumsum(pitch) / RATE * 4096).astype(int) % 4096]


def _mouth(wave: Wave, rng: np.random.Generator) -> Wave:
    """Resonances of one open mouth, which does not move as it does in speech."""
    out = 0.1 * wave
    for low, high in ((300, 900), (900, 2200), (2200, 3500)):
        centre = rng.uniform(low, high)
        out = out + signal.lfilter(*signal.iirpeak(centre, rng.uniform(4, 10), fs=RATE), wave)
    return out


def _pulses(n: int, rate: float, width: float, rng: np.random.Generator) -> Wave:
    """Smooth pulses, as many a second as `rate`, in bouts of a second or so."""
    envelope = np.zeros(n)
    position = rng.uniform(0, min(0.3, n / RATE / 2))
    while position < n / RATE:
        strength = 1.0
        for _ in range(rng.integers(1, 10)):
            length = max(int(RATE * width / rate * rng.uniform(0.8, 1.2)), 8)
            start = int(position * RATE)
            part = envelope[start : start + length]
            part[:] = (strength * np.hanning(length) ** 0.5)[: len(part)]
            position += rng.uniform(0.85, 1.15) / rate
            strength *= rng.uniform(0.75, 1.05)
        position += rng.exponential(0.8)
    return envelope


def _laughter(n: int, rng: np.random.Generator) -> Wave:
    rate = rng.uniform(3.5, 6.5)
    envelope = _pulses(n, rate, rng.uniform(0.4, 0.7), rng)
    knots = rng.normal(0, 0.12, 2 + n * 2 // RATE)
    pitch = rng.uniform(140, 500) * np.exp(
        np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(knots)), knots) + 0.15 * envelope
    )
    source = _voiced(n, pitch, rng.uniform(0.8, 1.6))
    air = rng.standard_normal(n) * rng.uniform(0.2, 1.5)
    later = np.roll(envelope, int(0.5 * RATE / rate))  # breath goes out between the calls
    return _mouth(source * envelope + air * (0.3 * envelope + rng.uniform(0, 0.4) * later), rng)


def _humming(n: int, rng: np.random.Generator) -> Wave:
    notes = np.repeat(rng.integers(-5, 8, 2 + int(n / RATE * rng.uniform(0.5, 3))), 2)
    steps = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(notes)), notes)
    vibrato = 0.3 * rng.random() * np.sin(2 * np.pi * 5 * np.arange(n) / RATE)
    source = _voiced(n, rng.uniform(90, 300) * 2 ** ((steps + vibrato) / 12), rng.uniform(1.5, 3))
    return source + 1e-2 * rng.standard_normal(n)


def _breath(n: int, rng: np.random.Generator) -> Wave:
    envelope = _pulses(n, rng.uniform(0.4, 1.5), rng.uniform(0.4, 0.9), rng)
    return _mouth(rng.standard_normal(n) * envelope, rng) + 1e-3 * rng.standard_normal(n)


def _cough(n: int, rng: np.random.Generator) -> Wave:
    envelope = _pulses(n, rng.uniform(1.5, 3.5), rng.uniform(0.2, 0.6), rng) ** 2
    pitch = np.full(n, rng.uniform(120, 350))
    source = rng.uniform(0, 0.7) * _voiced(n, pitch, 1.0) + rng.standard_normal(n)
    return _mouth(source * envelope, rng) + 1e-3 * rng.standard_normal(n)
