"""Speaker networks of every format: read back identically, once, and built only if they fit."""

import os

import numpy as np
import pytest
import safetensors.torch
import torch
from small_networks import (
    FRAME_SETTINGS,
    SMALL,
    SMALL_BLOCKS,
    embed,
    network,
    wespeaker_state,
    write_records,
)

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.nn import SpeakerBlocks
from sklearn_speechsent.pretrained import (
    build_network,
    check_frame_settings,
    get_weights,
    load_into,
    load_weights,
    save_weights,
    tensors,
    weights_path,
)

NAME = "wespeaker-voxceleb-resnet34"


@pytest.fixture
def frames(rng):
    return torch.from_numpy(rng.normal(size=(2, 17, 24))).float()


# --- round trips


@pytest.mark.parametrize("se_ratio", [None, 2])
def test_safetensors_read_back_identically(tmp_path, frames, se_ratio):
    net = network(se_ratio=se_ratio)
    extra = {"licence": "CC BY 4.0", "eer": np.float64(0.25)}
    architecture = {**SMALL, "se_ratio": se_ratio, "widths": [4, np.int64(8), 16]}
    path = save_weights(
        tmp_path / "new" / "mine.safetensors",
        net.state_dict(),
        architecture=architecture,
        frame_settings=FRAME_SETTINGS,
        extra=extra,
    )
    weights = load_weights(path)
    assert weights.architecture == {**SMALL, "se_ratio": se_ratio}
    assert weights.frame_settings == FRAME_SETTINGS and weights.extra == extra
    assert weights.name == str(path) and len(weights.sha256) == 64 and not weights.folded
    assert set(weights.state) == set(net.state_dict())
    for key, tensor in net.state_dict().items():
        assert torch.equal(weights.state[key], tensor), key
    assert torch.equal(embed(build_network(weights), frames), embed(net, frames))
    assert os.listdir(path.parent) == ["mine.safetensors"]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_of_torch_without_layers_of_the_training(tmp_path, frames, suffix, zipped):
    net = network()
    path = tmp_path / f"avg_model{suffix}"
    torch.save(wespeaker_state(net), path, _use_new_zipfile_serialization=zipped)
    weights = load_weights(str(path))
    assert weights.architecture == SMALL and not weights.folded
    assert weights.frame_settings == {**get_weights(NAME).frame_settings, "n_mels": 24}
    assert list(weights.state) == list(net.state_dict())
    assert weights.state["bn1.num_batches_tracked"].dtype == torch.int64
    path.unlink()  # nothing refers to the file any more
    built = build_network(weights)
    assert not built.training and torch.equal(embed(built, frames), embed(net, frames))


def test_safetensors_without_records(tmp_path):
    path = tmp_path / "converted.safetensors"
    safetensors.torch.save_file(wespeaker_state(network()), path)
    weights = load_weights(path)
    assert weights.architecture == SMALL and weights.extra == {}
    assert weights.frame_settings["window"] == "hamming"
    assert weights.frame_settings["n_mels"] == 24


@pytest.mark.data
def test_the_registered_network_computes_what_onnxruntime_does(data_home, tmp_path, rng):
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = load_weights(NAME)
    assert weights.folded and weights.sha256 == get_weights(NAME).sha256
    assert weights.architecture["embedding_size"] == 256
    assert weights.extra["licence"] == "CC BY 4.0"
    path = weights_path(get_weights(NAME))
    by_path = load_weights(path)
    assert by_path.architecture == weights.architecture
    assert by_path.frame_settings == weights.frame_settings and by_path.folded
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    frames = rng.normal(scale=3, size=(1, 120, 80)).astype(np.float32)
    (expected,) = session.run(["embs"], {"feats": frames})
    found = embed(build_network(weights), torch.from_numpy(frames))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    saved = save_weights(
        tmp_path / "folded.safetensors",
        weights.state,
        architecture=weights.architecture,
        frame_settings=weights.frame_settings,
    )
    again = load_weights(saved)
    assert again.folded and again.frame_settings == weights.frame_settings
    assert torch.equal(embed(build_network(again), torch.from_numpy(frames)), found)


