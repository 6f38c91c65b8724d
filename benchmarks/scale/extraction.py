"""Extraction at the size of CMU-MOSEI: time, memory, disk, and the second run.

    python -m benchmarks.scale.standin STANDIN
    python -m benchmarks.scale.extraction --standin STANDIN --out results/scale.json
    python -m benchmarks.scale.extraction --standin STANDIN --out results/scale.json --dask

Log-mel frames and their sliding mean (MelFilterBank and SlidingCMN with memory=) of growing parts
of a folder with the layout of CMU-MOSEI, by whole videos in one mixed order. Every measurement is a
process of its own: the first run has an empty store, the second one finds everything in it. Files
are read once before, so that all runs find them in the system's cache. One core, unless --dask
compares one worker process with two. Writes FILE.json and FILE.md after each row; earlier rows stay
if they are not measured again. joblib does not use a Dask cluster of one thread, but computes in
the client: that row has none of Dask's own costs.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent import FeatureStore
from sklearn_speechsent.datasets import load_cmu_mosei

GIB = 2**30


def in_a_process(task, cores):
    """Result of an extraction in a fresh process.

    Parameters
    ----------
    task : dict
    cores : list of int
        That it may use.

    Returns
    -------
    dict
        With ``process_seconds``, from its start to its end.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.scale._one_extraction",
            json.dumps(task | {"cores": cores}),
        ],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    seconds = time.perf_counter() - started
    return json.loads(done.stdout.splitlines()[-1]) | {"process_seconds": seconds}


