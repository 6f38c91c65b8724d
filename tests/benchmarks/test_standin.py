"""Layout, segments and labels of the stand-in for CMU-MOSEI, also after an interruption."""

import hashlib
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from benchmarks.scale import _voices, standin
from sklearn_speechsent.datasets import load_cmu_mosei

RATE = standin.RATE


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Data home with labels of 12 videos, and two utterances of each of three voices."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    for speaker in ("librispeech_excerpts/test-other/1", "ravdess/Actor_01", "ravdess/Actor_02"):
        folder = home / speaker
        folder.mkdir(parents=True)
        for name in "ab":
            samples = rng.normal(scale=0.1, size=6000)
            samples[:2000] = 0  # recordings may begin with digital silence
            soundfile.write(folder / f"{name}.flac", samples, RATE)
    rows = []
    for video in range(12):
        split = "train" if video < 8 else "valid" if video < 10 else "test"
        for clip, (start, end) in enumerate([(-0.4, 0.6), (0.5, 0.7), (0.7, 1.4 + video / 10)]):
            rows.append((f"v{video}", str(clip), (clip - 1) * 1.5, split, start, end))
    columns = "video_id clip_id sentiment split start end".split()
    labels = pd.DataFrame(rows, columns=columns)
    (home / "cmu_mosei").mkdir()
    labels.to_csv(home / "cmu_mosei" / "labels.csv", index=False)
    return home


def build(out, home, **settings):
    return standin.build(out, data_home=home, n_jobs=2, **settings)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def labels_of(folder):
    return pd.read_csv(folder / "cmu_mosei" / "labels.csv", dtype={"clip_id": str})


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_whole_videos_with_the_times_and_folds_of_the_labels(home, tmp_path, suffix):
    assert build(tmp_path, home, suffix=suffix) == 12
    pd.testing.assert_frame_equal(labels_of(tmp_path), labels_of(home))
    for video in range(12):
        info = soundfile.info(tmp_path / "cmu_mosei" / "WAV_16000" / f"v{video}.{suffix}")
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        assert info.duration == pytest.approx(1.4 + video / 10 + standin.TAIL, abs=1e-4)
    with pytest.warns(UserWarning, match="starts below zero: 12"):
        mosei = load_cmu_mosei(data_home=tmp_path)
    assert len(mosei.data) == 36
    assert mosei.split.tolist().count("valid") == 6
    np.testing.assert_allclose(mosei.data["end"][:3], [0.6, 0.7, 1.4])


def test_segments_are_pieces_of_the_videos(home, tmp_path):
    build(tmp_path / "whole", home)
    assert build(tmp_path / "cut", home, layout="segmented") == 36
    for row in labels_of(home).itertuples():
        samples, _ = soundfile.read(
            tmp_path / "whole" / "cmu_mosei" / "WAV_16000" / f"{row.video_id}.wav", dtype="int16"
        )
        name = f"{row.video_id}_{row.clip_id}.wav"
        piece, _ = soundfile.read(
            tmp_path / "cut" / "cmu_mosei" / "Segmented" / name, dtype="int16"
        )
        first = round(max(row.start, 0) * RATE)
        assert len(piece) == round(row.end * RATE) - first
        np.testing.assert_array_equal(piece, samples[first : first + len(piece)])


def test_no_two_videos_are_alike_and_no_segment_is_silent(home, tmp_path):
    build(tmp_path, home, layout="segmented")
    pieces = digests(tmp_path)
    assert len(set(pieces.values())) == len(pieces) == 36
    for path in (tmp_path / "cmu_mosei" / "Segmented").iterdir():
        assert np.ptp(soundfile.read(path, dtype="int16")[0]) > 0


def test_rows_without_times_get_a_stretch_of_sound(home, tmp_path):
    labels = labels_of(home)
    labels.loc[[0, 33, 34, 35], ["start", "end"]] = np.nan
    (tmp_path / "home").mkdir()
    shutil.copytree(home, tmp_path / "home", dirs_exist_ok=True)
    labels.to_csv(tmp_path / "home" / "cmu_mosei" / "labels.csv", index=False)
    build(tmp_path / "out", tmp_path / "home", layout="segmented")
    lone = soundfile.info(tmp_path / "out" / "cmu_mosei" / "Segmented" / "v11_2.wav")
    assert lone.duration == standin.UNTIMED


