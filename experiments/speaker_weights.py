"""The speaker network that ships with the package, beside the one it was distilled from.

    python benchmarks/speaker_weights.py --out results/speaker_weights.json

What each knows of voices: 4950 trials between 10 speakers of LibriSpeech test-other, none of whom
it was trained on. What each knows of feelings: RAVDESS, the light route and the recommended one on
block 3, eight folds of speakers as in table1.py, without perturbation; the constant predictor
beside them. Reads nothing but the files of the weights; features are kept in --memory.
"""

import argparse
import json
import os
import time
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import numpy as np
from _corpus import load_corpus
from _resume import write_text
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from verification import evaluate, recordings

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    make_sentiment_pipeline,
)
from sklearn_speechsent.metrics import ordinal_report

WEIGHTS = ("speechsent-seresnet", "wespeaker-voxceleb-resnet34")
SCORES = ("mae", "spearman", "ccc", "qwk", "accuracy", "macro_mae", "polarity_accuracy")


def sentiment_row(corpus, folds, options, system, **settings):
    """Scores of one system over all folds of speakers.

    Everything but the last step learns nothing from the corpus and is computed once for all folds.
    """
    pipeline = make_sentiment_pipeline(
        system, memory=options.memory, n_jobs=options.jobs, verbose=1, **settings
    )
    started = time.perf_counter()
    features = pipeline[:-1].fit_transform(corpus.X)
    seconds = time.perf_counter() - started
    prediction = cross_val_predict(pipeline[-1], features, corpus.y, cv=folds)
    report = ordinal_report(corpus.y, prediction, levels=corpus.levels)
    return {name: report[name] for name in SCORES} | {"seconds": seconds}


def constant_row(corpus, folds):
    """Scores of the median of the training labels."""
    constant = DummyRegressor(strategy="median")
    prediction = cross_val_predict(constant, np.zeros((len(corpus.y), 1)), corpus.y, cv=folds)
    report = ordinal_report(corpus.y, prediction, levels=corpus.levels)
    return {name: report[name] for name in SCORES}


def sentiment_table(rows, first):
    """Markdown table of rows that have the column ``first`` and the scores."""
    titles = "MAE | ρ | CCC | QWK | accuracy | macro MAE | polarity"
    lines = [f"| {first} | {titles} |", "|---" * 8 + "|"]
    for row in rows:
        cells = " | ".join(f"{row[name]:.3f}" for name in SCORES)
        lines.append(f"| {row[first]} | {cells} |")
    return "\n".join(lines)


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("speaker_weights.json"))
    parser.add_argument("--memory", type=Path, default=None, help="default: beside --out")
    parser.add_argument("--jobs", type=int, default=-1, help="threads")
    options = parser.parse_args()
    options.memory = options.memory or options.out.with_suffix(".cache")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files, speakers = recordings("test-other")
    frontend = make_pipeline(MelFilterBank(n_jobs=options.jobs), SlidingCMN(window=None))
    verification = []
    for name in WEIGHTS:
        embedder = make_pipeline(frontend, SpeakerEmbedder(name, n_jobs=options.jobs)).fit(files)
        verification.append(evaluate(name, embedder.transform, files, speakers)[0])
    lines = ["| weights | EER full | EER 3 s | minDCF full | minDCF 3 s |", "|---" * 5 + "|"]
    for row in verification:
        figures = f"{row['EER full']:.2%} | {row['EER 3 s']:.2%}"
        costs = f"{row['minDCF full']:.3f} | {row['minDCF 3 s']:.3f}"
        lines.append(f"| {row['extractor']} | {figures} | {costs} |")
    print("\n".join(lines))
    corpus = load_corpus("ravdess")
    folds = corpus.folds(8)
    rows = [{"system": "constant", **constant_row(corpus, folds)}]
    for system in ("light", None):
        for name in WEIGHTS:
            label = f"{system or 'recommended'}, {name}"
            row = sentiment_row(corpus, folds, options, system, weights=name)
            rows.append({"system": label, **row})
            print(rows[-1])
    text = "\n".join([*lines, "", sentiment_table(rows, "system"), ""])
    print(text)
    write_text(options.out, json.dumps({"verification": verification, "sentiment": rows}, indent=1))
    write_text(options.out.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
