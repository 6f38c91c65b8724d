"""Ratings of several annotators, and the tables of votes that estimators take as y."""

import os
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from sklearn_speechsent.metrics.labels import name_rows
from sklearn_speechsent.metrics.levels import level_index, off_scale, whole_levels
from sklearn_speechsent.metrics.scale import read_labels


def pivot_ratings(
    table: pd.DataFrame,
    recordings: Any,
    *,
    recording: str = "file",
    annotator: str = "annotator",
    label: str = "label",
) -> pd.DataFrame:
    """Ratings with a row per recording and a column per annotator, from one rating per row.

    Parameters
    ----------
    table : DataFrame
        One rating per row.
    recordings : array-like of shape (n_recordings,)
        The recordings in the order of X, as the table names them. Ratings of others are left out.
    recording, annotator, label : str
        Names of the columns.

    Returns
    -------
    DataFrame of shape (n_recordings, n_annotators)
        Numbered rows, in the order of ``recordings``; columns in the order in which annotators
        occur; NaN where an annotator has no rating. :func:`count_votes` makes votes of it.

    Raises
    ------
    ValueError
        If a column is missing, an annotator rated a recording twice, or a recording has no rating;
        the message names them.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.datasets import count_votes, pivot_ratings
    >>> table = pd.DataFrame(
    ...     [["b.wav", "ann", 1], ["a.wav", "ann", -1], ["b.wav", "ben", 1], ["a.wav", "ben", 0]],
    ...     columns=["file", "annotator", "label"],
    ... )
    >>> count_votes(pivot_ratings(table, ["a.wav", "b.wav"]))
       -1   0   1
    0   1   1   0
    1   0   0   2
    """
    columns = [recording, annotator, label]
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise ValueError(
            f"The table of ratings lacks the columns {lacking}; it has {list(table.columns)}. Say "
            "which they are with recording=, annotator= and label=."
        )
    ratings = table[columns].reset_index(drop=True)
    ratings[recording] = [_name(value) for value in ratings[recording]]
    ratings = ratings[ratings[label].notna()]
    unnamed = ratings[[recording, annotator]].isna().any(axis=1).to_numpy()
    if unnamed.any():
        rows = name_rows(np.isin(np.arange(len(table)), ratings.index[unnamed]))
        raise ValueError(
            f"The table of ratings has no recording or annotator in {rows}. Fill them in, or leave "
            "these rows out."
        )
    twice = ratings.duplicated([recording, annotator], keep=False)
    if twice.any():
        row = ratings[twice].iloc[0]
        pair = ratings[[recording, annotator]]
        same = ratings.index[(pair == row[[recording, annotator]]).all(axis=1)]
        raise ValueError(
            f"Annotator {row[annotator]!r} rated {row[recording]!r} in rows {same.tolist()} of the "
            "table. Leave one rating."
        )
    given = np.asarray(recordings, dtype=object)
    if given.ndim != 1:
        raise ValueError(
            f"recordings must be one name for each row of X, got shape {given.shape}. Name "
            "segments by a column of their own."
        )
    names = [_name(value) for value in given.tolist()]
    wide = ratings.set_index([recording, annotator])[label].unstack(sort=False)
    known = np.array([name in wide.index for name in names])
    if not known.all():
        example = "" if wide.empty else f" The table has names such as {wide.index[0]!r}."
        raise ValueError(
            f"{int((~known).sum())} of {len(names)} recordings have no rating, the first in row "
            f"{int(known.argmin())} ({names[int(known.argmin())]!r}).{example} Name recordings as "
            "in the table, and leave those without ratings out of X."
        )
    wide = wide.loc[names].reset_index(drop=True).rename_axis(columns=None)
    return wide.dropna(axis=1, how="all")


def count_votes(
    ratings: ArrayLike | pd.DataFrame, levels: ArrayLike | range | None = None
) -> pd.DataFrame:
    """Number of annotators who chose each level, from a column per annotator.

    It is what classifiers, networks, metrics and splitters take as ``y``.

    Parameters
    ----------
    ratings : DataFrame or array-like of shape (n, n_annotators)
        Labels, NaN or None where an annotator gave none. Real numbers count as the nearest level.
    levels : array-like of shape (n_levels,), default=None
        The scale: numbers, or text from the lowest to the highest level. By default the order of
        the columns, if they are ordered categories; otherwise all whole numbers from the lowest to
        the highest rating.

    Returns
    -------
    DataFrame of int of shape (n, n_levels)
        Columns are the levels; for text an ordered category, which says their order.

    Raises
    ------
    ValueError
        If a rating is off the scale, a row has none, or text has no order; the message names row
        and annotator.

    See Also
    --------
    pivot_ratings : A column per annotator, from one rating per row.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.datasets import count_votes
    >>> ratings = pd.DataFrame({"ann": [1, -1], "ben": [1, None], "cem": [0, -1]})
    >>> count_votes(ratings, levels=[-1, 0, 1])
       -1   0   1
    0   0   1   2
    1   2   0   0
    """
    table = pd.DataFrame(ratings).reset_index(drop=True)
    given = table.notna().to_numpy()
    if not given.any(axis=1).all():
        without = ~given.any(axis=1)
        raise ValueError(
            f"{name_rows(without).capitalize()} of the ratings ({int(without.sum())} of "
            f"{len(without)}) hold no rating. Leave them out of X and of the ratings."
        )
    read = {
        number: read_labels(table.iloc[given[:, number], number], levels, f"column {annotator!r}")
        for number, annotator in enumerate(table.columns)
        if given[:, number].any()
    }
    scales = [scale for _, scale in read.values()]
    scale = scales[0]
    if len({None if other is None else tuple(other.tolist()) for other in scales}) > 1:
        raise ValueError("The columns of annotators are categories of different levels: use one.")
    if scale is None:
        scale = whole_levels(np.concatenate([values for values, _ in read.values()]))
    votes = np.zeros((len(table), len(scale)), dtype=int)
    for number, (values, _) in read.items():
        annotator, rows = table.columns[number], np.flatnonzero(given[:, number])
        off = off_scale(values, scale)
        if off.any():
            raise ValueError(
                f"Annotator {annotator!r} rated row {rows[off.argmax()]} as "
                f"{values[off][:1].tolist()[0]!r}, off the scale {scale.tolist()}. Correct it, or "
                "pass other levels=."
            )
        votes[rows, level_index(values, scale)] += 1
    names: Any = pd.Index(scale)
    if scale.dtype.kind == "U":
        names = pd.CategoricalIndex(scale, categories=scale, ordered=True)
    return pd.DataFrame(votes, columns=names)


def _name(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
