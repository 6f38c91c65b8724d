"""Fusion of a speaker embedding with the frames of each utterance (SpE)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
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

    The frames pass unchanged. A sentiment network that finds embeddings projects them and
    concatenates them with the output of its decoders [1]_, so that what is lasting in a voice is
    not mistaken for its present state; pooled statistics get them as further columns.

    Parameters
    ----------
    embedder : transformer, optional
        Makes one row per utterance out of frames. By default
        :class:`~sklearn_speechsent.SpeakerEmbedder`; a fitted one is kept as it is inside a
        :class:`~sklearn.frozen.FrozenEstimator`.

    Attributes
    ----------
    embedder_ : transformer
        Fitted.
    n_features_in_ : int
        Values per frame.

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
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "embedder": [HasMethods(["fit", "transform"]), None],
    }

    def __init__(self, embedder: Any = None) -> None:
        self.embedder = embedder

    @reports_fit()
    # The embedder is checked by its own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> SpeakerEmbeddingFusion:
        """Fit the embedder.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)
        y : array-like of shape (n,), optional
            Passed to the embedder.

        Returns
        -------
        self
        """
        frames = check_frames(self, X, reset=True)
        embedder = SpeakerEmbedder() if self.embedder is None else self.embedder
        self.embedder_ = clone(embedder).fit(frames, y)
        return self

    def transform(self, X: Any) -> UtteranceFrames:
        """Attach embeddings of unit length.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)

        Returns
        -------
        UtteranceFrames
            The same frames with ``embeddings`` of shape (n, embedding_size).

        Raises
        ------
        ValueError
            If the embedder does not give one row of numbers per utterance.
        """
        check_is_fitted(self)
        frames = check_frames(self, X, reset=False)
        made = self.embedder_.transform(frames)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
