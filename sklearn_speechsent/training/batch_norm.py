"""Statistics of batch normalisation, estimated again when the weights are final."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_speechsent.training.data import is_shared


def average_statistics(
    network: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any], Any],
    n_done: int = 0,
) -> None:
    """Estimate the statistics of batch normalisation again, with the present weights.

    Running averages lag behind the weights by tens of batches, which on a small corpus is all of
    the training: predictions then have the right order and wrong values. One pass over the
    training batches corrects the averages [1]_.

    Parameters
    ----------
    network : Module
        In training mode. Layers that stay in eval mode keep their statistics.
    batches : iterable
    forward : callable
        Puts a batch through the network.
    n_done : int, default=0
        Batches that the statistics already average; ``batches`` are the others.

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
