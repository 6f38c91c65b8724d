"""Arithmetic of the probabilities of levels, in ordinal order, and of their thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.metrics.labels import NUMBERS
from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.sentiment.voting import SURE

Floats = NDArray[np.floating]


def known_rows(values: Floats) -> NDArray[np.bool_]:
    """Find rows without NaN.

    Parameters
    ----------
    values : ndarray of shape (n, n_values)

    Returns
    -------
    ndarray of bool of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> known_rows(np.array([[0.5, 0.5], [np.nan, 0.5]]))
    array([ True, False])
    """
    return np.asarray(~np.isnan(values).any(axis=1))


def below_above(proba: Floats) -> tuple[Floats, Floats]:
    """Probability that the level lies below each level, and above each level.

    Parameters
    ----------
    proba : ndarray of shape (..., n_levels)

    Returns
    -------
    below, above : ndarray of shape (..., n_levels)

    Examples
    --------
    >>> import numpy as np
    >>> below_above(np.array([0.5, 0.25, 0.25]))
    (array([0.  , 0.5 , 0.75]), array([0.5 , 0.25, 0.  ]))
    """
    edge = np.zeros_like(proba[..., :1])
    below = np.concatenate([edge, np.cumsum(proba, axis=-1)[..., :-1]], axis=-1)
    above = np.cumsum(proba[..., ::-1], axis=-1)[..., ::-1]
    return below, np.concatenate([above[..., 1:], edge], axis=-1)


def log_odds(proba: Floats) -> Floats:
    """Log-odds that the level lies above each threshold.

    Parameters
    ----------
    proba : ndarray of shape (n, n_levels)

    Returns
    -------
    ndarray of shape (n, n_levels - 1)
        Finite, and NaN in rows of NaN.

    Examples
    --------
    >>> import numpy as np
    >>> log_odds(np.array([[0.5, 0.25, 0.25]])).round(2)
    array([[ 0. , -1.1]])
    """
    below, above = below_above(proba)
    surely = np.maximum(above[:, :-1], SURE), np.maximum(below[:, 1:], SURE)
    return np.log(surely[0]) - np.log(surely[1])


def proba_of(above: Floats) -> Floats:
    """Probability of each level, from those of lying above each threshold.

    Parameters
    ----------
    above : ndarray of shape (n, n_levels - 1)
        They are sorted to decrease, see :class:`~sklearn_speechsent.OrdinalClassifier`.

    Returns
    -------
    ndarray of shape (n, n_levels)

    Examples
    --------
    >>> import numpy as np
    >>> proba_of(np.array([[0.25, 0.5]]))
    array([[0.5 , 0.25, 0.25]])
    """
    edges = np.pad(-np.sort(-above, axis=1), ((0, 0), (1, 0)), constant_values=1.0)
    edges = np.pad(edges, ((0, 0), (0, 1)), constant_values=0.0)
    return edges[:, :-1] - edges[:, 1:]


def level_of(proba: Floats, levels: NDArray[Any], on_error: str = "nan") -> NDArray[Any]:
    """Level with the number of thresholds that are likely exceeded.

    Parameters
    ----------
    proba : ndarray of shape (n, n_levels)
    levels : ndarray of shape (n_levels,)
    on_error : {"raise", "nan"}, default="nan"
        What to do with rows of NaN.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If rows are NaN and ``on_error="raise"``; the message names them.

    Examples
    --------
    >>> import numpy as np
    >>> level_of(np.array([[0.4, 0.3, 0.3]]), np.array([-1, 0, 1]))
    array([0])
    """
    above = below_above(proba)[1][:, :-1]
    found = levels[(above > 0.5).sum(axis=1)]
    return nan_where(found, ~known_rows(proba), on_error)


def expected_level(proba: Floats, levels: NDArray[Any]) -> Floats:
    """Expected level; for text the mean position, from 0.

    Parameters
    ----------
    proba : ndarray of shape (n, n_levels)
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> expected_level(np.array([[0.5, 0.25, 0.25]]), np.array([-1, 0, 1]))
    array([-0.25])
    """
    return proba @ level_values(levels)


def level_values(levels: NDArray[Any]) -> Floats:
    """Levels as numbers: positions, from 0, of those that are text.

    Parameters
    ----------
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of float64 of shape (n_levels,)

    Examples
    --------
    >>> import numpy as np
    >>> level_values(np.array(["low", "high"]))
    array([0., 1.])
    """
    numbers = levels.dtype.kind in NUMBERS
    return levels.astype(np.float64) if numbers else np.arange(float(len(levels)))
