"""Tables of labels: names of columns, numbers in text, and errors that say what reads a table."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent.datasets._text_tables import read_text_table

PARQUET = (".parquet", ".pq")
MISSING = {"", "na", "n/a", "#n/a", "nan", "none", "null", "<na>"}
SHOWN = 5
#: Other names of the columns.
ALIASES: Mapping[str, Sequence[str]] = {
    "file": (
        *("path", "filepath", "file_path", "filename", "file_name", "wav", "audio"),
        *("recording", "name"),
    ),
    "label": ("sentiment", "score", "target", "rating", "valence", "labels", "y"),
    "sentiment": ("label", "score", "target", "rating", "annotation"),
    "speaker": ("speaker_id", "spk", "spk_id", "talker", "actor", "subject", "participant"),
    "start": ("begin", "start_time", "onset", "from"),
    "end": ("stop", "end_time", "finish", "to"),
    "channel": ("track",),
    "split": ("partition", "subset", "mode"),
    "video_id": ("video", "vid", "file"),
    "clip_id": ("clip", "segment", "segment_id"),
    "ActorID": (),
    "Age": (),
    "Sex": ("gender",),
}
KNOWN = {name.lower() for pair in ALIASES.items() for name in (pair[0], *pair[1])}
#: Texts that were numbers once or will be, and what to do.
LOOKS_LIKE = {
    r".*%": "a percentage: write 0.5 for 50 %",
    r"[+-]?\d{1,3}([.,' \u00a0\u202f]\d{3})+([.,]\d+)?": "a number with separated thousands: "
    "write it without them",
    r"\d+[./-]\d+[./-]\d+.*|\d*[. -]*[A-Za-z]{3,9}[. -]*\d+": "a date: spreadsheets make dates of "
    "numbers unless the column is formatted as text",
    r"\d+:\d+.*": "a time of day: write seconds",
    r"[^\W\d_][^\d_]*": "a word: write the number that it stands for",
}


class Table:
    """A table as it was found, and the checks by which it becomes what a loader needs.

    Parameters
    ----------
    source : str, Path or DataFrame
        A text table, a parquet file (by its suffix), or the table itself.
    call : callable, optional
        Makes the text of the call that reads the table from parameters: ``sep``, ``decimal``,
        ``columns`` and ``encoding``. None where no call takes them.
    sep, encoding : str, optional
        See :func:`~sklearn_speechsent.datasets._text_tables.read_text_table`.
    decimal : {".", ","}, default="."
        Decimal mark of numbers that are text.
    columns : mapping of str to str, optional
        New names of columns.

    Attributes
    ----------
    frame : DataFrame
        Its rows; texts have the type object, since names of files need not be Unicode.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If pyarrow is missing for parquet.
    TypeError
        If the source is neither a path nor a DataFrame.
    ValueError
        If it cannot be read, or has no rows.
    """

    def __init__(
        self,
        source: str | Path | pd.DataFrame,
        *,
        call: Callable[[Mapping[str, Any]], str] | None = None,
        sep: str | None = None,
        decimal: str = ".",
        columns: Mapping[str, str] | None = None,
        encoding: str | None = None,
    ) -> None:
        if decimal not in (".", ","):
            raise ValueError(f"decimal must be '.' or ',', got {decimal!r}.")
        self._columns = dict(columns or {})
        given = {"sep": sep, "decimal": decimal, "columns": columns, "encoding": encoding}
        defaults = (None, ".", None, None)
        self._given = {
            name: value
            for (name, value), default in zip(given.items(), defaults, strict=True)
            if value != default
        }
        self._call = call
        self._decimal = decimal
        self._problems: list[str] = []
        self._remedies: dict[str, Any] = {}
        self._lines: Sequence[int] | None = None
        self._key = ""
        if isinstance(source, pd.DataFrame):
            self.where = "The DataFrame"
            self.frame = source.reset_index(drop=True)
            self._index_names = [str(name) for name in source.index.names if name is not None]
        elif not isinstance(source, (str, os.PathLike)):
            raise TypeError(
                f"A table is a path or a DataFrame, got {type(source).__name__}. Pass "
                "pandas.DataFrame(...) of it."
            )
        else:
            path = Path(source).expanduser()
            self.where = str(path)
            self._index_names = []
            self.frame = self._read(path, sep, encoding, KNOWN | {*map(_plain, columns or ())})
        names = [str(name).strip() for name in self.frame.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"{self.where} has more than one column {_quoted(twice)}. Rename or remove all "
                "but one."
            )
        self.frame.columns = names
        if self.frame.empty:
            raise ValueError(f"{self.where} has no rows below its header. Add some.")
        self._rename(columns or {})

    def _read(
        self, path: Path, sep: str | None, encoding: str | None, known: set[str]
    ) -> pd.DataFrame:
        if path.is_dir():
            raise ValueError(f"{path} is a folder. Name the table in it.")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such table.")
        if path.suffix.lower() in PARQUET:
            return _read_parquet(path)
        text = read_text_table(path, sep=sep, encoding=encoding, known=known)
        self._problems += text.problems
        defaults = {"sep": ",", "encoding": "utf-8"}
        found = {
            name: value
            for name, value in text.options.items()
            if value != defaults[name] or name in self._given
        }
        self._remedies |= {name: value for name, value in found.items() if value != "utf-8-sig"}
        self._lines = text.lines
        columns = list(zip(*text.records, strict=True)) or [()] * len(text.names)
        frame = pd.DataFrame(
            {k: pd.Series(column, dtype=object) for k, column in enumerate(columns)}
        )
        # A column without a name is the index of some other table, or nothing.
        blank = [k for k, name in enumerate(text.names) if not name and not any(columns[k])]
        frame.columns = [name or f"Unnamed: {k}" for k, name in enumerate(text.names)]
        return frame.drop(columns=[f"Unnamed: {k}" for k in blank])

    def _rename(self, columns: Mapping[str, str]) -> None:
        new = {}
        for name, target in columns.items():
            found = _match(str(name), self.frame.columns)
            if found is None:
                raise ValueError(
                    f"{self.where} has no column {name!r}; its columns are "
                    f"{_quoted(self.frame.columns)}. In columns, the table's own name comes first: "
                    "{'its name': 'label'}."
                )
            new[found] = str(target)
        for found, target in new.items():
            taken = _match(target, self.frame.columns.drop(list(new)))
            if taken is not None:
                other = {**columns, taken: f"{taken}_given"}
                raise ValueError(
                    f"{self.where} has both {taken!r} and {found!r}. "
                    f"{self._remedy({'columns': other})}"
                )
        self.frame = self.frame.rename(columns=new)

    def has(self, *names: str) -> bool:
        """Whether there are such columns, in upper or lower case.

        Parameters
        ----------
        *names : str

        Returns
        -------
        bool
        """
        return all(_match(name, self.frame.columns) is not None for name in names)

    def select(
        self,
        *,
        required: Sequence[str],
        optional: Sequence[str] = (),
        numbers: Sequence[str] = (),
        text: Sequence[str] = (),
        synonyms: Mapping[str, str] | None = None,
    ) -> pd.DataFrame:
        """Check columns and bring them to their names and types.

        Parameters
        ----------
        required : sequence of str
            Columns that must be there. The first one names a row in messages; it holds names,
            which are never numbers.
        optional : sequence of str
            Columns that may be there. Others stay.
        numbers : sequence of str
            Those of them that hold numbers; NaN where nothing is given.
        text : sequence of str
            Those that hold text, so that 007 is not 7; None where nothing is given.
        synonyms : mapping of str to str, optional
            Names that are taken for others which are not there.

        Returns
        -------
        DataFrame

        Raises
        ------
        ValueError
            If a column is missing or misspelt, or a value is not what it should be. Where other
            parameters would read the table, the message has the call.
        """
        self._key = required[0]
        for name in (*required, *optional):
            self._spell(name)
        for name, target in (synonyms or {}).items():
            if self.has(name) and not self.has(target):
                found = _match(name, self.frame.columns)
                self.frame = self.frame.rename(columns={found: target})
        self._check_columns(required, optional)
        self._check_names(self._key)
        for name in self.frame.columns:
            values = self.frame[name]
            if name in numbers:
                self.frame[name] = self._numbers(name)
            elif name in text:
                self.frame[name] = pd.Series(map(_as_text, values), dtype=object)
            elif name != self._key and self._lines is not None:
                self.frame[name] = _as_written(values)
        self._raise_with_call()
        return self.frame

    def refuse(self, rows: Sequence[int] | NDArray[Any], column: str, remedy: str) -> None:
        """Raise one error for the bad values of a column.

        Parameters
        ----------
        rows : sequence of int
            Positions of the bad values; if empty, nothing is raised.
        column : str
        remedy : str
            What is wrong with them, and what to do.

        Raises
        ------
        ValueError
            If there are any rows.
        """
        if not len(rows):
            return
        shown = ", ".join(f"{self._shown(column, row)} in {self.row(row)}" for row in rows[:SHOWN])
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        raise ValueError(f"{self.where}, column {column!r}: {shown}{more} {remedy}.")

    def row(self, row: int) -> str:
        """Name of a row for messages: position, line of the file, and what it is about.

        Parameters
        ----------
        row : int

        Returns
        -------
        str
        """
        name = f"{self.frame[self._key].iloc[row]!s:.80}"
        line = "" if self._lines is None else f"line {self._lines[row]}, "
        return f"row {row} ({line}{name})"

    def _spell(self, name: str) -> None:
        """Give a column its name if it only differs in blanks and upper case."""
        alike = [column for column in self.frame.columns if _plain(column) == _plain(name)]
        if name not in alike and len(alike) > 1:
            raise ValueError(
                f"{self.where} has the columns {_quoted(alike)}, and only one can be the {name}. "
                f"{self._remedy({'columns': {alike[1]: alike[1] + '_2'}})}"
            )
        if name not in alike and alike:
            self.frame = self.frame.rename(columns={alike[0]: name})

    def _shown(self, column: str, row: int) -> str:
        value = self.frame[column].iloc[row]
        return f"{value!r:.80}" if isinstance(value, str) else f"{value!s:.80}"

    def _remedy(self, remedies: Mapping[str, Any]) -> str:
        if self._call is None:
            return "Save it again as CSV with commas, decimal points and these names, in UTF-8."
        options = {**self._given, **self._remedies, **remedies}
        return f"If that is so, this reads it:\n  {self._call(options)}"

    def _raise_with_call(self) -> None:
        if self._problems:
            remedy = self._remedy({})
            raise ValueError(f"{self.where} {'; it '.join(self._problems)}. {remedy}")

    def _check_columns(self, required: Sequence[str], optional: Sequence[str]) -> None:
        """Check the names; those that are only called otherwise are renamed for what follows."""
        columns = list(self.frame.columns)
        spare = [name for name in columns if name not in {*required, *optional}]
        lacking = [name for name in required if name not in columns]
        new: dict[str, str] = {}
        for name in lacking:
            near = [column for column in _near(name, spare) if column not in new]
            new.update({column: name for column in near[:1]})
        if lacking:
            text = f"lacks {_quoted(lacking)}; its columns are {_quoted(columns)}"
            if len(new) < len(lacking):
                hint = "Rename or add them."
                if self._call is not None:
                    unknown = [name for name in lacking if name not in new.values()]
                    own = {f"its name for {name}": name for name in unknown}
                    example = {**self._columns, **new, **own}
                    how = self._call({**self._given, **self._remedies, "columns": example})
                    hint = f"Rename or add them, or say what is what, as in\n  {how}"
                if set(self._index_names) & set(lacking):
                    hint = "They are in its index: call reset_index() first."
                elif any(np.isfinite(_number(name, ".") or np.nan) for name in columns):
                    hint = "Is the line of their names missing at its beginning?"
                raise ValueError(f"{self.where} {'; it '.join([*self._problems, text])}. {hint}")
            self._problems.append(text)
        # An unknown column may be a misspelt 'start', without which whole files would be read.
        for name in optional:
            near = [column for column in _near(name, spare) if column not in new]
            if name not in columns and near:
                new[near[0]] = name
                if not lacking:
                    self._problems.append(
                        f"has a column {near[0]!r} and no {name!r} (if it is something else, give "
                        "it a name that is less alike)"
                    )
        if new:
            self._remedies["columns"] = {**self._columns, **new}
            self.frame = self.frame.rename(columns=new)

    def _check_names(self, column: str) -> None:
        """Names are text: 001 that was read as 1 would be another file."""
        values = self.frame[column]
        wrong = [
            row
            for row, value in enumerate(values)
            if not (isinstance(value, (str, os.PathLike)) or _is_missing(value))
        ]
        self.refuse(
            wrong,
            column,
            "is not text, and 001 may have become 1, or 1e5 a number. Read that column as text "
            "(in pandas, dtype=str); paths that are bytes go through os.fsdecode",
        )
        names = [None if _is_missing(value) else os.fspath(value) for value in values]
        self.frame[column] = pd.Series(names, dtype=object)

    def _numbers(self, column: str) -> NDArray[np.float64]:
        values = self.frame[column]
        if values.dtype.kind == "m":
            return values.dt.total_seconds().to_numpy(dtype=float)
        parsed = [_number(value, self._decimal) for value in values]
        bad = [row for row, number in enumerate(parsed) if number is None]
        if bad:
            other = "," if self._decimal == "." else "."
            parsed = [_number(value, other) for value in values]
            if None in parsed:
                self.refuse(bad, column, self._what_is_wrong([values.iloc[row] for row in bad]))
            mark = "comma" if other == "," else "point"
            self._problems.append(
                f"has decimal {mark}s in column {column!r} ({self._shown(column, bad[0])} in "
                f"{self.row(bad[0])})"
            )
            self._remedies["decimal"] = other
        return np.array(parsed, dtype=float)

    def _what_is_wrong(self, values: Sequence[Any]) -> str:
        texts = [str(value).strip() for value in values]
        for pattern, kind in LOOKS_LIKE.items():
            if all(re.fullmatch(pattern, text, re.DOTALL) for text in texts):
                return f"is not a number, but may be {kind}"
        marks = {mark for mark in ".," for value in values if _number(value, mark) is not None}
        if marks == {","} and self._decimal == ".":
            return "has a decimal comma, while others have a point. Write all of them alike"
        return "is not a number. Write numbers such as -1.5, or leave it empty for none"


def _match(name: str, columns: Iterable[str]) -> str | None:
    """Column of that name, exactly or but for blanks and upper case."""
    columns = list(columns)
    if name in columns:
        return name
    return next((column for column in columns if _plain(column) == _plain(name)), None)


def _plain(name: Any) -> str:
    return str(name).strip().lower()


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    is_nan = isinstance(value, (float, np.floating)) and np.isnan(value)
    return value is None or value is pd.NA or value is pd.NaT or is_nan


def _number(value: Any, decimal: str) -> float | None:
    """Return a number, NaN if it is missing, None if it is not a number."""
    if isinstance(value, str):
        text = value.strip().replace("\N{MINUS SIGN}", "-")
        if text.lower() in MISSING:
            return np.nan
        # float() would take 1_000 and infinity too.
        mark = re.escape(decimal)
        if not re.fullmatch(rf"[+-]?(\d+({mark}\d*)?|{mark}\d+)(e[+-]?\d+)?", text, re.IGNORECASE):
            return None
        value = text.replace(decimal, ".")
    if _is_missing(value):
        return np.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _as_text(value: Any) -> str | None:
    """Text without blanks around it; None where there is none."""
    if _is_missing(value):
        return None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)  # a column of whole numbers, of which some are missing
    return str(value).strip()


def _as_written(values: pd.Series) -> pd.Series:
    """Column of a text table that no loader asks for: numbers if all are plainly that."""
    texts = [value.strip() or None for value in values]
    given = [text for text in texts if text]
    if given and all(re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d+)?", text) for text in given):
        return pd.to_numeric(pd.Series(texts, dtype=object))
    return pd.Series(texts, dtype=object)


def _near(name: str, columns: Iterable[str]) -> list[str]:
    """Columns with an equivalent or similar name."""
    lowered = {_plain(column).replace(" ", "_"): column for column in columns}
    known = [lowered[alias] for alias in (name, *ALIASES.get(name, ())) if alias in lowered]
    like = difflib.get_close_matches(name, lowered, cutoff=0.7)
    return known or [lowered[column] for column in like if abs(len(column) - len(name)) < 2]


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


def _quoted(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(f"{name!r:.60}" for name in names[:20]) + more
