"""Experiment of the paper on CMU-MOSEI, from the recordings to its table.

    python -m experiments.cmu_mosei --audio-dir CMU_MOSEI/Audio/Full --out results
    python -m experiments.cmu_mosei --audio-dir ... --out trial --limit 20 --epochs 2   # a trial
    python -m experiments.cmu_mosei --audio-dir ... --out results --systems small,medium

Official folds: fitted on train, validated on valid, scored once on test. The rows are the constant
predictors, small, medium, and the five networks of the paper, each head of a two-headed one being a
row. Needed are the audio (see load_cmu_mosei for its layout) and a table of the labels.

Features per segment, the state of a network in training every minute, and finished rows are stored
in --out: interrupted at any moment, by Ctrl-C, kill -9 or a power cut, the same command resumes
from there. Results of other settings or data are never mixed up with these.

Written after each row: table.md and table.json; labels.png, confusion.png (with matplotlib) and
report.csv with the faults of segments. docs/results/cmu_mosei.md tells time and space.
"""

import os
import shlex
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import is_classifier
from sklearn.dummy import DummyRegressor

import sklearn_speechsent
from experiments._harness.command import choose, make_parser
from experiments._harness.pictures import draw_display
from experiments._harness.results import Results, epoch_seconds, key_of
from experiments._harness.systems import SHIPPED, WESPEAKER
from experiments.cmu_mosei.corpus import FOLDS, describe, load
from experiments.cmu_mosei.features import connect, extract, rehearse
from experiments.cmu_mosei.table import LEVELS, NETWORKS, draw_best, score, write_table
from sklearn_speechsent import FeatureStore, make_sentiment_pipeline
from sklearn_speechsent.datasets import LabelDistributionDisplay
from sklearn_speechsent.metrics import polarity_from_proba
from sklearn_speechsent.pretrained import has_weights

#: Rows other than the constant ones, those that take the least first.
SYSTEMS = ("small", "medium", *NETWORKS)


# -- 1. The systems --------------------------------------------------------------------------------


def make_row(name, args, store):
    """Unfitted Pipeline of one of the rows.

    From the paper, and defaults of the package: 80 mel bins per 10 ms, chunks of 4 s, SpecAugment,
    all levels drawn equally often, Adam at 1e-3, CORAL and absolute error with equal weights. The
    paper divides the learning rate by 10 "when training converges"; here: when the loss on valid
    has not fallen for two epochs. Its number of epochs is not known: training ends when that loss
    has not fallen for five, and the best state counts. The speaker network is not the paper's own.
    """
    shared = {"memory": store, "n_jobs": args.jobs, "random_state": args.seed, "on_error": "nan"}
    if name not in NETWORKS:
        return make_sentiment_pipeline(name, levels=LEVELS, **shared)
    return make_sentiment_pipeline(
        name,
        weights=args.weights,
        levels=LEVELS,
        max_epochs=args.epochs,
        lr_schedule="plateau",
        early_stopping=True,
        precision=args.precision,
        device=args.device,
        net__verbose=args.verbose,
        **shared,
    )


# -- 2. The rows -----------------------------------------------------------------------------------


def constant_rows(folds):
    """Rows of the predictors that every system should beat."""
    (X, y, _), (X_test, y_test, _) = folds["train"], folds["test"]
    for name, model in {
        f"constant: median of train ({np.median(y):g})": DummyRegressor(strategy="median"),
        "constant: always 0": DummyRegressor(strategy="constant", constant=0.0),
    }.items():
        predictions = model.fit(X, y).predict(X_test)
        figures = score(y_test, predictions, predictions)
        yield {"system": name, "reading": "", **figures, "fit_seconds": 0.0, "epochs": None}


def fit_and_read(system, folds):
    """Fit on train and predict test.

    The validation fold goes through the fitted steps by hand, which is easier to follow than
    routing it through the Pipeline (enable_metadata_routing, transform_input=["X_val"]).
    """
    started = time.perf_counter()
    steps, model = system[:-1], system[-1]
    frames = {
        "train": steps.fit_transform(folds["train"][0]),
        "valid": steps.transform(folds["valid"][0]),
        "test": steps.transform(folds["test"][0]),
    }
    if "early_stopping" in model.get_params():
        validation = {"X_val": frames["valid"], "y_val": folds["valid"][1]}
        model.fit(frames["train"], folds["train"][1], **validation)
    else:
        model.fit(frames["train"], folds["train"][1])
    readings = read(model, frames["test"], np.median(folds["train"][1]))
    history = getattr(model, "history_", None)
    return {
        "readings": readings,
        "epochs": None if history is None else len(history),
        "fit_seconds": max(time.perf_counter() - started, epoch_seconds(model)),
    }


def read(model, frames, otherwise):
    """Predictions and polarity by each head; ``otherwise`` where nobody speaks."""
    predictions = model.predict(frames).astype(float)
    scored = ~np.isnan(predictions)
    predictions[~scored] = otherwise
    if not is_classifier(model):
        return {"intensities": [predictions.tolist(), predictions.tolist()]}
    # A rounded level is 0, and so negative, wherever the neutral level wins: probabilities of both
    # sides are better for polarity.
    polarity = predictions.copy()
    polarity[scored] = polarity_from_proba(model.predict_proba(frames)[scored], LEVELS)
    readings = {"levels": [predictions.tolist(), polarity.tolist()]}
    if getattr(model, "two_headed", False):
        readings |= read(model.as_regressor(), frames, otherwise)
    return readings


def rows_of(name, result, y):
    """Rows of the table, one for each reading of a system."""
    for reading, (predictions, polarity) in result["readings"].items():
        yield {
            "system": name,
            "reading": reading,
            **score(y, np.array(predictions), np.array(polarity)),
            "fit_seconds": result["fit_seconds"],
            "epochs": result["epochs"],
        }