def part_of(X, groups, fraction):
    """Rows of some videos, in one mixed order, whatever the fraction.

    Parameters
    ----------
    X : DataFrame
    groups : ndarray of shape (n,)
    fraction : float
        Of the rows.

    Returns
    -------
    DataFrame
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(sizes))
    before = np.empty(len(sizes))
    before[order] = np.cumsum(sizes[order]) - sizes[order]
    return X[before[numbers] < fraction * len(X)]


def wanted_samples(X):
    """Samples of all segments, by the times of the labels and the ends of the files.

    Parameters
    ----------
    X : DataFrame

    Returns
    -------
    samples : int
    rate : int
        Hz, of all files.
    file_bytes : int
        Of all files, whole.
    """
    samples = file_bytes = 0
    for file, rows in X.groupby("file", sort=False):
        info = soundfile.info(file)
        last = (rows["end"] * info.samplerate).round().clip(upper=info.frames)
        samples += int((last - (rows["start"] * info.samplerate).round()).sum())
        file_bytes += os.path.getsize(file)
    return samples, info.samplerate, file_bytes


def warm(files):
    """Read files once, so that they are in the system's cache if they fit.

    Parameters
    ----------
    files : iterable of str
    """
    for file in files:
        with open(file, "rb") as source:
            while source.read(2**22):
                pass


def run(X, folder, dtype, workers, cores):
    """First run on an empty store, and second one on the same store.

    Parameters
    ----------
    X : DataFrame
    folder : Path
        For the store, which is removed afterwards.
    dtype : str or None
    workers : int
    cores : list of int

    Returns
    -------
    dict
        Both results (only the first one with Dask), size of the corpus and of the store.
    """
    samples, rate, file_bytes = wanted_samples(X)
    needed = samples / rate * 100 * 80 * (2 if dtype == "float16" else 4) * 2
    if (free := shutil.disk_usage(folder).free) < needed + GIB:
        raise SystemExit(
            f"{folder} has {free / GIB:.1f} GiB free, and the store takes {needed / GIB:.1f}: "
            "choose another folder by --work or smaller --fractions."
        )
    with tempfile.TemporaryDirectory(dir=folder) as work:
        table = Path(work, "rows.csv")
        X.to_csv(table, index=False)
        store = Path(work, "store")
        task = {"table": str(table), "store": str(store), "dtype": dtype, "workers": workers}
        warm(X["file"].unique())
        first = in_a_process(task, cores)
        again = None if workers else in_a_process(task, cores)
        stored = FeatureStore(store).summary()
    return {
        "segments": len(X),
        "recordings": X["file"].nunique(),
        "hours": samples / rate / 3600,
        "wanted_samples": samples,
        "file_bytes": file_bytes,
        "first": first,
        "again": again,
        "store_files": int(stored["files"].sum()),
        "store_bytes": int(stored["bytes"].sum()),
    }


def straight_line(hours, seconds):
    """Straight line by least squares.

    Parameters
    ----------
    hours, seconds : list of float

    Returns
    -------
    slope, start : float
        Seconds per hour, and seconds at nothing.
    deviation : float
        The largest one from the line, relative to the line.
    """
    slope, start = np.polyfit(hours, seconds, 1)
    line = slope * np.array(hours) + start
    return float(slope), float(start), float(np.abs(np.array(seconds) / line - 1).max())


def report(rows):
    """Lines of the tables and of the fitted lines.

    Parameters
    ----------
    rows : dict of str to dict

    Returns
    -------
    list of str
    """
    times, memory, dask = [], [], []
    for name, row in rows.items():
        first, again = row["first"], row["again"]
        seconds = first["seconds"]
        if again is None:
            alone = rows[name.replace(f"{row['workers']} Dask", "1 Dask")]["first"]["seconds"]
            peaks = ", ".join(f"{peak:.0f}" for peak in first["worker_rss"])
            cells = [f"{seconds:.1f} s", f"{first['worker_cpu_seconds']:.1f} s"]
            cells += [f"{alone / seconds:.2f}", f"{peaks} MiB"]
            dask.append([name, str(row["segments"]), *cells])
            continue
        cells = [f"{row['segments']}", f"{row['hours']:.2f}", f"{seconds:.1f} s"]
        cells += [f"{first['cpu_seconds']:.1f} s", f"{3600 * row['hours'] / seconds:.0f}"]
        cells += [f"{again['seconds']:.2f} s", f"{seconds / again['seconds']:.0f}"]
        cells += [f"{again['process_seconds']:.1f} s", f"{again['read_seconds']:.1f} s"]
        store = f"{row['store_files']} files, {row['store_bytes'] / GIB:.2f} GiB"
        times.append([name, *cells, store])
        peaks = [first["imports"], first["memory"], again["memory"], again["read_memory"]]
        cells = [f"{peak['rss']:.0f} ({peak['anonymous']:.0f}) MiB" for peak in peaks]
        once = row["file_bytes"] + 2 * row["wanted_samples"]
        cells += [f"{first['samples'] / row['wanted_samples']:.6f}"]
        memory.append([name, *cells, f"{first['bytes_read'] / once:.3f}"])
    lines = table_of(
        "part,segments,hours,first run,its CPU time,times real time,again,ratio,"
        "again with imports,all frames read,store".split(","),
        times,
    )
    lines += table_of(
        "part,imports,first run,again,all frames read,decoded / wanted,"
        "bytes read / (files + segments)".split(","),
        memory,
    )
    lines += fits(rows)
    lines += table_of("part,segments,first run,CPU of workers,ratio,peak of each".split(","), dask)
    return lines


def fits(rows):
    """Straight lines through the times of some parts, and the deviation from them.

    Parameters
    ----------
    rows : dict of str to dict

    Returns
    -------
    list of str
        Lines; none for fewer than three parts.
    """
    parts = [row for row in rows.values() if row["dtype"] is None and not row["workers"]]
    if len(parts) < 3:
        return []
    hours, lines = [row["hours"] for row in parts], []
    for name, key in (("first run", "seconds"), ("its CPU time", "cpu_seconds")):
        slope, start, deviation = straight_line(hours, [row["first"][key] for row in parts])
        lines += [f"{name}: {start:.1f} s + {slope:.2f} s per hour, within {deviation:.1%}", ""]
    return lines


def main():
    """Measure what is asked for, print and save."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--standin", type=Path, required=True, help="data home with CMU-MOSEI's layout"
    )
    parser.add_argument("--fractions", default="0.1,0.2,0.4", help="of the segments (0.1,0.2,0.4)")
    parser.add_argument("--float16", action="store_true", help="also the first part in float16")
    parser.add_argument("--dask", action="store_true", help="only the first part, with Dask")
    parser.add_argument("--work", type=Path, help="folder for stores (that of --out)")
    parser.add_argument("--core", type=int, default=0, help="that single processes use (0)")
    options = parser.parse_args()
    work = options.work or options.out.parent
    work.mkdir(parents=True, exist_ok=True)
    mosei = load_cmu_mosei(data_home=options.standin)
    fractions = [float(fraction) for fraction in options.fractions.split(",")]
    runs = [(fraction, None, 0) for fraction in fractions]
    if options.float16:
        runs = [(fractions[0], "float16", 0)]
    if options.dask:
        runs = [(fractions[0], None, workers) for workers in (1, 2)]
    rows = json.loads(options.out.read_text()) if options.out.is_file() else {}
    for fraction, dtype, workers in runs:
        name = f"{fraction:.0%}" + (f", {dtype}" if dtype else "")
        name += f", {workers} Dask" if workers else ""
        X = part_of(mosei.data, mosei.groups, fraction)
        cores = list(range(os.cpu_count())) if workers else [options.core]
        kind = {"fraction": fraction, "dtype": dtype, "workers": workers}
        rows[name] = kind | run(X, work, dtype, workers, cores)
        rows = dict(sorted(rows.items(), key=lambda row: (row[1]["fraction"], row[1]["workers"])))
        save(options.out, rows, report(rows))


if __name__ == "__main__":
    main()
