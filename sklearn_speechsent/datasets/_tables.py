"""Tables of labels: reading, numbers in text, and errors that name row and remedy."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
MISSING = {"", "na", "nan", "none", "null", "<na>"}
SHOWN = 5
#: Other names of the columns.
ALIASES: Mapping[str, Sequence[str]] = {
    "file": ("path", "filepath", "file_path", "filename", "file_name", "wav", "audio", "recording"),
    "label": ("sentiment", "score", "target", "rating", "valence", "y"),
    "sentiment": ("label", "score", "target", "annotation"),
    "speaker": ("speaker_id", "spk", "spk_id", "talker", "actor", "subject", "participant"),
    "start": ("begin", "start_time", "onset", "from"),
    "end": ("stop", "end_time", "finish", "to"),
    "split": ("partition", "subset", "mode"),
    "video_id": ("video", "vid", "file"),
    "clip_id": ("clip", "segment", "segment_id"),
}


def read_table(
    path: Path, *, required: Sequence[str], optional: Sequence[str] = (), text: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a table and check the names of its columns.

    Parameters
    ----------
    path : Path
        CSV (commas), TSV (tabs) or parquet, by its suffix.
    required, optional : sequence of str
        Columns that must and may be there. Others are kept.
    text : sequence of str
        Columns that stay text, so that 007 is not 7.

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If pyarrow is missing for parquet.
    ValueError
        If it cannot be read, is empty, or a column is missing or misspelt.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such table.")
    if path.suffix.lower() in PARQUET:
        table = _read_parquet(path)
    elif path.suffix.lower() in SEPARATORS:
        try:
            table = pd.read_csv(
                path,
                sep=SEPARATORS[path.suffix.lower()],
                dtype=dict.fromkeys(text, "str"),
                encoding="utf-8-sig",
                # A speaker may be called NA; numbers are parsed one by one later.
                keep_default_na=False,
                na_values=[""],
            )
        except (ValueError, pd.errors.ParserError) as error:  # EmptyDataError, UnicodeDecodeError
            raise ValueError(
                f"{path} cannot be read as a table in UTF-8: {error}. Save it again as CSV with "
                "commas or TSV with tabs."
            ) from error
    else:
        raise ValueError(f"{path}: a table is a .csv, .tsv or .parquet file. Convert it.")
    if not isinstance(table.index, pd.RangeIndex):
        # Fields beyond the header make pandas shift all columns by one.
        raise ValueError(
            f"{path}: rows have more fields than the header names. Quote texts that hold the "
            "separator, and end no line with it."
        )
    _check_columns(table, path, required, optional)
    if table.empty:
        raise ValueError(f"{path} has no rows below its header. Add some.")
    return table


def numbers(table: pd.DataFrame, column: str, where: str, label_of: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN where nothing is given.

    Parameters
    ----------
    table : DataFrame
    column : str
    where : str
        Name of the table for messages.
    label_of : str
        Column that names a row for messages.

    Returns
    -------
    ndarray of float of shape (n_rows,)

    Raises
    ------
    ValueError
        If values are not finite numbers; the first few are named.
    """
    values = table[column]
    if values.dtype.kind == "m":
        return values.dt.total_seconds().to_numpy(dtype=float)
    parsed = [_number(value) for value in values]
    bad = [row for row, number in enumerate(parsed) if number is None]
    raise_for_rows(
        bad,
        table,
        column,
        where=where,
        label_of=label_of,
        remedy="is not a number. Write numbers, or leave it empty for none",
    )
    return np.array(parsed, dtype=float)


def raise_for_rows(
    rows: Sequence[int] | NDArray[np.intp],
    table: pd.DataFrame,
    column: str,
    *,
    where: str,
    label_of: str,
    remedy: str,
) -> None:
    """Raise one error for the bad values of a column.

    Parameters
    ----------
    rows : sequence of int
        Positions of the bad values; if empty, nothing is raised.
    table : DataFrame
    column : str
    where : str
        Name of the table.
    label_of : str
        Column that names a row.
    remedy : str
        What is wrong with them, and what to do.

    Raises
    ------
    ValueError
        If there are any rows.
    """
    if not len(rows):
        return
    values = [table[column].iloc[row] for row in rows[:SHOWN]]
    texts = [f"{value!r:.80}" if isinstance(value, str) else str(value) for value in values]
    shown = ", ".join(
        f"{text} in row {row} ({table[label_of].iloc[row]})"
        for row, text in zip(rows, texts, strict=False)
    )
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    raise ValueError(f"{where}, column {column!r}: {shown}{more} {remedy}.")


def _number(value: Any) -> float | None:
    """Return a number, NaN if it is missing, None if it is not a number."""
    if value is None or value is pd.NA or str(value).strip().lower() in MISSING:
        return np.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"Reading {path} needs pyarrow: pip install pyarrow, or save the table as CSV."
        ) from error
    try:
        return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)
    except (ValueError, OSError) as error:  # pyarrow's own errors are both
        raise ValueError(f"{path} cannot be read as parquet: {error}. Write it again.") from error


def _check_columns(
    table: pd.DataFrame, path: Path, required: Sequence[str], optional: Sequence[str]
) -> None:
    columns = [str(column) for column in table.columns]
    spare = [column for column in columns if column not in {*required, *optional}]
    lacking = [name for name in required if name not in columns]
    if lacking:
        hints = [
            f"Is {near[0]!r} the {name}?" for name in lacking if (near := _near(name, spare, 0.7))
        ]
        if len(columns) == 1 and any(mark in columns[0] for mark in ",;\t"):
            hints = ["Is it separated by something else than its suffix says?"]
        raise ValueError(
            f"{path} lacks {_quoted(lacking)}; its columns are {_quoted(columns)}. "
            f"{' '.join([*hints, 'Rename or add them.'])}"
        )
    # An unknown column may be a misspelt 'start', without which whole files would be read.
    for name in optional:
        near = [] if name in columns else _near(name, spare, 0.8)
        if near:
            raise ValueError(
                f"{path} has a column {near[0]!r} and no {name!r}. Rename it to {name!r} if that "
                "is what it is, and to something less alike if not."
            )


def _near(name: str, columns: Iterable[str], likeness: float) -> list[str]:
    """Columns with a similar or equivalent name."""
    lowered = {column.strip().lower().replace(" ", "_"): column for column in columns}
    known = [lowered[alias] for alias in (name, *ALIASES[name]) if alias in lowered]
    like = difflib.get_close_matches(name, lowered, cutoff=likeness)
    return known or [lowered[column] for column in like]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
