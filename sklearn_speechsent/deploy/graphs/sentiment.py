"""Sentiment networks in a graph: encoder, decoders, heads."""

from __future__ import annotations

import copy
from functools import reduce
from typing import Any

import numpy as np
from torch import nn

from sklearn_speechsent.deploy.graphs.statistics import banded
from sklearn_speechsent.graphs.builder import Graph, Value, as_float
from sklearn_speechsent.graphs.networks import linear, residual, speaker_blocks
from sklearn_speechsent.nn import (
    AttentiveDecoder,
    CGDDecoder,
    EncoderNetwork,
    SentimentNetwork,
    StatisticsDecoder,
    folded,
)
from sklearn_speechsent.nn.heads import (
    CoralHead,
    CumulativeLinkHead,
    OrdinalHead,
    SoftmaxHead,
)


def network_output(
    graph: Graph, network: nn.Module, x: Value, embedding: Value | None, head: str
) -> Value:
    """Output of a head of a sentiment network.

    Parameters
    ----------
    graph : Graph
    network : SentimentNetwork or EncoderNetwork
    x : Value
        Frames (T, D), maps (1, C, F, T), or layers of an encoder (T, L, W).
    embedding : Value of shape (1, embedding_size), optional
        Of the speaker.
    head : {"regression", "ordinal"}

    Returns
    -------
    Value
        Intensity of shape (1,), or P(level > k) of shape (1, K - 1), float32.

    Raises
    ------
    ValueError
        If the network is another one.
    """
    network = copy.deepcopy(network).eval()
    if type(network) is SentimentNetwork:
        maps = _residual_maps(graph, folded(network), x)
        n_frequencies = network.stext.out_frequencies
    elif type(network) is EncoderNetwork:
        maps, n_frequencies = _layer_maps(graph, network, x), 1
    else:
        raise ValueError(
            f"module={type(network).__name__} cannot be exported: SentimentNetwork and "
            "EncoderNetwork can. Use one of them, or export your module with torch.onnx."
        )
    described = [_described(graph, network.decoders[head], maps, n_frequencies)]
    if network.spe is not None and embedding is not None:
        speaker = unit(graph, embedding) * network.embedding_size**0.5
        described.append(linear(graph, network.spe, speaker))
    h = graph.Concat(*described, axis=1)
    last: Any = network.heads[head]
    if head == "regression":
        return linear(graph, last.linear, h).reshape(-1)
    return _cumulative(graph, last, h)


def unit(graph: Graph, embedding: Value) -> Value:
    """Embedding of unit length, of shape (1, n)."""
    return embedding / graph.Sqrt((embedding * embedding).reduce("Sum", 1))


# -- what the decoders see -------------------------------------------------------------------------


def _residual_maps(graph: Graph, network: SentimentNetwork, x: Value) -> Value:
    if network.srext is not None:
        x = speaker_blocks(graph, network.srext, x)
    elif network.in_channels == 1:
        x = graph.Unsqueeze(x.transpose(1, 0), [0, 1])
    for block in network.stext.blocks:
        x = residual(graph, block, x, None)
    return x


def _layer_maps(graph: Graph, network: EncoderNetwork, x: Value) -> Value:
    shape = (network.in_channels, network.in_frequencies)
    mean = as_float(network.bn.running_mean).reshape(shape)
    deviation = as_float((network.bn.running_var + network.bn.eps).sqrt()).reshape(shape)
    scale = as_float(network.layer_weights)[:, None] / deviation
    mixed = (x * scale).reduce("Sum", 1, keep=False) - (mean * scale).sum(0)
    h = graph.Relu(linear(graph, network.projection[0], mixed))  # type: ignore[arg-type]
    return graph.Unsqueeze(h.transpose(1, 0), [0, 2])


# -- decoders --------------------------------------------------------------------------------------


def _normalised(bn: Any, h: Value) -> Value:
    deviation = as_float((bn.running_var + bn.eps).sqrt())
    return (h - as_float(bn.running_mean)) / deviation


