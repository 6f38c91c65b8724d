"""From recordings to sentiment: fit, cross-validate by speaker, search, save, reload, draw.

Without arguments it makes a small synthetic corpus, so that it runs anywhere in a few minutes:

    python examples/quickstart.py

All rows take the speaker network that ships with the package. With the RAVDESS recordings in the
data home (environment variable SPEECHSENT_DATA) it runs the evaluation protocol on human speech,
which takes about an hour on two cores, most of it for the network; interrupted, the same command
resumes (delete the folder of results after changing the package itself):

    python examples/quickstart.py --corpus ravdess
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from tqdm.auto import tqdm

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.datasets import load_ravdess, make_speech_sentiment
from sklearn_speechsent.metrics import LevelConfusionDisplay, get_scorer, ordinal_report

NETWORK = "2/2SREx-SEResNet-16 + C + R"
#: The speaker network that ships with the package.
SHIPPED = "speechsent-seresnet"


def load_corpus(name, folder):
    """Recordings, labels and speakers, and the number of folds of the protocol."""
    if name == "ravdess":
        corpus, n_folds = load_ravdess(), 8
        print("RAVDESS, 24 actors; valence of the acted emotion is a proxy for sentiment.")
    else:
        corpus = make_speech_sentiment(12, 12, out_dir=folder / "corpus", random_state=0)
        n_folds = 4
        print(
            "Synthetic voices, 12 speakers: shows that everything runs, says nothing about people."
        )
    print(f"{len(corpus.data)} recordings, levels {np.asarray(corpus.levels).tolist()}\n")
    return corpus, n_folds


def make_systems(corpus, epochs, memory):
    """Rows of the table: the constant, a classical baseline, the small system, the network."""
    shared = {"memory": memory, "n_jobs": -1, "random_state": 0}
    trained = {"levels": corpus.levels, "weights": SHIPPED, **shared}
    return {
        "constant (median)": DummyRegressor(strategy="median"),
        "MFB mean + std, SVR": make_sentiment_pipeline(
            weights=None, vad="passthrough", net=make_pipeline(StandardScaler(), SVR(C=3)), **shared
        ),
        "small": make_sentiment_pipeline(**trained),
        NETWORK: make_sentiment_pipeline(NETWORK, max_epochs=epochs, **trained),
    }


def show_progress(system, *steps):
    """Switch on the progress bars of steps."""
    known = system.get_params()
    return system.set_params(**{f"{s}__verbose": 1 for s in steps if f"{s}__verbose" in known})


def extract_once(system, X):
    """Compute the features of all recordings, which all folds, rows and the search then read.

    The steps before the last are frozen: they learn nothing from X, so nothing leaks.
    """
    started = time.perf_counter()
    if isinstance(system, Pipeline):
        show_progress(clone(system)[:-1], "mfb", "srext").fit_transform(X)
    return time.perf_counter() - started


def predict_out_of_fold(name, system, corpus, n_folds, folder):
    """Predictions for every recording by a model that was trained on other speakers.

    Each fold is stored in a file, named by its settings and data, so that an interrupted run
    resumes. A two-headed network gives levels and intensities.
    """
    X, y, groups = np.asarray(corpus.data, dtype=object), corpus.target, corpus.groups
    heads = {}
    seconds = extract_once(system, X)
    folds = list(GroupKFold(n_folds).split(X, y, groups))
    for number, (train, test) in enumerate(tqdm(folds, desc=name, unit="fold")):
        file = folder / f"fold_{joblib.hash((system, X, y, number))}.joblib"
        if not file.exists():
            started = time.perf_counter()
            model = clone(system)
            if "net__max_epochs" in model.get_params():
                model = show_progress(model, "net")
            model.fit(X[train], y[train])
            predictions = {"": model.predict(X[test])}
            if isinstance(model, Pipeline) and getattr(model[-1], "two_headed", False):
                intensities = model[-1].as_regressor().predict(model[:-1].transform(X[test]))
                predictions = {", levels": predictions[""], ", intensities": intensities}
            temporary = file.with_suffix(".part")
            joblib.dump((predictions, time.perf_counter() - started), temporary)
            os.replace(temporary, file)
        predictions, seconds_of_fold = joblib.load(file)
        seconds += seconds_of_fold
        for head, values in predictions.items():
            heads.setdefault(name + head, np.full(len(y), np.nan))[test] = values
    return heads, seconds


def main():
    """Run all steps, in the order a user would."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=["synthetic", "ravdess"], default="synthetic")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for results")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of the network")
    parser.add_argument("--skip-network", action="store_true", help="leave the network's row out")
    args = parser.parse_args()
    folder = args.out / args.corpus
    folder.mkdir(parents=True, exist_ok=True)
    memory = folder / "features"

    corpus, n_folds = load_corpus(args.corpus, folder)
    systems = make_systems(corpus, args.epochs, memory)
    if args.skip_network:
        systems.popitem()

    # 1. Cross-validation by speaker: predictions of all folds are pooled and scored once.
    rows, predictions = {}, {}
    for name, system in systems.items():
        heads, seconds = predict_out_of_fold(name, system, corpus, n_folds, folder)
        for head, pooled in heads.items():
            report = ordinal_report(corpus.target, pooled, levels=corpus.levels)
            rows[head] = {**report, "seconds": seconds}
        predictions |= heads
    table = pd.DataFrame(rows).T
    columns = ["mae", "spearman", "ccc", "qwk", "accuracy", "macro_mae", "polarity_accuracy"]
    table = table[[*columns, "seconds"]]
    print(f"\nOut-of-fold, {n_folds} folds, speakers never cross a split:")
    print(table.to_string(float_format="{:.3f}".format, formatters={"seconds": "{:.0f}".format}))
    print("seconds: extraction (cached where a row above has done it), training, prediction.\n")
    table.to_csv(folder / "table.csv", float_format="%.4f")

    # 2. Grid search over two steps at once, in two processes that share the features.
    small = clone(systems["small"]).set_params(
        mfb__n_jobs=None, srext__n_jobs=None, net__n_jobs=None
    )
    logistic = LogisticRegression(C=0.003, class_weight="balanced", max_iter=1000)
    grid = {
        "net__estimator": [None, make_pipeline(StandardScaler(), logistic)],
        "srext__compress": ["sqrt", "log1p"],
    }
    search = GridSearchCV(
        small,
        grid,
        scoring=get_scorer("quadratic_weighted_kappa", levels=corpus.levels),
        cv=GroupKFold(3),
        n_jobs=2,
        verbose=1,
    )
    search.fit(list(corpus.data), corpus.target, groups=corpus.groups)
    print("Best of the search, by QWK over speakers held out:")
    for parameter, value in search.best_params_.items():
        print(f"  {parameter} = {value!r}".replace("\n", " "))
    print(f"  qwk = {search.best_score_:.3f}\n")

    # 3. Deployment: save, load in a new process, and get the same predictions.
    some = list(corpus.data[:20])
    joblib.dump(search.best_estimator_, folder / "pipeline.joblib", compress=3)
    joblib.dump(some, folder / "some.joblib")
    code = (
        "import joblib, sys\n"
        "pipeline, files = map(joblib.load, sys.argv[1:3])\n"
        "joblib.dump(pipeline.predict(files), sys.argv[3])\n"
    )
    arguments = [str(folder / f"{name}.joblib") for name in ("pipeline", "some", "answers")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    same = np.array_equal(joblib.load(arguments[2]), search.predict(some))
    size = (folder / "pipeline.joblib").stat().st_size / 2**20
    print(f"Saved ({size:.1f} MiB), reloaded in a new process, predictions equal: {same}")
    if not same:
        raise SystemExit("The reloaded pipeline predicts something else.")

    # 4. A picture of the confusion between levels.
    display = LevelConfusionDisplay.from_predictions(
        corpus.target, predictions["small"], levels=corpus.levels
    )
    display.ax_.set_title(f"Small, {args.corpus}, out of fold")
    display.figure_.savefig(folder / "confusion.png", dpi=150, bbox_inches="tight")
    print(f"Results are in {folder.resolve()}: table.csv, pipeline.joblib, confusion.png")


if __name__ == "__main__":
    main()
