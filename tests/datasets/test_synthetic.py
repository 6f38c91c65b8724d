"""The synthetic corpus: files, labels, speakers, seeds."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent.datasets import make_speech_sentiment


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_speech_sentiment(out_dir=tmp_path_factory.mktemp("corpus"), random_state=0)


@pytest.fixture(scope="module")
def recordings(corpus):
    return [soundfile.read(path)[0] for path in corpus.data]


def contents(bunch):
    return [Path(path).read_bytes() for path in bunch.data]


def names(bunch):
    return [Path(path).relative_to(bunch.out_dir) for path in bunch.data]


def log_spectrum_statistics(recording):
    """Mean and standard deviation over time of 40 log bands."""
    power = np.abs(scipy.signal.stft(recording, nperseg=400, noverlap=240)[2]) ** 2
    edges = np.unique(np.geomspace(2, len(power), 41).astype(int))
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=0) + 1e-12)
    return np.r_[bands.mean(axis=1), bands.std(axis=1)]


def median_pitch(recording, sample_rate=16000):
    """Crude median pitch (Hz) of the loud frames by autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(recording, 640)[::320] * np.hanning(640)
    energy = (frames**2).sum(axis=1)
    spectra = np.abs(np.fft.rfft(frames[energy > 0.3 * energy.max()], 2048)) ** 2
    lags = np.arange(sample_rate // 450, sample_rate // 65)
    return sample_rate / np.median(lags[np.fft.irfft(spectra)[:, lags].argmax(axis=1)])


def test_bunch_fields(corpus):
    assert corpus.data.shape == corpus.target.shape == corpus.groups.shape == (120,)
    assert corpus.data.dtype.kind == "U"
    assert corpus.target.dtype.kind == "i"
    assert corpus.groups.tolist() == np.repeat(np.arange(12), 10).tolist()
    assert list(corpus.frame.columns) == ["file", "label", "speaker"]
    assert corpus.frame["label"].tolist() == corpus.target.tolist()
    assert corpus.levels.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert len(corpus.target_names) == 7
    assert "synthetic" in corpus.DESCR.lower() and "Not speech" in corpus.DESCR
    assert len(set(corpus.data)) == 120
    assert {Path(path).parent.parent for path in corpus.data} == {corpus.out_dir}
    written = {str(path) for path in corpus.out_dir.rglob("*") if path.is_file()}
    assert written == set(corpus.data)


def test_files_are_mono_pcm16(corpus):
    for path in corpus.data:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert info.samplerate == 16000
        assert 1.2 < info.duration < 4.2


def test_amplitudes(recordings):
    peaks = np.array([np.abs(recording).max() for recording in recordings])
    assert peaks.max() < 0.96
    assert peaks.min() > 0.01
    assert all(abs(recording.mean()) < 0.01 for recording in recordings)


def test_silence_surrounds_speech(recordings):
    for recording in recordings:
        edges = np.r_[recording[:800], recording[-800:]]
        assert np.std(edges) < 0.5 * np.std(recording)


def test_levels_are_balanced(corpus):
    totals = np.unique(corpus.target, return_counts=True)[1]
    assert len(totals) == 7 and np.ptp(totals) <= 1
    for speaker in range(12):
        labels = corpus.target[corpus.groups == speaker]
        counts = [np.sum(labels == level) for level in corpus.levels]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(("n_speakers", "n_utterances"), [(1, 3), (3, 1), (2, 2)])
def test_every_level_occurs(tmp_path, n_speakers, n_utterances):
    bunch = make_speech_sentiment(
        n_speakers, n_utterances, levels=(0, 1, 2), out_dir=tmp_path, random_state=1
    )
    assert set(bunch.target) == {0, 1, 2}


def test_real_valued_levels(tmp_path):
    bunch = make_speech_sentiment(1, 2, levels=(-0.5, 2.5), out_dir=tmp_path, random_state=0)
    assert bunch.target.dtype.kind == "f"
    assert sorted(bunch.target) == [-0.5, 2.5]


def test_seed_determines_the_files(tmp_path):
    first = make_speech_sentiment(2, 3, out_dir=tmp_path / "a", random_state=5)
    again = make_speech_sentiment(2, 3, out_dir=tmp_path / "b", random_state=5)
    more = make_speech_sentiment(4, 3, out_dir=tmp_path / "c", random_state=5)
    other = make_speech_sentiment(2, 3, out_dir=tmp_path / "d", random_state=6)
    assert contents(first) == contents(again) == contents(more)[:6]
    assert names(first) == names(again) == names(more)[:6]
    assert not set(contents(first)) & set(contents(other))
    assert len(set(contents(more))) == 12


def test_random_state_instance(tmp_path):
    by_int = make_speech_sentiment(1, 2, out_dir=tmp_path / "a", random_state=3)
    generator = np.random.RandomState(3)
    by_instance = make_speech_sentiment(1, 2, out_dir=tmp_path / "b", random_state=generator)
    following = make_speech_sentiment(1, 2, out_dir=tmp_path / "c", random_state=generator)
    assert contents(by_int) == contents(by_instance)
    assert contents(by_int) != contents(following)


def test_global_generator_is_untouched(tmp_path):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_speech_sentiment(1, 1, out_dir=tmp_path, random_state=0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_speakers_differ_in_pitch(corpus, recordings):
    pitches = np.array([median_pitch(recording) for recording in recordings])
    own = np.array([np.median(pitches[corpus.groups == speaker]) for speaker in range(12)])
    assert ((own > 70) & (own < 330)).all()
    assert own.max() > 1.4 * own.min()
    # The label moves the pitch of a speaker, but speakers differ by more than that.
    assert spearmanr(pitches / own[corpus.groups], corpus.target)[0] > 0.4
    assert spearmanr(pitches, corpus.target)[0] < 0.6


def test_learnable_across_speakers_but_not_trivial(corpus, recordings):
    X = np.array([log_spectrum_statistics(recording) for recording in recordings])
    predicted = cross_val_predict(
        make_pipeline(StandardScaler(), Ridge(alpha=30)),
        X,
        corpus.target,
        groups=corpus.groups,
        cv=GroupKFold(6),
    )
    assert 0.35 < spearmanr(corpus.target, predicted)[0] < 0.9


@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_sample_rate(tmp_path, sample_rate):
    bunch = make_speech_sentiment(1, 2, sample_rate=sample_rate, out_dir=tmp_path, random_state=0)
    recording, rate = soundfile.read(bunch.data[0])
    assert rate == sample_rate
    assert 1.2 < len(recording) / rate < 4.2
    assert 0.01 < np.abs(recording).max() < 0.96


def test_return_X_y(tmp_path):
    data, target = make_speech_sentiment(1, 2, out_dir=tmp_path, return_X_y=True, random_state=0)
    assert data.shape == target.shape == (2,)


def test_temporary_folders_are_fresh(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = make_speech_sentiment(1, 1)
    second = make_speech_sentiment(1, 1)
    assert first.out_dir != second.out_dir
    assert first.out_dir.parent == second.out_dir.parent == tmp_path.resolve()


def test_other_files_stay_and_same_names_are_replaced(tmp_path):
    other = tmp_path / "speaker_00" / "mine.txt"
    other.parent.mkdir()
    other.write_text("mine")
    first = make_speech_sentiment(1, 2, out_dir=str(tmp_path), random_state=0)
    before = contents(first)
    Path(first.data[0]).write_bytes(b"broken")
    assert contents(make_speech_sentiment(1, 2, out_dir=tmp_path, random_state=0)) == before
    assert other.read_text() == "mine"
    assert len(list(other.parent.iterdir())) == 3


def test_failed_write_leaves_nothing_half_done(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make_speech_sentiment(1, 1, out_dir=tmp_path, random_state=0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_speakers": 0}, ValueError, "n_speakers"),
        ({"n_speakers": 2.0}, TypeError, "n_speakers"),
        ({"n_utterances": 0}, ValueError, "n_utterances"),
        ({"sample_rate": 4000}, ValueError, "sample_rate"),
        ({"levels": (1,)}, ValueError, "two or more different numbers"),
        ({"levels": (0, 0)}, ValueError, "ascending"),
        ({"levels": (1, 0)}, ValueError, "ascending"),
        ({"levels": np.array([1, 0], dtype=np.uint8)}, ValueError, "ascending"),
        ({"levels": (0, np.nan)}, ValueError, "ascending"),
        ({"levels": ("low", "high")}, ValueError, "numbers"),
        ({"levels": 3}, ValueError, "numbers"),
        ({"random_state": "seed"}, ValueError, "seed"),
    ],
)
def test_wrong_parameters(tmp_path, parameters, error, message):
    folder = tmp_path / "never"
    with pytest.raises(error, match=message):
        make_speech_sentiment(**{"n_speakers": 1, "n_utterances": 1, **parameters}, out_dir=folder)
    assert not folder.exists()


def test_out_dir_is_a_file(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out_dir in [file, file / "below"]:
        with pytest.raises(OSError, match="out_dir must be a folder that can be written to"):
            make_speech_sentiment(1, 1, out_dir=out_dir)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_unwritable_out_dir(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="out_dir must be a folder that can be written to"):
        make_speech_sentiment(1, 1, out_dir=tmp_path)
    tmp_path.chmod(0o700)
