"""Made-up speakers and their speech-like sounds: prosody, articulation, source-filter synthesis.

A speaker's cues follow the feeling; random syllables become tracks of formants and amplitudes, and
these become sound: glottal pulses and noise through resonances that move in time. The sources are
computed per sample, the filters per frame in the frequency domain, joined by overlap-add.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

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
HOP = 0.005  # s between frames
OVERLAP = 4  # hops per analysis window
ROOM = 5  # further hops for the filters to ring out


@dataclass(frozen=True)
class Speaker:
    """Traits of a speaker, the same in all utterances.

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
        """Draw a speaker at random; small tracts go with high voices."""
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
    """Waveform of a random utterance of a speaker.

    Parameters
    ----------
    speaker : Speaker
        Traits of the voice.
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
    rms = 10 ** (mood["loudness"] / 20)
    speech *= rms / np.sqrt(np.mean(speech[voicing > 0.5 * voicing.max()] ** 2))

    noise = scipy.signal.lfilter(
        [1.0], [1.0, -speaker.noise_colour], rng.standard_normal(len(speech))
    )
    noise *= rms / np.std(noise) * 10 ** (-(speaker.snr + rng.normal(0, 3)) / 20)
    recording = speech + noise
    return recording * min(1.0, 0.95 / np.abs(recording).max())


def _bounded(rng: np.random.Generator) -> float:
    """Draw a normal deviate without outliers."""
    return float(np.clip(rng.standard_normal(), -2, 2))


@dataclass(frozen=True)
class Articulation:
    """Tracks of one utterance in frames of 5 ms; all arrays have ``n_frames`` rows.

    Parameters
    ----------
    pitch : ndarray of shape (n_frames,)
        Fundamental frequency in Hz, also defined where nothing is voiced.
    formants : ndarray of shape (n_frames, n_formants)
        Moving resonances in Hz.
    voicing, frication : ndarray of shape (n_frames,)
        Amplitudes of the two sources, 0 ... 1.
    noise_centre, noise_width : ndarray of shape (n_frames,)
        Band of the frication noise in Hz.
    """

    pitch: np.ndarray
    formants: np.ndarray
    voicing: np.ndarray
    frication: np.ndarray
    noise_centre: np.ndarray
    noise_width: np.ndarray


@dataclass(frozen=True)
class Phonation:
    """Settings of larynx and vocal tract for one utterance.

    Parameters
    ----------
    open_quotient : float
        Share of the cycle in which the glottis is open.
    jitter, shimmer : float
        Standard deviations of the moments of the cycles, relative to the cycle, and of their
        amplitudes, relative to the mean.
    breathiness : float
        Amplitude of aspiration noise relative to the pulses.
    tilt : float
        Fall of the spectrum above 1 kHz beyond that of the pulses, in dB per octave.
    fixed_formants : tuple of float
        Upper resonances, which do not move, in Hz.
    """

    open_quotient: float
    jitter: float
    shimmer: float
    breathiness: float
    tilt: float
    fixed_formants: tuple[float, ...]


def articulate(
    mood: dict[str, float], pitch: float, tract: float, rng: np.random.Generator
) -> Articulation:
    """Tracks of one to three phrases of random syllables.

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
    # Pitch falls along a phrase, rises on stressed syllables, and moves at the end.
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


