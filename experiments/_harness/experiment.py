"""Experiments over folds: tables that grow run by run, and resume where they were interrupted."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from tqdm.auto import tqdm

from experiments._harness.results import Results
from experiments._harness.tables import save


@dataclass(frozen=True)
class Experiment:
    """What is computed in each fold, and what is written of it.

    Parameters
    ----------
    document : dict
        What is known before the first run; ``skipped`` has reasons by name.
    runs : dict of str to object
        What ``fold`` and ``add`` are given, by title.
    n_folds : int
    fold : callable
        Result of a run in the fold of this number.
    add : callable
        Scores the results of a run, one per fold, and puts them into a document.
    as_markdown : callable
        Lines of the report on a document.
    draw : callable
        Draws a document into a file; only called where matplotlib is installed.
    """

    document: dict[str, Any]
    runs: dict[str, Any]
    n_folds: int
    fold: Callable[[Any, int], Any]
    add: Callable[[dict[str, Any], Any, list[Any]], None]
    as_markdown: Callable[[dict[str, Any]], list[str]]
    draw: Callable[[Path, dict[str, Any]], None]


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options that `run_experiment` needs, except for ``--out``.

    Parameters
    ----------
    parser : ArgumentParser
    """
    parser.add_argument("--jobs", type=int, default=1, help="threads (1); -1 uses all cores")
    parser.add_argument("--memory", type=Path, help="folder of features (features, next to --out)")
    parser.add_argument(
        "--processes", type=int, default=1, help="folds that are computed at the same time (1)"
    )


def run_experiment(
    name: str,
    prepare: Callable[[Namespace, Results, dict[str, Any]], Experiment],
    options: Namespace,
    argv: Sequence[str] | None,
) -> int:
    """Compute all runs; write FILE.json and FILE.md after each, and in the end FILE.png.

    Parameters
    ----------
    name : str
        Module of ``python -m``.
    prepare : callable
        Makes the experiment of the options, of the results of folds so far, which lie in
        FILE_folds, and of the parameters ``memory`` and ``n_jobs``. What it finds wrong is an
        OSError or a ValueError.
    options : Namespace
    argv : sequence of str or None
        Arguments, if they are not those of the command line.

    Returns
    -------
    int
        0; 1 if a run failed, which stops no other; 2 if arguments or corpus cannot be used; 130 if
        interrupted.
    """
    out, arguments = options.out, sys.argv[1:] if argv is None else argv
    stored = Results(out.with_name(f"{out.stem}_folds"))
    memory = (options.memory or out.parent / "features").resolve()
    try:
        experiment = prepare(options, stored, {"memory": str(memory), "n_jobs": options.jobs})
    except (OSError, ValueError) as exception:  # bad recordings among them
        print(f"{name.rpartition('.')[2]}: {exception}", file=sys.stderr)
        return 2
    command = shlex.join(["python", "-m", name, *map(str, arguments)])
    document = {"command": command, **experiment.document, "failed": {}}
    for skipped, reason in document["skipped"].items():
        print(f"Skipped: {skipped}, because {reason}.")
    n_before = len(stored)
    try:
        if options.processes > 1:
            _compute_ahead(experiment, options.processes)
        for _ in _finished(experiment, document):
            save(out, document, experiment.as_markdown(document), show=False)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command resumes from here.")
        return 130
    if importlib.util.find_spec("matplotlib") is not None:
        experiment.draw(out.with_suffix(".png"), document)
    print()
    save(out, document, experiment.as_markdown(document))
    print(f"{len(stored) - n_before} results computed, the others read; written to {out}.")
    return 1 if document["failed"] else 0


def _compute_ahead(experiment: Experiment, n_processes: int) -> None:
    """Compute folds of all runs in processes, which store the results."""
    tasks = [
        delayed(_tried)(experiment.fold, run, number)
        for run in experiment.runs.values()
        for number in range(experiment.n_folds)
    ]
    done = Parallel(n_processes, return_as="generator_unordered", batch_size=1)(tasks)
    for _ in tqdm(done, total=len(tasks), unit="fold", dynamic_ncols=True):
        pass


def _tried(fold: Callable[[Any, int], Any], run: Any, number: int) -> None:
    """Compute a fold; what fails will fail again where failures are reported."""
    with contextlib.suppress(Exception):
        fold(run, number)


def _finished(experiment: Experiment, document: dict[str, Any]) -> Iterator[str]:
    """Compute each run, put it into the document, and give its title."""
    total = len(experiment.runs) * experiment.n_folds
    with tqdm(total=total, unit="fold", dynamic_ncols=True) as progress:
        for title, run in experiment.runs.items():
            progress.set_description(title)
            results: list[Any] = []
            try:
                for number in range(experiment.n_folds):
                    results.append(experiment.fold(run, number))
                    progress.update()
                experiment.add(document, run, results)
            except Exception as exception:
                progress.update(experiment.n_folds - len(results))
                progress.write(traceback.format_exc())
                document["failed"][title] = f"{type(exception).__name__}: {exception}"
            yield title


def remarks(document: dict[str, Any]) -> list[str]:
    """Lines of Markdown on what is not in a table, and why.

    Parameters
    ----------
    document : dict

    Returns
    -------
    list of str
    """
    return [
        f"- {kind}: {name} ({why})"
        for kind in ("skipped", "failed")
        for name, why in document[kind].items()
    ]
