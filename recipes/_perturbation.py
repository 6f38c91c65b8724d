"""Chunks of perturbed speech as log-mel frames, a batch at a time on one device.

Speech is played faster and slower, in rooms, through microphones, codecs and telephones, between
silence, under noises and voices, at all loudnesses. Everything is drawn from the numbers of a seed
and of a step, so that a batch can be made again without those before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional as F

from recipes.sounds import RATE
from sklearn_speechsent import MelFilterBank

SLOWEST, FASTEST = 0.75, 1.35
#: Samples of a recording on either side of a position that its value is interpolated from.
TAPS = 12
#: Voices in babble, at most; a single one is a competing speaker.
VOICES = 7
#: Seconds of a room's response.
ROOM = 0.5


class Draws:
    """Random numbers of a batch of ``n`` rows, the same for the same seed and step.

    Parameters
    ----------
    seed, step, n : int
    device : str or torch.device
    """

    def __init__(self, seed: int, step: int, n: int, device: str | torch.device) -> None:
        self.n, self.device = n, torch.device(device)
        number = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
        self.generator = torch.Generator(self.device).manual_seed(number)

    def uniform(self, low: float, high: float, n_columns: int = 1) -> Tensor:
        """Numbers between two, of shape (n, n_columns)."""
        drawn = torch.rand(self.n, n_columns, generator=self.generator, device=self.device)
        return low + (high - low) * drawn

    def scale(self, low: float, high: float) -> Tensor:
        """Numbers between two, even on a logarithmic axis, of shape (n, 1)."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def normal(self, n_columns: int = 1) -> Tensor:
        """Normal numbers of shape (n, n_columns)."""
        return torch.randn(self.n, n_columns, generator=self.generator, device=self.device)

    def chance(self, probability: float) -> Tensor:
        """True with a probability, of shape (n, 1)."""
        return self.uniform(0, 1) < probability

    def below(self, end: int) -> Tensor:
        """Whole numbers from 0 to ``end - 1``, of shape (n, 1)."""
        return torch.randint(end, (self.n, 1), generator=self.generator, device=self.device)


def decibels(level: Tensor) -> Tensor:
    """Factor of an amplitude."""
    return 10 ** (level / 20)


def levelled(waves: Tensor) -> Tensor:
    """Waves of root mean square 1; silence stays silent."""
    return waves / (waves.square().mean(dim=1, keepdim=True) + 1e-12).sqrt()


def played(recordings: Tensor, first: Tensor, speed: Tensor, n: int) -> Tensor:
    """Parts of recordings, faster or slower, by band-limited interpolation.

    Parameters
    ----------
    recordings : Tensor of shape (n_samples,)
        One after the other.
    first : Tensor of shape (B, 1), int64
        Sample that each part starts at. `TAPS` samples before it are read, too.
    speed : Tensor of shape (B, 1)
        Pitch moves with it.
    n : int
        Samples of a part.

    Returns
    -------
    Tensor of shape (B, n)
    """
    position = torch.arange(n, device=speed.device) * speed.double()
    whole = position.floor()
    fraction, index = (position - whole).float(), first.int() + whole.int()
    edge = 1 / speed.clamp(min=1.0)  # nothing above the new Nyquist frequency
    out = torch.zeros_like(fraction)
    for tap in range(1 - TAPS, TAPS + 1):
        distance = fraction - tap
        window = torch.cos(distance * (math.pi / 2 / TAPS)).square()
        out += recordings[index + tap] * torch.sinc(edge * distance) * window
    return out * edge


def bumps(draws: Draws, frequencies: Tensor, n: int, deviation: float) -> Tensor:
    """Gains with resonances and notches at random frequencies, of shape (B, n_frequencies)."""
    level = torch.zeros(draws.n, len(frequencies), device=draws.device)
    for _ in range(n):
        centre, width = draws.scale(100, 7000).log(), draws.uniform(0.1, 1.0)
        bump = (-(frequencies.log() - centre).square() / width).exp()
        level += deviation * draws.normal() * bump
    return decibels(level)


