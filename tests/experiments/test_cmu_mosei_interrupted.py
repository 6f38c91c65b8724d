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

ROOT = Path(__file__).resolve().parents[2]
SMALL, TWO_HEADED, FUSED = "small", "2/2SREx-SEResNet-16 + C + R", "1/2SREx-SEResNet-34 + SpE + C"


@pytest.fixture(scope="module")
def standin(data_home, tmp_path_factory):
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
    subprocess.run(
        [sys.executable, "-m", "benchmarks.scale.standin", out, "--jobs", "1"],
        cwd=ROOT,
        env=os.environ | {"SPEECHSENT_DATA": str(home)},
        check=True,
        capture_output=True,
    )
    return out


def start(standin, out):
    """The script as a user calls it, with the weights that ship with the package."""
    arguments = ["--audio-dir", standin / "cmu_mosei", "--out", out, "--epochs", "1", "--jobs", "1"]
    return subprocess.Popen(
        [
            sys.executable,
            *("-m", "experiments.cmu_mosei"),
            *arguments,
            "--systems",
            f"{SMALL},{TWO_HEADED},{FUSED}",
            *("--weights", "speechsent-seresnet"),
        ],
        cwd=ROOT,
        env=os.environ | {"SPEECHSENT_DATA": str(standin), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.data
def test_interrupted_at_any_moment_it_resumes_to_the_same_table(standin, tmp_path):
    process = start(standin, tmp_path / "whole")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    whole = json.loads((tmp_path / "whole" / "table.json").read_text())
    assert [(row["system"], row["reading"]) for row in whole["rows"]] == [
        ("constant: median of train (0.5)", ""),
        ("constant: always 0", ""),
        (SMALL, "levels"),
        (TWO_HEADED, "levels"),
        (TWO_HEADED, "intensities"),
        (FUSED, "levels"),
    ]
    assert whole["failed"] == {}
    markdown = (tmp_path / "whole" / "table.md").read_text()
    assert markdown in said
    assert "not that of CMU-MOSEI" in markdown
    for picture in ("labels.png", "confusion.png"):
        assert (tmp_path / "whole" / picture).read_bytes().startswith(b"\x89PNG")

    # The constant rows, from the labels alone.
    labels = pd.read_csv(standin / "cmu_mosei" / "labels.csv")
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
    rng = np.random.default_rng(0)
    for lines in (
        [line for line in said.splitlines() if line.startswith("Extraction: ")],
        [line for line in said.splitlines() if line.startswith("Fit: ")],
    ):
        process = start(standin, tmp_path / "interrupted")
        moment = rng.choice(lines)
        assert any(line.rstrip("\n").endswith(moment) for line in process.stdout)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(0, 0.5))
        process.kill()
        assert process.wait() == -9
        process.stdout.close()
    process = start(standin, tmp_path / "interrupted")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    interrupted = json.loads((tmp_path / "interrupted" / "table.json").read_text())
    for row, other in zip(interrupted["rows"], whole["rows"], strict=True):
        del row["fit_seconds"], other["fit_seconds"]
        figures = {k: v for k, v in other.items() if isinstance(v, float)}
        assert {k: row[k] for k in figures} == pytest.approx(figures, abs=1e-6)
        assert row.keys() == other.keys()
