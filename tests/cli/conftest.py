"""Bundles and tables that the command takes."""

import pandas as pd
import pytest

from sklearn_speechsent import make_sentiment_pipeline, save_model


@pytest.fixture(scope="session")
def fitted(speech):
    """Quick to fit and to score."""
    return make_sentiment_pipeline(weights=None).fit(speech.data, speech.target)


@pytest.fixture(scope="session")
def bundle(fitted, tmp_path_factory):
    return save_model(fitted, tmp_path_factory.mktemp("bundle") / "model.zip")


@pytest.fixture
def manifest(speech, tmp_path):
    table = pd.DataFrame({"file": speech.data, "rating": speech.target, "speaker": speech.groups})
    table.to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path / "labels.csv"
