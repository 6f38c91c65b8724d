"""Storing 23,000 utterances: the package's store compared with other stores.

    python -m benchmarks.scale.feature_store --out results/feature_store.json

Log-mel frames of realistic size (760 x 80 float32 on average, 5.2 GiB in all; ``--n-mels 8`` for a
tenth of that) are written in one process and found again in a fresh one, which then gathers random
batches of chunks, as training does. One core, uncompressed, and every store removed when it has
been measured. Times are those of the processor, except for the column "all on disk". Stores whose
package is not installed are left out with a message. Writes FILE.json and FILE.md after each row.
"""

import importlib.util
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks._timing import on_cores
from benchmarks.scale._stores import MEAN, SHORTEST, STORES, Utterances
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of

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
        Seconds of computing, including the system's share: files are in its cache.
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
            raise AssertionError(f"{name} returns other frames than were written")
    gathered = time.process_time()
    return {
        "find_seconds": found - started,
        "open_seconds": opened - found,
        "gather_seconds": gathered - opened,
    }


def size_of(folder):
    """Files below a folder, and the space that they take on the disk.

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
    """Lines of the table of all stores."""
    cells = [
        [
            name,
            f"{1e3 * row['write_seconds'] / n:.2f} ms",
            f"{row['disk_seconds']:.0f} s",
            f"{row['find_seconds']:.2f} s",
            f"{row['open_seconds']:.2f} s",
            f"{1e3 * row['gather_seconds'] / BATCHES:.1f} ms",
            str(row["files"]),
            f"{row['bytes'] / GIB:.2f}",
        ]
        for name, row in rows.items()
    ]
    columns = "store,write one,all on disk,find all,open all,gather a batch,files,GiB"
    return table_of(columns.split(","), cells)


def main():
    """Measure one store after the other, print and save."""
    parser = make_parser(__doc__)
    parser.add_argument("--n", type=int, default=23000, help="utterances (23000)")
    parser.add_argument("--n-mels", type=int, default=80, help="values of a frame (80)")
    parser.add_argument("--work", type=Path, help="folder for the stores (that of --out)")
    options = parser.parse_args()
    work = options.work or options.out.parent
    work.mkdir(parents=True, exist_ok=True)
    needed = options.n * MEAN * options.n_mels * 4
    if (free := shutil.disk_usage(work).free) < 1.2 * needed + GIB:
        raise SystemExit(
            f"{work} has {free / GIB:.1f} GiB free, and a store takes {needed / GIB:.1f}: choose "
            "another folder by --work, or smaller --n or --n-mels."
        )
    size = (options.n, options.n_mels)
    rows = {}
    for name, store in STORES.items():
        if importlib.util.find_spec(store.module) is None:
            print(f"{name} is left out: pip install {store.module}")
            continue
        with tempfile.TemporaryDirectory(dir=work) as folder:
            row = on_cores(write, 1, name, Path(folder), *size)
            row |= size_of(Path(folder))
            row |= on_cores(read, 1, name, Path(folder), *size)
        rows[name] = row
        save(
            options.out, {"n": options.n, "n_mels": options.n_mels, **rows}, report(rows, options.n)
        )


if __name__ == "__main__":
    main()
