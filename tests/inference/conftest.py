"""A fitted pipeline, long recordings, and a detector and a pipeline that are quick to follow."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from followed import Loudness, TellingDetector

from sklearn_speechsent import make_sentiment_pipeline


@pytest.fixture
def loudness():
    return Loudness().fit()


@pytest.fixture
def telling():
    """Function that makes a detector that believes what the samples say."""

    def make(hangover=25):
        return TellingDetector(
            network=None, mel=SimpleNamespace(n_mels=1), threshold=0.9, low=0.75, hangover=hangover
        )

    return make


@pytest.fixture(scope="session")
def pipeline(speech):
    """Small, fitted on the synthetic corpus."""
    return make_sentiment_pipeline("small").fit(speech.data, speech.target)


@pytest.fixture(scope="session")
def conversation(speech):
    """Six utterances of the synthetic corpus between pauses of noise, at 16 kHz, int16."""
    rng = np.random.default_rng(0)
    parts = [np.zeros(3000, np.int16)]
    for path in speech.data[::4]:
        pause = rng.normal(0, 3, rng.integers(3000, 30000)).astype(np.int16)
        parts += [soundfile.read(path, dtype="int16")[0], pause]
    return np.concatenate(parts)
