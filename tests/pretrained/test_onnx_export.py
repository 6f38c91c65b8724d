"""ONNX exports: tensors get their names back, and other files are refused."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from sklearn_speechsent.pretrained import load_weights
from sklearn_speechsent.pretrained.onnx_export import read_folded_resnet


@pytest.mark.data
def test_folded_norms_only_add_their_bias(data_home):
    state = load_weights("wespeaker-voxceleb-resnet34").state
    norm = torch.nn.BatchNorm2d(32).eval()
    norm.load_state_dict({key[4:]: value for key, value in state.items() if key[:4] == "bn1."})
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 32, 5, 5))).float()
    expected = x + state["bn1.bias"][None, :, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(norm(x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("content", [b"", b"no network at all", b"\x08\x07\x12"])
def test_files_that_are_not_onnx(tmp_path, content):
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
