"""``speechsent evaluate``: cross-validation by speaker."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.fit import (
    AudioDir,
    Columns,
    Levels,
    Manifest,
    Memory,
    Perturb,
    Seed,
    Settings,
    System,
    Target,
    labelled,
    untrained,
)
from sklearn_speechsent.cli.output import plain, written
from sklearn_speechsent.cli.recordings import PLACE


def evaluate(
    manifest: Manifest,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of scores, predictions and pictures.")
    ],
    system: System = "small",
    target: Target = "level",
    perturb: Perturb = False,
    settings: Settings = None,
    levels: Levels = None,
    columns: Columns = None,
    audio_dir: AudioDir = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Column whose values are scored one by one, as sex.")
    ] = None,
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Put the ten worst recordings into the page.")
    ] = True,
    folds: Annotated[int, typer.Option(help="Folds; no speaker is on both sides of one.")] = 5,
    memory: Memory = None,
    seed: Seed = None,
    jobs: options.Jobs = -1,
) -> None:
    """Cross-validate a system by speaker: a report, a card, scores and predictions.

    The folder has report.html, the card README.md with confusion.png, scores.json and
    predictions.csv.
    """
    corpus = labelled(manifest, audio_dir, levels, columns)
    speakers = len(set(corpus.groups))
    if not 2 <= folds <= speakers:
        raise ValueError(
            f"--folds {folds} must be from 2 to the number of speakers, which is {speakers}."
        )
    groupings = {name: column(corpus.frame, name) for name in by or []}
    memory = out / "features" if memory is None else memory
    model = untrained(system, target, perturb, settings, corpus, memory, seed, jobs)

    from sklearn_speechsent.inspection import report

    out.mkdir(parents=True, exist_ok=True)
    found = report(
        model,
        corpus.data,
        corpus.target,
        groups=corpus.groups,
        path=out / "report.html",
        by=groupings,
        cv=folds,
        levels=corpus.levels,
        audio=audio,
        verbose=int(sys.stderr.isatty()),
        title=f"{system} on {manifest.name}",
        dataset=manifest.name,
    )
    found.card.save(out)
    _save_rows(out / "predictions.csv", corpus.frame, found.predictions)
    scores = {name: plain(value) for name, value in found.card.figures.items()}
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    print(found.card.measured["Scores"])
    print(f"Written: {out}", file=sys.stderr)


def column(frame: Any, name: str) -> Any:
    """Column of a table of recordings.

    Parameters
    ----------
    frame : DataFrame
    name : str

    Returns
    -------
    Series

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in frame:
        raise ValueError(f"--by {name}: the table has the columns {', '.join(frame)}.")
    return frame[name]


def _save_rows(path: Path, frame: Any, predictions: Any) -> None:
    """Table of predictions, with the places of the recordings."""
    table = predictions.rename(columns={"truth": "label"}).reset_index(drop=True)
    for place in reversed([name for name in PLACE if name in frame]):
        table.insert(0, place, frame[place].to_numpy())
    with written(list(table), options.Format.csv, path) as write:
        write(table.to_dict("records"))
