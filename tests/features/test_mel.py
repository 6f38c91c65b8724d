"""Log-mel frames: fidelity to Kaldi, the cache, and settings that do not change results."""

import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torchaudio.compliance import kaldi

from sklearn_speechsent import FeatureStore, MelFilterBank, SlidingCMN, audio
from sklearn_speechsent.features import FrameStatistics, _kaldi
from sklearn_speechsent.frames import NoSpeechWarning


def reference(samples, rate=16000, **options):
    """Kaldi's frames after torchaudio, in float64 on samples of 16-bit scale."""
    options = {"num_mel_bins": 80, "window_type": "hamming", **options}
    wave = torch.from_numpy(np.asarray(samples, dtype=np.float64))[None] * 32768
    return kaldi.fbank(wave, sample_frequency=rate, dither=0.0, **options).numpy()


def assert_faithful(samples, rate=16000, n_mels=80, window="hamming"):
    expected = reference(samples, rate, num_mel_bins=n_mels, window_type=window)
    for dtype in ("float64", "float32"):
        bank = MelFilterBank(n_mels, sample_rate=rate, window=window, dtype=dtype)
        frames = bank.fit_transform([samples])[0]
        assert frames.dtype == dtype and frames.shape == expected.shape
        error = np.abs(frames - expected)
        if dtype == "float64":
            assert error.max() <= 1e-8
        else:
            assert np.mean(error <= 1e-3) >= 0.999
            assert error.max() <= 5e-2


@pytest.fixture
def noise(rng):
    return rng.normal(0, 0.05, 3 * 16000).astype(np.float32)


