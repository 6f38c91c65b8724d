"""Where the heads of an untrained network begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sklearn_speechsent.training.data import UtteranceDataset


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
            net._network.heads["regression"].linear.bias, y[order][min(middle, len(y) - 1)]
        )
    if "ordinal" in net._heads():
        index = net._level_index(labels)
        sampled = np.bincount(index, probability, minlength=len(net.levels_))
        net._network.heads["ordinal"].set_prior(torch.from_numpy(sampled))
        natural = np.bincount(index, minlength=len(net.levels_)) / len(index)
        net.prior_ratio_ = np.divide(
            natural, sampled, out=np.zeros_like(natural), where=sampled > 0
        )
