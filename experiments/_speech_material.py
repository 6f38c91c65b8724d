"""Recordings with a reference of where there is speech, clean and under noise.

In recordings of clean speech the reference is found by energy. Pauses of less than half a second
count as speech, as in references that people make. The quarter of a second around speech that
detectors add on purpose (their hangover) is not scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray
from scipy import ndimage

from sklearn_speechsent.datasets import get_data_home

RATE, STEP = 16000, 160
Wave = NDArray[np.float32]
Mask = NDArray[np.bool_]
#: Conditions of the mixtures: kind of noise, and its signal-to-noise ratio (dB).
NOISES = [
    ("quiet room", 50),
    *((k, d) for k in ("pink", "white", "babble") for d in (20, 10, 5, 0)),
]
#: Steps of a pause that counts as speech, and around speech that are not scored.
_PAUSE, _COLLAR = 50, 25


class Material(NamedTuple):
    """Recordings, and for the middle of every 10 ms whether there is speech and it is scored."""

    name: str
    waves: list[Wave]
    spoken: list[Mask]
    scored: list[Mask]


def rasterise(starts: Sequence[float], ends: Sequence[float], n_samples: int) -> Mask:
    """Steps of 10 ms whose middle lies in one of the segments (s)."""
    middles = (np.arange(n_samples // STEP) + 0.5) * STEP / RATE
    inside = np.zeros(len(middles), bool)
    for start, end in zip(starts, ends, strict=True):
        inside |= (middles >= start) & (middles < end)
    return inside


def by_energy(wave: Wave) -> Mask:
    """Steps with speech in a clean recording: near its loudest ones, and above its floor."""
    steps = wave[: len(wave) // STEP * STEP].reshape(-1, STEP)
    power = ndimage.uniform_filter1d(np.square(steps).mean(1, dtype=float), 3) + 1e-12
    decibels = 10 * np.log10(power)
    floor, top = np.percentile(decibels, [5, 95])
    loud = decibels > min(top - 12, max(top - 30, floor + 8))
    loud = ndimage.binary_opening(loud, np.ones(5))  # clicks
    padded = np.pad(loud, _PAUSE)
    return ndimage.binary_closing(padded, np.ones(_PAUSE))[_PAUSE:-_PAUSE]


def without_collar(spoken: Mask) -> Mask:
    """Steps that are scored: not those that a hangover adds."""
    return spoken | ~ndimage.binary_dilation(spoken, np.ones(2 * _COLLAR + 1))


def pink(n: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Pink noise."""
    frequencies = np.fft.rfftfreq(n, 1 / RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, 20.0)), n)


def with_noise(
    wave: Wave,
    spoken: Mask,
    kind: str,
    decibels: float,
    rng: np.random.Generator,
    voices: Sequence[Wave] = (),
) -> Wave:
    """Add noise at a ratio to the speech while there is speech; babble is of eight voices."""
    n = len(wave)
    if kind == "babble":
        chosen = rng.choice(len(voices), 8, replace=False)
        parts = [np.resize(np.roll(voices[i], rng.integers(n)), n) for i in chosen]
        noise = sum(part / part.std() for part in parts)
    else:
        noise = rng.standard_normal(n) if kind == "white" else pink(n, rng)
    speech = wave[: len(spoken) * STEP][np.repeat(spoken, STEP)]
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-decibels / 20)
    return (wave + gain * noise).astype(np.float32)


def at_level(wave: Wave, decibels: float) -> Wave:
    """The recording at a level (dBFS), clipped at full scale."""
    gain = 10 ** (decibels / 20) / wave.std()
    return (wave * np.float32(gain)).clip(-1, 1)  # a gain in double precision makes all double


def _files(pattern: str) -> list[str]:
    files = sorted(map(str, get_data_home().glob(pattern)))
    if not files:
        raise SystemExit(f"There are no {get_data_home() / pattern}: set SPEECHSENT_DATA.")
    return files


