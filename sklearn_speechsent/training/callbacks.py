"""Callbacks of training: progress of the epochs, learning rate, early stopping."""

from __future__ import annotations

import math
from typing import Any

import torch
from skorch.callbacks import Callback, EarlyStopping


class _RateSchedule(Callback):
    """Learning rates of one call of ``fit`` or ``partial_fit``, as factors of the full ones.

    Each group of parameters of the optimizer has a full rate of its own; the factor is that of all.
    The next call starts from the full rates again.
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember the full rates."""
        self.rates_ = [group["lr"] for group in net.optimizer_.param_groups]

    def _set_factor(self, net: Any, factor: float) -> None:
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate * factor
        net.history.record("event_lr", self.rates_[0] * factor)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the full rates."""
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate


class LearningRateMilestones(_RateSchedule):
    """Multiply the learning rate by ``factor`` at given shares of the epochs.

    Parameters
    ----------
    shares : tuple of float, default=(0.6, 0.85)
    factor : float, default=0.1
    """

    def __init__(self, shares: tuple[float, ...] = (0.6, 0.85), factor: float = 0.1) -> None:
        self.shares = shares
        self.factor = factor

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember the first epoch of the call and its rates."""
        super().on_train_begin(net, **kwargs)
        self.first_epoch_ = len(net.history)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rate of the epoch."""
        done = (len(net.history) - 1 - self.first_epoch_) / net.max_epochs
        self._set_factor(net, self.factor ** sum(done >= share for share in self.shares))


class OneCycle(_RateSchedule):
    """Raise the learning rate from zero, then lower it to zero along half a cosine, by the batch.

    Parameters
    ----------
    warm_up : float, default=0.15
        Share of all batches in which it rises.

    References
    ----------
    L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", 2019. I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm
    restarts", ICLR 2017 (cosine).
    """

    def __init__(self, warm_up: float = 0.15) -> None:
        self.warm_up = warm_up

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a cycle."""
        super().on_train_begin(net, **kwargs)
        self.n_batches_ = 0

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set the rate of the batch."""
        if not training:
            return
        # In the middle of the batch, so that no rate is zero.
        done = (self.n_batches_ + 0.5) / (net.max_epochs * net._run_.batches.n_own)
        self.n_batches_ += 1
        fall = (done - self.warm_up) / (1 - self.warm_up)
        rising = done < self.warm_up
        factor = done / self.warm_up if rising else (1 + math.cos(math.pi * fall)) / 2
        self._set_factor(net, factor)


class AverageWeights(Callback):
    """Replace the weights at the end by their mean over the last epochs of the call.

    Statistics of batch normalisation, which are not averaged, have to be estimated again.

    Parameters
    ----------
    n_epochs : int

    References
    ----------
    P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI
    2018.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the weights of earlier calls."""
        self.first_epoch_ = len(net.history)
        self.mean_: dict[str, torch.Tensor] = {}

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Take the weights of one of the last epochs into the mean."""
        last = self.first_epoch_ + net.max_epochs
        n_taken = len(net.history) - max(last - self.n_epochs, self.first_epoch_)
        if n_taken < 1:
            return
        # Of all weights: what is frozen now may have learned in another of these epochs.
        for name, weight in net._network.named_parameters():
            weight = weight.detach()
            mean = self.mean_.get(name, weight).to(weight.device)
            self.mean_[name] = mean + (weight - mean) / n_taken

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Put the mean into the network."""
        for name, weight in net._network.named_parameters():
            if name in self.mean_:
                weight.detach().copy_(self.mean_[name])
        self.mean_ = {}


class EpochTasks(Callback):
    """Report epochs to callbacks of scikit-learn that this estimator was given."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin the task of the epoch."""
        context = getattr(net, "_callback_fit_ctx", None)
        self.task_ = None if context is None else context.subcontext(task_name="epoch")
        if self.task_ is not None:
            self.task_.call_on_fit_task_begin(estimator=net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of the epoch."""
        if self.task_ is not None:
            self.task_.call_on_fit_task_end(estimator=net, reconstruction_attributes={})


class BestEpoch(EarlyStopping):
    """Early stopping that can restore its weights after the network was unwrapped.

    Libraries for training on several devices wrap the network, which changes the names of its
    weights, and unwrap it before the last callbacks are called.
    """

    best_model_weights_: dict[str, Any] | None

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the weights of the best epoch."""
        if self.best_model_weights_ is not None and net._network is net.module_:
            best = self.best_model_weights_.items()
            self.best_model_weights_ = {name.removeprefix("module."): w for name, w in best}
        super().on_train_end(net, **kwargs)
