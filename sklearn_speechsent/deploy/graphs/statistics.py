"""Statistics over time, and what is made of them, in a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sklearn_speechsent.graphs.builder import Graph, Value, as_float
from sklearn_speechsent.nn.pooling import average_bands


def banded(graph: Graph, maps: Value, n_frequencies: int, n_bands: int) -> Value:
    """Maps whose neighbouring frequencies are averaged to bands.

    Parameters
    ----------
    graph : Graph
    maps : Value of shape (1, C, n_frequencies, T)
    n_frequencies, n_bands : int

    Returns
    -------
    Value of shape (1, C, n_bands, T)
    """
    if n_bands == n_frequencies:
        return maps
    unit = torch.eye(n_frequencies)[None, :, :, None]
    return graph.MatMul(as_float(average_bands(unit, n_bands)[0, :, :, 0].T), maps)


def pooled(graph: Graph, values: Value, statistics: Sequence[str]) -> list[Value]:
    """Statistics of values over time, see :func:`~sklearn_speechsent.features.pool_statistics`.

    Parameters
    ----------
    graph : Graph
    values : Value of shape (n_values, n_frames)
    statistics : sequence of str

    Returns
    -------
    list of Value of shape (n_values,), float64
        Thirds are three.
    """
    x, n = values.cast(np.float64), values.size(1)
    made: list[Value] = []
    for name in statistics:
        if name == "mean":
            made.append(x.reduce("Mean", 1, keep=False))
        elif name == "std":
            spread = x - x.reduce("Mean", 1)
            made.append(graph.Sqrt((spread * spread).reduce("Mean", 1, keep=False)))
        elif name == "delta":
            steps = x - graph.Concat(x.part(0, 1, axis=1), x.part(0, -1, axis=1), axis=1)
            count = graph.Max(n - 1, [1]).cast(np.float64)
            made.append(graph.Sqrt((steps * steps).reduce("Sum", 1, keep=False) / count))
        else:
            made += _thirds(graph, x, n)
    return made


def _thirds(graph: Graph, x: Value, n: Value) -> list[Value]:
    """Means of the first, second and last third, which share frames if there are too few."""
    edges = graph.Round(n.cast(np.float64) * (np.arange(4) / 3.0)).cast(np.int64)
    starts = graph.Min(edges.part(0, 3), n - 1)
    stops = graph.Max(edges.part(1, 4), starts + 1)
    frame = graph.Unsqueeze(graph.arange(n), [1])
    counted = ((frame >= starts) & (frame < stops)).cast(np.float64)
    means = (x @ counted) / (stops - starts).cast(np.float64)
    return [means.take(np.int64(third), axis=1) for third in range(3)]
