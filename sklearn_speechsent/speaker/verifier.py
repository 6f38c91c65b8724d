"""A speaker-verification network that is trained like any estimator."""

from __future__ import annotations

import hashlib
import os
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import skorch.dataset
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    check_random_state,
    column_or_1d,
)
from torch.utils.data import DataLoader

from sklearn_speechsent.features import MelFilterBank, SlidingCMN
from sklearn_speechsent.metrics import equal_error_rate, make_trials
from sklearn_speechsent.nn import SpeakerClassifierNetwork
from sklearn_speechsent.pretrained import SpeakerCheckpoint, check_frontend, save_checkpoint
from sklearn_speechsent.training.batches import UtteranceDataset
from sklearn_speechsent.training.checks import (
    TRAINING_CONSTRAINTS,
    check_training_data,
    check_utterances,
)
from sklearn_speechsent.training.loss import SummedLoss
from sklearn_speechsent.training.net import UtteranceNet
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_private import (
    HasMethods,
    Interval,
    validate_parameter_constraints,
)
from sklearn_speechsent.utterances import UtteranceFrames

#: Trials for the threshold; more do not move it.
_MAX_TRIALS = 100_000

_CONSTRAINTS: dict[str, list[Any]] = {
    **TRAINING_CONSTRAINTS,
    "frontend": [HasMethods(["fit_transform", "transform"]), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
}


class SpeakerVerifier(TransformerMixin, UtteranceNet):
    """Speaker embeddings by a residual network trained to tell the training speakers apart.

    SR-SEResNet34 [1]_ by default: stem, four residual stages with squeeze-excitation, statistics
    pooling over time and one linear layer, trained on random chunks with the additive angular
    margin softmax. Embeddings of speakers it never heard are alike for one speaker and differ
    between two; its lower stages are what the sentiment systems build on.

    Parameters
    ----------
    module : type or Module, default=SpeakerClassifierNetwork
        Architecture. Its own parameters are passed with the prefix ``module__``:
        ``module__widths`` and ``module__depths`` (channels and residual blocks of each stage;
        ``(64, 128, 256, 512)`` is the paper's larger network for SpE), ``module__se_ratio`` (None
        is WeSpeaker's ResNet34), ``module__embedding_size``, ``module__margin`` and
        ``module__scale``. Mel bins and speakers are inferred.
    frontend : transformer, optional
        From recordings to frames. By default ``MelFilterBank()`` and the subtraction of each
        utterance's mean. Not used for X that is :class:`~sklearn_speechsent.UtteranceFrames`.
    validation_fraction : float, default=0.1
        Share of the speakers kept out of training, for ``threshold_``. With 0 it comes from the
        training speakers and is too high for others.
    chunk_duration : float or None, default=2.0
        Seconds of the random chunks. An epoch draws as many as the recordings are long, all
        speakers equally often.
    spec_augment : bool or SpecAugment, default=True
        Mask random stretches of time and bands of frequency in training.
    lr : float, default=1e-3
    lr_schedule : {"milestones", "plateau"} or None, default="milestones"
        Divide the learning rate by 10 after 60 % and 85 % of the epochs, or whenever the loss
        stops falling.
    max_epochs : int, default=20
    batch_size : int, default=64
    precision : {"float32", "bfloat16"}, default="float32"
        Of the arithmetic in training. bfloat16 halves the time on processors that have it, at its
        own rounding; embeddings are computed in float32.
    n_jobs : int, optional
        Threads of torch; None leaves torch's setting, -1 uses all cores.
    random_state : int, RandomState instance or None, default=None
    verbose : int, default=0
        1 prints loss and time of each epoch.
    criterion, optimizer, callbacks, device, warm_start, compile, iterator_train, iterator_valid, \
dataset, train_split, predict_nonlinearity, use_caching, torch_load_kwargs
        See :class:`skorch.NeuralNet`; those that utterances need otherwise must stay as they are.
    **kwargs : dict
        Parameters with a prefix: ``module__``, ``optimizer__`` and so on.

    Attributes
    ----------
    classes_ : ndarray of shape (n_speakers,)
        Speakers of the training data, those held out included.
    threshold_ : float
        Similarity at which misses and false alarms are equally frequent among held-out speakers:
        ``score_pairs(X1, X2) >= threshold_`` takes two recordings for one speaker.
    module_ : SpeakerClassifierNetwork
    history_ : skorch.history.History
    frontend_ : transformer
        Fitted; only after fitting on recordings.
    n_features_in_ : int
        Mel bins, or samples per waveform of a 2-D array.

    References
    ----------
    .. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022
       (method).

    Examples
    --------
    >>> from sklearn_speechsent import SpeakerVerifier
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(4, 4, levels=(-1, 1), random_state=0)
    >>> verifier = SpeakerVerifier(
    ...     max_epochs=1, module__widths=(4, 8), module__depths=(1, 1), random_state=0
    ... )
    >>> verifier.set_params(validation_fraction=0.5).fit(corpus.data, corpus.groups)
    SpeakerVerifier(...)
    >>> verifier.transform(corpus.data).shape
    (16, 256)
    """

    def __init__(
        self,
        module: Any = SpeakerClassifierNetwork,
        *,
        frontend: Any = None,
        validation_fraction: float = 0.1,
        chunk_duration: float | None = 2.0,
        spec_augment: Any = True,
        lr: float = 1e-3,
        lr_schedule: str | None = "milestones",
        max_epochs: int = 20,
        batch_size: int = 64,
        precision: str = "float32",
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
        self.frontend = frontend
        self.validation_fraction = validation_fraction
        self.chunk_duration = chunk_duration
        self.spec_augment = spec_augment
        self.lr_schedule = lr_schedule
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SpeakerVerifier:
        """Train the network.

        Parameters
        ----------
        X : UtteranceFrames, or recordings as :class:`~sklearn_speechsent.MelFilterBank` takes them
        y : array-like of shape (n,)
            Who speaks in each recording.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is only one speaker, or too few to hold any out.
        RecordingError
            If a recording cannot be used.
        """
        return self._train(X, y)

    @reports_fit(subtasks="max_epochs")
    def _train(self, X: Any, y: Any) -> SpeakerVerifier:
        validate_parameter_constraints(
            _CONSTRAINTS, self.get_params(deep=False), caller_name=type(self).__name__
        )
        speakers, index = self._check_speakers(y)
        frames = check_utterances(self, self._frames(X, reset=True), reset=True)
        check_consistent_length(np.empty(len(frames)), index)
        check_training_data(frames, index, None, None)
        rng = check_random_state(self.random_state)
        held = self._hold_out(len(speakers), rng)
        train = np.flatnonzero(~np.isin(index, held))
        known, targets = np.unique(index[train], return_inverse=True)
        self.classes_ = speakers
        self.n_training_speakers_ = len(known)
        self.frame_settings_ = dict(frames.frontend)
        dataset = UtteranceDataset(
            frames[train],
            targets,
            targets={"speaker": targets, "weight": np.ones(len(train), np.float32)},
        )
        probabilities = 1 / (np.bincount(targets)[targets] * len(known))
        chunk = (self.chunk_duration or np.inf) / frames.frontend.get("frame_shift", 0.01)
        n_drawn = int(np.maximum(1, frames.lengths[train] / chunk).sum())
        reset = not (self.warm_start and self.initialized_)
        self._run_training(dataset, None, rng, probabilities, n_drawn, reset=reset)
        rows = np.flatnonzero(np.isin(index, held)) if len(held) else train
        self.threshold_ = self._find_threshold(frames[rows], index[rows])
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed recordings.

        Parameters
        ----------
        X : UtteranceFrames, or recordings

        Returns
        -------
        ndarray of shape (n, embedding_size), float32
            Rows have unit length; NaN for utterances whose frames are.
        """
        return self._embed(self._frames(X, reset=False))

    def score_pairs(self, X1: Any, X2: Any) -> NDArray[np.float32]:
        """How alike the voices of two recordings are.

        Parameters
        ----------
        X1, X2 : UtteranceFrames, or recordings, of the same length n

        Returns
        -------
        ndarray of shape (n,)
            Cosine of the angle between the embeddings of row i of X1 and row i of X2, in [-1, 1].

        Raises
        ------
        ValueError
            If there are not as many recordings on both sides.
        """
        first, second = self.transform(X1), self.transform(X2)
        check_consistent_length(first, second)
        return np.einsum("nd,nd->n", np.asarray(first), np.asarray(second))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the embedding's values: ``speaker000`` and so on.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        size = self.module_.embedder.seg_1.out_features
        return np.array([f"speaker{i:03d}" for i in range(size)], dtype=object)

    def to_checkpoint(self) -> SpeakerCheckpoint:
        """Say what the network is, for those who build on it.

        Returns
        -------
        SpeakerCheckpoint
            The embedder without the training speakers.
        """
        check_is_fitted(self)
        embedder = self.module_.embedder
        state = {name: tensor.cpu() for name, tensor in embedder.state_dict().items()}
        digest = hashlib.sha256()
        for tensor in state.values():
            digest.update(tensor.contiguous().numpy().tobytes())
        return SpeakerCheckpoint(
            name="SpeakerVerifier",
            state=state,
            architecture=embedder.architecture,
            frontend={**self.frame_settings_, "n_mels": embedder.n_mels},
            folded=False,
            sha256=digest.hexdigest(),
        )

    def save_weights(self, path: str | os.PathLike[str], **extra: Any) -> Path:
        """Write the embedder to a file that any step takes as ``weights=``.

        Parameters
        ----------
        path : str or path-like
            With the suffix ``.safetensors``.
        **extra : dict
            What else to keep: licence, attribution, figures.

        Returns
        -------
        pathlib.Path
        """
        checkpoint = self.to_checkpoint()
        return save_checkpoint(
            path,
            checkpoint.state,
            architecture=checkpoint.architecture,
            frontend=checkpoint.frontend,
            extra=extra,
        )

    # -- hooks and helpers -----------------------------------------------------------------------

    # skorch gives every net these; to scikit-learn they would make this a predictor.
    predict = property()
    predict_proba = property()
    score = property()

    def initialize_module(self) -> SpeakerVerifier:
        """Build the module for the data at hand."""
        kwargs = self.get_params_for("module")
        if hasattr(self, "frame_shape_"):
            kwargs.setdefault("n_mels", self.frame_shape_[0])
            kwargs.setdefault("n_speakers", self.n_training_speakers_)
        self.module_ = self.initialized_instance(self.module, kwargs)
        return self

    def check_frontend(self, frames: UtteranceFrames) -> None:
        """Frames must be of the kind that it was trained on."""
        if hasattr(self, "frame_settings_") and self.initialized_:
            check_frontend(self.to_checkpoint(), frames)

    def _frames(self, X: Any, *, reset: bool) -> UtteranceFrames:
        if isinstance(X, UtteranceFrames):
            return X
        if reset:
            frontend = self.frontend
            if frontend is None:
                frontend = make_pipeline(MelFilterBank(), SlidingCMN(window=None))
            self.frontend_ = clone(frontend)
            return self.frontend_.fit_transform(X)
        check_is_fitted(self, "frontend_")
        return self.frontend_.transform(X)

    def _embed(self, frames: UtteranceFrames) -> NDArray[np.float32]:
        embeddings = self._outputs(frames)["speaker"]
        bad = np.isnan(embeddings).any(axis=1)
        embeddings[~bad] = normalize(embeddings[~bad])
        return embeddings

    def _check_speakers(self, y: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if y is None:
            raise ValueError("requires y to be passed (the speakers), but the target y is None")
        y = column_or_1d(y, warn=True)
        speakers, index = np.unique(y, return_inverse=True)
        if len(speakers) < 2:
            raise ValueError(
                f"All {len(y)} recordings are of one speaker, {speakers[0]!r}: verification is "
                "learned from the difference between speakers. Add recordings of others."
            )
        return speakers, index

    def _hold_out(self, n_speakers: int, rng: np.random.RandomState) -> NDArray[np.int64]:
        n_held = int(np.ceil(self.validation_fraction * n_speakers))
        if n_held == 1:
            n_held = 2  # there are no trials of different speakers with fewer
        if n_held and n_speakers - n_held < 2:
            raise ValueError(
                f"Holding out {n_held} of {n_speakers} speakers leaves too few to train on. Add "
                "speakers, or set validation_fraction=0 for a threshold from the training data."
            )
        return rng.permutation(n_speakers)[:n_held]

    def _find_threshold(self, frames: UtteranceFrames, speakers: NDArray[np.int64]) -> float:
        """Similarity at the equal error rate of trials among these utterances."""
        if np.bincount(speakers)[speakers].min() < 2:
            # Halves of an utterance stand for two recordings of a speaker who has only one.
            middle = (frames.starts + frames.stops + 1) // 2
            frames = UtteranceFrames(
                frames.base,
                np.concatenate([frames.starts, np.minimum(middle, frames.stops - 1)]),
                np.concatenate([middle, frames.stops]),
                frontend=frames.frontend,
            )
            speakers = np.tile(speakers, 2)
        embeddings = self._embed(frames)
        first, second, same = make_trials(speakers, n_trials=_MAX_TRIALS, random_state=0)
        similarity = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
        return float(equal_error_rate(same, similarity, return_threshold=True)[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags
