"""Latency of one utterance from path to prediction, as in a dialogue system, on one thread.

    python -m benchmarks.speed.latency --out results/latency.json

A 4 s recording through a fitted pipeline that was loaded from a pickle: cold in a fresh process
(imports, loading, the first prediction), then warm, step by step, compared with the time that the
arithmetic of the frozen network alone takes at the processor's peak (a large matrix product or
convolution in the same type, measured in the same rounds). Of large, both halves are added up.
Fitted on every fourth recording of RAVDESS. Also the size of the pickle, the memory of the process,
and the time of importing the package compared with importing scikit-learn, torch and skorch alone.
Writes FILE.json and FILE.md.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._timing import on_cores
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of

SECONDS = 4.0
MIB = 2**20
#: Statements whose time is compared, each in a fresh process.
PEERS, OURS = "import sklearn, torch, skorch", "import sklearn_speechsent.pipeline"
#: Code of a fresh process, given a pickle and a recording; prints seconds and bytes.
COLD = """
import json, sys, time
started = time.perf_counter()
import sklearn_speechsent.pipeline, joblib
imported = time.perf_counter()
pipeline = joblib.load(sys.argv[1])
loaded = time.perf_counter()
pipeline.predict([sys.argv[2]])
predicted = time.perf_counter()
from benchmarks._memory import Memory, peak_rss
print(json.dumps({"import": imported - started, "load": loaded - imported,
    "first": predicted - loaded, "rss": peak_rss(), "anonymous": Memory.now()}))
