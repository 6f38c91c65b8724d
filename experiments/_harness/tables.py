"""Tables in Markdown, with the figures behind them in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments._harness.files import write_text


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, followed by an empty one; none if there are no rows.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequence of str

    Returns
    -------
    list of str
    """
    if not rows:
        return []
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def save(out: Path, document: Any, lines: Sequence[str], *, show: bool = True) -> None:
    """Write FILE.json and FILE.md, and print the latter.

    Parameters
    ----------
    out : Path
        FILE.json.
    document : object
        What was measured, as JSON takes it.
    lines : sequence of str
        The report in Markdown.
    show : bool, default=True
        Whether to print it.
    """
    report = "\n".join(lines).rstrip() + "\n"
    write_text(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    write_text(out.with_suffix(".md"), report)
    if show:
        print(report, flush=True)


def duration(seconds: float, decimals: int = 0) -> str:
    """Seconds, minutes or hours as text.

    Parameters
    ----------
    seconds : float
    decimals : int, default=0
        Of minutes.

    Returns
    -------
    str
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.{decimals}f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
