"""Frozen networks over utterances: each one whole and unpadded, several at a time.

On a CPU one utterance of a few seconds fills the processor's arithmetic already: batches of several
would gain nothing and pay for their padding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import joblib
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features.base import UtteranceTransformer
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.nn import folded
from sklearn_speechsent.pretrained import SpeakerWeights, check_frame_settings, load_weights
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.utils.sklearn_compat import HasMethods
from sklearn_speechsent.utils.threads import torch_threads

#: Types that convolutions of a frozen network may compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Types of the parameter ``weights``.
WEIGHTS_CONSTRAINT = [str, os.PathLike, HasMethods(["to_weights"])]


class FrozenFunction:
    """A network on one utterance after another, folded when there is one to compute.

    Parameters
    ----------
    network : Module
        In eval mode; called with the frames of an utterance, of shape (1, T, n_mels), and lengths.
    precision : {"float32", "bfloat16"}
    finish : callable
        Makes an array with one row per frame of the network's output.
    n_threads : int or None
        Threads of torch for an utterance.
    """

    def __init__(
        self,
        network: Any,
        precision: str,
        finish: Callable[[Any], NDArray[Any]],
        n_threads: int | None,
    ) -> None:
        self.network = network
        self.precision = precision
        self.finish = finish
        self.n_threads = n_threads

    @cached_property
    def folded(self) -> Any:
        """Network with batch normalisations folded into its convolutions."""
        return folded(self.network, PRECISIONS[self.precision])

    def __call__(self, utterances: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Output for each utterance of a batch."""
        for utterance in utterances:
            # Frames of a file are read-only, which torch does not accept.
            batch = torch.tensor(utterance, dtype=torch.float32)[None]
            with torch_threads(self.n_threads), torch.inference_mode():
                output = self.folded(batch, torch.tensor([len(utterance)]))
            yield self.finish(output)


class FrozenTransformer(UtteranceTransformer):
    """Transformer from frames to what a pre-trained speaker network makes of them.

    A subclass builds ``network_`` (:meth:`_build`) and turns its output into an array
    (:meth:`_output`).
    """

    weights: Any
    precision: str
    network_: Any
    weights_: SpeakerWeights

    def _build(self, weights: SpeakerWeights) -> Any:
        """Network in eval mode with the tensors of pre-trained weights."""
        raise NotImplementedError

    def _output(self) -> Callable[[Any], NDArray[Any]]:
        """Function from the network's output to an array, of one row per frame."""
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
        return {"sha256": self.weights_.sha256, "precision": self.precision}

    def _function(self, rows: FrameRows) -> FrozenFunction:
        _, n_threads = self._workers(rows)
        return FrozenFunction(self.network_, self.precision, self._output(), n_threads)

    def _workers(self, rows: FrameRows) -> tuple[int | None, int | None]:
        """Utterances at a time and, where there are fewer than workers, threads for each."""
        if self.n_jobs is None:
            return None, None
        n_workers = joblib.effective_n_jobs(self.n_jobs)
        n_jobs = min(n_workers, len(rows))
        return n_jobs, n_workers // n_jobs

    def _compute(self, rows: Any, **options: Any) -> Computed:
        n_jobs, n_threads = self._workers(rows)
        # Threads that are about to start inherit it; processes set it in the function.
        with torch_threads(n_threads):
            return super()._compute(rows, n_jobs=n_jobs, **options)
