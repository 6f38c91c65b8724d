"""Frozen layers of a large speech encoder as features of recordings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT, as_table
from sklearn_speechsent.features.frozen import PRECISIONS, arithmetic, n_at_a_time, workers
from sklearn_speechsent.features.recordings import RecordingTransformer
from sklearn_speechsent.features.statistics import COLUMNS, STATISTICS, pool_pieces
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.graphs.openvino import (
    BACKEND_CONSTRAINT,
    check_backend,
    uses_openvino,
)
from sklearn_speechsent.pretrained import EncoderWeights
from sklearn_speechsent.speech.layers import SHORTEST, Finish
from sklearn_speechsent.speech.log_mel import SAMPLE_RATE
from sklearn_speechsent.speech.models import load_model
from sklearn_speechsent.store import RecordingRows
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.utils.devices import DEVICE_CONSTRAINT, check_device, usable_device
from sklearn_speechsent.utils.sklearn_compat import Interval, StrOptions
from sklearn_speechsent.utils.threads import torch_threads

#: Part of every cache key: increased when the same settings give other features.
_VERSION = 1
#: Seconds from one position to the next.
_SHIFT = 0.02


def _joined(pieces: Iterable[NDArray[np.float32]], n_positions: int, *, dtype: str) -> NDArray[Any]:
    """Positions of a recording."""
    parts = [piece.astype(dtype, copy=False) for piece in pieces]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _pooled(
    pieces: Iterable[NDArray[np.float32]],
    n_positions: int,
    *,
    statistics: Sequence[str],
    dtype: str,
) -> NDArray[Any]:
    """Statistics of a recording, shape (1, n_layers, n_arrays, width)."""
    parts = pool_pieces(pieces, n_positions, statistics)
    return np.stack(parts, axis=1)[None].astype(dtype)


def _pools(encoder: SpeechEncoder) -> bool:
    if encoder.pooling is None:
        raise AttributeError("Layers of unequal length have no feature names; pooling is None.")
    return True


class SpeechEncoder(RecordingTransformer):
    """Middle layers of a large pre-trained speech encoder as features.

    The encoder is frozen: each recording is computed once, at its own length, and in pieces of 30 s
    at most if it is longer. Pooled, its layers are an ordinary table of shape
    (n, n_layers * n_statistics * width) for any scikit-learn estimator. With ``pooling=None`` they
    go to a network: :class:`~sklearn_speechsent.UtteranceFrames` with 50 frames per second of shape
    (n_layers, width).

    X is whatever :class:`~sklearn_speechsent.MelFilterBank` takes. ``fit`` reads the headers of
    files and loads the encoder, without decoding anything.

    Parameters
    ----------
    model : str or Path, default="whisper-base"
        ``"whisper-tiny"``, ``"whisper-base"`` or ``"whisper-small"`` [1]_, whose encoder
        :func:`~sklearn_speechsent.pretrained.fetch_weights` downloads once; or a file of Whisper:
        ``.pt`` as OpenAI publishes it, or ``.safetensors`` with the same keys. Or, with the extra
        ``encoders``, a wav2vec 2.0 [2]_, HuBERT [3]_, WavLM [4]_, data2vec-audio [5]_ or a Whisper
        of any size: ``"owner/name"`` on the Hugging Face hub, or a folder with ``config.json`` and
        ``model.safetensors``. See Notes.
    revision : str, optional
        Commit, tag or branch of a model on the hub. By default what the hub's cache on this machine
        has, or else the newest; ``weights_.extra["revision"]`` says which it was.
    layers : sequence of int, default=(2, 3, 4)
        Which: k is what comes out of block k, 0 what goes into the first. No block above the
        highest is computed.
    pooling : {"stats"} or None, default="stats"
        ``"stats"``: statistics over time of each value. None: the layers themselves.
    statistics : sequence of {"mean", "std", "delta", "thirds"}, default=("mean",)
        Which: mean, standard deviation, root mean square of the steps from one position to the
        next, means of the first, second and last third of the recording.
    normalize : {"level"} or None, default=None
        ``"level"``: the loudest log-mel value of each recording is the same, so that features do
        not depend on gain as long as the recording stays above the floor of Whisper's log-mel
        frames. For Whisper alone: encoders of waveforms normalise if they were trained that way,
        and with them it is an error.
    n_blocks : int, optional
        Blocks whose layers are stored in ``memory``; by default up to the highest of ``layers``.
        A search over ``layers`` sets it to the highest that it asks for: the encoder then runs
        once.
    dtype : {"float32", "float16"}, default="float32"
        Type of the features.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the encoder's products of matrices. bfloat16 is several times as fast on processors that
        have units for it, and slower on others.
    backend : {"torch", "openvino"}, default="torch"
        What computes on the processor. ``"openvino"`` (pip install "sklearn-speechsent[openvino]")
        computes Whisper alone, in about a tenth less time, with features that are the same up to
        rounding; bfloat16 only on processors that have it. Where a pickle finds no OpenVINO,
        ``transform`` warns and takes torch.
    device : str or torch.device, default="cpu"
        Where the encoder runs, such as ``"cuda"``. On a device other than the processor it takes
        one recording at a time, which ``n_jobs`` threads of the processor read ahead. Features are
        the same up to rounding, also in ``memory``; the fitted network stays on the processor.
        Where a pickle finds no such device, ``transform`` warns and takes the processor.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a recording that cannot be used: raise an error that names all of them, or
        make its row NaN with a warning. A silent recording is a row of NaN under either.
    n_jobs : int, optional
        Recordings that are computed at a time, each on one thread of torch; None computes one after
        the other on as many threads as torch is set to, -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which features are stored per recording, by the content of the file, the segment
        and the parameters, see :class:`~sklearn_speechsent.FeatureStore`.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    network_ : WhisperEncoder or WaveformEncoder
        The frozen encoder.
    weights_ : EncoderWeights
        Name, checksum, architecture and revision of the weights, without their tensors.
    n_features_in_ : int
        Only if X was a 2-D array: samples per waveform.

    See Also
    --------
    SpeakerFeatureExtractor : The same with a speaker network.

    Notes
    -----
    Zeros at the beginning and the end of a recording are left out: how much digital silence there
    is changes nothing.

    Encoders other than Whisper take waveforms. Where ``do_normalize`` of their
    ``preprocessor_config.json`` says so, and where there is no such file, a recording gets zero
    mean and unit variance as a whole, before it is cut into pieces. Layers have 50 positions per
    second, and none has the norm that some models have behind the last block.

    Of models on the hub only JSON and safetensors are downloaded, and code of a model never runs.
    ``fit`` downloads them unless they are in the hub's cache; ``hf download owner/name`` does so
    before. A fitted encoder holds its network: it needs neither folder nor hub, but transformers
    if its network is not a Whisper.

    References
    ----------
    .. [1] A. Radford et al., "Robust speech recognition via large-scale weak supervision",
       ICML 2023.
    .. [2] A. Baevski et al., "wav2vec 2.0: a framework for self-supervised learning of speech
       representations", NeurIPS 2020.
    .. [3] W.-N. Hsu et al., "HuBERT: self-supervised speech representation learning by masked
       prediction of hidden units", TASLP 29, 2021.
    .. [4] S. Chen et al., "WavLM: large-scale self-supervised pre-training for full stack speech
       processing", JSTSP 16, 2022.
    .. [5] A. Baevski et al., "data2vec: a general framework for self-supervised learning in speech,
       vision and language", ICML 2022.

    Examples
    --------
    >>> from sklearn_speechsent import SpeechEncoder
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> encoder = SpeechEncoder("whisper-base")
    >>> encoder.fit_transform(corpus.data).shape  # doctest: +SKIP
    (4, 1536)
    >>> encoder.get_feature_names_out()[0]  # doctest: +SKIP
    'layer2_mean_000'
    """

    _step, _label = "encoder", "Encoder"
    _parameter_constraints: dict[str, list[Any]] = {
        "model": [str, os.PathLike],
        "revision": [str, None],
        "layers": [list, tuple],
        "pooling": [StrOptions({"stats"}), None],
        "statistics": [list, tuple],
        "normalize": [StrOptions({"level"}), None],
        "n_blocks": [Interval(Integral, 0, None, closed="left"), None],
        "dtype": [StrOptions({"float16", "float32"})],
        "precision": [StrOptions(set(PRECISIONS))],
        "backend": BACKEND_CONSTRAINT,
        "device": DEVICE_CONSTRAINT,
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
        "memory": MEMORY_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: Any = "whisper-base",
        *,
        revision: str | None = None,
        layers: Sequence[int] = (2, 3, 4),
        pooling: str | None = "stats",
        statistics: Sequence[str] = ("mean",),
        normalize: str | None = None,
        n_blocks: int | None = None,
        dtype: str = "float32",
        precision: str = "float32",
        backend: str = "torch",
        device: Any = "cpu",
        on_error: str = "raise",
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.layers = layers
        self.pooling = pooling
        self.statistics = statistics
        self.normalize = normalize
        self.n_blocks = n_blocks
        self.dtype = dtype
        self.precision = precision
        self.backend = backend
        self.device = device
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    @property
    def _makes_frames(self) -> bool:
        return self.pooling is None

    def _needs(self) -> tuple[int, float]:
        return SAMPLE_RATE, SHORTEST

    def _fit(self, X: Any, y: Any) -> RecordingRows:
        check_device(self.device)
        check_backend(self.backend, self.device, self.precision)
        self._check_choices()
        rows = super()._fit(X, y)
        loaded = load_model(self.model, self.revision, self._highest(), PRECISIONS[self.precision])
        if self.normalize not in loaded.function.normalizations:
            raise ValueError(
                f"normalize={self.normalize!r} is for log-mel frames, and {loaded.weights.name!r} "
                "takes waveforms, which it normalises itself if it was trained that way. Leave "
                "normalize out."
            )
        if self.backend not in loaded.function.backends:
            raise ValueError(
                f"backend={self.backend!r} is for Whisper, and {loaded.weights.name!r} takes "
                "waveforms. Use backend='torch'."
            )
        self.network_ = loaded.network
        self.weights_: EncoderWeights = replace(loaded.weights, state={})
        self._function_class = loaded.function
        return rows

    def _check_choices(self) -> None:
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown or not self.statistics:
            raise ValueError(
                f"statistics={self.statistics!r} must name one or more of {list(STATISTICS)}."
            )
        whole = all(isinstance(layer, Integral) and layer >= 0 for layer in self.layers)
        if not self.layers or not whole or len({*self.layers}) < len(self.layers):
            raise ValueError(
                f"layers={self.layers!r} must be one or more different whole numbers from 0: k is "
                "what comes out of block k."
            )
        if self.n_blocks is not None and self.n_blocks < max(self.layers):
            raise ValueError(
                f"n_blocks={self.n_blocks}, but layers={self.layers!r} needs {max(self.layers)}. "
                "Leave n_blocks out, or raise it."
            )

    def _highest(self) -> int:
        """Highest layer that is computed."""
        return int(max(self.layers) if self.n_blocks is None else self.n_blocks)

    def _computed(self) -> list[int]:
        """Layers that are computed: all where they are stored, so that any can be tried."""
        if self.pooling is None or self.memory is None:
            return [int(layer) for layer in self.layers]
        return list(range(self._highest() + 1))

    def _settings(self, rows: RecordingRows) -> dict[str, Any]:
        # Not the device: the features of another one are the same, up to rounding.
        settings: dict[str, Any] = {
            "version": _VERSION,
            "sha256": self.weights_.sha256,
            "layers": self._computed(),
            "normalize": self.normalize,
            **arithmetic(self.precision, self.backend),
            "dtype": self.dtype,
            "pooling": self.pooling,
        }
        if self.pooling is not None:
            settings["statistics"] = list(self.statistics)
        return settings

    def _n_arrays(self) -> int:
        return sum(len(COLUMNS[name]) for name in self.statistics)

    def _blank(self) -> NDArray[Any]:
        arrays = () if self.pooling is None else (self._n_arrays(),)
        shape = (1, len(self._computed()), *arrays, self.network_.width)
        return np.full(shape, np.nan, self.dtype)

    def _function(self, rows: RecordingRows) -> Function:
        finish: Finish = partial(_joined, dtype=self.dtype)
        if self.pooling is not None:
            finish = partial(_pooled, statistics=list(self.statistics), dtype=self.dtype)
        device = usable_device(self.device)
        n_jobs, n_threads = workers(self.n_jobs, len(rows))
        return self._function_class(
            self.network_,
            self._computed(),
            self.normalize,
            finish,
            self._blank(),
            n_threads,
            device,
            n_jobs,
            uses_openvino(self.backend, self.device, self.precision),
        )

    def _compute(self, rows: Any, **options: Any) -> Computed:
        n_jobs, n_threads = workers(self.n_jobs, len(rows))
        # Threads that are about to start inherit it; processes set it in the function.
        with torch_threads(n_threads):
            return super()._compute(rows, n_jobs=n_at_a_time(n_jobs, self.device), **options)

    def _finish(self, made: UtteranceFrames, rows: RecordingRows) -> Any:
        if self.pooling is None:
            made.frame_settings["frame_shift"] = _SHIFT
            made.frame_settings["encoder"] = f"{self.weights_.name}, layers {self.layers}"
            return made.with_metadata(duration=made.lengths * _SHIFT)
        known = self._computed()
        places = [known.index(layer) for layer in self.layers]
        # Other layers of a store stay in their files.
        return made.base[made.starts][:, places].reshape(len(made), -1)

    def _contained(self, made: Any, rows: RecordingRows) -> Any:
        return made if self.pooling is None else as_table(self, made, rows.metadata())

    @available_if(_pools)
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the statistics.

        Parameters
        ----------
        input_features : None
            Ignored: recordings have no features.

        Returns
        -------
        ndarray of str objects
            ``layer2_mean_000`` and so on: layer, statistic and value.
        """
        check_is_fitted(self)
        columns = [column for name in self.statistics for column in COLUMNS[name]]
        return np.array(
            [
                f"layer{layer}_{column}_{value:03d}"
                for layer in self.layers
                for column in columns
                for value in range(self.network_.width)
            ],
            dtype=object,
        )
