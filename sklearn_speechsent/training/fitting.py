"""What is settled between checking the data and the first epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_speechsent.nn import SpecAugment
from sklearn_speechsent.training.data import RandomBatches, UtteranceDataset, is_shared

#: Frame shift (s) of frames that do not say how they were made.
_DEFAULT_SHIFT = 0.01


@contextmanager
def scoped_seed(seed: int, device: Any) -> Iterator[None]:
    """Seed torch for a while and leave its global generators as they were."""
    kind = torch.device(device or "cpu").type
    devices = [] if kind == "cpu" else [torch.device(device).index or 0]
    with torch.random.fork_rng(devices=devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(seed)
        yield


def prepare_training(
    net: Any,
    dataset: UtteranceDataset,
    validation: UtteranceDataset | None,
    rng: np.random.RandomState,
    probabilities: NDArray[np.float64] | None = None,
    n_drawn: int | None = None,
) -> None:
    """Say how training batches are drawn (each row with its probability), cut and augmented."""
    frames = dataset.X
    shift = frames.frame_settings.get("frame_shift", _DEFAULT_SHIFT)
    if net.chunk_duration is not None:
        dataset.chunk = max(1, round(net.chunk_duration / shift))
    dataset.rng = rng
    dataset.batches = RandomBatches(len(dataset), net.batch_size, rng, probabilities, n_drawn)
    dataset.validation = validation
    # SpecAugment masks time and frequency, which maps of frozen blocks no longer resolve.
    if net.spec_augment is True and len(frames.frame_shape) == 1:
        augment: Any = SpecAugment()
    else:
        augment = net.spec_augment or None
    if isinstance(augment, SpecAugment):
        seed = int(rng.randint(np.iinfo(np.int32).max))
        dataset.generator = torch.Generator().manual_seed(seed)
        dataset.augment = partial(augment, generator=dataset.generator)


def settle_batch_norm(net: Any, dataset: UtteranceDataset) -> None:
    """Take the statistics of a net's batch normalisation anew, see :func:`average_statistics`."""
    net._set_training(True)
    batches, n_done = net.get_iterator(dataset, training=True), 0
    if dataset.checkpoint is not None:
        batches, n_done = dataset.checkpoint.watch("settling", batches)
    # Wrappers for several devices would copy the first one's statistics to all at every batch.
    wrapped, net.module_ = net.module_, net._network
    average_statistics(net.module_, batches, lambda batch: net.infer(batch[0]), n_done)
    net.module_ = wrapped
    net._set_training(False)


def average_statistics(
    network: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any], Any],
    n_done: int = 0,
) -> None:
    """Take the statistics of batch normalisation anew, with the weights as they are now.

    Running averages trail the weights by tens of batches, which on a small corpus is all of the
    training: predictions then rank well and lie far off. One pass over the training batches sets
    them right [1]_.

    Parameters
    ----------
    network : Module
        In training mode. Layers of it that stay in eval mode keep what they came with.
    batches : iterable
    forward : callable
        Puts a batch through the network.
    n_done : int, default=0
        Batches whose average the statistics are already; ``batches`` are the others.

    References
    ----------
    .. [1] Y. Wu and J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for number, batch in enumerate(batches, start=n_done + 1):
            for norm in norms:
                norm.momentum = 1 / number  # so that the running average is the plain one
            forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if is_shared():
            # Each process has averaged its share, all of as many batches.
            for statistic in (norm.running_mean, norm.running_var):
                if statistic is not None:
                    distributed.all_reduce(statistic)
                    statistic.div_(distributed.get_world_size())
