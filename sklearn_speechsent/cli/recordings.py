"""Arguments of the command as rows of recordings."""

from __future__ import annotations

import glob
import io
import os
import sys
from pathlib import Path
from typing import Any

#: Of the files that are looked for in folders.
SUFFIXES = {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"),
    *(".w64", ".rf64", ".sph", ".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".amr", ".wma"),
}
#: Of tables.
TABLES = {".csv", ".tsv", ".txt", ".parquet"}
#: Columns of a table that say which part of a file a row is.
PLACE = ("file", "start", "end", "channel")


def find_recordings(arguments: list[str]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows of all arguments, in their order.

    Parameters
    ----------
    arguments : list of str
        Files, folders, patterns where the shell does not know them, tables, and ``-``.

    Returns
    -------
    places : list of dict
        What a row is called in the output: ``file``, and of tables ``start``, ``end`` and
        ``channel`` where they are given.
    X : list
        What the pipeline takes for each row: a dict like its place, or bytes.

    Raises
    ------
    FileNotFoundError
        If an argument is not there, or a folder holds no recording.
    ValueError
        If a table has no column ``file``, an argument is a zip file, or ``-`` stands next to
        others.
    """
    if "-" in arguments and len(arguments) > 1:
        raise ValueError("- stands for a recording on standard input, and alone.")
    places: list[dict[str, Any]] = []
    X: list[Any] = []
    for argument in arguments:
        if argument == "-":
            places.append({"file": "-"})
            X.append(_standard_input())
            continue
        found = [row for name in _expanded(argument) for row in _of_path(name)]
        places += found
        X += found
    return places, X


def as_input(rows: list[Any]) -> Any:
    """Rows as one X.

    Parameters
    ----------
    rows : list of dict, or of bytes

    Returns
    -------
    DataFrame, list of str or list of BytesIO
    """
    if any(isinstance(row, bytes) for row in rows):
        return [io.BytesIO(row) for row in rows]
    if not any(len(row) > 1 for row in rows):
        return [row["file"] for row in rows]
    import pandas as pd

    return pd.DataFrame(rows)


def _standard_input() -> bytes:
    if sys.stdin.isatty():
        raise ValueError("- reads a recording from standard input: pipe one into the command.")
    content = sys.stdin.buffer.read()
    if not content:
        raise ValueError("Standard input is empty, and - asks for a recording there.")
    return content


def _expanded(argument: str) -> list[str]:
    """Names that a pattern stands for where the shell, as on Windows, leaves it as it is."""
    if os.path.exists(argument) or not glob.has_magic(argument):
        return [argument]
    return sorted(glob.glob(argument, recursive=True)) or [argument]


def _of_path(name: str) -> list[dict[str, Any]]:
    path = Path(name)
    if path.is_dir():
        inside = [
            os.path.join(folder, file)
            for folder, folders, files in os.walk(path)
            for file in files
            if os.path.splitext(file)[1].lower() in SUFFIXES and not file.startswith(".")
        ]
        if not inside:
            raise FileNotFoundError(
                f"The folder {name} holds no recording ({', '.join(sorted(SUFFIXES))})."
            )
        return [{"file": file} for file in sorted(inside)]
    if path.suffix.lower() in TABLES:
        return _of_table(path)
    if path.suffix.lower() == ".zip":
        raise ValueError(
            f"{name} is a zip file, not a recording. A model comes after --model; recordings have "
            "to be unpacked."
        )
    # Whether it is there and can be read is said where it is read.
    return [{"file": name}]


def read_table(path: Path) -> Any:
    """Table of a file, whose names need not be UTF-8.

    Parameters
    ----------
    path : Path
        A .parquet file, or text with comma, semicolon, tab or ``|`` between the columns.

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"There is no table {path}.")
    if path.suffix.lower() == ".parquet":
        frame = pd.read_parquet(path)
    else:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            head = file.readline()
        separator = max(",;\t|", key=head.count)  # a comma where there is none
        named = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
        frame = pd.read_csv(path, sep=separator, dtype={"file": str}, **named)
    frame.columns = frame.columns.str.strip()
    return frame


def _of_table(path: Path) -> list[dict[str, Any]]:
    """Rows of a table, whose other columns may hold anything."""
    frame = read_table(path)
    if "file" not in frame.columns:
        raise ValueError(
            f"{path} has no column 'file', only {', '.join(map(repr, frame.columns))}. Name the "
            "column of the recordings so."
        )
    if frame["file"].isna().any():
        row = int(frame["file"].isna().to_numpy().argmax())
        raise ValueError(f"{path}: row {row} names no file. Fill or remove it.")
    frame = frame[[name for name in PLACE if name in frame.columns]]
    folder = path.parent
    frame["file"] = [str(folder / name) for name in frame["file"]]  # absolute ones stay
    return [
        {name: value for name, value in row.items() if name == "file" or value == value}
        for row in frame.to_dict("records")
    ]