@pytest.mark.parametrize("se_ratio", [None, 2, 4])
@pytest.mark.parametrize("depths", [(1,), (1, 1), (2, 3, 1, 1)])
def test_the_architecture_follows_from_the_shapes(tmp_path, se_ratio, depths):
    architecture = {
        "n_mels": 40,
        "widths": (4, 8, 8, 16)[-len(depths) :],
        "depths": depths,
        "se_ratio": se_ratio,
        "embedding_size": 5,
    }
    torch.save(network(**architecture).state_dict(), tmp_path / "net.pt")
    assert load_weights(tmp_path / "net.pt").architecture == architecture


# --- one reading, new dicts


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    path = tmp_path / "net.pt"
    torch.save(network(0).state_dict(), path)
    reads = []
    read_torch = tensors._read_torch
    monkeypatch.setattr(tensors, "_read_torch", lambda p: reads.append(p) or read_torch(p))
    first, second = load_weights(path), load_weights(str(path))
    assert len(reads) == 1 and first.sha256 == second.sha256
    assert first.state is not second.state
    assert first.state["bn1.bias"] is second.state["bn1.bias"]
    del first.state["bn1.bias"]
    first.architecture["n_mels"] = first.frame_settings["n_mels"] = 1
    assert "bn1.bias" in load_weights(path).state
    assert load_weights(path).architecture == SMALL
    assert load_weights(path).frame_settings["n_mels"] == 24
    torch.save(network(1).state_dict(), path)
    os.utime(path, (1, 1))  # the clock may be too coarse to tell the two apart
    third = load_weights(path)
    assert len(reads) == 2 and third.sha256 != second.sha256


def test_a_built_network_has_tensors_of_its_own(tmp_path):
    torch.save(network().state_dict(), tmp_path / "net.pt")
    weights = load_weights(tmp_path / "net.pt")
    before = weights.state["seg_1.bias"].clone()
    with torch.no_grad():
        build_network(weights).seg_1.bias.add_(1)
    assert torch.equal(load_weights(tmp_path / "net.pt").state["seg_1.bias"], before)


def test_registered_files_without_checksum(register, home):
    entry = register(path="models/test.pt", architecture=SMALL)
    path = weights_path(entry)
    path.parent.mkdir()
    torch.save(wespeaker_state(network()), path)
    weights = load_weights(entry.name)
    assert weights.name == "test-weights" and weights.architecture == SMALL
    assert weights.extra == {"licence": "CC BY 4.0", "attribution": "an author"}
    assert list(weights.state) == list(network().state_dict())


