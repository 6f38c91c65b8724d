"""``speechsent check``: recordings and tables before the long work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.output import chosen_format, written
from sklearn_speechsent.cli.recordings import TABLES, as_input, find_recordings, read_table


def check(
    files: options.Files,
    form: options.OutputFormat = None,
    output: options.Output = None,
    jobs: options.Jobs = -1,
) -> None:
    """Decode recordings, and say which cannot be used and why.

    Tables with labels are checked as well: what fit would leave out or correct. There is a row per
    problem, and the exit code is 1 if there is one.
    """
    form = chosen_format(form, output)
    tables = [name for name in files if _is_labelled(name)]
    problems = [row for name in tables for row in _of_manifest(name, jobs)]
    others = [name for name in files if name not in tables]
    n = 0
    if others:
        places, X = find_recordings(others)
        n = len(places)

        from sklearn_speechsent.audio import check_recordings

        _, found = check_recordings(as_input(X), n_jobs=jobs, return_problems=True)
        problems += [
            {"file": place["file"], "row": row, "problem": text}
            for row, (place, text) in enumerate(zip(places, found, strict=True))
            if text is not None
        ]
    with written(["file", "row", "problem"], form, output) as write:
        write(problems)
    looked = f"{n} recordings" if others else ""
    looked += " and " * bool(others and tables) + f"{len(tables)} tables" * bool(tables)
    print(f"{looked}: {len(problems)} problems.", file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def _is_labelled(name: str) -> bool:
    """Whether this is a table with a column ``label``."""
    path = Path(name)
    return path.suffix.lower() in TABLES and path.is_file() and "label" in read_table(path).columns


def _of_manifest(name: str, jobs: int) -> list[dict[str, Any]]:
    """Problems of a table with labels, and of its recordings."""
    import warnings

    from sklearn_speechsent.audio import check_recordings
    from sklearn_speechsent.datasets import load_manifest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report says it
        try:
            corpus: Any = load_manifest(name, n_jobs=jobs)
        except (ValueError, OSError) as error:
            return [{"file": name, "problem": str(error)}]
    found = [
        {"file": line.file, "row": line.row, "problem": f"{line.problem}: {line.detail}"}
        for line in corpus.report.itertuples()
    ]
    _, undecoded = check_recordings(corpus.data, n_jobs=jobs, return_problems=True)
    return found + [{"file": name, "problem": text} for text in undecoded if text is not None]
