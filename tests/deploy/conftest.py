"""Small fitted models, and bundles of them that can be changed."""

import numpy as np
import pytest
import torch
from changed_bundle import Bundle

from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline, save_model
from sklearn_speechsent.datasets import make_speech_sentiment


@pytest.fixture(scope="session")
def speech():
    """Recordings of three levels."""
    return make_speech_sentiment(3, 4, levels=(-1, 0, 1), random_state=0)


@pytest.fixture(scope="session")
def table():
    """Rows of six features and their levels."""
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, 40)
    return (y[:, None] + rng.normal(size=(40, 6))).astype(np.float32), y


@pytest.fixture(scope="session")
def tiny(table):
    """Fitted classifier of a table."""
    return OrdinalClassifier(n_components=4).fit(*table)


@pytest.fixture(scope="session")
def pooled(speech):
    """Fitted Pipeline from recordings, without a network."""
    pipeline = make_sentiment_pipeline(weights=None, vad="passthrough")
    return pipeline.fit(speech.data, speech.target)


@pytest.fixture
def bundle(tiny, tmp_path):
    """Bundle of the classifier of a table."""
    return Bundle(save_model(tiny, tmp_path / "bundle"))


@pytest.fixture
def speech_bundle(pooled, tmp_path):
    """Bundle of the Pipeline from recordings."""
    return Bundle(save_model(pooled, tmp_path / "speech"))


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Nothing here draws from torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state())
