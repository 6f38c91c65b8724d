"""SpeakerVerifier: a speaker-verification network, trained as an estimator."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from numbers import Real
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import skorch.dataset
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch.utils.data import DataLoader

from sklearn_speechsent.features import MelFilterBank, SlidingCMN
from sklearn_speechsent.features.base import as_table
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.nn import SpeakerClassifierNetwork
from sklearn_speechsent.nn.losses import SummedLoss
from sklearn_speechsent.pretrained import SpeakerWeights, check_frame_settings, save_weights
from sklearn_speechsent.speaker.trials import (
    check_speakers,
    count_held_out,
    equal_error_threshold,
    unit_rows,
)
from sklearn_speechsent.speaker.wccn import cut_in_pieces, within_class_whitening
from sklearn_speechsent.training.checks import TRAINING_CONSTRAINTS, check_training_data
from sklearn_speechsent.training.data import UtteranceDataset
from sklearn_speechsent.training.net import UtteranceNet
from sklearn_speechsent.training.resume import resumable
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    validate_parameter_constraints,
)

#: Seconds of the pieces from which the variation of a voice is estimated, without chunks.
_PIECE = 2.0
#: Shrinkage of the covariance within speakers towards that of all embeddings.
_SHRINKAGE = 0.02

_CONSTRAINTS: dict[str, list[Any]] = {
    **TRAINING_CONSTRAINTS,
    "frontend": [HasMethods(["fit_transform", "transform"]), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "wccn": ["boolean"],
    "resume": [str, os.PathLike, None],
}


class SpeakerVerifier(TransformerMixin, UtteranceNet):
    """Speaker embeddings by a residual network trained to tell the training speakers apart.

    SR-SEResNet34 [1]_ by default: stem, four residual stages with squeeze-excitation, statistics
    pooling over time and one linear layer, trained on random chunks with the additive angular
    margin softmax. Embeddings of new speakers are alike for one speaker and differ between two;
    the sentiment systems build on its lower stages.

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
        Share of the speakers held out of training, for ``threshold_``. With 0 the threshold comes
        from the training speakers and is too high for others.
    wccn : bool, default=True
        Within-class covariance normalisation: a linear map after the network, learned from pieces
        of the training utterances, which makes the variation of a voice equal in all directions
        [2]_. With few speakers it matters more than anything else.
    chunk_duration : float or None, default=2.0
        Seconds of the random chunks. An epoch draws as many as the recordings are long, all
        speakers equally often.
    spec_augment : bool or SpecAugment, default=True
        Mask random stretches of time and bands of frequency in training.
    lr : float, default=1e-3
    lr_schedule : {"milestones", "plateau", "one-cycle"} or None, default="milestones"
        Divide the learning rate by 10 after 60 % and 85 % of the epochs, or whenever the loss
        stops falling; or raise it from zero in the first 15 % of all batches and lower it to zero
        along half a cosine.
    max_epochs : int, default=20
    batch_size : int, default=64
    precision : {"float32", "bfloat16"}, default="float32"
        Of the arithmetic in training. bfloat16 halves the time on processors that have it, at its
        own rounding; embeddings are computed in float32.
    resume : str, Path or None, default=None
        Folder in which the state of training is saved, so that an interrupted fit resumes when it
        is started again; see :class:`~sklearn_speechsent.SpeechSentimentRegressor`.
    n_jobs : int, optional
        Threads of torch; None leaves torch's setting, -1 uses all cores.
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, hold-out, order, chunks, masks and dropout; None takes a new seed in
        every fit.
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
        All speakers, those held out included.
    held_out_ : ndarray of shape (n_held_out,)
        Speakers that were held out of training.
    threshold_ : float
        Similarity at which misses and false alarms are equally frequent among held-out speakers:
        ``score_pairs(X1, X2) >= threshold_`` takes two recordings for one speaker.
    wccn_ : tuple of ndarray of shape (embedding_size,) and (embedding_size, embedding_size)
        Vector that is subtracted from the network's embeddings, matrix they are multiplied with.
    frame_settings_ : dict
        How the training frames were made.
    frame_shape_ : tuple of int
        Shape of a frame, (n_mels,).
    embedding_size_ : int
        0: embeddings that come with frames are ignored.
    module_ : SpeakerClassifierNetwork
    history_ : skorch.history.History
    frontend_ : transformer
        Fitted; only after fitting on recordings.
    n_features_in_ : int
        Mel bins, or samples per waveform of a 2-D array.

    See Also
    --------
    SpeakerEmbedder : Embeddings of a network that is fitted.
    sklearn_speechsent.metrics.VerificationDetDisplay : Its errors as a curve.

    References
    ----------
    .. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022
       (method).
    .. [2] A. O. Hatch, S. Kajarekar and A. Stolcke, "Within-class covariance normalization for
       SVM-based speaker recognition", Interspeech 2006.

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
        wccn: bool = True,
        chunk_duration: float | None = 2.0,
        spec_augment: Any = True,
        lr: float = 1e-3,
        lr_schedule: str | None = "milestones",
        max_epochs: int = 20,
        batch_size: int = 64,
        precision: str = "float32",
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
        self.frontend = frontend
        self.validation_fraction = validation_fraction
        self.wccn = wccn
        self.chunk_duration = chunk_duration
        self.spec_augment = spec_augment
        self.lr_schedule = lr_schedule
        self.precision = precision
        self.resume = resume
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SpeakerVerifier:
        """Train the network.

        Parameters
        ----------
        X : UtteranceFrames, or recordings as :class:`~sklearn_speechsent.MelFilterBank` takes them
        y : array-like of shape (n,)
            Speaker of each recording.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is only one speaker, or too few to hold any out.
        RecordingError
            If a recording cannot be used.
        OSError
            If nothing can be saved in the folder ``resume``.
        """
        return self._train(X, y, not (self.warm_start and self.initialized_))

    def partial_fit(self, X: Any, y: Any) -> SpeakerVerifier:
        """Train for ``max_epochs`` more epochs without starting over.

        Parameters
        ----------
        X : UtteranceFrames, or recordings
        y : array-like of shape (n,)
            The speakers of the first call, all of them and no others.

        Returns
        -------
        self
        """
        return self._train(X, y, not self.initialized_)

    @reports_fit(subtasks="max_epochs")
    def _train(self, X: Any, y: Any, reset: bool) -> SpeakerVerifier:
        validate_parameter_constraints(
            _CONSTRAINTS, self.get_params(deep=False), caller_name=type(self).__name__
        )
        speakers, index = check_speakers(y)
        if reset:
            n_held = count_held_out(len(speakers), self.validation_fraction)
            self.__dict__.pop("frame_settings_", None)  # of frames of an earlier fit
        else:
            earlier = self._held_out_before(speakers)
        frames = self._check_utterances(self._frames(X, y, reset=reset), reset=reset)
        check_consistent_length(np.empty(len(frames)), index)
        check_training_data(frames, index, None, None)
        with resumable(self, [frames, speakers, index], reset=reset) as (rng, progress):
            held = rng.permutation(len(speakers))[:n_held] if reset else earlier
            train = np.flatnonzero(~np.isin(index, held))
            known, targets = np.unique(index[train], return_inverse=True)
            self.classes_, self.held_out_ = speakers, speakers[held]
            self.frame_settings_ = dict(frames.frame_settings)
            # A frontend knows the samples of waveforms that came as a table.
            frontend = vars(self).get("frontend_")
            self.n_features_in_ = getattr(frontend, "n_features_in_", self.frame_shape_[0])
            dataset = UtteranceDataset(
                frames[train],
                targets,
                targets={"speaker": targets, "weight": np.ones(len(train), np.float32)},
            )
            probabilities = 1 / (np.bincount(targets)[targets] * len(known))
            chunk = (self.chunk_duration or np.inf) / frames.frame_shift
            n_drawn = int(np.maximum(1, frames.lengths[train] / chunk).sum())
            self._run_training(
                dataset, None, rng, probabilities, n_drawn, reset=reset, progress=progress
            )
            rows = np.flatnonzero(np.isin(index, held)) if len(held) else train
            self._normalise_voices(dataset.X, targets)
            self.threshold_ = equal_error_threshold(self._embed, frames[rows], index[rows])
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
        check_is_fitted(self)
        frames = self._frames(X)
        return as_table(self, self._embed(frames), frames.metadata)

    def score_pairs(self, X1: Any, X2: Any) -> NDArray[np.float32]:
        """Similarity of the voices of two recordings.

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
        check_consistent_length(X1, X2)
        first, second = self.transform(X1), self.transform(X2)
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

    def to_weights(self) -> SpeakerWeights:
        """Weights of the embedder, for steps that build on it.

        Returns
        -------
        SpeakerWeights
            The embedder without the training speakers.
        """
        check_is_fitted(
            self,
            msg="This %(name)s instance is not fitted yet. Fit it first, and where estimators are "
            "cloned put it into FrozenEstimator(verifier), which leaves it fitted.",
        )
        embedder = self.module_.embedder
        state = {name: tensor.cpu() for name, tensor in embedder.state_dict().items()}
        # The map that is applied to embeddings becomes part of the last layer.
        mean, matrix = (torch.from_numpy(array).float() for array in self.wccn_)
        state["seg_1.weight"] = matrix.T @ state["seg_1.weight"]
        state["seg_1.bias"] = matrix.T @ (state["seg_1.bias"] - mean)
        digest = hashlib.sha256()
        for tensor in state.values():
            digest.update(tensor.contiguous().numpy().tobytes())
        return replace(self._record(), state=state, sha256=digest.hexdigest())

    def save_weights(self, path: str | os.PathLike[str], **extra: Any) -> Path:
        """Write the embedder to a file that any step takes as ``weights=``.

        Parameters
        ----------
        path : str or path-like
            With the suffix ``.safetensors``.
        **extra : dict
            Further entries of the file: licence, attribution, figures.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            If it was fitted on frames that do not say how they were made.
        """
        weights = self.to_weights()
        if not self.frame_settings_:
            raise ValueError(
                "It was fitted on frames without a record of how they were made, which a file "
                "must hold. Fit on recordings, or on UtteranceFrames(..., frame_settings={...})."
            )
        return save_weights(
            path,
            weights.state,
            architecture=weights.architecture,
            frame_settings=weights.frame_settings,
            extra=extra,
        )

    # -- hooks and helpers -----------------------------------------------------------------------

    # Inherited from skorch; to scikit-learn they would make this a predictor.
    predict = property()
    predict_proba = property()
    score = property()

    def initialize_module(self) -> SpeakerVerifier:
        """Build the module for the data at hand."""
        kwargs = self.get_params_for("module")
        if hasattr(self, "frame_shape_"):
            kwargs.setdefault("n_mels", self.frame_shape_[0])
            kwargs.setdefault("n_speakers", len(self.classes_) - len(self.held_out_))
        self.module_ = self.initialized_instance(self.module, kwargs)
        return self

    def _check_frames(self, X: Any, *, reset: bool) -> UtteranceFrames:
        """Frames without the embeddings that come with them."""
        # Their size is compared as frame_shape_: n_features_in_ may count samples of waveforms.
        frames = check_frames(SimpleNamespace(), X, reset=True)
        if len(frames.frame_shape) != 1:
            raise ValueError(
                f"Frames must have shape (n_mels,), got {frames.frame_shape}. Pass the output of "
                "SlidingCMN, or recordings."
            )
        return frames.with_embeddings(None)

    def _check_frame_settings(self, frames: UtteranceFrames) -> None:
        """Frames must be made like those that it was trained on."""
        if hasattr(self, "frame_settings_") and self.initialized_:
            check_frame_settings(self._record(), frames)

    def _record(self) -> SpeakerWeights:
        """Weights without the tensors."""
        embedder = self.module_.embedder
        settings = {"cmn": None, **self.frame_settings_} if self.frame_settings_ else {}
        return SpeakerWeights(
            name=type(self).__name__,
            state={},
            architecture=embedder.architecture,
            frame_settings={**settings, "n_mels": embedder.n_mels},
            folded=False,
            sha256="",
        )

    def _frames(self, X: Any, y: Any = None, *, reset: bool = False) -> UtteranceFrames:
        if reset:
            self.__dict__.pop("frontend_", None)
        if isinstance(X, UtteranceFrames):
            return X
        if reset:
            frontend = self.frontend
            if frontend is None:
                frontend = make_pipeline(MelFilterBank(), SlidingCMN(window=None))
            self.frontend_ = clone(frontend)
            return self.frontend_.fit_transform(X, y)
        if not hasattr(self, "frontend_"):
            raise ValueError(
                f"{type(self).__name__} was fitted on frames and has no frontend for recordings. "
                "Pass UtteranceFrames, or fit it on recordings."
            )
        return self.frontend_.transform(X)

    def _held_out_before(self, speakers: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers of the speakers that were held out in the first call."""
        if not np.array_equal(speakers, self.classes_):
            strange = np.setxor1d(speakers, self.classes_)[:5].tolist()
            raise ValueError(
                "Training continues with the speakers it began with, no more and no fewer; these "
                f"are on one side only: {', '.join(map(repr, strange))}. Set warm_start=False and "
                "call fit to start over."
            )
        return np.searchsorted(speakers, np.asarray(self.held_out_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _embed(self, frames: UtteranceFrames) -> NDArray[np.float32]:
        mean, matrix = self.wccn_
        return unit_rows((self._outputs(frames)["speaker"] - mean) @ matrix)

    def _normalise_voices(self, frames: UtteranceFrames, speakers: NDArray[np.int64]) -> None:
        """Learn the map that is applied to embeddings from pieces of the training utterances."""
        if not self.wccn:
            size = self.module_.embedder.seg_1.out_features
            self.wccn_ = np.zeros(size), np.eye(size)
            return
        length = max(1, round((self.chunk_duration or _PIECE) / frames.frame_shift))
        pieces, rows = cut_in_pieces(frames, length)
        if frames.frame_settings.get("cmn") == "utterance":
            # A short recording loses its own mean, which is a part of the variation of a voice.
            pieces = pieces.with_frames([piece - piece.mean(axis=0) for piece in pieces])
        embeddings = self._outputs(pieces)["speaker"]
        self.wccn_ = within_class_whitening(embeddings, speakers[rows], _SHRINKAGE)
