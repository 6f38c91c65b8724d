"""A bundle that is quick to score, and processes that hold it."""

import pytest

from sklearn_speechsent import make_sentiment_pipeline, save_model
from sklearn_speechsent.serve import Settings
from sklearn_speechsent.serve.pool import Pool


@pytest.fixture(scope="session")
def fitted(speech):
    return make_sentiment_pipeline(weights=None).fit(speech.data, speech.target)


@pytest.fixture(scope="session")
def bundle(fitted, tmp_path_factory):
    return save_model(fitted, tmp_path_factory.mktemp("bundle") / "quick.zip")


@pytest.fixture(scope="session")
def pool(bundle):
    """One process for uploads and one for streams."""
    pool = Pool(str(bundle), Settings(workers=1))
    pool.start()
    yield pool
    pool.close()
    pool.end()


@pytest.fixture(scope="session")
def spoken(speech):
    """Half a minute of the corpus, at 16 kHz, int16."""
    import numpy as np
    import soundfile

    parts = []
    for path in speech.data[:8]:
        parts += [soundfile.read(path, dtype="int16")[0], np.zeros(12000, np.int16)]
    return np.concatenate(parts)
