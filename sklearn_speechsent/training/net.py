"""Base of the networks: skorch on batches of utterances, under the contract of scikit-learn."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.callbacks import GradientNormClipping, LRScheduler

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.domain import Domain, warn_outside
from sklearn_speechsent.frames.validation import check_frames, sums_of
from sklearn_speechsent.nn import SpecAugment
from sklearn_speechsent.training.batch_norm import average_statistics
from sklearn_speechsent.training.callbacks import (
    AverageWeights,
    BestEpoch,
    EpochTasks,
    LearningRateMilestones,
    OneCycle,
)
from sklearn_speechsent.training.data import (
    Batch,
    GatheredAhead,
    GatheredBatches,
    RandomBatches,
    UtteranceDataset,
    scoped_seed,
    whole_batches,
)
from sklearn_speechsent.training.resume import FitProgress
from sklearn_speechsent.utils.devices import check_device, exact_float32, usable_device
from sklearn_speechsent.utils.estimators import EstimatorMixin, with_version, without_version
from sklearn_speechsent.utils.threads import torch_threads

#: Attributes of skorch with the names of torch components; they have no trailing underscore.
TORCH_NAMES = ("_modules", "_criteria", "_optimizers")
#: Needed for training only; a pickle is for prediction and leaves them out.
_TRAINING_STATE = ("optimizer_", "callbacks_", "virtual_params_", "_run_")

#: Output of each head for a batch.
Outputs = dict[str, torch.Tensor]


@dataclass
class TrainingRun:
    """Data and generators of one fit, while it trains.

    Parameters
    ----------
    data : UtteranceDataset
        Training data.
    validation : UtteranceDataset or None
    batches : RandomBatches
        Rows of the training batches, drawn again each epoch.
    generator : torch.Generator or None
        Source of the masks of SpecAugment.
    progress : FitProgress or None
        Saves the state of the fit, if the parameter ``resume`` asks for it.
    """

    data: UtteranceDataset
    validation: UtteranceDataset | None
    batches: RandomBatches
    generator: torch.Generator | None
    progress: FitProgress | None


class UtteranceNet(EstimatorMixin, NeuralNet):
    """Hooks of skorch; subclasses say what is learned from utterances.

    While it trains, ``_run_`` holds the :class:`TrainingRun`.
    """

    #: Set during a fit only; a class attribute, so that it is None otherwise.
    _run_: TrainingRun | None = None
    #: What the recordings in ``fit`` were like, where a subclass learns that.
    domain_: Domain = {}

    # -- batches and losses ----------------------------------------------------------------------

    def get_dataset(self, X: Any, y: Any = None) -> UtteranceDataset:
        """Utterances as a dataset; one that is given passes."""
        if isinstance(X, UtteranceDataset):
            return X
        return UtteranceDataset(self._check_utterances(X, reset=False))

    def get_split_datasets(
        self, X: UtteranceDataset, y: Any = None, **fit_params: Any
    ) -> tuple[UtteranceDataset, UtteranceDataset | None]:
        """Training and validation data, split before training began."""
        return X, None if self._run_ is None else self._run_.validation

    def get_iterator(self, dataset: UtteranceDataset, training: bool = False) -> Any:
        """Iterate over whole batches, gathered by the dataset itself."""
        prefix = "iterator_train" if training else "iterator_valid"
        kwargs = self.get_params_for(prefix)
        batch_size = kwargs.pop("batch_size", self.batch_size)
        # A generator of its own: the default one of torch is not ours to advance.
        kwargs.setdefault("generator", torch.Generator())
        run = self._run_
        if training and run is not None and dataset is run.data:
            batches: Any = run.batches
        else:
            batches = whole_batches(dataset.X.lengths, batch_size, np.arange(len(dataset)))
        accelerator = getattr(self, "accelerator", None)
        if accelerator is not None and not (training and accelerator.num_processes > 1):
            # Not divided among processes: each one sees all validation data, so that all of them
            # stop at the same epoch.
            return GatheredBatches(dataset, batches)
        ahead = accelerator is None and self._module_device.type == "cuda"
        if ahead:
            kwargs.setdefault("pin_memory", True)
        loader = getattr(self, prefix)(dataset, sampler=batches, batch_size=None, **kwargs)
        return GatheredAhead(loader) if ahead else loader

    def infer(self, x: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Outputs of the heads, in training with the arithmetic of ``precision``."""
        low = self.precision == "bfloat16" and self.module_.training
        device = self._module_device
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            outputs = super().infer(_moved(x, device), **fit_params)
        return {name: output.float() for name, output in outputs.items()}

    def get_loss(
        self, y_pred: dict[str, Any], y_true: dict[str, Any], X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Loss of a batch: each head's own, summed by the criterion."""
        targets = _moved(y_true, self._module_device)
        heads = self._network.heads
        losses = {name: heads[name].loss(output, targets[name]) for name, output in y_pred.items()}
        return self.criterion_(losses, targets["weight"])

    @property
    def _network(self) -> Any:
        """Module without the wrapper of a library for training on several devices."""
        return getattr(self.module_, "module", self.module_)

    @property
    def _module_device(self) -> torch.device:
        """Device of the module, also where ``device`` is None and a library has moved it."""
        return next(self.module_.parameters()).device

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """One step of the optimizer; raise if the loss is not finite."""
        step = super().train_step(batch, **fit_params)
        # On a device this waits for the step, as skorch does next, to record the loss as a number.
        if not torch.isfinite(step["loss"]):
            raise FloatingPointError(
                f"The training loss became {step['loss'].item()} in epoch {len(self.history)}. "
                f"Lower lr={self.lr}, or look at the scale of X and y."
            )
        return step

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        """Train for all epochs, or for those that are left when a fit is resumed."""
        progress = None if self._run_ is None else self._run_.progress
        if progress is None:
            return super().fit_loop(X, y, epochs, **kwargs)
        try:
            return super().fit_loop(X, y, progress.begin(), **kwargs)
        except KeyboardInterrupt as exception:
            progress.note_interrupt(exception)
            raise

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Go through the batches once; before validation, estimate batch normalisation again."""
        run = self._run_ if training else None
        if run is not None and run.progress is not None:
            batches, n_done = run.progress.watch("training", iterator)
            super().run_single_epoch(batches, training, prefix, step_fn, **fit_params)
            n_batches = self.history[-1, "train_batch_count"] + n_done
            self.history.record("train_batch_count", n_batches)
        else:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if run is not None and run.validation is not None:
            self._estimate_batch_norm(run)

    def forward(self, X: Any, training: bool = False, device: str = "cpu") -> Any:
        """Outputs of the heads for all rows, in eval mode unless ``training``."""
        batches = list(self.forward_iter(X, training=training, device=device))
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        """Callbacks of skorch, and those that the parameters ask for.

        skorch needs them in ``get_params`` and ``set_params`` too, where parameters are not
        validated yet: wrong ones are reported by ``fit``.
        """
        callbacks = [*super()._default_callbacks, ("tasks", EpochTasks())]
        early_stopping = getattr(self, "early_stopping", False)
        stopping = isinstance(early_stopping, (bool, np.bool_)) and bool(early_stopping)
        schedule = self.lr_schedule if isinstance(self.lr_schedule, str) else None
        if schedule == "milestones":
            callbacks.append(("lr_schedule", LearningRateMilestones()))
        elif schedule == "one-cycle":
            callbacks.append(("lr_schedule", OneCycle()))
        elif schedule == "plateau":
            plateau = LRScheduler(
                "ReduceLROnPlateau",
                monitor="valid_loss" if stopping else "train_loss",
                factor=0.1,
                patience=max(1, getattr(self, "patience", 5) // 2),
            )
            callbacks.append(("lr_schedule", plateau))
        norm = getattr(self, "max_gradient_norm", None)
        if norm is not None:
            callbacks.append(("max_gradient_norm", GradientNormClipping(norm)))
        n_averaged = getattr(self, "average_epochs", 1)
        if isinstance(n_averaged, Integral) and int(n_averaged) > 1:
            callbacks.append(("average", AverageWeights(int(n_averaged))))
        if stopping:
            sink = print if self.verbose else _say_nothing
            best = BestEpoch(patience=self.patience, load_best=True, sink=sink)
            callbacks.append(("early_stopping", best))
        return callbacks

    # -- training --------------------------------------------------------------------------------

    def _check_frames(self, X: Any, *, reset: bool) -> UtteranceFrames:
        """Frames of X, of the size that ``fit`` saw unless ``reset``."""
        return check_frames(self, X, reset=reset)

    def _check_frame_settings(self, frames: UtteranceFrames) -> None:
        """Raise if frames were made in another way than the network needs."""
        raise NotImplementedError

    def _check_utterances(self, X: Any, *, reset: bool) -> UtteranceFrames:
        """Frames that fit the network, of any shape if ``reset``.

        Sets ``frame_shape_``, ``embedding_size_`` and ``n_features_in_`` if ``reset``. Raises a
        ValueError if frames or embeddings have another shape than in ``fit``, or do not fit the
        pre-trained blocks.
        """
        frames = self._check_frames(X, reset=reset)
        embedding_size = 0 if frames.embeddings is None else frames.embeddings.shape[1]
        if reset:
            if len(frames.frame_shape) not in (1, 2):
                raise ValueError(
                    "Frames must have shape (n_mels,) or (n_channels, n_frequencies), got "
                    f"{frames.frame_shape}."
                )
            self.frame_shape_ = frames.frame_shape
            self.embedding_size_ = embedding_size
        elif getattr(self, "frame_shape_", frames.frame_shape) != frames.frame_shape:
            raise ValueError(
                f"X has frames of shape {frames.frame_shape}, but {type(self).__name__} is "
                f"expecting {self.frame_shape_}."
            )
        elif getattr(self, "embedding_size_", embedding_size) != embedding_size:
            raise ValueError(
                f"X has embeddings of {embedding_size} values per utterance, but "
                f"{type(self).__name__} is expecting {self.embedding_size_}. Use the same "
                "SpeakerEmbeddingFusion as in fit."
            )
        self._check_frame_settings(frames)
        return frames

    def _start_heads(self, run: TrainingRun) -> None:
        """Set the first predictions of an untrained network."""

    def _run_training(
        self,
        data: UtteranceDataset,
        validation: UtteranceDataset | None,
        rng: np.random.RandomState,
        probabilities: NDArray[np.float64] | None = None,
        n_drawn: int | None = None,
        *,
        reset: bool,
        progress: FitProgress | None = None,
    ) -> Any:
        """Train for ``max_epochs``, from the start if ``reset``.

        Parameters
        ----------
        data, validation : UtteranceDataset
        rng : RandomState
            Source of all that is random.
        probabilities : ndarray of shape (n,), optional
            Of drawing each row for a training batch; None goes through all rows once an epoch.
        n_drawn : int, optional
            Rows per epoch, with ``probabilities``.
        reset : bool
        progress : FitProgress, optional
        """
        check_device(self.device)
        run = self._prepare_run(data, validation, rng, probabilities, n_drawn, progress)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        self._run_ = run
        try:
            with torch_threads(self.n_jobs), scoped_seed(seed, self.device):
                self._train_run(run, reset=reset)
        finally:
            self.__dict__.pop("_run_")
        return self

    def _prepare_run(
        self,
        data: UtteranceDataset,
        validation: UtteranceDataset | None,
        rng: np.random.RandomState,
        probabilities: NDArray[np.float64] | None,
        n_drawn: int | None,
        progress: FitProgress | None,
    ) -> TrainingRun:
        """Set how training batches are drawn, cut and masked."""
        frames = data.X
        if self.chunk_duration is not None:
            data.chunk = max(1, round(self.chunk_duration / frames.frame_shift))
        data.rng = rng
        batches = RandomBatches(len(data), self.batch_size, rng, probabilities, n_drawn)
        # SpecAugment masks time and frequency, which maps of frozen blocks no longer resolve, and
        # layers of an encoder do not have.
        if self.spec_augment is True and len(frames.frame_shape) == 1:
            augment: Any = SpecAugment()
        else:
            augment = self.spec_augment or None
        generator = None
        if isinstance(augment, SpecAugment):
            seed = int(rng.randint(np.iinfo(np.int32).max))
            generator = torch.Generator().manual_seed(seed)
            data.augment = partial(augment, generator=generator)
        return TrainingRun(data, validation, batches, generator, progress)

    def _train_run(self, run: TrainingRun, *, reset: bool) -> None:
        """Go through the epochs of a run, or those that are left of it."""
        if reset:
            self.initialize()
            self._start_heads(run)
        elif not hasattr(self, "optimizer_"):  # this estimator was unpickled
            self._initialize_callbacks()
            self._initialize_optimizer()
        progress = run.progress
        if progress is not None and progress.attach(self, run.batches, run.generator):
            return
        NeuralNet.partial_fit(self, run.data)
        if progress is not None:
            progress.end()
        # With validation data they were estimated after each epoch, for the weights of that.
        if run.validation is None or getattr(self, "average_epochs", 1) > 1:
            self._estimate_batch_norm(run)
        if progress is not None:
            progress.finish()

    def _estimate_batch_norm(self, run: TrainingRun) -> None:
        """Estimate the statistics of batch normalisation again, see `average_statistics`."""
        self._set_training(True)
        batches, n_done = self.get_iterator(run.data, training=True), 0
        if run.progress is not None:
            batches, n_done = run.progress.watch("batch norm", batches)
        # Wrappers for several devices would copy the first one's statistics to all at every batch.
        wrapped: Any = self.module_
        self.module_: Any = self._network
        average_statistics(self.module_, batches, lambda batch: self.infer(batch[0]), n_done)
        self.module_ = wrapped
        self._set_training(False)

    # -- inference -------------------------------------------------------------------------------

    def _outputs(
        self, X: Any, convert: Callable[[Outputs], Outputs] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Output of each head per row of X; NaN for rows whose frames are.

        ``convert`` is applied to the outputs of each batch.
        """
        check_is_fitted(self)
        frames = self._check_utterances(X, reset=False)
        warn_outside(self.domain_, frames)
        sums = sums_of(frames)
        bad = self._without_outputs(frames, sums)
        # Without a usable row one is computed all the same, to learn the shape of the outputs.
        rows = np.arange(1) if bad.all() else np.flatnonzero(~bad)
        # Rounding depends on the place in a batch. Sorted by what they hold, not by where they
        # stand, rows have the same predictions in any order.
        rows = rows[np.lexsort((sums[rows], frames.lengths[rows]))]
        dataset = UtteranceDataset(frames)
        outputs: dict[str, NDArray[np.float32]] = {}
        with (
            torch_threads(self.n_jobs),
            exact_float32(self._module_device),
            torch.no_grad(),
        ):
            for batch in whole_batches(frames.lengths, self.batch_size, rows):
                # Not the method of a mixin that gathers the predictions of several processes: here
                # each process predicts everything.
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

    def _without_outputs(
        self, frames: UtteranceFrames, sums: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Rows whose outputs are NaN, from the sums over their values."""
        bad = ~np.isfinite(sums)
        if bad.any():
            warnings.warn(
                f"Frames of {int(bad.sum())} utterances are NaN (row {np.flatnonzero(bad)[0]} is "
                "the first); so is what is predicted for them.",
                UserWarning,
                stacklevel=4,
            )
        return bad

    # -- scikit-learn ----------------------------------------------------------------------------

    def _get_param_names(self) -> list[str]:
        return [name for name in super()._get_param_names() if not name.startswith("_")]

    def set_params(self, **params: Any) -> Any:
        """Set parameters; the callbacks of an unfitted net are checked by ``fit``.

        Those of the optimizer hold for this training and for later fits: skorch alone would tell
        the present optimizer only, and a network that was unpickled has none.
        """
        if "callbacks" in params and not self.initialized_:
            self.callbacks = params.pop("callbacks")
        names = [n for n in params if n.startswith("optimizer__") and n.count("__") == 1]
        own = {name: params[name] for name in names}
        if self.initialized_ and not hasattr(self, "optimizer_"):
            params = {name: value for name, value in params.items() if name not in own}
        super().set_params(**params)
        self.__dict__.update(own)
        if "optimizer__param_groups" in own and hasattr(self, "optimizer_"):
            self._initialize_optimizer()
        return self

    __repr__ = BaseEstimator.__repr__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A pickle is for prediction: state of training would tie it to a device.
        state = {k: v for k, v in vars(self).items() if k not in _TRAINING_STATE}
        state["virtual_params_"] = {}
        for name in ("module_", "criterion_"):
            parameters = getattr(state.get(name), "parameters", list)
            if any(parameter.device.type != "cpu" for parameter in parameters()):
                state[name] = copy.deepcopy(state[name]).cpu()
        return with_version(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = without_version(state)
        device = state["device"]
        if device is not None:
            usable = usable_device(device)
            state = {**state, "device": "cpu" if usable.type == "cpu" else device}
        self.__dict__.update(state)
        if "module_" in state and state["device"] is not None:
            self.module_.to(state["device"])


def _moved(tensors: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Part of a batch on a device; from pinned memory, without waiting for it."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    """Sink for messages of callbacks."""
