"""Whisper's encoder in a graph, on a recording of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from sklearn_speechsent.deploy.graphs.builder import Graph, Value
from sklearn_speechsent.deploy.graphs.frames import trimmed, whisper_frames
from sklearn_speechsent.deploy.graphs.networks import linear, piece_bounds
from sklearn_speechsent.deploy.graphs.statistics import pooled
from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.speech import SpeechEncoder

#: Values of a head of attention, in every size of Whisper.
_HEAD = 64


def encoder_output(graph: Graph, samples: Value, step: SpeechEncoder) -> Value:
    """Statistics of layers, or the layers themselves.

    Parameters
    ----------
    graph : Graph
    samples : Value of shape (n,)
    step : SpeechEncoder
        Fitted.

    Returns
    -------
    Value
        Table (1, n_layers * n_statistics * width) or layers (n_positions, n_layers, width).

    Raises
    ------
    ValueError
        If it is not a Whisper.
    """
    network = step.network_
    if not isinstance(network, WhisperEncoder):
        raise ValueError(
            f"SpeechEncoder(model={step.model!r}) cannot be exported: it is not a Whisper. Use "
            '"whisper-base" or another size of it, or deploy the pipeline with save_model.'
        )
    frames = whisper_frames(graph, trimmed(graph, samples), network.n_mels)
    if step.normalize == "level":
        frames = frames + (1.5 - frames.reduce("Max", 0, 1))
    layers = _layers_in_pieces(graph, network, frames, [int(layer) for layer in step.layers])
    if step.pooling is None:
        return layers.cast(step.dtype).cast(np.float32)
    values = layers.transpose(1, 2, 0).reshape(len(step.layers) * network.width, -1)
    parts = [
        part.reshape(len(step.layers), 1, network.width)
        for part in pooled(graph, values, step.statistics)
    ]
    return graph.Concat(*parts, axis=1).reshape(1, -1).cast(step.dtype).cast(np.float32)


def _layers_in_pieces(
    graph: Graph, network: WhisperEncoder, frames: Value, layers: list[int]
) -> Value:
    """Layers (n_positions, n_layers, width) of pieces of 30 s at most, one after the other."""
    n, longest = frames.size(), 2 * network.n_positions
    n_pieces = (n + (longest - 1)) // longest

    def add(number: Value, found: Value) -> list[Value]:
        start, stop = piece_bounds(graph, n, number, n_pieces, 2)
        made = _layers(graph, network, frames.part(start, stop), layers)
        return [graph.Concat(found, made, axis=0)]

    nothing = graph.constant(np.zeros((0, len(layers), network.width), np.float32))
    return graph.loop(n_pieces, add, [nothing])[0]


def _layers(graph: Graph, network: WhisperEncoder, frames: Value, layers: list[int]) -> Value:
    """Layers (n_positions, n_layers, width) of a piece."""
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
