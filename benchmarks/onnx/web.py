"""Parity of exported models in onnxruntime-web with the pipelines that they were made of.

    python -m benchmarks.onnx.web --out results/web --systems small large

It fits on RAVDESS, exports, installs onnxruntime-web from npm into the folder of the results, and
runs the models there under node (wasm, one thread).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import soundfile

from sklearn_speechsent import export_onnx, make_sentiment_pipeline
from sklearn_speechsent.datasets import load_ravdess

HERE = Path(__file__).parent
#: Largest difference of a probability that counts as the same.
TOLERANCE = 1e-4


def main() -> None:
    """Fit, export, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of models and results")
    parser.add_argument("--systems", nargs="+", default=["small"], help="(small)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    corpus, cases = load_ravdess(), []
    for system in options.systems:
        pipeline = make_sentiment_pipeline(system, memory=options.out / "features")
        pipeline.fit(corpus.data[::9], corpus.target[::9])
        model = export_onnx(pipeline, options.out / f"{system}.onnx").name
        for file in corpus.data[4::180]:
            samples = soundfile.read(file, dtype="float32")[0]
            name = f"{Path(file).stem}.f32"
            (options.out / name).write_bytes(samples.tobytes())
            proba = pipeline.predict_proba([(16000, samples)])[0].tolist()
            cases.append({"model": model, "samples": name, "probabilities": proba})
    (options.out / "cases.json").write_text(json.dumps(cases))
    for name in ("package.json", "compare.mjs"):
        shutil.copy(HERE / name, options.out)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=options.out, check=True)
    done = subprocess.run(
        ["node", "compare.mjs", "."], cwd=options.out, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"onnxruntime-web {found['version']}")
    for model, result in found["results"].items():
        per_recording = result["milliseconds"] / result["recordings"]
        print(
            f"{model}: {result['recordings']} recordings, largest difference "
            f"{result['difference']:.1e}, {per_recording:.0f} ms each"
        )
        if not np.less_equal(result["difference"], TOLERANCE):
            raise SystemExit(f"{model} differs by more than {TOLERANCE:g}.")


if __name__ == "__main__":
    main()
