"""Tracks of scenes to detect speech in: voices, what else sounds, and the tone of the room.

They are mixed elsewhere (`_mixing.py`), each many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes import sounds
from recipes._nonspeech import nonspeech
from recipes.sounds import Wave

#: Samples of a frame, and from one frame to the next.
LENGTH, SHIFT = 400, 160
#: Share of scenes in which nobody speaks.
NOBODY = 0.15


class Speech(NamedTuple):
    """Clean recordings and their probability of speech every 10 ms."""

    waves: Sequence[Wave]
    labels: Sequence[Wave]


class Tracks(NamedTuple):
    """Voices, background and floor of shape (n, samples), in half precision; truths (n, frames).

    Speech has a root mean square of 1 while it lasts, the others have one of 1.
    """

    voices: NDArray[np.float16]
    truths: NDArray[np.float16]
    backgrounds: NDArray[np.float16]
    floors: NDArray[np.float16]


def make_tracks(n: int, seconds: float, speech: Speech, rng: np.random.Generator) -> Tracks:
    """Tracks of n scenes.

    Parameters
    ----------
    n : int
    seconds : float
        Of each scene.
    speech : Speech
    rng : Generator

    Returns
    -------
    Tracks
    """
    size = int(seconds * sounds.RATE)
    rows = [
        (*_voices(size, speech, rng), _background(size, speech, rng), _floor(size, speech, rng))
        for _ in range(n)
    ]
    return Tracks(*(np.stack(column).astype(np.float16) for column in zip(*rows, strict=True)))


def _voices(n: int, speech: Speech, rng: np.random.Generator) -> tuple[Wave, Wave]:
    scene = np.zeros(n, np.float32)
    truth = np.zeros(1 + (n - LENGTH) // SHIFT, np.float32)
    if rng.random() >= NOBODY:
        start = -int(rng.uniform(-3, 5) * sounds.RATE)
        pauses = rng.choice([0.15, 0.6, 1.5, 4.0])
        together = rng.choice([0.05, 0.4])  # in some conversations people interrupt
        far = rng.random() < 0.5  # all voices in one room, or each in its own
        while start < n:
            start = _place(scene, truth, start, speech, far, rng)
            pause = -0.7 if rng.random() < together else min(rng.exponential(pauses), 10.0)
            start += int(pause * sounds.RATE)
    loud = sounds.loudness(scene) / np.sqrt(max(float(truth.mean()), 0.05))
    if loud < 1e-3:  # no voice, or only the end of one
        return np.zeros_like(scene), np.zeros_like(truth)
    return scene / np.float32(loud), truth


def _place(
    scene: Wave, truth: Wave, start: int, speech: Speech, far: bool, rng: np.random.Generator
) -> int:
    """Put an excerpt of a random speaker into a scene; returns its end."""
    speaker = rng.integers(len(speech.waves))
    wave, labels = speech.waves[speaker], speech.labels[speaker]
    speed = float(np.exp(rng.uniform(np.log(0.8), np.log(1.3)))) if rng.random() < 0.5 else 1.0
    length = min(int(rng.uniform(0.4, 7.0) * sounds.RATE * speed), len(wave))
    begin = rng.integers(0, len(wave) - length + 1)
    voice = sounds.change_speed(wave[begin : begin + length], speed)
    voice = voice * np.float32(10 ** (rng.normal(0, 5) / 20) / sounds.loudness(wave))
    if far or rng.random() < 0.2:
        voice = sounds.reverberate(voice, rng)
    first, end = max(start, 0), min(start + len(voice), len(scene))
    if end <= first:
        return start + len(voice)
    scene[first:end] += voice[first - start : end - start]
    centres = np.arange(len(truth)) * SHIFT + LENGTH / 2
    inside = (centres >= first) & (centres < end)
    instants = (begin + (centres[inside] - start) * speed) / SHIFT - 0.5
    found = np.interp(instants, np.arange(len(labels)), labels)
    truth[inside] = np.maximum(truth[inside], found)
    return start + len(voice)


def _pauses_of(wave: Wave, labels: Wave) -> list[Wave]:
    """Pauses of a recording, of 0.2 s or more."""
    edges = np.flatnonzero(np.diff(labels < 0.1, prepend=False, append=False)).reshape(-1, 2)
    return [wave[a * SHIFT : b * SHIFT] for a, b in edges if b - a >= 20]


def _room_tone(n: int, speech: Speech, rng: np.random.Generator) -> Wave:
    """Background of one recording, breath included, repeated to n samples."""
    speaker = rng.integers(len(speech.waves))
    pauses = _pauses_of(speech.waves[speaker], speech.labels[speaker])
    if sum(map(len, pauses)) < sounds.RATE // 2:
        return sounds.coloured_noise(n, rng)
    tone, position = np.zeros(n, np.float32), 0
    while position < n:
        pause = pauses[rng.integers(len(pauses))]
        fade = np.minimum(1, np.minimum(np.arange(len(pause)), np.arange(len(pause))[::-1]) / 320)
        end = min(position + len(pause), n)
        tone[position:end] += (pause * fade)[: end - position]
        position += len(pause) - 320  # the ends overlap
    return tone


def _floor(n: int, speech: Speech, rng: np.random.Generator) -> Wave:
    steady = rng.random() < 0.5
    floor = sounds.coloured_noise(n, rng) if steady else _room_tone(n, speech, rng)
    return floor / np.float32(sounds.loudness(floor))


def _one_noise(n: int, speech: Speech, rng: np.random.Generator) -> Wave:
    """One kind of noise, of root mean square 1."""
    kind = rng.random()
    if kind < 0.4:
        return sounds.interference(n, rng, [])
    if kind < 0.55:
        return nonspeech(n, rng)
    if kind < 0.65:
        noise = sounds.babble(n, rng, speech.waves)
    else:
        noise = sounds.rustle(n, rng) if kind < 0.85 else _room_tone(n, speech, rng)
    return noise / np.float32(sounds.loudness(noise))


def _events(n: int, speech: Speech, rng: np.random.Generator) -> Wave:
    """Sounds with the rhythm of words, of root mean square about 1 while they last."""
    out = np.zeros(n, np.float32)
    for _ in range(1 + rng.poisson(n / sounds.RATE * rng.uniform(0.1, 1.2))):
        length = min(int(sounds.RATE * np.exp(rng.normal(-0.7, 0.8))) + 800, n)
        sound = _one_noise(length, speech, rng)
        rise = rng.uniform(0.02, 0.9)  # where in it the sound is loudest
        place = np.linspace(0, 1, length)
        swell = np.minimum(place / rise, (1 - place) / (1 - rise))
        sound *= (swell ** rng.uniform(0.3, 2) * 10 ** (rng.normal(0, 5) / 20)).astype(np.float32)
        start = rng.integers(0, n - length + 1)
        out[start : start + length] += sound
    return out


def _background(n: int, speech: Speech, rng: np.random.Generator) -> Wave:
    """All but the voices, lasting or not, in the same kinds of rooms."""
    noise = _events(n, speech, rng)
    if rng.random() < 0.5:
        lasting = _one_noise(n, speech, rng)
        noise = lasting if rng.random() < 0.6 else noise + rng.uniform(0.1, 1) * lasting
    if rng.random() < 0.6:
        noise = sounds.reverberate(noise, rng)
    if rng.random() < 0.3:  # something sets in or stops
        edge = rng.integers(0, n)
        noise[slice(edge) if rng.random() < 0.5 else slice(edge, None)] *= 0.03
    return noise.clip(-100, 100).astype(np.float32)
