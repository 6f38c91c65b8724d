"""Speaker verification on the LibriSpeech excerpts, and the training of a verifier.

    python -m experiments.verification --out results/verification.json [--train]

4950 trials between 100 utterances of 10 speakers (test-other), whole and cut to their first 3
seconds: statistics of mel frames, the pre-trained network, and with --train a small
SpeakerVerifier trained on 251 other speakers (train-clean-100, one utterance each). Writes a table
and the DET curves. Verifiers are saved next to FILE.json as safetensors, and read from there the
next time.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from experiments._harness.command import make_parser
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.systems import WESPEAKER
from experiments._harness.tables import duration, save, table_of
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

COLUMNS = ("EER full", "EER 3 s", "minDCF full", "minDCF 3 s")
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


def cells_of(row):
    """Name and figures of a row, as text."""
    return [
        row["extractor"],
        *(f"{row[name]:.2%}" if name.startswith("EER") else f"{row[name]:.3f}" for name in COLUMNS),
    ]


def train(path, frontend, options):
    """Train a verifier on the 251 training speakers and save it, if it is not saved yet."""
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
    parser = make_parser(__doc__)
    parser.add_argument("--train", action="store_true", help="train verifiers as well")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--jobs", type=int, default=-1, help="threads")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files, speakers = recordings("test-other")
    mfb = MelFilterBank(n_jobs=options.jobs)
    cmn = SlidingCMN(window=None)
    # Rows are standardised together: the mean voice of all speakers tells none of them apart.
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
    pyplot()
    for name, embed in extractors.items():
        row, same, scores = evaluate(name, embed, files, speakers)
        rows.append(row)
        figure = VerificationDetDisplay.from_predictions(
            same, scores["3 s"], name=name, ax=None if figure is None else figure.ax_
        )
    figure.ax_.set_title("First 3 s of LibriSpeech test-other, 4950 trials")
    figure.ax_.legend(fontsize="small", loc="upper right")
    taken = {name: duration(seconds, decimals=1) for name, seconds in trained.items()}
    cells = [[*cells_of(row), taken.get(row["extractor"], "")] for row in rows]
    document = {"rows": rows, "training_seconds": trained, "recipe": RECIPE}
    save(options.out, document, table_of(["extractor", *COLUMNS, "training"], cells))
    save_figure(options.out.with_suffix(".png"), figure.figure_, bbox_inches="tight")


if __name__ == "__main__":
    main()
