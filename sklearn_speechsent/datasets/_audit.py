"""The report on the rows of a corpus: how it is collected and how it is told."""

import os
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np
import pandas as pd

COLUMNS = ["row", "file", "start", "end", "problem", "detail", "dropped"]
SHOWN = 3


class Audit:
    """The rows still in use, labelled by their position in the frame given, and what was found."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.given = frame.reset_index(drop=True)
        self.items = self.given.copy()
        self.found: list[dict[str, Any]] = []

    def add(
        self, rows: Iterable[Any], problem: str, detail: Callable[[Any], str], *, dropped: bool
    ) -> None:
        """Note a problem of some rows.

        Parameters
        ----------
        rows : iterable of int
            Positions.
        problem : str
        detail : callable
            Makes the text for a position.
        dropped : bool
            Whether the rows are left out from here on.
        """
        rows = list(rows)
        self.found += [
            {"row": row, "problem": problem, "detail": detail(row), "dropped": dropped}
            for row in rows
        ]
        if dropped:
            self.items = self.items.drop(index=rows)

    def segments(self) -> tuple[pd.Series, pd.Series]:
        """Where the rows lie in their files.

        Returns
        -------
        start, end : Series of float
            Seconds, NaN for the beginning and the end of the file.
        """
        whole = pd.Series(np.nan, index=self.items.index)
        start, end = (self.items.get(name, whole).astype(float) for name in ("start", "end"))
        return start, end

    def report(self) -> pd.DataFrame:
        """What was found, by row.

        Returns
        -------
        DataFrame
        """
        found = pd.DataFrame(self.found, columns=["row", "problem", "detail", "dropped"])
        found = found.astype({"row": int, "dropped": bool}).sort_values("row", kind="stable")
        places = self.given.reindex(columns=["file", "start", "end"]).iloc[found["row"]]
        found[["file", "start", "end"]] = places.to_numpy(dtype=object)
        times = {"start": float, "end": float}
        return found[COLUMNS].astype(times).reset_index(drop=True)


def _shown(report: pd.DataFrame) -> str:
    """Counts per problem and the first few of each; what is lost comes first."""
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
    """What a person wants to know of a report.

    Parameters
    ----------
    report : DataFrame
    n : int
        Rows that were looked at.
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
    """Say why no row is left.

    Parameters
    ----------
    report : DataFrame
    n : int
        Rows that were looked at.
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
