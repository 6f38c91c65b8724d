"""Loader of any corpus with a table of files and labels."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklearn_speechsent.datasets._audit import audit_items
from sklearn_speechsent.datasets._bunch import make_bunch
from sklearn_speechsent.datasets._tables import numbers, raise_for_rows, read_table
from sklearn_speechsent.metrics.levels import check_levels, level_index, whole_levels

DESCR = """\
Speech of {path}
{underline}

:Rows: {n_rows} of {n_given}
:Levels and counts (nearest level): {counts}
:Groups: {groups}
"""


def load_manifest(
    path: str | Path,
    *,
    audio_dir: str | Path | None = None,
    levels: Sequence[float] | None = None,
    as_frame: bool = False,
    return_X_y: bool = False,
    n_jobs: int | None = None,
) -> Bunch | tuple[Any, Any]:
    """Load recordings or segments and their labels from a table.

    Parameters
    ----------
    path : str or Path
        A .csv (commas), .tsv (tabs) or .parquet table with the columns

        file : path of the recording, absolute or below `audio_dir`
        label : number on the scale
        speaker : optional, who speaks; the groups
        start, end : optional, both or none: segment in seconds. One left empty in a row is the
            beginning or the end of the file; a row without either is left out where others
            have them: write 0 as the start of a whole file.
        split : optional, such as train, valid or test

        Others are kept in ``frame``.
    audio_dir : str or Path, default=None
        Folder of the files; by default that of the table.
    levels : sequence of numbers, default=None
        The scale: two or more numbers in ascending order. By default all whole numbers from the
        lowest to the highest label, rounded.
    as_frame : bool, default=False
        Whether ``data`` is a DataFrame and ``target`` a Series. For segments ``data`` always is.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    n_jobs : int, default=None
        Threads that open the headers of the files.

    Returns
    -------
    Bunch or tuple of (data, target)
        A Bunch has the fields

        data : ndarray of str of shape (n_rows,), or DataFrame
            Absolute paths; for segments a DataFrame with the columns ``file, start, end``.
        target : ndarray of shape (n_rows,), or Series
            Labels; int if all of them and all levels are whole numbers.
        groups : ndarray of shape (n_rows,)
            Speakers. Without such a column the files, so that at least the segments of one
            recording stay together.
        frame : DataFrame
            All columns of the usable rows.
        levels : ndarray of shape (n_levels,)
            The levels of the scale in ascending order.
        target_names : list of str
            The levels as text.
        split : ndarray of shape (n_rows,)
            Only if there is such a column.
        report : DataFrame
            Problems by row: columns ``row`` (of the table, from 0), ``file, start,
            end, problem, detail, dropped``.
        DESCR : str
            Description with counts.

    Raises
    ------
    FileNotFoundError
        If there is no such table, or none of its recordings is there.
    ImportError
        If the table is parquet and pyarrow is not installed.
    ValueError
        If the table is empty or unreadable, a column is missing or misspelt, a value is not a
        number, a label is off the scale, or no row can be used.

    Warns
    -----
    UserWarning
        If rows are left out or corrected, or speakers are not known for all rows.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, pandas as pd, soundfile
    >>> from sklearn_speechsent.datasets import load_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a", "b"):
    ...         soundfile.write(Path(folder, name + ".wav"), np.ones(1600), 16000)
    ...     table = pd.DataFrame(
    ...         {"file": ["a.wav", "b.wav"], "label": [-1, 1], "speaker": ["anna", "ben"]}
    ...     ).assign(start=[0, 0.05], end=[0.05, None])
    ...     table.to_csv(Path(folder, "labels.csv"), index=False)
    ...     mine = load_manifest(Path(folder, "labels.csv"))
    >>> mine.data[["start", "end"]].to_numpy().tolist(), mine.target.tolist()
    ([[0.0, 0.05], [0.05, nan]], [-1, 1])
    >>> mine.groups.tolist(), mine.levels.tolist()
    (['anna', 'ben'], [-1, 0, 1])
    """
    path = Path(path).expanduser().resolve()
    folder = path.parent if audio_dir is None else Path(audio_dir).expanduser().resolve()
    frame = _read(path, folder)
    scale = _scale(frame, levels, path)
    groups = _name_speakers(frame, path)
    rows, report = audit_items(frame, corpus=path.name, n_jobs=n_jobs)
    counts = np.bincount(level_index(rows["label"].to_numpy(), scale), minlength=len(scale))
    return make_bunch(
        rows,
        levels=scale,
        target_names=[f"{level:g}" for level in scale],
        descr=DESCR.format(
            path=path,
            underline="=" * len(f"Speech of {path}"),
            n_rows=len(rows),
            n_given=len(frame),
            counts=", ".join(f"{level:g}: {n}" for level, n in zip(scale, counts, strict=True)),
            groups=groups,
        ),
        as_frame=as_frame,
        return_X_y=return_X_y,
        report=report,
    )


def _read(path: Path, folder: Path) -> pd.DataFrame:
    frame = read_table(
        path,
        required=("file", "label"),
        optional=("speaker", "start", "end", "split"),
        text=("file", "speaker"),
    )
    if ("start" in frame.columns) != ("end" in frame.columns):
        given, lacking = ("start", "end") if "start" in frame.columns else ("end", "start")
        raise ValueError(
            f"{path} has a column {given!r} and no {lacking!r}. Add it; an empty one means the "
            "beginning or the end of the file."
        )
    for column in ("label", "start", "end"):
        if column in frame.columns:
            frame[column] = numbers(frame, column, str(path), "file")
    files = frame["file"].map(lambda name: os.path.normpath(os.path.join(folder, name)), "ignore")
    return frame.assign(file=files)


def _scale(frame: pd.DataFrame, levels: Sequence[float] | None, path: Path) -> NDArray[Any]:
    """Levels, of a type that holds the labels too."""
    labels = frame["label"].dropna()
    if levels is None:
        scale = whole_levels(labels) if len(labels) else np.array([0])
    else:
        check_levels(levels)
        scale = np.asarray(levels)
        raise_for_rows(
            np.flatnonzero((frame["label"] < scale[0]) | (frame["label"] > scale[-1])),
            frame,
            "label",
            where=str(path),
            label_of="file",
            remedy=f"is off the scale from {scale[0]:g} to {scale[-1]:g}. Correct it or levels",
        )
    whole = scale.dtype.kind in "iu" and (labels == labels.round()).all()
    return scale if whole else scale.astype(float)


def _name_speakers(frame: pd.DataFrame, path: Path) -> str:
    """Use files as groups where speakers are unknown, and return a description of the groups."""
    known = frame["speaker"] if "speaker" in frame.columns else pd.Series(None, frame.index)
    unknown = known.isna()
    if not unknown.any():
        return "the speakers; keep them apart when splitting"
    frame["speaker"] = known.astype(str).where(~unknown, frame["file"])
    warnings.warn(
        f"{path}: the speaker of {int(unknown.sum())} of {len(frame)} rows is not known. Their "
        "files are taken as groups: segments of one recording stay together, but recordings of one "
        "person may get to both sides of a split, and scores flatter. Fill the column 'speaker'.",
        UserWarning,
        stacklevel=3,
    )
    return "the speakers where they are known, the files elsewhere; scores may flatter"
