"""Frozen networks in a graph, on an utterance of any length: the pieces of long ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sklearn_speechsent.features.frozen import GATED_WHOLE, PIECE
from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.graphs.networks import speaker_blocks
from sklearn_speechsent.nn import SpeakerBlocks, SqueezeExcitation, folded


def piece_bounds(
    graph: Graph, n: Value, number: Value, n_pieces: Value, step: int
) -> tuple[Value, Value]:
    """First frame of a piece and of the next one, see :func:`~sklearn_speechsent.nn.pieces`.

    Parameters
    ----------
    graph : Graph
    n : Value of shape (1,)
        Frames of the utterance.
    number : Value of shape ()
        Of the piece.
    n_pieces : Value of shape (1,)
    step : int

    Returns
    -------
    start, stop : Value of shape (1,)
    """

    def edge(k: Value) -> Value:
        width = n.cast(np.float64) / float(step) / n_pieces.cast(np.float64)
        begin = graph.Round(k.cast(np.float64) * width).cast(np.int64) * step
        return graph.Where(k >= n_pieces, n, begin)

    number = graph.Unsqueeze(number, [0])
    return edge(number), edge(number + 1)


def speaker_maps(graph: Graph, network: SpeakerBlocks, frames: Value) -> Value:
    """Maps of frozen speaker blocks on an utterance of any length.

    They are those of the whole. Beyond 60 s, squeeze-excitation takes means over pieces that were
    computed before, each by itself, as :class:`~sklearn_speechsent.SpeakerFeatureExtractor` does.

    Parameters
    ----------
    graph : Graph
    network : SpeakerBlocks
        In eval mode.
    frames : Value of shape (n_frames, n_mels)

    Returns
    -------
    Value of shape (1, out_channels, out_frequencies, n_columns)
    """
    network = folded(network)
    if not network.has_gates:
        return speaker_blocks(graph, network, frames)
    long = frames.size() > GATED_WHOLE
    channels = [
        module.excite.out_features
        for module in network.modules()
        if isinstance(module, SqueezeExcitation)
    ]
    nothing = [graph.constant(np.zeros((1, n), np.float32)) for n in channels]
    given = graph.either(
        long, lambda: _piecewise_means(graph, network, frames, channels), lambda: nothing
    )
    means: Iterator[Value] = iter(given)
    return speaker_blocks(graph, network, frames, lambda own: graph.Where(long, next(means), own))


def _piecewise_means(
    graph: Graph, network: SpeakerBlocks, frames: Value, channels: list[int]
) -> list[Value]:
    """Average over pieces of what each squeeze-excitation finds in them."""
    n, stride, context = frames.size(), network.time_stride, network.half_width
    before = -(-context // stride) * stride
    n_pieces = (n + (PIECE - 1)) // PIECE

    def add(number: Value, n_frames: Value, *totals: Value) -> list[Value]:
        start, stop = piece_bounds(graph, n, number, n_pieces, stride)
        part = frames.part(graph.Max(start - before, [0]), graph.Min(stop + context, n))
        found: list[Value] = []
        speaker_blocks(graph, network, part, lambda mean: found.append(mean) or mean)  # type: ignore[func-returns-value]
        length = part.size()
        return [
            n_frames + length,
            *(
                total + mean.cast(np.float64) * length.cast(np.float64)
                for total, mean in zip(totals, found, strict=True)
            ),
        ]

    zeros = [graph.constant(np.zeros((1, n))) for n in channels]
    n_frames, *totals = graph.loop(n_pieces, add, [graph.constant([0]), *zeros])
    return [(total / n_frames.cast(np.float64)).cast(np.float32) for total in totals]
