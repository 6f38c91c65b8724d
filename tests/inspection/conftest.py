"""Fewer draws than users get, so that tests are quick."""

import pytest

from sklearn_speechsent.inspection import bootstrap


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(bootstrap, "_DRAWS", 50)
