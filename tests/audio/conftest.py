"""Spies on what is decoded."""

import pytest

from sklearn_speechsent.audio import samples


@pytest.fixture
def decoded(monkeypatch):
    """Recordings that were decoded, with how they are perturbed, in order."""
    seen = []
    resampled = samples._resampled

    def counting(recording, sample_rate, notes=None):
        seen.append((recording.source, recording.speed, recording.snr_db, recording.seed))
        return resampled(recording, sample_rate, notes)

    monkeypatch.setattr(samples, "_resampled", counting)
    return seen
