"""Batches of perturbed speech, and their log-mel frames."""

import numpy as np
import pytest
import torch

from recipes import _perturbation as perturbation
from recipes._perturbation import Chunks, Draws, LogMel
from sklearn_speechsent import MelFilterBank, SlidingCMN

RATE = 16000


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(n).astype("f") for n in (9000, 40000, 70001)]


@pytest.fixture(scope="module")
def noises():
    return [np.random.default_rng(i).standard_normal(3000).astype("f") for i in range(4)]


def rms(waves):
    return waves.square().mean(dim=-1).sqrt()


@pytest.mark.parametrize("decibels", [0, -30, -60])
def test_frames_of_a_batch_are_those_of_the_package(decibels):
    rng = np.random.default_rng(1)
    waves = 10 ** (decibels / 20) * rng.standard_normal((3, 8000)).astype("f")
    waves[1] = np.sin(np.arange(8000) / 7) * 10 ** (decibels / 20)
    waves = (waves * 32768).round() / 32768
    expected = SlidingCMN(window=None).fit_transform(MelFilterBank().fit_transform(list(waves)))
    found = LogMel("cpu")(torch.from_numpy(waves)).numpy()
    np.testing.assert_allclose(found.reshape(-1, 80), expected.base, atol=1e-3)


@pytest.mark.parametrize("speed", [0.75, 1.0, 1.21, 1.35])
def test_playing_moves_the_pitch_and_nothing_else(speed):
    recording = torch.sin(2 * np.pi * 1000 / RATE * torch.arange(60000, dtype=torch.float64))
    first, speeds = torch.tensor([[500], [20000]]), torch.tensor([[speed], [speed]])
    found = perturbation.played(recording.float(), first, speeds, 8000)
    time = first + speeds.double() * torch.arange(8000)
    torch.testing.assert_close(
        found.double(), torch.sin(2 * np.pi * 1000 / RATE * time), atol=2e-3, rtol=0
    )


def test_playing_faster_does_not_fold_high_frequencies_back():
    recording = torch.sin(2 * np.pi * 7500 / RATE * torch.arange(30000)).float()
    found = perturbation.played(recording, torch.tensor([[100]]), torch.tensor([[1.35]]), 8000)
    assert rms(found) < 0.05


def test_speech_at_its_own_speed_is_untouched(speech):
    recording = torch.from_numpy(speech[1])
    found = perturbation.played(recording, torch.tensor([[100]]), torch.ones(1, 1), 8000)
    torch.testing.assert_close(found[0], recording[100:8100], atol=1e-6, rtol=0)


@pytest.mark.parametrize("clean", [True, False])
def test_a_batch_follows_from_seed_and_step(speech, noises, clean):
    chunks = Chunks(speech, noises, "cpu", 0.5)
    found = chunks(0, 3, 5, 0.5, clean=clean)
    assert found.shape == (5, 48, 80) and found.isfinite().all()
    assert torch.equal(found, Chunks(speech, noises, "cpu", 0.5)(0, 3, 5, 0.5, clean=clean))
    for other in ((0, 4), (1, 3)):
        assert not torch.equal(found, chunks(*other, 5, 0.5, clean=clean))


def test_chunks_stay_inside_of_their_recording(noises):
    """Recordings of one value each: a chunk that reads over the end has two."""
    recordings = [np.full(n, v, "f") for v, n in ((1, 12000), (2, 9000), (3, 3000), (4, 16000))]
    chunks = Chunks(recordings, noises, "cpu", 0.5)
    values = []
    chunks.log_mel = lambda waves: values.append(waves) or waves
    for step in range(20):
        chunks(0, step, 16, 0.5, clean=True)
    waves = torch.cat(values)
    means = waves.mean(dim=1, keepdim=True)
    assert (waves - means).abs().max() < 0.05 * 4
    assert set(means.round().flatten().tolist()) == {1, 2, 3, 4}


def test_perturbed_speech_is_in_16_bit_steps_at_many_levels(speech, noises):
    waves = torch.from_numpy(np.stack([speech[2][i * 1000 :][:8000] for i in range(40)]))
    found = perturbation.perturbed(
        Draws(0, 0, 40, "cpu"), waves, torch.from_numpy(np.stack(noises))
    )
    assert found.shape == waves.shape and found.abs().max() <= 1
    torch.testing.assert_close(found * 32768, (found * 32768).round())
    level = 20 * rms(found).log10()
    assert level.min() < -45 and level.max() > -25 and level.max() < -8


def test_a_room_delays_nothing_and_lasts():
    voice = torch.zeros(30, 32768)
    voice[:, 4000] = 1
    spectrum = torch.fft.rfft(voice) * perturbation.room(Draws(0, 0, 30, "cpu"), 32768)
    found = torch.fft.irfft(spectrum)
    assert found[:, :4000].abs().max() < 1e-4 and (found[:, 4000] > 0.5).all()
    assert (rms(found[:, 4400:6000]) > 1e-4).all()


def test_a_telephone_has_no_bass_and_no_treble():
    gains, telephone = perturbation.channel(Draws(0, 0, 400, "cpu"), 16000)
    loss = gains / gains[:, 1000:2000].mean(dim=1, keepdim=True)
    calls = telephone[:, 0]
    assert 50 < calls.sum() < 150
    assert loss[calls, 30].median() < 0.1 and loss[calls, 6000].median() < 0.05
    assert loss[~calls, 6000].median() > 0.1


def test_eight_bits_are_near_what_they_stand_for():
    waves = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    found = perturbation.squeezed(waves)
    error = rms(found - waves) / rms(waves)
    assert (error < 0.03).all() and (error > 1e-3).all()
    assert len(found[0].unique()) <= 255


def test_noises_have_unit_loudness():
    waves = torch.randn(6, 8000, generator=torch.Generator().manual_seed(0))
    for found in (
        perturbation.coloured_noise(Draws(0, 0, 6, "cpu"), 8000),
        perturbation.babble(Draws(0, 0, 6, "cpu"), waves),
    ):
        torch.testing.assert_close(rms(found), torch.ones(6), atol=1e-3, rtol=0)
    silent = perturbation.levelled(torch.zeros(1, 100))
    assert not silent.any()
