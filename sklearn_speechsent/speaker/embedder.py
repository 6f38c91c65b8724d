"""Speaker embeddings of a pre-trained network as an ordinary table."""

from __future__ import annotations

import os
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT
from sklearn_speechsent.features.frozen import PRECISIONS, apply_frozen
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.pretrained import build_network, check_frame_settings, load_weights
from sklearn_speechsent.speaker.trials import unit_rows
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin, reports_fit
from sklearn_speechsent.utils.sklearn_compat import HasMethods, StrOptions, fit_context

#: Part of every cache key: raise it when the same settings give other embeddings.
_VERSION = 2


class SpeakerEmbedder(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Embedding of each utterance's speaker by a pre-trained verification network (SpE).

    Parameters
    ----------
    weights : str, Path or SpeakerVerifier, default="speechsent-seresnet"
        Name in the registry of :mod:`sklearn_speechsent.pretrained` (the default ships with the
        package), file (``.onnx``, ``.pt``, ``.safetensors``), or a fitted
        :class:`~sklearn_speechsent.SpeakerVerifier`, which stays fitted when this estimator is
        cloned.
    normalize : bool, default=True
        Whether embeddings have unit length, so that products of two are cosines.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the network's convolutions. bfloat16 halves the time on processors that have it.
    n_jobs : int, optional
        Utterances that are computed at a time, each on one thread of torch; None computes one after
        the other on as many threads as torch is set to, -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which embeddings are kept per utterance, by the utterance's frames and the
        network, see :class:`~sklearn_speechsent.FeatureStore`.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    network_ : SpeakerResNet
    n_features_in_ : int
        Mel bins.

    See Also
    --------
    SpeakerEmbeddingFusion : Attaches embeddings to the frames on their way to a network.

    References
    ----------
    .. [1] H. Wang et al., "Wespeaker: a research and production oriented speaker embedding
       learning toolkit", ICASSP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_speechsent import MelFilterBank, SlidingCMN, SpeakerEmbedder
    >>> voices = make_pipeline(MelFilterBank(), SlidingCMN(window=None), SpeakerEmbedder())
    >>> waveforms = np.random.default_rng(0).normal(scale=0.1, size=(2, 8000))
    >>> voices.fit_transform(waveforms).shape
    (2, 256)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "weights": [str, os.PathLike, HasMethods(["to_weights"])],
        "normalize": ["boolean"],
        "precision": [StrOptions(set(PRECISIONS))],
        "n_jobs": [Integral, None],
        "memory": MEMORY_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        weights: Any = "speechsent-seresnet",
        *,
        normalize: bool = True,
        precision: str = "float32",
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.weights = weights
        self.normalize = normalize
        self.precision = precision
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def __sklearn_clone__(self) -> SpeakerEmbedder:
        twin = super().__sklearn_clone__()
        twin.weights = self.weights  # what is pre-trained must not come out untrained
        return twin

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> SpeakerEmbedder:
        """Load the network and check that the frames are of the kind it was trained on.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_mels)
            Output of ``SlidingCMN``.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        FileNotFoundError
            If the weights are not there.
        ValueError
            If the file is damaged or of another architecture, or the frames have another rate,
            window or number of bins than the network expects.
        """
        frames = check_frames(self, X, reset=True)
        checkpoint = load_weights(self.weights)
        check_frame_settings(checkpoint, frames)
        self.network_ = build_network(checkpoint)
        self.weights_ = replace(checkpoint, state={})
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed utterances.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_mels)

        Returns
        -------
        ndarray of shape (n, embedding_size), float32
        """
        check_is_fitted(self)
        frames = check_frames(self, X, reset=False)
        check_frame_settings(self.weights_, frames)
        found = apply_frozen(
            self.network_,
            frames,
            Tensor.numpy,
            precision=self.precision,
            memory=self.memory,
            step="spe",
            settings={"version": _VERSION, "sha256": self.weights_.sha256},
            keeps_frames=False,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            description="SpE",
        )
        embeddings = found.base[found.starts]
        return unit_rows(embeddings) if self.normalize else embeddings

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
        size = self.network_.seg_1.out_features
        return np.array([f"speaker{i:03d}" for i in range(size)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