def glottal_source(
    pitch: np.ndarray, phonation: Phonation, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Derivative of the glottal flow: KLGLOTT88 pulses with aspiration noise.

    Parameters
    ----------
    pitch : ndarray of shape (n_samples,)
        Fundamental frequency of every sample in Hz.
    phonation : Phonation
        State of the larynx.
    sample_rate : int
        Hz.
    rng : Generator
        Source of jitter, shimmer and noise.

    Returns
    -------
    ndarray of shape (n_samples,)

    References
    ----------
    .. [1] D. H. Klatt and L. C. Klatt, "Analysis, synthesis, and perception of voice quality
       variations among female and male talkers", J. Acoust. Soc. Am. 87(2), 820-857, 1990.
    """
    phase = np.cumsum(pitch / sample_rate)
    cycles = np.arange(int(phase[-1]) + 3)
    phase += np.interp(phase, cycles, 0.5 + phonation.jitter * rng.standard_normal(len(cycles)))
    amplitudes = 1 + phonation.shimmer * rng.standard_normal(len(cycles))
    cycle = phase.astype(int)
    opening = (phase - cycle) / phonation.open_quotient
    is_open = opening < 1
    pulses = amplitudes[cycle] * np.where(is_open, opening * (2 - 3 * opening), 0.0)
    # The noise is strongest while air flows.
    noise = rng.standard_normal(len(pitch)) * np.where(is_open, 1.0, 0.3)
    return pulses + phonation.breathiness * noise


def synthesise(
    articulation: Articulation, phonation: Phonation, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Waveform of an articulation.

    Parameters
    ----------
    articulation : Articulation
        Tracks of the voice.
    phonation : Phonation
        Settings of larynx and vocal tract.
    sample_rate : int
        Hz.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    ndarray of shape (n_frames * hop,)
        Waveform of arbitrary scale; a hop has 5 ms.
    """
    hop = round(HOP * sample_rate)
    n_frames = len(articulation.pitch)
    seconds = np.arange(n_frames * hop) / sample_rate
    pitch = np.interp(seconds, (np.arange(n_frames) + 0.5) * HOP, articulation.pitch)
    voice = glottal_source(pitch, phonation, sample_rate, rng)
    hiss = rng.standard_normal(n_frames * hop)

    n_fft = (OVERLAP + ROOM) * hop
    bins = scipy.fft.rfftfreq(n_fft, 1 / sample_rate).astype(np.float32)
    spectra = np.zeros((n_frames, len(bins)), dtype=np.complex64)
    voiced = np.flatnonzero(articulation.voicing > 1e-4)
    spectra[voiced] = (
        _spectra(voice, voiced, hop)
        * _vocal_tract(bins, articulation.formants[voiced], phonation)
        * _column(articulation.voicing[voiced])
    )
    hissing = np.flatnonzero(articulation.frication > 1e-4)
    spectra[hissing] += (
        _spectra(hiss, hissing, hop)
        * _noise_band(bins, articulation.noise_centre[hissing], articulation.noise_width[hissing])
        * _column(articulation.frication[hissing])
    )
    return _overlap_add(spectra, hop)


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, np.newaxis]


def _spectra(signal: np.ndarray, frames: np.ndarray, hop: int) -> np.ndarray:
    """Complex spectra of the windows around the wanted frames."""
    length = OVERLAP * hop
    padded = np.pad(signal.astype(np.float32), length // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][frames]
    taper = scipy.signal.get_window("hann", length).astype(np.float32)
    return scipy.fft.rfft(windows * taper, n=(OVERLAP + ROOM) * hop)


def _antiresonance(bins: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Inverse of the transfer function of one resonance, 1 at 0 Hz."""
    relative = bins / centre
    return (1 - relative**2) + 1j * (relative * (width / centre))


def _vocal_tract(bins: np.ndarray, formants: np.ndarray, phonation: Phonation) -> np.ndarray:
    tilt = 10 ** (-phonation.tilt / 40 * np.log2(1 + (bins / 1000) ** 2))
    inverse = (1 / tilt).astype(np.complex64)[np.newaxis]
    # Fixed formants come first: as long as all frames are equal, one row is enough.
    for formant in (*np.array([phonation.fixed_formants]).T, *formants.T):
        centre = _column(formant)
        inverse = inverse * _antiresonance(bins, centre, _width(centre))
    return 1 / inverse


def _width(formant: np.ndarray) -> np.ndarray:
    """Bandwidth that goes with a formant, Hz."""
    return 40 + formant * np.float32(0.05)


def _noise_band(bins: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    centre, width = _column(centre), _column(width)
    return (bins * width / centre**2 / _antiresonance(bins, centre, width)) ** 2


def _overlap_add(spectra: np.ndarray, hop: int) -> np.ndarray:
    n_frames = len(spectra)
    hops = OVERLAP + ROOM
    blocks = scipy.fft.irfft(spectra, n=hops * hop).reshape(n_frames, hops, hop)
    total = np.zeros((n_frames + hops, hop))
    for shift in range(hops):
        total[shift : shift + n_frames] += blocks[:, shift]
    start = OVERLAP // 2
    return total[start : start + n_frames].ravel()
