"""From an exported ONNX file back to the names of the network it came from."""

from __future__ import annotations

import os
from pathlib import Path

import torch

#: BatchNorm's eps in torch, which a rebuilt running variance of 1 - eps cancels exactly.
_EPS = 1e-5


def read_folded_resnet(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Tensors of a WeSpeaker ResNet whose batch normalisations were folded into convolutions.

    Convolutions of the graph come in a fixed order (stem, then conv1, conv2 and, where the shape
    changes, the shortcut of each block), which gives back their names. Each folded bias becomes a
    batch normalisation that adds it in eval mode and does nothing else: weight 1, mean 0,
    variance 1 - eps. In train mode such a layer would normalise what was never meant to be.

    Parameters
    ----------
    path : path-like
        ONNX file; only its tensors are read, nothing of it is run.

    Returns
    -------
    dict of str to Tensor
        Keys ``conv1, bn1, layer{1-4}.{i}.{conv1,bn1,conv2,bn2,shortcut.0,shortcut.1}, seg_1``;
        the vector subtracted from the embedding is folded into the bias of ``seg_1``.

    Raises
    ------
    ValueError
        If the graph is no such network.
    """
    import onnx
    from onnx.numpy_helper import to_array

    try:
        graph = onnx.load(Path(path)).graph
    except Exception as exception:  # protobuf raises its own types, which differ between versions
        raise ValueError(f"{path} cannot be read as ONNX: {exception}") from exception
    tensors = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    state: dict[str, torch.Tensor] = {}

    def put(conv: str, norm: str, inputs: list[str]) -> None:
        bias = torch.tensor(tensors[inputs[2]])
        state[f"{conv}.weight"] = torch.tensor(tensors[inputs[1]])
        state[f"{norm}.weight"] = torch.ones_like(bias)
        state[f"{norm}.bias"] = bias
        state[f"{norm}.running_mean"] = torch.zeros_like(bias)
        state[f"{norm}.running_var"] = torch.full_like(bias, 1 - _EPS)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    convolutions = [list(node.input) for node in graph.node if node.op_type == "Conv"]
    linear = [list(node.input) for node in graph.node if node.op_type == "Gemm"]
    if len(linear) != 1 or not convolutions:
        raise ValueError(
            f"{path} has {len(convolutions)} convolutions and {len(linear)} linear layers; it is "
            "no WeSpeaker ResNet."
        )
    put("conv1", "bn1", convolutions[0])
    layer, block, channels = 1, -1, tensors[convolutions[0][1]].shape[0]
    position = 1
    while position < len(convolutions):
        width, _, kernel, _ = tensors[convolutions[position][1]].shape
        if width != channels:
            layer, block, channels = layer + 1, -1, width
        block += 1
        name = f"layer{layer}.{block}"
        if kernel != 3 or position + 1 >= len(convolutions):
            raise ValueError(f"{path}: unexpected convolution where {name} should begin.")
        put(f"{name}.conv1", f"{name}.bn1", convolutions[position])
        put(f"{name}.conv2", f"{name}.bn2", convolutions[position + 1])
        position += 2
        if position < len(convolutions) and tensors[convolutions[position][1]].shape[2] == 1:
            put(f"{name}.shortcut.0", f"{name}.shortcut.1", convolutions[position])
            position += 1
    _, weight, bias = linear[0]
    state["seg_1.weight"] = torch.tensor(tensors[weight])
    state["seg_1.bias"] = torch.tensor(tensors[bias])
    if "mean_vec" in tensors:
        state["seg_1.bias"] = state["seg_1.bias"] - torch.tensor(tensors["mean_vec"])
    return state
