"""Speaker verification on the LibriSpeech excerpts: who knows voices, and a verifier's training.

    python benchmarks/verification.py --out results/verification.json [--train]

4950 trials between 100 utterances of 10 speakers (test-other), whole and cut to their first 3
seconds: statistics of mel frames, the pre-trained network, and with --train a small
SpeakerVerifier trained on 251 other speakers (train-clean-100, one utterance each). Prints a table,
writes it beside the DET curves. Verifiers are saved beside FILE.json as safetensors, and read from
there the next time.
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
import pandas as pd
import soundfile
from _resume import write_text
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from sklearn_speechsent import MelFilterBank, SlidingCMN, SpeakerEmbedder, SpeakerVerifier
from sklearn_speechsent.datasets import get_data_home
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.metrics import (
    VerificationDetDisplay,
    equal_error_rate,
    make_trials,
    min_detection_cost,
)
from sklearn_speechsent.pretrained import load_weights

WESPEAKER = "wespeaker-voxceleb-resnet34"
#: A narrow network that learns in minutes on two cores.
RECIPE = {
    "module__widths": (16, 32, 64, 128),
    "module__depths": (1, 1, 1, 1),
    "module__embedding_size": 128,
    "max_epochs": 4,
    "validation_fraction": 0.0,
    "random_state": 0,
    "verbose": 1,
}


def recordings(part):
    """Files and speakers of one part of the excerpts."""
    folder = get_data_home() / "librispeech_excerpts" / part
    files = sorted(str(file) for file in folder.rglob("*.flac"))
    if not files:
        raise SystemExit(f"There are no recordings in {folder}: set SPEECHSENT_DATA.")
    return files, [Path(file).name.split("-")[0] for file in files]


def evaluate(name, embed, files, speakers):
    """EER and minDCF of all pairs, whole and from the first three seconds."""
    first, second, same = make_trials(speakers)
    ends = [min(3.0, soundfile.info(file).duration) for file in files]
    row = {"extractor": name, "trials": len(same)}
    scores = {}
    for label, X in (
        ("full", pd.DataFrame({"file": files})),
        ("3 s", pd.DataFrame({"file": files, "start": 0.0, "end": ends})),
    ):
        started = time.perf_counter()
        embeddings = embed(X)
        row[f"seconds {label}"] = time.perf_counter() - started
        scores[label] = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
        row[f"EER {label}"] = equal_error_rate(same, scores[label])
        row[f"minDCF {label}"] = min_detection_cost(same, scores[label])
    return row, same, scores


def train(path, frontend, options):
    """Train a verifier on the 251 training speakers and save it, unless that was done before."""
    if path.exists():
        return
    files, speakers = recordings("train-clean-100")
    verifier = SpeakerVerifier(
        frontend=frontend, n_jobs=options.jobs, precision=options.precision, **RECIPE
    )
    started = time.perf_counter()
    verifier.fit(files, speakers)
    seconds = round(time.perf_counter() - started, 1)
    verifier.save_weights(path, data="LibriSpeech, CC BY 4.0", seconds=seconds)


def main():
    """Evaluate, train if asked for, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("verification.json"))
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--jobs", type=int, default=-1, help="threads")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files, speakers = recordings("test-other")
    mfb = MelFilterBank(n_jobs=options.jobs)
    cmn = SlidingCMN(window=None)
    # The speakers' mean voice is in no trial's favour: rows are standardised together.
    statistics = make_pipeline(mfb, FrameStatistics(), StandardScaler(), Normalizer())
    embedder = make_pipeline(mfb, cmn, SpeakerEmbedder(WESPEAKER, n_jobs=options.jobs))
    embedder.fit(files)
    extractors = {
        "mean + std of MFB": statistics.fit_transform,
        "WeSpeaker ResNet34": embedder.transform,
    }
    trained = {}
    for name, steps in {
        "SpeakerVerifier": [mfb, cmn],
        "SpeakerVerifier without CMN": [mfb],
    }.items():
        path = options.out.with_name(f"{options.out.stem} {name}.safetensors".replace(" ", "_"))
        if options.train:
            train(path, make_pipeline(*steps), options)
        if path.exists():
            embedder = make_pipeline(*steps, SpeakerEmbedder(path, n_jobs=options.jobs))
            extractors[name] = embedder.fit(files).transform
            trained[name] = load_weights(path).extra["seconds"]
    rows, figure = [], None
    for name, embed in extractors.items():
        row, same, scores = evaluate(name, embed, files, speakers)
        rows.append(row)
        figure = VerificationDetDisplay.from_predictions(
            same, scores["3 s"], name=name, ax=None if figure is None else figure.ax_
        )
    figure.ax_.set_title("First 3 s of LibriSpeech test-other, 4950 trials")
    figure.ax_.legend(fontsize="small", loc="upper right")
    lines = ["| extractor | EER full | EER 3 s | minDCF full | minDCF 3 s | training |"]
    lines.append("|---" * 6 + "|")
    for row in rows:
        figures = f"{row['EER full']:.2%} | {row['EER 3 s']:.2%}"
        costs = f"{row['minDCF full']:.3f} | {row['minDCF 3 s']:.3f}"
        seconds = trained.get(row["extractor"])
        taken = "" if seconds is None else f"{seconds / 60:.1f} min"
        lines.append(f"| {row['extractor']} | {figures} | {costs} | {taken} |")
    table = "\n".join(lines) + "\n"
    print(table)
    result = {"rows": rows, "training_seconds": trained, "recipe": RECIPE}
    write_text(options.out, json.dumps(result, indent=1))
    write_text(options.out.with_suffix(".md"), table)
    figure.figure_.savefig(options.out.with_suffix(".png"), dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
