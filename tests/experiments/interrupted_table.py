"""Script that runs the experiment whole and interrupted, for ``test_cmu_mosei_interrupted.py``.

Processes are forked from this one, so that what takes long to import is imported once and not four
times: torch, its optimizers and the pictures.
"""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

import matplotlib.pyplot  # noqa: F401
import numpy as np
import torch
import torch._dynamo

import sklearn_speechsent.pipeline  # noqa: F401


def start(out, arguments):
    """Start the command in a process of its own; returns it and what it says."""
    read, write = os.pipe()

    def run():
        os.dup2(write, 1)
        os.dup2(write, 2)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)
        sys.argv[1:] = [*arguments, "--out", str(out)]
        runpy.run_module("experiments.cmu_mosei", run_name="__main__", alter_sys=True)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    os.close(write)
    return process, os.fdopen(read)


def complete(out, arguments):
    """Run the experiment to its end and return what it said."""
    process, said = start(out, arguments)
    with said:
        text = said.read()
    process.join()
    assert process.exitcode == 0, text
    return text


def interrupt(out, arguments, moment, delay):
    """Kill the experiment some seconds after it has said something."""
    process, said = start(out, arguments)
    with said:
        assert any(line.rstrip("\n").endswith(moment) for line in said), "it never said so"
        process.join(timeout=delay)
        assert process.exitcode is None, "it was finished before it was killed"
        process.kill()
        process.join()
    assert process.exitcode == -9


def compare(folder, *arguments):
    """Fill the folders ``whole`` and ``interrupted``."""
    torch.set_num_threads(1)
    said = complete(folder / "whole", arguments)
    (folder / "said.txt").write_text(said)
    rng = np.random.default_rng(0)
    for stage in ("Extraction: ", "Fit: "):
        lines = [line for line in said.splitlines() if line.startswith(stage)]
        interrupt(folder / "interrupted", arguments, rng.choice(lines), rng.uniform(0, 0.5))
    complete(folder / "interrupted", arguments)


if __name__ == "__main__":
    compare(Path(sys.argv[1]), *sys.argv[2:])
