"""Mutated manifests, tables of segments and lists: rows stay in line with their labels."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.fuzz.mutant import Failed, Mutant, check_names_row, guarded, kind_of
from experiments.fuzz.recordings import RecordingChecks
from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.datasets import load_manifest

_N_ROWS = 8
#: Columns of X in which a value is wrong.
_COLUMNS = (
    *("file", "start", "end", "speed", "gain_db", "snr_db", "seed", "noise", "babble", "rt60"),
    *("clip", "band_limit", "codec", "silence_before", "silence_after"),
)
#: What people, spreadsheets and programs write where a number or a name should be.
_TEXTS = (
    *("", " ", "NA", "NaN", "nan", "none", "NULL", "inf", "-inf", "1e400", "1e-400", "0x10"),
    *("1_000", "1,5", "1.5.2", "--3", "+2", " 2 ", "-0", "2\n", "1;2", "1\t2", "a,b", "=1+1"),
    *("'", '"', '"1', "true", "abc", "99999999999999999999", "#N/A", "#DIV/0!", "1:30", "~"),
    *("\u22121", "\uff13", "\u200b1", "\u00e9", "\U0001f600", "2024-01-31", "../x.wav", "x" * 5000),
)
_VALUES = (
    *(None, np.nan, pd.NA, pd.NaT, np.inf, -np.inf, -1.0, 1e300, 10**30, True, 1j, object),
    *("1", "1,5", "x", "", b"1", [1.0], (), {}, np.array([1.0, 2.0])),
    *(pd.Timedelta("1s"), pd.Timestamp("2024-01-31")),
)
_ITEMS = (
    *(None, 3, 3.5, True, b"", "", " ", ".", "\0", "no such file.wav", "a" * 5000, object),
    *([], (), {}, [[1.0]], [None], np.zeros(0), np.zeros(400), np.full(4000, np.nan)),
    *(np.array(1.0), np.zeros((2, 2, 2)), np.array(["a"]), np.array([None] * 9)),
    *((16000, None), (0, np.ones(9)), (-1, np.ones(9)), (np.nan, np.ones(9)), (16000,)),
    *((1, 2, 3), (16000, "a"), ("a", 16000), (10**12, np.ones(9)), np.ones(4000, complex)),
)


@dataclass
class TableChecks:
    """Checks of mutated tables, by number.

    Parameters
    ----------
    seed : int
    folder : Path
    recordings : RecordingChecks
        Has the files that the tables name.
    """

    seed: int
    folder: Path
    recordings: RecordingChecks

    def make(self, number: int) -> Mutant:
        """Mutant of a number.

        Parameters
        ----------
        number : int

        Returns
        -------
        Mutant
        """
        rng = np.random.default_rng([self.seed, 1, number])
        return (self._manifest, self._manifest, self._segments, self._list)[number % 4](rng)

    # -- manifests -------------------------------------------------------------------------------

    def _manifest(self, rng: np.random.Generator) -> Mutant:
        """Mutated manifest; rows and report account for every line."""
        segments = rng.random() < 0.5
        rows = [list(row) for row in self._lines(segments)]
        header = ["file", "label", "speaker", *(("start", "end") if segments else ())]
        how = str(rng.choice(["cell", "cell", "row", "header", "bytes"]))
        mutations = [how]
        if how == "cell":
            row, column = int(rng.integers(_N_ROWS)), int(rng.integers(len(header)))
            rows[row][column] = str(rng.choice(_TEXTS))
            mutations.append(f"{header[column]} = {rows[row][column]!r:.40} in row {row}")
        elif how == "row":
            _mutate_rows(rows, rng)
        elif how == "header":
            _mutate_header(header, rows, rng)
        separator = "," if rng.random() < 0.8 else str(rng.choice([";", "\t", "|"]))
        content = _written([header, *rows], separator).encode()
        if how == "bytes":
            content = _mutate_text(content, rng)
        suffix = ".tsv" if separator == "\t" else ".csv"
        path = self.folder / f"labels{suffix}"

        def check() -> str:
            path.write_bytes(content)
            found = guarded(lambda: load_manifest(path), ValueError, FileNotFoundError)
            if isinstance(found, Exception):
                # With another separator there is one column only: its row is not to blame.
                return self._refused(found, path, how == "cell" and separator in ",\t")
            self._accounts_for_all(found, content, separator)
            return "loaded without some rows" if found.report["dropped"].any() else "loaded"

        return Mutant({"format": "manifest", "mutations": mutations}, suffix, content, check)

    def _lines(self, segments: bool) -> Iterator[tuple[str, ...]]:
        for row in range(_N_ROWS):
            times = (f"{0.01 * row:.2f}", f"{0.2 + 0.01 * row:.2f}") if segments else ()
            name = Path(self.recordings.good[row % 2]).name
            yield (name, str(row % 5 - 2), f"speaker {row}", *times)

    def _refused(self, error: Exception, path: Path, row_is_to_blame: bool) -> str:
        message = str(error)
        names_row = re.search(r"\b(row|line)s? \d", message)
        if isinstance(error, UnicodeError):
            raise Failed(f"load_manifest: {type(error).__name__}: {kind_of(message)}")
        if not names_row and (row_is_to_blame or path.name not in message):
            raise Failed(f"load_manifest: the error names no row or table: {kind_of(message)}")
        return f"error: {kind_of(message.replace(str(path), 'TABLE'))}"

    def _accounts_for_all(self, found: Any, content: bytes, separator: str) -> None:
        """Compare with what the standard library reads from the same file."""
        n_dropped = int(found.report["dropped"].sum())
        lines = _read(content, separator)
        if lines is None:
            return
        header, *records = lines
        n_empty = sum(not any(map(str.strip, record)) for record in records)
        if not len(records) - n_empty <= len(found.data) + n_dropped <= len(records):
            raise Failed(
                f"load_manifest: {len(found.data)} rows and {n_dropped} left out of {len(records)}"
            )
        given = {_plain(header, record) for record in records}
        for file, label in zip(found.frame["file"], found.target, strict=True):
            if (Path(file).name, float(label)) not in given:
                raise Failed(f"load_manifest: no line has {Path(file).name!r} with label {label}")

    # -- X ---------------------------------------------------------------------------------------

    def _segments(self, rng: np.random.Generator) -> Mutant:
        """DataFrame with a wrong value in one of its rows."""
        good = self.recordings.good
        X = pd.DataFrame({"file": [good[0], good[0], good[1]], "start": None, "end": None})
        column = str(rng.choice(_COLUMNS))
        if column not in X:
            X[column] = None
        X = X.astype(object)
        value = _VALUES[rng.integers(len(_VALUES))]
        X[column] = [X[column][0], value, X[column][2]]
        if rng.random() < 0.3:
            X.index = pd.Index(["a", "a", "b"])
        return self._mutant("segments", f"{column} = {value!r:.60}", X)

    def _list(self, rng: np.random.Generator) -> Mutant:
        """List with a wrong item."""
        item = _ITEMS[rng.integers(len(_ITEMS))]
        good = self.recordings.good
        return self._mutant("list", f"item = {item!r:.60}", [good[0], item, good[1]])

    def _mutant(self, format: str, mutation: str, X: Any) -> Mutant:
        report = {"format": format, "mutations": [mutation]}
        return Mutant(report, ".txt", f"{X!r}\n".encode(), lambda: self._extracted(X))

    def _extracted(self, X: Any) -> str:
        strict = guarded(lambda: MelFilterBank().fit_transform(X), ValueError, TypeError)
        frames = guarded(
            lambda: MelFilterBank(on_error="nan").fit_transform(X), ValueError, TypeError
        )
        for found in (strict, frames):
            if isinstance(found, Exception):
                check_names_row(str(found), "MelFilterBank")
                continue
            self.recordings.compare(found)
        if isinstance(strict, Exception):
            return f"error: {kind_of(str(strict))}"
        if isinstance(frames, Exception) or not np.array_equal(
            strict[1], frames[1], equal_nan=True
        ):
            raise Failed("on_error='raise' gives frames, on_error='nan' others")
        return "frames"


def _mutate_rows(rows: list[list[str]], rng: np.random.Generator) -> None:
    row = int(rng.integers(len(rows)))
    match rng.integers(7):
        case 0:
            rows.insert(row, list(rows[row]))
        case 1:
            rows[row] = []
        case 2:
            rows[row].append(str(rng.choice(_TEXTS)))
        case 3:
            del rows[row][int(rng.integers(len(rows[row]))) :]
        case 4:
            del rows[row][int(rng.integers(len(rows[row])))]
        case 5:
            rows[row] = [""] * len(rows[row])
        case 6:
            for record in rows:
                record.append("")


def _mutate_header(header: list[str], rows: list[list[str]], rng: np.random.Generator) -> None:
    column = int(rng.integers(len(header)))
    match rng.integers(6):
        case 0:
            header[column] = str(rng.choice(["", "path", "rating", "Label", " label", "x", "file"]))
        case 1:
            del header[column]
        case 2:
            header.append(header[column])
        case 3:
            header.insert(0, "")
            for number, record in enumerate(rows):
                record.insert(0, str(number))
        case 4:
            order = rng.permutation(len(header))
            header[:] = [header[k] for k in order]
            for record in rows:
                record[:] = [record[k] for k in order]
        case 5:
            header[column] = header[column].upper()


def _mutate_text(content: bytes, rng: np.random.Generator) -> bytes:
    position = int(rng.integers(len(content) + 1))
    text = content.decode()
    match rng.integers(9):
        case 0:
            return content[:position]
        case 1:
            flipped = bytearray(content)
            for place in rng.integers(len(content), size=rng.integers(1, 5)):
                flipped[place] ^= 1 << int(rng.integers(8))
            return bytes(flipped)
        case 2:
            return content[:position] + rng.bytes(int(rng.integers(1, 4))) + content[position:]
        case 3:
            return text.replace("speaker", "spr\u00e9cher").encode(
                str(rng.choice(["latin-1", "utf-16", "utf-16-le", "utf-8-sig", "cp1252", "utf-32"]))
            )
        case 4:
            return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\n\r"]))
        case 5:
            mark = [b'"', b"'", b"\0", b"\n", b"\r", b",", b";", b"\xff", b"\\"][rng.integers(9)]
            return content[:position] + mark + content[position:]
        case 6:
            return content + content
        case 7:
            return content[:position] + bytes(len(content) - position)
        case _:
            return b"# a remark\n" + content


def _written(lines: list[list[str]], separator: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _read(content: bytes, separator: str) -> list[list[str]] | None:
    """Header and records of a table; None where it is not clear what they are."""
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text or text.count('"') % 2 or "\r" in text.replace("\r\n", "\n"):
            return None
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return [line for line in lines if line and not (len(line) == 1 and not line[0].strip())]


def _plain(header: list[str], record: list[str]) -> tuple[str, float]:
    """File and label of a record, NaN where the label is not a number."""
    values = dict(zip([name.strip().lower() for name in header], record, strict=False))
    try:
        label = values.get("label", "").replace(",", ".").replace("\N{MINUS SIGN}", "-")
        return Path(values.get("file", "")).name, float(label)
    except ValueError:
        return "", np.nan
