"""Scores by groups of recordings, and how far each group is from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length

from sklearn_speechsent.inspection.bootstrap import speaker_codes, speaker_draws, widened_interval
from sklearn_speechsent.inspection.measured import Measured, by_value
from sklearn_speechsent.inspection.tallies import check_measures, drawn, measure, tallies

#: First row of a report.
_ALL = ("all", "")


def group_report(
    y: ArrayLike,
    y_pred: ArrayLike,
    groups: Mapping[str, ArrayLike] | pd.DataFrame,
    *,
    speakers: ArrayLike | None = None,
    levels: ArrayLike | range | None = None,
    measures: Sequence[str] = ("mae", "bias", "macro_mae", "qwk"),
) -> pd.DataFrame:
    """Score groups of recordings, such as those of women and men, with intervals over speakers.

    Intervals (95 %) are by bootstrap: speakers are drawn again, with all their recordings, and the
    quantiles are taken further out than 2.5 and 97.5 %, which makes up for there being few of them
    [1]_. A difference is a group less all other recordings, in the same draws. With many groups
    some differences exclude 0 by chance: one in twenty, if there is nothing to be found.

    A group with a single speaker, as in the grouping by speaker, has scores but neither intervals
    nor intervals of differences: other recordings of one person say how that person would score
    again, not how others do. Compare such rows with each other.

    Parameters
    ----------
    y : array-like of shape (n,)
        True intensities or levels.
    y_pred : array-like of shape (n,)
        Predictions of speakers that were held out. A missing one (NaN) counts as the median of
        ``y``, and the column ``unanswered`` tells how many there are.
    groups : dict of str to array-like of shape (n,), or DataFrame
        Groupings by name, such as ``{"sex": sex, "speaker": speakers}``.
    speakers : array-like of shape (n,), optional
        Who is drawn; by default the grouping ``"speaker"``.
    levels : array-like of shape (n_levels,), optional
        The scale; by default the order of a category, or the whole numbers that labels span.
    measures : sequence of str, default=("mae", "bias", "macro_mae", "qwk")
        ``bias`` is the mean error (above 0 what is predicted is more positive than what is true).
        The others are those of :func:`~sklearn_speechsent.metrics.ordinal_report`: ``mae,
        macro_mae, qwk, ccc, accuracy, polarity_accuracy, within_one, threshold_accuracy``
        (``spearman`` is not among them).

    Returns
    -------
    DataFrame
        One row per grouping and value, after one of all recordings. Columns ``n, speakers,
        unanswered`` and, for each measure, ``mae, mae_low, mae_high, mae_difference,
        mae_difference_low, mae_difference_high``. Levels of text count as positions from 0.

    Raises
    ------
    ValueError
        If lengths differ, labels or speakers are missing, labels are off the scale, a measure is
        unknown, or there is one speaker only.

    References
    ----------
    .. [1] T. C. Hesterberg (2015). "What teachers should know about the bootstrap". The American
       Statistician 69(4):371-386.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.inspection import group_report
    >>> speakers = np.repeat(range(12), 10)
    >>> y = np.tile([-2, -1, 0, 1, 2], 24)
    >>> predicted = y + (speakers % 2)  # half of the speakers sound better than they feel
    >>> sex = np.where(speakers % 2, "female", "male")
    >>> report = group_report(y, predicted, {"sex": sex}, speakers=speakers, measures=["bias"])
    >>> report[["n", "bias", "bias_difference", "bias_difference_low"]]
                  n  bias  bias_difference  bias_difference_low
    group value
    all         120   0.5              NaN                  NaN
    sex   female 60   1.0              1.0                  1.0
          male   60   0.0             -1.0                 -1.0
    """
    groups = {str(name): np.asarray(column, dtype=object) for name, column in dict(groups).items()}
    measures = check_measures(measures)
    if speakers is None:
        if "speaker" not in groups:
            raise ValueError(
                "group_report draws speakers: pass speakers=, or groups with the name 'speaker'."
            )
        speakers = groups["speaker"]
    check_consistent_length(y, y_pred, speakers, *groups.values())
    code, n_speakers = speaker_codes(speakers)
    measured = Measured(y, y_pred, levels, speakers)
    summands = tallies(measured.y, measured.prediction, measured.levels, polar=measured.has_zero)
    unanswered = pd.isna(np.asarray(y_pred))
    draws = speaker_draws(n_speakers)

    def sums(rows: NDArray[np.intp]) -> pd.DataFrame:
        found = summands.iloc[rows].groupby(code[rows]).sum()
        return found.reindex(range(n_speakers), fill_value=0.0)

    everything = sums(np.arange(len(code)))
    index, table = [_ALL], [_row(everything, None, draws, measures, unanswered.sum())]
    for name, column in groups.items():
        for value, rows in by_value(column):
            own = sums(rows)
            found = _row(own, everything - own, draws, measures, unanswered[rows].sum())
            index.append((name, value))
            table.append(found)
    names = pd.MultiIndex.from_tuples(index, names=["group", "value"])
    return pd.DataFrame(table, index=names)


def _row(
    own: pd.DataFrame,
    rest: pd.DataFrame | None,
    draws: NDArray[np.float64],
    measures: list[str],
    unanswered: int,
) -> dict[str, Any]:
    """Scores of a group from the sums of its speakers and of all other recordings."""
    n_own = int((own["n"] > 0).sum())
    row = {"n": int(own["n"].sum()), "speakers": n_own, "unanswered": int(unanswered)}
    value, values = (
        measure(own.sum().to_frame().T, measures)[0],
        measure(drawn(draws, own), measures),
    )
    difference, differences, n_least = (
        np.full(len(measures), np.nan),
        np.full_like(values, np.nan),
        0,
    )
    if rest is not None and rest["n"].sum() > 0:
        difference = value - measure(rest.sum().to_frame().T, measures)[0]
        differences = values - measure(drawn(draws, rest), measures)
        n_least = min(n_own, int((rest["n"] > 0).sum()))
    for k, name in enumerate(measures):
        row[name] = value[k]
        row[f"{name}_low"], row[f"{name}_high"] = widened_interval(values[:, k], n_own)
        row[f"{name}_difference"] = difference[k]
        ends = widened_interval(differences[:, k], n_least)
        row[f"{name}_difference_low"], row[f"{name}_difference_high"] = ends
    return row
