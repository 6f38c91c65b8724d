"""Script that trains in a process which is killed ten times, for ``test_resume.py``.

Processes are forked from this one, so that torch is imported once and not eleven times.
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import torch

from sklearn_speechsent import SpeechSentimentRegressor, UtteranceFrames
from sklearn_speechsent.training import resume
from sklearn_speechsent.training.net import UtteranceNet
from sklearn_speechsent.training.resume_file import ResumeFile, locked_file

rng = np.random.default_rng(0)
y = np.arange(40) % 3 - 1
X = UtteranceFrames.from_arrays(
    [(rng.normal(size=(rng.integers(10, 30), 8)) + level).astype("f4") for level in y]
)
NET = SpeechSentimentRegressor(
    max_epochs=5,
    batch_size=4,
    early_stopping=True,
    chunk_duration=0.12,
    module__dropout=0.2,
    n_jobs=1,
    random_state=0,
)


def train(folder, moments, results):
    """Fit, and report when a batch begins and when a file is written."""

    def reporting(function):
        def reported(*args, **kwargs):
            os.write(moments, b".")
            return function(*args, **kwargs)

        return reported

    resume.SAVE_INTERVAL = 0.0
    UtteranceNet.infer = reporting(UtteranceNet.infer)
    ResumeFile.write = reporting(ResumeFile.write)
    net = NET.set_params(resume=folder).fit(X, y)
    results.put((net.predict(X), net.history[:, ("train_loss", "valid_loss")]))


def main(folder):
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    whole = NET.fit(X, y)
    n_killed, concurrent = 0, ""
    while True:
        read, write = os.pipe()
        results = context.SimpleQueue()
        process = context.Process(target=train, args=(folder, write, results))
        process.start()
        os.close(write)
        if n_killed == 10:
            predictions, history = results.get()
            process.join()
            break
        for _ in range(rng.integers(1, 16)):
            assert os.read(read, 1), "it was finished before it was killed"
        if n_killed == 1:
            (file,) = folder.glob("*.fit")
            with locked_file(folder, file.stem, shared=False) as (other, _):
                concurrent = "the same file" if other.path.stem == file.stem else "another file"
        process.join(timeout=rng.uniform(0, 0.01))
        process.kill()
        process.join()
        n_killed += process.exitcode == -9
        os.close(read)
    report = {
        "killed": n_killed,
        "in the folder": [f"one {'file' if p.suffix == '.fit' else p}" for p in folder.iterdir()],
        "largest difference": float(np.abs(predictions - whole.predict(X)).max()),
        "same history": history == whole.history[:, ("train_loss", "valid_loss")],
        "next to a running fit": concurrent,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
