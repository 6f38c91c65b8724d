"""The paper's experiment as a user runs it, interrupted and started again.

On real speech in CMU-MOSEI's place, with the real labels, times and folds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.scale import standin

ROOT = Path(__file__).resolve().parents[2]
SMALL, TWO_HEADED, FUSED = "small", "2/2SREx-SEResNet-16 + C + R", "1/2SREx-SEResNet-34 + SpE + C"


@pytest.fixture(scope="module")
def replica(data_home, tmp_path_factory):
    """Stand-in for CMU-MOSEI of the shortest segments of some levels."""
    labels = pd.read_csv(data_home / "cmu_mosei" / "labels.csv", dtype={"clip_id": str})
    lasting = labels["end"] - labels["start"].clip(lower=0)
    labels = labels.assign(level=labels["sentiment"].round(), lasting=lasting)
    labels = labels[(labels["end"] < 60) & (lasting > 0.5)].sort_values("lasting", kind="stable")
    few = labels.groupby(["split", "level"]).head(1)
    few = few[(few["level"].abs() < 2) | (few["split"] == "train") & (few["level"] > -3)]
    home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("standin")
    (home / "cmu_mosei").mkdir()
    few.drop(columns=["level", "lasting"]).to_csv(home / "cmu_mosei" / "labels.csv", index=False)
    for name in ("librispeech_excerpts", "ravdess"):
        (home / name).symlink_to(data_home / name)
    standin.build(out, n_jobs=1, data_home=home)
    return out


@pytest.fixture(scope="module")
def folder(replica, tmp_path_factory):
    """What the script wrote, and said, when it ran through and when it was interrupted twice."""
    folder = tmp_path_factory.mktemp("results")
    script = Path(__file__).with_name("interrupted_table.py")
    arguments = ["--audio-dir", replica / "cmu_mosei", "--epochs", "1", "--jobs", "1"]
    arguments += ["--systems", f"{SMALL},{TWO_HEADED},{FUSED}", "--weights", "speechsent-seresnet"]
    done = subprocess.run(
        [sys.executable, script, folder, *arguments],
        cwd=ROOT,
        env=os.environ | {"SPEECHSENT_DATA": str(replica), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def table(folder):
    return json.loads((folder / "table.json").read_text())


@pytest.mark.data
def test_interrupted_at_any_moment_it_resumes_to_the_same_table(replica, folder):
    whole = table(folder / "whole")
    assert [(row["system"], row["reading"]) for row in whole["rows"]] == [
        ("constant: median of train (0.5)", ""),
        ("constant: always 0", ""),
        (SMALL, "levels"),
        (TWO_HEADED, "levels"),
        (TWO_HEADED, "intensities"),
        (FUSED, "levels"),
    ]
    assert whole["failed"] == {}
    markdown = (folder / "whole" / "table.md").read_text()
    assert markdown in (folder / "said.txt").read_text()
    assert "not that of CMU-MOSEI" in markdown
    for picture in ("labels.png", "confusion.png"):
        assert (folder / "whole" / picture).read_bytes().startswith(b"\x89PNG")

    # The constant rows, from the labels alone.
    labels = pd.read_csv(replica / "cmu_mosei" / "labels.csv")
    y = labels.loc[labels["split"] == "test", "sentiment"].to_numpy()
    median = np.median(labels.loc[labels["split"] == "train", "sentiment"])
    assert median == pytest.approx(0.5)
    for row, constant in zip(whole["rows"], (median, 0), strict=False):
        hits = np.rint(y) == np.rint(constant)
        assert {name: row[name] for name in list(row)[2:9]} == pytest.approx(
            {
                "mae": np.abs(y - constant).mean(),
                "pearson": 0.0,
                "acc7": hits.mean(),
                "f1_7_micro": hits.mean(),
                "threshold_accuracy": 1 - np.abs(np.rint(y) - np.rint(constant)).mean() / 6,
                # An exact 0 counts as negative, but as non-negative.
                "polarity_accuracy": ((y[y != 0] > 0) == (constant > 0)).mean(),
                "nonnegative_accuracy": (y >= 0).mean(),
            }
        )

    # Once amid extraction and once amid a fit, and a moment later.
    interrupted = table(folder / "interrupted")
    for row, other in zip(interrupted["rows"], whole["rows"], strict=True):
        del row["fit_seconds"], other["fit_seconds"]
        figures = {k: v for k, v in other.items() if isinstance(v, float)}
        assert {k: row[k] for k in figures} == pytest.approx(figures, abs=1e-6)
        assert row.keys() == other.keys()
