"""Table of our systems, classical ones and other papers' audio networks in the same folds.

    python -m experiments.table1 --corpus ravdess --out results/table1.json
    python -m experiments.table1 --corpus my/manifest.csv --out results/mine.json --rows small,tfn

Speakers never cross a split, out-of-fold predictions are pooled and scored once, and searches take
place inside the training folds. Writes FILE.json and FILE.md after each row, and in the end
FILE.png, the confusion of levels of the best row. Each fold's result is stored in FILE_folds as
soon as it exists, each epoch of a network's fit too: the same command resumes an interrupted run. A
result counts for the settings, recordings, labels and version of the package that it was made with;
after changing code within a version, delete the folder.
"""

import os
from pathlib import Path

import sklearn
import torch

import sklearn_speechsent
from experiments._harness.command import make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import draw_confusion, draw_losses
from experiments._harness.sentiment import SCORES
from experiments._harness.tables import duration, table_of
from experiments.table1.protocol import Runner
from experiments.table1.rows import ROWS, TWO_HEADS, Settings, select_rows


def parse(argv):
    """Read the command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument(
        "--corpus",
        default="ravdess",
        help="ravdess (in the data home), or a CSV with the columns file, label, speaker and, for "
        "segments, start and end (s); files relative to its folder",
    )
    parser.add_argument("--out", type=Path, help="FILE.json; other files are written next to it")
    parser.add_argument("--folds", type=int, default=8, help="over speakers (8)")
    parser.add_argument(
        "--rows",
        default="all",
        help="names or parts of them, separated by commas or semicolons, in any case (all)",
    )
    parser.add_argument("--epochs", type=int, default=8, help="of the networks (8)")
    parser.add_argument(
        "--rival-epochs", type=int, help="of the networks of other papers (those of --epochs)"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_run_options(parser)
    parser.add_argument("--chunk", type=float, default=4.0, help="seconds of a draw (4)")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu", help="of networks and frozen parts (cpu)")
    parser.add_argument(
        "--exponent",
        type=float,
        help="with which the paper's systems draw levels: 1 alike, 0 as they are (theirs: 1)",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the rows, and end")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="epochs and extraction")
    args = parser.parse_args(argv)
    if args.out is None and not args.list:
        parser.error("--out FILE.json is needed")
    if args.rival_epochs is None:
        args.rival_epochs = args.epochs
    if min(args.epochs, args.rival_epochs) < 1:
        parser.error("--epochs and --rival-epochs must be at least 1")
    return args


def as_markdown(document):
    """Lines of the table and of the text below it, in Markdown."""
    rows = [
        [
            row["name"],
            *(f"{row[score]:.3f}" for score in SCORES),
            "{:.3f} – {:.3f}".format(*row["mae_interval"]),
            str(row["epochs"] or ""),
            duration(row["fit_seconds"] + row["predict_seconds"], decimals=1),
        ]
        for row in document["rows"]
    ]
    lines = table_of(["system", *SCORES.values(), "MAE, interval", "epochs", "time"], rows)
    corpus, settings = document["corpus"], document["settings"]
    note = f" ({corpus['note']})" if corpus["note"] else ""
    exponent = 1.0 if settings["exponent"] is None else settings["exponent"]
    power = f"with their frequency to the power of {-exponent:g}"
    drawn = {0.0: "as they are", 1.0: "alike"}.get(exponent, power)
    lines += [
        f"{corpus['name']}{note}: {corpus['recordings']} recordings, {corpus['speakers']} "
        f"speakers, levels {corpus['levels'][0]} … {corpus['levels'][-1]}; {settings['folds']} "
        f"folds over speakers; networks {settings['epochs']} epochs (those of other papers "
        f"{settings['rival_epochs']}) of {settings['chunk']:g} s chunks, "
        f"{settings['precision']}, {settings['device']}; seed {settings['seed']}; the paper's "
        f"networks draw levels {drawn}; "
        f"`{document['command']}`",
        "",
        "MAE, Spearman's ρ, CCC and polarity on the predictions as they are, the rest on "
        "predictions rounded to levels. Intervals are 95 %, by bootstrap over speakers. Time: fit "
        "and prediction of all folds, with the extraction that no row above has done; a two-headed "
        "network is fitted once for both rows.",
    ]
    return [*lines, "", *remarks(document)]


def prepare(args, stored, shared):
    """Find corpus and rows of the command line; see `run_experiment`."""
    rows = select_rows(args.rows)
    corpus = load_corpus(args.corpus)
    folds = corpus.folds(args.folds)
    settings = Settings(
        corpus.levels,
        args.epochs,
        args.rival_epochs,
        args.seed,
        args.precision,
        args.chunk,
        shared["n_jobs"],
        shared["memory"],
        args.device,
        args.verbose,
        args.exponent,
    )
    runner = Runner(corpus, folds, settings, stored)
    skipped = {row.name: row.lacks() for row in rows if row.lacks()}
    document = {
        "settings": {
            "folds": len(folds),
            "epochs": args.epochs,
            "rival_epochs": args.rival_epochs,
            "seed": args.seed,
            "precision": args.precision,
            "chunk": args.chunk,
            "jobs": args.jobs,
            "device": args.device,
            "exponent": args.exponent,
        },
        "versions": {
            "sklearn_speechsent": sklearn_speechsent.__version__,
            "sklearn": sklearn.__version__,
            "torch": torch.__version__,
        },
        "processors": os.cpu_count(),
        "corpus": corpus.describe(),
        "rows": [],
        "skipped": skipped,
    }
    runs = {row.name: row for row in rows if row.name not in skipped}

    def add(document, row, results):
        document["rows"] += runner.score(row, results)

    def draw(path, document):
        if document["rows"]:
            best = min(document["rows"], key=lambda row: row["mae"])
            title = f"{best['name']}, {corpus.name}, out of fold"
            draw_confusion(path, corpus.y, best["predictions"], corpus.levels, title)
            # Two rows of a network with two heads are one fit.
            losses = {
                row["name"].removesuffix(TWO_HEADS[0]): row["losses"]
                for row in document["rows"]
                if any(row["losses"]) and not row["name"].endswith(TWO_HEADS[1])
            }
            draw_losses(path.with_stem(f"{path.stem}_losses"), losses)

    return Experiment(document, runs, len(folds), runner.fold, add, as_markdown, draw)


def main(argv=None):
    """Run the table; see `run_experiment` for the exit codes."""
    args = parse(argv)
    if args.list:
        for row in ROWS:
            print(row.name + (f"  [skipped: {row.lacks()}]" if row.lacks() else ""))
        return 0
    return run_experiment("experiments.table1", prepare, args, argv)


if __name__ == "__main__":
    raise SystemExit(main())
