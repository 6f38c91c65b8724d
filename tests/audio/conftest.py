"""Spies on what is decoded."""

import pytest

from sklearn_speechsent.audio import io


@pytest.fixture
def decoded(monkeypatch):
    """Recordings that were decoded, with how they are perturbed, in order."""
    seen = []
    decode = io._decode

    def counting(recording):
        seen.append((recording.source, recording.speed, recording.snr_db, recording.seed))
        return decode(recording)

    monkeypatch.setattr(io, "_decode", counting)
    return seen
