"""Keeping 23,000 utterances: the package's store beside stores that others keep.

    python benchmarks/feature_store.py --out results/feature_store.json

Log-mel frames of realistic size (760 x 80 float32 on average, 5.2 GiB in all; ``--n-mels 8`` for a
tenth of that) are written in one process and found again in a fresh one, which then gathers random
batches of chunks, as training does. One core, uncompressed, and every store removed when it has
been measured. Times are those of the processor, but for the column "all on disk". Stores whose
package is not installed are left out with a message. Prints a table, writes FILE.json and FILE.md
after each row.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from _resume import write_text
from _stores import MEAN, SHORTEST, STORES, Utterances

GIB = 2**30
BATCHES, ROWS = 1000, 32


@cache
def _utterances(n, n_mels):
    return Utterances(n, n_mels)


def write(name, folder, n, n_mels):
    """Write all utterances.

    Parameters
    ----------
    name : str
        Key of ``STORES``.
    folder : Path
    n, n_mels : int

    Returns
    -------
    dict
        Seconds of computing, and seconds until all is on the disk.
    """
    store = STORES[name](folder, _utterances(n, n_mels))
    started, cpu = time.perf_counter(), time.process_time()
    store.write()
    written = time.process_time() - cpu
    os.sync()
    return {"write_seconds": written, "disk_seconds": time.perf_counter() - started}


def read(name, folder, n, n_mels):
    """Find all utterances, open each, and gather random chunks.

    Parameters
    ----------
    name : str
    folder : Path
    n, n_mels : int

    Returns
    -------
    dict
        Seconds of computing, the system's share included: files lie in its cache.
    """
    utterances = _utterances(n, n_mels)
    started = time.process_time()
    store = STORES[name](folder, utterances)
    store.find()
    found = time.process_time()
    for number in range(n):
        store[number][0].sum()
    opened = time.process_time()
    rng = np.random.default_rng(1)
    for _ in range(BATCHES):
        numbers = rng.integers(n, size=ROWS)
        firsts = rng.integers(utterances.lengths[numbers] - SHORTEST + 1)
        batch = store.gather(numbers, firsts)
        wanted = utterances[numbers[-1]][firsts[-1] : firsts[-1] + SHORTEST]
        if not np.array_equal(batch[-1], wanted):
            raise AssertionError(f"{name} gives other frames than it got")
    gathered = time.process_time()
    return {
        "find_seconds": found - started,
        "open_seconds": opened - found,
        "gather_seconds": gathered - opened,
    }


def in_a_fresh_process(core, function, *arguments):
    """Call a function in a process that does nothing else, on one core.

    Parameters
    ----------
    core : int
    function : callable
    *arguments : object

    Returns
    -------
    object
        What it gives.
    """
    affinity = getattr(os, "sched_setaffinity", None)
    with ProcessPoolExecutor(
        1,
        multiprocessing.get_context("spawn"),
        initializer=affinity,
        initargs=(0, [core]) if affinity else (),
    ) as pool:
        return pool.submit(function, *arguments).result()


def size_of(folder):
    """Files below a folder, and the room that they take on the disk.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of str to int
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(512 * path.stat().st_blocks for path in files)}


def report(rows, n):
    """Table of all stores.

    Parameters
    ----------
    rows : dict of str to dict
    n : int

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        "| store | write one | all on disk | find all | open all | gather a batch | files | GiB |",
        "|---" * 8 + "|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {1e3 * row['write_seconds'] / n:.2f} ms | {row['disk_seconds']:.0f} s "
            f"| {row['find_seconds']:.2f} s | {row['open_seconds']:.2f} s "
            f"| {1e3 * row['gather_seconds'] / BATCHES:.1f} ms | {row['files']} "
            f"| {row['bytes'] / GIB:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    """Measure one store after the other, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="FILE.json; FILE.md goes beside it")
    parser.add_argument("--n", type=int, default=23000, help="utterances (23000)")
    parser.add_argument("--n-mels", type=int, default=80, help="values of a frame (80)")
    parser.add_argument("--work", type=Path, help="folder for the stores (that of --out)")
    parser.add_argument("--core", type=int, default=0, help="that the processes use (0)")
    options = parser.parse_args()
    work = options.work or options.out.parent
    work.mkdir(parents=True, exist_ok=True)
    needed = options.n * MEAN * options.n_mels * 4
    if (free := shutil.disk_usage(work).free) < 1.2 * needed + GIB:
        raise SystemExit(
            f"{work} has {free / GIB:.1f} GiB free, and a store takes {needed / GIB:.1f}: choose "
            "another folder by --work, or smaller --n or --n-mels."
        )
    os.environ["OMP_NUM_THREADS"] = "1"
    size = (options.n, options.n_mels)
    rows = {}
    for name, store in STORES.items():
        if importlib.util.find_spec(store.module) is None:
            print(f"{name} is left out: pip install {store.module}")
            continue
        with tempfile.TemporaryDirectory(dir=work) as folder:
            row = in_a_fresh_process(options.core, write, name, Path(folder), *size)
            row |= size_of(Path(folder))
            row |= in_a_fresh_process(options.core, read, name, Path(folder), *size)
        rows[name] = row
        table = report(rows, options.n)
        write_text(options.out, json.dumps({"n": options.n, "n_mels": options.n_mels, **rows}))
        write_text(options.out.with_suffix(".md"), table)
        print(table, flush=True)


if __name__ == "__main__":
    main()
