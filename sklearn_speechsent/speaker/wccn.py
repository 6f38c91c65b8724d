"""Within-class covariance normalisation of speaker embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames

#: Directions with less than this share of the largest variance are rounding errors.
_RANK = 1e-8


def cut_in_pieces(
    frames: UtteranceFrames, length: int
) -> tuple[UtteranceFrames, NDArray[np.int64]]:
    """Cut each utterance into equal pieces of about ``length`` frames, at least two.

    Parameters
    ----------
    frames : UtteranceFrames
    length : int

    Returns
    -------
    pieces : UtteranceFrames
        Over the same base.
    rows : ndarray of int
        Utterance of each piece.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import UtteranceFrames
    >>> frames = UtteranceFrames.from_arrays([np.zeros((10, 2)), np.zeros((2, 2))])
    >>> pieces, rows = cut_in_pieces(frames, 3)
    >>> pieces.lengths, rows
    (array([3, 4, 3, 1, 1]), array([0, 0, 0, 1, 1]))
    """
    n_pieces = np.minimum(np.maximum(2, frames.lengths // length), frames.lengths)
    rows = np.repeat(np.arange(len(frames)), n_pieces)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    share = frames.lengths[rows] / n_pieces[rows]
    starts = frames.starts[rows] + np.rint(number * share).astype(np.int64)
    stops = frames.starts[rows] + np.rint((number + 1) * share).astype(np.int64)
    return UtteranceFrames(frames.base, starts, stops, frame_settings=frames.frame_settings), rows


def within_class_whitening(
    embeddings: NDArray[np.floating], speakers: NDArray[np.int64], shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of embeddings, and a map that makes the variation of a voice equal in all directions.

    Parameters
    ----------
    embeddings : ndarray of shape (n, d)
    speakers : ndarray of int of shape (n,)
    shrinkage : float
        From the covariance within speakers (0) to that of all embeddings (1). A little of the
        latter, because few pieces leave directions in which no voice varies.

    Returns
    -------
    mean : ndarray of shape (d,)
    matrix : ndarray of shape (d, d)
        ``(embeddings - mean) @ matrix``; zero where embeddings do not vary at all.

    References
    ----------
    .. [1] A. O. Hatch, S. Kajarekar and A. Stolcke, "Within-class covariance normalization for
       SVM-based speaker recognition", Interspeech 2006.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> speakers = np.repeat(np.arange(50), 20)
    >>> voices = rng.normal(size=(50, 2))[speakers]
    >>> embeddings = voices + rng.normal(size=(1000, 2)) * [10, 0.1]
    >>> mean, matrix = within_class_whitening(embeddings, speakers, 0.0)
    >>> whitened = ((embeddings - mean) @ matrix).reshape(50, 20, 2)
    >>> (whitened - whitened.mean(axis=1, keepdims=True)).std(axis=(0, 1)).round(1)
    array([1., 1.])
    """
    X = np.asarray(embeddings, dtype=np.float64)
    mean = X.mean(axis=0)
    X = X - mean
    variance, directions = np.linalg.eigh(X.T @ X / len(X))
    varies = variance > _RANK * max(variance[-1], np.finfo(np.float64).tiny)
    to_unit = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0) * directions
    Z = X @ to_unit
    counts = np.bincount(speakers)
    centres = np.zeros((len(counts), Z.shape[1]))
    np.add.at(centres, speakers, Z)
    Z -= (centres / np.maximum(counts, 1)[:, None])[speakers]
    # Unbiased: the mean of each speaker uses up one degree of freedom.
    freedom = max(len(Z) - np.count_nonzero(counts), 1)
    within, axes = np.linalg.eigh(Z.T @ Z / freedom)
    scale = 1 / np.sqrt((1 - shrinkage) * np.maximum(within, 0) + shrinkage + 1e-12)
    return mean, to_unit @ (axes * scale)