@pytest.fixture
def wavs(tmp_path, rng):
    paths = []
    for i in range(6):
        paths.append(str(tmp_path / f"{i}.wav"))
        samples = rng.normal(0, 0.05, 8000 + 800 * i)
        samples += (i % 2) * np.sin(np.arange(len(samples)))
        soundfile.write(paths[-1], samples, 16000, subtype="PCM_16")
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in order."""
    names = []
    read = audio.read_blocks

    def counting(recording, *given, **options):
        names.append(os.path.basename(str(recording.source)))
        return read(recording, *given, **options)

    monkeypatch.setattr(audio, "read_blocks", counting)
    return names


# --- fidelity


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("n_mels", [40, 80])
@pytest.mark.parametrize("window", ["hamming", "povey"])
def test_noise_agrees_with_kaldi(noise, rate, n_mels, window):
    if rate == 8000 and n_mels == 80:
        n_mels = 64  # Kaldi itself leaves bands empty with 80 in 4 kHz
    assert_faithful(noise, rate, n_mels, window)


@pytest.mark.data
@pytest.mark.parametrize("window", ["hamming", "povey"])
def test_speech_agrees_with_kaldi(data_home, window):
    folder = data_home / "ravdess"
    paths = [folder / f"Actor_{a:02d}" / f"03-01-05-01-01-01-{a:02d}.flac" for a in (1, 12, 24)]
    paths.append(min((data_home / "librispeech_excerpts" / "test-other").rglob("*.flac")))
    for path in paths:
        assert_faithful(soundfile.read(path, dtype="float32")[0], window=window)


@pytest.mark.parametrize(
    ("n_mels", "n_fft", "rate", "low", "high"),
    [(80, 512, 16000, 20.0, 8000.0), (40, 256, 8000, 20.0, 4000.0), (23, 2048, 44100, 0.0, 9000.0)],
)
def test_filters_are_those_of_torchaudio(n_mels, n_fft, rate, low, high):
    theirs, _ = kaldi.get_mel_banks(n_mels, n_fft, float(rate), low, high, 100.0, -500.0, 1.0)
    ours = _kaldi.mel_banks(n_mels, n_fft, rate, low, high)
    np.testing.assert_array_equal(ours[:, :-1], theirs.numpy())
    assert not ours[:, -1].any()


@pytest.mark.parametrize(
    ("params", "options"),
    [
        ({"frame_length": 0.032, "frame_shift": 0.016}, {"frame_length": 32, "frame_shift": 16}),
        ({"low_freq": 100.0, "high_freq": 7000.0}, {"low_freq": 100, "high_freq": 7000}),
        ({"preemphasis": 0.5}, {"preemphasis_coefficient": 0.5}),
        ({"scale": 1.0}, None),
    ],
    ids=str,
)
def test_parameters_mean_what_kaldi_means(noise, params, options):
    frames = MelFilterBank(dtype="float64", **params).fit_transform([noise])[0]
    expected = reference(noise / 32768) if options is None else reference(noise, **options)
    np.testing.assert_allclose(frames, expected, atol=1e-8)


def test_one_frame_and_one_sample_less(noise):
    bank = MelFilterBank()
    assert bank.fit_transform([noise[:400]])[0].shape == (1, 80)
    assert bank.fit_transform([noise[:559]])[0].shape == (1, 80)
    assert bank.fit_transform([noise[:560]])[0].shape == (2, 80)
    with pytest.raises(audio.RecordingError, match="399 samples"):
        bank.fit([noise[:399]])


def test_a_long_recording_equals_its_pieces(rng):
    """Frames are worked on in blocks; their borders must not show."""
    n_frames = 2 * _kaldi._BLOCK + 7
    long = rng.normal(0, 0.05, 400 + 160 * (n_frames - 1)).astype(np.float32)
    whole = MelFilterBank(dtype="float64").fit_transform([long])[0]
    starts = [0, _kaldi._BLOCK - 3, 2 * _kaldi._BLOCK, n_frames - 20]
    pieces = [long[160 * s : 160 * (s + 19) + 400] for s in starts]
    frames = MelFilterBank(dtype="float64").fit_transform(pieces)
    for piece, start in zip(frames, starts, strict=True):
        np.testing.assert_allclose(piece, whole[start : start + len(piece)], atol=1e-10)


def test_recordings_of_a_call_do_not_change_each_other(rng):
    """They share one tape; what is on it before and behind must not show, not in the last bit."""
    blocks = (_kaldi._BLOCK - 1) * 160
    lengths = [400, 719, 5000, 16001, blocks - 30000, blocks + 399, 3 * blocks, 560, 400]
    X = [rng.normal(0, 0.1, n).astype(np.float32) for n in lengths]
    X.insert(3, np.zeros(20000))  # known to be bad only once it is on the tape
    X.insert(5, np.r_[X[4], np.nan])
    X.insert(7, np.r_[rng.normal(0, 0.1, blocks), np.nan])
    bank = MelFilterBank(on_error="nan")
    silent = pytest.warns(NoSpeechWarning, match="1 of 12 .* silent")
    with silent, pytest.warns(UserWarning, match="(?s)2 of 12 .*row 5 .*row 7 "):
        together = bank.fit_transform(X)
    silent = pytest.warns(NoSpeechWarning, match="1 of 12 .* silent")
    with silent, pytest.warns(UserWarning, match="(?s)2 of 12 .*row 4 .*row 6 "):
        reverse = MelFilterBank(on_error="nan", n_jobs=2).fit_transform(X[::-1])[::-1]
    for row, samples in enumerate(X):
        if row in (3, 5, 7):
            alone = np.full((1, 80), np.nan, np.float32)
        else:
            alone = MelFilterBank().fit_transform([samples])[0]
        np.testing.assert_array_equal(together[row], alone)
        np.testing.assert_array_equal(reverse[row], alone)


def test_recordings_are_decoded_as_their_frames_are_taken(rng):
    """A step never holds the waveforms, or the frames, of a whole batch."""
    decoded = []

    def signals():
        for number in range(40):
            decoded.append(number)
            yield [rng.normal(0, 0.1, 50000)]

    results = _kaldi.LogMel(**MelFilterBank()._arguments()).each(signals())
    for number, frames in enumerate(results):
        assert len(frames) == 311 and len(decoded) <= number + 5
    assert len(decoded) == 40


# --- settings that do not change results


def test_threads_and_memory_change_nothing(wavs, tmp_path, decoded):
    expected = MelFilterBank().fit_transform(wavs)
    assert expected.lengths.tolist() == [48, 53, 58, 63, 68, 73]
    for n_jobs in (1, 2):
        for _ in range(2):
            bank = MelFilterBank(n_jobs=n_jobs, memory=tmp_path / f"cache{n_jobs}")
            frames = bank.fit_transform(wavs)
            np.testing.assert_array_equal(frames.base, expected.base)
            assert frames.frame_settings == expected.frame_settings
    assert len(decoded) == 3 * len(wavs)
    assert bank.transform(wavs[::-1]).lengths.tolist() == expected.lengths[::-1].tolist()
    assert len(decoded) == 3 * len(wavs)


def test_transform_needs_no_fit_and_fit_transform_equals_both(wavs):
    frames = MelFilterBank().transform(wavs)
    np.testing.assert_array_equal(frames.base, MelFilterBank().fit(wavs).transform(wavs).base)
    np.testing.assert_array_equal(frames.base, MelFilterBank().fit_transform(wavs).base)


def test_transform_leaves_the_estimator_alone(wavs):
    bank = MelFilterBank().fit(wavs)
    before = dict(vars(bank))
    bank.transform(wavs[:2])
    assert vars(bank) == before


def test_frames_record_the_settings(noise):
    bank = MelFilterBank(40, frame_shift=0.02, window="povey").set_params(scale=1.0)
    expected = {
        "sample_rate": 16000,
        "n_mels": 40,
        "frame_length": 0.025,
        "frame_shift": 0.02,
        "window": "povey",
        "low_freq": 20.0,
        "high_freq": 8000.0,
        "preemphasis": 0.97,
        "scale": 1.0,
    }
    assert bank.fit_transform([noise]).frame_settings == expected
    assert clone(bank).get_params() == bank.get_params()


def test_impossible_parameters_are_errors_in_fit(noise):
    with pytest.raises(ValueError, match="low_freq=5000"):
        MelFilterBank(low_freq=5000, high_freq=4000).fit([noise])
    with pytest.raises(ValueError, match="half of sample_rate=16000"):
        MelFilterBank(high_freq=9000).fit([noise])
    for params in ({"window": "hann"}, {"n_mels": 0}, {"memory": 3}, {"on_error": "ignore"}):
        with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
            MelFilterBank(**params).fit([noise])


# --- the cache


@pytest.mark.parametrize(
    "params",
    [
        {"n_mels": 40},
        {"sample_rate": 8000},
        {"frame_length": 0.03},
        {"frame_shift": 0.02},
        {"window": "povey"},
        {"low_freq": 50.0},
        {"high_freq": 7000.0},
        {"preemphasis": 0.9},
        {"scale": 1.0},
        {"dtype": "float64"},
    ],
    ids=str,
)
def test_another_parameter_misses_the_cache(wavs, tmp_path, decoded, params):
    bank = MelFilterBank(memory=str(tmp_path / "cache"))
    first = bank.fit_transform(wavs[:1])[0]
    second = clone(bank).set_params(**params).fit_transform(wavs[:1])[0]
    assert len(decoded) == 2
    assert first.shape != second.shape or first.dtype != second.dtype or (first != second).any()
    np.testing.assert_array_equal(bank.fit_transform(wavs[:1])[0], first)
    assert len(decoded) == 2


@pytest.mark.parametrize("params", [{"n_jobs": 2}, {"verbose": 1}, {"on_error": "nan"}], ids=str)
def test_parameters_that_change_nothing_hit_the_cache(wavs, tmp_path, decoded, params):
    bank = MelFilterBank(memory=FeatureStore(tmp_path / "cache"))
    bank.fit_transform(wavs[:1])
    clone(bank).set_params(**params).fit_transform(wavs[:1])
    assert len(decoded) == 1


def test_another_file_or_segment_misses_the_cache(wavs, tmp_path, decoded):
    import pandas as pd

    bank = MelFilterBank(memory=tmp_path / "cache")

    def misses(X):
        before = len(decoded)
        bank.fit_transform(X)
        return len(decoded) - before

    path = wavs[0]
    assert misses([path]) == 1
    assert misses([path, os.path.relpath(path)]) == 0
    segment = pd.DataFrame({"file": path, "start": [0.0, 0.1], "end": [0.3, 0.3]})
    assert misses(segment) == 2 and misses(segment) == 0
    status = os.stat(path)
    # Contents count: another time of change, name or folder is the same recording.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert misses([path]) == 0 and misses([shutil.copy(path, tmp_path / "copy.wav")]) == 0
    shutil.copy(wavs[1], path)  # another size, the same time of change
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert misses([path]) == 1 and misses([wavs[1]]) == 0
    samples = soundfile.read(path, dtype="float32")[0]
    assert misses([samples]) == 1 and misses([samples.copy()]) == 0
    assert misses([samples * 0.5]) == 1 and misses([(8000, samples)]) == 1


@pytest.mark.parametrize("damage", [b"", b"rubbish", None], ids=["empty", "rubbish", "cut off"])
def test_a_damaged_entry_is_computed_again(wavs, tmp_path, decoded, damage):
    bank = MelFilterBank(memory=tmp_path / "cache")
    expected = bank.fit_transform(wavs[:2]).base[:].copy()  # not of the files that follow
    for entry in (tmp_path / "cache").rglob("*.npy"):
        entry.write_bytes(entry.read_bytes()[:-100] if damage is None else damage)
    np.testing.assert_array_equal(bank.fit_transform(wavs[:2]).base[:], expected)
    assert len(decoded) == 4
    bank.fit_transform(wavs[:2])
    assert len(decoded) == 4


def test_errors_are_not_cached(tmp_path, wavs):
    soundfile.write(tmp_path / "bad.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    bank = MelFilterBank(memory=tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(audio.RecordingError, match=r"bad\.wav"):
            bank.fit_transform([wavs[0], tmp_path / "bad.wav"])


def test_grid_search_decodes_each_file_once(wavs, tmp_path, decoded):
    pipeline = Pipeline(
        [
            ("mfb", MelFilterBank(memory=tmp_path / "cache")),
            ("cmn", SlidingCMN()),
            ("pool", FrameStatistics()),
            ("net", LogisticRegression()),
        ]
    )
    grid = {"cmn__window": [None, 0.2], "net__C": [1.0, 0.1]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise")
    search.fit(wavs, [0, 1, 0, 1, 0, 1])
    assert sorted(decoded) == [os.path.basename(path) for path in wavs]
    assert search.cv_results_["mean_test_score"].shape == (4,)
    assert search.predict(wavs).shape == (6,)
    assert len(decoded) == len(wavs)
