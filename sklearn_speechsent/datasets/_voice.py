"""Made-up speakers, and how they say something with a given feeling."""

from dataclasses import dataclass

import numpy as np
import scipy.signal

from sklearn_speechsent.datasets._articulation import articulate
from sklearn_speechsent.datasets._source_filter import Phonation, synthesise

# Cue: (mean, spread between speakers, effect of the feeling, effect of its strength whatever its
# sign, spread between the utterances of a speaker). The feeling runs from -1 to 1.
CUES = {
    "pitch": (0.0, 0.0, 2.0, 1.0, 1.3),  # semitones above the speaker's own pitch
    "range": (4.0, 1.0, 1.2, 1.5, 0.8),  # semitones between low and high syllables
    "final": (-1.5, 1.0, 3.0, 0.0, 1.8),  # semitones of the movement that ends a phrase
    "loudness": (-28.0, 3.0, 2.0, 2.0, 1.5),  # dB below full scale while speaking
    "rate": (4.6, 0.5, 0.4, 0.2, 0.35),  # syllables per second
    "tilt": (0.5, 0.8, -3.5, -0.5, 0.7),  # dB per octave
    "breathiness": (0.08, 0.03, -0.03, 0.0, 0.015),
}


@dataclass(frozen=True)
class Speaker:
    """The traits that a speaker keeps from one utterance to the next.

    Parameters
    ----------
    pitch : float
        Own fundamental frequency in Hz.
    tract : float
        Formants relative to those of an adult male.
    offsets : dict
        The speaker's own mean of each prosodic cue.
    expression : float
        How strongly the cues follow the feeling; 1 is usual.
    open_quotient, jitter, shimmer : float
        Voice quality, see :class:`Phonation`.
    snr : float
        Usual distance of speech to background noise in dB.
    noise_colour : float
        Pole of the background noise: 0 is white, towards 1 it is dull.
    """

    pitch: float
    tract: float
    offsets: dict[str, float]
    expression: float
    open_quotient: float
    jitter: float
    shimmer: float
    snr: float
    noise_colour: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Speaker":
        """Make up a speaker; small tracts go with high voices."""
        size = rng.uniform()
        return cls(
            pitch=float(95 * (230 / 95) ** size * 2 ** rng.normal(0, 1 / 12)),
            tract=float(1 + 0.17 * size + rng.normal(0, 0.02)),
            offsets={
                cue: mean + between * _bounded(rng) for cue, (mean, between, *_) in CUES.items()
            },
            expression=rng.uniform(0.7, 1.4),
            open_quotient=rng.uniform(0.5, 0.75),
            jitter=rng.uniform(0.004, 0.012),
            shimmer=rng.uniform(0.03, 0.1),
            snr=rng.uniform(18, 38),
            noise_colour=rng.uniform(0.3, 0.95),
        )

    def mood(self, feeling: float, rng: np.random.Generator) -> dict[str, float]:
        """Prosodic cues of one utterance said with this feeling, -1 ... 1."""
        return {
            cue: self.offsets[cue]
            + self.expression * (signed * feeling + unsigned * (abs(feeling) - 0.5))
            + within * _bounded(rng)
            for cue, (_, _, signed, unsigned, within) in CUES.items()
        }


def speak(
    speaker: Speaker, feeling: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Let a speaker say something meaningless.

    Parameters
    ----------
    speaker : Speaker
        Who speaks.
    feeling : float
        -1 (very negative) ... 1 (very positive).
    sample_rate : int
        Hz.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    ndarray of shape (n_samples,)
        Waveform between -0.95 and 0.95, about 1.5 to 3.5 s.
    """
    mood = speaker.mood(feeling, rng)
    articulation = articulate(mood, speaker.pitch, speaker.tract, rng)
    phonation = Phonation(
        open_quotient=speaker.open_quotient,
        jitter=speaker.jitter,
        shimmer=speaker.shimmer,
        breathiness=max(mood["breathiness"], 0.01),
        tilt=mood["tilt"],
        fixed_formants=tuple(
            np.arange(4500 * speaker.tract, sample_rate / 2 + 1000, 1000 * speaker.tract).tolist()
        ),
    )
    speech = synthesise(articulation, phonation, sample_rate, rng)
    voicing = np.repeat(articulation.voicing, len(speech) // len(articulation.voicing))
    level = 10 ** (mood["loudness"] / 20)
    speech *= level / np.sqrt(np.mean(speech[voicing > 0.5 * voicing.max()] ** 2))

    noise = scipy.signal.lfilter(
        [1.0], [1.0, -speaker.noise_colour], rng.standard_normal(len(speech))
    )
    noise *= level / np.std(noise) * 10 ** (-(speaker.snr + rng.normal(0, 3)) / 20)
    recording = speech + noise
    return recording * min(1.0, 0.95 / np.abs(recording).max())


def _bounded(rng: np.random.Generator) -> float:
    """Draw a normal deviate without outliers."""
    return float(np.clip(rng.standard_normal(), -2, 2))
