"""Effect on sentiment of dropping frames without speech.

    python -m experiments.vad_effect --out results/vad_effect.json

Small and medium without a detector, with the energy detector and with the U-net, on RAVDESS (eight
folds of speakers) and on a synthetic corpus, as it is and with long silences: two to six seconds of
the recording's own background noise before, within and after each utterance. The constant predictor
next to them. Features are cached in --memory.
"""

import tempfile

import numpy as np
import pandas as pd
import soundfile

from experiments._harness.command import add_extraction, make_parser
from experiments._harness.corpus import Corpus, load_corpus
from experiments._harness.sentiment import constant_scores, score_table, system_scores
from experiments._harness.tables import save
from recipes.sounds import coloured_noise, loudness
from sklearn_speechsent import VoiceActivityDetector, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment

DETECTORS = {
    "none": "passthrough",
    "energy": VoiceActivityDetector(method="energy"),
    "U-net": VoiceActivityDetector(),
}


def with_silences(file, rng):
    """Put background noise before, into the middle of, and after an utterance, in its file."""
    wave, rate = soundfile.read(file, dtype="float32")
    middle = len(wave) // 2
    frames = wave[: len(wave) // 160 * 160].reshape(-1, 160)
    floor = np.percentile(np.sqrt(np.mean(frames**2, axis=1)), 5)
    parts = []
    for speech in (wave[:middle], wave[middle:], wave[:0]):
        silence = coloured_noise(int(rate * rng.uniform(2, 6)), rng)
        parts += [silence * np.float32((floor + 1e-5) / loudness(silence)), speech]
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
    parser = make_parser(__doc__)
    parser.add_argument("--systems", nargs="+", default=("medium", "small"))
    add_extraction(parser)
    options = parser.parse_args()
    memory = options.memory or options.out.with_suffix(".cache")
    shared = {"memory": memory, "n_jobs": options.jobs, "verbose": 1}
    tables, lines = {}, []
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as padded:
        corpora = [synthetic(plain, False), synthetic(padded, True), load_corpus("ravdess")]
        for corpus in corpora:
            folds = corpus.folds(8)
            rows = tables[corpus.name] = {"constant": constant_scores(corpus, folds)}
            for system in options.systems:
                for name, detector in DETECTORS.items():
                    pipeline = make_sentiment_pipeline(system, vad=detector, **shared)
                    rows[f"{name}, {system}"] = system_scores(corpus, folds, pipeline)
                    print(f"{corpus.name}, {name}, {system}: {rows[f'{name}, {system}']}")
            lines += [f"**{corpus.name}**", "", *score_table("VAD", rows)]
            save(options.out, tables, lines)


if __name__ == "__main__":
    main()
