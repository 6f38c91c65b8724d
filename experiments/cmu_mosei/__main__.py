"""The paper's experiment on CMU-MOSEI, from the recordings to its table.

    python examples/cmu_mosei.py --audio-dir CMU_MOSEI/Audio/Full --out results
    python examples/cmu_mosei.py --audio-dir ... --out trial --limit 20 --epochs 2   # a trial
    python examples/cmu_mosei.py --audio-dir ... --out results --systems light,recommended

Official folds: fitted on train, validated on valid, scored once on test. The rows are the constant
predictors, the two light routes, and the five networks of the paper, each head of a two-headed one
being a row. Needed are the audio (see load_cmu_mosei for how it may lie) and a table of the labels.

What is done is kept in --out: features per segment, the state of a network in training every
minute, finished rows. Stopped at any moment, by Ctrl-C, kill -9 or a power cut, the same command
goes on from there. Other settings or data never get the results of these.

Written after each row: table.md and table.json; labels.png, confusion.png (with matplotlib) and
report.csv, what was wrong with which segment. docs/cmu_mosei.md says what it takes.
"""

import argparse
import os
import shlex
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _cmu_mosei_corpus import FOLDS, describe, load
from _cmu_mosei_features import connect, extract, rehearse
from _cmu_mosei_files import key_of, read_row, write_row
from _cmu_mosei_table import (
    LEVELS,
    NETWORKS,
    choose,
    draw,
    draw_best,
    score,
    write_table,
)
from sklearn.base import is_classifier
from sklearn.dummy import DummyRegressor

import sklearn_speechsent
from sklearn_speechsent import FeatureStore, make_sentiment_pipeline
from sklearn_speechsent.datasets import LabelDistributionDisplay
from sklearn_speechsent.metrics import polarity_from_proba

#: Rows beside the constant ones; the light routes come first, as they take the least.
SYSTEMS = ("light", "recommended", *NETWORKS)


# -- 1. The systems --------------------------------------------------------------------------------


def make_system(name, args, store):
    """One of the rows, as an unfitted Pipeline.

    From the paper, and defaults of the package: 80 mel bins per 10 ms, chunks of 4 s, SpecAugment,
    all levels drawn equally often, Adam at 1e-3, CORAL and absolute error with equal weights. The
    paper divides the learning rate by 10 "when training converges"; here: when the loss on valid
    has not fallen for two epochs. Its number of epochs is not known: training ends when that loss
    has not fallen for five, and the best state counts. The speaker network is the best at hand,
    which is not the paper's own.
    """
    system = make_sentiment_pipeline(
        None if name == "recommended" else name,
        levels=LEVELS,
        memory=store,
        n_jobs=args.jobs,
        random_state=args.seed,
    )
    if name in NETWORKS:
        system.set_params(
            net__max_epochs=args.epochs,
            net__lr_schedule="plateau",
            net__early_stopping=True,
            net__precision=args.precision,
            net__device=args.device,
            net__resume=args.out / "checkpoints",
            net__verbose=args.verbose,
        )
    return system


# -- 2. The rows -----------------------------------------------------------------------------------


def constant_rows(folds):
    """What every system has to beat."""
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

    The validation fold goes through the fitted steps by hand. It could be routed through the
    Pipeline (enable_metadata_routing, transform_input=["X_val"]); this way it is plain to see.
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
    readings = read(model, frames["test"])
    history = getattr(model, "history_", None)
    return {
        "readings": readings,
        "epochs": None if history is None else len(history),
        "fit_seconds": time.perf_counter() - started,
    }


