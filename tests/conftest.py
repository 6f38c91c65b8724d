"""Fixtures of all tests: the data home of real recordings, and small synthetic data."""

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# Several test processes run at the same time; more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.utils.files import get_data_home


@pytest.fixture(scope="session")
def data_home() -> Path:
    """Data home with real recordings; the test is skipped where there is none."""
    home = get_data_home()
    if not (home / "ravdess").is_dir():
        pytest.skip(f"no real recordings in {home}; point SPEECHSENT_DATA to them")
    return home


@pytest.fixture(autouse=True)
def global_generators_untouched():
    """No test may find that the package has seeded, or drawn from, torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state()), "torch's global generator moved"


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """Synthetic corpus of 4 speakers with 6 utterances each, on three levels."""
    from sklearn_speechsent.datasets import make_speech_sentiment

    folder = tmp_path_factory.mktemp("speech")
    return make_speech_sentiment(4, 6, levels=(-1, 0, 1), out_dir=folder, random_state=0)


@pytest.fixture
def make_frames():
    """Function that makes random frames and their levels -1, 0, 1."""
    return _make_frames


def _make_frames(n=12, size=8, seed=0, longest=30, **settings):
    """Random frames of unequal length, shifted by their label."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3 - 1
    arrays = [
        (rng.normal(size=(rng.integers(10, longest), size)) + level).astype(np.float32)
        for level in y
    ]
    return UtteranceFrames.from_arrays(arrays, frame_settings=settings or None), y


@pytest.fixture
def data():
    """12 utterances of 8 bins and their levels -1, 0, 1."""
    return _make_frames()


@pytest.fixture
def decoded(monkeypatch):
    """Rows of the recordings that were decoded in this process, in order."""
    from sklearn_speechsent import audio

    rows, original = [], audio.read_blocks

    def read(recording, sample_rate):
        rows.append(recording.row)
        return original(recording, sample_rate)

    monkeypatch.setattr(audio, "read_blocks", read)
    return rows


@pytest.fixture
def rng() -> np.random.Generator:
    """Fresh generator with a fixed seed."""
    return np.random.default_rng(0)
