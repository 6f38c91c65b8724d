"""``speechsent timeline``: sentiment of recordings over time."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.models import load, one_by_one, problem
from sklearn_speechsent.cli.output import check_one_line, chosen_format, plain, rows_there, written
from sklearn_speechsent.cli.recordings import as_input, find_recordings, read_table

#: Recordings that are followed, and written, at a time by each job.
_BATCH = 2


def timeline(
    files: options.Files,
    model: options.Model = options.READY,
    window: Annotated[float, typer.Option(help="Seconds of the windows.")] = 5.0,
    step: Annotated[float, typer.Option(help="Seconds between windows.")] = 1.0,
    channels: Annotated[
        str, typer.Option(help="mix, or separate where each speaker has one.")
    ] = "mix",
    segments: Annotated[
        str | None,
        typer.Option(
            help="Utterances: a table with file, start, end, or an RTTM file; 'whole' for none. "
            "By default they are found."
        ),
    ] = None,
    final: Annotated[bool, typer.Option("--final", help="Whole utterances only.")] = False,
    form: options.OutputFormat = None,
    output: options.Output = None,
    resume: options.Resume = False,
    jobs: options.Jobs = 1,
) -> None:
    """Follow recordings: a row per utterance, and per window of it."""
    form = chosen_format(form, output, resume)
    _, X = find_recordings(files)
    fitted = load(model)

    from tqdm.auto import tqdm

    from sklearn_speechsent.inference import sentiment_timeline
    from sklearn_speechsent.inference.scoring import Scorer

    scorer = Scorer(fitted)
    columns = ["file", "channel", "speaker", "start", "end", *scorer.columns]
    columns += ["speech", "final", "error"]
    follow = partial(
        _followed,
        sentiment_timeline,
        fitted,
        window=window,
        step=step,
        channels=channels,
        segments=_utterances(segments),
        n_jobs=jobs,
    )
    rows = _different(X)
    done = set()
    if resume and output is not None:
        check_one_line((_key(row)[0] for row in rows), form)
        there = rows_there(output, form, columns, whole_files=True)
        done = {row["file"] for row in there}
    left = [row for row in rows if _key(row)[0] not in done]
    failed = 0
    with written(columns, form, output, append=resume) as write:
        bar = tqdm(total=len(rows), initial=len(rows) - len(left), unit="rec", disable=None)
        with bar:
            size = _BATCH * max(1, abs(jobs))
            for first in range(0, len(left), size):
                batch = left[first : first + size]
                for row, found in zip(batch, one_by_one(follow, batch), strict=True):
                    if isinstance(found, Exception):
                        failed += 1
                        found = [{"error": problem(found, _key(row)[0])}]
                    lines = [_line(line, _key(row)[0]) for line in found]
                    write([line for line in lines if line.get("final", True) or not final])
                bar.update(len(batch))
    if failed:
        print(f"{failed} of {len(left)} recordings could not be followed.", file=sys.stderr)
        raise typer.Exit(1)


def _utterances(segments: str | None) -> Any:
    """What ``sentiment_timeline`` takes for ``--segments``."""
    if segments is None:
        return "speech"
    if segments == "whole":
        return None
    path = Path(segments)
    return path if path.suffix.lower() == ".rttm" else read_table(path)


def _key(row: Any) -> tuple[str, Any]:
    """File and channel of a row; standard input is called -."""
    return (row["file"], row.get("channel")) if isinstance(row, dict) else ("-", None)


def _line(line: dict[str, Any], name: str) -> dict[str, Any]:
    """Row with the name that its recording was given by, and a whole level as such."""
    level = line.get("level")
    if isinstance(level, float) and level.is_integer():
        line = line | {"level": int(level)}  # a column with NaN is of floats
    return line | {"file": name}


def _different(X: list[Any]) -> list[Any]:
    """Rows without those that name the same recording again."""
    return list({_key(row): row for row in X}.values())


def _followed(function: Any, fitted: Any, rows: list[Any], **settings: Any) -> list[Any]:
    """Rows of the time line of each recording."""
    table = function(fitted, as_input(rows), **settings)
    lines = table.to_dict("records")
    if isinstance(rows[0], bytes):
        return [lines]
    found: dict[Any, list[Any]] = {}
    for line in lines:
        for key in {(line["file"], None), (line["file"], plain(line["channel"]))}:
            found.setdefault(key, []).append(line)
    return [found.get(_key(row), []) for row in rows]
