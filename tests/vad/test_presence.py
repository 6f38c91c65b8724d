"""Recordings in which nobody speaks, and voices that must not be taken for one of them."""

import warnings

import numpy as np
import pytest
import soundfile
from scipy import signal

from sklearn_speechsent import MelFilterBank, SlidingCMN, VoiceActivityDetector
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.frames import NoSpeechWarning

RATE = 16000


def coloured(n, exponent, rng):
    """Noise whose power falls with frequency to the power of the exponent."""
    frequencies = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * frequencies ** (-exponent / 2), n)
    return noise / noise.std()


def _sounds(seconds, seed=0):
    """Sounds that are no voice, by name, at a tenth of full scale."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    hiss = 1e-3 * coloured(n, 1, rng)
    sounds = {name: coloured(n, e, rng) for name, e in (("white", 0), ("pink", 1), ("brown", 2))}
    for mains in (50, 60):
        phases = rng.uniform(0, 6, 12)
        harmonics = [np.sin(2 * np.pi * mains * h * t + phases[h]) / h for h in range(1, 12)]
        sounds[f"hum{mains}"] = sum(harmonics)
        sounds[f"hum{mains} in noise"] = sum(harmonics) + 50 * hiss
    for pitch in (100, 200, 440, 1000, 3000):
        sounds[f"tone{pitch}"] = np.sin(2 * np.pi * pitch * t) + hiss
    sounds["beeps"] = np.sin(2 * np.pi * 1000 * t) * (t % 1 < 0.5) + hiss
    sounds["dial tone"] = np.sin(2 * np.pi * 350 * t) + np.sin(2 * np.pi * 440 * t)
    clicks = np.zeros(n)
    clicks[rng.integers(0, n, round(4 * seconds))] = 1.0
    sounds["clicks"], sounds["clicks in noise"] = clicks, clicks + hiss
    sounds["bursts"] = hiss + rng.standard_normal(n) * (t % 1.1 < 0.1)
    sounds["waves"] = coloured(n, 1, rng) * (1 + np.sin(2 * np.pi * t))
    band = signal.butter(4, [100, 300], "band", fs=RATE, output="sos")
    sounds["rumble"] = signal.sosfilt(band, rng.standard_normal(n))
    sounds["dither"] = rng.integers(-1, 2, n) / 3276.8
    return {name: (0.1 * sound).astype(np.float32) for name, sound in sounds.items()}


@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0])
def test_noise_hum_tones_and_clicks(seconds):
    sounds = _sounds(seconds)
    frames = MelFilterBank().fit_transform(list(sounds.values()))
    detector = VoiceActivityDetector().fit(frames)
    with pytest.warns(NoSpeechWarning, match=f"{len(sounds)} of {len(sounds)} .* hold no speech"):
        made = detector.transform(frames)
    heard = [name for name, row in zip(sounds, made, strict=True) if not np.isnan(row).all()]
    assert heard == [] and (made.lengths == 1).all()
    assert detector.speech_segments(frames).empty


def test_rows_stay_where_they_are(tmp_path):
    voices = make_speech_sentiment(1, 2, levels=(-1, 1), random_state=0).data
    X = [_sounds(2.0)["pink"], voices[0], np.zeros(RATE), voices[1], _sounds(2.0)["hum50"]]
    detector = VoiceActivityDetector(memory=tmp_path)
    for _ in range(2):  # computed, and found in the store
        with pytest.warns(NoSpeechWarning) as caught:
            made = detector.fit_transform(X)
        messages = [str(w.message) for w in caught]
        assert len(messages) == 2
        assert "1 of 5" in messages[0] and "silent" in messages[0] and "row 2 (" in messages[0]
        assert messages[1].endswith(
            "2 of 5 recordings hold no speech. Nothing can be said about "
            "them, so that their rows are NaN: row 0, row 4."
        )
        assert [np.isnan(row).any() for row in made] == [True, False, True, False, True]
        assert made.lengths[[0, 2, 4]].tolist() == [1, 1, 1]
        share = made.metadata["speech"]
        assert share.isna().tolist() == [True, False, True, False, True]
        assert share[1] == made.lengths[1] / (made.metadata["duration"][1] * 100)
    alone = detector.transform([voices[0]])
    np.testing.assert_array_equal(alone[0], made[1])
    with pytest.warns(NoSpeechWarning):
        files = detector.speech_segments(X)["file"]
    assert set(files) == set(voices)


def test_rows_of_nan_are_warned_about_once():
    with pytest.warns(NoSpeechWarning) as caught:
        frames = MelFilterBank().fit_transform([np.zeros(RATE), _sounds(2.0)["white"]])
        made = SlidingCMN().fit_transform(VoiceActivityDetector().fit_transform(frames))
    assert len(caught) == 2 and made.lengths.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_types_of_frames(dtype):
    voice = make_speech_sentiment(1, 1, levels=(-1, 1), random_state=0).data[0]
    frames = MelFilterBank().fit_transform([voice, _sounds(2.0)["tone440"]])
    other = frames.with_frames(list(frames), dtype=dtype)
    with pytest.warns(NoSpeechWarning, match="1 of 2"):
        made = VoiceActivityDetector().fit_transform(other)
    assert made.dtype == dtype and len(made[0]) > 50 and made.lengths[1] == 1


def test_energy_takes_any_sound_for_speech():
    frames = MelFilterBank().fit_transform([_sounds(2.0)["white"]])
    np.testing.assert_array_equal(
        VoiceActivityDetector("energy").fit_transform(frames)[0], frames[0]
    )


def test_little_speech_in_much_else():
    """One utterance in a minute of hiss, hum or ringing is not lost."""
    voice = make_speech_sentiment(1, 1, levels=(-1, 1), random_state=0).data[0]
    samples, _ = soundfile.read(voice, dtype="float32")
    for name in ("white", "hum50", "tone440"):
        other = 0.05 * _sounds(60.0)[name]
        other[20 * RATE : 20 * RATE + len(samples)] += samples
        frames = MelFilterBank().fit_transform([other])
        assert len(VoiceActivityDetector().fit_transform(frames)[0]) > 50, name


# -- real speech -----------------------------------------------------------------------------------


def _in_pink_noise(path, rng, snr=10.0):
    samples, _ = soundfile.read(path)
    noise = coloured(len(samples), 1, rng)
    return samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-snr / 20)


@pytest.mark.data
def test_no_recording_of_speech_is_lost(data_home):
    """Among them the shouts that the network itself gives 0.2 at most."""
    rng = np.random.default_rng(0)
    paths = sorted((data_home / "ravdess").glob("Actor_*/*.flac"))[3::29]
    paths += sorted((data_home / "ravdess" / "Actor_18").glob("03-01-05-02-*.flac"))
    paths += sorted((data_home / "librispeech_excerpts").glob("test-other/*/*.flac"))[::9]
    detector = VoiceActivityDetector().fit(paths[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoSpeechWarning)
        for X in (paths, [_in_pink_noise(path, rng) for path in paths]):
            assert np.isfinite(detector.transform(X).metadata["speech"]).all()
