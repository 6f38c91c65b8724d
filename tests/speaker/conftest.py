"""Small verifiers, and random frames of a few speakers."""

import numpy as np
import pytest

from sklearn_speechsent import SpeakerVerifier, UtteranceFrames

RECORD = {"sample_rate": 16000, "frame_shift": 0.01, "n_mels": 16, "cmn": "utterance"}


@pytest.fixture
def make_voices():
    """Function that makes frames of speakers, and their names."""
    return _make_voices


def _make_voices(n_speakers=4, n_each=3, size=16, seed=0, longest=40, **settings):
    """Random frames of unequal length around one spectrum per speaker."""
    rng = np.random.default_rng(seed)
    spectra = 2 * np.random.default_rng(99).normal(size=(n_speakers, size))
    y = np.repeat([f"speaker {chr(97 + k)}" for k in range(n_speakers)], n_each)
    arrays = [
        (rng.normal(size=(rng.integers(20, longest), size)) + spectra[k // n_each]).astype("f4")
        for k in range(n_speakers * n_each)
    ]
    record = {**RECORD, "n_mels": size, **settings}
    return UtteranceFrames.from_arrays(arrays, frame_settings=record), y


@pytest.fixture
def voices():
    """12 utterances of 16 bins by 4 speakers."""
    return _make_voices()


@pytest.fixture
def params():
    """Parameters of a verifier that trains in a moment."""
    return dict(
        max_epochs=2,
        batch_size=6,
        chunk_duration=0.2,
        validation_fraction=0.5,
        n_jobs=1,
        random_state=0,
        module__widths=(4, 8),
        module__depths=(1, 1),
        module__embedding_size=6,
    )


@pytest.fixture
def fitted(voices, params):
    """A verifier that was fitted on ``voices``."""
    return SpeakerVerifier(**params).fit(*voices)


@pytest.fixture(scope="module")
def recordings():
    """Noises of 4 spectra, two of each, with numbers for speakers."""
    rng = np.random.default_rng(0)
    return [
        np.convolve(rng.normal(size=8000), np.hanning(4 + 6 * (k // 2)), "same") / 20
        for k in range(8)
    ], np.repeat([3, 1, 4, 5], 2)
