"""Fusion of a speaker embedding with the frames of each utterance (SpE)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_speechsent.features.base import FramesOutputMixin
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.speaker.embedder import SpeakerEmbedder
from sklearn_speechsent.speaker.trials import unit_rows
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import EstimatorMixin
from sklearn_speechsent.utils.sklearn_compat import HasMethods, fit_context


class SpeakerEmbeddingFusion(FramesOutputMixin, EstimatorMixin, TransformerMixin, BaseEstimator):
    """Attach a speaker embedding to each utterance, for the network behind to fuse.

    Frames pass unchanged, or are made of recordings by ``frames``. A sentiment network that finds
    embeddings projects them and concatenates them with the output of its decoders [1]_, so that
    what is lasting in a voice is not mistaken for its present state; pooled statistics get them as
    further columns.

    Parameters
    ----------
    embedder : transformer, optional
        Makes one row per utterance out of what X holds. By default
        :class:`~sklearn_speechsent.SpeakerEmbedder`; a fitted one is kept as it is inside a
        :class:`~sklearn.frozen.FrozenEstimator`.
    frames : transformer, optional
        Makes the frames out of X, where they hold no speaker embedding: with
        ``SpeechEncoder(pooling=None)`` X holds recordings, and the embedder gets the same
        recordings, for instance ``make_pipeline(MelFilterBank(), SlidingCMN(None),
        SpeakerEmbedder())``. None: X holds the frames.

    Attributes
    ----------
    embedder_ : transformer
        Fitted.
    frames_ : transformer or None
        Fitted.
    n_features_in_ : int
        Values per frame; with ``frames`` only if X was a 2-D array, the samples per waveform.

    See Also
    --------
    SpeakerEmbedder : The embeddings alone.

    References
    ----------
    .. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022
       (method).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import SpeakerEmbeddingFusion
    >>> from sklearn_speechsent.features import FrameStatistics
    >>> fusion = SpeakerEmbeddingFusion(FrameStatistics())
    >>> frames = fusion.fit_transform([np.ones((5, 3)), np.zeros((4, 3)) + [0, 3, 4]])
    >>> frames.embeddings.shape
    (2, 6)

    Over layers of an encoder, with the voice of the same recordings:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_speechsent import MelFilterBank, SlidingCMN, SpeakerEmbedder, SpeechEncoder
    >>> voice = make_pipeline(MelFilterBank(), SlidingCMN(window=None), SpeakerEmbedder())
    >>> fusion = SpeakerEmbeddingFusion(voice, frames=SpeechEncoder(pooling=None))
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "embedder": [HasMethods(["fit", "transform"]), None],
        "frames": [HasMethods(["fit", "transform"]), None],
    }

    def __init__(self, embedder: Any = None, *, frames: Any = None) -> None:
        self.embedder = embedder
        self.frames = frames

    @reports_fit()
    # Both are checked by their own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> SpeakerEmbeddingFusion:
        """Fit the embedder, and what makes the frames.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)
            With ``frames``, what that takes.
        y : array-like of shape (n,), optional
            Passed to both.

        Returns
        -------
        self
        """
        self.frames_: Any = None
        if self.frames is None:
            X = check_frames(self, X, reset=True)
        else:
            self.frames_ = clone(self.frames).fit(X, y)
            self.__dict__.pop("n_features_in_", None)  # of an earlier fit
            if hasattr(self.frames_, "n_features_in_"):
                self.n_features_in_ = self.frames_.n_features_in_
        embedder = SpeakerEmbedder() if self.embedder is None else self.embedder
        self.embedder_ = clone(embedder).fit(X, y)
        return self

    def transform(self, X: Any) -> UtteranceFrames:
        """Attach embeddings of unit length.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)
            With ``frames``, what that takes.

        Returns
        -------
        UtteranceFrames
            The frames with ``embeddings`` of shape (n, embedding_size).

        Raises
        ------
        ValueError
            If the embedder does not give one row of numbers per utterance, or ``frames`` does not
            give frames of each.
        """
        check_is_fitted(self)
        if self.frames_ is None:
            X = frames = check_frames(self, X, reset=False)
        else:
            frames = self._make_frames(X)
        made = self.embedder_.transform(X)
        name = type(self.embedder_).__name__
        if isinstance(made, UtteranceFrames):
            raise ValueError(
                f"{name} gives frames where one row per utterance is needed. Use SpeakerEmbedder, "
                "or a transformer that pools."
            )
        embeddings = check_array(
            made, dtype=np.float32, ensure_all_finite=False, input_name=f"Output of {name}"
        )
        if len(embeddings) != len(frames):
            raise ValueError(f"{name} gives {len(embeddings)} rows for {len(frames)} utterances.")
        return frames.with_embeddings(unit_rows(embeddings))

    def _make_frames(self, X: Any) -> UtteranceFrames:
        """Frames of all rows of X."""
        frames = self.frames_.transform(X)
        name = type(self.frames_).__name__
        if not isinstance(frames, UtteranceFrames):
            raise ValueError(
                f"frames={name} gives {type(frames).__name__}, not UtteranceFrames. Use "
                "SpeechEncoder(pooling=None), or MelFilterBank."
            )
        if len(frames) != len(X):
            # Which rows are left out is not known here, and the embedder may leave out others.
            raise ValueError(
                f"frames={name} gives {len(frames)} utterances for {len(X)} rows of X. Nothing "
                'may be left out: use on_error="nan" instead of "skip".'
            )
        return frames

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the values of a frame.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names that the step before gives; by default ``mel00`` and so on.

        Returns
        -------
        ndarray of str
            With ``frames``, the names that it gives.
        """
        check_is_fitted(self)
        if self.frames_ is None:
            return super().get_feature_names_out(input_features)
        return self.frames_.get_feature_names_out(input_features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        if self.frames is not None:
            tags.input_tags = get_tags(self.frames).input_tags
        return tags
