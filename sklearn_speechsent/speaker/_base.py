"""From recordings to embeddings: what a verifier is besides its training."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features import MelFilterBank, SlidingCMN
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.pretrained import SpeakerCheckpoint, check_frontend, save_checkpoint
from sklearn_speechsent.training.net import UtteranceNet


class SpeakerNet(TransformerMixin, UtteranceNet):
    """The doors of a speaker network, and the checkpoint that others build on."""

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
        check_is_fitted(
            self,
            msg="This %(name)s instance is not fitted yet. Fit it first, and where estimators are "
            "cloned put it into FrozenEstimator(verifier), which keeps it fitted.",
        )
        embedder = self.module_.embedder
        state = {name: tensor.cpu() for name, tensor in embedder.state_dict().items()}
        # What is done to embeddings behind the network becomes part of its last layer.
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
            What else to keep: licence, attribution, figures.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            If it was fitted on frames that do not say how they were made.
        """
        checkpoint = self.to_checkpoint()
        if not self.frame_settings_:
            raise ValueError(
                "It was fitted on frames without a record of how they were made, which a file "
                "must hold. Fit on recordings, or on UtteranceFrames(..., frontend={...})."
            )
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

    def initialize_module(self) -> SpeakerNet:
        """Build the module for the data at hand."""
        kwargs = self.get_params_for("module")
        if hasattr(self, "frame_shape_"):
            kwargs.setdefault("n_mels", self.frame_shape_[0])
            kwargs.setdefault("n_speakers", self.n_training_speakers_)
        self.module_ = self.initialized_instance(self.module, kwargs)
        return self

    def check_frames(self, X: Any, *, reset: bool) -> UtteranceFrames:
        """Frames of the size of ``fit``; embeddings that come with them are left aside."""
        # Their size is compared as frame_shape_: n_features_in_ may count samples of waveforms.
        frames = check_frames(SimpleNamespace(), X, reset=True)
        if len(frames.frame_shape) != 1:
            raise ValueError(
                f"Frames must have shape (n_mels,), got {frames.frame_shape}. Pass the output of "
                "SlidingCMN, or recordings."
            )
        return frames.with_embeddings(None)

    def check_frontend(self, frames: UtteranceFrames) -> None:
        """Frames must be of the kind that it was trained on."""
        if hasattr(self, "frame_settings_") and self.initialized_:
            check_frontend(self._record(), frames)

    def _record(self) -> SpeakerCheckpoint:
        """Checkpoint without the tensors."""
        embedder = self.module_.embedder
        settings = {"cmn": None, **self.frame_settings_} if self.frame_settings_ else {}
        return SpeakerCheckpoint(
            name=type(self).__name__,
            state={},
            architecture=embedder.architecture,
            frontend={**settings, "n_mels": embedder.n_mels},
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

    def held_out_before(self, speakers: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers of the speakers that were held out when training began."""
        if not np.array_equal(speakers, self.classes_):
            strange = np.setxor1d(speakers, self.classes_)[:5].tolist()
            raise ValueError(
                "Training goes on with the speakers it began with, no more and no fewer; these "
                f"are on one side only: {', '.join(map(repr, strange))}. Set warm_start=False and "
                "call fit to start over."
            )
        return np.searchsorted(speakers, np.asarray(self.held_out_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags
