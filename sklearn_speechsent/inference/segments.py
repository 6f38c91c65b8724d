"""Given utterances of recordings: tables, RTTM files, audformat's index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sklearn_speechsent.audio import Recording
from sklearn_speechsent.datasets import from_segment_index

_COLUMNS = ("file", "start", "end", "speaker", "channel")
#: Fields of a line of RTTM up to the speaker's name.
_FIELDS = 8


def read_rttm(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Utterances of an RTTM file, which says who spoke when.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    DataFrame
        Columns ``file`` (as the file says it, usually a name without folder and suffix),
        ``start``, ``end`` (seconds), ``speaker`` and ``channel`` (from 0, where RTTM counts from
        1), a row per line of the type SPEAKER, in the same order.

    Raises
    ------
    ValueError
        If a line is not one of RTTM, or its duration is not positive; the message names it.

    References
    ----------
    .. [1] NIST, "The 2009 (RT-09) rich transcription meeting recognition evaluation plan",
       appendix A.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "call.rttm")
    ...     line = "SPEAKER call 1 0.5 2.25 <NA> <NA> customer <NA> <NA>"
    ...     _ = path.write_text(line, encoding="utf-8")
    ...     read_rttm(path)
       file  start   end   speaker  channel
    0  call    0.5  2.75  customer        0
    """
    rows = []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";") or fields[0] != "SPEAKER":
            continue
        where = f"{os.fspath(path)}, line {number}"
        if len(fields) < _FIELDS:
            raise ValueError(
                f"{where}: a line of RTTM has {_FIELDS} fields or more (SPEAKER file channel start "
                f"duration <NA> <NA> speaker), got {line!r:.120}."
            )
        try:
            start, duration = float(fields[3]), float(fields[4])
        except ValueError as exception:
            raise ValueError(f"{where}: start and duration are numbers, got {line!r:.120}.") from (
                exception
            )
        if not (start >= 0 and 0 < duration < np.inf):
            raise ValueError(
                f"{where}: it starts at {start:g} s and lasts {duration:g} s. A start is not below "
                "0, and an end comes after its start. Correct the line."
            )
        channel = int(fields[2]) - 1 if fields[2].isdigit() and fields[2] != "0" else 0
        rows.append((fields[1], start, start + duration, fields[7], channel))
    return pd.DataFrame(rows, columns=["file", "start", "end", "speaker", "channel"])


def segments_of(
    segments: Any, recordings: list[Recording], *, separate: bool
) -> list[pd.DataFrame | None]:
    """Given utterances of each recording.

    Parameters
    ----------
    segments : {"speech"}, None, DataFrame, index or path
        See :func:`~sklearn_speechsent.sentiment_timeline`.
    recordings : list of Recording
    separate : bool
        Whether channels are scored each by itself; otherwise channels of an RTTM file are ignored.

    Returns
    -------
    list of DataFrame or None
        Columns ``start``, ``end`` (NaN for the end of the recording), ``speaker`` and
        ``channel`` (NaN for any); None where utterances are to be found.

    Raises
    ------
    TypeError, ValueError
        If the segments cannot be used; the message names the row and the file.
    """
    if isinstance(segments, str) and segments == "speech":
        return [None] * len(recordings)
    if segments is None:
        whole = pd.DataFrame({"start": [0.0], "end": np.nan, "speaker": None, "channel": np.nan})
        return [whole] * len(recordings)
    if isinstance(segments, (str, os.PathLike)):
        table = read_rttm(segments)
        table = table if separate else table.drop(columns="channel")
    elif isinstance(segments, pd.DataFrame) and "file" in segments.columns:
        table = segments
    elif isinstance(segments, (pd.Index, pd.Series, pd.DataFrame)):
        table = from_segment_index(segments)
        if isinstance(segments, pd.DataFrame) and "speaker" in segments.columns:
            table["speaker"] = segments["speaker"].to_numpy()
    else:
        raise TypeError(
            'segments must be "speech", None, a DataFrame of file, start and end, the path of an '
            f"RTTM file, or audformat's index of segments; got {type(segments).__name__}."
        )
    table = _checked(table)
    return _by_recording(table, recordings)


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """Table with all columns but others, and sound times."""
    columns = {"file": table["file"].tolist()}
    for name in ("start", "end", "channel"):
        values = table[name] if name in table.columns else pd.Series(np.nan, index=table.index)
        if values.dtype.kind == "m":
            values = values.dt.total_seconds()
        try:
            columns[name] = np.array(
                [np.nan if pd.isna(value) else float(value) for value in values]
            )
        except (TypeError, ValueError) as exception:
            raise ValueError(f"Column {name!r} of segments must hold numbers: {exception}.") from (
                exception
            )
    speakers = table["speaker"] if "speaker" in table.columns else [None] * len(table)
    columns["speaker"] = pd.Series([None if pd.isna(s) else s for s in speakers], dtype=object)
    found = pd.DataFrame(columns)
    found["start"] = found["start"].fillna(0.0)
    bad = ~(found["start"] >= 0) | (found["end"] <= found["start"]) | np.isinf(found["end"])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        file, start, end = found.loc[row, ["file", "start", "end"]]
        raise ValueError(
            f"Row {row} of segments ({file}) goes from {start:g} to {end:g} s. A start is not "
            "below 0, and an end comes after its start; it may be missing for the end of the "
            "recording. Correct it."
        )
    return found


