"""Audit of the rows of a corpus, before anything is computed from them.

Headers of files are read; no sample is decoded. Findings are counted in one warning and listed row
by row in a report.
"""

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NoReturn

import joblib
import numpy as np
import pandas as pd

from sklearn_speechsent.audio import (
    MissingRecordingError,
    Recording,
    as_recordings,
    duration,
    find_problems,
)
from sklearn_speechsent.audio.names import located
from sklearn_speechsent.audio.samples import Headers

COLUMNS = ["row", "file", "start", "end", "problem", "detail", "dropped"]
X_COLUMNS = ["file", "start", "end", "channel"]
SHOWN = 3
#: Seconds by which rounded times may pass the end of a recording; reading tolerates them.
END_TOLERANCE = 0.5
#: Bytes that tell most files of equal size apart, so that few are read to their end.
HEAD = 2**16


class Audit:
    """Rows still in use, indexed by their position in the given frame, and the problems found."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.given = frame.reset_index(drop=True)
        self.items = self.given.copy()
        #: Number of each row's file: groupby makes pandas' text of names, which not all can be.
        self.file = _numbered(self.given["file"])
        self.found: list[dict[str, Any]] = []

    def add(
        self, rows: Iterable[Any], problem: str, detail: Callable[[Any], str], *, dropped: bool
    ) -> None:
        """Record a problem of some rows.

        Parameters
        ----------
        rows : iterable of int
            Positions.
        problem : str
        detail : callable
            Makes the text for a position.
        dropped : bool
            Whether the rows are left out from now on.
        """
        rows = list(rows)
        self.found += [
            {"row": row, "problem": problem, "detail": detail(row), "dropped": dropped}
            for row in rows
        ]
        if dropped:
            self.items = self.items.drop(index=rows)

    def segments(self) -> tuple[pd.Series, pd.Series]:
        """Times of the rows in their files.

        Returns
        -------
        start, end : Series of float
            Seconds, NaN for the beginning and the end of the file.
        """
        whole = pd.Series(np.nan, index=self.items.index)
        start, end = (self.items.get(name, whole).astype(float) for name in ("start", "end"))
        return start, end

    def report(self) -> pd.DataFrame:
        """Problems found, by row.

        Returns
        -------
        DataFrame
        """
        columns = ["row", "problem", "detail", "dropped"]
        found = pd.DataFrame(self.found, columns=columns, dtype=object)
        found = found.astype({"row": int, "dropped": bool}).sort_values("row", kind="stable")
        places = self.given.reindex(columns=["file", "start", "end"]).iloc[found["row"]]
        for name in places.columns:  # of objects: not all names are what pandas takes for text
            found[name] = pd.Series(places[name].to_numpy(), found.index, dtype=object)
        times = {"start": float, "end": float}
        return found[COLUMNS].astype(times).reset_index(drop=True)


def audit_items(
    frame: pd.DataFrame,
    *,
    corpus: str,
    min_duration: float = 0.025,
    n_jobs: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out rows that cannot be used, correct what can be corrected, and warn once.

    A public loader has to call it directly, so that the warning points to the loader's caller.

    Parameters
    ----------
    frame : DataFrame
        Columns ``file``, ``label``, ``speaker``; for segments also ``start`` and ``end`` (s, a
        missing one is the beginning or the end of the file); ``channel`` (from 0, a missing one
        mixes all), ``split`` and any others.
    corpus : str
        Name for messages.
    min_duration : float, default=0.025
        Shortest file or segment of use in seconds: one frame.
    n_jobs : int, optional
        Threads that open headers.

    Returns
    -------
    rows : DataFrame
        The usable rows in their order, numbered from 0; segments lie inside their recordings.
    report : DataFrame
        Columns ``row`` (position in `frame`), ``file, start, end`` (as given), ``problem``,
        ``detail`` and ``dropped`` (bool), by row.

    Raises
    ------
    FileNotFoundError
        If no row is left because no file is there.
    ValueError
        If no row is left for other reasons, or there was none.

    Warns
    -----
    UserWarning
        If there are problems, with counts and the first few of each kind.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, pandas as pd, soundfile
    >>> from sklearn_speechsent.datasets._audit import audit_items
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = str(Path(folder, "a.wav"))
    ...     soundfile.write(path, np.ones(1600), 16000)
    ...     frame = pd.DataFrame({"file": [path], "label": [1], "speaker": ["s"]})
    ...     rows, report = audit_items(frame, corpus="mine")
    >>> len(rows), len(report)
    (1, 0)
    """
    if frame.empty:
        raise ValueError(f"{corpus}: there are no rows. Check what was selected.")
    audit = Audit(frame)
    _check_labels(audit)
    headers: Headers = {}
    durations = _check_files(audit, headers, n_jobs)
    if {"start", "end"} <= set(frame.columns):
        _check_times(audit, durations)
    _check_durations(audit, durations, min_duration)
    _check_headers(audit, headers)
    _check_duplicates(audit)
    _check_contents(audit, n_jobs)
    if "split" in frame.columns:
        _check_speakers(audit)
        _check_overlaps(audit, durations)
    report = audit.report()
    if audit.items.empty:
        raise_nothing_left(report, len(frame), corpus)
    if len(report):
        warnings.warn(summary(report, len(frame), corpus), UserWarning, stacklevel=3)
    return audit.items.reset_index(drop=True), report


