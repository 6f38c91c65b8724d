"""Whisper's encoder in a graph, on one piece of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.graphs.networks import linear
from sklearn_speechsent.nn import WhisperEncoder

#: Values of a head of attention, in every size of Whisper.
_HEAD = 64


def whisper_layers(
    graph: Graph, network: WhisperEncoder, frames: Value, layers: Sequence[int]
) -> Value:
    """Layers (n_positions, n_layers, width) of a prepared encoder, from frames (n, n_mels)."""
    x = graph.Unsqueeze(frames.transpose(1, 0), [0])
    for conv in (network.conv1, network.conv2):
        strides = list(conv.stride)
        x = _gelu(graph, graph.Conv(x, conv.weight, conv.bias, pads=[1, 1], strides=strides))
    x = graph.Squeeze(x, [0]).transpose(1, 0)
    x = x + graph.constant(network.positional_embedding).part(0, x.size())
    found = {0: x}
    blocks: Any = network.blocks[: max(layers)]
    for number, block in enumerate(blocks, start=1):
        x = x + _attention(graph, block.attn, _norm(graph, block.attn_ln, x))
        inner = linear(graph, block.mlp[0], _norm(graph, block.mlp_ln, x))
        x = x + linear(graph, block.mlp[2], _gelu(graph, inner))
        found[number] = x
    return graph.Concat(*(graph.Unsqueeze(found[layer], [1]) for layer in layers), axis=1)


def _gelu(graph: Graph, x: Value) -> Value:
    return x * 0.5 * (graph.Erf(x * 0.5**0.5) + 1.0)


def _norm(graph: Graph, norm: nn.LayerNorm, x: Value) -> Value:
    return graph.LayerNormalization(x, norm.weight, norm.bias, axis=-1, epsilon=norm.eps)


def _attention(graph: Graph, attention: Any, x: Value) -> Value:
    """Every position looks at all positions."""
    width = attention.joined.out_features // 3
    joined = linear(graph, attention.joined, x).reshape(-1, 3, width // _HEAD, _HEAD)
    heads = joined.transpose(1, 2, 0, 3)
    query, key, value = (heads.take(np.int64(part), axis=0) for part in range(3))
    weights = graph.Softmax((query * _HEAD**-0.5) @ key.transpose(0, 2, 1), axis=-1)
    seen = (weights @ value).transpose(1, 0, 2).reshape(-1, width)
    return linear(graph, attention.out, seen)
