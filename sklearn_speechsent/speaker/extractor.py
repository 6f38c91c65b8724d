"""Frozen lower blocks of a speaker network as a feature extractor (SRExt)."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features.base import MEMORY_CONSTRAINT
from sklearn_speechsent.features.frozen import PRECISIONS, apply_frozen
from sklearn_speechsent.features.statistics import (
    COLUMNS,
    COMPRESSIONS,
    STATISTICS,
    pool_statistics,
)
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.nn.resnet import SpeakerBlocks
from sklearn_speechsent.pretrained import check_frame_settings, load_into, load_weights
from sklearn_speechsent.store import as_store
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin, reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)


def announce_size(what: str, n_bytes: int, memory: Any, verbose: int) -> None:
    """Say how much room something will take, and warn if there may not be enough of it.

    Parameters
    ----------
    what : str
    n_bytes : int
    memory : FeatureStore, str, Path or None
        Where it is kept; None is the machine's memory.
    verbose : int
        Whether to say so where there is enough.

    Warns
    -----
    ResourceWarning
        If it is more than half of the machine's memory, or more than the disk has left.
    """
    gibibytes = n_bytes / 2**30
    if memory is None:
        limit, room = _memory_size() / 2, "half of this machine's memory"
        remedy = "Set memory= to a folder"
    else:
        folder = as_store(memory).folder
        there = next(path for path in [folder, *folder.parents] if path.exists())
        limit, room = shutil.disk_usage(there).free, f"what is free in {there}"
        remedy = "Choose another folder by memory="
    if n_bytes > limit:
        warnings.warn(
            f"{what} take {gibibytes:.2f} GiB, more than {room} ({limit / 2**30:.2f} GiB). "
            f"{remedy}, use pooling='stats' or fewer recordings, or let the network hold the "
            "frozen blocks.",
            ResourceWarning,
            stacklevel=5,
        )
    elif verbose:
        print(f"{what} take {gibibytes:.2f} GiB.")


def _memory_size() -> int:
    """Physical memory in bytes, or a large number where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**62


#: Part of every cache key: raise it when the same settings give other features.
_VERSION = 2


def _finish(output: tuple[torch.Tensor, torch.Tensor], settings: dict[str, Any]) -> NDArray[Any]:
    """Maps of an utterance, time first, or one row of its statistics."""
    maps, _ = output
    time_first = maps[0].permute(2, 0, 1).float().numpy()
    if settings["pooling"] is None:
        return np.ascontiguousarray(time_first, dtype=settings["dtype"])
    statistics = pool_statistics(
        time_first, n_bands=settings["n_bands"], statistics=settings["statistics"]
    )
    return statistics[None]


def _embedding_size(frames: UtteranceFrames) -> int:
    return 0 if frames.embeddings is None else frames.embeddings.shape[1]


def _pools(extractor: SpeakerFeatureExtractor) -> bool:
    if extractor.pooling is None:
        raise AttributeError("Maps of unequal length have no feature names; pooling is None.")
    return True


