"""Noise that stands for speech, where what is tested happens to frames of speech."""

import numpy as np
import pytest

from sklearn_speechsent.vad import detector


@pytest.fixture
def somebody_speaks(monkeypatch):
    """Every utterance holds speech, whatever it is made of; test_presence.py has the rule."""
    monkeypatch.setattr(
        detector, "holds_speech", lambda network, frames, *args: np.ones(len(frames), dtype=bool)
    )