def coloured_noise(draws: Draws, n: int) -> Tensor:
    """Noise between white and brown with a resonance or a notch; some of it rises and falls."""
    frequencies = torch.fft.rfftfreq(n, 1 / RATE, device=draws.device).clamp(min=20.0)
    shape = frequencies ** (-draws.uniform(0, 2) / 2) * bumps(draws, frequencies, 1, 10.0)
    spectrum = torch.complex(draws.normal(len(frequencies)), draws.normal(len(frequencies)))
    noise = torch.fft.irfft(spectrum * shape, n)
    knots = draws.normal(2 + 8 * n // RATE) * draws.uniform(0, 2) * draws.chance(0.5)
    envelope = F.interpolate(knots[:, None], n, mode="linear", align_corners=True)[:, 0].exp()
    return levelled(noise * envelope)


def room(draws: Draws, n_fft: int) -> Tensor:
    """Spectra of the responses of rooms: direct sound, a few early reflections, a decaying tail."""
    seconds = torch.arange(int(ROOM * RATE), device=draws.device) / RATE
    tail = draws.normal(len(seconds)) * (-6.9 * seconds / draws.uniform(0.15, 0.9)).exp()
    tail *= seconds > draws.uniform(0.002, 0.02)
    tail /= tail.square().sum(dim=1, keepdim=True).sqrt()
    early = (draws.uniform(0, 1, len(seconds)) < 0.01) & (seconds > 0.001) & (seconds < 0.04)
    tail += early * draws.uniform(-0.5, 0.5, len(seconds))
    turn = torch.fft.rfftfreq(n_fft, device=draws.device) * (2 * math.pi)
    soft = draws.uniform(0, 0.7)  # walls take away high frequencies
    wall = (1 - soft) / (1 - soft * torch.polar(torch.ones_like(turn), -turn))
    return 1 + decibels(draws.uniform(-12, 6)) * torch.fft.rfft(tail, n_fft) * wall


def channel(draws: Draws, n_fft: int) -> tuple[Tensor, Tensor]:
    """Gains of microphones, codecs and telephones, and which rows, (B, 1), are telephones."""
    f = torch.fft.rfftfreq(n_fft, 1 / RATE, device=draws.device).clamp(min=1.0)
    telephone = draws.chance(0.25)
    low = torch.where(telephone, draws.uniform(150, 350), draws.scale(20, 200))
    high = torch.where(draws.chance(0.5), draws.uniform(3400, 7500), 1e6)
    high = torch.where(telephone, 3400.0, high)
    band = (1 + (low / f) ** 4).rsqrt() * (1 + (f / high) ** 16).rsqrt()
    return band * bumps(draws, f, 2, 4.0), telephone


def squeezed(waves: Tensor) -> Tensor:
    """Waves in 8 bits after mu-law."""
    peak = waves.abs().amax(dim=1, keepdim=True) + 1e-9
    steps = (waves / peak).abs().mul(255).log1p() * (127 / math.log(256))
    return waves.sign() * peak * (steps.round() * (math.log(256) / 127)).expm1() / 255


def babble(draws: Draws, waves: Tensor) -> Tensor:
    """Voices of other rows of a batch: one, two or too many to follow any."""
    count = draws.below(VOICES) + 1
    out = torch.zeros_like(waves)
    for voice in range(VOICES):
        other = waves[draws.below(len(waves))[:, 0]].roll((voice + 1) * waves.shape[1] // 9, 1)
        out += other * (voice < count)
    return levelled(out)


def perturbed(draws: Draws, waves: Tensor, noises: Tensor) -> Tensor:
    """Voices as recorded in rooms and channels and under noises.

    Parameters
    ----------
    draws : Draws
    waves : Tensor of shape (B, n)
    noises : Tensor of shape (n_noises, n_samples)
        Recordings of noise to take parts from, of root mean square 1.

    Returns
    -------
    Tensor of shape (B, n)
        In 16-bit steps between -1 and 1.
    """
    n, device = waves.shape[1], waves.device
    voices = levelled(waves)
    n_fft = next_fast_len(n + int(ROOM * RATE), real=True)
    gains, telephone = channel(draws, n_fft)
    passes = draws.chance(0.35)
    response = torch.where(draws.chance(0.3), room(draws, n_fft), 1.0)
    waves = torch.fft.irfft(torch.fft.rfft(voices, n_fft) * response, n_fft)[:, :n]
    waves = levelled(waves)

    time = torch.arange(n, device=device) / n
    begin, length = draws.uniform(0, 0.5), draws.uniform(0.3, 0.9)
    pauses = draws.chance(0.25)  # recordings have silence around the speech
    waves = waves * (~pauses | ((time >= begin) & (time < begin + length)))
    steady = coloured_noise(draws, n)
    quiet = pauses | draws.chance(0.3)
    waves = waves + quiet * decibels(draws.uniform(-75, -35)) * steady

    clip, shift = draws.below(len(noises)), draws.below(noises.shape[1])
    part = noises[clip, (shift + torch.arange(n, device=device)) % noises.shape[1]]
    kinds = torch.stack([coloured_noise(draws, n), levelled(part), babble(draws, voices)], dim=1)
    kind = torch.arange(3, device=device)
    more = (kind == draws.below(3)) * draws.uniform(0.2, 0.8) * draws.chance(0.3)
    shares = (kind == draws.below(3)) + more
    noise = levelled((shares[:, :, None] * kinds).sum(dim=1))
    waves = waves + draws.chance(0.45) * decibels(-draws.uniform(0, 30)) * noise

    filtered = torch.fft.irfft(torch.fft.rfft(waves, n_fft) * gains, n_fft)[:, :n]
    filtered = torch.where(telephone, squeezed(filtered), filtered)
    waves = levelled(torch.where(passes, filtered, waves))
    steps = waves * decibels(draws.uniform(-60, -12)) * 32768 + draws.uniform(-0.5, 0.5, n)
    return steps.round().clamp(-32768, 32767) / 32768


class LogMel:
    """Log-mel frames of `MelFilterBank` less their mean, of whole batches on a device."""

    def __init__(self, device: str | torch.device) -> None:
        self.design = MelFilterBank().design()
        self.window = torch.tensor(self.design.window, dtype=torch.float32, device=device)
        self.banks = torch.tensor(self.design.banks.T, device=device)

    def __call__(self, waves: Tensor) -> Tensor:
        """Frames of shape (B, time, mel) of waves of shape (B, n)."""
        frames = waves.unfold(1, *self.design.frame)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[:, :, :1], frames[:, :, :-1]], dim=2)
        frames = (frames - self.design.preemphasis * before) * self.window
        spectrum = torch.fft.rfft(frames, self.design.n_fft)
        energies = (spectrum.real.square() + spectrum.imag.square()) @ self.banks
        logs = energies.clamp(min=self.design.floor).log()
        return logs - logs.mean(dim=1, keepdim=True)


