"""Intervals of scores, by drawing speakers again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from sklearn_speechsent.metrics.labels import name_rows

#: Draws, share of them inside the interval, and seed.
_DRAWS, _LEVEL, _SEED = 1000, 0.95, 0


def speaker_interval(groups: ArrayLike, statistic: Callable[[NDArray[np.intp]], Any]) -> Any:
    """Interval of a score (95 %) by bootstrap: speakers are drawn again, with all their rows.

    Recordings of one speaker are not independent, so that recordings drawn one by one would give an
    interval that is too narrow. The draws are the same in every call for the same speakers, so that
    differences of scores are compared in the same draws.

    Parameters
    ----------
    groups : array-like of shape (n,)
        Speakers.
    statistic : callable
        Score of rows, of which some are there several times; or several scores, as an array.

    Returns
    -------
    list of two floats, or of two lists
        The lower and the upper end.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.inspection import speaker_interval
    >>> error = np.array([0.1, 0.1, 0.3, 0.3])
    >>> [round(end, 3) for end in speaker_interval([1, 1, 2, 2], lambda rows: error[rows].mean())]
    [0.1, 0.3]
    """
    groups = np.asarray(groups)
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    draws = _draw(len(rows))
    values = [statistic(np.concatenate([rows[i] for i in draw])) for draw in draws]
    outside = (1 - _LEVEL) / 2
    return np.quantile(values, [outside, 1 - outside], axis=0).tolist()


def _draw(n_speakers: int) -> NDArray[np.intp]:
    generator = np.random.default_rng(_SEED)
    return generator.integers(n_speakers, size=(_DRAWS, n_speakers))


def speaker_codes(speakers: ArrayLike) -> tuple[NDArray[np.intp], int]:
    """Number the speakers who are to be drawn.

    Parameters
    ----------
    speakers : array-like of shape (n,)

    Returns
    -------
    codes : ndarray of shape (n,)
        From 0.
    n_speakers : int

    Raises
    ------
    ValueError
        If one is missing, or all are the same.
    """
    values = np.asarray(speakers, dtype=object)
    missing = pd.isna(values)
    if missing.any():
        raise ValueError(
            f"Who speaks is not known in {name_rows(missing)}. Fill these speakers in, or leave "
            "the recordings out."
        )
    codes, who = pd.factorize(values)
    if len(who) < 2:
        raise ValueError("All recordings have one speaker, and speakers cannot be drawn.")
    return codes, len(who)


def speaker_draws(n_speakers: int) -> NDArray[np.float64]:
    """How often each draw has each speaker, for scores that follow from sums over speakers.

    Parameters
    ----------
    n_speakers : int

    Returns
    -------
    ndarray of shape (n_draws, n_speakers)
        The draws of :func:`speaker_interval`.
    """
    draws = _draw(n_speakers)
    return (draws[:, :, np.newaxis] == np.arange(n_speakers)).sum(axis=1).astype(np.float64)


def speaker_flips(n_speakers: int) -> NDArray[np.float64]:
    """Speakers whose predictions two systems exchange: all choices of ten or fewer, or random ones.

    Parameters
    ----------
    n_speakers : int

    Returns
    -------
    ndarray of shape (n_choices, n_speakers)
        1 where they are exchanged, else 0; the first choice exchanges nothing.
    """
    if 2**n_speakers <= _DRAWS + 24:
        return (np.arange(2**n_speakers)[:, np.newaxis] >> np.arange(n_speakers) & 1).astype(float)
    flips = np.random.default_rng(_SEED).integers(2, size=(_DRAWS, n_speakers)).astype(float)
    flips[0] = 0
    return flips


def widened_interval(values: NDArray[np.float64], n_speakers: int) -> NDArray[np.float64]:
    r"""Interval (95 %) of a score of few speakers, from its values in draws.

    Draws of G speakers vary less than new speakers would, by :math:`\sqrt{(G-1)/G}`, and the normal
    distribution has shorter tails than Student's t. Quantiles further out make up for both [1]_.

    Parameters
    ----------
    values : ndarray of shape (n_draws,)
        NaN where a draw has no value.
    n_speakers : int
        Speakers that were drawn from; with fewer than two there is no interval.

    Returns
    -------
    ndarray of shape (2,)
        The lower and the upper end; NaN where there is none.

    References
    ----------
    .. [1] T. C. Hesterberg (2015). "What teachers should know about the bootstrap". The American
       Statistician 69(4):371-386.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linspace(0, 100, 1001)
    >>> [widened_interval(values, n).round(1).tolist() for n in (1000, 24, 6)]
    [[2.5, 97.5], [1.7, 98.3], [0.2, 99.8]]
    """
    if n_speakers < 2 or np.isnan(values).all():
        return np.array([np.nan, np.nan])
    reach = t.ppf((1 + _LEVEL) / 2, n_speakers - 1) * np.sqrt(n_speakers / (n_speakers - 1))
    return np.nanquantile(values, [norm.cdf(-reach), norm.cdf(reach)])
