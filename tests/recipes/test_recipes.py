"""Training loop, generated sounds and losses of the recipes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from recipes import _training as training
from recipes import sounds, train_speaker


class Stopped(Exception):
    pass


def run(folder, monkeypatch, stopped_at=None, steps=7, seed=3):
    monkeypatch.setattr(training, "EPOCH", 2)
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    modules = {"network": network}
    options = SimpleNamespace(run=folder, steps=steps, seed=seed, precision="float32")

    def make_batch(seed, step):
        rng = np.random.default_rng([seed, step])
        return step, torch.from_numpy(rng.standard_normal((6, 4)).astype("f"))

    def losses_of(batch):
        step, x = batch
        if step == stopped_at:
            raise Stopped
        error = (modules["network"](x)[:, 0] - x.sum(1)).square().mean()
        return {"error": error, "other": 0 * error}

    weights = {"error": 1.0, "other": 0.5}
    record = training.train(options, modules, make_batch, losses_of, weights, lambda: {}, 1e-2)
    return record, modules["network"].state_dict()


@pytest.mark.parametrize("stopped_at", [1, 2, 5, 6])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch, stopped_at):
    record, state = run(tmp_path / "whole", monkeypatch)
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", monkeypatch, stopped_at)
    resumed, again = run(tmp_path / "stopped", monkeypatch)
    for name, tensor in state.items():
        assert torch.equal(tensor, again[name]), name
    assert resumed["history"] == record["history"]
    assert [entry["step"] for entry in record["history"]] == [2, 4, 6, 7]
    assert [file.name for file in (tmp_path / "stopped").iterdir()] == ["state.pt"]


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    _, state = run(tmp_path, monkeypatch)
    record, again = run(tmp_path, monkeypatch, stopped_at=6)  # would raise if it took a step
    assert record["step"] == 7
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_another_seed_or_length_does_not_resume(tmp_path, monkeypatch):
    run(tmp_path, monkeypatch)
    for changed in ({"seed": 4}, {"steps": 9}):
        with pytest.raises(SystemExit, match="another run"):
            run(tmp_path, monkeypatch, **changed)


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [training.learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1)
    assert np.argmax(rates) in (9, 10) and rates[-1] < 1e-4


def test_halved_weights_keep_statistics():
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Conv1d(2, 3, 5), nn.BatchNorm1d(3))
    types = {name: t.dtype for name, t in training.halved(network.state_dict()).items()}
    assert types["0.weight"] == torch.float16
    assert types["1.running_var"] == torch.float32
    assert types["1.num_batches_tracked"] == torch.int64


NOISES = ["coloured_noise", "music", "clatter", "hum"]


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("n", [800, 16001])
def test_noises_are_finite_of_the_length_and_reproducible(name, n):
    make = getattr(sounds, name)
    wave = make(n, np.random.default_rng(1))
    assert wave.dtype == np.float32 and wave.shape == (n,)
    assert np.isfinite(wave).all() and sounds.loudness(wave) > 1e-6
    np.testing.assert_array_equal(wave, make(n, np.random.default_rng(1)))
    assert not np.array_equal(wave, make(n, np.random.default_rng(2)))


def test_interference_has_unit_loudness_with_and_without_speech():
    speech = [np.random.default_rng(i).standard_normal(5000).astype("f") for i in range(3)]
    for seed in range(12):
        rng = np.random.default_rng(seed)
        wave = sounds.interference(8000, rng, speech if seed % 2 else [])
        assert sounds.loudness(wave) == pytest.approx(1, rel=1e-3)


def test_a_room_delays_nothing_and_keeps_the_loudness():
    voice = np.zeros(16000, np.float32)
    voice[4000:8000] = np.random.default_rng(0).standard_normal(4000)
    for seed in range(8):
        found = sounds.reverberate(voice, np.random.default_rng(seed))
        assert np.abs(found[:3999]).max() < 1e-5
        assert sounds.loudness(found) == pytest.approx(sounds.loudness(voice), rel=1e-3)
        assert sounds.loudness(found[8100:9000]) > 1e-3  # the tail


def test_faster_is_shorter():
    assert len(sounds.change_speed(np.zeros(16000, "f"), 1.25)) == pytest.approx(12800, abs=2)


def speaker_maps(seed=0, n=6):
    rng = torch.Generator().manual_seed(seed)
    maps = {f"block {n_}": torch.rand(n, 4, 20, 9, generator=rng) for n_ in (2, 3)}
    return {**maps, "embedding": torch.rand(n, 5, generator=rng)}


def test_a_student_like_its_teacher_has_nothing_left_to_learn():
    maps = speaker_maps()
    losses = train_speaker.distances(maps, maps)
    assert set(losses) == set(train_speaker.LOSSES)
    assert all(abs(float(value)) < 1e-5 for value in losses.values())
    # The mean of each channel explains nothing of how its maps vary, nor of the utterances.
    mean = {
        name: m.mean(dim=(0, 2, 3), keepdim=True).expand_as(m)
        for name, m in maps.items()
        if name != "embedding"
    }
    losses = train_speaker.distances({**mean, "embedding": -maps["embedding"]}, maps)
    assert losses["block 2"] == pytest.approx(1, abs=0.05)
    assert losses["statistics 3"] > 1 and losses["alike 3"] > 0.1
    assert losses["embedding"] == pytest.approx(2)
    assert losses["alike"] == pytest.approx(
        0, abs=1e-5
    )  # turned around they are alike all the same


def test_another_order_of_utterances_is_another_answer():
    maps = speaker_maps()
    losses = train_speaker.distances({name: m.flip(0) for name, m in maps.items()}, maps)
    assert all(value > 0.02 for value in losses.values())


def test_statistics_of_maps_are_those_of_their_definition():
    maps = torch.rand(2, 3, 20, 7, generator=torch.Generator().manual_seed(0))
    found = train_speaker.pooled(maps).reshape(2, 3, 3 * (10 + 5))
    five = maps.reshape(2, 3, 5, 4, 7).mean(dim=3)
    expected = torch.cat([five.mean(3), five.std(3), five.diff().square().mean(3).sqrt()], dim=2)
    torch.testing.assert_close(found[:, :, 30:].square(), expected, atol=2e-3, rtol=1e-3)


def test_silent_units_leave_the_gradient_finite():
    maps = torch.zeros(3, 2, 20, 5, requires_grad=True)
    wanted = speaker_maps(n=3)
    silent = {**wanted, "block 3": maps}
    wanted["block 3"] = torch.rand(3, 2, 20, 5, generator=torch.Generator().manual_seed(0))
    train_speaker.distances(silent, wanted)["statistics 3"].backward()
    assert torch.isfinite(maps.grad).all() and maps.grad.any()


def test_the_mean_of_weights_forgets_where_it_began():
    with torch.random.fork_rng():
        network, average = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        nn.init.constant_(network.weight, 2.0)
    network.running_mean.fill_(5.0)
    network.num_batches_tracked.fill_(7)
    for step in range(400):
        training.follow(average.state_dict(), network, step)
    torch.testing.assert_close(average.weight, network.weight, atol=1e-3, rtol=0)
    torch.testing.assert_close(average.running_mean, network.running_mean, atol=1e-2, rtol=0)
    assert average.num_batches_tracked == 7
    nn.init.constant_(network.weight, 3.0)
    training.follow(average.state_dict(), network, 10**6)
    assert 2 < average.weight.max() < 2.01
