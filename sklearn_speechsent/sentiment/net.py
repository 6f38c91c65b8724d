"""Base of the regressor and the classifier: parameters, training, network."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import skorch.dataset
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch.utils.data import DataLoader

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.domain import learn_domain
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.metrics.levels import (
    level_index,
    observed_levels,
    round_to_integers,
    sampling_weights,
)
from sklearn_speechsent.metrics.scale import read_target, target_index, target_shares
from sklearn_speechsent.metrics.votes import is_votes, mean_level
from sklearn_speechsent.nn import SentimentNetwork
from sklearn_speechsent.nn.losses import SummedLoss
from sklearn_speechsent.pretrained import SpeakerWeights, load_weights
from sklearn_speechsent.pretrained.architecture import build
from sklearn_speechsent.sentiment.labels import check_scale, find_levels, warn_merged
from sklearn_speechsent.sentiment.nan_rows import rows_to_fit, rows_without_prediction
from sklearn_speechsent.sentiment.pretrained_parts import (
    check_input,
    determined_parameters,
    load_parts,
)
from sklearn_speechsent.training.checks import TRAINING_CONSTRAINTS, check_training_data
from sklearn_speechsent.training.data import UtteranceDataset
from sklearn_speechsent.training.net import TORCH_NAMES, TrainingRun, UtteranceNet
from sklearn_speechsent.training.resume import resumable
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

NET_CONSTRAINTS: dict[str, list[Any]] = {
    **TRAINING_CONSTRAINTS,
    "ordinal": [StrOptions({"coral", "corn", "condor", "clm", "ce", "sord"})],
    "two_headed": ["boolean"],
    "prior_correction": ["boolean"],
    "on_error": [StrOptions({"raise", "nan"})],
    "levels": ["array-like", None],
    "weights": [str, os.PathLike, HasMethods(["to_weights"]), None],
    "sampling_exponent": [Interval(Real, 0, None, closed="left")],
    "max_gradient_norm": [Interval(Real, 0, None, closed="neither"), None],
    "average_epochs": [Interval(Integral, 1, None, closed="left")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "resume": [str, os.PathLike, None],
}

#: Parameters of the module for parts of a speaker network.
_PARTS = {"n_frozen_blocks", "n_tuned_blocks", "stext_init"}


def hold_out(
    index: NDArray[np.int64],
    groups: NDArray[Any] | None,
    fraction: float,
    rng: np.random.RandomState,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into a training and a validation part.

    Parameters
    ----------
    index : ndarray of int of shape (n,)
        Number of the level of each utterance.
    groups : ndarray of shape (n,) or None
        Speakers; whole ones are held out. None stratifies by level.
    fraction : float
        Share of the speakers (or utterances) held out.
    rng : RandomState

    Returns
    -------
    train, valid : ndarray of int

    Raises
    ------
    ValueError
        If there are fewer than two speakers.

    Warns
    -----
    UserWarning
        If a level occurs in one part only; the message says which.
    """
    placeholder = np.zeros(len(index))
    if groups is not None:
        if len(np.unique(groups)) < 2:
            raise ValueError(
                "early_stopping holds out whole speakers and groups has one only. Pass X_val and "
                "y_val, more speakers, or early_stopping=False."
            )
        splitter: Any = GroupShuffleSplit(1, test_size=fraction, random_state=rng)
    else:
        n_valid = int(np.ceil(fraction * len(index)))
        n_levels = len(np.unique(index))
        stratify = np.bincount(index)[index].min() > 1 and n_levels <= n_valid <= len(index) // 2
        splits = StratifiedShuffleSplit if stratify else ShuffleSplit
        splitter = splits(1, test_size=n_valid, random_state=rng)
    train, valid = next(splitter.split(placeholder, index, groups))
    for part, rows in (("training", train), ("validation", valid)):
        absent = np.setdiff1d(index, index[rows])
        if len(absent):
            warnings.warn(
                f"The {part} part of the hold-out lacks level number {absent.tolist()} (counted "
                "from the lowest, 0). A larger validation_fraction or more speakers may help.",
                UserWarning,
                stacklevel=4,
            )
    return train, valid