def _check_labels(audit: Audit) -> None:
    unlabelled = audit.items.index[audit.items["label"].isna()]
    audit.add(unlabelled, "no label", lambda row: "the label is missing", dropped=True)


def _check_files(audit: Audit, headers: Headers, n_jobs: int | None) -> pd.Series:
    """Open every file once, add its header and return the seconds of each row's file."""
    nameless = audit.items.index[audit.items["file"].isna()]
    audit.add(nameless, "missing", lambda row: "the row names no file", dropped=True)
    files = audit.items["file"].drop_duplicates()
    found = joblib.Parallel(n_jobs=n_jobs, prefer="threads")(
        joblib.delayed(_read_header)(file, headers) for file in files
    )
    known = dict(zip(files, found, strict=True))
    for problem in ("missing", "unreadable"):
        bad = [row for row, file in audit.items["file"].items() if known[file][0] == problem]
        audit.add(bad, problem, lambda row: known[audit.given["file"][row]][1], dropped=True)
    seconds = [known[file][2] for file in audit.items["file"]]
    return pd.Series(seconds, index=audit.items.index, dtype=float)


def _read_header(file: Any, headers: Headers) -> tuple[str, str, float]:
    """Problem, detail and seconds of a file; no problem is an empty one."""
    # From 0 s, since of a file that is cut off segments may be there; see _check_headers.
    recording = Recording(0, os.fspath(file), start=0.0)
    try:
        return "", "", duration(recording, headers)
    except ValueError as error:  # RecordingErrors, and of open() for a name with a NUL character
        problem = "missing" if isinstance(error, MissingRecordingError) else "unreadable"
        return problem, str(error).removeprefix(f"{recording}: "), np.nan


def _check_headers(audit: Audit, headers: Headers) -> None:
    """Find what headers tell about a segment or a channel: cut files can hold some, not others."""
    columns = [name for name in X_COLUMNS if name in audit.items.columns]
    recordings = as_recordings(audit.items[columns])
    problems = {
        audit.items.index[k]: str(error).removeprefix(f"{recordings[k]}: ")
        for k, error in find_problems(recordings, 16000, 0.0, headers).items()
    }
    audit.add(sorted(problems), "unreadable", problems.__getitem__, dropped=True)


def _check_times(audit: Audit, durations: pd.Series) -> None:
    start, end = audit.segments()
    untimed = start.isna() & end.isna()
    if not untimed.all():  # otherwise the rows are whole files
        audit.add(
            untimed.index[untimed],
            "no times",
            lambda row: "neither start nor end is given, as they are for other rows",
            dropped=True,
        )
    start, end = audit.segments()
    lasts = durations[start.index]
    audit.add(
        start.index[start >= lasts],
        "ends after the recording",
        lambda row: f"it starts at {start[row]:g} s, the recording ends at {lasts[row]:.3f} s",
        dropped=True,
    )
    start, end = audit.segments()
    below, beyond = start.index[start < 0], end.index[end > lasts[end.index] + END_TOLERANCE]
    audit.items.loc[below, "start"] = 0.0
    audit.items.loc[beyond, "end"] = lasts[beyond]
    audit.add(
        below,
        "starts below zero",
        lambda row: f"start is {start[row]:g} s, 0 is taken",
        dropped=False,
    )
    audit.add(
        beyond,
        "ends after the recording",
        lambda row: f"end is {end[row]:g} s, the recording's end at {lasts[row]:.3f} s is taken",
        dropped=False,
    )


