"""Tracks of scenes mixed many times at once, on any device, into log-mel frames.

Numbers are drawn by NumPy, so that they are the same on all devices; only the samples of noise
come from the generator of the device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recipes._scenes import Tracks
from recipes.sounds import RATE
from sklearn_speechsent import MelFilterBank


class Noise(NamedTuple):
    """Signal-to-noise ratios (dB) that are drawn, and the share of mixtures that have the noise."""

    floor: tuple[float, float, float]
    background: tuple[float, float, float]
    steady: tuple[float, float, float]


#: Noise of all strengths, and that of rooms in which people talk.
ANY = Noise((15, 70, 1.0), (-3, 30, 0.6), (-5, 25, 0.45))
ROOMS = Noise((15, 45, 1.0), (3, 28, 0.7), (8, 28, 0.35))


class Mixer:
    """Mixes tracks and makes frames of them.

    Parameters
    ----------
    device : str
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._design = MelFilterBank().design()
        self._window = self._put(self._design.window)
        self._banks = self._put(self._design.banks.T)

    def _put(self, values: object) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32).to(self.device)

    def log_mel(self, waves: Tensor) -> Tensor:
        """Frames of shape (n, time, mel) of waves of shape (n, samples), as MelFilterBank's."""
        design = self._design
        x = waves.unfold(1, *design.frame)
        x = x - x.mean(2, keepdim=True)
        before = torch.cat([x[:, :, :1], x[:, :, :-1]], 2)
        x = torch.fft.rfft((x - design.preemphasis * before) * self._window, design.n_fft)
        power = torch.view_as_real(x).square().sum(-1)
        return (power @ self._banks).clamp_(min=design.floor).log_()

    def mix(self, tracks: Tracks, times: int, seed: list[int]) -> tuple[Tensor, Tensor]:
        """Mix each voice with other backgrounds and floors, at other levels, some times.

        Parameters
        ----------
        tracks : Tracks
            Of n scenes.
        times : int
        seed : list of int

        Returns
        -------
        frames : Tensor of shape (n * times, n_frames, n_mels)
        truths : Tensor of shape (n * times, n_frames)
            Speech that noise drowns does not count.
        """
        rng = np.random.default_rng(seed)
        waves, truths = self.waves(tracks, times, rng)
        frames = self.log_mel(waves)
        self._switch_off(frames, truths, rng)
        return frames, truths

    def waves(
        self, tracks: Tracks, times: int, rng: np.random.Generator, ratios: Noise = ANY
    ) -> tuple[Tensor, Tensor]:
        """Samples of the mixtures, see `mix`.

        Parameters
        ----------
        tracks : Tracks
        times : int
        rng : Generator
        ratios : Noise

        Returns
        -------
        waves : Tensor of shape (n * times, samples)
            As numbers of 16 bits, divided by full scale.
        truths : Tensor of shape (n * times, n_frames)
        """
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        voices, truths, backgrounds, floors = (
            torch.from_numpy(track).to(self.device).float() for track in tracks
        )
        n, size = voices.shape
        chosen = np.arange(n).repeat(times)
        other = np.concatenate([rng.permutation(n) for _ in range(times)])
        floor = np.concatenate([rng.permutation(n) for _ in range(times)])
        count = len(chosen)

        def gains(low: float, high: float, share: float = 1.0) -> Tensor:
            """Amplitudes of signal-to-noise ratios (dB), zero in all but a share of the rows."""
            drawn = 10 ** (-rng.uniform(low, high, count) / 20)
            return self._put(drawn * (rng.random(count) < share))[:, None]

        noise = floors[floor] * gains(*ratios.floor)
        noise += backgrounds[other] * gains(*ratios.background)
        noise += self._steady(count, size, rng, generator) * gains(*ratios.steady)
        heard, drowned = self.log_mel(voices)[chosen], self.log_mel(noise)
        # Within 3 dB of the noise in one of twenty bins, within a quarter of a second.
        clear = ((heard > drowned - 0.7).float().mean(2) > 0.05).float()
        truths = truths[chosen] * F.max_pool1d(clear[:, None], 51, 1, 25)[:, 0]
        waves = self._coloured(voices[chosen] + noise, rng)
        waves = waves / waves.square().mean(1, keepdim=True).add(1e-12).sqrt()
        waves *= 32768 * gains(10, 62)
        waves += torch.rand(waves.shape, device=self.device, generator=generator) - 0.5
        return waves.round_().clamp_(-32768, 32767) / 32768, truths

    def _steady(
        self, count: int, size: int, rng: np.random.Generator, generator: torch.Generator
    ) -> Tensor:
        """White, pink and other steady noise, of root mean square 1."""
        slope = rng.choice([0.0, 1.0, np.nan], count, p=[0.25, 0.35, 0.4])
        slope = np.where(np.isnan(slope), rng.uniform(0, 2, count), slope)
        frequencies = torch.fft.rfftfreq(size, 1 / RATE, device=self.device).clamp_(min=20.0)
        noise = torch.randn((count, size), device=self.device, generator=generator)
        spectra = torch.fft.rfft(noise) * frequencies ** (-0.5 * self._put(slope)[:, None])
        noise = torch.fft.irfft(spectra, size)
        return noise / noise.square().mean(1, keepdim=True).sqrt()

    def _coloured(self, waves: Tensor, rng: np.random.Generator) -> Tensor:
        """Pass some of the waves through a microphone, a codec or a telephone."""
        count, size = waves.shape
        kind = rng.choice(4, count, p=[0.6, 0.14, 0.13, 0.13])
        low = np.where(kind == 1, rng.uniform(30, 200, count), 1.0)
        low = np.where(kind == 3, rng.uniform(150, 350, count), low)
        high = np.where(kind == 2, rng.uniform(3400, 7500, count), 1e5)
        high = np.where(kind == 3, 3400.0, high)
        tilt = np.where(kind == 1, rng.uniform(-0.5, 0.5, count), 0.0)
        frequencies = torch.fft.rfftfreq(size, 1 / RATE, device=self.device).clamp_(min=1.0)
        below, above, slope = (self._put(values)[:, None] for values in (low, high, tilt))
        response = (frequencies / 1000) ** slope
        response = response / (1 + (below / frequencies) ** 4).sqrt()
        response = response / (1 + (frequencies / above) ** 16).sqrt()
        waves = torch.fft.irfft(torch.fft.rfft(waves) * response, size)
        peaks = waves.abs().amax(1, keepdim=True) + 1e-9  # 8 bits after mu-law
        squeezed = (waves / peaks * 255).abs().log1p() / math.log(256)
        squeezed = (squeezed * 127).round() / 127
        telephone = ((squeezed * math.log(256)).expm1() / 255) * waves.sign() * peaks
        return torch.where(self._put(kind == 3)[:, None] > 0, telephone, waves)

    def _switch_off(self, frames: Tensor, truths: Tensor, rng: np.random.Generator) -> None:
        """Digital silence in a part of a few scenes, in place."""
        for row in np.flatnonzero(rng.random(len(frames)) < 0.05):
            start, stop = np.sort(rng.integers(0, frames.shape[1], 2))
            frames[row, start:stop] = math.log(self._design.floor)
            truths[row, start:stop] = 0.0
