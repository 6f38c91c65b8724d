"""Whisper's encoder on recordings: each at its own length, long ones in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.nn import pieces
from sklearn_speechsent.speech.layers import LayersFunction
from sklearn_speechsent.speech.log_mel import whisper_log_mel


class WhisperFunction(LayersFunction):
    """Layers of a :class:`~sklearn_speechsent.nn.WhisperEncoder`."""

    normalizations = (None, "level")

    def _inputs(
        self, blocks: Iterable[NDArray[np.float32]]
    ) -> tuple[Iterator[NDArray[np.float32]], int]:
        frames = whisper_log_mel(blocks, self.network.n_mels)
        if self.normalize == "level":
            frames += np.float32(1.5) - frames.max()
        # Of as many frames at most as Whisper was trained on, 30 s.
        cuts = pieces(len(frames), step=2, context=0, longest=2 * self.network.n_positions)
        return (frames[piece] for piece, _ in cuts), -(-len(frames) // 2)
