"""Whisper's encoder on recordings: each at its own length, long ones in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.graphs.builder import Graph
from sklearn_speechsent.graphs.openvino import compiled
from sklearn_speechsent.graphs.whisper import whisper_layers
from sklearn_speechsent.nn import pieces
from sklearn_speechsent.speech.layers import LayersFunction
from sklearn_speechsent.speech.log_mel import whisper_log_mel


class WhisperFunction(LayersFunction):
    """Layers of a :class:`~sklearn_speechsent.nn.WhisperEncoder`."""

    normalizations = (None, "level")
    backends = ("torch", "openvino")

    def _run(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.openvino:
            return super()._run(given)
        network = self.network

        def make() -> Any:
            graph = Graph()
            frames = graph.input("frames", "float32", ["n_frames", network.n_mels])
            layers = whisper_layers(graph, network, frames, self.layers)
            return graph.model({"layers": layers.reshape(-1)})

        low = network.conv1.weight.dtype == torch.bfloat16
        run = compiled(
            network,
            tuple(self.layers),
            make,
            n_calls=self.n_jobs,
            n_threads=self.n_threads,
            precision="bfloat16" if low else "float32",
        )
        return run(given).reshape(-1, len(self.layers), network.width)

    def _inputs(
        self, blocks: Iterable[NDArray[np.float32]]
    ) -> tuple[Iterator[NDArray[np.float32]], int]:
        frames = whisper_log_mel(blocks, self.network.n_mels)
        if self.normalize == "level":
            frames += np.float32(1.5) - frames.max()
        # Of as many frames at most as Whisper was trained on, 30 s.
        cuts = pieces(len(frames), step=2, context=0, longest=2 * self.network.n_positions)
        return (frames[piece] for piece, _ in cuts), -(-len(frames) // 2)
