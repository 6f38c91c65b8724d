"""Pre-trained weights: found, verified, and refused with a reason."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from sklearn_speechsent import SpeakerFeatureExtractor, UtteranceFrames
from sklearn_speechsent.pretrained import (
    REGISTRY,
    check_frame_settings,
    get_weights,
    has_weights,
    load_state_dict,
    weights_path,
)
from sklearn_speechsent.pretrained.onnx_layout import read_folded_resnet

NAME = "wespeaker-voxceleb-resnet34"


def frames_with(**frame_settings):
    return UtteranceFrames.from_arrays(
        [np.zeros((9, 80), np.float32)], frame_settings=frame_settings
    )


def test_entries_say_where_they_come_from():
    for name, weights in REGISTRY.items():
        assert weights.name == name
        assert weights.sha256 is None or len(weights.sha256) == 64
        assert weights.licence and weights.attribution
        assert all(url.startswith("https://") for url in weights.urls)
        assert not weights.shipped or (weights.sha256 and not weights.urls)
        assert weights.frame_settings["n_mels"] == weights.architecture["n_mels"]


@pytest.mark.parametrize("name", ["resnet", "", None, ["a"]])
def test_unknown_names_list_the_known_ones(name):
    with pytest.raises(ValueError, match=f"known: .*{NAME}"):
        get_weights(name)


def test_absent_weights_say_where_to_put_them(home):
    assert not has_weights(NAME)
    with pytest.raises(FileNotFoundError) as caught:
        SpeakerFeatureExtractor(NAME).fit(frames_with())
    message = str(caught.value)
    for part in (home / f"models/{NAME}.onnx", get_weights(NAME).sha256, "CC BY", "SPEECHSENT"):
        assert str(part) in message
    assert f"fetch_weights('{NAME}')" in message
    with pytest.raises(FileNotFoundError, match=r"fetch_weights\('.*-pt', sha256=\.\.\.\)"):
        load_state_dict(f"{NAME}-pt")


@pytest.mark.data
@pytest.mark.parametrize("damage", ["altered", "truncated", "empty"])
def test_damaged_weights_are_refused(data_home, monkeypatch, tmp_path, damage):
    source = weights_path(get_weights(NAME))
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path))
    path = weights_path(get_weights(NAME))
    path.parent.mkdir()
    shutil.copy(source, path)
    with path.open("r+b") as file:
        if damage == "altered":
            file.seek(1_000_000)
            byte = file.read(1)
            file.seek(1_000_000)
            file.write(bytes([byte[0] ^ 1]))
        else:
            file.truncate(5_000_000 if damage == "truncated" else 0)
    assert has_weights(NAME)
    with pytest.raises(ValueError, match=f"expected {get_weights(NAME).sha256}.*Replace it"):
        load_state_dict(NAME)
    shutil.copy(source, path)  # mending the file is noticed within the process
    assert load_state_dict(NAME)["conv1.weight"].shape == (32, 1, 3, 3)


@pytest.mark.data
def test_a_file_is_read_once_and_the_dict_is_new(data_home):
    first, second = load_state_dict(NAME), load_state_dict(NAME)
    assert first is not second and first["conv1.weight"] is second["conv1.weight"]
    del first["conv1.weight"]
    assert "conv1.weight" in load_state_dict(NAME)


@pytest.mark.data
def test_folded_norms_only_add_their_bias(data_home):
    state = load_state_dict(NAME)
    norm = torch.nn.BatchNorm2d(32).eval()
    norm.load_state_dict({key[4:]: value for key, value in state.items() if key[:4] == "bn1."})
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 32, 5, 5))).float()
    expected = x + state["bn1.bias"][None, :, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(norm(x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("content", [b"", b"no network at all", b"\x08\x07\x12"])
def test_files_that_are_no_onnx(tmp_path, content):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.onnx"):
        read_folded_resnet(path)


def _save(path, kernels, bias=True):
    """ONNX file of a chain of convolutions (width, kernel) and one linear layer."""
    nodes, tensors = [], []
    for i, (width, kernel) in enumerate(kernels):
        weight = np.zeros((width, 1, kernel, kernel), np.float32)
        tensors.append(numpy_helper.from_array(weight, f"w{i}"))
        tensors.append(numpy_helper.from_array(np.zeros(width, np.float32), f"b{i}"))
        inputs = [f"x{i}", f"w{i}", f"b{i}"]
        nodes.append(helper.make_node("Conv", inputs if bias else inputs[:2], [f"x{i + 1}"]))
    tensors.append(numpy_helper.from_array(np.zeros((2, 2), np.float32), "w"))
    tensors.append(numpy_helper.from_array(np.ones(2, np.float32), "b"))
    nodes.append(helper.make_node("Gemm", ["x", "w", "b"], ["y"]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x0", "y")]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], tensors)
    onnx.save(helper.make_model(graph), path)


def test_names_follow_from_the_order_of_convolutions(tmp_path):
    path = tmp_path / "network.onnx"
    _save(path, [(8, 3), (8, 3), (8, 3), (16, 3), (16, 3), (16, 1), (16, 3), (16, 3)])
    convolutions = {key for key in read_folded_resnet(path) if key.endswith("weight")}
    assert {key for key in convolutions if "bn" not in key and "shortcut.1" not in key} == {
        "conv1.weight",
        "layer1.0.conv1.weight",
        "layer1.0.conv2.weight",
        "layer2.0.conv1.weight",
        "layer2.0.conv2.weight",
        "layer2.0.shortcut.0.weight",
        "layer2.1.conv1.weight",
        "layer2.1.conv2.weight",
        "seg_1.weight",
    }


@pytest.mark.parametrize(
    ("kernels", "says"),
    [
        ([], "0 convolutions and 1 linear"),
        ([(8, 3), (8, 3)], "layer1.0"),
        ([(8, 3), (8, 1), (8, 3)], "layer1.0"),
    ],
)
def test_other_networks_are_refused(tmp_path, kernels, says):
    _save(tmp_path / "network.onnx", kernels)
    with pytest.raises(ValueError, match=says):
        read_folded_resnet(tmp_path / "network.onnx")


def test_convolutions_without_bias_are_not_folded(tmp_path):
    _save(tmp_path / "network.onnx", [(8, 3), (8, 3), (8, 3)], bias=False)
    with pytest.raises(ValueError, match=r"network\.onnx .*not folded.*pass the \.pt file"):
        read_folded_resnet(tmp_path / "network.onnx")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensor: tensor.ClearField("name"), "does not hold the tensor 'w1'"),
        (lambda tensor: setattr(tensor, "data_location", 1), "does not hold the tensor 'w1'"),
        (lambda tensor: setattr(tensor, "raw_data", b"1234"), "'w1' cannot be read"),
        (lambda tensor: tensor.dims.insert(0, 8), r"\(8, 8, 1, 3, 3\)|cannot be read"),
    ],
)
def test_tensors_that_are_not_there(tmp_path, change, says):
    path = tmp_path / "network.onnx"
    _save(path, [(8, 3), (8, 3), (8, 3)])
    model = onnx.load(path)
    change(next(tensor for tensor in model.graph.initializer if tensor.name == "w1"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=rf"network\.onnx.*({says})"):
        read_folded_resnet(path)


def test_only_what_is_recorded_is_compared():
    weights = get_weights(NAME)
    check_frame_settings(weights, frames_with())
    check_frame_settings(weights, frames_with(cmn="utterance", sample_rate=16000, vad="energy"))
    with pytest.raises(ValueError, match=r"high_freq=7600.0.*Set MelFilterBank"):
        check_frame_settings(weights, frames_with(cmn="utterance", high_freq=7600.0))
    maps = UtteranceFrames.from_arrays([np.zeros((3, 32, 80))])
    with pytest.raises(ValueError, match=r"80 mel bins, got frames of shape \(32, 80\)"):
        check_frame_settings(weights, maps)


@pytest.mark.parametrize(
    ("wanted", "cmn", "says"),
    [
        ("utterance", None, r"CMN over the utterance, .*\(window=None\), these have no CMN"),
        (3.0, "utterance", r"CMN over 3\.0 s, SlidingCMN\(3\.0\), these have CMN over the utt"),
        (None, 3.0, r"with no CMN, these have CMN over 3\.0 s"),
    ],
)
def test_another_mean_normalisation_warns(wanted, cmn, says):
    weights = get_weights(NAME)
    weights = replace(weights, frame_settings={**weights.frame_settings, "cmn": wanted})
    with pytest.warns(UserWarning, match=says):
        check_frame_settings(weights, frames_with(cmn=cmn, sample_rate=16000))
