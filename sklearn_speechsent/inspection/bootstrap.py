"""Intervals of scores, by drawing speakers again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    generator = np.random.default_rng(_SEED)
    draws = generator.integers(len(rows), size=(_DRAWS, len(rows)))
    values = [statistic(np.concatenate([rows[i] for i in draw])) for draw in draws]
    outside = (1 - _LEVEL) / 2
    return np.quantile(values, [outside, 1 - outside], axis=0).tolist()
