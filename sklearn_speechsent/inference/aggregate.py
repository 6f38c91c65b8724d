"""Means of a time line over files, channels and speakers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent.inference.scoring import level_and_mean
from sklearn_speechsent.metrics.labels import reads_as

_KEYS = {"file": ["file"], "channel": ["file", "channel"], "speaker": ["file", "speaker"]}


def timeline_levels(timeline: pd.DataFrame) -> NDArray[Any]:
    """Levels of a time line, from the names of its columns of probabilities.

    Parameters
    ----------
    timeline : DataFrame

    Returns
    -------
    ndarray of shape (n_levels,)
        In ordinal order; empty for the time line of a regressor.

    Examples
    --------
    >>> timeline_levels(pd.DataFrame(columns=["file", "p(-1)", "p(0)", "p(1)"]))
    array([-1,  0,  1])
    """
    texts = [str(name)[2:-1] for name in timeline.columns if str(name).startswith("p(")]
    numbers = [reads_as(text) for text in texts]
    if any(number is None for number in numbers):
        return np.array(texts)
    values = np.array(numbers, dtype=np.float64)
    whole = values.astype(np.int64)
    return whole if np.array_equal(whole, values) else values


def aggregate_timeline(timeline: pd.DataFrame, by: str = "file") -> pd.DataFrame:
    """Mean sentiment of each file, channel or speaker, weighted by speech.

    Parameters
    ----------
    timeline : DataFrame
        Of :func:`~sklearn_speechsent.sentiment_timeline`. Final rows count.
    by : {"file", "channel", "speaker"}, default="file"
        Channels and speakers are those of each file: the same name in two files need not be the
        same speaker.

    Returns
    -------
    DataFrame
        In the order of the time line. Columns ``file``, then ``channel`` or ``speaker``, and
        ``level``, ``expected``, the probabilities, ``speech`` (seconds in all) and ``utterances``
        (how many have a score). NaN where none has.

    Raises
    ------
    ValueError
        If ``by`` is something else, or the time line does not say it.

    See Also
    --------
    sentiment_timeline : The time line.

    Examples
    --------
    >>> timeline = pd.DataFrame(
    ...     {
    ...         "file": ["a.wav", "a.wav"],
    ...         "p(-1)": [1.0, 0.0],
    ...         "p(1)": [0.0, 1.0],
    ...         "expected": [-1.0, 1.0],
    ...         "speech": [3.0, 1.0],
    ...         "final": [True, True],
    ...     }
    ... )
    >>> aggregate_timeline(timeline)
        file  level  expected  p(-1)  p(1)  speech  utterances
    0  a.wav     -1      -0.5   0.75  0.25     4.0           2
    """
    if by not in _KEYS:
        raise ValueError(f"by={by!r} must be 'file', 'channel' or 'speaker'.")
    keys = _KEYS[by]
    rows = timeline[timeline["final"].astype(bool)]
    if timeline[by].isna().all() and len(timeline):
        raise ValueError(
            f"The time line does not say the {by} of its rows. Make it with "
            + ('channels="separate".' if by == "channel" else "segments= that have speakers.")
        )
    levels = timeline_levels(timeline)
    columns = [f"p({level})" for level in levels.tolist()]
    found = []
    for key, group in rows.groupby(keys, sort=False, dropna=False):
        known = group[group["expected"].notna()]
        values = known[columns or ["expected"]].to_numpy(dtype=np.float64)
        weights = known["speech"].to_numpy(dtype=np.float64)
        mean = np.full(values.shape[1], np.nan)
        if len(known):
            mean = np.average(values, axis=0, weights=weights if weights.any() else None)
        level, expected = level_and_mean(mean, levels) if columns else (np.nan, mean[0])
        row = dict(zip(keys, key, strict=True)) | {"level": level, "expected": expected}
        row |= dict(zip(columns, mean, strict=False))
        found.append(row | {"speech": group["speech"].sum(), "utterances": len(known)})
    names = [*keys, "level", "expected", *columns, "speech", "utterances"]
    table = pd.DataFrame(found, columns=names)
    return table.astype({key: timeline[key].dtype for key in keys})
