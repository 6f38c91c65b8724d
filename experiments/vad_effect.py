"""The effect on sentiment of dropping frames without speech.

    python benchmarks/vad_effect.py --out results/vad_effect.json

The recommended pipeline without a detector, with the energy detector and with the U-net, on RAVDESS
(eight folds of speakers) and on a synthetic corpus as it is and with long silences: before, within
and after each utterance lie two to six seconds of the recording's own background noise. The
constant predictor beside them. Features are kept in --memory.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import numpy as np
import pandas as pd
import soundfile
from _corpus import Corpus, load_corpus
from _resume import write_text
from _sounds import coloured_noise, level
from speaker_weights import WEIGHTS, constant_row, sentiment_row, sentiment_table

from sklearn_speechsent import VoiceActivityDetector
from sklearn_speechsent.datasets import make_speech_sentiment

DETECTORS = {
    "none": "passthrough",
    "energy": VoiceActivityDetector(method="energy"),
    "U-net": VoiceActivityDetector(),
}


def with_silences(file, rng):
    """Put background noise before, into the middle of, and behind an utterance, in its file."""
    wave, rate = soundfile.read(file, dtype="float32")
    middle = len(wave) // 2
    frames = wave[: len(wave) // 160 * 160].reshape(-1, 160)
    floor = np.percentile(np.sqrt(np.mean(frames**2, axis=1)), 5)
    parts = []
    for speech in (wave[:middle], wave[middle:], wave[:0]):
        silence = coloured_noise(int(rate * rng.uniform(2, 6)), rng)
        parts += [silence * np.float32((floor + 1e-5) / level(silence)), speech]
    soundfile.write(file, np.concatenate(parts), rate)


def synthetic(folder, silences):
    """Twelve synthetic speakers, with or without long silences."""
    bunch = make_speech_sentiment(12, 20, out_dir=folder, random_state=0)
    rng = np.random.default_rng(0)
    if silences:
        for file in bunch.data:
            with_silences(file, rng)
    name = "synthetic with long silences" if silences else "synthetic"
    X = pd.DataFrame({"file": bunch.data})
    return Corpus(name, X, bunch.target, bunch.groups, tuple(range(-3, 4)))


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("vad_effect.json"))
    parser.add_argument("--memory", type=Path, default=None, help="default: beside --out")
    parser.add_argument("--weights", nargs="+", default=WEIGHTS)
    parser.add_argument("--jobs", type=int, default=-1, help="threads")
    options = parser.parse_args()
    options.memory = options.memory or options.out.with_suffix(".cache")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tables, text = {}, []
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as padded:
        corpora = [synthetic(plain, False), synthetic(padded, True), load_corpus("ravdess")]
        for corpus in corpora:
            folds = corpus.folds(8)
            rows = [{"VAD": "constant", **constant_row(corpus, folds)}]
            for weights in options.weights:
                for name, detector in DETECTORS.items():
                    row = sentiment_row(corpus, folds, options, None, weights=weights, vad=detector)
                    rows.append({"VAD": f"{name}, {weights}", **row})
                    print(corpus.name, rows[-1], flush=True)
            tables[corpus.name] = rows
            text += [f"**{corpus.name}**", "", sentiment_table(rows, "VAD"), ""]
            write_text(options.out, json.dumps(tables, indent=1))
            write_text(options.out.with_suffix(".md"), "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