class SpeechSentimentNet(UtteranceNet):
    """Training and inference on utterances; the subclasses say what is predicted."""

    #: Without their tensors, which the network holds.
    weights_: SpeakerWeights | None = None

    def __init__(
        self,
        module: Any = SentimentNetwork,
        *,
        ordinal: str = "coral",
        two_headed: bool = False,
        levels: Any = None,
        prior_correction: bool = False,
        on_error: str = "raise",
        weights: str | None = None,
        chunk_duration: float | None = 4.0,
        spec_augment: Any = True,
        sampling_exponent: float = 0.0,
        lr: float = 1e-3,
        lr_schedule: str | None = "milestones",
        max_gradient_norm: float | None = None,
        max_epochs: int = 20,
        average_epochs: int = 1,
        batch_size: int = 32,
        precision: str = "float32",
        early_stopping: bool = False,
        validation_fraction: float = 0.15,
        patience: int = 5,
        resume: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        criterion: Any = SummedLoss,
        optimizer: Any = torch.optim.Adam,
        callbacks: Any = None,
        device: Any = "cpu",
        warm_start: bool = False,
        compile: bool = False,
        iterator_train: Any = DataLoader,
        iterator_valid: Any = DataLoader,
        dataset: Any = skorch.dataset.Dataset,
        train_split: Any = None,
        predict_nonlinearity: Any = "auto",
        use_caching: Any = False,
        torch_load_kwargs: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            callbacks=callbacks,
            device=device,
            warm_start=warm_start,
            compile=compile,
            iterator_train=iterator_train,
            iterator_valid=iterator_valid,
            dataset=dataset,
            train_split=train_split,
            predict_nonlinearity=predict_nonlinearity,
            use_caching=use_caching,
            torch_load_kwargs=torch_load_kwargs,
            verbose=verbose,
            **kwargs,
        )
        self.ordinal = ordinal
        self.two_headed = two_headed
        self.levels = levels
        self.prior_correction = prior_correction
        self.on_error = on_error
        self.weights = weights
        self.chunk_duration = chunk_duration
        self.spec_augment = spec_augment
        self.sampling_exponent = sampling_exponent
        self.lr_schedule = lr_schedule
        self.max_gradient_norm = max_gradient_norm
        self.average_epochs = average_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.resume = resume
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _heads(self) -> tuple[str, ...]:
        """Names of the heads that are trained."""
        raise NotImplementedError

    def _read_labels(
        self, y: Any, levels: Any, n: int, *, reset: bool, name: str = "y"
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Labels of ``n`` rows, and the scale they are on: what was learned unless ``reset``.

        Votes are shares of shape (n, n_levels) for an ordinal head, otherwise their means.
        """
        learned: NDArray[Any] | None = None if reset else vars(self).get("levels_")
        votes = is_votes(y)
        by_name = levels is None and learned is not None and (votes or learned.dtype.kind == "U")
        y, scale = read_target(y, learned if by_name else levels, name, warn=True)
        check_consistent_length(np.empty(n), y)
        text = y if scale is None or not votes else scale
        if "regression" in self._heads() and text.dtype.kind == "U":
            raise ValueError(
                f"A regression head needs numbers, and {name} holds text, such as "
                f"{str(text[0])!r}. Number the levels (series.cat.codes of an ordered category), "
                "or use SpeechSentimentClassifier(two_headed=False)."
            )
        if learned is not None:
            if scale is not None and not np.array_equal(scale, learned):
                raise ValueError(
                    f"The levels {scale.tolist()} are not those of the first fit, "
                    f"{learned.tolist()}. Other levels need a fit from the start."
                )
            scale = learned
        check_scale(y, scale, name)
        if y.ndim == 2 and "ordinal" not in self._heads():
            assert scale is not None
            return mean_level(y, scale, name), scale
        return y, scale

    def _learn_levels(self, y: NDArray[Any], scale: NDArray[Any] | None) -> None:
        """Find ``levels_`` if there is an ordinal head."""
        if "ordinal" in self._heads():
            self.levels_ = find_levels(y, scale)
            return
        self.__dict__.pop("levels_", None)  # of an earlier fit with two heads
        if scale is None and self.sampling_exponent:
            warn_merged(y, observed_levels(y))

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
            Mel frames of shape (n_frames, n_mels), maps of shape (n_frames, n_channels,
            n_frequencies), or layers of an encoder of shape (n_frames, n_layers, width). A 2-D
            table is read as utterances of one frame each.
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Intensities or levels: numbers, or for a classifier an ordered category of pandas, or
            text of which ``levels`` gives the order. Or how many annotators, or which share, chose
            each level: a DataFrame with columns named after the levels, or an array with columns in
            the order of ``levels``. An ordinal head learns the shares, a regression head the mean;
            utterances count alike, with however few votes (``sample_weight=y.sum(axis=1)`` weights
            them). ``sampling_exponent`` goes by the median level.
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
            If data or parameters do not fit together, a label lies off the scale, votes cannot be
            used, or utterances are NaN and ``on_error="raise"``; the message names the rows.
        FloatingPointError
            If the loss becomes infinite or NaN.
        OSError
            If nothing can be saved in the folder ``resume``.
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
        classes : array-like, optional
            The scale, at the first call; like the parameter ``levels``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a label lies off the scale of the first call, or as :meth:`fit`.
        """
        levels = self.levels if classes is None else classes
        validation = None if X_val is None else (X_val, y_val)
        return self._train(X, y, groups, sample_weight, validation, levels, not self.initialized_)

    @reports_fit(subtasks="max_epochs")
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
        if self.early_stopping and self.average_epochs > 1:
            raise ValueError(
                "early_stopping=True restores the weights of the best epoch, and "
                f"average_epochs={self.average_epochs} replaces them by a mean: use one of the two."
            )
        self._check_device_sharing()
        if reset:
            weights = None if self.weights is None else load_weights(self.weights)
            self.weights_ = None if weights is None else replace(weights, state={})
        frames = self._check_utterances(X, reset=reset)
        y, scale = self._read_labels(y, levels, len(frames), reset=reset)
        good = rows_to_fit(frames, on_error=self.on_error)
        if not good.all():
            check_consistent_length(y, groups, sample_weight)
            frames, y = frames[good], y[good]
            groups, sample_weight = (
                values if values is None else np.asarray(values)[good]
                for values in (groups, sample_weight)
            )
        groups, weight = check_training_data(frames, y, groups, sample_weight)
        self.domain_ = learn_domain(frames, None if reset else self.domain_)
        if reset:
            self._learn_levels(y, scale)
        if validation is not None:
            frames_val = self._check_utterances(validation[0], reset=False)
            y_val, _ = self._read_labels(
                validation[1], levels, len(frames_val), reset=False, name="y_val"
            )
            good = rows_to_fit(frames_val, on_error=self.on_error, name="X_val")
            validation = frames_val[good], y_val[good]
        # The same shares of other levels have other means.
        data = [frames, y, groups, weight, validation, scale if y.ndim == 2 else levels]
        with resumable(self, data, reset=reset) as (rng, progress):
            train, valid = np.arange(len(frames)), None
            if validation is not None:
                valid = self._dataset(*validation, np.ones(len(validation[1]), np.float32))
            elif self.early_stopping:
                train, rows = hold_out(self._level_index(y), groups, self.validation_fraction, rng)
                valid = self._dataset(frames[rows], y[rows], weight[rows])
            dataset = self._dataset(frames[train], y[train], weight[train])
            probabilities = None
            if self.sampling_exponent:
                index = self._level_index(y[train])
                probabilities = sampling_weights(index, self.sampling_exponent)
            return self._run_training(
                dataset, valid, rng, probabilities, reset=reset, progress=progress
            )

    def _start_heads(self, run: TrainingRun) -> None:
        """Start from median and frequencies of the training labels, as they are sampled."""
        labels = np.asarray(run.data.y)
        drawn = run.batches.weights
        probability = np.full(len(labels), 1 / len(labels)) if drawn is None else drawn
        if "regression" in self._heads():
            y = self._intensities(labels)
            order = np.argsort(y)
            middle = int(np.searchsorted(np.cumsum(probability[order]), 0.5))
            torch.nn.init.constant_(
                self._network.heads["regression"].linear.bias, y[order][min(middle, len(y) - 1)]
            )
        if "ordinal" in self._heads():
            shares = target_shares(labels, self.levels_)
            sampled = probability @ shares
            self._network.heads["ordinal"].set_prior(torch.from_numpy(sampled))
            natural = shares.mean(axis=0)
            self.prior_ratio_ = np.divide(
                natural, sampled, out=np.zeros_like(natural), where=sampled > 0
            )

    def _check_frames(self, X: Any, *, reset: bool) -> UtteranceFrames:
        """Frames of X; rows of NaN are treated later."""
        return check_frames(self, X, reset=reset, allow_nan=True)

    def _without_outputs(
        self, frames: UtteranceFrames, sums: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Rows whose outputs are NaN."""
        return rows_without_prediction(frames, on_error=self.on_error)

    def _check_frame_settings(self, frames: UtteranceFrames) -> None:
        """Frames must be like those that the pre-trained blocks were trained on, if any."""
        if self.weights_ is not None:
            check_input(self.weights_, self.get_params_for("module"), frames)

    def _intensities(self, y: NDArray[Any]) -> NDArray[np.float64]:
        return mean_level(y, self.levels_) if y.ndim == 2 else y.astype(np.float64)

    def _level_index(self, y: NDArray[Any]) -> NDArray[np.int64]:
        if "ordinal" in self._heads():
            return target_index(y, self.levels_)
        if self.levels is not None:
            return level_index(y, np.unique(self.levels))
        return np.unique(round_to_integers(y), return_inverse=True)[1]

    def _dataset(
        self, frames: UtteranceFrames, y: NDArray[Any], weight: NDArray[np.float32]
    ) -> UtteranceDataset:
        targets: dict[str, NDArray[Any]] = {"weight": weight}
        if "regression" in self._heads():
            targets["regression"] = self._intensities(y).astype(np.float32)
        if "ordinal" in self._heads():
            of_votes = y.ndim == 2
            targets["ordinal"] = y.astype(np.float32) if of_votes else level_index(y, self.levels_)
        return UtteranceDataset(frames, y, targets=targets)

    # -- hooks of skorch -------------------------------------------------------------------------

    def initialize_module(self) -> SpeechSentimentNet:
        """Build the module for the data at hand, with pre-trained blocks if asked for."""
        weights = None if self.weights is None else load_weights(self.weights)
        kwargs = self._module_arguments(weights)
        self.module_ = self.initialized_instance(self.module, kwargs)
        if weights is not None:
            load_parts(self.module_, weights, kwargs)
        return self

    def _module_arguments(self, weights: SpeakerWeights | None) -> dict[str, Any]:
        """Arguments of the module: what was asked for, and what data and weights determine."""
        kwargs = self.get_params_for("module")
        if hasattr(self, "frame_shape_"):
            channels = self.frame_shape_[0] if len(self.frame_shape_) == 2 else 1
            kwargs.setdefault("in_channels", channels)
            kwargs.setdefault("in_frequencies", self.frame_shape_[-1])
            if self.embedding_size_:
                kwargs.setdefault("embedding_size", self.embedding_size_)
        if hasattr(self, "levels_"):
            kwargs.setdefault("n_levels", len(self.levels_))
        kwargs.setdefault("heads", self._heads())
        kwargs.setdefault("ordinal", self.ordinal)
        if (weights is not None or _PARTS & kwargs.keys()) and not self._takes_blocks():
            raise ValueError(
                f"module={self.module.__name__} has no speaker blocks: leave out weights, "
                "module__n_frozen_blocks, module__n_tuned_blocks and module__stext_init, or use "
                "SentimentNetwork."
            )
        return kwargs | determined_parameters(weights, kwargs)

    def restore(self, state: Mapping[str, torch.Tensor], source: str) -> None:
        """Become fitted with the tensors of a trained network, as from a pickle.

        All fitted attributes that say what the network was trained on are there already.

        Parameters
        ----------
        state : mapping of str to Tensor
        source : str
            Where the tensors come from; named in messages.

        Raises
        ------
        ValueError
            If they are not those of the network.
        """
        network = build(self.module, self._module_arguments(self.weights_), state, source)
        self._initialize_virtual_params()
        with self._current_init_context("module"):
            self.module_ = network
        self._initialize_criterion()
        self._initialize_history()
        self.initialized_ = True

    def _takes_blocks(self) -> bool:
        """Whether the module can have speaker blocks."""
        parameters = inspect.signature(self.module).parameters
        return "n_tuned_blocks" in parameters or any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
        )

    # -- scikit-learn ----------------------------------------------------------------------------

    def _view_as(self, cls: type[SpeechSentimentNet]) -> Any:
        """The same fitted network as another estimator, sharing module and state."""
        check_is_fitted(self)
        view = cls(**self.get_params(deep=False))
        fitted = {k: v for k, v in vars(self).items() if k.endswith("_") or k in TORCH_NAMES}
        view.__dict__.update(fitted)
        return view

    def _check_device_sharing(self) -> None:
        on_gpu = str(self.device).startswith(("cuda", "mps"))
        if on_gpu and multiprocessing.parent_process() is not None:
            warnings.warn(
                f"Training on {self.device} in a worker process: several of them share one device "
                "and its memory. n_jobs=1 in the search is usually faster.",
                UserWarning,
                stacklevel=4,
            )
