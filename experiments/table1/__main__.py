"""The table: our systems, classical ones and other papers' audio networks in the same folds.

    python benchmarks/table1.py --corpus ravdess --out results/table1.json
    python benchmarks/table1.py --corpus my/manifest.csv --out results/mine.json --rows light,tfn

Speakers never cross a split, out-of-fold predictions are pooled and scored once, and what is
searched is searched inside the training folds. Writes FILE.json and FILE.md after each row, and in
the end FILE.png, the confusion of levels of the best row. Each fold's result is kept in FILE_folds
as soon as it exists, each epoch of a network's fit too: the same command, given again after an
interruption, goes on there. A result counts for the settings, recordings, labels and version of the
package that it was made with; after changing code within a version, delete the folder.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import sklearn
import torch
from _corpus import load_corpus
from _protocol import Runner
from _resume import write_text
from _rows import ROWS, Settings, select_rows

import sklearn_speechsent
from sklearn_speechsent.metrics import LevelConfusionDisplay

COLUMNS = {
    "mae": "MAE",
    "spearman": "ρ",
    "ccc": "CCC",
    "qwk": "QWK",
    "accuracy": "acc",
    "macro_mae": "macro MAE",
    "polarity_accuracy": "polarity",
}


def parse(argv):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus",
        default="ravdess",
        help="ravdess (in the data home), or a CSV with the columns file, label, speaker and, for "
        "segments, start and end (s); files relative to its folder",
    )
    parser.add_argument("--out", type=Path, help="FILE.json; FILE.md goes beside it")
    parser.add_argument("--folds", type=int, default=8, help="over speakers (8)")
    parser.add_argument(
        "--rows", default="all", help="parts of row names, separated by commas, in any case (all)"
    )
    parser.add_argument("--epochs", type=int, default=8, help="of the networks (8)")
    parser.add_argument(
        "--rival-epochs", type=int, help="of the networks of other papers (those of --epochs)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="threads (1); -1 uses all cores")
    parser.add_argument("--memory", type=Path, help="folder of features (beside --out: features)")
    parser.add_argument("--chunk", type=float, default=4.0, help="seconds of a draw (4)")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
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
    """Table of a document, in Markdown."""
    lines = [f"| system | {' | '.join(COLUMNS.values())} | time |", "|---" * 9 + "|"]
    for row in document["rows"]:
        figures = " | ".join(f"{row[column]:.3f}" for column in COLUMNS)
        seconds = row["fit_seconds"] + row["predict_seconds"]
        taken = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
        lines.append(f"| {row['name']} | {figures} | {taken} |")
    corpus, settings = document["corpus"], document["settings"]
    note = f" ({corpus['note']})" if corpus["note"] else ""
    lines += [
        "",
        f"{corpus['name']}{note}: {corpus['recordings']} recordings, {corpus['speakers']} "
        f"speakers, levels {corpus['levels'][0]} … {corpus['levels'][-1]}; {settings['folds']} "
        f"folds over speakers; networks {settings['epochs']} epochs (those of other papers "
        f"{settings['rival_epochs']}) of {settings['chunk']:g} s chunks, "
        f"{settings['precision']}; seed {settings['seed']}; "
        f"`{document['command']}`",
        "",
        "MAE, Spearman's ρ, CCC and polarity on the predictions as they are, the rest on "
        "predictions rounded to levels. Time: fit and prediction of all folds, with the extraction "
        "of what no row above has extracted; a two-headed network is fitted once for both rows.",
    ]
    for kind in ("skipped", "failed"):
        lines += ["", *(f"- {kind}: {name} ({why})" for name, why in document[kind].items())]
    return "\n".join(lines).rstrip() + "\n"


def draw_best(document, y, levels, path):
    """Confusion of levels of the row with the lowest MAE, if matplotlib is there."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    best = min(document["rows"], key=lambda row: row["mae"])
    display = LevelConfusionDisplay.from_predictions(y, best["predictions"], levels=levels)
    display.ax_.set_title(f"{best['name']}, {document['corpus']['name']}, out of fold")
    display.figure_.savefig(path, dpi=150, bbox_inches="tight")


def main(argv=None):
    """Run the table.

    Parameters
    ----------
    argv : list of str, optional
        Arguments instead of those of the command line.

    Returns
    -------
    int
        0; 1 if a row failed, 2 if the arguments or the corpus are of no use, 130 if interrupted.
    """
    args = parse(argv)
    if args.list:
        for row in ROWS:
            print(row.name + (f"  [skipped: {row.lacks()}]" if row.lacks() else ""))
        return 0
    try:
        rows = select_rows(args.rows)
        corpus = load_corpus(args.corpus)
        folds = corpus.folds(args.folds)
    except (OSError, ValueError) as exception:  # bad recordings among them
        print(f"table1.py: {exception}", file=sys.stderr)
        return 2
    skipped = {row.name: row.lacks() for row in rows if row.lacks()}
    for name, reason in skipped.items():
        print(f"Skipped: {name}, because {reason}.")
    memory = args.memory or args.out.parent / "features"
    settings = Settings(
        corpus.levels,
        args.epochs,
        args.rival_epochs,
        args.seed,
        args.precision,
        args.chunk,
        args.jobs,
        str(memory.resolve()),
        args.verbose,
    )
    arguments = sys.argv[1:] if argv is None else argv
    document = {
        "command": shlex.join(["python", "benchmarks/table1.py", *map(str, arguments)]),
        "settings": {
            "folds": len(folds),
            "epochs": args.epochs,
            "rival_epochs": args.rival_epochs,
            "seed": args.seed,
            "precision": args.precision,
            "chunk": args.chunk,
            "jobs": args.jobs,
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
        "failed": {},
    }

    def report(scored, failed):
        document.update(rows=scored, failed=failed)
        write_text(args.out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        write_text(args.out.with_suffix(".md"), as_markdown(document))

    runner = Runner(corpus, folds, settings, args.out.with_name(f"{args.out.stem}_folds"))
    try:
        runner.run([row for row in rows if row.name not in skipped], report)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.")
        return 130
    if document["rows"]:
        draw_best(document, corpus.y, corpus.levels, args.out.with_suffix(".png"))
    print(f"\n{as_markdown(document)}")
    print(f"{runner.n_fits} fits, the rest read; written to {args.out}.")
    return 1 if document["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
