"""Script in which two processes train one network; each writes its batches and its result."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch._dynamo  # noqa: F401  # which every optimizer imports: once, before the fork
from accelerate import Accelerator, DataLoaderConfiguration, debug_launcher
from skorch.hf import AccelerateMixin

from sklearn_speechsent import SpeechSentimentClassifier, UtteranceFrames
from sklearn_speechsent.sentiment import SummedLoss
from sklearn_speechsent.training.data import UtteranceDataset


class AcceleratedClassifier(AccelerateMixin, SpeechSentimentClassifier):
    """As in the documentation."""


class HiddenLoss:
    """The default criterion, hidden from accelerate.

    It wraps every module on a CPU, and those with parameters on GPUs, but can wrap no others.
    """

    def __init__(self):
        self.loss = SummedLoss()

    def __call__(self, losses, weight):
        return self.loss(losses, weight)


def make_data():
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, 41)
    arrays = [rng.normal(level, 1, (50 + i, 8)).astype(np.float32) for i, level in enumerate(y)]
    return UtteranceFrames.from_arrays(arrays), y


def make_net(**params):
    accelerator = Accelerator(
        cpu=True, dataloader_config=DataLoaderConfiguration(even_batches=False)
    )
    return AcceleratedClassifier(
        accelerator=accelerator,
        criterion=HiddenLoss,
        callbacks__print_log__sink=print,
        max_epochs=3,
        batch_size=6,
        chunk_duration=0.4,
        **params,
    )


def main(folder):
    X, y = make_data()
    seen = []
    gather = UtteranceDataset.__getitem__

    def spying(self, rows):
        if self.chunk is not None:  # set for training only
            seen.append(np.asarray(rows).tolist())
        return gather(self, rows)

    UtteranceDataset.__getitem__ = spying
    # With these generators, the processes would draw other orders, and hold out other rows.
    own = np.random.RandomState(os.getpid())
    net = make_net(random_state=own, early_stopping=True, patience=2, lr_schedule="one-cycle")
    net.fit(X, y)
    state = {key: value.double().sum().item() for key, value in net.module_.state_dict().items()}
    refused = ""
    try:
        make_net(resume=folder).fit(X, y)
    except ValueError as error:
        refused = str(error)
    result = {
        "seen": seen,
        "n_epochs": len(net.history),
        "rates": net.history[:, "event_lr"],
        "valid_loss": net.history[:, "valid_loss"],
        "state": state,
        "predictions": net.predict(X).tolist(),
        "refused": refused,
    }
    Path(folder, f"{net.accelerator.process_index}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    debug_launcher(main, args=(sys.argv[1],), num_processes=2)
