"""What is settled between checking the data and the first epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_speechsent.nn import SpecAugment
from sklearn_speechsent.sentiment._batches import RandomBatches, UtteranceDataset, sampling_weights

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
) -> None:
    """Say how training batches are drawn, cut and augmented."""
    frames = dataset.X
    labels = np.asarray(dataset.y)
    shift = frames.frontend.get("frame_shift", _DEFAULT_SHIFT)
    if net.chunk_duration is not None:
        dataset.chunk = max(1, round(net.chunk_duration / shift))
    dataset.rng = rng
    probabilities = None
    if net.sampling_exponent:
        probabilities = sampling_weights(net._level_index(labels), net.sampling_exponent)
    dataset.batches = RandomBatches(len(dataset), net.batch_size, rng, probabilities)
    dataset.validation = validation
    # SpecAugment masks time and frequency, which maps of frozen blocks no longer resolve.
    if net.spec_augment is True and len(frames.frame_shape) == 1:
        augment: Any = SpecAugment()
    else:
        augment = net.spec_augment or None
    if isinstance(augment, SpecAugment):
        generator = torch.Generator().manual_seed(int(rng.randint(np.iinfo(np.int32).max)))
        dataset.augment = partial(augment, generator=generator)


def start_heads(net: Any, dataset: UtteranceDataset) -> None:
    """Let an untrained network predict what the sampled training labels have in common."""
    assert dataset.batches is not None
    labels = np.asarray(dataset.y)
    drawn = dataset.batches.weights
    probability = np.full(len(dataset), 1 / len(dataset)) if drawn is None else drawn
    if "regression" in net._heads():
        y = labels.astype(np.float64)
        order = np.argsort(y)
        middle = int(np.searchsorted(np.cumsum(probability[order]), 0.5))
        torch.nn.init.constant_(
            net.module_.heads["regression"].linear.bias, y[order][min(middle, len(y) - 1)]
        )
    if "ordinal" in net._heads():
        index = net._level_index(labels)
        sampled = np.bincount(index, probability, minlength=len(net.levels_))
        net.module_.heads["ordinal"].set_prior(torch.from_numpy(sampled))
        natural = np.bincount(index, minlength=len(net.levels_)) / len(index)
        net.prior_ratio_ = np.divide(
            natural, sampled, out=np.zeros_like(natural), where=sampled > 0
        )


def settle_batch_norm(net: Any, dataset: UtteranceDataset) -> None:
    """Take the statistics of batch normalisation anew, with the weights as they are now.

    Running averages trail the weights by tens of batches, which on a small corpus is all of the
    training: predictions then rank well and lie far off. One pass over the training batches sets
    them right [1]_.

    References
    ----------
    .. [1] Y. Wu and J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
    """
    net._set_training(True)
    # Layers of frozen or pre-trained blocks stay in eval mode and keep what they came with.
    norms = [m for m in net.module_.modules() if isinstance(m, _BatchNorm) and m.training]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for number, (inputs, _) in enumerate(net.get_iterator(dataset, training=True), start=1):
            for norm in norms:
                norm.momentum = 1 / number  # so that the running average is the plain one
            net.infer(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net._set_training(False)