def _by_recording(table: pd.DataFrame, recordings: list[Recording]) -> list[pd.DataFrame | None]:
    """Rows of each recording: of its file, or of its row of X where it is none."""
    names = [_names(recording) for recording in recordings]
    known: dict[Any, list[int]] = {}
    for level in range(3):  # exact names first, then without folders, then without suffix
        for row, each in enumerate(names):
            if level < len(each) and row not in known.get(each[level], []):
                known.setdefault(each[level], []).append(row)
    chosen: list[list[int]] = [[] for _ in recordings]
    for position, file in enumerate(table["file"]):
        key = os.fspath(file) if isinstance(file, os.PathLike) else file
        if key not in known:
            raise ValueError(
                f"Row {position} of segments is about {key!r}, which is not in X (such as "
                f"{names[0][0]!r}). Correct its name, or leave it out."
            )
        rows = known[key]
        if len({names[row][0] for row in rows}) > 1:
            raise ValueError(
                f"Row {position} of segments is about {key!r}, which may be {names[rows[0]][0]!r} "
                f"or {names[rows[1]][0]!r}. Give the whole path."
            )
        channel = table["channel"].iloc[position]
        for row in rows:
            if recordings[row].channel in (None, channel) or np.isnan(channel):
                chosen[row].append(position)
    return [table.iloc[rows].drop(columns="file").reset_index(drop=True) for rows in chosen]


def _names(recording: Recording) -> tuple[Any, ...]:
    """Names that segments may call a recording by."""
    if not isinstance(recording.source, str):
        return (recording.row,)
    name = os.path.basename(recording.source)
    return (recording.source, name, os.path.splitext(name)[0])


def in_samples(
    segments: pd.DataFrame, recording: Recording, rate: int
) -> list[tuple[int, int | None]]:
    """Bounds of given utterances in samples.

    Parameters
    ----------
    segments : DataFrame
    recording : Recording
        For the message.
    rate : int
        In Hz.

    Returns
    -------
    list of (int, int or None)

    Raises
    ------
    RecordingError
        If an utterance is shorter than a sample.
    """
    bounds: list[tuple[int, int | None]] = []
    for start, end in zip(segments["start"], segments["end"], strict=True):
        first, last = round(start * rate), None if np.isnan(end) else round(end * rate)
        if last is not None and last <= first:
            raise recording.error(
                f"the segment from {start:g} to {end:g} s has no samples. Leave it out."
            )
        bounds.append((first, last))
    return bounds


def check_within(
    bounds: list[tuple[int, int | None]], recording: Recording, n: int, rate: int, tolerance: float
) -> None:
    """Refuse utterances that are not inside of the recording.

    Parameters
    ----------
    bounds : list of (int, int or None)
    recording : Recording
    n : int
        Samples of the recording.
    rate : int
    tolerance : float
        Seconds that an utterance may end after it.

    Raises
    ------
    RecordingError
    """
    for first, last in bounds:
        if first >= n or (last is not None and last > n + tolerance * rate):
            end = "end" if last is None else f"{last / rate:g}"
            raise recording.error(
                f"the segment from {first / rate:g} to {end} s is not inside of the recording, "
                f"which ends at {n / rate:.3f} s. Correct it."
            )
