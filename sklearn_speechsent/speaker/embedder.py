"""Speaker embeddings of a pre-trained network as an ordinary table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT
from sklearn_speechsent.features.frozen import (
    PRECISIONS,
    WEIGHTS_CONSTRAINT,
    Finish,
    FrozenTransformer,
)
from sklearn_speechsent.features.statistics import pool_pieces
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.graphs.openvino import BACKEND_CONSTRAINT
from sklearn_speechsent.nn import SpeakerResNet
from sklearn_speechsent.pretrained import SpeakerWeights, build_network
from sklearn_speechsent.speaker.trials import unit_rows
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.utils.devices import DEVICE_CONSTRAINT
from sklearn_speechsent.utils.sklearn_compat import StrOptions

#: Part of every cache key: increased when the same settings give other embeddings.
_VERSION = 3


@torch.inference_mode()
def _embedding(
    pieces: Iterable[NDArray[np.float32]], n_columns: int, *, head: nn.Linear
) -> NDArray[np.float32]:
    """Embedding of an utterance, pooled as :func:`~sklearn_speechsent.nn.statistics_pooling`."""
    mean, deviation = pool_pieces(pieces, n_columns, ("mean", "std"))
    variance = np.square(deviation) * (n_columns / max(n_columns - 1, 1))
    pooled = np.concatenate([mean.ravel(), np.sqrt(variance + 1e-7).ravel()])
    return head(torch.from_numpy(pooled[None].astype(np.float32))).numpy()


class SpeakerEmbedder(FrozenTransformer):
    """Embedding of each utterance's speaker by a pre-trained verification network (SpE).

    X is :class:`~sklearn_speechsent.UtteranceFrames` or a sequence of (n_frames, n_mels), the
    output of :class:`~sklearn_speechsent.SlidingCMN`; a table of shape (n, embedding_size) comes
    out. ``fit`` loads the network and raises a ValueError if the frames have another rate, window
    or number of bins than it was trained on, or a FileNotFoundError if the weights are not there.

    Utterances of more than 10 s are computed in pieces, which gives the embedding of all. With
    squeeze-excitation this holds nearly, from 60 s on, see
    :class:`~sklearn_speechsent.SpeakerFeatureExtractor`.

    Parameters
    ----------
    weights : str, Path or SpeakerVerifier, default="speechsent-seresnet"
        Name in the registry of :mod:`sklearn_speechsent.pretrained` (the default ships with the
        package), file (``.onnx``, ``.pt``, ``.safetensors``), or a fitted
        :class:`~sklearn_speechsent.SpeakerVerifier` inside a
        :class:`~sklearn.frozen.FrozenEstimator`, which keeps it fitted when this is cloned.
    normalize : bool, default=True
        Whether embeddings have unit length, so that products of two are cosines.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the network's convolutions. bfloat16 halves the time on processors that have it.
    backend : {"torch", "openvino"}, default="torch"
        What computes on the processor. ``"openvino"`` takes about a tenth less time (pip
        install "sklearn-speechsent[openvino]"), for features that are the same up to rounding;
        bfloat16 only on processors that have it. In a network with squeeze-excitation, torch
        computes utterances of more than 10 s. Where a pickle finds no OpenVINO, ``transform`` warns
        and takes torch.
    device : str or torch.device, default="cpu"
        Where the network runs, such as ``"cuda"``. On a device other than the processor utterances
        go through it in padded, masked batches of 32,000 frames at most, those of several pieces
        one by one, and ``n_jobs`` threads of the processor pool what comes out. Features are the
        same up to rounding, also in ``memory``; the fitted network stays on the processor. Where a
        pickle finds no such device, ``transform`` warns and takes the processor.
    n_jobs : int, optional
        Utterances that are computed at a time, each on one thread of torch; None computes one after
        the other on as many threads as torch is set to, -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which embeddings are stored per utterance, by the utterance's frames and the
        network, see :class:`~sklearn_speechsent.FeatureStore`.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    network_ : SpeakerResNet
    weights_ : SpeakerWeights
        Name, checksum, architecture and frame settings of the weights, without their tensors.
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

    _step, _label = "spe", "SpE"
    _parameter_constraints: dict[str, list[Any]] = {
        "weights": WEIGHTS_CONSTRAINT,
        "normalize": ["boolean"],
        "precision": [StrOptions(set(PRECISIONS))],
        "backend": BACKEND_CONSTRAINT,
        "device": DEVICE_CONSTRAINT,
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
        backend: str = "torch",
        device: Any = "cpu",
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.weights = weights
        self.normalize = normalize
        self.precision = precision
        self.backend = backend
        self.device = device
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _build(self, weights: SpeakerWeights) -> SpeakerResNet:
        return build_network(weights)

    def _settings(self, rows: FrameRows) -> dict[str, Any]:
        return {"version": _VERSION, **super()._settings(rows)}

    def _output(self) -> Finish:
        return partial(_embedding, head=self.network_.seg_1)

    @property
    def _makes_frames(self) -> bool:
        return False

    def _lengths(self, rows: FrameRows) -> NDArray[np.int64]:
        return np.ones(len(rows), np.int64)

    def _finish(self, made: UtteranceFrames, rows: FrameRows) -> NDArray[np.float32]:
        embeddings = made.base[made.starts]
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
