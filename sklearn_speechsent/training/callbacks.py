"""Callbacks of training: progress of the epochs, learning rate, early stopping."""

from __future__ import annotations

from typing import Any

from skorch.callbacks import Callback, EarlyStopping


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
        """Remember the first epoch of the call and its rates."""
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
        """Restore the full rate."""
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate


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