def _described(graph: Graph, decoder: Any, maps: Value, n_frequencies: int) -> Value:
    """Vector of an utterance, shape (1, n), of maps (1, C, F, T)."""
    if isinstance(decoder, CGDDecoder):
        axes = (3,) if decoder.keep_frequency else (2, 3)
        branches = [
            (decoder.gem_branch, _generalised_mean(graph, decoder.gem, maps)),
            (decoder.mean_branch, maps.reduce("Mean", *axes, keep=False)),
        ]
        return graph.Concat(
            *(
                _normalised(branch.bn, graph.Relu(linear(graph, branch.linear, h.reshape(1, -1))))
                for branch, h in branches
            ),
            axis=1,
        )
    n_values = decoder.descriptor.linear.in_features // 2
    x = banded(graph, maps, n_frequencies, decoder.n_bands).reshape(1, n_values, -1)
    if isinstance(decoder, AttentiveDecoder):
        statistics = _attentive_statistics(graph, decoder.pooling, x)
    else:
        assert isinstance(decoder, StatisticsDecoder)
        mean = x.reduce("Mean", 2)
        variance = ((x - mean) * (x - mean)).reduce("Mean", 2)
        statistics = graph.Sqrt(_joined(graph, mean, variance) + 1e-4)
    descriptor = decoder.descriptor
    return graph.Relu(linear(graph, descriptor.linear, _normalised(descriptor.bn, statistics)))


def _generalised_mean(graph: Graph, gem: Any, maps: Value) -> Value:
    """See :class:`~sklearn_speechsent.nn.GeM`."""
    p = float(gem.p.detach().clamp(1.0, 10.0))
    powers = graph.Log(graph.Max(maps, np.float32(1e-6))) * p
    axes = (3,) if gem.keep_frequency else (2, 3)
    count = reduce(lambda n, axis: n * maps.size(axis), axes, graph.constant([1]))
    log_mean = powers.reduce("LogSumExp", *axes, keep=False) - graph.Log(count.cast(np.float32))
    return graph.Exp(log_mean / p)


def _attentive_statistics(graph: Graph, attention: Any, x: Value) -> Value:
    hidden = graph.Tanh(linear(graph, attention.hidden, x.transpose(0, 2, 1)))
    weights = graph.Softmax(linear(graph, attention.score, hidden), axis=1).transpose(0, 2, 1)
    mean = (weights * x).reduce("Sum", 2)
    return _joined(graph, mean, (weights * (x - mean) * (x - mean)).reduce("Sum", 2))


def _joined(graph: Graph, mean: Value, variance: Value) -> Value:
    """Means, then deviations, shape (1, 2 * n)."""
    return graph.Concat(mean, graph.Sqrt(variance + 1e-7), axis=1).reshape(1, -1)


# -- heads -----------------------------------------------------------------------------------------


def _cumulative(graph: Graph, head: OrdinalHead, h: Value) -> Value:
    """P(level > k), not increasing along k, shape (1, K - 1)."""
    z = linear(graph, head.linear, h)  # type: ignore[arg-type]
    if isinstance(head, SoftmaxHead):
        return above(graph, graph.Softmax(z, axis=1))
    if isinstance(head, CumulativeLinkHead):
        return graph.Sigmoid(z - as_float(head.cutpoints))
    if isinstance(head, CoralHead):
        return running(graph, "Min", graph.Sigmoid(z + as_float(head.bias)), head.n_levels - 1)
    return running(graph, "Mul", graph.Sigmoid(z), head.n_levels - 1)


def running(graph: Graph, op: str, x: Value, n: int) -> Value:
    """Running minimum or product along the last axis, of size n."""
    columns = [x.part(k, k + 1, axis=1) for k in range(n)]
    for k in range(1, n):
        columns[k] = graph.apply(op, columns[k - 1], columns[k])
    return graph.Concat(*columns, axis=1)


def above(graph: Graph, probabilities: Value) -> Value:
    """P(level > k) of probabilities (1, K), shape (1, K - 1)."""
    sums = graph.CumSum(probabilities, np.int64(1), reverse=1)
    return sums.part(1, np.iinfo(np.int64).max, axis=1)


def level_probabilities(graph: Graph, cumulative: Value) -> Value:
    """Differences of P(level > k), of shape (1, K)."""
    one = graph.constant(np.ones((1, 1)), cumulative.dtype)
    edges = graph.Concat(one, cumulative, one - one, axis=1)
    end = np.iinfo(np.int64).max
    return edges.part(0, -1, axis=1) - edges.part(1, end, axis=1)
