"""Settings of the system "finetuned", each changed by itself, on half of the speakers.

    python -m experiments.finetuned --out results/finetuned.json --speakers 1-12

Every setting is trained on the same folds of speakers, from several seeds, and compared with
"medium", whose network it tunes, and with the settings as ``make_sentiment_pipeline("finetuned")``
has them. Choose with some speakers, and look at the others afterwards. Each fold's result is stored
in FILE_folds: the same command resumes.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from skorch.callbacks import Freezer, Unfreezer

from experiments._harness.command import choose, make_parser
from experiments._harness.corpus import Corpus, load_corpus
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import draw_losses
from experiments._harness.sentiment import SCORES
from experiments._harness.systems import WESPEAKER, lacks_weights
from experiments._harness.tables import duration, table_of
from experiments.table1.protocol import Runner
from experiments.table1.rows import CONSTANT, Row, Settings, row_of
from sklearn_speechsent import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    VoiceActivityDetector,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.nn import SpecAugment

#: Rows of table 1 to compare with.
OTHERS = (CONSTANT, "medium")
BASE = "as it is"
#: Rates of the tuned block.
_RATE = "optimizer__param_groups"


def _rate(lr: float) -> dict[str, Any]:
    return {_RATE: [("stext.*", {"lr": lr})]}


def thaw(pattern: str, epoch: int) -> list[Any]:
    """Callbacks that let weights learn from an epoch on.

    Parameters
    ----------
    pattern : str
        Of the names of weights.
    epoch : int
        Counted from 1.

    Returns
    -------
    list of (str, Callback)
    """
    return [("freeze", Freezer(pattern)), ("thaw", Unfreezer(pattern, at=epoch))]


#: Changes, by name: parameters, and what `make` makes of "vad", "spe", "copies" and "speeds".
SETTINGS: dict[str, dict[str, Any]] = {
    BASE: {},
    "3 epochs": {"max_epochs": 3},
    "12 epochs": {"max_epochs": 12},
    "rate of the block 1e-4": _rate(1e-4),
    "rate of the block 4e-4": _rate(4e-4),
    "rate of the head 3e-4": {"lr": 3e-4},
    "rate of the head 3e-3": {"lr": 3e-3},
    "batches of 16": {"batch_size": 16},
    "chunks of 2 s": {"chunk_duration": 2.0},
    "chunks of 4 s": {"chunk_duration": 4.0},
    "levels as they are": {"sampling_exponent": 0.0},
    "levels alike": {"sampling_exponent": 1.0},
    "dropout 0.1": {"module__dropout": 0.1},
    "dropout 0.5": {"module__dropout": 0.5},
    "weight decay 0.1": {"optimizer__weight_decay": 0.1},
    "hidden size 512": {"module__hidden_size": 512},
    "average of 3 epochs": {"average_epochs": 3},
    "block frozen at first": {"max_epochs": 10, "callbacks": thaw("stext.*", 5)},
    "detector": {"vad": "detector"},
    "masks in time": {"spec_augment": SpecAugment(n_frequency_masks=0)},
    "attentive decoder": {"module__decoder": "attentive"},
    "CGD decoder": {"module__decoder": "cgd"},
    "blocks 3 and 4": {"module__stext": 34},
    "two heads": {"two_headed": True},
    "CORAL": {"ordinal": "coral"},
    "CORN": {"ordinal": "corn"},
    "CONDOR": {"ordinal": "condor"},
    "cumulative links": {"ordinal": "clm"},
    "cross-entropy": {"ordinal": "ce"},
    "SpE": {"spe": "embedding"},
    "shipped network": {"weights": "speechsent-seresnet"},
    "speeds averaged": {"speeds": True},
    "copies, 2 epochs": {"copies": True, "max_epochs": 2},
    "copies, 4 epochs": {"copies": True, "max_epochs": 4},
    "copies, 6 epochs": {"copies": True, "max_epochs": 6},
}


def make(changes: dict[str, Any], settings: Settings) -> Any:
    """Estimator of a setting, unfitted.

    Parameters
    ----------
    changes : dict
        Of `SETTINGS`.
    settings : Settings

    Returns
    -------
    estimator
    """
    # A fit sets up the callbacks that it is given: each estimator needs its own.
    changes = deepcopy(changes)
    copies, speeds = changes.pop("copies", False), changes.pop("speeds", False)
    extraction = settings.extraction()
    if "vad" in changes:
        changes["vad"] = VoiceActivityDetector(**extraction)
    if "spe" in changes:
        embedder = SpeakerEmbedder(WESPEAKER, device=settings.device, **extraction)
        changes["spe"] = SpeakerEmbeddingFusion(embedder)
    pipeline = make_sentiment_pipeline(
        "finetuned",
        levels=settings.levels,
        precision=settings.precision,
        **settings.system(),
        **changes,
    )
    if copies:
        return WaveformPerturbation(pipeline, random_state=settings.seed)
    if speeds:
        return WaveformPerturbation(pipeline, speeds=(), conditions=())
    return pipeline


def speakers_of(text: str) -> list[int]:
    """Numbers of speakers: ``"1-12"`` is the first twelve.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of int
    """
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def only(corpus: Corpus, speakers: list[int]) -> Corpus:
    """Recordings of some speakers.

    Parameters
    ----------
    corpus : Corpus
    speakers : list of int

    Returns
    -------
    Corpus

    Raises
    ------
    ValueError
        If there are none.
    """
    rows = np.isin(corpus.groups, speakers)
    if not rows.any():
        raise ValueError(f"{corpus.name} has no speakers {speakers[0]} to {speakers[-1]}.")
    X = corpus.X[rows].reset_index(drop=True)
    return replace(corpus, X=X, y=corpus.y[rows], groups=corpus.groups[rows])


def parse(argv: Any) -> Any:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--speakers", default="1-12", help="numbers of actors of RAVDESS (1-12)")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--settings", default="all", help="names or parts of them (all)")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu")
    add_run_options(parser)
    return parser.parse_args(argv)


def as_markdown(document: dict[str, Any]) -> list[str]:
    """Lines of the table."""
    seeds: dict[str, list[dict[str, Any]]] = {}
    for row in document["rows"]:
        seeds.setdefault(row["name"], []).append(row)
    rows = []
    for name, runs in seeds.items():
        cells = []
        for score in SCORES:
            values = [run[score] for run in runs]
            spread = f" ± {np.std(values):.3f}" if score == "mae" and len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        cells.append(duration(np.mean([run["fit_seconds"] for run in runs]), decimals=1))
        rows.append([name, str(len(runs)), *cells])
    settings = document["settings"]
    return [
        *table_of(["setting", "seeds", *SCORES.values(), "time"], rows),
        f"RAVDESS, actors {settings['speakers']}, {settings['folds']} folds over speakers; "
        f"{settings['precision']} in training, {settings['device']}; `{document['command']}`",
        "",
        "± is the standard deviation over seeds. Time: fit of all folds.",
        "",
        *remarks(document),
    ]


def prepare(args: Any, stored: Any, shared: dict[str, Any]) -> Experiment:
    """Find corpus and settings of the command line; see `run_experiment`."""
    corpus = only(load_corpus("ravdess"), speakers_of(args.speakers))
    folds = corpus.folds(args.folds)
    common = Settings(
        corpus.levels,
        precision=args.precision,
        jobs=shared["n_jobs"],
        memory=shared["memory"],
        device=args.device,
    )
    runs = {name: (row_of(name), Runner(corpus, folds, common, stored)) for name in OTHERS}
    for seed in range(args.seeds):
        runner = Runner(corpus, folds, replace(common, seed=seed), stored)
        for name in choose(args.settings, list(SETTINGS), "setting"):
            row = Row(name, partial(make, SETTINGS[name]))
            runs[f"{name}, seed {seed}"] = (row, runner)

    def fold(run: Any, number: int) -> Any:
        row, runner = run
        return runner.fold(row, number)

    def add(document: dict[str, Any], run: Any, results: list[Any]) -> None:
        row, runner = run
        document["rows"] += runner.score(row, results)

    def draw(path: Any, document: dict[str, Any]) -> None:
        losses = {row["name"]: row["losses"] for row in document["rows"] if row["epochs"]}
        draw_losses(path, losses)

    lacks = lacks_weights(WESPEAKER)
    document = {
        "settings": {
            "speakers": args.speakers,
            "folds": len(folds),
            "precision": args.precision,
            "device": args.device,
        },
        "rows": [],
        "skipped": dict.fromkeys(runs, lacks) if lacks else {},
    }
    return Experiment(document, {} if lacks else runs, len(folds), fold, add, as_markdown, draw)


def main(argv: Any = None) -> int:
    """Run the search; see `run_experiment` for the exit codes."""
    return run_experiment("experiments.finetuned", prepare, parse(argv), argv)


if __name__ == "__main__":
    raise SystemExit(main())
