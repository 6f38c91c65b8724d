"""Recordings and a store."""

import pytest
from store_corpus import short_recordings

from sklearn_speechsent import FeatureStore


@pytest.fixture
def recordings(tmp_path):
    return short_recordings(tmp_path / "recordings", 12)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")
