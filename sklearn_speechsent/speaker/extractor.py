"""Frozen lower blocks of a speaker network as a feature extractor (SRExt)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT
from sklearn_speechsent.features.frozen import (
    PRECISIONS,
    WEIGHTS_CONSTRAINT,
    Finish,
    FrozenTransformer,
)
from sklearn_speechsent.features.statistics import (
    COLUMNS,
    COMPRESSIONS,
    STATISTICS,
    average_bands,
    divisions,
    pool_pieces,
)
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.frames.domain import learn_domain, warn_outside
from sklearn_speechsent.graphs.openvino import BACKEND_CONSTRAINT
from sklearn_speechsent.nn.resnet import SpeakerBlocks
from sklearn_speechsent.pretrained import SpeakerWeights, load_into
from sklearn_speechsent.pretrained.frame_settings import map_record
from sklearn_speechsent.store import FrameRows
from sklearn_speechsent.utils.devices import DEVICE_CONSTRAINT
from sklearn_speechsent.utils.sklearn_compat import Interval, StrOptions

#: Part of every cache key: increased when the same settings give other features.
_VERSION = 3
#: Names of the arrays of all statistics, in order.
_COLUMNS = [column for name in STATISTICS for column in COLUMNS[name]]


def _joined(pieces: Iterable[NDArray[np.float32]], n_columns: int, *, dtype: str) -> NDArray[Any]:
    """Maps of an utterance, time first."""
    first, whole = 0, np.empty(0)
    for maps in pieces:
        if first == 0:
            whole = np.empty((n_columns, *maps.shape[1:]), dtype)
        whole[first : first + len(maps)] = maps
        first += len(maps)
    return whole


def _pooled(
    pieces: Iterable[NDArray[np.float32]], n_columns: int, *, divisions: Sequence[int]
) -> NDArray[np.float32]:
    """All statistics of an utterance, one row per band of each division of the frequencies."""
    banded = (
        np.concatenate([average_bands(maps, n_bands) for n_bands in divisions], axis=-1)
        for maps in pieces
    )
    parts = pool_pieces(banded, n_columns, list(STATISTICS))
    return np.stack(parts).transpose(2, 0, 1).astype(np.float32)


def _embedding_size(frames: UtteranceFrames) -> int:
    return 0 if frames.embeddings is None else frames.embeddings.shape[1]


def _pools(extractor: SpeakerFeatureExtractor) -> bool:
    if extractor.pooling is None:
        raise AttributeError("Maps of unequal length have no feature names; pooling is None.")
    return True


class SpeakerFeatureExtractor(FrozenTransformer):
    """Lower blocks of a pre-trained speaker network as features (SRExt).

    The network is frozen: each utterance is computed once, and in eval mode. With
    ``pooling=None`` its maps go to a network: :class:`~sklearn_speechsent.UtteranceFrames` with
    frames of shape (n_channels, n_frequencies). Pooled to statistics they are an ordinary table of
    shape (n, n_statistics * n_channels * n_bands) for any scikit-learn estimator, with the columns
    of a fused speaker embedding behind them.

    X is :class:`~sklearn_speechsent.UtteranceFrames` or a sequence of (n_frames, n_mels), the
    output of :class:`~sklearn_speechsent.SlidingCMN`. ``fit`` loads the network and raises a
    ValueError if the frames have another rate, window or number of bins than it was trained on, or
    a FileNotFoundError if the weights are not there.

    Utterances of more than 10 s are computed in pieces, so that memory does not grow with them. The
    maps are those of the whole. In a network with squeeze-excitation, such as the default, up to
    60 s are one piece. Beyond, what it takes from the whole is averaged over pieces that were
    computed before, each by itself: that takes twice the time, and is nearly the same.

    Parameters
    ----------
    weights : str, Path or SpeakerVerifier, default="speechsent-seresnet"
        Name in the registry of :mod:`sklearn_speechsent.pretrained` (the default ships with the
        package), file (``.onnx``, ``.pt``, ``.safetensors``), or a fitted
        :class:`~sklearn_speechsent.SpeakerVerifier` inside a
        :class:`~sklearn.frozen.FrozenEstimator`, which keeps it fitted when this is cloned.
    n_blocks : {1, 2, 3, 4}, default=3
        Stem and this number of blocks. The paper takes 2; the third carries affect best [1]_.
    pooling : {"stats"} or None, default="stats"
        ``"stats"``: statistics over time of each channel in ``n_bands`` frequency bands. None:
        the maps.
    n_bands : int, default=10
        Frequency bands of the statistics; must divide the frequencies of the maps (80, 40, 20 and
        10 after blocks 1 to 4 of 80 mel bins).
    statistics : sequence of {"mean", "std", "delta", "thirds"}, default=("mean", "std")
        Which: mean, standard deviation, root mean square of the steps from one column of the maps
        to the next, means of the first, second and last third of the utterance.
    compress : {"sqrt", "log1p"} or None, default=None
        Applied to the statistics. They are skewed to the right; the root makes distances between
        them mean something.
    dtype : {"float32", "float16"}, default="float32"
        Type of the features. Maps of block 2 take 0.5 MB per second of speech in float32.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the network's convolutions. bfloat16 halves the time on processors that have it; maps of
        the third block are then off by 2 % in norm.
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
        Folder in which features are stored per utterance, by the utterance's frames and the
        parameters, see :class:`~sklearn_speechsent.FeatureStore`. Maps then stay in their files.
        Statistics are stored for every number of bands: the network runs once whatever ``n_bands``,
        ``statistics`` and ``compress`` are tried, and again for other weights, ``n_blocks`` or
        ``precision``.
    verbose : int, default=0
        Whether to show a progress bar, and the size of the maps beforehand.

    Attributes
    ----------
    network_ : SpeakerBlocks
        The frozen blocks.
    weights_ : SpeakerWeights
        Name, checksum, architecture and frame settings of the weights, without their tensors.
    embedding_size_ : int
        Values of the speaker embedding that came with the frames, 0 without.
    domain_ : dict of str to (float, float)
        Lowest and highest ``band_limit`` (Hz), ``duration`` (s) and share of ``speech`` of the
        recordings in ``fit``. When it pools, ``transform`` gives a
        :class:`~sklearn_speechsent.frames.DomainWarning` about others.
    n_features_in_ : int
        Mel bins.

    See Also
    --------
    SpeechEncoder : The same with a speech encoder.
    OrdinalClassifier : The step behind it.

    References
    ----------
    .. [1] H. Wang et al., "Wespeaker: a research and production oriented speaker embedding
       learning toolkit", ICASSP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_speechsent import MelFilterBank, SlidingCMN, SpeakerFeatureExtractor
    >>> waveforms = np.random.default_rng(0).normal(scale=0.1, size=(2, 8000))
    >>> extractor = SpeakerFeatureExtractor(n_blocks=2, n_bands=5, compress="sqrt")
    >>> features = make_pipeline(MelFilterBank(), SlidingCMN(window=None), extractor)
    >>> features.fit_transform(waveforms).shape
    (2, 640)
    >>> extractor.get_feature_names_out()[0]
    'block2_mean_c000_b0'
    """

    _step, _label = "srext", "SRExt"
    _parameter_constraints: dict[str, list[Any]] = {
        "weights": WEIGHTS_CONSTRAINT,
        "n_blocks": [Interval(Integral, 1, 4, closed="both")],
        "pooling": [StrOptions({"stats"}), None],
        "n_bands": [Interval(Integral, 1, None, closed="left")],
        "statistics": [list, tuple],
        "compress": [StrOptions({"sqrt", "log1p"}), None],
        "dtype": [StrOptions({"float16", "float32"})],
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
        n_blocks: int = 3,
        pooling: str | None = "stats",
        n_bands: int = 10,
        statistics: Sequence[str] = ("mean", "std"),
        compress: str | None = None,
        dtype: str = "float32",
        precision: str = "float32",
        backend: str = "torch",
        device: Any = "cpu",
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.weights = weights
        self.n_blocks = n_blocks
        self.pooling = pooling
        self.n_bands = n_bands
        self.statistics = statistics
        self.compress = compress
        self.dtype = dtype
        self.precision = precision
        self.backend = backend
        self.device = device
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    @property
    def _makes_frames(self) -> bool:
        return self.pooling is None

    def _fit(self, X: Any, y: Any) -> FrameRows:
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown or not self.statistics:
            raise ValueError(
                f"statistics={self.statistics!r} must name one or more of {list(STATISTICS)}."
            )
        rows = super()._fit(X, y)
        if self.pooling == "stats":
            self._divisions()
        self.embedding_size_ = _embedding_size(rows.frames)
        self.domain_ = learn_domain(rows.frames)
        return rows

    def _build(self, weights: SpeakerWeights) -> SpeakerBlocks:
        layout = {k: v for k, v in weights.architecture.items() if k != "embedding_size"}
        if self.n_blocks > len(layout["depths"]):
            raise ValueError(
                f"n_blocks={self.n_blocks}, but {weights.name!r} has {len(layout['depths'])}."
            )
        with torch.device("meta"):  # without drawing weights, which are replaced
            network = SpeakerBlocks(n_blocks=self.n_blocks, n_frozen_blocks=self.n_blocks, **layout)
        load_into(network, weights.state, weights.name)
        return network.eval()

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> FrameRows:
        rows = super()._rows(X, reset=reset)
        if _embedding_size(rows.frames) != self.embedding_size_:
            raise ValueError(
                f"X has embeddings of {_embedding_size(rows.frames)} values per utterance, but "
                f"SpeakerFeatureExtractor is expecting {self.embedding_size_}."
            )
        if self.pooling is not None:  # maps go to a network, which looks itself
            warn_outside(self.domain_, rows.frames)
        return rows

    def _settings(self, rows: FrameRows) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "version": _VERSION,
            "n_blocks": int(self.n_blocks),
            "pooling": self.pooling,
        }
        if self.pooling is None:
            settings |= {"dtype": self.dtype}
        return super()._settings(rows) | settings

    def _divisions(self) -> list[int]:
        """Numbers of bands that are pooled: all where they are stored, so that any can be tried."""
        n_frequencies = self.network_.out_frequencies
        if n_frequencies % self.n_bands:
            raise ValueError(
                f"n_bands={self.n_bands} does not divide the {n_frequencies} frequencies of block "
                f"{self.n_blocks}."
            )
        return [int(self.n_bands)] if self.memory is None else divisions(n_frequencies)

    def _output(self) -> Finish:
        if self.pooling is None:
            return partial(_joined, dtype=self.dtype)
        return partial(_pooled, divisions=self._divisions())

    def _lengths(self, rows: FrameRows) -> NDArray[np.int64]:
        if self.pooling is None:
            return -(-rows.frames.lengths // self.network_.time_stride)
        return np.full(len(rows), sum(self._divisions()))

    def _transform(self, rows: FrameRows) -> Any:
        if self.pooling is None:
            self._announce_size(rows)
        return super()._transform(rows)

    def _finish(self, made: UtteranceFrames, rows: FrameRows) -> Any:
        frames = rows.frames
        if self.pooling is None:
            made = super()._finish(made, rows)
            made.frame_settings["srext"] = map_record(self.weights_, self.n_blocks)
            if "frame_shift" in frames.frame_settings:
                made.frame_settings["frame_shift"] *= self.network_.time_stride
            return made
        table = COMPRESSIONS[self.compress](self._table(made))
        if frames.embeddings is not None:
            table = np.hstack([table, frames.embeddings])
        return table.astype(self.dtype, copy=False)

    def _table(self, made: UtteranceFrames) -> NDArray[np.float32]:
        """Statistics and bands that are asked for, of those that were computed."""
        known = self._divisions()
        first = sum(known[: known.index(self.n_bands)])
        # Other bands of a store stay in their files.
        bands = made.base[made.starts[:, None] + np.arange(first, first + self.n_bands)]
        places = {name: place for place, name in enumerate(_COLUMNS)}
        wanted = [places[column] for name in self.statistics for column in COLUMNS[name]]
        return bands[:, :, wanted].transpose(0, 2, 3, 1).reshape(len(made), -1)

    def _announce_size(self, rows: FrameRows) -> None:
        """Print the size of the maps, or warn if there may not be enough room for them."""
        values = self._lengths(rows).sum() * (
            self.network_.out_channels * self.network_.out_frequencies
        )
        n_bytes = int(values) * np.dtype(self.dtype).itemsize
        limit, where, remedy = self._store.room()
        what = f"Maps of {len(rows)} utterances after {self.n_blocks} blocks take"
        if n_bytes > limit:
            warnings.warn(
                f"{what} {n_bytes / 2**30:.2f} GiB, more than {where} ({limit / 2**30:.2f} GiB). "
                f"{remedy}, use pooling='stats' or fewer recordings, or let the network hold the "
                "frozen blocks.",
                ResourceWarning,
                stacklevel=5,
            )
        elif self.verbose:
            print(f"{what} {n_bytes / 2**30:.2f} GiB.")

    @available_if(_pools)
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the statistics.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of str objects
            ``block3_mean_c000_b0`` and so on: statistic, channel and frequency band; then
            ``spe000`` and so on where a speaker embedding was fused.
        """
        check_is_fitted(self)
        names = [
            f"block{self.n_blocks}_{statistic}_c{channel:03d}_b{band}"
            for name in self.statistics
            for statistic in COLUMNS[name]
            for channel in range(self.network_.out_channels)
            for band in range(self.n_bands)
        ]
        names += [f"spe{value:03d}" for value in range(self.embedding_size_)]
        return np.array(names, dtype=object)

    def set_output(self, *, transform: str | None = None) -> SpeakerFeatureExtractor:
        """Choose the container of the statistics; maps stay ``UtteranceFrames``.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            As in scikit-learn.

        Returns
        -------
        self
        """
        if self.pooling is None:
            return self
        return super().set_output(transform=transform)