def _check_durations(audit: Audit, durations: pd.Series, min_duration: float) -> None:
    start, end = audit.segments()
    lasts = durations[start.index]
    seconds = end.fillna(lasts).clip(upper=lasts) - start.fillna(0.0)

    def detail(row: Any) -> str:
        if seconds[row] < 0:
            return f"it ends at {end[row]:g} s, before it starts"
        return f"it lasts {1000 * seconds[row]:.3g} ms, less than {1000 * min_duration:g} ms"

    # Differences of times have rounding errors far below one sample.
    short = seconds.index[seconds < min_duration - 1e-9]
    audit.add(short, "too short", detail, dropped=True)


def _check_duplicates(audit: Audit) -> None:
    keys = [key for key in X_COLUMNS if key in audit.items.columns]
    items = audit.items.assign(file=audit.file[audit.items.index])
    again = items[items.duplicated(keys, keep=False)]
    contradicting, repeated = {}, {}
    for _, group in again.groupby(keys, dropna=False, sort=False):
        first, *others = group.index
        labels = group["label"].unique()
        if len(labels) > 1:
            text = f"labelled {_listed(labels)} in rows {_listed(group.index)}; all are taken"
            contradicting.update(dict.fromkeys(group.index, text))
        else:
            repeated.update(dict.fromkeys(others, f"the same as row {first}, label and all"))
    # Official test sets have such rows: leaving them out would change what scores mean.
    audit.add(contradicting, "duplicate", contradicting.__getitem__, dropped=False)
    audit.add(repeated, "duplicate", repeated.__getitem__, dropped=True)


def _check_contents(audit: Audit, n_jobs: int | None) -> None:
    """Find different files with the same bytes; segments share their file anyway."""
    start, end = audit.segments()
    whole = audit.items[start.isna() & end.isna()]
    channels = whole.get("channel", pd.Series(-1, whole.index)).fillna(-1)
    groups: list[Sequence[Hashable]] = _partition(list(whole.index), channels.to_dict())
    for key in (_size, _head_digest, _digest):
        rows = [row for group in groups for row in group]
        keys = joblib.Parallel(n_jobs=n_jobs, prefer="threads")(
            joblib.delayed(key)(whole["file"][row]) for row in rows
        )
        by_key = dict(zip(rows, keys, strict=True))
        groups = [part for group in groups for part in _partition(group, by_key)]
    for first, *others in groups:
        details = {row: _same(audit, row, first) for row in others}
        audit.add(details, "same content", details.__getitem__, dropped=False)


def _partition(rows: Sequence[Hashable], keys: dict[Hashable, Any]) -> list[Sequence[Hashable]]:
    """Rows with equal keys, where there are several."""
    parts = defaultdict(list)
    for row in rows:
        parts[keys[row]].append(row)
    return [part for part in parts.values() if len(part) > 1]


def _numbered(texts: pd.Series) -> pd.Series:
    """Number of each different text; missing ones have -1."""
    return pd.Series(pd.factorize(texts.to_numpy(dtype=object))[0], texts.index)


def _size(file: Any) -> int:
    return os.path.getsize(located(os.fspath(file)))


def _head_digest(file: Any) -> bytes:
    with open(located(os.fspath(file)), "rb") as stream:
        return hashlib.blake2b(stream.read(HEAD)).digest()


def _digest(file: Any) -> bytes:
    with open(located(os.fspath(file)), "rb") as stream:
        return hashlib.file_digest(stream, "blake2b").digest()


def _same(audit: Audit, row: Any, other: Any) -> str:
    one, two = audit.items.loc[row], audit.items.loc[other]
    differing = [
        f"{name} {one[name]}, not {two[name]}"
        for name in ("label", "speaker", "split")
        if name in audit.items.columns and one[name] != two[name]
    ]
    but = f", but {'; '.join(differing)}" if differing else ""
    return f"the same bytes as {two['file']} (row {other}){but}"


