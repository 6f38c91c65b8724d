"""What happens between epochs: they are reported, the rate falls, training stops early."""

from __future__ import annotations

from typing import Any

import numpy as np
from skorch.callbacks import Callback, EarlyStopping, LRScheduler


class LearningRateMilestones(Callback):
    """Multiply the learning rate by ``factor`` at given shares of the epochs.

    The shares are those of one call of ``fit`` or ``partial_fit``; the next call starts from the
    full rate again.

    Parameters
    ----------
    shares : tuple of float, default=(0.6, 0.85)
    factor : float, default=0.1
    """

    def __init__(self, shares: tuple[float, ...] = (0.6, 0.85), factor: float = 0.1) -> None:
        self.shares = shares
        self.factor = factor

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember where the call starts."""
        self.first_epoch_ = len(net.history)
        self.rates_ = [group["lr"] for group in net.optimizer_.param_groups]

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rate of the epoch."""
        done = (len(net.history) - 1 - self.first_epoch_) / net.max_epochs
        factor = self.factor ** sum(done >= share for share in self.shares)
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate * factor
        net.history.record("event_lr", self.rates_[0] * factor)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Put the full rate back."""
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate


class EpochTasks(Callback):
    """Report epochs to the callbacks of scikit-learn that reached this estimator, if any did."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the task of the epoch."""
        context = getattr(net, "_callback_fit_ctx", None)
        self.task_ = None if context is None else context.subcontext(task_name="epoch")
        if self.task_ is not None:
            self.task_.call_on_fit_task_begin(estimator=net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Close it."""
        if self.task_ is not None:
            self.task_.call_on_fit_task_end(estimator=net, reconstruction_attributes={})


class BestEpoch(EarlyStopping):
    """Early stopping that also finds its weights when a wrapper of the network has come off.

    Libraries for training on several devices wrap the network, which changes the names of its
    weights, and unwrap it before the last callbacks are called.
    """

    best_model_weights_: dict[str, Any] | None

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Put the weights of the best epoch back."""
        if self.best_model_weights_ is not None and net._network is net.module_:
            best = self.best_model_weights_.items()
            self.best_model_weights_ = {name.removeprefix("module."): w for name, w in best}
        super().on_train_end(net, **kwargs)


def training_callbacks(net: Any) -> list[tuple[str, Any]]:
    """Named callbacks that the parameters of a network ask for.

    skorch asks for them in ``get_params`` and ``set_params`` too, where parameters may still be
    anything; what is wrong with them is said by ``fit``.
    """
    callbacks: list[tuple[str, Any]] = [("tasks", EpochTasks())]
    early_stopping = getattr(net, "early_stopping", False)
    stopping = isinstance(early_stopping, (bool, np.bool_)) and bool(early_stopping)
    schedule = net.lr_schedule if isinstance(net.lr_schedule, str) else None
    if schedule == "milestones":
        callbacks.append(("lr_schedule", LearningRateMilestones()))
    elif schedule == "plateau":
        plateau = LRScheduler(
            "ReduceLROnPlateau",
            monitor="valid_loss" if stopping else "train_loss",
            factor=0.1,
            patience=max(1, getattr(net, "patience", 5) // 2),
        )
        callbacks.append(("lr_schedule", plateau))
    if stopping:
        sink = print if net.verbose else _say_nothing
        callbacks.append(
            ("early_stopping", BestEpoch(patience=net.patience, load_best=True, sink=sink))
        )
    return callbacks


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    """Sink for messages of callbacks."""
