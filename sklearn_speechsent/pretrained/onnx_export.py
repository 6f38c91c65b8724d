"""Reader of ONNX exports, which gives tensors back the names they have in WeSpeaker's ResNet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.pretrained.architecture import FOLDED_VARIANCE


def read_folded_resnet(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Tensors of a WeSpeaker ResNet whose batch normalisations were folded into convolutions.

    Convolutions of the graph come in a fixed order (stem, then conv1, conv2 and, where the shape
    changes, the shortcut of each block), which gives back their names. Each folded bias becomes a
    batch normalisation that adds it in eval mode and does nothing else: weight 1, mean 0,
    variance 1 - eps. In train mode such a layer would normalise its input, which it must not.

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
        If the graph is another network.
    """
    import onnx

    try:
        # Tensors in further files would be read from wherever this file says.
        graph = onnx.load(Path(path), load_external_data=False).graph
    except Exception as exception:  # protobuf raises its own types, which differ between versions
        raise ValueError(
            f"{path} cannot be read as ONNX: {exception}. The file is damaged, incomplete or of "
            "another kind. Replace it."
        ) from exception
    convolutions = [list(node.input) for node in graph.node if node.op_type == "Conv"]
    linear = [list(node.input) for node in graph.node if node.op_type == "Gemm"]
    if len(linear) != 1 or not convolutions:
        raise ValueError(
            f"{path} has {len(convolutions)} convolutions and {len(linear)} linear layers; it is "
            "not a WeSpeaker ResNet. Pass WeSpeaker's export of one."
        )
    layers = [_layer(path, graph, inputs) for inputs in [*convolutions, *linear]]
    return {**_name_convolutions(path, layers[:-1]), **_name_linear(path, graph, layers[-1])}


def _name_convolutions(
    path: str | os.PathLike[str], convolutions: list[tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}

    def put(conv: str, norm: str, position: int) -> None:
        weight, bias = convolutions[position]
        state[f"{conv}.weight"] = weight
        state[f"{norm}.weight"] = torch.ones_like(bias)
        state[f"{norm}.bias"] = bias
        state[f"{norm}.running_mean"] = torch.zeros_like(bias)
        state[f"{norm}.running_var"] = torch.full_like(bias, FOLDED_VARIANCE)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    for weight, _ in convolutions:
        if weight.ndim != 4:
            raise ValueError(
                f"{path} has a convolution of shape {tuple(weight.shape)}, not over frequency and "
                "time; it is not a WeSpeaker ResNet. Pass WeSpeaker's export of one."
            )
    put("conv1", "bn1", 0)
    layer, block, channels = 1, -1, len(convolutions[0][0])
    position = 1
    while position < len(convolutions):
        width, _, kernel, _ = convolutions[position][0].shape
        if width != channels:
            layer, block, channels = layer + 1, -1, width
        block += 1
        name = f"layer{layer}.{block}"
        if kernel != 3 or position + 1 >= len(convolutions):
            raise ValueError(
                f"{path}: unexpected convolution where {name} should begin; it is not a "
                "WeSpeaker ResNet of basic blocks. Pass WeSpeaker's export of one."
            )
        put(f"{name}.conv1", f"{name}.bn1", position)
        put(f"{name}.conv2", f"{name}.bn2", position + 1)
        position += 2
        if position < len(convolutions) and convolutions[position][0].shape[2] == 1:
            put(f"{name}.shortcut.0", f"{name}.shortcut.1", position)
            position += 1
    return state


def _name_linear(
    path: str | os.PathLike[str], graph: Any, linear: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, torch.Tensor]:
    weight, bias = linear
    if any(tensor.name == "mean_vec" for tensor in graph.initializer):
        mean = _tensor(path, graph, "mean_vec")
        if mean.shape != bias.shape:
            raise ValueError(
                f"{path}: 'mean_vec' of shape {tuple(mean.shape)} cannot be subtracted from "
                f"embeddings of shape {tuple(bias.shape)}. Replace the file."
            )
        bias = bias - mean
    return {"seg_1.weight": weight, "seg_1.bias": bias}


def _layer(
    path: str | os.PathLike[str], graph: Any, inputs: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a node."""
    if len(inputs) < 3:
        raise ValueError(
            f"{path} has a layer without bias: its batch normalisations are not folded into the "
            "convolutions. Export it in eval mode, or pass the .pt file it was exported from."
        )
    weight, bias = (_tensor(path, graph, name) for name in inputs[1:3])
    if bias.ndim != 1 or weight.ndim < 2 or len(weight) != len(bias):
        raise ValueError(
            f"{path}: weight of shape {tuple(weight.shape)} and bias of shape "
            f"{tuple(bias.shape)} do not fit. Replace the file."
        )
    return weight, bias


def _tensor(path: str | os.PathLike[str], graph: Any, name: str) -> torch.Tensor:
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    found: Mapping[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    if name not in found or found[name].data_location == TensorProto.EXTERNAL:
        raise ValueError(
            f"{path} does not hold the tensor {name!r}. Replace it by an export of WeSpeaker in "
            "one file."
        )
    try:
        return torch.tensor(to_array(found[name]))
    except Exception as exception:  # a shape that the bytes do not fill, a type torch lacks
        raise ValueError(
            f"{path}: the tensor {name!r} cannot be read: {exception}. Replace the file."
        ) from exception
