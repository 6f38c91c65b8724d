"""Recordings, a store, and a spy on what is decoded."""

import pytest
from store_corpus import short_recordings

from sklearn_speechsent import FeatureStore, audio


@pytest.fixture
def recordings(tmp_path):
    return short_recordings(tmp_path / "recordings", 12)


@pytest.fixture
def computed(monkeypatch):
    """Rows that were decoded since it was last cleared."""
    rows, original = [], audio.read

    def read(recording, sample_rate):
        rows.append(recording.row)
        return original(recording, sample_rate)

    monkeypatch.setattr(audio, "read", read)
    return rows


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")
