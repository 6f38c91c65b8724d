"""``speechsent predict``: levels of recordings."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import typer

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.models import load, one_by_one, problem
from sklearn_speechsent.cli.output import check_one_line, chosen_format, rows_there, written
from sklearn_speechsent.cli.recordings import PLACE, as_input, find_recordings

#: Recordings that are scored, and written, at a time by each job.
_BATCH = 16
#: Instead of a level.
_SILENT = "nobody speaks in it"


def predict(
    files: options.Files,
    model: options.Model = options.READY,
    form: options.OutputFormat = None,
    output: options.Output = None,
    resume: options.Resume = False,
    jobs: options.Jobs = 1,
) -> None:
    """Score recordings, each as a whole.

    A row per recording: its level, the expected level, the probability of each level, and what is
    wrong with it if it cannot be used.
    """
    form = chosen_format(form, output, resume)
    places, X = find_recordings(files)
    fitted = load(model, jobs)

    from tqdm.auto import tqdm

    from sklearn_speechsent.inference.scoring import Scorer

    scorer = Scorer(fitted)
    columns = [name for name in PLACE if any(name in place for place in places)]
    columns += [*scorer.columns, "error"]
    done = set()
    if resume and output is not None:
        check_one_line((place["file"] for place in places), form)
        done = {_key(row) for row in rows_there(output, form, columns)}
    left = [row for row, place in enumerate(places) if _key(place) not in done]
    failed = 0
    with written(columns, form, output, append=resume) as write:
        bar = tqdm(total=len(places), initial=len(places) - len(left), unit="rec", disable=None)
        size = _BATCH * max(1, abs(jobs))
        with bar:
            for first in range(0, len(left), size):
                batch = left[first : first + size]
                found = _scored(scorer, [X[row] for row in batch])
                failed += sum(row.get("error", _SILENT) != _SILENT for row in found)
                write(places[row] | each for row, each in zip(batch, found, strict=True))
                bar.update(len(batch))
    if failed:
        print(f"{failed} of {len(left)} recordings could not be scored.", file=sys.stderr)
        raise typer.Exit(1)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    """What tells a row from others, the same in csv, where all is text."""
    values = (row.get(name) for name in PLACE)
    return tuple("" if value in (None, "") else _text(value) for value in values)


def _text(value: Any) -> str:
    try:
        return repr(float(value))
    except ValueError:
        return str(value)


def _scored(scorer: Any, rows: list[Any]) -> list[dict[str, Any]]:
    """Columns of each row."""
    found = one_by_one(partial(_values, scorer), rows)
    return [_columns(scorer, row, values) for row, values in zip(rows, found, strict=True)]


def _columns(scorer: Any, row: Any, values: Any) -> dict[str, Any]:
    if isinstance(values, Exception):
        return {"error": problem(values, row["file"] if isinstance(row, dict) else "")}
    row = scorer.row(values)
    # Not a failure: it is an answer, of which the reader wants to know the reason.
    return row | {"error": _SILENT} if row["expected"] != row["expected"] else row


def _values(scorer: Any, rows: list[Any]) -> list[Any]:
    return list(scorer.of(as_input(rows)))
