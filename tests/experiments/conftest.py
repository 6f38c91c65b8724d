"""The scripts are no package: their folder goes onto the path, as when one of them is run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def manifest(speech, tmp_path_factory):
    """Manifest of the synthetic corpus, with names for speakers and real labels."""
    path = tmp_path_factory.mktemp("manifest") / "corpus.csv"
    frame = speech.frame.assign(speaker=[f"voice {s}" for s in speech.groups])
    frame["label"] += 0.25
    frame.to_csv(path, index=False)
    return path
