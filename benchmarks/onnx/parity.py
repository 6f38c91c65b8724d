"""Parity of exported models with the pipelines that they were made of, on real recordings.

    python -m benchmarks.onnx.parity --out results/onnx_parity.json

Each system is fitted on every sixth recording of RAVDESS, exported, and run on others: whole files,
and utterances of 0.5 s to 60 s and beyond that are cut from recordings one after the other. Fails
if a probability differs by more than 1e-4, or a level does. Writes FILE.json and FILE.md.
"""

import warnings
from pathlib import Path

import numpy as np
import soundfile

from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent import export_onnx, make_sentiment_pipeline
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.runtime import OnnxSentiment

NETWORK = {"max_epochs": 2, "random_state": 0}
#: Keyword arguments of each system.
SYSTEMS = {
    "small": {},
    "medium": {},
    "large": {},
    "2/2SREx-SEResNet-16 + C + R": NETWORK,
    "1/2SREx-SEResNet-34 + SpE + C": NETWORK,
    "finetuned": NETWORK,
}
#: Seconds of utterances; with squeeze-excitation those beyond 60 s go in pieces.
SECONDS = (0.5, 0.7, 1.0, 1.5, 2.5, 4.0, 7.0, 12.0, 20.0, 31.0, 45.0, 60.0, 90.0)
TOLERANCE = 1e-4


def utterances(files, seconds):
    """Utterances of these durations, each beginning in another recording's voice."""
    voices = [soundfile.read(file, dtype="float32")[0] for file in files]
    found = []
    for number, duration in enumerate(seconds):
        n = round(16000 * duration)
        first = voices[number % len(voices)]
        begin = np.argmax(np.abs(first) > 0.2 * np.abs(first).max())
        rest = [voices[(number + k) % len(voices)] for k in range(1, 2 + n // 32000)]
        found.append(np.concatenate([first[begin:], *rest])[:n])
    return found


def main():
    """Fit, export, compare, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--systems", nargs="+", default=[*SYSTEMS], help=f"{[*SYSTEMS]}")
    parser.add_argument("--files", type=int, default=60, help="whole recordings (60)")
    parser.add_argument("--memory", type=Path, help="features of the fits (FILE.cache)")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    corpus = load_ravdess()
    files = corpus.data[3 :: len(corpus.data) // options.files][: options.files]
    cut = utterances(corpus.data[700:745], SECONDS)
    results, rows = {}, []
    for system in options.systems:
        memory = options.memory or options.out.with_suffix(".cache")
        pipeline = make_sentiment_pipeline(
            system, memory=memory, on_error="nan", **SYSTEMS[system]
        ).fit(corpus.data[::6], corpus.target[::6])
        path = export_onnx(pipeline, options.out.with_suffix(".onnx"))
        scorer = OnnxSentiment(path)
        found = {}
        for name, X in {"files": [*files], "utterances": [(16000, x) for x in cut]}.items():
            proba, ours = pipeline.predict_proba(X), scorer.predict_proba(X)
            levels, same = pipeline.predict(X), scorer.predict(X)
            spoken = np.isfinite(proba).all(axis=1)
            found[name] = {
                "recordings": len(X),
                "without speech": int((~spoken).sum()),
                "difference": float(np.abs(proba - ours)[spoken].max()),
                "same": bool(
                    np.array_equal(levels, same, equal_nan=True)
                    and np.array_equal(spoken, np.isfinite(ours).all(axis=1))
                ),
            }
        results[system] = {"bytes": path.stat().st_size, **found}
        rows.append(
            [
                system,
                f"{path.stat().st_size / 1e6:.1f} MB",
                *(f"{found[name]['difference']:.1e}" for name in found),
                "yes" if all(each["same"] for each in found.values()) else "no",
            ]
        )
        columns = ["", "file", f"{len(files)} files", f"{len(cut)} utterances", "same levels"]
        save(options.out, results, table_of(columns, rows))
        path.unlink()
        if any(
            not each["same"] or each["difference"] > TOLERANCE
            for each in results[system].values()
            if isinstance(each, dict)
        ):
            raise SystemExit(f"{system} differs: {results[system]}")


if __name__ == "__main__":
    main()
