"""Statistics over time: frames of unequal length pooled to an ordinary table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features.base import as_table
from sklearn_speechsent.frames.domain import learn_domain, warn_outside
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import EstimatorMixin

#: Roots and logarithms compress the long tail of statistics that are not negative.
COMPRESSIONS: dict[str | None, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sqrt": np.sqrt,
    "log1p": np.log1p,
    None: np.asarray,
}


class _Statistic:
    """Statistic over time of frames that come in pieces.

    Parameters
    ----------
    n_frames : int
        Of all pieces together.
    """

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames

    def add(self, maps: NDArray[np.float32]) -> None:
        """Take the next piece."""
        raise NotImplementedError

    def arrays(self) -> list[NDArray[np.float64]]:
        """One or more arrays over the values of a frame, once all pieces were added."""
        raise NotImplementedError


class _Mean(_Statistic):
    total: Any = 0.0

    def add(self, maps: NDArray[np.float32]) -> None:
        self.total = self.total + maps.sum(axis=0, dtype=np.float64)

    def arrays(self) -> list[NDArray[np.float64]]:
        return [self.total / self.n_frames]


class _Deviation(_Statistic):
    """Standard deviation, by the merging formula of Chan, Golub and LeVeque (1982)."""

    # Squares are summed about the mean so far: about zero they would cancel.
    count = 0
    mean: Any = 0.0
    squares: Any = 0.0

    def add(self, maps: NDArray[np.float32]) -> None:
        n, total = len(maps), self.count + len(maps)
        shift = maps.mean(axis=0, dtype=np.float64) - self.mean
        squares = n * maps.var(axis=0, dtype=np.float64)
        self.squares = self.squares + squares + np.square(shift) * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    def arrays(self) -> list[NDArray[np.float64]]:
        return [np.sqrt(self.squares / self.count)]


class _StepSize(_Statistic):
    """Root mean square of the steps from frame to frame; a single frame has none."""

    last: Any = None
    total: Any = 0.0

    def add(self, maps: NDArray[np.float32]) -> None:
        steps = np.diff(maps, axis=0, prepend=maps[:1] if self.last is None else self.last)
        self.total = self.total + np.square(steps).sum(axis=0, dtype=np.float64)
        self.last = maps[-1:].copy()

    def arrays(self) -> list[NDArray[np.float64]]:
        return [np.sqrt(self.total / max(self.n_frames - 1, 1))]


class _Thirds(_Statistic):
    """Means of the beginning, the middle and the end; they share frames if there are too few."""

    def __init__(self, n_frames: int) -> None:
        super().__init__(n_frames)
        edges = np.linspace(0, n_frames, 4).round().astype(int)
        self.starts = np.minimum(edges[:-1], n_frames - 1)
        self.stops = np.maximum(edges[1:], self.starts + 1)
        self.first = 0
        self.totals: list[Any] = [0.0, 0.0, 0.0]

    def add(self, maps: NDArray[np.float32]) -> None:
        bounds = np.clip([self.starts - self.first, self.stops - self.first], 0, len(maps))
        self.first += len(maps)
        self.totals = [
            total + maps[start:stop].sum(axis=0, dtype=np.float64)
            for total, start, stop in zip(self.totals, *bounds, strict=True)
        ]

    def arrays(self) -> list[NDArray[np.float64]]:
        lengths = self.stops - self.starts
        return [total / length for total, length in zip(self.totals, lengths, strict=True)]


#: Statistics of each value over time.
STATISTICS: dict[str, type[_Statistic]] = {
    "mean": _Mean,
    "std": _Deviation,
    "delta": _StepSize,
    "thirds": _Thirds,
}
#: Names of the arrays of each statistic, for the names of columns.
COLUMNS = {
    "mean": ("mean",),
    "std": ("std",),
    "delta": ("delta",),
    "thirds": ("begin", "middle", "end"),
}


#: Frames that are pooled at a time: in double precision they take some megabytes.
_BLOCK = 1000


def divisions(n_frequencies: int) -> list[int]:
    """Numbers of bands that frequencies can be averaged to.

    Parameters
    ----------
    n_frequencies : int

    Returns
    -------
    list of int
        Divisors, ascending.

    Examples
    --------
    >>> from sklearn_speechsent.features.statistics import divisions
    >>> divisions(20)
    [1, 2, 4, 5, 10, 20]
    """
    return [n for n in range(1, n_frequencies + 1) if n_frequencies % n == 0]


def average_bands(maps: NDArray[np.float32], n_bands: int | None) -> NDArray[np.float32]:
    """Average neighbouring frequencies.

    Parameters
    ----------
    maps : ndarray of shape (..., n_frequencies), float32
    n_bands : int or None
        None is all frequencies.

    Returns
    -------
    ndarray of shape (..., n_bands), float32

    Raises
    ------
    ValueError
        If the number of bands does not divide that of the frequencies.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.features.statistics import average_bands
    >>> average_bands(np.array([[1, 3, 10, 20]], np.float32), 2)
    array([[ 2., 15.]], dtype=float32)
    """
    n_frequencies = maps.shape[-1]
    if n_bands is None or n_bands == n_frequencies:
        return maps
    if n_frequencies % n_bands:
        raise ValueError(f"{n_frequencies} frequencies cannot be averaged to {n_bands} bands.")
    # The sum of strided slices is several times as fast as a mean over a short axis.
    width = n_frequencies // n_bands
    total = maps[..., ::width] + maps[..., 1::width]
    for position in range(2, width):
        total += maps[..., position::width]
    total /= width
    return total


def pool_pieces(
    pieces: Iterable[NDArray[np.float32]], n_frames: int, statistics: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Statistics over time of frames that come in pieces, of which one is held at a time.

    Parameters
    ----------
    pieces : iterable of ndarray of shape (n_frames_i, ...), float32
    n_frames : int
        Of all pieces together.
    statistics : sequence of str
        See :func:`pool_statistics`.

    Returns
    -------
    list of ndarray of shape (...), float64
        In the order of ``statistics``; thirds are three.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.features.statistics import pool_pieces
    >>> maps = np.array([[1.0], [3.0], [8.0]], np.float32)
    >>> pool_pieces([maps[:1], maps[1:]], 3, ("mean", "thirds"))
    [array([4.]), array([1.]), array([3.]), array([8.])]
    """
    accumulators = [STATISTICS[name](n_frames) for name in statistics]
    for piece in pieces:
        for first in range(0, len(piece), _BLOCK):
            for accumulator in accumulators:
                accumulator.add(piece[first : first + _BLOCK])
    return [array for accumulator in accumulators for array in accumulator.arrays()]


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
    maps = np.asarray(maps)
    blocks = (
        average_bands(maps[first : first + _BLOCK].astype(np.float32, copy=False), n_bands)
        for first in range(0, len(maps), _BLOCK)
    )
    parts = pool_pieces(blocks, len(maps), statistics)
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


class FrameStatistics(EstimatorMixin, TransformerMixin, BaseEstimator):
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

    See Also
    --------
    pool_statistics : The same as a function.
    SpeakerFeatureExtractor : Statistics of the maps of a network.

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
        return as_table(self, np.stack([pool_statistics(u) for u in frames]), frames.metadata)

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
