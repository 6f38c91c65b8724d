"""Scenes, mixtures and training loop of the detector's recipe."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recipes import train_vad
from recipes._mixing import Mixer
from recipes._nonspeech import nonspeech
from recipes._scenes import Speech, Tracks, make_tracks
from recipes.sounds import loudness
from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.inference.detection import BLOCK, CONTEXT, LOOK_AHEAD, CausalDetector
from sklearn_speechsent.utils.silence import DIGITAL_FLOOR


def speech(label=1.0, n=3):
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(48000).astype("f") for _ in range(n)]
    return Speech(waves, [np.full(300, label, np.float32) for _ in waves])


def test_truth_follows_the_labels_of_what_was_placed():
    tracks = make_tracks(6, 4.0, speech(), np.random.default_rng(1))
    assert tracks.voices.shape == (6, 64000) and tracks.truths.shape == (6, 398)
    spoken = tracks.truths > 0.5
    for voice, found in zip(tracks.voices.astype("f"), spoken, strict=True):
        frames = np.lib.stride_tricks.sliding_window_view(voice, 400)[::160]
        power = np.square(frames).mean(1)
        if found.any() and not found.all():
            assert power[found].mean() > 3 * power[~found].mean()
    silent = make_tracks(6, 4.0, speech(0.0), np.random.default_rng(1))
    assert not silent.truths.any()


@pytest.mark.parametrize("seed", range(8))
def test_sounds_that_are_not_speech_have_one_loudness(seed):
    for n in (801, 30000):
        sound = nonspeech(n, np.random.default_rng(seed))
        assert sound.shape == (n,) and sound.dtype == np.float32
        assert loudness(sound) == pytest.approx(1, abs=1e-3)


def test_frames_of_mixtures_are_those_of_the_filter_bank():
    waves = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 8000)).astype("f")
    found = Mixer("cpu").log_mel(torch.from_numpy(waves))
    for wave, frames in zip(waves, found, strict=True):
        np.testing.assert_allclose(frames, MelFilterBank().log_mel(wave), atol=2e-3)


def test_mixtures_differ_and_drowned_speech_does_not_count():
    tracks = make_tracks(3, 3.0, speech(), np.random.default_rng(0))
    frames, truths = Mixer("cpu").mix(tracks, 4, [0, 1])
    assert frames.shape == (12, 298, 80) and truths.shape == (12, 298)
    assert torch.isfinite(frames).all()
    assert len({round(float(level), 2) for level in frames.mean((1, 2))}) == 12
    assert (truths <= torch.from_numpy(tracks.truths).float().repeat_interleave(4, 0)).all()
    faint = Tracks(tracks.voices * np.float16(1e-3), *tracks[1:])
    _, drowned = Mixer("cpu").mix(faint, 4, [0, 1])
    assert drowned.mean() < 0.5 * truths.mean()  # some rooms are as quiet
    again, _ = Mixer("cpu").mix(tracks, 4, [0, 1])
    assert torch.equal(frames, again)


def test_blocks_are_scored_as_streams_score_them():
    detector = CausalDetector.of(VoiceActivityDetector())
    rng = np.random.default_rng(0)
    frames = rng.normal(8, 3, (1, 600, 80)).astype("f")
    network = VoiceActivityDetector().fit(list(frames)).network_
    starts = torch.tensor([256])
    with torch.inference_mode():
        found = train_vad.score_blocks(network, torch.from_numpy(frames), starts).sigmoid()
    padded = np.full((CONTEXT, 80), DIGITAL_FLOOR, "f")
    window = np.concatenate([padded, frames[0]])[256 : 256 + CONTEXT + BLOCK + LOOK_AHEAD]
    wanted = detector.probabilities(np.ascontiguousarray(window))
    from sklearn_speechsent.vad.segments import without_clicks

    inner = slice(5, -5)  # the median filter sees past the block
    np.testing.assert_allclose(without_clicks(found[0].numpy())[inner], wanted[inner], atol=1e-4)


class Stopped(Exception):
    pass


def run(folder, monkeypatch, stopped_at=None, **changed):
    options = {"steps": 5, "seconds": None, "scenes": 2, "times": 2, "seed": 0}
    options |= {"precision": "float32", "device": "cpu", "run": folder, "weights": None} | changed

    def tracks_ahead(options, first):
        for step in range(first, 1000):
            if step == stopped_at:
                raise Stopped
            yield make_tracks(2, 2.0, speech(), np.random.default_rng([0, step]))

    monkeypatch.setattr(train_vad, "tracks_ahead", tracks_ahead)
    monkeypatch.setattr(train_vad.training, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(train_vad, "WIDTHS", (4, 6, 8))
    folder.mkdir(exist_ok=True)
    with torch.random.fork_rng():
        training = train_vad.Run(SimpleNamespace(**options))
        held_out = make_tracks(2, 2.0, speech(), np.random.default_rng(9))
        training.train(training.mixer.mix(held_out, 1, [0]))
    return training


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", monkeypatch)
    with pytest.raises(Stopped):
        run(tmp_path / "parts", monkeypatch, stopped_at=3)
    parts = run(tmp_path / "parts", monkeypatch)
    assert parts.record["step"] == 5 and len(parts.record["history"]) == 5
    for name, value in whole.average.items():
        assert torch.equal(value, parts.average[name]), name
    with pytest.raises(SystemExit, match="another --run"):
        run(tmp_path / "parts", monkeypatch, seed=1)


def test_stored_weights_are_those_of_a_detector(tmp_path, monkeypatch):
    trained = run(tmp_path, monkeypatch, steps=2)
    path = tmp_path / "speechsent-unet-vad.safetensors"
    detector = VoiceActivityDetector(weights=path).fit([np.random.default_rng(0).normal(size=9000)])
    for name, value in trained.average.items():
        wanted = detector.network_.state_dict()[name]
        np.testing.assert_allclose(value, wanted, atol=1e-3, rtol=1e-3)


def test_steps_are_as_many_as_fit_in_the_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(train_vad, "WARM_UP", 4)
    trained = run(tmp_path, monkeypatch, steps=3500, seconds=0.0)
    assert trained.record["step"] == trained.record["steps"] == 5


def test_losses_fall(tmp_path, monkeypatch):
    monkeypatch.setattr(train_vad, "WARM_UP", 4)
    history = run(tmp_path, monkeypatch, steps=30).record["history"]
    first, last = (
        np.mean([entry["frames"] for entry in part]) for part in (history[:5], history[-5:])
    )
    assert last < first
