"""The skorch estimator that the regressor and the classifier share."""

from __future__ import annotations

import copy
import multiprocessing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, check_random_state
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.utils import get_map_location, to_device

from sklearn_speechsent.nn import SentimentNetwork, SpecAugment
from sklearn_speechsent.pretrained import get_weights, load_state_dict
from sklearn_speechsent.sentiment._batches import (
    Batch,
    RandomBatches,
    UtteranceDataset,
    sampling_weights,
    whole_batches,
)
from sklearn_speechsent.sentiment._checks import (
    NET_CONSTRAINTS,
    check_training_data,
    check_utterances,
    unusable,
)
from sklearn_speechsent.sentiment._levels import nearest_level, round_labels
from sklearn_speechsent.sentiment._loss import SummedLoss
from sklearn_speechsent.sentiment._split import hold_out
from sklearn_speechsent.utils.sklearn_private import validate_parameter_constraints
from sklearn_speechsent.utils.threads import torch_threads
from sklearn_speechsent.utterances import UtteranceFrames

#: Frame shift (s) of frames that do not say how they were made.
_DEFAULT_SHIFT = 0.01
#: The learning rate falls to a tenth after these shares of the epochs.
_MILESTONES = (0.6, 0.85)


@contextmanager
def scoped_seed(seed: int, device: Any) -> Iterator[None]:
    """Seed torch for a while and leave its global generators as they were."""
    kind = torch.device(device or "cpu").type
    devices = [] if kind == "cpu" else [torch.device(device).index or 0]
    with torch.random.fork_rng(devices=devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(seed)
        yield


class SpeechSentimentNet(NeuralNet):
    """Training and inference on utterances; the public estimators say what is predicted."""

    def __init__(
        self,
        module: Any = SentimentNetwork,
        *,
        ordinal: str = "coral",
        two_headed: bool = False,
        levels: Any = None,
        weights: str | None = None,
        chunk_duration: float | None = 4.0,
        spec_augment: Any = True,
        sampling_exponent: float = 0.0,
        lr: float = 1e-3,
        lr_schedule: str | None = "milestones",
        max_epochs: int = 20,
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.15,
        patience: int = 5,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        criterion: Any = SummedLoss,
        optimizer: Any = torch.optim.Adam,
        train_split: Any = None,
        use_caching: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            use_caching=use_caching,
            verbose=verbose,
            **kwargs,
        )
        self.ordinal = ordinal
        self.two_headed = two_headed
        self.levels = levels
        self.weights = weights
        self.chunk_duration = chunk_duration
        self.spec_augment = spec_augment
        self.sampling_exponent = sampling_exponent
        self.lr_schedule = lr_schedule
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _heads(self) -> tuple[str, ...]:
        """Names of the heads that are trained."""
        raise NotImplementedError

    def _learn_levels(self, y: NDArray[Any], levels: Any) -> None:
        """Find ``levels_`` if there is an ordinal head."""
        raise NotImplementedError

    def _check_y(self, y: Any, n: int) -> NDArray[Any]:
        """Labels as a 1-D array of length ``n``."""
        raise NotImplementedError

    # -- fitting ---------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> SpeechSentimentNet:
        """Train the network.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)
            Mel frames of shape (n_frames, n_mels), or maps of shape (n_frames, n_channels,
            n_frequencies). A 2-D table is read as utterances of one frame each.
        y : array-like of shape (n,)
            Intensities or levels.
        groups : array-like of shape (n,), optional
            Speakers. With ``early_stopping``, whole speakers are held out.
        sample_weight : array-like of shape (n,), optional
            Weights of the utterances in the loss.
        X_val, y_val : optional
            Validation data instead of a hold-out from ``X``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or parameters do not fit together.
        FloatingPointError
            If the loss becomes infinite or NaN.
        """
        reset = not (self.warm_start and self.initialized_)
        validation = None if X_val is None else (X_val, y_val)
        return self._train(X, y, groups, sample_weight, validation, self.levels, reset)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> SpeechSentimentNet:
        """Train for ``max_epochs`` more epochs without starting over.

        Parameters
        ----------
        X, y, groups, sample_weight, X_val, y_val
            See :meth:`fit`.
        classes : array-like of numbers, optional
            The scale, at the first call; like the parameter ``levels``.

        Returns
        -------
        self
        """
        levels = self.levels if classes is None else classes
        validation = None if X_val is None else (X_val, y_val)
        return self._train(X, y, groups, sample_weight, validation, levels, not self.initialized_)

    def _train(
        self,
        X: Any,
        y: Any,
        groups: Any,
        sample_weight: Any,
        validation: tuple[Any, Any] | None,
        levels: Any,
        reset: bool,
    ) -> SpeechSentimentNet:
        validate_parameter_constraints(
            NET_CONSTRAINTS, self.get_params(deep=False), caller_name=type(self).__name__
        )
        self._check_device_sharing()
        frames = check_utterances(self, X, reset=reset)
        y = self._check_y(y, len(frames))
        groups, weight = check_training_data(frames, y, groups, sample_weight)
        if reset:
            self._learn_levels(y, levels)
        rng = check_random_state(self.random_state)
        train, valid = np.arange(len(frames)), None
        if validation is not None:
            valid_frames = check_utterances(self, validation[0], reset=False)
            y_valid = self._check_y(validation[1], len(valid_frames))
            valid = self._dataset(valid_frames, y_valid, np.ones(len(y_valid), np.float32))
        elif self.early_stopping:
            train, rows = hold_out(self._level_index(y), groups, self.validation_fraction, rng)
            valid = self._dataset(frames[rows], y[rows], weight[rows])
        dataset = self._dataset(frames[train], y[train], weight[train])
        self._prepare_training(dataset, valid, rng)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        with torch_threads(self.n_jobs), scoped_seed(seed, self.device):
            if reset:
                self.initialize()
                self._start_heads(dataset)
            elif not hasattr(self, "optimizer_"):  # this estimator comes out of a pickle
                self._initialize_virtual_params()
                self._initialize_callbacks()
                self._initialize_optimizer()
            super().partial_fit(dataset)
        return self

    def _prepare_training(
        self,
        dataset: UtteranceDataset,
        validation: UtteranceDataset | None,
        rng: np.random.RandomState,
    ) -> None:
        """Say how training batches are drawn, cut and augmented."""
        frames = dataset.X
        shift = frames.frontend.get("frame_shift", _DEFAULT_SHIFT)
        if self.chunk_duration is not None:
            dataset.chunk = max(1, round(self.chunk_duration / shift))
        dataset.rng = rng
        probabilities = None
        if self.sampling_exponent:
            probabilities = sampling_weights(self._level_index(dataset.y), self.sampling_exponent)
        dataset.batches = RandomBatches(len(dataset), self.batch_size, rng, probabilities)
        dataset.validation = validation
        # SpecAugment masks time and frequency, which maps of frozen blocks no longer resolve.
        if self.spec_augment is True and len(frames.frame_shape) == 1:
            augment: Any = SpecAugment()
        else:
            augment = self.spec_augment or None
        if isinstance(augment, SpecAugment):
            generator = torch.Generator().manual_seed(int(rng.randint(np.iinfo(np.int32).max)))
            dataset.augment = partial(augment, generator=generator)

    def _level_index(self, y: NDArray[Any]) -> NDArray[np.int64]:
        if "ordinal" in self._heads():
            return nearest_level(y, self.levels_)
        return np.unique(round_labels(y), return_inverse=True)[1]

    def _dataset(
        self, frames: UtteranceFrames, y: NDArray[Any], weight: NDArray[np.float32]
    ) -> UtteranceDataset:
        targets: dict[str, NDArray[Any]] = {"weight": weight}
        if "regression" in self._heads():
            targets["regression"] = y.astype(np.float32)
        if "ordinal" in self._heads():
            targets["ordinal"] = nearest_level(y, self.levels_)
        return UtteranceDataset(frames, y, targets=targets)

    def _start_heads(self, dataset: UtteranceDataset) -> None:
        """Let an untrained network predict what the sampled training labels have in common."""
        assert dataset.batches is not None
        drawn = dataset.batches.weights
        probability = np.full(len(dataset), 1 / len(dataset)) if drawn is None else drawn
        if "regression" in self._heads():
            y = np.asarray(dataset.y, dtype=np.float64)
            order = np.argsort(y)
            middle = np.searchsorted(np.cumsum(probability[order]), 0.5)
            torch.nn.init.constant_(
                self.module_.heads["regression"].linear.bias, y[order][min(middle, len(y) - 1)]
            )
        if "ordinal" in self._heads():
            index = self._level_index(dataset.y)
            sampled = np.bincount(index, probability, minlength=len(self.levels_))
            self.module_.heads["ordinal"].set_prior(torch.from_numpy(sampled))
            natural = np.bincount(index, minlength=len(self.levels_)) / len(index)
            self.prior_ratio_ = np.divide(
                natural, sampled, out=np.zeros_like(natural), where=sampled > 0
            )

    # -- hooks of skorch -------------------------------------------------------------------------

    def initialize_module(self) -> SpeechSentimentNet:
        """Build the module for the data at hand, with pre-trained blocks if asked for."""
        kwargs = self.get_params_for("module")
        if hasattr(self, "frame_shape_"):
            channels = self.frame_shape_[0] if len(self.frame_shape_) == 2 else 1
            kwargs.setdefault("in_channels", channels)
            kwargs.setdefault("in_frequencies", self.frame_shape_[-1])
        if hasattr(self, "levels_"):
            kwargs.setdefault("n_levels", len(self.levels_))
        kwargs.setdefault("heads", self._heads())
        kwargs.setdefault("ordinal", self.ordinal)
        n_frozen, n_tuned = kwargs.get("n_frozen_blocks", 0), kwargs.get("n_tuned_blocks", 0)
        if self.weights is None:
            if n_frozen:
                raise ValueError(
                    f"{n_frozen} frozen block(s) without pre-trained weights would stay random. "
                    "Pass weights= or tune the blocks (module__n_tuned_blocks)."
                )
        else:
            if not n_frozen + n_tuned:
                raise ValueError(
                    f"weights={self.weights!r} without speaker blocks in the network. Set "
                    "module__n_frozen_blocks and module__n_tuned_blocks."
                )
            architecture = get_weights(self.weights).architecture
            kwargs.update({name: architecture[name] for name in ("widths", "depths")})
            kwargs["srext_se_ratio"] = architecture["se_ratio"]
            # A checkpoint with folded statistics is ruined by batch statistics of its own.
            kwargs.setdefault("freeze_batch_norm", True)
        self.module_ = self.initialized_instance(self.module, kwargs)
        if self.weights is not None:
            state = load_state_dict(self.weights)
            blocks = self.module_.srext
            blocks.load_state_dict({key: state[key] for key in blocks.state_dict()})
        return self

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        callbacks = super()._default_callbacks
        monitor = "valid_loss" if self.early_stopping else "train_loss"
        if self.lr_schedule == "milestones":
            milestones = [max(1, int(share * self.max_epochs)) for share in _MILESTONES]
            schedule = LRScheduler("MultiStepLR", milestones=milestones, gamma=0.1)
            callbacks.append(("lr_schedule", schedule))
        elif self.lr_schedule == "plateau":
            schedule = LRScheduler(
                "ReduceLROnPlateau",
                monitor=monitor,
                factor=0.1,
                patience=max(1, self.patience // 2),
            )
            callbacks.append(("lr_schedule", schedule))
        if self.early_stopping:
            sink = print if self.verbose else _say_nothing
            stopping = EarlyStopping(patience=self.patience, load_best=True, sink=sink)
            callbacks.append(("early_stopping", stopping))
        return callbacks

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
        return getattr(self, prefix)(dataset, sampler=batches, batch_size=None, **kwargs)

    def get_loss(
        self, y_pred: dict[str, Any], y_true: dict[str, Any], X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Loss of a batch: each head's own, summed by the criterion."""
        targets = to_device(y_true, self.device)
        losses = {
            name: self.module_.heads[name].loss(output, targets[name])
            for name, output in y_pred.items()
        }
        return self.criterion_(losses, targets["weight"])

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """One step of the optimizer, which must leave a finite loss."""
        step = super().train_step(batch, **fit_params)
        if not torch.isfinite(step["loss"]):
            raise FloatingPointError(
                f"The training loss became {step['loss'].item()} in epoch {len(self.history)}. "
                f"Lower lr={self.lr}, or look at the scale of X and y."
            )
        return step

    # -- inference -------------------------------------------------------------------------------

    def _head_outputs(self, X: Any) -> dict[str, NDArray[np.float32]]:
        """Output of each head per row of X; NaN for rows whose frames are."""
        check_is_fitted(self)
        frames = check_utterances(self, X.X if isinstance(X, UtteranceDataset) else X, reset=False)
        bad = unusable(frames)
        if bad.any():
            warnings.warn(
                f"Frames of {int(bad.sum())} utterances are NaN (row {np.flatnonzero(bad)[0]} is "
                "the first); so is what is predicted for them.",
                UserWarning,
                stacklevel=3,
            )
        rows = np.flatnonzero(~bad)
        rows = rows[np.argsort(frames.lengths[rows], kind="stable")]
        dataset = UtteranceDataset(frames)
        outputs: dict[str, NDArray[np.float32]] = {}
        with torch_threads(self.n_jobs):
            for batch in whole_batches(frames.lengths, self.batch_size, rows):
                if len(batch):
                    for name, output in self.evaluation_step(dataset[batch]).items():
                        shape = (len(frames), *output.shape[1:])
                        values = outputs.setdefault(name, np.full(shape, np.nan, np.float32))
                        values[batch] = output.cpu().numpy()
        return outputs

    def forward(self, X: Any, training: bool = False, device: str = "cpu") -> Any:
        """Outputs of the heads for all rows, in eval mode unless ``training``."""
        batches = list(self.forward_iter(X, training=training, device=device))
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    def get_dataset(self, X: Any, y: Any = None) -> UtteranceDataset:
        """Utterances as a dataset; one that is given passes."""
        if isinstance(X, UtteranceDataset):
            return X
        return UtteranceDataset(check_utterances(self, X, reset=False))

    # -- scikit-learn ----------------------------------------------------------------------------

    def _get_param_names(self) -> list[str]:
        return [name for name in super()._get_param_names() if not name.startswith("_")]

    def _face(self, cls: type[SpeechSentimentNet]) -> Any:
        """The same fitted network seen as another estimator, sharing module and state."""
        check_is_fitted(self)
        known = set(cls().get_params(deep=False))
        params = self.get_params(deep=False)
        face = cls(**{k: v for k, v in params.items() if k in known or "__" in k})
        fitted = {k: v for k, v in vars(self).items() if k.endswith("_") or k in _TORCH_NAMES}
        vars(face).update(fitted)
        return face

    def _check_device_sharing(self) -> None:
        on_gpu = str(self.device).startswith(("cuda", "mps"))
        if on_gpu and multiprocessing.parent_process() is not None:
            warnings.warn(
                f"Training on {self.device} in a worker process: several of them share one device "
                "and its memory. n_jobs=1 in the search is usually faster.",
                UserWarning,
                stacklevel=4,
            )

    __repr__ = BaseEstimator.__repr__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A pickle is for prediction: what only training needs would tie it to a device.
        state = {k: v for k, v in vars(self).items() if k not in ("optimizer_", "callbacks_")}
        for name in ("module_", "criterion_"):
            if name in state and any(p.device.type != "cpu" for p in state[name].parameters()):
                state[name] = copy.deepcopy(state[name]).cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = state["device"]
        if device is not None:
            state = {**state, "device": self._check_device(device, get_map_location(device))}
        vars(self).update(state)
        if "module_" in state and state["device"] is not None:
            self.module_.to(state["device"])


#: Where skorch keeps the names of torch components, without a trailing underscore.
_TORCH_NAMES = ("_modules", "_criteria", "_optimizers")


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    """Sink for messages of callbacks."""
