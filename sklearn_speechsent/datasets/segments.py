"""Conversion between rows of segments and audformat's index."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NAMES = ["file", "start", "end"]


def from_segment_index(obj: pd.Index | pd.Series | pd.DataFrame) -> pd.DataFrame:
    """Convert audformat's index of segments to rows that a Pipeline takes as X.

    Parameters
    ----------
    obj : MultiIndex, Index, Series or DataFrame
        A MultiIndex with the levels ``file, start, end``, the times being timedeltas and a missing
        end that of the file; an Index of whole files called ``file``; or a Series or DataFrame
        with such an index. Of its columns ``channel`` (from 0) is taken, others are ignored.

    Returns
    -------
    DataFrame
        Columns ``file``, ``start`` and ``end`` in seconds (NaN for the end of the file), and
        ``channel`` if there is one, in the same order, numbered from 0.

    Raises
    ------
    TypeError
        If it is none of these, or the times are not timedeltas.
    ValueError
        If the levels have other names.

    See Also
    --------
    to_segment_index : The inverse.

    References
    ----------
    .. [1] audformat, "Table format: segmented tables",
       https://audeering.github.io/audformat/data-tables.html

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.datasets import from_segment_index
    >>> times = pd.to_timedelta([0, 1.5, None], unit="s")
    >>> index = pd.MultiIndex.from_arrays(
    ...     [["a.wav", "b.wav"], times[:2], times[1:]], names=["file", "start", "end"]
    ... )
    >>> from_segment_index(index)
        file  start  end
    0  a.wav    0.0  1.5
    1  b.wav    1.5  NaN
    """
    index = obj.index if isinstance(obj, (pd.Series, pd.DataFrame)) else obj
    if not isinstance(index, pd.Index):
        raise TypeError(
            "obj must be a pandas index of files or segments, or a Series or DataFrame with one; "
            f"got {type(obj).__name__}."
        )
    if isinstance(index, pd.MultiIndex) or index.name != "file":
        if list(index.names) != NAMES:
            raise ValueError(
                "An index of segments has the levels 'file', 'start' and 'end', one of whole files "
                f"is called 'file'; got {list(index.names)}. Use rename or set_names."
            )
        start, end = _seconds(index, "start"), _seconds(index, "end")
    else:
        start, end = np.zeros(len(index)), np.full(len(index), np.nan)
    # Names need not be Unicode, which the strings of pandas ask for.
    files = [str(file) for file in index.get_level_values("file")]
    columns = {
        "file": pd.Series(files, dtype=object),
        "start": np.where(np.isnan(start), 0.0, start),
    }
    if isinstance(obj, pd.DataFrame) and "channel" in obj.columns:
        return pd.DataFrame({**columns, "end": end, "channel": obj["channel"].to_numpy()})
    return pd.DataFrame({**columns, "end": end})


def to_segment_index(frame: pd.DataFrame) -> pd.MultiIndex:
    """Convert rows of X to audformat's index of segments.

    Parameters
    ----------
    frame : DataFrame
        Column ``file`` and, for segments, ``start`` and ``end`` in seconds; a missing start is 0,
        a missing end that of the file. Other columns are ignored; ``channel``, for which audformat
        has no level, stays a column: ``frame[["channel"]].set_index(to_segment_index(frame))``.

    Returns
    -------
    MultiIndex
        Levels ``file`` (string), ``start`` and ``end`` (timedelta64[ns]), in the same order.
        ``from_segment_index`` gives the same seconds back, to the nanosecond.

    Raises
    ------
    ValueError
        If there is no column ``file``, or a time is infinite.

    See Also
    --------
    from_segment_index : The inverse.

    References
    ----------
    .. [1] audformat, "Table format: segmented tables",
       https://audeering.github.io/audformat/data-tables.html

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.datasets import to_segment_index
    >>> frame = pd.DataFrame({"file": ["a.wav"], "start": [0.25], "end": [1.5]})
    >>> to_segment_index(frame)[0]
    ('a.wav', Timedelta('0 days 00:00:00.250000'), Timedelta('0 days 00:00:01.500000'))
    """
    if "file" not in frame.columns:
        raise ValueError(f"frame must have the column 'file'; got {list(frame.columns)}.")
    whole = pd.Series(np.nan, index=frame.index)
    return pd.MultiIndex.from_arrays(
        [
            _strings([str(file) for file in frame["file"]]),
            _timedeltas(frame, frame.get("start", whole).fillna(0.0)),
            _timedeltas(frame, frame.get("end", whole)),
        ],
        names=NAMES,
    )


def _strings(files: list[str]) -> Any:
    try:
        return pd.array(files, dtype="string")
    except UnicodeEncodeError:  # Arrow holds Unicode only, and names of files are bytes
        return pd.array(files, dtype=pd.StringDtype("python"))


def _seconds(index: pd.MultiIndex, level: str) -> NDArray[np.float64]:
    times = index.get_level_values(level)
    if times.isna().all():
        return np.full(len(times), np.nan)
    if not isinstance(times, pd.TimedeltaIndex):
        raise TypeError(
            f"The level {level!r} of an index of segments holds timedeltas, got {times.dtype}. "
            "Use pandas.to_timedelta(..., unit='s')."
        )
    # A single rounding, so that the nanoseconds come back.
    nanoseconds = times.to_numpy(dtype="timedelta64[ns]").astype(np.int64)
    return np.where(times.isna(), np.nan, nanoseconds / 1e9)


def _timedeltas(frame: pd.DataFrame, seconds: Any) -> pd.TimedeltaIndex:
    if seconds.dtype.kind == "m":
        return pd.TimedeltaIndex(seconds.to_numpy(dtype="timedelta64[ns]"))
    values = seconds.to_numpy(dtype=float)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = infinite[0]
        raise ValueError(
            f"Row {row} ({frame['file'].iloc[row]}) has the time {values[row]}. Leave it empty for "
            "the end of the file."
        )
    missing = np.isnan(values)
    nanoseconds = np.rint(np.where(missing, 0.0, values) * 1e9).astype("timedelta64[ns]")
    nanoseconds[missing] = np.timedelta64("NaT")
    return pd.TimedeltaIndex(nanoseconds)
