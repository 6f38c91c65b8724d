"""Loader of any corpus with a table of files and labels."""

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklearn_speechsent.datasets._audit import audit_items
from sklearn_speechsent.datasets._bunch import check_numbers, make_bunch
from sklearn_speechsent.datasets._cmu_files import place_clips
from sklearn_speechsent.datasets._files import find_file
from sklearn_speechsent.datasets._tables import Table
from sklearn_speechsent.datasets.annotations import count_votes
from sklearn_speechsent.metrics.levels import level_index, whole_levels

#: Distance from the median at which a label is a typing error: it would make a level of each
#: whole number between them.
FAR = 500

DESCR = """\
Speech of {path}
{underline}

:Rows: {n_rows} of {n_given}
:Levels and counts (nearest level): {counts}
:Groups: {groups}
"""


def load_manifest(
    table: str | Path | pd.DataFrame,
    *,
    audio_dir: str | Path | None = None,
    levels: Sequence[float] | None = None,
    sep: str | None = None,
    decimal: str = ".",
    columns: Mapping[str, str] | None = None,
    annotators: Sequence[str] | None = None,
    encoding: str | None = None,
    as_frame: bool = False,
    return_X_y: bool = False,
    n_jobs: int | None = None,
) -> Bunch | tuple[Any, Any]:
    """Load recordings or segments and their labels from a table.

    Parameters
    ----------
    table : str, Path or DataFrame
        A text table such as .csv or .tsv, a .parquet file, or a DataFrame, with the columns

        file
            Path of the recording, absolute or below `audio_dir`.
        label
            Number on the scale.
        speaker
            Optional: who speaks; the groups.
        start, end
            Optional, both or none: segment in seconds. One left empty in a row is the beginning or
            the end of the file; a row without either is left out where others have them: write 0
            as the start of a whole file.
        channel
            Optional: 0, 1, ... of the file; one left empty mixes all channels.
        split
            Optional, such as train, valid or test.

        Others are kept in ``frame``. Instead of ``file`` there may be ``video_id`` and ``clip_id``,
        as in the tables of MMSA and CH-SIMS (where ``mode`` is the split); the files are looked for
        as :func:`load_cmu_mosei` does, and the videos are the groups if there are no speakers.
    audio_dir : str or Path, default=None
        Folder of the files; by default that of the table, or the present one for a DataFrame.
    levels : sequence of numbers, default=None
        The scale: two or more numbers in ascending order. By default all whole numbers from the
        lowest to the highest label, rounded. A label belongs to the level that
        :func:`~sklearn_speechsent.metrics.round_to_levels` gives it; it is not changed.
    sep : str, default=None
        Character between the fields of a text table; by default the one in its header: comma,
        semicolon, tab or ``|``.
    decimal : {".", ","}, default="."
        Decimal mark of its numbers. Thousands must not be separated.
    columns : mapping of str to str, default=None
        New names of columns, such as ``{"rating": "label"}``. Upper and lower case are the same.
    annotators : sequence of str, default=None
        Names of columns that take the place of ``label``: each has the labels of one annotator,
        where nothing is given empty. The target is then a table of votes, see
        :func:`count_votes`, and ``label`` in ``frame`` their mean.
    encoding : str, default=None
        Encoding of a text table, such as ``"cp1252"``; by default UTF-8, or what the mark says
        with which UTF-8 and UTF-16 may begin.
    as_frame : bool, default=False
        Whether ``data`` is a DataFrame and ``target`` a Series. For segments and channels ``data``
        always is.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    n_jobs : int, default=None
        Threads that open the headers of the files.

    Returns
    -------
    Bunch or tuple of (data, target)
        A Bunch has the fields

        data : ndarray of str of shape (n_rows,), or DataFrame
            Absolute paths; for segments or channels a DataFrame with the columns ``file``,
            ``start, end`` and ``channel``.
        target : ndarray of shape (n_rows,), or Series
            Labels; int if all of them and all levels are whole numbers. With `annotators` a
            DataFrame of shape (n_rows, n_levels), the number of annotators who chose each level.
        groups : ndarray of shape (n_rows,)
            Speakers, as text. Without such a column the files (or videos), so that at least the
            segments of one recording stay together.
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
        number, a label is off the scale, or no row can be used. Where other parameters would read
        the table, the message has the call.

    Warns
    -----
    UserWarning
        If rows are left out or corrected, or speakers are not known for all rows.

    See Also
    --------
    check_recordings : Which recordings can be used.
    load_ravdess : A corpus with a loader of its own.

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
    read = Table(
        table,
        call=partial(_call, table, audio_dir, levels),
        sep=sep,
        decimal=decimal,
        columns=columns,
        encoding=encoding,
    )
    if audio_dir is None:
        audio_dir = "." if isinstance(table, pd.DataFrame) else Path(table).expanduser().parent
    if isinstance(annotators, str) or (annotators is not None and not len(annotators)):
        raise ValueError(f"annotators={annotators!r} must be a list of names of columns.")
    labels = ["label"] if annotators is None else list(annotators)
    frame = _read(read, labels)
    scale = _scale(read, frame, labels, levels)
    frame["label"] = frame[labels].mean(axis=1)
    recordings = "file" if "file" in frame.columns else "video_id"
    frame = _with_files(frame, Path(audio_dir).expanduser().resolve(), encoding)
    groups = _name_speakers(frame, read.where, recordings)
    corpus = os.path.basename(read.where)
    rows, report = audit_items(frame, corpus=corpus, n_jobs=n_jobs)
    votes = None if annotators is None else count_votes(rows[labels], scale)
    index = level_index(rows["label"].to_numpy(), scale)
    counts = np.bincount(index, minlength=len(scale)) if votes is None else votes.sum()
    return make_bunch(
        rows,
        levels=scale,
        target_names=[f"{level:g}" for level in scale],
        descr=DESCR.format(
            path=read.where,
            underline="=" * len(f"Speech of {read.where}"),
            n_rows=len(rows),
            n_given=len(frame),
            counts=", ".join(f"{level:g}: {n}" for level, n in zip(scale, counts, strict=True)),
            groups=groups,
        ),
        as_frame=as_frame,
        return_X_y=return_X_y,
        votes=votes,
        report=report,
    )


def _call(
    table: str | Path | pd.DataFrame,
    audio_dir: str | Path | None,
    levels: Sequence[float] | None,
    options: Mapping[str, Any],
) -> str:
    """Text of a call with other parameters."""
    first = "table" if isinstance(table, pd.DataFrame) else repr(str(table))
    places = {} if audio_dir is None else {"audio_dir": str(audio_dir)}
    scale = {} if levels is None else {"levels": levels}
    named = [f"{name}={value!r}" for name, value in {**places, **scale, **options}.items()]
    return f"load_manifest({', '.join([first, *named])})"


def _read(table: Table, labels: list[str]) -> pd.DataFrame:
    of_clips = table.has("video_id", "clip_id") and not table.has("file")
    frame = table.select(
        required=(*(("video_id", "clip_id") if of_clips else ("file",)), *labels),
        optional=("speaker", "start", "end", "channel", "split"),
        numbers=(*labels, "start", "end", "channel"),
        text=("clip_id", "speaker", "split") if of_clips else ("speaker", "split"),
        synonyms={"mode": "split"} if of_clips else None,
    )
    if ("start" in frame.columns) != ("end" in frame.columns):
        given, lacking = ("start", "end") if "start" in frame.columns else ("end", "start")
        raise ValueError(
            f"{table.where} has a column {given!r} and no {lacking!r}. Add it; an empty one means "
            "the beginning or the end of the file."
        )
    if "channel" in frame.columns:
        channel = frame["channel"]
        bad = np.flatnonzero((channel < 0) | (channel != channel.round()) & channel.notna())
        table.refuse(bad, "channel", "is not a channel. The first one of a file is 0")
    return frame


def _with_files(frame: pd.DataFrame, folder: Path, encoding: str | None) -> pd.DataFrame:
    """Rows with the paths of their files."""
    if "file" not in frame.columns:
        frame, _ = place_clips(frame, folder, "The table")
        return frame
    files = [None if name is None else find_file(folder, name, encoding) for name in frame["file"]]
    return frame.assign(file=pd.Series(files, dtype=object))


def _scale(
    table: Table, frame: pd.DataFrame, names: list[str], levels: Sequence[float] | None
) -> NDArray[Any]:
    """Levels, of a type that holds the labels too."""
    labels = frame[names].melt()["value"].dropna()
    if levels is None:
        for name in names:
            far = (frame[name] - labels.median()).abs() > FAR
            remedy = f"is more than {FAR} from the median. Correct it, or pass the levels"
            table.refuse(np.flatnonzero(far), name, remedy)
        scale = whole_levels(labels) if len(labels) else np.array([0])
    else:
        scale = check_numbers(levels)
        span = f"{scale[0]:g} to {scale[-1]:g}"
        for name in names:
            off = (frame[name] < scale[0]) | (frame[name] > scale[-1])
            remedy = f"is off the scale from {span}. Correct it or levels"
            table.refuse(np.flatnonzero(off), name, remedy)
    whole = scale.dtype.kind in "iu" and (labels == labels.round()).all()
    return scale if whole else scale.astype(float)


def _name_speakers(frame: pd.DataFrame, where: str, recordings: str) -> str:
    """Use files as groups where speakers are unknown, and return a description of the groups."""
    if "speaker" not in frame.columns:
        frame["speaker"] = pd.Series(None, frame.index, dtype=object)
    unknown = frame["speaker"].isna()
    if not unknown.any():
        return "the speakers; keep them apart when splitting"
    frame["speaker"] = frame["speaker"].where(~unknown, frame[recordings])
    noun = "videos" if recordings == "video_id" else "files"
    warnings.warn(
        f"{where}: the speaker of {int(unknown.sum())} of {len(frame)} rows is not known. Their "
        f"{noun} are taken as groups: segments of one recording stay together, but recordings of "
        "one person may get to both sides of a split, and scores flatter. Fill the column "
        "'speaker'.",
        UserWarning,
        stacklevel=3,
    )
    return f"the speakers where they are known, the {noun} elsewhere; scores may flatter"
