"""Growth of time and memory with hours of speech, length of utterances, mel bands and workers.

    python -m benchmarks.scale.growth --out results/growth.json

Recordings of RAVDESS, several times over (each time a little louder, so that a store takes them for
different ones). Frames are log-mel energies and CMN; statistics are those of the medium system
without a detector, in bfloat16, frames included, of one hour at most. Each line is a process of its
own; memory is the most that it has beyond its imports, without files. Long utterances are
recordings joined end to end. The same command resumes; writes FILE.json, FILE.md and FILE.png.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._memory import MIB, Memory
from benchmarks._timing import on_cores
from experiments._harness.command import make_parser
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.tables import save, table_of

#: Hours of speech where something else grows.
HOURS = 1 / 6
RATE = 16000
#: Repetitions, of which the median counts; a second run with a store would find all in it.
REPEATS = {"frames": 3, "frames, cached": 1, "statistics": 1}
#: Series by title: name of the setting that grows, and its values.
SERIES = {
    "hours of speech": ("hours", (1, 2, 4, 8)),
    "seconds of an utterance": ("seconds", (1, 4, 15, 60, 600)),
    "mel bands": ("n_mels", (20, 40, 80, 128)),
    "workers": ("n_jobs", (1, 2)),
}


def recordings(hours, seconds, folder):
    """Table of recordings that last a number of hours in all.

    Parameters
    ----------
    hours : float
    seconds : float or None
        Length of each; None takes recordings as they are.
    folder : Path
        For files of other lengths.

    Returns
    -------
    X : DataFrame of file and gain_db
    hours : float
        Their actual sum.
    """
    import pandas as pd
    import soundfile

    from sklearn_speechsent.datasets import load_ravdess

    files = [str(file) for file in load_ravdess().data]
    durations = np.array([soundfile.info(file).duration for file in files])
    if seconds is not None:
        n = max(1, round(hours * 3600 / seconds))
        needed = np.searchsorted(np.cumsum(durations), min(seconds * n, 1800)) + 1
        sound = np.concatenate([soundfile.read(f, dtype="float32")[0] for f in files[:needed]])
        size = int(seconds * RATE)
        pieces = [sound[i : i + size] for i in range(0, len(sound) - size + 1, size)][:n]
        files = [str(folder / f"{i}.flac") for i in range(len(pieces))]
        for file, piece in zip(files, pieces, strict=True):
            soundfile.write(file, piece, RATE)
        durations = np.full(len(files), seconds)
    n = int(np.searchsorted(np.cumsum(np.resize(durations, 10**5)), hours * 3600)) + 1
    X = pd.DataFrame({"file": np.resize(files, n), "gain_db": -0.1 * (np.arange(n) // len(files))})
    return X, float(np.resize(durations, n).sum()) / 3600


def measure(task, folder):
    """Extract in this process.

    Parameters
    ----------
    task : dict
        ``what`` ("frames", "frames, cached" or "statistics"), and settings of :data:`SERIES`.
    folder : Path

    Returns
    -------
    dict
        Seconds, hours and MiB.
    """
    import torch
    from sklearn.pipeline import make_pipeline

    from sklearn_speechsent import MelFilterBank, SlidingCMN, make_sentiment_pipeline

    n_jobs = task["n_jobs"]
    torch.set_num_threads(n_jobs)
    X, hours = recordings(task["hours"], task["seconds"], folder)
    if task["what"] == "statistics":
        precision = {"srext__precision": "bfloat16"}
        pipeline = make_sentiment_pipeline("medium", vad="passthrough", n_jobs=n_jobs, **precision)[
            :-1
        ]
    else:
        shared = {
            "n_jobs": n_jobs,
            "memory": folder / "store" if "cached" in task["what"] else None,
        }
        mfb = MelFilterBank(task["n_mels"], **shared)
        pipeline = make_pipeline(mfb, SlidingCMN(**shared))
    pipeline.fit_transform(X[:2])  # prepares networks and tables, once
    before = Memory.now()
    times = []
    with Memory() as memory:
        for _ in range(REPEATS[task["what"]]):
            started = time.perf_counter()
            pipeline.fit_transform(X)
            times.append(time.perf_counter() - started)
    grown = memory.peaks()["anonymous"] - before / MIB
    seconds = statistics.median(times)
    return {"seconds": seconds, "hours": hours, "memory": grown, "utterances": len(X)}


def tasks():
    """Tasks by name.

    Returns
    -------
    dict of str to dict
    """
    found = {}
    for title, (name, values) in SERIES.items():
        kinds = ["frames", "statistics"]
        if name == "hours":
            kinds.insert(1, "frames, cached")
        elif name == "n_mels":
            kinds = ["frames"]
        for what in kinds:
            for value in values[:1] if (name, what) == ("hours", "statistics") else values:
                task = {"hours": HOURS, "seconds": None, "n_mels": 80, "n_jobs": 1, "what": what}
                if name == "hours" and what == "statistics":
                    task["n_jobs"] = 2
                found[f"{title}, {what}, {value:g}"] = task | {name: value, "title": title}
    return found


def report(rows):
    """Lines of one table per series."""
    lines = []
    for title, (name, _) in SERIES.items():
        cells = []
        for row in (row for row in rows.values() if row["task"]["title"] == title):
            cells.append(
                [
                    f"{row['task'][name]:g}",
                    f"{row['task']['what']}, {row['task']['n_jobs']} worker(s)",
                    f"{row['seconds']:.1f} s",
                    f"{3600 * row['hours'] / row['seconds']:.0f}",
                    f"{row['memory']:.0f} MiB",
                ]
            )
        lines += table_of([title, "", "time", "x real time", "memory"], cells)
    return lines


def draw(rows, path):
    """Draw time and memory of every series, on logarithmic axes."""
    figure, axes = pyplot().subplots(2, len(SERIES), figsize=(13, 5.5), layout="constrained")
    for column, (title, (name, _)) in zip(axes.T, SERIES.items(), strict=True):
        lines = {}
        for row in (row for row in rows.values() if row["task"]["title"] == title):
            lines.setdefault(row["task"]["what"], []).append(row)
        for what, found in lines.items():
            values = [row["task"][name] for row in found]
            speeds = [3600 * row["hours"] / row["seconds"] for row in found]
            column[0].plot(values, speeds, "o-", label=what)
            column[1].plot(values, [row["memory"] for row in found], "o-", label=what)
        for axis, label in zip(column, ("times real time", "memory, MiB"), strict=True):
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xticks(values, [f"{value:g}" for value in values])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            if column[0] is axes[0, 0]:
                axis.set_ylabel(label)
        column[1].set_xlabel(title)
    axes[0, 0].legend(fontsize="small")
    save_figure(path, figure)


def main():
    """Measure what is missing, print, write and draw."""
    parser = make_parser(__doc__)
    parser.add_argument("--work", type=Path, help="folder for stores (that of --out)")
    options = parser.parse_args()
    work = options.work or options.out.parent
    work.mkdir(parents=True, exist_ok=True)
    rows = json.loads(options.out.read_text()) if options.out.is_file() else {}
    for name, task in tasks().items():
        if rows.get(name, {}).get("task") == task:
            continue
        with tempfile.TemporaryDirectory(dir=work) as folder:
            found = on_cores(measure, task["n_jobs"], task, Path(folder))
        rows[name] = found | {"task": task}
        save(options.out, rows, report(rows))
    rows = {name: rows[name] for name in tasks()}
    save(options.out, rows, report(rows))
    draw(rows, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
