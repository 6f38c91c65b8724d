"""Options that several subcommands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """Forms of a table."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


Files = Annotated[
    list[str],
    typer.Argument(
        help="Recordings, folders of recordings, tables with a column 'file' (.csv, .tsv, "
        ".parquet), or - for one recording on standard input. Names that begin with a dash come "
        "after --.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Bundle (folder or .zip), or the name of a ready model."),
]
OutputFormat = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="By default that of --out's suffix, else table."),
]
Output = Annotated[
    Path | None, typer.Option("--out", "-o", help="File; by default standard output.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an --out (.jsonl, .csv) that was interrupted.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Recordings at a time; -1 uses all cores.")]
READY = "valence-acted"
