"""Frozen networks over utterances: each one unpadded, long ones in pieces.

On a CPU one utterance of a few seconds fills the processor's arithmetic already: batches of several
would gain nothing and pay for their padding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features.base import UtteranceTransformer
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.nn import SpeakerBlocks, folded, pieces
from sklearn_speechsent.nn.blocks import Squeeze
from sklearn_speechsent.pretrained import SpeakerWeights, check_frame_settings, load_weights
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.utils.sklearn_compat import HasMethods
from sklearn_speechsent.utils.threads import torch_threads

#: Types that convolutions of a frozen network may compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Frames of the longest utterance that squeeze-excitation, which looks at the whole, sees whole.
GATED_WHOLE = 6000
#: Frames of the longest piece of a longer one, and of any without squeeze-excitation. With it, both
#: numbers are part of what the features are; else the length of pieces only bounds memory.
PIECE = 1000
#: Types of the parameter ``weights``.
WEIGHTS_CONSTRAINT = [str, os.PathLike, HasMethods(["to_weights"])]


#: Makes the result for an utterance of the pieces of its maps, each of shape (n_columns_i,
#: n_channels, n_frequencies), float32, and of the number of columns of all together.
Finish = Callable[[Iterable[NDArray[np.float32]], int], NDArray[Any]]


def _noted(means: list[torch.Tensor], mean: torch.Tensor) -> torch.Tensor:
    means.append(mean)
    return mean


def _given(means: Iterator[torch.Tensor], _: torch.Tensor) -> torch.Tensor:
    return next(means)


def workers(n_jobs: int | None, n: int) -> tuple[int | None, int | None]:
    """Share of the cores among utterances, and among the threads of each where there are few.

    Parameters
    ----------
    n_jobs : int or None
        In joblib's reading.
    n : int
        Utterances.

    Returns
    -------
    n_jobs : int or None
        Utterances at a time; None, one after the other.
    n_threads : int or None
        Threads of torch for each; None, as many as torch is set to.
    """
    if n_jobs is None:
        return None, None
    n_workers = joblib.effective_n_jobs(n_jobs)
    n_jobs = min(n_workers, n)
    return n_jobs, n_workers // n_jobs


class FrozenFunction:
    """A network on one utterance after another, folded when there is one to compute.

    A piece is computed with the frames on either side that its maps depend on. Together the pieces
    are the maps of the whole utterance, except for squeeze-excitation, which scales channels by
    their means over the utterance. A first run over the pieces, each by itself, gives the means,
    and a second one uses their averages in all pieces.

    Parameters
    ----------
    network : SpeakerBlocks
        In eval mode.
    precision : {"float32", "bfloat16"}
    finish : callable
        See :data:`Finish`.
    n_threads : int or None
        Threads of torch for an utterance.
    """

    def __init__(
        self,
        network: SpeakerBlocks,
        precision: str,
        finish: Finish,
        n_threads: int | None,
    ) -> None:
        self.network = network
        self.precision = precision
        self.finish = finish
        self.n_threads = n_threads

    @cached_property
    def folded(self) -> SpeakerBlocks:
        """Network with batch normalisations folded into its convolutions."""
        return folded(self.network, PRECISIONS[self.precision])

    def __call__(self, utterances: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Result for each utterance of a batch."""
        for utterance in utterances:
            n_columns = -(-len(utterance) // self.network.time_stride)
            yield self.finish(self._maps(utterance), n_columns)

    def _maps(self, utterance: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Maps of an utterance piece by piece, time first."""
        stride = self.network.time_stride
        context = self.network.half_width
        gated = self.network.has_gates
        longest = GATED_WHOLE if gated and len(utterance) <= GATED_WHOLE else PIECE
        cuts = list(pieces(len(utterance), step=stride, context=context, longest=longest))
        means: list[torch.Tensor] = []
        if gated and len(cuts) > 1:
            means = self._means([utterance[seen] for _, seen in cuts])
        for piece, seen in cuts:
            maps = self._run(utterance[seen], partial(_given, iter(means)) if means else None)
            first = (piece.start - seen.start) // stride
            last = first - (piece.start - piece.stop) // stride  # rounded up
            yield np.ascontiguousarray(maps[0, :, :, first:last].permute(2, 0, 1).float().numpy())

    def _means(self, parts: list[NDArray[Any]]) -> list[torch.Tensor]:
        """Average over pieces of what each squeeze-excitation finds in them, in order."""
        totals: list[torch.Tensor] = []
        for part in parts:
            found: list[torch.Tensor] = []
            self._run(part, partial(_noted, found))
            # Added up in place: small tensors of every piece would lie between large ones that are
            # freed, and memory would grow with their number.
            totals = totals or [torch.zeros_like(mean, dtype=torch.float64) for mean in found]
            for total, mean in zip(totals, found, strict=True):
                total += len(part) * mean
        n_frames = sum(map(len, parts))
        return [(total / n_frames).to(torch.float32) for total in totals]

    def _run(self, frames: NDArray[Any], squeeze: Squeeze | None) -> torch.Tensor:
        """Maps of a piece."""
        # Frames of a file are read-only, which torch does not accept.
        batch = torch.tensor(frames, dtype=torch.float32)[None]
        with torch_threads(self.n_threads), torch.inference_mode():
            maps, _ = self.folded.maps(batch, torch.tensor([len(frames)]), squeeze)
        return maps


class FrozenTransformer(UtteranceTransformer):
    """Transformer from frames to what a pre-trained speaker network makes of them.

    A subclass builds ``network_`` (:meth:`_build`) and turns its maps into an array
    (:meth:`_output`).
    """

    weights: Any
    precision: str
    network_: Any
    weights_: SpeakerWeights

    def _build(self, weights: SpeakerWeights) -> Any:
        """Network in eval mode with the tensors of pre-trained weights."""
        raise NotImplementedError

    def _output(self) -> Finish:
        """Function from the pieces of the maps to an array."""
        raise NotImplementedError

    def _fit(self, X: Any, y: Any) -> FrameRows:
        frames = check_frames(self, X, reset=True)
        weights = load_weights(self.weights)
        check_frame_settings(weights, frames)
        self.network_ = self._build(weights)
        self.weights_ = replace(weights, state={})
        return FrameRows(frames)

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> FrameRows:
        frames = check_frames(self, X, reset=reset)
        check_frame_settings(self.weights_, frames)
        return FrameRows(frames)

    def _settings(self, rows: FrameRows) -> dict[str, Any]:
        settings = {"sha256": self.weights_.sha256, "precision": self.precision}
        pieces = {"whole": GATED_WHOLE, "piece": PIECE}
        return settings | (pieces if self.network_.has_gates else {})

    def _function(self, rows: FrameRows) -> FrozenFunction:
        _, n_threads = workers(self.n_jobs, len(rows))
        return FrozenFunction(self.network_, self.precision, self._output(), n_threads)

    def _compute(self, rows: Any, **options: Any) -> Computed:
        n_jobs, n_threads = workers(self.n_jobs, len(rows))
        # Threads that are about to start inherit it; processes set it in the function.
        with torch_threads(n_threads):
            return super()._compute(rows, n_jobs=n_jobs, **options)
