"""The adapter of silero-vad: its own probabilities, on our frames."""

import builtins
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    VoiceActivityDetector,
    make_sentiment_pipeline,
)
from sklearn_speechsent.vad.scores import load_silero

RATE = 16000


@pytest.fixture
def silero():
    pytest.importorskip("silero_vad")
    return load_silero()


def vowel(seconds, rng, rate=RATE):
    """Buzz with formants, which silero-vad takes for a voice."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 * (1 + 0.05 * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave = np.zeros(len(t))
    for harmonic in range(1, 30):
        frequency = 120 * harmonic
        gain = sum(np.exp(-(((frequency - f) / 120) ** 2)) for f in (700, 1200, 2600)) + 0.01
        wave += gain * np.sin(harmonic * phase)
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)
    return 0.1 * envelope * wave + 1e-4 * rng.standard_normal(len(t))


@pytest.fixture
def waves(rng):
    quiet = 1e-4 * rng.standard_normal(RATE)
    return [
        np.concatenate([quiet, vowel(1.3, rng), quiet]),
        np.concatenate([vowel(0.7, rng), quiet]),
        1e-3 * rng.standard_normal(500),
    ]


def windows(network, wave):
    """Probabilities per 512 samples by successive calls, as the package documents them."""
    network.reset_states()
    padded = np.pad(wave, (0, -len(wave) % 512)).astype(np.float32)
    with torch.no_grad():
        return np.array(
            [
                network(torch.from_numpy(padded[i : i + 512]), RATE).item()
                for i in range(0, len(padded), 512)
            ]
        )


def test_scores_are_the_probabilities_at_the_centres_of_frames(silero, waves):
    detector = VoiceActivityDetector("silero").fit(waves)
    scores = detector.frame_scores(waves)
    assert max(map(np.max, scores)) > 0.5 > min(map(np.min, scores)), "all alike"
    for wave, found in zip(waves, scores, strict=True):
        probabilities = windows(silero, wave)
        assert len(found) == 1 + (len(wave) - 400) // 160
        centres = [160 * frame + 200 for frame in range(len(found))]
        expected = [probabilities[centre // 512] for centre in centres]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.dtype == np.float32


def test_utterances_are_scored_one_by_one(silero, waves):
    """The state after one utterance must not reach the next."""
    detector = VoiceActivityDetector("silero").fit(waves)
    forward = detector.frame_scores(waves)
    backward = detector.frame_scores(waves[::-1])[::-1]
    for one, other, wave in zip(forward, backward, waves, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, detector.frame_scores([wave])[0])


def test_the_threads_of_torch_stay_as_they_are(silero, waves, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "silero_vad"]:
        monkeypatch.delitem(sys.modules, name)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        VoiceActivityDetector("silero").fit_transform(waves)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_segments_of_files_at_another_rate(silero, rng, tmp_path):
    quiet = 1e-4 * rng.standard_normal(44100)
    samples = np.concatenate([quiet, vowel(1.5, rng, 44100), quiet])
    path = str(tmp_path / "a.wav")
    soundfile.write(path, samples, 44100, subtype="FLOAT")
    X = pd.DataFrame({"file": [path, path], "start": [0.0, 0.5], "end": [np.nan, 2.0]})
    detector = VoiceActivityDetector("silero", hangover=0.0).fit(X)
    table = detector.speech_segments(X)
    assert set(table["file"]) == {path}
    first, second = table[table["start"] < 1.5].iloc[[0, -1]][["start", "end"]].to_numpy()
    assert first[0] == pytest.approx(1, abs=0.15) and second[0] == pytest.approx(1, abs=0.15)
    assert second[1] <= 2.0
    kept = VoiceActivityDetector("silero", min_duration=0.1).fit_transform(X)
    assert (kept.lengths < MelFilterBank().fit_transform(X).lengths).all()
    assert kept.frame_settings["vad"] == "silero" and kept.frame_settings["n_mels"] == 80


def test_samples_without_a_rate_are_at_that_of_the_front_end(silero, rng):
    wave = np.concatenate([1e-4 * rng.standard_normal(8000), vowel(1.5, rng, 8000)])
    bank = MelFilterBank(sample_rate=8000)
    detector = VoiceActivityDetector("silero", frontend=bank).fit([wave])
    np.testing.assert_array_equal(
        detector.frame_scores([wave])[0], detector.frame_scores([(8000, wave)])[0]
    )
    assert len(detector.frame_scores([wave])[0]) == 1 + (len(wave) - 200) // 80


def test_a_front_end_may_remove_the_loudness(silero, waves):
    frontend = make_pipeline(MelFilterBank(), SlidingCMN(window=None))
    made = VoiceActivityDetector("silero", frontend=frontend).fit_transform(waves)
    assert made.frame_settings["cmn"] == "utterance" and made.frame_settings["vad"] == "silero"


def test_rows_that_cannot_be_read(silero, waves):
    X = [np.full(RATE, np.nan), waves[0]]
    detector = VoiceActivityDetector("silero", frontend=MelFilterBank(on_error="nan"))
    with pytest.warns(UserWarning, match="kept as NaN"):
        kept = detector.fit_transform(X)
    assert np.isnan(kept[0]).all() and kept.lengths[0] == 1
    assert len(kept[1]) < len(MelFilterBank().fit_transform(waves[:1])[0])
    skipping = VoiceActivityDetector("silero", frontend=MelFilterBank(on_error="skip"))
    with pytest.warns(UserWarning), pytest.raises(ValueError, match='on_error="nan"'):
        skipping.fit_transform(X)


def test_frames_are_refused_with_the_remedy(silero, waves):
    frames = MelFilterBank().fit_transform(waves)
    with pytest.raises(ValueError, match=r'needs recordings.*mfb="passthrough"'):
        VoiceActivityDetector("silero").fit(frames)
    with pytest.raises(ValueError, match="needs recordings"):
        VoiceActivityDetector("silero").fit(waves).transform(frames)


def test_in_a_pipeline_it_stands_for_the_filter_bank(silero, rng):
    waves = [np.concatenate([1e-4 * rng.standard_normal(RATE), vowel(1.2, rng)]) for _ in range(6)]
    pipeline = make_sentiment_pipeline(
        weights=None, mfb="passthrough", vad=VoiceActivityDetector("silero")
    )
    predicted = pipeline.fit(waves, [0, 1, 2, 0, 1, 2]).predict(waves)
    assert set(predicted) <= {0, 1, 2}
    again = clone(pipeline).fit(waves, [0, 1, 2, 0, 1, 2]).predict_proba(waves)
    np.testing.assert_array_equal(again, pipeline.predict_proba(waves))


def test_a_missing_package_is_named(monkeypatch, waves):
    known = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "silero_vad":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return known(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    before = torch.get_num_threads()
    with pytest.raises(ImportError, match=r"pip install sklearn-speechsent\[silero\]"):
        VoiceActivityDetector("silero").fit(waves)
    assert torch.get_num_threads() == before
