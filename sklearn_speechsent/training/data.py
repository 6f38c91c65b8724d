"""Padded batches of utterances, and the random draws of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import skorch.dataset
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import BatchSampler

from sklearn_speechsent.frames.container import UtteranceFrames

#: One batch: what the module takes, and what the losses take.
Batch = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
#: Largest number of frames in a batch of whole utterances, padding included.
_MAX_FRAMES = 32_000


class UtteranceDataset(skorch.dataset.Dataset):
    """Utterances that are indexed by whole batches: ``dataset[rows]``.

    A batch is one gather from the flat base, however many utterances it has. It is a skorch
    dataset, so that scoring callbacks find ``X`` and ``y`` in it.

    Parameters
    ----------
    X : UtteranceFrames
    y : ndarray of shape (n,), optional
        Labels as the user gave them, for scoring callbacks.
    targets : dict of ndarray of shape (n,), optional
        What the losses compare with.
    chunk : int, optional
        Longer utterances are cut to a random stretch of this many frames.
    rng : RandomState, optional
        Draws the stretches.
    augment : callable, optional
        Applied to the padded batch: ``augment(x, lengths)``.
    """

    def __init__(
        self,
        X: UtteranceFrames,
        y: NDArray[Any] | None = None,
        *,
        targets: dict[str, NDArray[Any]] | None = None,
        chunk: int | None = None,
        rng: np.random.RandomState | None = None,
        augment: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.X = X
        self.y = y
        self.targets = {
            name: torch.from_numpy(np.ascontiguousarray(target))
            for name, target in (targets or {}).items()
        }
        self.chunk = chunk
        self.rng = rng
        self.augment = augment

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, rows: NDArray[np.int64]) -> Batch:
        starts, lengths = self.X.starts[rows], self.X.lengths[rows]
        if self.chunk is not None:
            spare = np.maximum(lengths - self.chunk, 0)
            if self.rng is not None:
                starts = starts + self.rng.randint(0, spare + 1)
            lengths = lengths - spare
        positions = np.arange(lengths.max())
        padding = positions >= lengths[:, None]
        frames = np.where(padding, starts[:, None], starts[:, None] + positions)
        x = self.X.base[frames]
        x[padding] = 0
        inputs = {"x": torch.from_numpy(x), "lengths": torch.from_numpy(lengths)}
        if self.X.embeddings is not None:
            inputs["embeddings"] = torch.from_numpy(
                self.X.embeddings[rows].astype(np.float32, copy=False)
            )
        if self.augment is not None:
            inputs["x"] = self.augment(inputs["x"].float(), inputs["lengths"])
        picked = torch.from_numpy(np.asarray(rows))
        return inputs, {name: target[picked] for name, target in self.targets.items()}


class RandomBatches(BatchSampler):
    """Rows of training batches, drawn again each epoch.

    Processes that train one network together (``torch.distributed``) take the draw of the first
    one, and a number of batches that can be divided evenly among them.

    Parameters
    ----------
    n : int
        Utterances in the training set, and rows per epoch without ``n_drawn``.
    batch_size : int
        Largest batch. Batches of an epoch differ by one row at most, so that none is so small
        that batch normalisation fails.
    rng : RandomState
    weights : ndarray of shape (n,), optional
        Probabilities of drawing each utterance, with replacement; None goes through all of them
        once.
    n_drawn : int, optional
        Rows per epoch when ``weights`` are given, ``n`` by default.

    Attributes
    ----------
    when_drawn : callable or None
        Called once, with the batches of the next epoch as soon as they are drawn and before any
        is gathered; gives those to go through.
    n_own : int
        Batches of an epoch that this process goes through.
    """

    when_drawn: Callable[[list[NDArray[np.int64]]], list[NDArray[np.int64]]] | None = None
    #: None: sizes differ by one, and accelerate passes batches on as they are.
    batch_size: Any = None
    drop_last = False

    def __init__(
        self,
        n: int,
        batch_size: int,
        rng: np.random.RandomState,
        weights: NDArray[np.float64] | None = None,
        n_drawn: int | None = None,
    ) -> None:
        self.n = n
        self.n_drawn = n if n_drawn is None or weights is None else n_drawn
        n_batches = max(1, -(-self.n_drawn // batch_size))
        n_processes = distributed.get_world_size() if is_shared() else 1
        self.n_own = -(-n_batches // n_processes)
        self.n_batches = self.n_own * n_processes
        self.rng = rng
        self.weights = weights

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Any]:
        if self.weights is None:
            order = self.rng.permutation(self.n)
        else:
            order = self.rng.choice(self.n, size=self.n_drawn, p=self.weights)
        if is_shared():
            shared = [order]
            distributed.broadcast_object_list(shared, src=0)
            order = shared[0]
        batches = np.array_split(order, self.n_batches)
        if self.when_drawn is not None:
            batches, self.when_drawn = self.when_drawn(batches), None
        return iter(batches)


def torch_generators(device: Any) -> list[torch.Generator]:
    """Torch's own generators that training on a device draws from.

    Parameters
    ----------
    device : str, torch.device or None
        None: a library chooses the device, which is CUDA's present one if there is one.

    Returns
    -------
    list of Generator
        That of the processor, and that of a CUDA device.
    """
    found = [torch.default_generator]
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.cuda.init()  # before it there are none
        index = torch.cuda.current_device() if device.index is None else device.index
        found.append(torch.cuda.default_generators[index])
    return found


@contextmanager
def scoped_seed(seed: int, device: Any) -> Iterator[None]:
    """Seed torch for a while and leave its global generators as they were."""
    generators = torch_generators(device)
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:  # torch.manual_seed would seed all devices
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def shared_between_processes(rng: np.random.RandomState) -> np.random.RandomState:
    """Generator of the first of the processes that train together.

    Parameters
    ----------
    rng : RandomState

    Returns
    -------
    RandomState
        ``rng`` itself if there is only one process.
    """
    if not is_shared():
        return rng
    state = [rng.get_state()]
    distributed.broadcast_object_list(state, src=0)
    rng = np.random.RandomState()
    rng.set_state(state[0])
    return rng


def is_shared() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


class GatheredBatches:
    """Batches of a dataset, one after the other.

    Parameters
    ----------
    dataset : UtteranceDataset
    batches : iterable of ndarray of int
        Rows of each.
    """

    def __init__(self, dataset: UtteranceDataset, batches: Iterable[NDArray[np.int64]]) -> None:
        self.dataset = dataset
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return (self.dataset[rows] for rows in self.batches)


class GatheredAhead:
    """Batches that a thread gathers, one ahead of the batch in use.

    A device computes a batch while the processor gathers the next one. Draws are made in the same
    order as without the thread.

    Parameters
    ----------
    batches : iterable of Batch
        Gathers while it is iterated.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.batches)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(next, batches, None)
            while (batch := waiting.result()) is not None:
                waiting = thread.submit(next, batches, None)
                yield batch


def whole_batches(
    lengths: NDArray[np.int64],
    batch_size: int,
    rows: NDArray[np.int64],
    max_frames: int = _MAX_FRAMES,
) -> list[NDArray[np.int64]]:
    """Cut ``rows`` into batches of whole utterances.

    Parameters
    ----------
    lengths : ndarray of shape (n,)
        Frames of each utterance.
    batch_size : int
        Largest number of utterances.
    rows : ndarray of int
        In the order wanted; sorted by length they need the least padding.
    max_frames : int, default=32000
        Largest number of frames, padding included, so that a few long recordings do not exhaust
        the memory. A longer utterance is a batch of its own.

    Returns
    -------
    list of ndarray of int
    """
    batches: list[NDArray[np.int64]] = []
    first, longest = 0, 0
    for position, length in enumerate(lengths[rows]):
        longest = max(longest, int(length))
        size = position - first + 1
        if size > 1 and (size > batch_size or size * longest > max_frames):
            batches.append(rows[first:position])
            first, longest = position, int(length)
    batches.append(rows[first:])
    return batches
