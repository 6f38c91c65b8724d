"""Bundles and tables that the command takes."""

import io
import sys

import pandas as pd
import pytest

from sklearn_speechsent import make_sentiment_pipeline, save_model
from sklearn_speechsent.cli import main


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


@pytest.fixture
def call(monkeypatch, capsys):
    """Exit code, output and messages of a call in this process."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["speechsent", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run
