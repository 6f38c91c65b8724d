"""Frozen networks over utterances: one by one or in padded batches, long ones in pieces.

On a CPU one utterance of a few seconds fills the processor's arithmetic already: batches of several
would gain nothing and pay for their padding. On another device they are what makes it fast.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from sklearn_speechsent.features.base import UtteranceTransformer
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.graphs.builder import Graph
from sklearn_speechsent.graphs.networks import speaker_blocks
from sklearn_speechsent.graphs.openvino import check_backend, compiled, uses_openvino
from sklearn_speechsent.nn import SpeakerBlocks, folded, pieces
from sklearn_speechsent.nn.blocks import Squeeze
from sklearn_speechsent.nn.derived import derived
from sklearn_speechsent.pretrained import SpeakerWeights, check_frame_settings, load_weights
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.utils.devices import (
    check_device,
    exact_float32,
    is_processor,
    usable_device,
)
from sklearn_speechsent.utils.sklearn_compat import HasMethods
from sklearn_speechsent.utils.threads import torch_threads

#: Types that convolutions of a frozen network may compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Frames of the longest utterance that squeeze-excitation, which looks at the whole, sees whole.
GATED_WHOLE = 6000
#: Frames of the longest piece of a longer one, and of any without squeeze-excitation. With it, both
#: numbers are part of what the features are; else the length of pieces only bounds memory.
PIECE = 1000
#: Frames of the largest batch on a device other than the processor, padding included: the maps of
#: its first block take 0.3 GB, of which a network needs a few at a time.
BATCH = 32_000
#: Types of the parameter ``weights``.
WEIGHTS_CONSTRAINT = [str, os.PathLike, HasMethods(["to_weights"])]
_CPU = torch.device("cpu")


#: Makes the result for an utterance of the pieces of its maps, each of shape (n_columns_i,
#: n_channels, n_frequencies), float32, and of the number of columns of all together.
Finish = Callable[[Iterable[NDArray[np.float32]], int], NDArray[Any]]


def n_at_a_time(n_jobs: int | None, device: Any) -> int | None:
    """Tasks that compute at a time: one on a device, which has the network once.

    Parameters
    ----------
    n_jobs : int or None
        Of :func:`workers`.
    device : str or torch.device

    Returns
    -------
    int or None
    """
    return n_jobs if is_processor(device) else 1


def arithmetic(precision: str, backend: str) -> dict[str, str]:
    """Settings of a step that change more than the rounding of its features.

    Parameters
    ----------
    precision : {"float32", "bfloat16"}
    backend : {"torch", "openvino"}

    Returns
    -------
    dict of str to str
        In bfloat16 the backends differ from each other by as much as from float32.
    """
    if (precision, backend) == ("bfloat16", "openvino"):
        return {"precision": precision, "backend": backend}
    return {"precision": precision}


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
    """A network on utterances, folded when there is one to compute.

    A piece is computed with the frames on either side that its maps depend on. Together the pieces
    are the maps of the whole utterance, except for squeeze-excitation, which scales channels by
    their means over the utterance. A first run over the pieces, each by itself, gives the means,
    and a second one uses their averages in all pieces.

    On a device other than the processor utterances of one piece that follow each other are a
    padded batch. Padding is masked: up to rounding they have the maps that each has by itself.

    Parameters
    ----------
    network : SpeakerBlocks
        In eval mode, on the processor.
    precision : {"float32", "bfloat16"}
    finish : callable
        See :data:`Finish`.
    n_threads : int or None
        Threads of torch for an utterance.
    device : torch.device, default=torch.device("cpu")
        Where the maps are computed, with a copy of the network.
    n_jobs : int or None
        Threads that finish the utterances of a batch; utterances that OpenVINO computes at a time.
    openvino : bool
        Whether OpenVINO computes what is one piece, or what has no squeeze-excitation.
    """

    def __init__(
        self,
        network: SpeakerBlocks,
        precision: str,
        finish: Finish,
        n_threads: int | None,
        device: torch.device = _CPU,
        n_jobs: int | None = None,
        openvino: bool = False,
    ) -> None:
        self.network = network
        self.precision = precision
        self.finish = finish
        self.n_threads = n_threads
        self.device = device
        self.n_jobs = n_jobs
        self.openvino = openvino
        #: Frames of the largest batch; an utterance that is longer is by itself.
        self.batch = 0 if device.type == "cpu" else BATCH

    @cached_property
    def folded(self) -> SpeakerBlocks:
        """Network with batch normalisations folded into its convolutions, on the device."""
        dtype = PRECISIONS[self.precision]
        if self.device.type != "cpu":  # moving a network moves all that share its tensors
            return folded(copy.deepcopy(self.network).to(self.device), dtype)
        # Folding takes as long as half a second of speech.
        return derived(self.network, ("folded", dtype), partial(folded, self.network, dtype))

    def __call__(self, utterances: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Result for each utterance of a batch."""
        for group in self._groups(utterances):
            if len(group) == 1:
                n_columns = -(-len(group[0]) // self.network.time_stride)
                yield self.finish(self._maps(group[0]), n_columns)
                continue
            with ThreadPoolExecutor(self.n_jobs or 1) as threads:
                yield from threads.map(
                    lambda maps: self.finish([maps], len(maps)), self._batch_maps(group)
                )

    def _longest_whole(self) -> int:
        """Frames of the longest utterance that is one piece."""
        return GATED_WHOLE if self.network.has_gates else PIECE

    def _groups(self, utterances: Iterable[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
        """Utterances that are computed together."""
        group: list[NDArray[Any]] = []
        longest = 0
        for utterance in utterances:
            longest = max(longest, len(utterance))
            size = (len(group) + 1) * longest
            if group and (size > self.batch or longest > self._longest_whole()):
                yield group
                group, longest = [], len(utterance)
            group.append(utterance)
        if group:
            yield group

    def _batch_maps(self, group: list[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Maps of each utterance of a padded batch, time first."""
        maps = self._run(group).permute(0, 3, 1, 2).float().contiguous().cpu().numpy()
        stride = self.network.time_stride
        return [
            row[: -(-len(utterance) // stride)] for row, utterance in zip(maps, group, strict=True)
        ]

    def _maps(self, utterance: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Maps of an utterance piece by piece, time first."""
        stride = self.network.time_stride
        context = self.network.half_width
        gated = self.network.has_gates
        whole = len(utterance) <= self._longest_whole()
        longest = self._longest_whole() if whole else PIECE
        cuts = list(pieces(len(utterance), step=stride, context=context, longest=longest))
        means: list[torch.Tensor] = []
        if gated and len(cuts) > 1:
            means = self._means([utterance[seen] for _, seen in cuts])
        # A long piece takes memory for all its maps at a time in OpenVINO.
        openvino = self.openvino and (not gated or len(utterance) <= PIECE)
        for piece, seen in cuts:
            first = (piece.start - seen.start) // stride
            last = first - (piece.start - piece.stop) // stride  # rounded up
            if openvino:
                yield self._by_openvino(utterance[seen])[first:last]
                continue
            maps = self._run([utterance[seen]], partial(_given, iter(means)) if means else None)
            maps = maps[0, :, :, first:last].permute(2, 0, 1).float()
            yield np.ascontiguousarray(maps.cpu().numpy())

    def _means(self, parts: list[NDArray[Any]]) -> list[torch.Tensor]:
        """Average over pieces of what each squeeze-excitation finds in them, in order."""
        totals: list[torch.Tensor] = []
        for part in parts:
            found: list[torch.Tensor] = []
            self._run([part], partial(_noted, found))
            # Added up in place: small tensors of every piece would lie between large ones that are
            # freed, and memory would grow with their number.
            totals = totals or [torch.zeros_like(mean, dtype=torch.float64) for mean in found]
            for total, mean in zip(totals, found, strict=True):
                total += len(part) * mean
        n_frames = sum(map(len, parts))
        return [(total / n_frames).to(torch.float32) for total in totals]

    def _by_openvino(self, part: NDArray[Any]) -> NDArray[np.float32]:
        """Maps of a piece, time first."""
        network = self.network

        def make() -> Any:
            graph = Graph()
            frames = graph.input("frames", "float32", ["n_frames", network.n_mels])
            maps = speaker_blocks(graph, folded(network), frames).transpose(0, 3, 1, 2)
            return graph.model({"maps": maps.reshape(-1)})

        run = compiled(
            network,
            "maps",
            make,
            n_calls=self.n_jobs,
            n_threads=self.n_threads,
            precision=self.precision,
        )
        maps = run(np.asarray(part, np.float32))
        return maps.reshape(-1, network.out_channels, network.out_frequencies)

    def _run(self, parts: list[NDArray[Any]], squeeze: Squeeze | None = None) -> torch.Tensor:
        """Maps of a padded batch of pieces."""
        # Frames of a file are read-only, which torch does not accept.
        batch = pad_sequence([torch.tensor(p, dtype=torch.float32) for p in parts], True)
        lengths = torch.tensor([len(part) for part in parts]).to(self.device)
        with (
            torch_threads(self.n_threads),
            exact_float32(self.device),
            torch.inference_mode(),
        ):
            maps, _ = self.folded.maps(batch.to(self.device), lengths, squeeze)
        return maps


class FrozenTransformer(UtteranceTransformer):
    """Transformer from frames to what a pre-trained speaker network makes of them.

    A subclass builds ``network_`` (:meth:`_build`) and turns its maps into an array
    (:meth:`_output`).
    """

    weights: Any
    precision: str
    backend: str
    device: Any
    network_: Any
    weights_: SpeakerWeights

    def _build(self, weights: SpeakerWeights) -> Any:
        """Network in eval mode with the tensors of pre-trained weights."""
        raise NotImplementedError

    def _output(self) -> Finish:
        """Function from the pieces of the maps to an array."""
        raise NotImplementedError

    def _fit(self, X: Any, y: Any) -> FrameRows:
        check_device(self.device)
        check_backend(self.backend, self.device, self.precision)
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
        # Not the device: the features of another one are the same, up to rounding.
        settings = {"sha256": self.weights_.sha256, **arithmetic(self.precision, self.backend)}
        pieces = {"whole": GATED_WHOLE, "piece": PIECE}
        return settings | (pieces if self.network_.has_gates else {})

    def _function(self, rows: FrameRows) -> FrozenFunction:
        device = usable_device(self.device)
        n_jobs, n_threads = workers(self.n_jobs, len(rows))
        return FrozenFunction(
            self.network_,
            self.precision,
            self._output(),
            n_threads,
            device,
            n_jobs,
            uses_openvino(self.backend, self.device, self.precision),
        )

    def _compute(self, rows: Any, **options: Any) -> Computed:
        n_jobs, n_threads = workers(self.n_jobs, len(rows))
        # Threads that are about to start inherit it; processes set it in the function.
        with torch_threads(n_threads):
            return super()._compute(rows, n_jobs=n_at_a_time(n_jobs, self.device), **options)
