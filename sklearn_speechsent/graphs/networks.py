"""Convolutions, residual blocks and the speaker network in a graph, on one utterance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from sklearn_speechsent.graphs.builder import Graph, Value, as_float
from sklearn_speechsent.nn import SpeakerBlocks

#: From the mean of each channel, shape (1, C), to that which squeeze-excitation takes for it.
Squeeze = Callable[[Value], Value]


def linear(graph: Graph, layer: nn.Linear, x: Value) -> Value:
    """Linear layer on the last axis."""
    product = x @ as_float(layer.weight).T
    return product if layer.bias is None else product + as_float(layer.bias)


def convolved(graph: Graph, conv: nn.Conv2d, x: Value) -> Value:
    """Convolution of maps (1, C, F, T)."""
    pads = [*conv.padding, *conv.padding]
    return graph.Conv(x, conv.weight, conv.bias, pads=pads, strides=list(conv.stride))


def residual(graph: Graph, block: Any, x: Value, squeeze: Squeeze | None) -> Value:
    """Residual block whose batch normalisation is folded."""
    maps = graph.Relu(convolved(graph, block.conv1, x))
    maps = convolved(graph, block.conv2, maps)
    if block.se is not None:
        mean = maps.reduce("Mean", 2, 3, keep=False)
        mean = mean if squeeze is None else squeeze(mean)
        gate = graph.Relu(linear(graph, block.se.squeeze, mean))
        gate = graph.Sigmoid(linear(graph, block.se.excite, gate))
        maps = maps * graph.Unsqueeze(gate, [2, 3])
    if block.shortcut:
        x = convolved(graph, block.shortcut[0], x)
    return graph.Relu(maps + x)


def speaker_blocks(
    graph: Graph, network: SpeakerBlocks, frames: Value, squeeze: Squeeze | None = None
) -> Value:
    """Maps (1, C, F, T) of folded speaker blocks, from frames (n_frames, n_mels)."""
    x = graph.Unsqueeze(frames.transpose(1, 0), [0, 1])
    x = graph.Relu(convolved(graph, network.conv1, x))
    for number in range(network.n_blocks):
        layer: Any = network.get_submodule(f"layer{number + 1}")
        for block in layer:
            x = residual(graph, block, x, squeeze)
    return x