def test_a_larger_fraction_keeps_the_videos_of_a_smaller_one(home, tmp_path):
    assert build(tmp_path, home, fraction=0.5) == 6
    half = labels_of(tmp_path)
    assert half.groupby("split")["video_id"].nunique().to_dict() == {
        "train": 4,
        "valid": 1,
        "test": 1,
    }
    before = digests(tmp_path)
    assert build(tmp_path, home) == 6
    after = digests(tmp_path)
    assert before.items() < after.items() and len(after) == 12
    build(tmp_path / "at once", home)
    assert digests(tmp_path / "at once") == after
    assert digests_of_seed(home, tmp_path / "other", seed=1) != after


def digests_of_seed(home, out, seed):
    build(out, home, seed=seed)
    return digests(out)


def test_missing_and_incomplete_files_are_written_again(home, tmp_path, monkeypatch):
    build(tmp_path, home)
    whole = digests(tmp_path)
    folder = tmp_path / "cmu_mosei" / "WAV_16000"
    (folder / "v3.wav").unlink()
    (folder / "v5.wav").write_bytes((folder / "v5.wav").read_bytes()[:5000])

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", die)
        patch.setattr(standin, "write_text", lambda *args: None)
        with pytest.raises(KeyboardInterrupt):
            standin.build(tmp_path, data_home=home, n_jobs=1)
    assert not (folder / "v3.wav").exists()
    assert build(tmp_path, home) == 2
    assert digests(tmp_path) == whole
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_folder_with_other_content_is_refused(home, tmp_path, monkeypatch):
    build(tmp_path, home, fraction=0.2)
    with pytest.raises(SystemExit, match=r"was built with .*'seed': 0.*choose another OUT"):
        build(tmp_path, home, seed=1)
    with pytest.raises(SystemExit, match="is not empty"):
        build(home, home)
    with pytest.raises(SystemExit, match=r"--fraction=0 "):
        build(tmp_path / "none", home, fraction=0)
    with pytest.raises(SystemExit, match="SPEECHSENT_DATA"):
        build(tmp_path / "none", tmp_path / "nowhere")
    monkeypatch.setattr(standin.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    with pytest.raises(SystemExit, match=r"will take 0\.0 GiB, and of 1\.0 GiB.*--fraction"):
        build(tmp_path / "none", home)
    assert not (tmp_path / "none").exists()


def test_speech_agrees_with_the_sign_of_the_label():
    tones = {v: [np.full(900, 0.3 * (v + 2), np.float32)] for v in (-1, 0, 1)}
    segments = pd.DataFrame(
        {"first": [100, 800, 1500], "last": [700, 1500, 1600], "sentiment": [-3.0, 1 / 3, 0.0]}
    ).assign(length=2000)
    samples = standin.make_video(tones, segments, np.random.default_rng(0)).astype(float)
    neutral = samples[:100].mean()
    wanted = [0.5, 1.5, 1.0]
    for (first, last), ratio in zip([(100, 700), (800, 1500), (1500, 1600)], wanted, strict=True):
        np.testing.assert_allclose(samples[first:last] / neutral, ratio, atol=1e-3)
    np.testing.assert_allclose(samples[700:800] / neutral, 1, atol=1e-3)


def test_learnable_voices_have_all_valences(monkeypatch, tmp_path):
    frame = pd.DataFrame(
        {"file": list("abcdef"), "speaker": [1, 1, 1, 1, 2, 2], "label": [-2, 0, 1, 2, 0, 1]}
    )
    monkeypatch.setattr(_voices, "load_ravdess", lambda data_home: SimpleNamespace(frame=frame))
    voices = _voices.find_voices(tmp_path, learnable=True)
    assert voices["file"].tolist() == list("abcd")
    assert voices["valence"].tolist() == [-1, 0, 1, 1]


@pytest.mark.data
def test_real_labels_and_speech(data_home, tmp_path):
    assert standin.build(tmp_path, fraction=0.001, learnable=True, data_home=data_home) == 5
    labels = labels_of(tmp_path)
    assert set(labels["split"]) == {"train", "valid", "test"}
    for row in labels.itertuples():
        assert (
            soundfile.info(tmp_path / "cmu_mosei" / "WAV_16000" / f"{row.video_id}.wav").duration
            > row.end
        )