# -- The experiment --------------------------------------------------------------------------------


def run(args, command):
    """Load, extract, fit and report."""
    args.out.mkdir(parents=True, exist_ok=True)
    connection = connect(args.scheduler)
    folds, notes = load(
        args.audio_dir,
        args.labels,
        limit=args.limit,
        report=args.out / "report.csv",
        n_jobs=args.jobs,
    )
    corpus = describe(folds)
    X = pd.concat([folds[name][0] for name in FOLDS], ignore_index=True)
    y, y_test = folds["train"][1], folds["test"][1]
    draw_display(
        args.out / "labels.png",
        lambda: LabelDistributionDisplay.from_labels(y, y_test=y_test, levels=LEVELS),
    )
    store = FeatureStore(args.out / "features", dtype="float16" if args.float16 else None)
    systems = {name: make_row(name, args, store) for name in args.systems}
    document = {
        "command": command,
        "settings": settings_of(args),
        "corpus": corpus,
        "notes": notes,
        "rows": [],
        "failed": {},
    }

    # A result depends on all of these; files are told apart by size and time of change.
    files = {file: (os.path.getsize(file), os.path.getmtime(file)) for file in X["file"].unique()}
    data = X.to_csv(), [folds[name][1] for name in FOLDS], files, store.dtype
    stored = Results(args.out / "rows")
    keys = {name: key_of(system, *data) for name, system in systems.items()}
    results = {name: stored.get(key) for name, key in keys.items()}
    left = {name: system for name, system in systems.items() if results[name] is None}
    if len(left) < len(systems):
        print(f"Read back: {', '.join(name for name in systems if name not in left)}")

    def report():
        document["rows"] = list(constant_rows(folds))
        for name in systems:
            if results[name] is not None:
                document["rows"] += rows_of(name, results[name], y_test)
        write_table(args.out, document)

    report()
    if left:
        # The steps before the last learn nothing from the data: features of a segment are computed
        # once, for all systems, folds and epochs.
        steps = {name: system[:-1] for name, system in left.items()}
        rehearse(steps, X, store)
        extract(steps, X, connection)
    if connection is not None:  # training takes one machine
        connection.close()
    for name, system in left.items():
        print(f"Fit: {name}")
        try:
            with stored.resuming(keys[name], system):
                results[name] = stored.put(keys[name], fit_and_read(system, folds))
        except Exception as exception:  # the other rows may succeed
            traceback.print_exc()
            document["failed"][name] = f"{type(exception).__name__}: {exception}"
        report()
    draw_best(args.out, document["rows"], results, y_test)
    print(f"\n{(args.out / 'table.md').read_text(encoding='utf-8')}")
    return 1 if document["failed"] else 0


def settings_of(args):
    """Settings as the table shows them."""
    return {
        "speaker network of the networks": args.weights,
        "epochs": f"at most {args.epochs}",
        "precision": args.precision,
        "features": "float16" if args.float16 else "float32",
        "device": args.device,
        "seed": args.seed,
        "sklearn_speechsent": sklearn_speechsent.__version__,
    }


def parse(argv):
    """Read the command line."""
    parser = make_parser(__doc__, out="folder of all that is written")
    parser.add_argument(
        "--audio-dir", type=Path, help="folder of the audio (cmu_mosei in SPEECHSENT_DATA)"
    )
    parser.add_argument(
        "--labels", type=Path, help="CSV (labels.csv in --audio-dir, else in SPEECHSENT_DATA)"
    )
    parser.add_argument(
        "--systems", default="all", help=f"names or parts of them, of: {', '.join(SYSTEMS)} (all)"
    )
    parser.add_argument(
        "--weights", default=WESPEAKER, help=f"of the paper's networks ({WESPEAKER}; {SHIPPED})"
    )
    parser.add_argument("--epochs", type=int, default=30, help="of a network at most (30)")
    parser.add_argument("--limit", type=int, help="videos of each fold, for a trial")
    parser.add_argument("--jobs", type=int, default=-1, help="threads (-1: all cores)")
    parser.add_argument("--device", default="cpu", help="of the networks: cpu (default), cuda")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--scheduler", help="Dask cluster for extraction, e.g. tcp://host:8786")
    parser.add_argument("--float16", action="store_true", help="store features in half the space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show epochs")
    args = parser.parse_args(argv)
    if args.epochs < 1 or (args.limit is not None and args.limit < 1):
        parser.error("--epochs and --limit must be at least 1.")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no such device here. Use --device cpu.")
    try:
        args.systems = choose(args.systems, SYSTEMS)
    except ValueError as exception:
        parser.error(str(exception))
    needed = {WESPEAKER if n == "medium" else args.weights for n in args.systems if n != "small"}
    if WESPEAKER in needed and not has_weights(WESPEAKER):
        parser.error(
            f"The weights {WESPEAKER!r} are not in the data home. Get them once by fetch_weights("
            f"{WESPEAKER!r}), or take --weights {SHIPPED} and leave out medium (--systems)."
        )
    return args


def main(argv=None):
    """Run the experiment; 0, 1 if a row failed, 2 if it cannot be done, 130 if interrupted."""
    args = parse(argv)
    arguments = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "-m", "experiments.cmu_mosei", *map(str, arguments)])
    try:
        return run(args, command)
    except KeyboardInterrupt:
        print(f"\nInterrupted. To resume from here: {command}", file=sys.stderr)
        return 130
    except (OSError, ValueError) as exception:  # bad recordings and a full disk among them
        print(f"cmu_mosei: {exception}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
