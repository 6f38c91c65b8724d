"""Frozen networks, each utterance by itself: whole, unpadded, and on as many cores as there are.

On a CPU one utterance of a few seconds fills the processor's arithmetic already; batches of several
would gain nothing and pay for their padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import joblib
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features.base import map_utterances
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.nn import SpeakerBlocks, folded
from sklearn_speechsent.store import as_store
from sklearn_speechsent.store.kept import kept
from sklearn_speechsent.utils.threads import torch_threads

#: Types that convolutions of a frozen network may compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class _Frozen:
    """A network on one utterance after the other, folded as soon as there is one."""

    def __init__(
        self,
        network: SpeakerBlocks,
        precision: str,
        finish: Callable[[Any], NDArray[Any]],
        n_threads: int | None,
    ) -> None:
        self.network = network
        self.precision = precision
        self.finish = finish
        self.n_threads = n_threads

    @cached_property
    def folded(self) -> SpeakerBlocks:
        return folded(self.network, PRECISIONS[self.precision])

    def __call__(self, utterances: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for utterance in utterances:
            # Frames of a file are read-only, which torch does not want.
            batch = torch.tensor(utterance, dtype=torch.float32)[None]
            with torch_threads(self.n_threads), torch.inference_mode():
                output = self.folded(batch, torch.tensor([len(utterance)]))
            yield self.finish(output)


def apply_frozen(
    network: SpeakerBlocks,
    frames: UtteranceFrames,
    finish: Callable[[Any], NDArray[Any]],
    *,
    precision: str,
    memory: Any,
    step: str,
    settings: dict[str, Any],
    keeps_frames: bool,
    n_jobs: int | None,
    verbose: int,
    description: str,
) -> UtteranceFrames:
    """What a frozen network makes of each utterance, computed or out of a store.

    Parameters
    ----------
    network : SpeakerBlocks
        In eval mode; called with the frames of an utterance, of shape (1, T, n_mels), and lengths.
    frames : UtteranceFrames
    finish : callable
        Makes an array with one row per frame of what the network gives.
    precision : {"float32", "bfloat16"}
    memory : str, Path, FeatureStore or None
    step : str
        Name of the step in a store.
    settings : dict
        All that a kept result depends on, but for ``precision``.
    keeps_frames : bool
        Whether results are frames rather than one row per utterance, for the type they are kept in.
    n_jobs : int or None
        Utterances at a time, and where there are fewer, threads of torch for each.
    verbose : int
        Whether to show a progress bar.
    description : str
        Its label.

    Returns
    -------
    UtteranceFrames
    """
    n_at_a_time = n_threads = None
    if n_jobs is not None:
        n_workers = joblib.effective_n_jobs(n_jobs)
        n_at_a_time = min(n_workers, len(frames))
        n_threads = n_workers // n_at_a_time
    each = _Frozen(network, precision, finish, n_threads)
    progress: dict[str, Any] = {
        "n_jobs": n_at_a_time,
        "verbose": verbose,
        "description": description,
    }
    # Set here for the threads that are about to start, which take it over; each sets it again where
    # it is a process instead.
    with torch_threads(n_threads):
        if memory is not None:
            settings = {**settings, "precision": precision}
            shelf = as_store(memory).shelf(step, settings, frames=keeps_frames)
            return kept(shelf, frames, each, **progress)
        results = map_utterances(
            lambda utterance: next(each([utterance])),
            ((utterance,) for utterance in frames),
            n=len(frames),
            **progress,
        )
    return frames.with_frames(results)