def _check_speakers(audit: Audit) -> None:
    labelled = audit.items.dropna(subset=["speaker", "split"])
    details = {}
    for _, splits in labelled.groupby(_numbered(labelled["speaker"]), sort=False)["split"]:
        speaker = labelled["speaker"][splits.index[0]]
        counts = splits.value_counts()
        if len(counts) > 1:
            row = splits.index[splits != splits.iloc[0]][0]
            shares = ", ".join(f"{split}: {count} rows" for split, count in counts.items())
            details[row] = f"speaker {speaker} is in {shares}; scores will flatter"
    audit.add(details, "speaker in several splits", details.__getitem__, dropped=False)


def _check_overlaps(audit: Audit, durations: pd.Series) -> None:
    """Find segments of one file that share speech across splits."""
    start, end = audit.segments()
    items = audit.items[["split"]].assign(
        file=audit.file[audit.items.index],
        start=start.fillna(0.0),
        end=end.fillna(durations[end.index]),
        channel=audit.items.get("channel", np.nan),
    )
    items = items.dropna(subset=["split"])
    details = {}
    crossing = items.groupby("file")["split"].transform("nunique") > 1
    for _, group in items[crossing].sort_values("start").groupby("file", sort=False):
        # End and row of the last segment so far of each split and channel.
        latest: dict[tuple[Any, float], tuple[float, Any]] = {}
        for row, split, channel, start, end in group[
            ["split", "channel", "start", "end"]
        ].itertuples():
            for (other_split, other_channel), (until, other) in latest.items():
                apart = channel >= 0 and other_channel >= 0 and channel != other_channel
                if split != other_split and start < until and not apart:
                    details[row] = f"in {split}, overlaps row {other} in {other_split}"
            key = (split, channel if channel >= 0 else -1.0)  # NaN is a mix of all
            latest[key] = max(latest.get(key, (0.0, row)), (end, row), key=lambda it: it[0])
    audit.add(details, "overlap across splits", details.__getitem__, dropped=False)


def _listed(values: Iterable[Any]) -> str:
    *some, last = [str(value) for value in values]
    return f"{', '.join(some)} and {last}"


def _shown(report: pd.DataFrame) -> str:
    """Counts per problem and the first few of each; rows left out come first."""
    report = report.sort_values("dropped", ascending=False, kind="stable")
    lines = []
    for (problem, dropped), rows in report.groupby(["problem", "dropped"], sort=False):
        lines.append(f"  {problem}: {len(rows)}, {'left out' if dropped else 'kept'}")
        for item in rows.head(SHOWN).itertuples():
            lines.append(f"    row {item.row}, {item.file}: {item.detail}")
        if len(rows) > SHOWN:
            lines.append(f"    ... and {len(rows) - SHOWN} more")
    return "\n".join(lines)


def summary(report: pd.DataFrame, n: int, corpus: str) -> str:
    """Text of the warning about a report.

    Parameters
    ----------
    report : DataFrame
    n : int
        Number of rows in the audit.
    corpus : str
        Its name.

    Returns
    -------
    str
    """
    n_dropped = report.loc[report["dropped"], "row"].nunique()
    return (
        f"{corpus}: {n_dropped} of {n} rows are left out, {report['row'].nunique()} are reported:\n"
        f"{_shown(report)}\nThe rest is in bunch.report."
    )


def raise_nothing_left(report: pd.DataFrame, n: int, corpus: str) -> NoReturn:
    """Raise an error that says why no row is left.

    Parameters
    ----------
    report : DataFrame
    n : int
        Number of rows in the audit.
    corpus : str
        Its name.

    Raises
    ------
    FileNotFoundError
        If all files are missing.
    ValueError
        Otherwise.
    """
    lost = report[report["dropped"]]
    folders = {os.path.dirname(os.path.abspath(file)) for file in lost["file"].dropna()}
    folder = os.path.commonpath(folders) if folders else "no folder"
    if (lost["problem"] == "missing").all():
        raise FileNotFoundError(
            f"{corpus}: none of the recordings of {n} rows is in {folder}. Put them there or name "
            f"the folder that holds them:\n{_shown(lost)}"
        )
    raise ValueError(
        f"{corpus}: none of {n} rows can be used, with recordings looked for in {folder}. Mend "
        f"the files or the table:\n{_shown(lost)}"
    )
