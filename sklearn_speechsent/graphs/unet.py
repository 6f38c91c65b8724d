"""U-net of the voice activity detector in a graph, on one utterance."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from sklearn_speechsent.graphs.builder import Graph, Value, as_float
from sklearn_speechsent.nn import SpeechUNet


def speech_logits(graph: Graph, network: SpeechUNet, frames: Value) -> Value:
    """Logits (n,) of a folded U-net, from frames (n, n_mels) without the utterance's level."""
    x = graph.Unsqueeze((frames * 0.25).transpose(1, 0), [0])

    def convolve(x: Value, convolution: nn.Conv2d) -> Value:
        weight = as_float(convolution.weight)[:, :, 0]  # over time only
        pads, stride = [convolution.padding[1]] * 2, [convolution.stride[1]]
        return graph.Conv(x, weight, convolution.bias, pads=pads, strides=stride)

    passed = []
    down, up = cast(Any, network.down), cast(Any, network.up)
    for block in down:
        for part in block:
            x = graph.Relu(convolve(x, part.conv))
        passed.append(x)
    passed.pop()
    for part in up:
        skipped = passed.pop()
        twice = graph.Concat(*[graph.Unsqueeze(x, [3])] * 2, axis=3).reshape(0, 0, -1)
        x = graph.Concat(twice.part(0, skipped.size(2), axis=2), skipped, axis=1)
        x = graph.Relu(convolve(x, part.conv))
    return convolve(x, network.head).reshape(-1)
