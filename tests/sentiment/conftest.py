"""Tiny nets on tiny random frames."""

import numpy as np
import pytest

from sklearn_speechsent import (
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)


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
def net_params():
    return dict(max_epochs=1, batch_size=4, n_jobs=1, random_state=0)


@pytest.fixture(params=[SpeechSentimentRegressor, SpeechSentimentClassifier])
def net(request, net_params):
    """An unfitted net, once as a regressor and once as a classifier."""
    return request.param(**net_params)