def read(file: str) -> Wave:
    """Samples of a file."""
    return soundfile.read(file, dtype="float32")[0]


def meetings(skip: Sequence[str] = ()) -> tuple[list[str], Iterator[Material]]:
    """Far-field clips of AMI as recorded, and under pink noise as strong as their speech."""
    folder = get_data_home() / "ami_excerpts"
    files = [file for file in _files("ami_excerpts/*.flac") if file[:-5].split("/")[-1] not in skip]
    spans = pd.read_csv(
        folder / "reference.rttm", sep=" ", header=None, usecols=[1, 3, 4], names=range(10)
    )
    spans.columns = ["recording", "start", "seconds"]
    waves = [read(file) for file in files]
    spoken = []
    for file, wave in zip(files, waves, strict=True):
        mine = spans[spans["recording"] == file[:-5].split("/")[-1]]
        spoken.append(rasterise(mine["start"], mine["start"] + mine["seconds"], len(wave)))
    scored = [np.ones_like(mask) for mask in spoken]

    def conditions() -> Iterator[Material]:
        yield Material("AMI, as recorded", waves, spoken, scored)
        pairs = enumerate(zip(waves, spoken, strict=True))
        noisy = [with_noise(*pair, "pink", 0, np.random.default_rng(i)) for i, pair in pairs]
        yield Material("AMI, pink noise, 0 dB", noisy, spoken, scored)

    return files, conditions()


def mixtures(part: str, every: int, limit: int, noises: Sequence = NOISES) -> Iterator[Material]:
    """Utterances of LibriSpeech between pauses of 0 to 10 s, at levels from -50 to -15 dBFS.

    Parameters
    ----------
    part : str
        Folder of the corpus.
    every, limit : int
        Which of its recordings: every so many, and how many.
    noises : sequence of (str, float)
        Kinds and signal-to-noise ratios.
    """
    voices = [read(file) for file in _files(f"librispeech_excerpts/{part}/**/*.flac")]
    utterances = voices[::every][:limit]
    rng = np.random.default_rng(0)
    waves, spoken = [], []
    for first in range(0, len(utterances), 3):  # three speakers a recording
        parts, masks = [], []
        for utterance in utterances[first : first + 3]:
            utterance = utterance[: len(utterance) // STEP * STEP]
            pause = np.zeros(int(rng.uniform(0, 10) * 100) * STEP, np.float32)
            parts += [pause, utterance / np.abs(utterance).max()]
            masks += [np.zeros(len(pause) // STEP, bool), by_energy(utterance)]
        waves.append(np.concatenate(parts))
        spoken.append(np.concatenate(masks))
    scored = [without_collar(mask) for mask in spoken]
    for kind, decibels in noises:
        rng = np.random.default_rng([1, int(decibels), len(kind)])
        noisy = [
            with_noise(wave, mask, kind, decibels, rng, voices)
            for wave, mask in zip(waves, spoken, strict=True)
        ]
        levels = rng.uniform(-50, -15, len(noisy))
        noisy = [at_level(wave, level) for wave, level in zip(noisy, levels, strict=True)]
        name = kind if kind == "quiet room" else f"{kind} noise, {decibels} dB"
        yield Material(f"LibriSpeech {part}, {name}", noisy, spoken, scored)


def acted(every: int = 30) -> Iterator[Material]:
    """Sentences of RAVDESS between their silences, as recorded and under pink noise."""
    waves = [read(file) for file in _files("ravdess/*/*.flac")[::every]]
    spoken = [by_energy(wave) for wave in waves]
    scored = [without_collar(mask) for mask in spoken]
    yield Material("RAVDESS, as recorded", waves, spoken, scored)
    for decibels in (10, 0):
        rng = np.random.default_rng(decibels)
        pairs = zip(waves, spoken, strict=True)
        noisy = [with_noise(*pair, "pink", decibels, rng) for pair in pairs]
        yield Material(f"RAVDESS, pink noise, {decibels} dB", noisy, spoken, scored)
