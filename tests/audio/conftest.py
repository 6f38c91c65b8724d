"""Spies on what is decoded."""

import pytest

from sklearn_speechsent.audio import samples


@pytest.fixture
def decoded(monkeypatch):
    """Recordings that were decoded, with how they are perturbed, in order."""
    seen = []
    resampled = samples._resampled

    def counting(recording, *more):
        seen.append((recording.source, recording.speed, recording.snr_db, recording.seed))
        return resampled(recording, *more)

    monkeypatch.setattr(samples, "_resampled", counting)
    return seen