"""


def systems(memory):
    """Unfitted pipelines by name."""
    from sklearn_speechsent import make_sentiment_pipeline

    shapes = {"small": {}, "medium": {}, "medium, no VAD": {"vad": "passthrough"}, "large": {}}
    found = {}
    for name, params in shapes.items():
        for precision in ("float32", "bfloat16"):
            precisions = {"srext__precision": precision}
            if name == "large":
                precisions["encoder__precision"] = precision
            found[f"{name}, {precision}"] = make_sentiment_pipeline(
                name.split(",")[0], memory=memory, **precisions, **params
            )
    return found


def members(pipeline):
    """Fitted Pipelines of steps: of a vote, its members."""
    return [pipeline] if len(pipeline) > 1 else pipeline[-1].estimators_


def fit(name, memory, folder):
    """Fit a pipeline, and write it, without its folder of features, and an utterance to a folder.

    Returns
    -------
    dict
        Bytes of the pickle, and recordings it was fitted on.
    """
    import joblib
    import numpy as np
    import soundfile

    from sklearn_speechsent.datasets import load_ravdess

    corpus = load_ravdess()
    files, y = corpus.data[::4], corpus.target[::4]
    pipeline = systems(memory)[name].fit(files, y)
    for step in [step for member in members(pipeline) for step in member]:
        if hasattr(step, "memory"):
            step.memory = None  # new recordings are not cached
        if hasattr(getattr(step, "frontend_", None), "memory"):
            step.frontend_.memory = None
    joblib.dump(pipeline, folder / "pipeline.joblib")
    sounds = [soundfile.read(file, dtype="float32")[0] for file in corpus.data[:2]]
    sound = np.concatenate(sounds)[: int(16000 * SECONDS)]
    soundfile.write(folder / "utterance.flac", sound, 16000)
    return {"bytes": (folder / "pipeline.joblib").stat().st_size, "recordings": len(y)}


def cold(folder):
    """Seconds and bytes of a fresh process until its first prediction."""
    command = [sys.executable, "-c", COLD, folder / "pipeline.joblib", folder / "utterance.flac"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def warm(folder, rounds):
    """Seconds of a prediction and of its steps, and of the networks' arithmetic at the peak.

    Returns
    -------
    dict
    """
    import joblib
    import torch

    from benchmarks.speed._peak import Peak
    from benchmarks.speed.encoders import operations
    from benchmarks.speed.network import arithmetic

    torch.set_num_threads(1)
    pipeline = joblib.load(folder / "pipeline.joblib")
    path = str(folder / "utterance.flac")
    work = 0
    for member in members(pipeline):
        if "srext" in member.named_steps:
            extractor = member["srext"]
            frames = member[: list(member.named_steps).index("srext")].transform([path])
            work += arithmetic(extractor.network_, frames)
        else:
            work += operations(member["encoder"].network_, round(100 * SECONDS))
    highest = Peak(extractor.precision)
    times, steps = [], {}
    at_peak = {name: [] for name in highest.runs}
    for _ in range(3):
        pipeline.predict([path])
    for _ in range(rounds):
        started = time.perf_counter()
        pipeline.predict([path])
        times.append(time.perf_counter() - started)
        for name, run in highest.runs.items():
            started = time.perf_counter()
            run()
            at_peak[name].append(time.perf_counter() - started)
        spent = {}
        for member in members(pipeline):
            x = [path]
            for name, step in member.steps:
                if step == "passthrough":
                    continue
                started = time.perf_counter()
                x = step.transform(x) if hasattr(step, "transform") else step.predict(x)
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - started
        for name, duration in spent.items():
            steps.setdefault(name, []).append(duration)
    peak = highest.pop(at_peak)
    return {
        "seconds": times,
        "steps": {name: statistics.median(values) for name, values in steps.items()},
        "peak": peak,
        "arithmetic": work / peak,
    }


def imports(rounds):
    """Seconds of importing ours and the three packages it depends on, in turns.

    Returns
    -------
    dict of str to list of float
    """
    seconds = {PEERS: [], OURS: []}
    for number in range(rounds + 1):
        for statement in (PEERS, OURS):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            if number:
                seconds[statement].append(time.perf_counter() - started)
    return seconds


def report(results):
    """Lines of the tables."""
    rows, steps = [], []
    for name, row in results["systems"].items():
        times, first = row["warm"]["seconds"], row["cold"]
        median = statistics.median(times)
        rows.append(
            [
                name,
                *(f"{first[part]:.2f} s" for part in ("import", "load", "first")),
                f"{1000 * median:.0f} ms",
                f"{1000 * min(times):.0f} – {1000 * max(times):.0f}",
                f"{1000 * row['warm']['arithmetic']:.0f} ms",
                f"{median / row['warm']['arithmetic']:.2f}",
                f"{row['bytes'] / MIB:.1f} MiB",
                f"{first['rss'] / MIB:.0f} ({first['anonymous'] / MIB:.0f}) MiB",
            ]
        )
        found = row["warm"]["steps"]
        steps.append([name, *(f"{1000 * found[s]:.1f}" if s in found else "" for s in STEPS)])
    titles = ["", "imports", "loading", "first", "warm", "range", "networks at peak", "ratio"]
    lines = table_of([*titles, "pickle", "memory (without files)"], rows)
    lines += table_of(["ms, warm", *STEPS], steps)
    if "imports" in results:
        seconds = results["imports"]
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        ratios = [a / b for a, b in zip(seconds[OURS], seconds[PEERS], strict=True)]
        lines += table_of(
            ["in a fresh process", "median", "ratio"],
            [
                [f"`{PEERS}`", f"{medians[PEERS]:.2f} s", "1.00"],
                [f"`{OURS}`", f"{medians[OURS]:.2f} s", f"{statistics.median(ratios):.2f}"],
            ],
        )
    return lines


STEPS = ("mfb", "vad", "cmn", "srext", "encoder", "net")


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="warm predictions (15)")
    parser.add_argument("--memory", type=Path, help="features of the fits (FILE.cache)")
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=["float32", "bfloat16"],
        help="bfloat16 is very slow on processors that emulate it (float32 bfloat16)",
    )
    options = parser.parse_args()
    memory = options.memory or options.out.with_suffix(".cache")
    results = {"systems": {}}
    for name in systems(memory):
        if name.rpartition(", ")[2] not in options.precisions:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = on_cores(fit, len(os.sched_getaffinity(0)), name, memory, Path(folder))
            row["cold"] = on_cores(cold, 1, Path(folder))
            row["warm"] = on_cores(warm, 1, Path(folder), options.rounds)
        results["systems"][name] = row
        save(options.out, results, report(results))
    results["imports"] = on_cores(imports, 1, 7)
    save(options.out, results, report(results))


if __name__ == "__main__":
    main()
