"""Corpora for experiments: RAVDESS, or any that a manifest describes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.datasets import load_ravdess

REQUIRED = ("file", "label", "speaker")
SEGMENT = ("start", "end")
#: Bad rows that a message names.
_SHOWN = 5


@dataclass(frozen=True)
class Corpus:
    """Recordings, labels and speakers.

    Parameters
    ----------
    name : str
    X : DataFrame of shape (n, 1) or (n, 3)
        Columns ``file`` and, for segments, ``start`` and ``end`` in seconds.
    y : ndarray of shape (n,)
        Labels as they are, rounded or not.
    groups : ndarray of shape (n,)
        Speakers.
    levels : tuple of int
        The ordinal scale.
    note : str
        Remark on the labels, for the text below a table.
    """

    name: str
    X: pd.DataFrame
    y: NDArray[Any]
    groups: NDArray[Any]
    levels: tuple[int, ...]
    note: str = ""

    def describe(self) -> dict[str, Any]:
        """Size and labels, for the document of a table."""
        rounded, counts = np.unique(np.rint(self.y).astype(int), return_counts=True)
        return {
            "name": self.name,
            "recordings": len(self.y),
            "speakers": len(np.unique(self.groups)),
            "levels": list(self.levels),
            "counts": {str(k): int(n) for k, n in zip(rounded, counts, strict=True)},
            "labels": "levels" if np.array_equal(self.y, np.rint(self.y)) else "real",
            "note": self.note,
        }

    def folds(self, n_folds: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Split by speaker; no more folds than there are speakers.

        Parameters
        ----------
        n_folds : int

        Returns
        -------
        list of (train, test)
            Rows of each fold, from ``GroupKFold`` without shuffling.

        Raises
        ------
        ValueError
            If there are fewer than two folds.
        """
        if n_folds < 2:
            raise ValueError(f"Cross-validation needs at least 2 folds, got {n_folds}.")
        n_speakers = len(np.unique(self.groups))
        if n_folds > n_speakers:
            print(f"{n_folds} folds are more than {n_speakers} speakers: {n_speakers} folds.")
        return list(GroupKFold(min(n_folds, n_speakers)).split(self.X, self.y, self.groups))


def load_corpus(name: str) -> Corpus:
    """Load RAVDESS from the data home, or the corpus of a manifest.

    Parameters
    ----------
    name : str
        ``"ravdess"``, or a CSV file, see `read_manifest`.

    Returns
    -------
    Corpus
    """
    if name.lower() != "ravdess":
        return read_manifest(name)
    bunch = load_ravdess()
    return Corpus(
        "RAVDESS",
        bunch.frame[["file"]],
        bunch.target,
        bunch.groups,
        tuple(bunch.levels.tolist()),
        "valence of the acted emotion, a proxy for sentiment",
    )


def read_manifest(path: str | Path) -> Corpus:
    """Read a corpus from a table, and check all of it before work starts.

    Parameters
    ----------
    path : str or Path
        CSV with the columns ``file`` (absolute, or relative to the manifest's folder), ``label``
        (numbers), ``speaker`` (any text) and, for segments, ``start`` and ``end`` in seconds,
        where an empty cell is the beginning or the end; other columns are ignored.

    Returns
    -------
    Corpus
        The levels are the integers from the lowest to the highest rounded label.

    Raises
    ------
    FileNotFoundError
        If the manifest or a recording is missing.
    ValueError
        If a column is missing, a label is not a finite number, a speaker is empty, all rows have
        one speaker or one level, a segment is empty, or a recording cannot be opened.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no manifest {path}. --corpus is 'ravdess' or a CSV file with the columns "
            f"{', '.join(REQUIRED)}."
        )
    # As text, so that a speaker called 007 or NA stays what it is.
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    table.columns = table.columns.str.strip()
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}."
        )
    if table.empty:
        raise ValueError(f"{path} has no rows.")
    table = table.apply(lambda column: column.str.strip())
    labels = _numbers(path, table, "label")
    _refuse(path, table, "label", ~np.isfinite(labels), "is not a finite number")
    for column in ("file", "speaker"):
        _refuse(path, table, column, table[column] == "", "is empty")
    X = pd.DataFrame({"file": [str(path.parent / file) for file in table["file"]]})
    if any(column in table.columns for column in SEGMENT):
        for column in SEGMENT:
            X[column] = _numbers(path, table, column) if column in table.columns else np.nan
        _refuse(path, table, "start", X["start"] < 0, "is negative")
        _refuse(path, table, "end", X["end"] <= X["start"].fillna(0), "is not after the start")
    lost = np.array([not Path(file).is_file() for file in X["file"]])
    _refuse(path, table, "file", lost, "does not exist", FileNotFoundError)
    speakers = _speakers(table["speaker"])
    if len(np.unique(speakers)) < 2:
        raise ValueError(
            f"All rows of {path} have the speaker {str(speakers[0])!r}. Speakers must not cross a "
            "split, so at least two are needed."
        )
    rounded = np.rint(labels).astype(int)
    if rounded.min() == rounded.max():
        raise ValueError(
            f"All labels of {path} are at level {rounded[0]}: there is nothing to learn."
        )
    MelFilterBank().fit(X)  # opens every header, and names the recordings that cannot be used
    return Corpus(path.stem, X, labels, speakers, tuple(range(rounded.min(), rounded.max() + 1)))


def _speakers(names: pd.Series) -> NDArray[Any]:
    """Speakers as integers if all are: the order of the folds depends on it."""
    numeric = names.str.fullmatch(r"0|[1-9]\d{0,9}").all()
    return names.to_numpy(dtype=np.int64 if numeric else str)


def _numbers(path: Path, table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN where a cell is empty."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(values) & (table[column] != "").to_numpy()
    _refuse(path, table, column, wrong, "is not a number")
    return values


def _refuse(
    path: Path,
    table: pd.DataFrame,
    column: str,
    wrong: Any,
    problem: str,
    error: type[Exception] = ValueError,
) -> None:
    """Raise if a row is wrong, naming the first of them by their line in the file."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return
    shown = "\n  ".join(
        f"line {row + 2}: {column} {table[column][row]!r} {problem}" for row in rows[:_SHOWN]
    )
    more = f"\n  and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    raise error(f"{path} has {len(rows)} bad row(s):\n  {shown}{more}")