def read(model, frames):
    """Predictions and polarity by each head."""
    if not is_classifier(model):
        intensities = model.predict(frames).tolist()
        return {"intensities": [intensities, intensities]}
    # A rounded level is 0, and so negative, wherever the neutral level wins. The probabilities of
    # both sides tell polarity better.
    polarity = polarity_from_proba(model.predict_proba(frames), LEVELS)
    readings = {"levels": [model.predict(frames).tolist(), polarity.tolist()]}
    if getattr(model, "two_headed", False):
        readings |= read(model.as_regressor(), frames)
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
    """Everything, in order."""
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
    draw(
        args.out / "labels.png",
        lambda: LabelDistributionDisplay.from_labels(y, y_test=y_test, levels=LEVELS),
    )
    store = FeatureStore(args.out / "features", dtype="float16" if args.float16 else None)
    systems = {name: make_system(name, args, store) for name in args.systems}
    document = {
        "command": command,
        "settings": settings_of(args),
        "corpus": corpus,
        "notes": notes,
        "rows": [],
        "failed": {},
    }

    # A result is read back if everything that it depends on is as it was; files are told apart by
    # size and time of change.
    files = {file: (os.path.getsize(file), os.path.getmtime(file)) for file in X["file"].unique()}
    data = X.to_csv(), [folds[name][1] for name in FOLDS], files, store.dtype
    paths = {name: args.out / "rows" / f"{key_of(s, *data)}.json" for name, s in systems.items()}
    results = {name: read_row(path) for name, path in paths.items()}
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
        # The steps before the last learn nothing from the data, so what they make of a segment is
        # made once and kept, for all systems, folds and epochs.
        steps = {name: system[:-1] for name, system in left.items()}
        rehearse(steps, X, store)
        extract(steps, X, connection)
    if connection is not None:  # training takes one machine
        connection.close()
    for name, system in left.items():
        print(f"Fit: {name}")
        try:
            results[name] = fit_and_read(system, folds)
        except Exception as exception:  # the other rows may well succeed
            traceback.print_exc()
            document["failed"][name] = f"{type(exception).__name__}: {exception}"
        else:
            write_row(paths[name], results[name])
        report()
    draw_best(args.out, document["rows"], results, y_test)
    print(f"\n{(args.out / 'table.md').read_text(encoding='utf-8')}")
    return 1 if document["failed"] else 0


def settings_of(args):
    """What the table says of how it was made."""
    return {
        "speaker network": make_sentiment_pipeline("light")["srext"].weights,
        "epochs": f"at most {args.epochs}",
        "precision": args.precision,
        "features": "float16" if args.float16 else "float32",
        "device": args.device,
        "seed": args.seed,
        "sklearn_speechsent": sklearn_speechsent.__version__,
    }


def parse(argv):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--audio-dir", type=Path, help="folder of the audio (cmu_mosei in SPEECHSENT_DATA)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument(
        "--labels", type=Path, help="CSV (labels.csv in --audio-dir, else in SPEECHSENT_DATA)"
    )
    parser.add_argument(
        "--systems", default="all", help=f"names or parts of them, of: {', '.join(SYSTEMS)} (all)"
    )
    parser.add_argument("--epochs", type=int, default=30, help="of a network at most (30)")
    parser.add_argument("--limit", type=int, help="only so many videos of each fold: a trial run")
    parser.add_argument("--jobs", type=int, default=-1, help="threads (-1: all cores)")
    parser.add_argument("--device", default="cpu", help="of the networks: cpu (default), cuda")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--scheduler", help="Dask cluster for extraction, e.g. tcp://host:8786")
    parser.add_argument("--float16", action="store_true", help="keep features in half the space")
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
    return args


def main(argv=None):
    """Run the experiment; 0, 1 if a row failed, 2 if it cannot be done, 130 if interrupted."""
    args = parse(argv)
    arguments = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "examples/cmu_mosei.py", *map(str, arguments)])
    try:
        return run(args, command)
    except KeyboardInterrupt:
        print(f"\nInterrupted. To go on from here: {command}", file=sys.stderr)
        return 130
    except (OSError, ValueError) as exception:  # bad recordings and a full disk among them
        print(f"cmu_mosei.py: {exception}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
