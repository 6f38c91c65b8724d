"""Extraction in a process that does nothing else, started by ``benchmarks.scale.extraction``."""

import json
import logging
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks._memory import MIB, Memory, peak_rss


def count_samples():
    """Count the samples that this process decodes from now on.

    Returns
    -------
    list of int
        One number, which grows.
    """
    import soundfile

    count, read = [0], soundfile.SoundFile.read

    def counted(self, *args, **kwargs):
        samples = read(self, *args, **kwargs)
        count[0] += len(samples)
        return samples

    soundfile.SoundFile.read = counted
    return count


def system_reads():
    """Bytes that this process has read by system calls; mapped files do not count.

    Returns
    -------
    int
    """
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def measure(task):
    """Extract in this process.

    Parameters
    ----------
    task : dict
        ``table`` (CSV of file, start, end), ``store``, ``dtype``, ``workers`` (of Dask; 0 for
        none) and ``cores`` (list of int).

    Returns
    -------
    dict
        Seconds, memory (MiB), samples decoded and bytes read.
    """
    import joblib
    import pandas as pd

    from sklearn_speechsent import FeatureStore, MelFilterBank, SlidingCMN

    imports = {"rss": peak_rss() / MIB, "anonymous": Memory.now() / MIB}
    X = pd.read_csv(task["table"])
    store = FeatureStore(task["store"], dtype=task["dtype"])
    mfb, cmn = MelFilterBank(memory=store), SlidingCMN(memory=store)
    result = {"imports": imports}

    def extract():
        started, cpu, read = time.perf_counter(), time.process_time(), system_reads()
        frames = mfb.fit_transform(X)
        result["mfb_seconds"] = time.perf_counter() - started
        frames = cmn.fit_transform(frames)
        result["seconds"] = time.perf_counter() - started
        result["cpu_seconds"] = time.process_time() - cpu
        result["bytes_read"] = system_reads() - read
        return frames

    if task["workers"]:
        import dask
        from distributed import Client, LocalCluster

        # By default workers give memory back as soon as it is free, and ask for it again with the
        # next array (MALLOC_TRIM_THRESHOLD_), which doubles the cost of a transform.
        environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment})
        # Workers import the package before the clock starts, as those of a running cluster have.
        with (
            LocalCluster(
                n_workers=task["workers"],
                processes=True,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster) as client,
            joblib.parallel_config(backend="dask"),
        ):
            client.run(warm_worker)
            before = sum(client.run(time.process_time).values())
            frames = extract()
            result["worker_cpu_seconds"] = sum(client.run(time.process_time).values()) - before
            result["worker_rss"] = [size / MIB for size in client.run(peak_rss).values()]
        result["frames"] = int(frames.lengths.sum())
        return result
    count = count_samples()
    with Memory() as memory:
        frames = extract()
    result |= {"samples": count[0], "memory": memory.peaks(), "frames": int(frames.lengths.sum())}
    with Memory() as memory:
        started = time.perf_counter()
        total = sum(float(utterance.sum()) for utterance in frames)
        result["read_seconds"] = time.perf_counter() - started
    assert total == total, "frames hold NaN"
    result["read_memory"] = memory.peaks()
    return result


def warm_worker():
    """Import what a worker needs, and limit it to one thread of arithmetic."""
    import torch

    # The package alone would load nothing: its names load on first use.
    import_module("sklearn_speechsent.features")
    torch.set_num_threads(1)


def main():
    """Measure the task of the command line on the cores that it names, and print the result."""
    task = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task["cores"])
    print(json.dumps(measure(task)))


if __name__ == "__main__":
    main()
