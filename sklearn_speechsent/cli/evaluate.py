"""``speechsent evaluate``: cross-validation by speaker."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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


def evaluate(
    manifest: Manifest,
    out: Annotated[Path, typer.Option("--out", help="Folder of scores, predictions and pictures.")],
    system: System = "small",
    target: Target = "level",
    perturb: Perturb = False,
    settings: Settings = None,
    levels: Levels = None,
    columns: Columns = None,
    audio_dir: AudioDir = None,
    folds: Annotated[int, typer.Option(help="Folds; no speaker is on both sides of one.")] = 5,
    memory: Memory = None,
    seed: Seed = None,
    jobs: options.Jobs = -1,
) -> None:
    """Cross-validate a system by speaker: scores next to the constant predictor, a card.

    The folder has report.html and README.md with all tables, confusion.png, scores.json and
    predictions.csv.
    """
    corpus = labelled(manifest, audio_dir, levels, columns)
    speakers = len(set(corpus.groups))
    if not 2 <= folds <= speakers:
        raise ValueError(
            f"--folds {folds} must be from 2 to the number of speakers, which is {speakers}."
        )
    memory = out / "features" if memory is None else memory
    model = untrained(system, target, perturb, settings, corpus, memory, seed, jobs)
    predicted, proba, fold_of = _out_of_fold(model, corpus, folds)

    from sklearn_speechsent.inspection import ModelCard

    card = ModelCard.from_predictions(
        corpus.target,
        predicted,
        proba=proba,
        levels=corpus.levels,
        groups=corpus.groups,
        by={"speaker": corpus.groups},
        title=f"{system} on {manifest.name}",
        dataset=manifest.name,
    )
    out.mkdir(parents=True, exist_ok=True)
    card.save(out)
    title, picture = f"{system} on {manifest.name}", (out / "confusion.png").read_bytes()
    (out / "report.html").write_text(page(title, card.measured, picture), encoding="utf-8")
    _save_rows(out / "predictions.csv", corpus, predicted, proba, fold_of)
    scores = {name: plain(value) for name, value in card.figures.items()}
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    print(card.measured["Scores"])
    print(f"Written: {out}", file=sys.stderr)


def _out_of_fold(model: Any, corpus: Any, folds: int) -> tuple[Any, Any, Any]:
    """Predictions, probabilities (None of intensities) and folds of all recordings."""
    import numpy as np
    from sklearn.base import clone
    from tqdm.auto import tqdm

    from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

    X = corpus.data if hasattr(corpus.data, "iloc") else np.asarray(corpus.data, dtype=object)
    n = len(corpus.target)
    predicted, fold_of, proba = np.full(n, np.nan), np.zeros(n, int), None
    splits = list(StratifiedSpeakerKFold(folds).split(X, corpus.target, corpus.groups))
    for fold, (train, test) in enumerate(tqdm(splits, unit="fold", disable=None)):
        rows = X.iloc if hasattr(X, "iloc") else X
        fitted = clone(model).fit(rows[train], corpus.target[train])
        predicted[test], fold_of[test] = fitted.predict(rows[test]), fold
        if hasattr(fitted, "predict_proba"):
            if proba is None:
                proba = np.full((n, len(corpus.levels)), np.nan)
            proba[test] = fitted.predict_proba(rows[test])
    return predicted, proba, fold_of


def _save_rows(path: Path, corpus: Any, predicted: Any, proba: Any, fold_of: Any) -> None:
    names = [] if proba is None else [f"p({level:g})" for level in corpus.levels]
    columns = ["file", "start", "end", "speaker", "fold", "label", "predicted", *names]
    frame = corpus.frame
    with written(columns, options.Format.csv, path) as write:
        for row in range(len(predicted)):
            place = {k: frame[k].iloc[row] for k in ("file", "start", "end") if k in frame}
            values = {
                "speaker": corpus.groups[row],
                "fold": fold_of[row],
                "label": corpus.target[row],
                "predicted": predicted[row],
            }
            chances = {} if proba is None else dict(zip(names, proba[row], strict=True))
            write([place | values | chances])


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #8886; text-align: left; }}
td {{ font-variant-numeric: tabular-nums; }}
img {{ max-width: 100%; background: white; }}
</style></head><body>
{body}</body></html>
"""


def page(title: str, sections: Mapping[str, str], picture: bytes) -> str:
    """One page of HTML that needs no other file.

    Parameters
    ----------
    title : str
    sections : mapping of str to str
        Markdown by heading.
    picture : bytes
        PNG of the confusion of levels.

    Returns
    -------
    str
    """
    import base64
    import html

    from markdown_it import MarkdownIt

    render = MarkdownIt("commonmark", {"html": False}).enable("table").render
    title, content = html.escape(title), base64.b64encode(picture).decode()
    parts = [f"<h1>{title}</h1>\n"]
    for heading, text in sections.items():
        parts.append(render(f"## {heading}\n\n{text}"))
    parts.append(f'<img alt="Confusion of levels" src="data:image/png;base64,{content}">\n')
    return _PAGE.format(title=title, body="".join(parts))
