"""``speechsent fit``: a model from a table of recordings and labels."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sklearn_speechsent.cli import options

Manifest = Annotated[
    Path,
    typer.Argument(
        help="Table (.csv, .tsv, .parquet) with the columns file and label; speaker, start, end, "
        "channel and split if there are any.",
        show_default=False,
    ),
]
AudioDir = Annotated[
    Path | None, typer.Option(help="Folder of the files; by default that of the table.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="Name of a column, as label=rating. May be repeated."),
]
Levels = Annotated[
    str | None, typer.Option(help="The scale, as -2,-1,0,1,2. By default whole numbers.")
]
System = Annotated[str, typer.Option(help="small, medium, large, finetuned, or one of the paper.")]
Target = Annotated[str, typer.Option(help="level, or intensity where labels are means of ratings.")]
Perturb = Annotated[
    bool, typer.Option("--perturb/--plain", help="Train on perturbed copies too, for robustness.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Parameter of the pipeline, as C=3 or mfb__n_mels=64. Repeatable."),
]
Memory = Annotated[
    Path | None, typer.Option(help="Folder in which features are stored, so that work resumes.")
]
Seed = Annotated[int | None, typer.Option(help="random_state of the training of networks.")]


def fit(
    manifest: Manifest,
    out: Annotated[Path, typer.Option("--out", "-o", help="Bundle: a folder, or a file .zip.")],
    system: System = "small",
    target: Target = "level",
    perturb: Perturb = False,
    settings: Settings = None,
    levels: Levels = None,
    columns: Columns = None,
    audio_dir: AudioDir = None,
    split: Annotated[str | None, typer.Option(help="Rows of this split only, as train.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the recordings.")] = None,
    memory: Memory = None,
    seed: Seed = None,
    jobs: options.Jobs = -1,
) -> None:
    """Fit a model and save it as a bundle."""
    corpus = labelled(manifest, audio_dir, levels, columns, split)
    model = untrained(system, target, perturb, settings, corpus, memory, seed, jobs)

    from sklearn_speechsent.deploy import save_model

    model.fit(corpus.data, corpus.target)
    path = save_model(model, out, corpus=manifest.name, licence=licence)
    print(f"Fitted on {len(corpus.target)} recordings and saved: {path}", file=sys.stderr)


def labelled(
    manifest: Path,
    audio_dir: Path | None,
    levels: str | None,
    columns: list[str] | None,
    split: str | None = None,
) -> Any:
    """Corpus of a table.

    Parameters
    ----------
    manifest : Path
    audio_dir : Path or None
    levels : str or None
        Numbers between commas.
    columns : list of str or None
        As ``label=rating``.
    split : str, optional

    Returns
    -------
    Bunch
        Of :func:`~sklearn_speechsent.datasets.load_manifest`.

    Raises
    ------
    ValueError
        If the table or an option is not what it can be.
    """
    from sklearn_speechsent.datasets import load_manifest

    names = _pairs("--column", columns)
    corpus: Any = load_manifest(
        manifest,
        audio_dir=audio_dir,
        levels=None if levels is None else [_number(part) for part in levels.split(",")],
        columns={old: new for new, old in names.items()} or None,
    )
    if split is None:
        return corpus
    if "split" not in corpus:
        raise ValueError(f"{manifest} has no column 'split', of which --split would take a part.")
    chosen = corpus.split == split
    if not chosen.any():
        raise ValueError(f"{manifest} has no split {split!r}, only {set(corpus.split)}.")
    corpus.data, corpus.target = corpus.data[chosen], corpus.target[chosen]
    corpus.groups = corpus.groups[chosen]
    return corpus


def untrained(
    system: str,
    target: str,
    perturb: bool,
    settings: list[str] | None,
    corpus: Any,
    memory: Path | None,
    seed: int | None,
    jobs: int,
) -> Any:
    """Model of the options, for the levels of a corpus.

    Parameters
    ----------
    system, target, perturb, settings, memory, seed, jobs
        See the options.
    corpus : Bunch

    Returns
    -------
    estimator
    """
    from sklearn_speechsent.audio import WaveformPerturbation
    from sklearn_speechsent.pipeline import make_sentiment_pipeline

    params = {name: _value(text) for name, text in _pairs("--set", settings).items()}
    if target == "level":
        params.setdefault("levels", corpus.levels.tolist())
    model = make_sentiment_pipeline(
        system,
        target=target,
        memory=None if memory is None else str(memory),
        n_jobs=jobs,
        random_state=seed,
        verbose=int(sys.stderr.isatty()),
        **params,
    )
    return WaveformPerturbation(model, random_state=seed or 0) if perturb else model


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option} {text!r} must have the form name=value.")
        pairs[name.strip()] = value.strip()
    return pairs


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"--levels: {text!r} is not a number.") from None
    return int(number) if number.is_integer() else number


def _value(text: str) -> Any:
    """Number, tuple, None, True or False; anything else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
