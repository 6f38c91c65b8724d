"""Band limit of recordings: where their sound ends, whatever else they are like."""

import numpy as np
import pytest
import soundfile
import soxr
from scipy import signal

from sklearn_speechsent import FeatureStore, MelFilterBank
from sklearn_speechsent.features.band_limit import band_limits
from sklearn_speechsent.frames import NoSpeechWarning

RATE = 16000


def voice(seconds=3.0, top=7500.0, seed=0):
    """Noise up to a frequency, in syllables with pauses."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    filters = signal.butter(12, top, "low", fs=RATE, output="sos")
    syllables = np.maximum(np.sin(2 * np.pi * 2 * np.arange(n) / RATE), 0)  # edges would hiss
    return (0.1 * signal.sosfiltfilt(filters, rng.standard_normal(n)) * syllables).astype(
        np.float32
    )


def limits(X, **params):
    return MelFilterBank(**params).fit_transform(X).metadata["band_limit"].to_numpy()


@pytest.mark.parametrize("top", [2000.0, 3500.0, 5500.0, 7000.0])
def test_a_low_pass_is_found(top):
    (found,) = limits([voice(top=top)])
    # The slope of the filter and the width of a band add some.
    assert 0.9 * top < found < 1.15 * top


@pytest.mark.parametrize("gain", [1e-3, 0.03, 9.0])
def test_loudness_pauses_and_zeros_do_not_matter(gain):
    plain = voice(top=3500)
    assert limits([plain]) == limits([gain * plain])
    hiss = 1e-5 * np.random.default_rng(1).standard_normal(20 * RATE).astype(np.float32)
    long = np.concatenate([hiss, plain, np.zeros(30 * RATE, np.float32)])
    assert limits([long])[0] == pytest.approx(limits([plain])[0], rel=0.05)


def test_telephones_and_other_rates():
    wide = voice()
    narrow = soxr.resample(wide, RATE, 8000)
    stored = np.round(soxr.resample(narrow, 8000, RATE) * 32768).astype(np.int16)
    cd = soxr.resample(wide, RATE, 44100)
    found = limits(
        [wide, (8000, narrow), stored, (44100, cd), (11025, soxr.resample(wide, RATE, 11025))]
    )
    assert found[0] == found[3] > 7200
    assert (found[1:3] < 4050).all() and 5000 < found[4] < 5600


def test_frames_of_other_settings():
    X = [voice(top=3000)]
    assert 2800 < limits(X, n_mels=23)[0] < 3600  # such bands lie 400 Hz from each other
    assert limits(X, high_freq=2000.0)[0] < 2000 and limits(X, sample_rate=8000)[0] < 3400
    assert limits(X, dtype="float64")[0] == pytest.approx(limits(X)[0])


def test_what_is_known_comes_out_of_a_store(tmp_path, decoded):
    store = FeatureStore(tmp_path)
    X = [voice(), voice(2.0, 3000), np.zeros(RATE)]
    for _ in range(2):
        with pytest.warns(NoSpeechWarning):
            known = MelFilterBank(memory=store).fit_transform(X).metadata
        assert decoded == [0, 1, 2]
        np.testing.assert_allclose(known["duration"], [2.98, 1.98, np.nan])
        assert known["band_limit"].iloc[0] > 7000 > 3400 > known["band_limit"].iloc[1]
        assert np.isnan(known["band_limit"].iloc[2])
    steps = store.summary().set_index("step")
    assert steps.loc["band", ["utterances", "hits", "misses"]].tolist() == [3, 3, 3]


@pytest.mark.data
def test_wide_band_speech_and_the_same_by_telephone(data_home, tmp_path):
    paths = sorted((data_home / "ravdess").glob("Actor_*/*.flac"))[5::60]
    paths += sorted((data_home / "librispeech_excerpts").glob("test-other/*/*.flac"))[::10]
    by_telephone = []
    for number, path in enumerate(paths):
        samples, _ = soundfile.read(path)
        by_telephone.append(tmp_path / f"{number}.wav")
        soundfile.write(by_telephone[-1], soxr.resample(samples, RATE, 8000), 8000, subtype="ULAW")
    assert limits(paths).min() > 6700 and limits(by_telephone).max() < 3900


def test_the_highest_band_is_that_of_all_percentiles(rng):
    """Bands are looked at from the top, and only those that can be it."""
    settings = {"n_mels": 40, "low_freq": 20.0, "high_freq": 8000.0}
    _, function = band_limits(settings)
    utterances = []
    for n in (1, 2, 3, 40, 51, 52, 700):
        for slope in (0.0, 0.1, 0.3, 1.0):
            utterances.append(rng.normal(-slope * np.arange(40), 2.0, (n, 40)).astype(np.float32))
    found = [float(limit[0, 0]) for limit in function(utterances)]
    mel = np.linspace(*np.log1p(np.array([20.0, 8000.0]) / 700), 42)[1:-1]
    expected = []
    for utterance in utterances:
        level = 10 / np.log(10) * utterance.astype(np.float64)
        peak = level.max(axis=1)
        n = max(1, min(len(peak) // 20, 100))
        loud = peak > np.sort(peak)[-n] - 20
        high = np.percentile((level - peak[:, None])[loud], 98, axis=0) >= -27
        expected.append(700 * np.expm1(mel[np.flatnonzero(high)[-1]]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(found)) > 5