# --- networks that do not fit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda state: state.pop("layer1.1.bn1.bias"),
            r"'layer1.1.bn1.bias' of shape \(4,\) is mi",
        ),
        (
            lambda state: state.update({"layer1.0.conv1.weight": torch.ones(4, 2, 3, 3)}),
            r"'layer1.0.conv1.weight' has shape \(4, 2, 3, 3\), expected \(4, 4, 3, 3\)",
        ),
        (
            lambda state: state.update({"layer1.0.conv3.weight": torch.ones(16, 4, 1, 1)}),
            r"'layer1.0.conv3.weight' of shape \(16, 4, 1, 1\) is unexpected",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(tmp_path, change, says):
    state = dict(network().state_dict())
    change(state)
    torch.save(state, tmp_path / "net.pt")
    weights = load_weights(tmp_path / "net.pt")
    expected = (
        r"SpeakerResNet\(n_mels=24, widths=\(4, 8, 16\), depths=\(2, 1, 1\), se_ratio=None, e"
    )
    with pytest.raises(ValueError, match=rf"net\.pt does not fit .*{says}.*{expected}") as caught:
        build_network(weights)
    assert "Missing key" not in str(caught.value)


def test_a_recorded_architecture_is_not_built_before_it_fits(tmp_path):
    huge = {**SMALL, "widths": [4, 8, 10**6]}  # more than any memory
    path = tmp_path / "net.safetensors"
    write_records(path, network().state_dict(), {"architecture": huge})
    with pytest.raises(ValueError, match=r"'layer3.0.conv1.weight' has shape \(16, 8, 3, 3\), exp"):
        build_network(load_weights(path))


def test_another_architecture_than_registered(register, home):
    entry = register(path="models/test.pt")  # registered as a ResNet34
    weights_path(entry).parent.mkdir()
    torch.save(network().state_dict(), weights_path(entry))
    says = r"'conv1.weight' has shape \(4, 1, 3, 3\), expected \(32, 1, 3, 3\)"
    with pytest.raises(ValueError, match=rf"test-weights does not fit the network: {says}"):
        build_network(load_weights(entry.name))


def test_lower_blocks_take_their_part():
    net = network()
    with torch.random.fork_rng(devices=[]):
        blocks = SpeakerBlocks(2, **SMALL_BLOCKS)
        wide = SpeakerBlocks(2, **{**SMALL_BLOCKS, "widths": (4, 16, 16)})
        linear = torch.nn.Linear(2, 2)
    load_into(blocks, net.state_dict(), "net.pt")
    for key, tensor in blocks.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[key])
    with pytest.raises(ValueError, match=r"'layer3.0.conv1.weight' of shape .* is unexpected"):
        load_into(blocks, net.state_dict(), "net.pt", strict=True)
    before = {key: tensor.clone() for key, tensor in wide.state_dict().items()}
    says = r"layer2.0.conv1.weight.*Expected was SpeakerBlocks\(n_mels=24, widths=\(4, 16\)"
    with pytest.raises(ValueError, match=says):
        load_into(wide, net.state_dict(), "net.pt")
    assert all(torch.equal(before[key], tensor) for key, tensor in wide.state_dict().items())
    with pytest.raises(ValueError, match=r"'weight' of shape \(2, 2\) is missing.*Linear\(\)"):
        load_into(linear, net.state_dict(), "net.pt")


def test_frames_are_compared_with_weights(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, network().state_dict(), architecture=SMALL, frame_settings=FRAME_SETTINGS)
    weights = load_weights(path)
    arrays = [np.zeros((9, 24), np.float32)]
    check_frame_settings(
        weights, UtteranceFrames.from_arrays(arrays, frame_settings=FRAME_SETTINGS)
    )
    other = UtteranceFrames.from_arrays(
        arrays, frame_settings={**FRAME_SETTINGS, "sample_rate": 16000}
    )
    with pytest.raises(ValueError, match=r"net\.safetensors.*sample_rate=16000 \(expected 8000"):
        check_frame_settings(weights, other)


# --- writing


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"path": "net.pt"}, ValueError, "must end in .safetensors"),
        ({"architecture": {"n_mels": 24}}, ValueError, "must state n_mels, widths"),
        (
            {"architecture": {**SMALL, "depths": (1, 1, 1)}},
            ValueError,
            "'layer1.1.conv1.weight' of shape .* is unexpected",
        ),
        ({"frame_settings": {"n_mels": 24}}, ValueError, "must state n_mels and cmn"),
        (
            {"frame_settings": {**FRAME_SETTINGS, "window": object()}},
            TypeError,
            "frame_settings holds a object",
        ),
        ({"network_state": {"a": 1}}, ValueError, "has a int under 'a'"),
    ],
)
def test_networks_that_cannot_be_saved(tmp_path, changes, error, says):
    arguments = {
        "path": "net.safetensors",
        "network_state": network().state_dict(),
        "architecture": SMALL,
        "frame_settings": FRAME_SETTINGS,
        **changes,
    }
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(error, match=says):
        save_weights(**arguments)
    assert os.listdir(tmp_path) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_weights(path, network().state_dict(), architecture=SMALL, frame_settings=FRAME_SETTINGS)
    before = path.read_bytes()

    def failing(*args):
        raise OSError("no more space")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no more space"):
        save_weights(
            path, network(1).state_dict(), architecture=SMALL, frame_settings=FRAME_SETTINGS
        )
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.safetensors"]