class Chunks:
    """Batches of chunks of speech.

    Parameters
    ----------
    recordings : sequence of ndarray of shape (n_samples,)
        Of one speaker each.
    noises : sequence of ndarray of shape (n_samples,)
        Of one length.
    device : str or torch.device
    longest : float
        Seconds of a chunk at most.
    """

    def __init__(
        self,
        recordings: Sequence[NDArray[np.float32]],
        noises: Sequence[NDArray[np.float32]],
        device: str | torch.device,
        longest: float,
    ) -> None:
        least = int(longest * RATE * FASTEST) + 2 * TAPS + 2
        waves = [np.resize(wave, max(len(wave), least)) for wave in recordings]
        lengths = torch.tensor([len(wave) for wave in waves], device=device)
        self.lengths, self.starts = lengths, lengths.cumsum(0) - lengths
        self.speech = torch.from_numpy(np.concatenate(waves)).to(device)
        self.noises = levelled(torch.from_numpy(np.stack(noises)).to(device))
        self.log_mel, self.device = LogMel(device), device

    @torch.no_grad()
    def __call__(
        self, seed: int, step: int, n: int, seconds: float, *, clean: bool = False
    ) -> Tensor:
        """Make a batch.

        Parameters
        ----------
        seed, step : int
            Of the random numbers.
        n : int
            Chunks.
        seconds : float
        clean : bool, default=False
            Whether to take the speech as it is, apart from its speed.

        Returns
        -------
        Tensor of shape (n, time, mel)
        """
        draws, samples = Draws(seed, step, n, self.device), int(seconds * RATE)
        speaker = draws.below(len(self.lengths))
        speed = torch.where(draws.chance(0.75), draws.scale(SLOWEST, FASTEST), 1.0)
        room_left = self.lengths[speaker] - (samples * speed).long() - 2 * TAPS - 1
        first = self.starts[speaker] + TAPS + (draws.uniform(0, 1).double() * room_left).long()
        waves = played(self.speech, first, speed, samples)
        return self.log_mel(waves if clean else perturbed(draws, waves, self.noises))
