"""Time lines in the formats of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from sklearn_speechsent.utils.files import atomic_write


def timeline_to_rttm(
    timeline: pd.DataFrame, path: str | os.PathLike[str], *, label: str = "level"
) -> None:
    r"""Write the utterances of a time line as RTTM, which speech tools and diarisation read.

    Parameters
    ----------
    timeline : DataFrame
        Of :func:`~sklearn_speechsent.sentiment_timeline`. Final rows with a score are written; with
        ``label="speaker"`` all final rows.
    path : str or path-like
    label : {"level", "expected", "speaker"}, default="level"
        Column that is written in the place of the speaker's name.

    Raises
    ------
    ValueError
        If ``label`` is something else, or a row does not have it.

    Examples
    --------
    >>> import tempfile
    >>> row = {"file": "call.wav", "channel": 1, "speaker": None, "start": 0.5, "end": 2.75}
    >>> timeline = pd.DataFrame([row | {"level": -1, "expected": -0.8, "final": True}])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     timeline_to_rttm(timeline, f"{folder}/call.rttm")
    ...     Path(folder, "call.rttm").read_text()
    'SPEAKER call 2 0.500 2.250 <NA> <NA> -1 <NA> <NA>\n'
    """
    lines = []
    for row, text in _labelled(timeline, label):
        channel = 1 if pd.isna(row.channel) else int(row.channel) + 1
        lines.append(
            f"SPEAKER {_name(row.file)} {channel} {row.start:.3f} {row.end - row.start:.3f} "
            f"<NA> <NA> {text.replace(' ', '_')} <NA> <NA>"
        )
    _write(path, lines)


def timeline_to_audacity(
    timeline: pd.DataFrame, path: str | os.PathLike[str], *, label: str = "level"
) -> None:
    """Write the utterances of a recording as a label track of Audacity.

    Parameters
    ----------
    timeline : DataFrame
        Of :func:`~sklearn_speechsent.sentiment_timeline`, about one file and channel. Final rows
        with a score are written.
    path : str or path-like
        A text file, for File > Import > Labels.
    label : {"level", "expected", "speaker"}, default="level"
        Column that is written.

    Raises
    ------
    ValueError
        If there are several files or channels, or a row does not have the label.
    """
    if len(timeline[["file", "channel"]].drop_duplicates()) > 1:
        raise ValueError(
            "A label track is about one recording, and the time line holds several files or "
            "channels. Choose one: timeline[timeline['file'] == file]."
        )
    _write(
        path,
        [f"{row.start:.6f}\t{row.end:.6f}\t{text}" for row, text in _labelled(timeline, label)],
    )


def timeline_to_elan(
    timeline: pd.DataFrame, path: str | os.PathLike[str], *, label: str = "level"
) -> None:
    """Write the utterances of a time line as a table that ELAN imports.

    Parameters
    ----------
    timeline : DataFrame
        Of :func:`~sklearn_speechsent.sentiment_timeline`. Final rows with a score are written.
    path : str or path-like
        A tab-delimited text file, for File > Import > CSV / Tab-delimited Text File. Its columns
        are called as there: Tier (the speaker, or the channel), Begin Time and End Time (ms),
        Annotation, and File.
    label : {"level", "expected", "speaker"}, default="level"
        Column that is written as the annotation.

    Raises
    ------
    ValueError
        If ``label`` is something else, or a row does not have it.
    """
    lines = ["Tier\tBegin Time\tEnd Time\tAnnotation\tFile"]
    for row, text in _labelled(timeline, label):
        tier = "sentiment" if pd.isna(row.channel) else f"channel {int(row.channel)}"
        tier = tier if pd.isna(row.speaker) else str(row.speaker)
        start, end = round(1000 * row.start), round(1000 * row.end)
        lines.append(f"{tier}\t{start}\t{end}\t{text}\t{_name(row.file)}")
    _write(path, lines)


def _labelled(timeline: pd.DataFrame, label: str) -> list[tuple[Any, str]]:
    """Final rows and their labels."""
    if label not in ("level", "expected", "speaker"):
        raise ValueError(f"label={label!r} must be 'level', 'expected' or 'speaker'.")
    rows = timeline[timeline["final"].astype(bool)]
    if label != "speaker":
        rows = rows[rows["expected"].notna()]
    if rows[label].isna().any():
        row = rows[rows[label].isna()].iloc[0]
        raise ValueError(
            f"The utterance of {row['file']} at {row['start']:.3f} s has no {label}. Choose "
            "another label; that of a regressor is 'expected'."
        )
    return [(row, _text(getattr(row, label))) for row in rows.itertuples()]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.2f}"
    return str(value)


def _name(file: Any) -> str:
    """Name of a file in formats whose fields end at a blank."""
    return os.path.splitext(os.path.basename(str(file)))[0].replace(" ", "_")


def _write(path: str | os.PathLike[str], lines: list[str]) -> None:
    atomic_write(Path(path), "".join(f"{line}\n" for line in lines).encode())
