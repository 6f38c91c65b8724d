"""skorch, taught to take utterances in batches and to keep the promises of scikit-learn."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.utils import get_map_location, to_device

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.training.callbacks import training_callbacks
from sklearn_speechsent.training.checks import check_utterances, sums_of
from sklearn_speechsent.training.data import (
    Batch,
    GatheredBatches,
    UtteranceDataset,
    whole_batches,
)
from sklearn_speechsent.training.fitting import prepare_training, scoped_seed, settle_batch_norm
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin
from sklearn_speechsent.utils.threads import torch_threads

#: Where skorch keeps the names of torch components, without a trailing underscore.
TORCH_NAMES = ("_modules", "_criteria", "_optimizers")
#: Needed for training only; a pickle is for prediction and leaves them out.
_TRAINING_STATE = ("optimizer_", "callbacks_", "virtual_params_")

#: Output of each head for a batch.
Outputs = dict[str, torch.Tensor]


class UtteranceNet(CallbackSupportMixin, NeuralNet):
    """The hooks of skorch; what is learned from utterances is the business of subclasses."""

    # -- batches and losses ----------------------------------------------------------------------

    def get_dataset(self, X: Any, y: Any = None) -> UtteranceDataset:
        """Utterances as a dataset; one that is given passes."""
        if isinstance(X, UtteranceDataset):
            return X
        return UtteranceDataset(check_utterances(self, X, reset=False))

    def get_split_datasets(
        self, X: UtteranceDataset, y: Any = None, **fit_params: Any
    ) -> tuple[UtteranceDataset, UtteranceDataset | None]:
        """Training and validation data, which were put together before."""
        return X, X.validation

    def get_iterator(self, dataset: UtteranceDataset, training: bool = False) -> Any:
        """Iterate over whole batches, gathered by the dataset itself."""
        prefix = "iterator_train" if training else "iterator_valid"
        kwargs = self.get_params_for(prefix)
        batch_size = kwargs.pop("batch_size", self.batch_size)
        # A generator of its own: the default one of torch is not ours to advance.
        kwargs.setdefault("generator", torch.Generator())
        batches: Any = dataset.batches if training else None
        if batches is None:
            batches = whole_batches(dataset.X.lengths, batch_size, np.arange(len(dataset)))
        accelerator = getattr(self, "accelerator", None)
        if accelerator is not None and not (training and accelerator.num_processes > 1):
            # Nothing to share out: every process looks at all that is held out, so that all decide
            # alike, and accelerate only knows how to share out whole batches.
            return GatheredBatches(dataset, batches)
        return getattr(self, prefix)(dataset, sampler=batches, batch_size=None, **kwargs)

    def infer(self, x: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Outputs of the heads, in training with the arithmetic of ``precision``."""
        low = self.precision == "bfloat16" and self.module_.training
        device = self._module_device
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            outputs = super().infer(to_device(x, device), **fit_params)
        return {name: output.float() for name, output in outputs.items()}

    def get_loss(
        self, y_pred: dict[str, Any], y_true: dict[str, Any], X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Loss of a batch: each head's own, summed by the criterion."""
        targets = to_device(y_true, self._module_device)
        heads = self._network.heads
        losses = {name: heads[name].loss(output, targets[name]) for name, output in y_pred.items()}
        return self.criterion_(losses, targets["weight"])

    @property
    def _network(self) -> Any:
        """Module without what a library for training on several devices wraps around it."""
        return getattr(self.module_, "module", self.module_)

    @property
    def _module_device(self) -> torch.device:
        """Where the module is; ``device`` is None if somebody else has put it there."""
        return next(self.module_.parameters()).device

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """One step of the optimizer, which must leave a finite loss."""
        step = super().train_step(batch, **fit_params)
        if not torch.isfinite(step["loss"]):
            raise FloatingPointError(
                f"The training loss became {step['loss'].item()} in epoch {len(self.history)}. "
                f"Lower lr={self.lr}, or look at the scale of X and y."
            )
        return step

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        """Do the epochs, or those that a checkpoint leaves."""
        if X.checkpoint is None:
            return super().fit_loop(X, y, epochs, **kwargs)
        try:
            return super().fit_loop(X, y, X.checkpoint.begin(), **kwargs)
        except KeyboardInterrupt as exception:
            X.checkpoint.note_interrupt(exception)
            raise

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Go through the batches once; what is held out then meets a network that is settled."""
        if training and iterator.dataset.checkpoint is not None:
            batches, n_done = iterator.dataset.checkpoint.watch("training", iterator)
            super().run_single_epoch(batches, training, prefix, step_fn, **fit_params)
            n_batches = self.history[-1, "train_batch_count"] + n_done
            self.history.record("train_batch_count", n_batches)
        else:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if training and iterator.dataset.validation is not None:
            settle_batch_norm(self, iterator.dataset)

    def forward(self, X: Any, training: bool = False, device: str = "cpu") -> Any:
        """Outputs of the heads for all rows, in eval mode unless ``training``."""
        batches = list(self.forward_iter(X, training=training, device=device))
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return super()._default_callbacks + training_callbacks(self)

    # -- training --------------------------------------------------------------------------------

    def check_frames(self, X: Any, *, reset: bool) -> UtteranceFrames:
        """Frames of X, of the size that ``fit`` saw unless ``reset``."""
        return check_frames(self, X, reset=reset)

    def check_frame_settings(self, frames: UtteranceFrames) -> None:
        """Raise if frames were made in another way than the network needs."""
        raise NotImplementedError

    def _start(self, dataset: UtteranceDataset) -> None:
        """Set what an untrained network should begin with."""

    def _run_training(
        self,
        dataset: UtteranceDataset,
        validation: UtteranceDataset | None,
        rng: np.random.RandomState,
        probabilities: NDArray[np.float64] | None = None,
        n_drawn: int | None = None,
        *,
        reset: bool,
    ) -> Any:
        """Train for ``max_epochs``, from the start if ``reset``, leaving no trace elsewhere."""
        checkpoint = dataset.checkpoint
        prepare_training(self, dataset, validation, rng, probabilities, n_drawn)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        with torch_threads(self.n_jobs), scoped_seed(seed, self.device):
            if reset:
                self.initialize()
                self._start(dataset)
            elif not hasattr(self, "optimizer_"):  # this estimator comes out of a pickle
                self._initialize_callbacks()
                self._initialize_optimizer()
            if checkpoint is not None and checkpoint.attach(self, dataset):
                return self
            NeuralNet.partial_fit(self, dataset)
            if checkpoint is not None:
                checkpoint.end()
            if validation is None:  # otherwise settled after each epoch
                settle_batch_norm(self, dataset)
            if checkpoint is not None:
                checkpoint.finish()
        return self

    # -- inference -------------------------------------------------------------------------------

    def _outputs(
        self, X: Any, convert: Callable[[Outputs], Outputs] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Output of each head per row of X; NaN for rows whose frames are.

        ``convert`` is applied to the outputs of each batch.
        """
        check_is_fitted(self)
        frames = check_utterances(self, X.X if isinstance(X, UtteranceDataset) else X, reset=False)
        sums = sums_of(frames)
        bad = ~np.isfinite(sums)
        if bad.any():
            warnings.warn(
                f"Frames of {int(bad.sum())} utterances are NaN (row {np.flatnonzero(bad)[0]} is "
                "the first); so is what is predicted for them.",
                UserWarning,
                stacklevel=3,
            )
        # Without a usable row, one is computed all the same for the shape of the outputs.
        rows = np.arange(1) if bad.all() else np.flatnonzero(~bad)
        # Rounding depends on the place in a batch. Sorted by what they hold, not by where they
        # stand, rows have the same predictions in any order.
        rows = rows[np.lexsort((sums[rows], frames.lengths[rows]))]
        dataset = UtteranceDataset(frames)
        outputs: dict[str, NDArray[np.float32]] = {}
        with torch_threads(self.n_jobs), torch.no_grad():
            for batch in whole_batches(frames.lengths, self.batch_size, rows):
                # Not that of a mixin which gathers what several processes have predicted: each
                # predicts everything.
                found = NeuralNet.evaluation_step(self, dataset[batch])
                found = {name: output.cpu() for name, output in found.items()}
                for name, output in (found if convert is None else convert(found)).items():
                    if name not in outputs:
                        shape = (len(frames), *output.shape[1:])
                        outputs[name] = np.empty(shape, np.float32)
                    outputs[name][batch] = output.numpy()
        for values in outputs.values():
            values[bad] = np.nan
        return outputs

    # -- scikit-learn ----------------------------------------------------------------------------

    def _get_param_names(self) -> list[str]:
        return [name for name in super()._get_param_names() if not name.startswith("_")]

    def set_params(self, **params: Any) -> Any:
        """Set parameters; an unfitted net leaves it to ``fit`` to look at its callbacks."""
        if "callbacks" in params and not self.initialized_:
            self.callbacks = params.pop("callbacks")
        return super().set_params(**params)

    __repr__ = BaseEstimator.__repr__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A pickle is for prediction: what only training needs would tie it to a device.
        state = {k: v for k, v in vars(self).items() if k not in _TRAINING_STATE}
        state["virtual_params_"] = {}
        for name in ("module_", "criterion_"):
            parameters = getattr(state.get(name), "parameters", list)
            if any(parameter.device.type != "cpu" for parameter in parameters()):
                state[name] = copy.deepcopy(state[name]).cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = state["device"]
        if device is not None:
            state = {**state, "device": self._check_device(device, get_map_location(device))}
        self.__dict__.update(state)
        if "module_" in state and state["device"] is not None:
            self.module_.to(state["device"])
