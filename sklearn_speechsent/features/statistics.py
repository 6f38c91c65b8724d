"""Statistics over time: frames of unequal length pooled to an ordinary table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.frames.domain import learn_domain, warn_outside
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin, reports_fit

#: Roots and logarithms compress the long tail of statistics that are not negative.
COMPRESSIONS: dict[str | None, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sqrt": np.sqrt,
    "log1p": np.log1p,
    None: np.asarray,
}


def _step_size(maps: NDArray[Any]) -> NDArray[Any]:
    """Root mean square of the steps from frame to frame; a single frame has none."""
    steps = np.diff(maps, axis=0)
    return np.sqrt(np.square(steps).sum(axis=0, dtype=np.float64) / max(len(steps), 1))


def _thirds(maps: NDArray[Any]) -> list[NDArray[Any]]:
    """Means of the beginning, the middle and the end; they share frames if there are too few."""
    edges = np.linspace(0, len(maps), 4).round().astype(int)
    starts = np.minimum(edges[:-1], len(maps) - 1)
    stops = np.maximum(edges[1:], starts + 1)
    return [
        maps[start:stop].mean(axis=0, dtype=np.float64)
        for start, stop in zip(starts, stops, strict=True)
    ]


#: Statistics of each value over time, as one or more arrays over the values of a frame.
STATISTICS: dict[str, Callable[[NDArray[Any]], list[NDArray[Any]]]] = {
    "mean": lambda maps: [maps.mean(axis=0, dtype=np.float64)],
    "std": lambda maps: [maps.std(axis=0, dtype=np.float64)],
    "delta": lambda maps: [_step_size(maps)],
    "thirds": _thirds,
}
#: Names of the arrays of each statistic, for the names of columns.
COLUMNS = {
    "mean": ("mean",),
    "std": ("std",),
    "delta": ("delta",),
    "thirds": ("begin", "middle", "end"),
}


def pool_statistics(
    maps: NDArray[Any],
    *,
    n_bands: int | None = None,
    statistics: Sequence[str] = ("mean", "std"),
) -> NDArray[np.float32]:
    """Statistics over time of each channel and frequency band.

    Parameters
    ----------
    maps : ndarray of shape (n_frames, n_bins) or (n_frames, n_channels, n_frequencies)
        Frames of one utterance.
    n_bands : int, optional
        Neighbouring frequencies are first averaged to this number of bands, which must divide
        theirs; None keeps them all.
    statistics : sequence of {"mean", "std", "delta", "thirds"}, default=("mean", "std")
        Mean, standard deviation (of the population), root mean square of the steps from frame to
        frame, and the means of the first, second and last third of the utterance.

    Returns
    -------
    ndarray of shape (n_statistics * n_channels * n_bands,), float32
        In the order of ``statistics``; thirds are three.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.features import pool_statistics
    >>> maps = np.array([[1.0, 2.0], [3.0, 2.0]])
    >>> pool_statistics(maps)
    array([2., 2., 1., 0.], dtype=float32)
    >>> pool_statistics(maps, statistics=["delta"])
    array([2., 0.], dtype=float32)
    """
    maps = np.asarray(maps, dtype=np.float32)
    if n_bands is not None and n_bands != maps.shape[-1]:
        if maps.shape[-1] % n_bands:
            raise ValueError(f"{maps.shape[-1]} frequencies cannot be averaged to {n_bands} bands.")
        maps = maps.reshape(*maps.shape[:-1], n_bands, -1).mean(axis=-1)
    parts = [part.ravel() for name in statistics for part in STATISTICS[name](maps)]
    return np.concatenate(parts).astype(np.float32)


class FrameStatistics(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Mean and standard deviation over time of each bin.

    The features of ``make_sentiment_pipeline(weights=None)``: statistics of frames instead of maps
    of a network.

    Attributes
    ----------
    n_features_in_ : int
        Bins.
    domain_ : dict of str to (float, float)
        What the recordings in ``fit`` were like, see
        :class:`~sklearn_speechsent.SpeakerFeatureExtractor`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.features import FrameStatistics
    >>> FrameStatistics().fit_transform([np.array([[1.0, 2.0], [3.0, 2.0]])])
    array([[2., 2., 1., 0.]], dtype=float32)
    """

    @reports_fit()
    def fit(self, X: Any, y: Any = None) -> FrameStatistics:
        """Remember the number of bins and what recordings are like; nothing else is learned.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self.domain_ = learn_domain(check_frames(self, X, reset=True))
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Pool the frames of each utterance.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)

        Returns
        -------
        ndarray of shape (n, 2 * n_bins), float32
            All means, then all standard deviations.
        """
        check_is_fitted(self)
        frames = check_frames(self, X, reset=False)
        warn_outside(self.domain_, frames)
        return np.stack([pool_statistics(utterance) for utterance in frames])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the statistics: ``mean_b0`` … ``std_b79``.

        Parameters
        ----------
        input_features : None
            Ignored: bins have no names.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        bins = range(self.n_features_in_)
        return np.array([f"{name}_b{bin}" for name in ("mean", "std") for bin in bins], object)
