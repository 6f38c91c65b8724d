"""Mixtures that the teacher of the detector hears, and the training on them."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recipes import train_vad, tune_vad
from recipes._scenes import Speech
from sklearn_speechsent import VoiceActivityDetector
from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.pretrained import get_weights, save_vad_weights


class Teacher:
    """Marks windows whose root mean square exceeds a limit."""

    def __init__(self, limit):
        self.limit = limit

    def audio_forward(self, waves, rate):
        windows = waves[:, : waves.shape[1] // 512 * 512].unflatten(1, (-1, 512))
        return (windows.square().mean(2).sqrt() > self.limit).float()


@pytest.fixture
def options(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(48000).astype("f") for _ in range(3)]
    speech = Speech(waves, [np.ones(300, np.float32) for _ in waves])
    monkeypatch.setattr(train_vad, "load_labelled", lambda folder: (speech, speech))
    monkeypatch.setattr(train_vad, "SECONDS", 3.0)
    monkeypatch.setattr(tune_vad, "SCENES", 3)
    silero = SimpleNamespace(load_silero_vad=lambda: Teacher(0.05))
    monkeypatch.setitem(sys.modules, "silero_vad", silero)
    return SimpleNamespace(run=tmp_path, teacher=tmp_path, seed=0, parts=3, passes=4, jobs=1)


def test_what_is_heard_is_in_time_and_independent_of_the_level():
    wave = torch.zeros(32000) + 1e-4 * torch.randn(
        32000, generator=torch.Generator().manual_seed(0)
    )
    wave[16000:24000] *= 100
    found = tune_vad.heard(Teacher(0.02), wave)
    assert found.shape == (198,)
    middles = (np.arange(198) * 160 + 200) / 16000
    wanted = (middles > 1) & (middles < 1.5)
    assert np.mean((found > 0.5) == wanted) > 0.97
    np.testing.assert_allclose(tune_vad.heard(Teacher(0.02), 30 * wave), found)


def part(options, number):
    with np.load(options.run / f"part{number:03d}.npz") as stored:
        return stored["frames"], stored["labels"]


def test_speech_of_rooms_is_what_is_heard_as_well(options, monkeypatch):
    tune_vad.make_part(0, options)
    tune_vad.make_part(1, options)
    (_, plain), (frames, heard) = part(options, 0), part(options, 1)
    assert frames.shape == (6, 298, 80) and heard.shape == (6, 298)
    tune_vad.make_part(1, options)  # is there
    for silero, number in ((Teacher(1e9), 0), (Teacher(1e9), 1), (Teacher(-1.0), 1)):
        (options.run / f"part{number:03d}.npz").unlink()
        monkeypatch.setattr(sys.modules["silero_vad"], "load_silero_vad", lambda s=silero: s)
        tune_vad.make_part(number, options)
        again, labels = part(options, number)
        if number == 0:  # of any noise: the labels of the clean recordings
            np.testing.assert_array_equal(labels, plain)
        elif silero.limit > 0:
            assert not labels.any()
        else:
            assert (labels >= heard).all() and labels.sum() > heard.sum()
            np.testing.assert_array_equal(again, frames)


def test_training_moves_towards_the_labels(options, monkeypatch):
    monkeypatch.setattr(tune_vad, "PEAK", 0.02)
    monkeypatch.setattr(tune_vad, "WARM_UP", 1)
    for number in range(3):
        tune_vad.make_part(number, options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SpeechUNet(widths=(4, 6, 8))
    parts = [part(options, number) for number in range(3)]
    frames = torch.from_numpy(np.concatenate([p[0] for p in parts]))
    rows = list(frames.numpy())

    def mean_score(state):
        path = save_vad_weights(
            options.run / "tuned.safetensors",
            state,
            architecture=network.architecture,
            frame_settings=get_weights("speechsent-unet-vad").frame_settings,
        )
        detector = VoiceActivityDetector(weights=path).fit(rows)
        return np.concatenate(detector.frame_scores(rows)).mean()

    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_none = tune_vad.train(network, frames, torch.zeros(frames.shape[:2]), options)
    network.load_state_dict(before)
    to_all = tune_vad.train(network, frames, torch.ones(frames.shape[:2]), options)
    assert mean_score(to_none) < mean_score(to_all) - 0.1
