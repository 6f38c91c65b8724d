"""Whisper's encoder in a graph, on a recording of any length."""

from __future__ import annotations

import numpy as np

from sklearn_speechsent.deploy.graphs.frames import trimmed, whisper_frames
from sklearn_speechsent.deploy.graphs.pieces import piece_bounds
from sklearn_speechsent.deploy.graphs.statistics import pooled
from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.graphs.whisper import whisper_layers
from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.speech import SpeechEncoder


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
        made = whisper_layers(graph, network, frames.part(start, stop), layers)
        return [graph.Concat(found, made, axis=0)]

    nothing = graph.constant(np.zeros((0, len(layers), network.width), np.float32))
    return graph.loop(n_pieces, add, [nothing])[0]
