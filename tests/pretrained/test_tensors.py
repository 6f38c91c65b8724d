"""The writer of weights: equal tensors and records are equal bytes, for both kinds of networks."""

import json

import pytest
import safetensors
import safetensors.torch
import torch
from small_networks import FRAME_SETTINGS, SMALL, VAD, VAD_FRAME_SETTINGS, network, unet

from sklearn_speechsent.pretrained import (
    get_weights,
    load_vad_weights,
    load_weights,
    save_vad_weights,
    save_weights,
    tensors,
    weights_path,
)

WRITERS = {
    "speaker": (save_weights, load_weights, network, SMALL, FRAME_SETTINGS),
    "vad": (save_vad_weights, load_vad_weights, unet, VAD, VAD_FRAME_SETTINGS),
}


@pytest.mark.parametrize("kind", list(WRITERS))
def test_equal_tensors_and_records_are_equal_bytes(tmp_path, kind):
    save, load, build, architecture, frame_settings = WRITERS[kind]
    records = {"architecture": architecture, "frame_settings": frame_settings}
    extra = {"licence": "CC0", "data": "none", "seed": 1, "steps": 2}
    state = build().state_dict()
    first = save(tmp_path / "a.safetensors", state, extra=extra, **records).read_bytes()
    other_order = {key: state[key].clone() for key in reversed(state)}
    second = save(tmp_path / "b.safetensors", other_order, extra=extra, **records)
    assert second.read_bytes() == first
    with safetensors.safe_open(second, "pt") as file:
        assert list(file.metadata()) == ["sklearn_speechsent"]  # several have a random order
    loaded = load(second)
    third = save(
        tmp_path / "c.safetensors",
        loaded.state,
        architecture=loaded.architecture,
        frame_settings=loaded.frame_settings,
        extra=loaded.extra,
    )
    assert third.read_bytes() == first
    changed = build(1).state_dict()
    assert save(tmp_path / "d.safetensors", changed, extra=extra, **records).read_bytes() != first
    assert save(tmp_path / "e.safetensors", state, extra={}, **records).read_bytes() != first


@pytest.mark.parametrize(
    ("name", "save"),
    [("speechsent-seresnet", save_weights), ("speechsent-unet-vad", save_vad_weights)],
)
def test_shipped_files_are_what_the_writer_writes(tmp_path, monkeypatch, name, save):
    path = weights_path(get_weights(name))
    with safetensors.safe_open(path, "pt") as file:
        records = json.loads(file.metadata()["sklearn_speechsent"])
    monkeypatch.setattr(tensors, "__version__", records["version"])
    written = save(
        tmp_path / "copy.safetensors",
        safetensors.torch.load_file(path),
        architecture=records["architecture"],
        frame_settings=records["frame_settings"],
        extra=records["extra"],
    )
    assert written.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "load"),
    [("speechsent-seresnet", load_weights), ("speechsent-unet-vad", load_vad_weights)],
)
def test_shipped_files_record_what_the_registry_states(name, load):
    entry = get_weights(name)
    by_name, by_path = load(name), load(weights_path(entry))
    assert by_name.sha256 == by_path.sha256 == entry.sha256
    assert by_name.architecture == by_path.architecture == entry.architecture
    assert by_name.frame_settings == by_path.frame_settings == entry.frame_settings
    assert by_name.extra == {**by_path.extra, "attribution": entry.attribution}
    for key, tensor in by_name.state.items():
        assert torch.equal(tensor, by_path.state[key]), key