class SpeakerFeatureExtractor(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Lower blocks of a pre-trained speaker network as features (SRExt).

    The network is frozen: each utterance is computed once, whole, and in eval mode. With
    ``pooling=None`` its maps go to a network, pooled to statistics they are an ordinary 2-D table
    for any scikit-learn estimator.

    Parameters
    ----------
    weights : str, Path or SpeakerVerifier, default="speechsent-seresnet"
        Name in the registry of :mod:`sklearn_speechsent.pretrained` (the default ships with the
        package), file (``.onnx``, ``.pt``, ``.safetensors``), or a fitted
        :class:`~sklearn_speechsent.SpeakerVerifier` inside a
        :class:`~sklearn.frozen.FrozenEstimator`, which keeps it fitted when this is cloned.
    n_blocks : {1, 2, 3, 4}, default=3
        Stem and so many blocks. The paper takes 2; the third carries affect best [1]_.
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
    n_jobs : int, optional
        Utterances that are computed at a time, each on one thread of torch; None computes one after
        the other on as many threads as torch is set to, -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which features are kept per utterance, by the utterance's frames and the
        parameters, see :class:`~sklearn_speechsent.FeatureStore`. Maps then stay in their files.
    verbose : int, default=0
        Whether to show a progress bar, and the size of the maps beforehand.

    Attributes
    ----------
    network_ : SpeakerBlocks
        The frozen blocks.
    n_features_in_ : int
        Mel bins.

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

    _parameter_constraints: dict[str, list[Any]] = {
        "weights": [str, os.PathLike, HasMethods(["to_weights"])],
        "n_blocks": [Interval(Integral, 1, 4, closed="both")],
        "pooling": [StrOptions({"stats"}), None],
        "n_bands": [Interval(Integral, 1, None, closed="left")],
        "statistics": [list, tuple],
        "compress": [StrOptions({"sqrt", "log1p"}), None],
        "dtype": [StrOptions({"float16", "float32"})],
        "precision": [StrOptions(set(PRECISIONS))],
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
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> SpeakerFeatureExtractor:
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
            If the file of the weights is not there; the message says how to come by it.
        ValueError
            If the frames have another rate, window or number of bins than the network expects.
        """
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown or not self.statistics:
            raise ValueError(
                f"statistics={self.statistics!r} must name one or more of {list(STATISTICS)}."
            )
        frames = check_frames(self, X, reset=True)
        self.embedding_size_ = _embedding_size(frames)
        checkpoint = load_weights(self.weights)
        check_frame_settings(checkpoint, frames)
        layout = {k: v for k, v in checkpoint.architecture.items() if k != "embedding_size"}
        if self.n_blocks > len(layout["depths"]):
            raise ValueError(
                f"n_blocks={self.n_blocks}, but {checkpoint.name!r} has {len(layout['depths'])}."
            )
        with torch.device("meta"):  # without drawing weights, which are replaced
            network = SpeakerBlocks(n_blocks=self.n_blocks, n_frozen_blocks=self.n_blocks, **layout)
        if self.pooling == "stats" and network.out_frequencies % self.n_bands:
            raise ValueError(
                f"n_bands={self.n_bands} does not divide the {network.out_frequencies} frequencies "
                f"of block {self.n_blocks}."
            )
        load_into(network.to_empty(device="cpu"), checkpoint.state, checkpoint.name)
        self.weights_ = replace(checkpoint, state={})
        self.network_ = network.eval()
        return self

    def transform(self, X: Any) -> UtteranceFrames | NDArray[Any]:
        """Compute the features.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_mels)

        Returns
        -------
        ndarray of shape (n, 2 * n_channels * n_bands) or UtteranceFrames
            Statistics, with the columns of a fused speaker embedding behind them; or maps with
            frames of shape (n_channels, n_frequencies).
        """
        check_is_fitted(self)
        frames = check_frames(self, X, reset=False)
        if _embedding_size(frames) != self.embedding_size_:
            raise ValueError(
                f"X has embeddings of {_embedding_size(frames)} values per utterance, but "
                f"SpeakerFeatureExtractor is expecting {self.embedding_size_}."
            )
        check_frame_settings(self.weights_, frames)
        if self.pooling is None:
            self._announce_size(frames)
        settings = self._settings()
        features = apply_frozen(
            self.network_,
            frames,
            partial(_finish, settings=settings),
            precision=self.precision,
            memory=self.memory,
            step="srext",
            settings=settings,
            keeps_frames=self.pooling is None,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            description="SRExt",
        )
        if self.pooling is not None:
            # Not part of what is kept: another compression costs nothing to try.
            table = COMPRESSIONS[self.compress](features.base[features.starts])
            if frames.embeddings is not None:
                table = np.hstack([table, frames.embeddings])
            return table.astype(self.dtype, copy=False)
        features.frame_settings["srext"] = f"{self.weights_.name}, {self.n_blocks} blocks"
        if "frame_shift" in frames.frame_settings:
            features.frame_settings["frame_shift"] *= self.network_.time_stride
        return features

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

    def _settings(self) -> dict[str, Any]:
        pooled = self.pooling is not None
        return {
            "version": _VERSION,
            "sha256": self.weights_.sha256,
            "n_blocks": int(self.n_blocks),
            "pooling": self.pooling,
            "n_bands": int(self.n_bands) if pooled else None,
            "statistics": list(self.statistics) if pooled else None,
            "dtype": None if pooled else self.dtype,
        }

    def _announce_size(self, frames: UtteranceFrames) -> None:
        n_maps = int(np.sum(-(-frames.lengths // self.network_.time_stride)))
        size = n_maps * self.network_.out_channels * self.network_.out_frequencies
        announce_size(
            f"Maps of {len(frames)} utterances after {self.n_blocks} blocks",
            size * np.dtype(self.dtype).itemsize,
            self.memory,
            self.verbose,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
