"""Source-filter synthesis: glottal pulses and noise through resonances that move in time.

Everything is computed for whole utterances at once: the sources per sample, the filters per frame
in the frequency domain, joined by overlap-add.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal

HOP = 0.005  # s between frames
OVERLAP = 4  # hops per analysis window
ROOM = 5  # further hops for the filters to ring out


@dataclass(frozen=True)
class Articulation:
    """What the voice does in each frame of 5 ms; all arrays have ``n_frames`` rows.

    Parameters
    ----------
    pitch : ndarray of shape (n_frames,)
        Fundamental frequency in Hz, also defined where nothing is voiced.
    formants : ndarray of shape (n_frames, n_formants)
        Resonances that move, in Hz.
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
    """How the larynx and the vocal tract are set for one utterance.

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
        Upper resonances that do not move, in Hz.
    """

    open_quotient: float
    jitter: float
    shimmer: float
    breathiness: float
    tilt: float
    fixed_formants: tuple[float, ...]


def glottal_source(
    pitch: np.ndarray, phonation: Phonation, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Make the derivative of the glottal flow, KLGLOTT88 pulses with aspiration noise.

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
    """Speak.

    Parameters
    ----------
    articulation : Articulation
        What the voice does in each frame.
    phonation : Phonation
        How larynx and vocal tract are set.
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
    # Those that do not move come first: as long as all frames are alike, one row does.
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
