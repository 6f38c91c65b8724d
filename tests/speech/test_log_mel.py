"""Log-mel frames of Whisper: parity with another implementation, whatever blocks they come in."""

import numpy as np
import pytest

from sklearn_speechsent.speech.log_mel import mel_filters, whisper_log_mel


@pytest.fixture
def sound():
    """Three seconds of noise that swells, and a tone."""
    rng = np.random.default_rng(0)
    swell = np.linspace(0.0, 0.3, 48000) ** 2
    tone = 0.01 * np.sin(np.arange(48000) * 0.3)
    return (rng.normal(size=48000) * swell + tone).astype(np.float32)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_frames_are_those_of_transformers(sound, n_mels):
    extractor = pytest.importorskip("transformers").WhisperFeatureExtractor(feature_size=n_mels)
    padded = np.pad(sound, (0, 480000 - len(sound)))
    expected = extractor(padded, sampling_rate=16000, return_tensors="np")["input_features"][0].T
    found = whisper_log_mel([padded], n_mels)
    assert found.shape == (3000, n_mels) and found.dtype == np.float32
    assert np.abs(found - expected).max() <= 5e-5 and np.abs(found - expected).mean() <= 1e-6


def test_frames_do_not_depend_on_the_ends_of_blocks(sound):
    whole = whisper_log_mel([sound])
    assert whole.shape == (300, 80)
    for cuts in ([1], [1, 2, 150, 200, 201, 202], [47999], range(1000, 48000, 1000)):
        assert np.array_equal(whisper_log_mel(np.split(sound, cuts)), whole)


@pytest.mark.parametrize("n", [201, 400, 479, 480, 81919, 81920, 82080])
def test_every_length(n):
    sound = np.random.default_rng(0).normal(size=n).astype(np.float32)
    frames = whisper_log_mel([sound])
    assert frames.shape == (n // 160, 80) and np.isfinite(frames).all()


def test_what_is_far_below_the_maximum_is_raised(sound):
    frames = whisper_log_mel([sound])
    assert frames.max() - frames.min() == pytest.approx(2.0)  # 8 decades, a quarter each
    louder = whisper_log_mel([sound * np.float32(10)])
    assert np.abs(louder - frames - 0.5).max() < 1e-4  # two decades of energy


def test_filters_have_equal_area():
    filters = mel_filters(80)
    assert filters.shape == (80, 201) and (filters >= 0).all()
    areas = filters.sum(1)[60:] * 40.0  # wide ones, whose area is not a matter of few bins
    assert np.allclose(areas, 1.0, atol=0.05)
