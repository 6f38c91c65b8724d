"""Comparison of two systems on the same recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from sklearn_speechsent.inspection.bootstrap import (
    speaker_codes,
    speaker_draws,
    speaker_flips,
    widened_interval,
)
from sklearn_speechsent.inspection.measured import Measured
from sklearn_speechsent.inspection.tallies import (
    ERRORS,
    MEASURES,
    check_measures,
    drawn,
    measure,
    tallies,
)

#: Differences that are equal but for rounding.
_SAME = 1e-12


def compare(
    a: ArrayLike,
    b: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    levels: ArrayLike | range | None = None,
    measures: Sequence[str] = ("mae", "macro_mae", "qwk"),
) -> pd.DataFrame:
    """Compare the predictions of two systems for the same recordings, speaker by speaker.

    The interval of the difference (95 %) is by paired bootstrap over speakers, with quantiles that
    make up for there being few of them, see :func:`group_report`. Whether two systems differ at
    all is a question for ``p_value``: how often the difference is as large when the two
    systems exchange their predictions for some of the speakers, by chance [1]_. Where both are
    equally good, it is below 0.05 in five of a hundred cases, however few speakers there are. With
    five speakers or fewer it never is.

    Parameters
    ----------
    a, b : array-like of shape (n,)
        Predictions of speakers that were held out. A missing one (NaN) counts as the median of
        ``y``.
    y : array-like of shape (n,)
        True intensities or levels.
    groups : array-like of shape (n,)
        Speakers.
    levels : array-like of shape (n_levels,), optional
        The scale; by default the order of a category, or the whole numbers that labels span.
    measures : sequence of str, default=("mae", "macro_mae", "qwk")
        As in :func:`group_report`, but for ``bias``.

    Returns
    -------
    DataFrame
        One row per measure, with the columns ``a, b, difference`` (a less b), ``low, high,
        share`` (of draws in which a is better; equal ones count half) and ``p_value``.

    Raises
    ------
    ValueError
        If lengths differ, labels or speakers are missing, labels are off the scale, a measure is
        unknown, or there is one speaker only.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani (1993). "An Introduction to the Bootstrap", chapter 15.
       Chapman & Hall.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.inspection import compare
    >>> speakers = np.repeat(range(8), 6)
    >>> y = np.tile([-1, 0, 1], 16)
    >>> found = compare(y, np.zeros(48), y, groups=speakers, measures=["mae"])
    >>> found.loc["mae"].round(2).to_dict()
    {'a': 0.0, 'b': 0.67, 'difference': -0.67, 'low': -0.67, 'high': -0.67, 'share': 1.0,
     'p_value': 0.01}
    """
    known = [name for name in MEASURES if name != "bias"]
    measures = check_measures(measures, known)
    check_consistent_length(y, a, b, groups)
    code, n_speakers = speaker_codes(groups)
    sums = []
    for prediction in (a, b):
        found = Measured(y, prediction, levels, groups)
        summands = tallies(found.y, found.prediction, found.levels, polar=found.has_zero)
        sums.append(summands.groupby(code).sum())
    draws, flips = speaker_draws(n_speakers), speaker_flips(n_speakers)
    values = [measure(s.sum().to_frame().T, measures)[0] for s in sums]
    difference = values[0] - values[1]
    first, second = (measure(drawn(draws, s), measures) for s in sums)
    exchanged = measure(drawn(1 - flips, sums[0]) + drawn(flips, sums[1]), measures)
    exchanged -= measure(drawn(flips, sums[0]) + drawn(1 - flips, sums[1]), measures)
    p_value = np.mean(np.abs(exchanged) >= np.abs(difference) - _SAME, axis=0)
    p_value[np.isnan(difference)] = np.nan
    rows = {}
    for k, name in enumerate(measures):
        changes = first[:, k] - second[:, k]
        better = -np.sign(changes) if name in ERRORS else np.sign(changes)
        low, high = widened_interval(changes, n_speakers)
        rows[name] = {
            "a": values[0][k],
            "b": values[1][k],
            "difference": difference[k],
            "low": low,
            "high": high,
            "share": float(np.mean((better + 1) / 2)),
            "p_value": p_value[k],
        }
    return pd.DataFrame.from_dict(rows, orient="index")
