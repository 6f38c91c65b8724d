"""Fits on several devices with the mixin of skorch; processes stand for devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerated import make_data, make_net

from sklearn_speechsent import SpeechSentimentClassifier


def test_one_process_is_the_plain_network():
    X, y = make_data()
    plain = SpeechSentimentClassifier(
        max_epochs=3, batch_size=6, chunk_duration=0.4, random_state=0
    ).fit(X, y)
    accelerated = make_net(random_state=0).fit(X, y)
    np.testing.assert_allclose(accelerated.predict_proba(X), plain.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(
        accelerated.history[:, "train_loss"], plain.history[:, "train_loss"], rtol=1e-6
    )


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Report of each of two processes that trained together."""
    folder = tmp_path_factory.mktemp("together")
    script = Path(__file__).with_name("accelerated.py")
    subprocess.run(
        [sys.executable, script, folder],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
        capture_output=True,
    )
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_processes_share_the_rows_of_an_epoch(processes):
    n_epochs = processes[0]["n_epochs"]
    passes = []
    for report in processes:
        # Each epoch goes over the rows twice: once to train, once for batch normalisation.
        per_pass, rest = divmod(len(report["seen"]), 2 * n_epochs)
        assert rest == 0
        passes.append([report["seen"][i * per_pass :][:per_pass] for i in range(2 * n_epochs)])
    orders = []
    for one, other in zip(*passes, strict=True):
        assert len(one) == len(other)
        rows = sorted(row for batch in one + other for row in batch)
        assert rows == list(range(len(rows))) and len(rows) > 30
        orders.append(one)
    assert orders[0] != orders[2]  # drawn again each epoch


def test_processes_end_with_one_network(processes):
    one, other = processes
    assert one["valid_loss"] == other["valid_loss"]
    assert one["n_epochs"] == other["n_epochs"]
    assert one["state"] == other["state"]
    assert one["predictions"] == other["predictions"] and len(one["predictions"]) == 41


def test_each_process_goes_through_the_whole_cycle_of_rates(processes):
    for report in processes:
        n_epochs, per_epoch = report["n_epochs"], len(report["seen"]) // (2 * report["n_epochs"])
        done = (np.arange(1, n_epochs + 1) * per_epoch - 0.5) / (3 * per_epoch)
        expected = 1e-3 * (1 + np.cos(np.pi * (done - 0.15) / 0.85)) / 2
        np.testing.assert_allclose(report["rates"], expected)


def test_resume_is_refused_with_several_processes(processes):
    for report in processes:
        assert "Leave it out, or train on one device" in report["refused"]
