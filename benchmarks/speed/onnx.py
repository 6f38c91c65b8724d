"""One utterance by an exported model, next to the pipeline that it was made of, on one thread.

    python -m benchmarks.speed.onnx --out results/speed_onnx.json

Warm predictions of a 4 s recording, in turns in one process; and a fresh process of each kind, in
turns: time until its first prediction, and its memory. Fitted on every sixth recording of RAVDESS.
Writes FILE.json and FILE.md.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._timing import on_cores, ratio, take_turns
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of

MIB = 2**20
SECONDS = 4.0
SYSTEMS = ("small", "medium", "large")
#: What a fresh process does with a model and a recording.
CODE = {
    "pipeline": "import joblib; joblib.load(model).predict([file])",
    "runtime": "from sklearn_speechsent.runtime import OnnxSentiment; "
    "OnnxSentiment(model).predict([file])",
}
FRESH = """
import json, sys, time
started = time.perf_counter()
model, file = sys.argv[1:]
{code}
seconds = time.perf_counter() - started
import resource
peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, peak, len(sys.modules)]))
"""


def fit(system, memory, folder):
    """Fit and write a pipeline in both forms, and an utterance."""
    import joblib
    import numpy as np
    import soundfile

    from sklearn_speechsent import export_onnx, make_sentiment_pipeline
    from sklearn_speechsent.datasets import load_ravdess

    corpus = load_ravdess()
    pipeline = make_sentiment_pipeline(system, memory=memory)
    pipeline.fit(corpus.data[::6], corpus.target[::6])
    joblib.dump(pipeline, folder / "pipeline")  # its copy stores no features
    export_onnx(pipeline, folder / "runtime.onnx").rename(folder / "runtime")
    sounds = [soundfile.read(file, dtype="float32")[0] for file in corpus.data[:2]]
    sound = np.concatenate(sounds)[: int(16000 * SECONDS)]
    soundfile.write(folder / "utterance.flac", sound, 16000)
    return {name: (folder / name).stat().st_size for name in CODE}


def warm(folder, rounds):
    """Seconds of predictions, in turns."""
    import joblib
    import torch

    from sklearn_speechsent.runtime import OnnxSentiment

    torch.set_num_threads(1)
    file = str(folder / "utterance.flac")
    models = {
        "pipeline": joblib.load(folder / "pipeline"),
        "runtime": OnnxSentiment(folder / "runtime"),
    }
    return take_turns(
        {name: lambda model=model: model.predict([file]) for name, model in models.items()}, rounds
    )


def fresh(folder, rounds):
    """Seconds and bytes of fresh processes until their first prediction, in turns."""
    found = {name: [] for name in CODE}
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(rounds):
        for name, code in CODE.items():
            command = [sys.executable, "-W", "ignore", "-c", FRESH.format(code=code)]
            command += [folder / name, folder / "utterance.flac"]
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            found[name].append(json.loads(done.stdout))
    return found


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--systems", nargs="+", default=[*SYSTEMS], help=f"{SYSTEMS}")
    parser.add_argument("--rounds", type=int, default=15, help="warm predictions (15)")
    parser.add_argument("--fresh", type=int, default=5, help="fresh processes (5)")
    parser.add_argument("--memory", type=Path, help="features of the fits (FILE.cache)")
    options = parser.parse_args()
    memory = options.memory or options.out.with_suffix(".cache")
    results, rows = {}, []
    for system in options.systems:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sizes = on_cores(fit, 1, system, memory, folder)
            seconds = on_cores(warm, 1, folder, options.rounds)
            starts = on_cores(fresh, 1, folder, options.fresh)
        results[system] = {"bytes": sizes, "warm": seconds, "fresh": starts}
        for kind in CODE:
            first, peak, modules = map(statistics.median, zip(*starts[kind], strict=True))
            base = [statistics.median(v) for v in zip(*starts["pipeline"], strict=True)]
            rows.append(
                [
                    f"{system}, {kind}",
                    f"{sizes[kind] / MIB:.1f} MiB",
                    f"{1000 * statistics.median(seconds[kind]):.0f} ms",
                    f"{ratio(seconds, kind, 'pipeline'):.2f}",
                    f"{first:.2f} s",
                    f"{first / base[0]:.2f}",
                    f"{peak / MIB:.0f} MiB",
                    f"{peak / base[1]:.2f}",
                    f"{modules:.0f}",
                ]
            )
        columns = [
            "",
            "file",
            "warm",
            "ratio",
            "first, fresh",
            "ratio",
            "memory",
            "ratio",
            "modules",
        ]
        save(options.out, results, table_of(columns, rows))


if __name__ == "__main__":
    main()
