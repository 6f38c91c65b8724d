"""Tables on standard output and in files, whole or row by row."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

from sklearn_speechsent.cli.options import Format

_BY_SUFFIX = {".json": Format.json, ".jsonl": Format.jsonl, ".csv": Format.csv}
#: Forms to which rows can be added.
_BY_ROW = (Format.jsonl, Format.csv)

Row = dict[str, Any]


def chosen_format(given: Format | None, output: Path | None, resume: bool = False) -> Format:
    """Form of the output.

    Parameters
    ----------
    given : Format or None
    output : Path or None
    resume : bool, default=False

    Returns
    -------
    Format

    Raises
    ------
    ValueError
        If ``resume`` asks to continue what cannot be continued.
    """
    suffix = output.suffix.lower() if output is not None else ""
    chosen = given or _BY_SUFFIX.get(suffix, Format.table)
    if resume and (output is None or chosen not in _BY_ROW):
        raise ValueError("--resume continues an --out in the form jsonl or csv.")
    return chosen


def plain(value: Any) -> Any:
    """Value as JSON has it: NaN and missing values are None.

    Parameters
    ----------
    value : object

    Returns
    -------
    object
    """
    if hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ == "NAType":
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def written(
    columns: list[str], form: Format, output: Path | None, *, append: bool = False
) -> Iterator[Any]:
    """Function that writes some rows.

    Parameters
    ----------
    columns : list of str
    form : Format
    output : Path or None
        Of whole tables (table, json) nothing is there before the end, and all of it afterwards.
    append : bool, default=False
        Whether rows are added to a file that is there.

    Yields
    ------
    callable
        Takes an iterable of rows.
    """
    if form not in _BY_ROW:
        rows: list[Row] = []
        yield rows.extend
        text = _as_text(rows, columns, form)
        if output is None:
            with _standard_output(form) as file:
                file.write(text)
            return
        from sklearn_speechsent.utils.files import atomic_write

        atomic_write(output, text.encode("utf-8", _errors(form)))
        return
    opened = _standard_output(form) if output is None else _opened(output, form, append)
    with opened as file:
        empty = output is None or not append or output.stat().st_size == 0
        if form is Format.csv and empty:
            csv.writer(file, lineterminator="\n").writerow(columns)

        def write(some: Iterable[Row]) -> None:
            """Rows that are written together are there together."""
            file.write("".join(_line(row, columns, form) for row in some))
            file.flush()

        yield write


def rows_there(
    output: Path, form: Format, columns: list[str], *, whole_files: bool = False
) -> list[Row]:
    """Rows of an interrupted output, from whose end is removed what is incomplete.

    Parameters
    ----------
    output : Path
    form : {Format.jsonl, Format.csv}
    columns : list of str
        That it must have.
    whole_files : bool, default=False
        Whether a recording has several rows, so that those of the last one are removed.

    Returns
    -------
    list of dict
        Values of csv are text, missing ones empty.

    Raises
    ------
    ValueError
        If the file has other columns.
    """
    if not output.is_file():
        return []
    content = output.read_bytes()
    lines = content.split(b"\n")[:-1]  # the last one is empty, or incomplete
    header = lines[:1] if form is Format.csv else []
    rows = [_row(line, columns, form) for line in lines[len(header) :]]
    if header:
        found = next(csv.reader([_decoded(header[0])]))
    else:
        found = list(rows[0]) if rows else columns
    if found != columns:
        raise ValueError(
            f"{output} has the columns {', '.join(found)}, and this call gives "
            f"{', '.join(columns)}: it was made in another way. Choose another --out."
        )
    if whole_files and rows:
        rows = [row for row in rows if row["file"] != rows[-1]["file"]]
    size = sum(len(line) + 1 for line in lines[: len(header) + len(rows)])
    if size < len(content):
        os.truncate(output, size)
    return rows


def check_one_line(names: Iterable[str], form: Format) -> None:
    """Refuse to resume a csv whose rows are not lines.

    Parameters
    ----------
    names : iterable of str
        Of files.
    form : Format

    Raises
    ------
    ValueError
    """
    broken = next((name for name in names if "\n" in name or "\r" in name), None)
    if form is Format.csv and broken is not None:
        raise ValueError(f"{broken!r} holds a line break: use --format jsonl to be able to resume.")


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def _row(line: bytes, columns: list[str], form: Format) -> Row:
    if form is Format.jsonl:
        return json.loads(line)
    return dict(zip(columns, next(csv.reader([_decoded(line)])), strict=False))


def _errors(form: Format) -> str:
    """How names that are not UTF-8 are written: JSON has escapes, other text their bytes."""
    return "backslashreplace" if form in (Format.json, Format.jsonl) else "surrogateescape"


@contextmanager
def _standard_output(form: Format) -> Iterator[TextIO]:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors=_errors(form), newline="\n")
    yield sys.stdout
    sys.stdout.flush()


def _opened(output: Path, form: Format, append: bool) -> TextIO:
    mode: Literal["a", "w"] = "a" if append else "w"
    return output.open(mode, encoding="utf-8", errors=_errors(form), newline="\n")


def _line(row: Row, columns: list[str], form: Format) -> str:
    values = [plain(row.get(column)) for column in columns]
    if form is Format.jsonl:
        return json.dumps(dict(zip(columns, values, strict=True)), ensure_ascii=False) + "\n"
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _as_text(rows: list[Row], columns: list[str], form: Format) -> str:
    if form is Format.json:
        whole = [{column: plain(row.get(column)) for column in columns} for row in rows]
        return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"
    cells = [columns, *([_cell(plain(row.get(column))) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
    return "".join(f"{line}\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
