"""Small networks that train in a moment."""

import pytest
from estimators import SMALL_BLOCKS

from sklearn_speechsent import SpeechSentimentClassifier, SpeechSentimentRegressor


@pytest.fixture
def net_params():
    """Parameters of a network that trains in a moment."""
    return dict(max_epochs=1, batch_size=4, n_jobs=1, random_state=0, **SMALL_BLOCKS)


@pytest.fixture(params=[SpeechSentimentRegressor, SpeechSentimentClassifier])
def net(request, net_params):
    """An unfitted net, once as a regressor and once as a classifier."""
    return request.param(**net_params)
