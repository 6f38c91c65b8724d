"""What tongue, lips and larynx do to say random syllables: sounds, pauses and melody."""

import numpy as np
import scipy.ndimage

from sklearn_speechsent.datasets._source_filter import HOP, Articulation

# Seconds, F1, F2, F3, voicing, frication, noise centre, noise width (Hz), then semitones.
Segment = tuple[float, ...]
# First three formants in Hz of an adult male tract (Peterson and Barney, 1952, rounded).
VOWELS = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
)
# Each consonant is one or two segments, without their semitones.
CONSONANTS: dict[str, tuple[Segment, ...]] = {
    "m": ((0.07, 250, 1000, 2200, 0.30, 0, 1000, 1000),),
    "n": ((0.07, 250, 1600, 2600, 0.30, 0, 1000, 1000),),
    "l": ((0.06, 350, 1150, 2700, 0.50, 0, 1000, 1000),),
    "r": ((0.07, 350, 1200, 1700, 0.50, 0, 1000, 1000),),
    "w": ((0.06, 300, 700, 2300, 0.45, 0, 1000, 1000),),
    "j": ((0.06, 280, 2200, 3000, 0.45, 0, 1000, 1000),),
    "v": ((0.06, 250, 1000, 2200, 0.25, 0.036, 4500, 5000),),
    "z": ((0.07, 250, 1800, 2600, 0.20, 0.09, 5800, 2200),),
    "s": ((0.10, 300, 1800, 2600, 0, 0.24, 6000, 2200),),
    "sh": ((0.10, 300, 1900, 2500, 0, 0.27, 3300, 1500),),
    "f": ((0.09, 300, 1000, 2200, 0, 0.072, 4500, 6000),),
    "h": ((0.06, 500, 1500, 2500, 0, 0.09, 1500, 1800),),
    "b": (
        (0.05, 200, 900, 2200, 0.10, 0, 1000, 1000),
        (0.010, 300, 900, 2200, 0.3, 0.12, 900, 1200),
    ),
    "d": (
        (0.05, 200, 1800, 2600, 0.10, 0, 1000, 1000),
        (0.012, 300, 1800, 2600, 0.3, 0.15, 4200, 2500),
    ),
    "p": (
        (0.07, 300, 900, 2200, 0, 0, 1000, 1000),
        (0.03, 300, 900, 2200, 0, 0.12, 1000, 1500),
    ),
    "t": (
        (0.06, 300, 1800, 2600, 0, 0, 4500, 2500),
        (0.03, 300, 1800, 2600, 0, 0.24, 4500, 2500),
    ),
    "k": (
        (0.06, 300, 2000, 2400, 0, 0, 1900, 1000),
        (0.035, 300, 2000, 2400, 0, 0.24, 1900, 1000),
    ),
}
FOURTH_FORMANT = 3500
NEUTRAL_TRACT = (500, 1500, 2500)
NO_NOISE = (0, 1000, 1000)
# Formants, pitch and amplitudes glide with these standard deviations in seconds.
FORMANT_GLIDE, PITCH_GLIDE, AMPLITUDE_GLIDE = 0.018, 0.04, 0.007


def articulate(
    mood: dict[str, float], pitch: float, tract: float, rng: np.random.Generator
) -> Articulation:
    """Say one to three phrases of random syllables.

    Parameters
    ----------
    mood : dict
        The cues ``pitch``, ``range``, ``final`` in semitones and ``rate`` in syllables per second.
    pitch : float
        The speaker's own fundamental frequency in Hz.
    tract : float
        Formants relative to those of an adult male.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    Articulation
        Frames of 5 ms, about 1.5 to 3.5 s in all.
    """
    segments = np.array(_utterance(mood, rng), dtype=float)
    durations = np.maximum(1, np.rint(segments[:, 0] / HOP)).astype(int)
    tracks = np.repeat(segments[:, 1:], durations, axis=0)
    formants = _glide(tracks[:, :3], FORMANT_GLIDE)
    amplitudes = _glide(tracks[:, 3:5], AMPLITUDE_GLIDE)
    semitones = _glide(tracks[:, 7], PITCH_GLIDE)
    return Articulation(
        pitch=np.clip(pitch * 2 ** (semitones / 12), 60, 600),
        formants=tract * np.column_stack([formants, np.full(len(tracks), FOURTH_FORMANT)]),
        voicing=amplitudes[:, 0],
        frication=amplitudes[:, 1],
        noise_centre=tracks[:, 5],
        noise_width=tracks[:, 6],
    )


def _glide(track: np.ndarray, seconds: float) -> np.ndarray:
    return scipy.ndimage.gaussian_filter1d(track, seconds / HOP, axis=0, mode="nearest")


def _utterance(mood: dict[str, float], rng: np.random.Generator) -> list[Segment]:
    def silence(shortest: float, longest: float) -> Segment:
        return (rng.uniform(shortest, longest), *NEUTRAL_TRACT, 0, *NO_NOISE, mood["pitch"])

    n_syllables = max(4, round(rng.uniform(1.0, 2.3) * mood["rate"]))
    n_phrases = 1 + (n_syllables > 6) + (n_syllables > 9 and rng.uniform() < 0.5)
    segments = [silence(0.1, 0.35)]
    for phrase in np.array_split(np.arange(n_syllables), n_phrases):
        if phrase[0] > 0:
            segments.append(silence(0.12, 0.3))
        for place in np.linspace(0, 1, len(phrase)):
            segments += _syllable(mood, place, rng)
    segments.append(silence(0.1, 0.35))
    return segments


def _syllable(mood: dict[str, float], place: float, rng: np.random.Generator) -> list[Segment]:
    """One syllable at a place in its phrase, from 0 (first) to 1 (last)."""
    stress = rng.uniform() < 0.5
    # The voice sinks along a phrase, rises on stressed syllables, and ends with a movement.
    semitones = mood["pitch"] + mood["range"] * (0.15 + 0.5 * (stress - place))
    end = semitones + (mood["final"] if place == 1 else rng.normal(0, 0.3))
    effort = (1.0 if stress else 0.75) * (1 - 0.3 * place)

    consonants = list(CONSONANTS.values())
    onset = consonants[rng.integers(len(consonants))] if rng.uniform() < 0.9 else ()
    coda = consonants[rng.integers(len(consonants))] if rng.uniform() < 0.25 else ()
    tempo = 4.6 / mood["rate"]
    length = 1 / mood["rate"] - tempo * sum(segment[0] for segment in onset + coda)
    length = max(0.06, length) * rng.uniform(0.8, 1.2) * (1 + 0.2 * stress + 0.4 * (place == 1))
    first, second, third = np.array(VOWELS[rng.integers(len(VOWELS))]) * rng.normal(1, 0.04, 3)

    def consonant(parts: tuple[Segment, ...], tone: float) -> list[Segment]:
        return [
            (tempo * duration, *tract, voicing * effort, frication * effort, centre, width, tone)
            for duration, *tract, voicing, frication, centre, width in parts
        ]

    def vowel(tone: float) -> Segment:
        return (length / 2, first, second, third, effort, *NO_NOISE, tone)

    return [*consonant(onset, semitones), vowel(semitones), vowel(end), *consonant(coda, end)]
