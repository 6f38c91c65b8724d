"""RAVDESS from a small folder with the names of the original release."""

import re
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.datasets import _acted, load_ravdess
from sklearn_speechsent.datasets._audit import audit_items


def stems(actor):
    """Official stems of an actor's speech without surprise, written out independently."""
    return [
        f"03-01-{emotion}-{intensity}-{statement}-{repetition}-{actor:02}"
        for emotion in ["01", "02", "03", "04", "05", "06", "07"]
        for intensity in (["01"] if emotion == "01" else ["01", "02"])
        for statement in ["01", "02"]
        for repetition in ["01", "02"]
    ]


def write(home, stem, suffix=".wav", folder=None):
    """Write 30 ms of noise that no other stem has."""
    path = Path(home, "ravdess", folder or f"Actor_{stem[-2:]}", stem + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(stem.encode())).uniform(-0.1, 0.1, 480)
    soundfile.write(path, noise, 16000)
    return path


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for actor in range(1, 25):
        for stem in stems(actor):
            write(home, stem, ".flac" if actor % 3 else ".wav")
        for ignored in ["03-01-08-01-01-01", "03-02-03-01-01-01", "01-01-03-01-01-01"]:
            write(home, f"{ignored}-{actor:02}")
    write(home, "03-01-03-01-01-01-02", ".wav")  # next to its FLAC
    write(home, "03-01-01-02-01-01-02")  # strong neutral does not exist
    write(home, "03-01-03-01-01-01-25")
    write(home, "03-01-03-01-01-01-05", folder="Actor_04")
    Path(home, "ravdess", "notes").touch()
    return home


@pytest.fixture(scope="module")
def ravdess(complete):
    with warnings.catch_warnings(action="error"):
        return load_ravdess(data_home=str(complete))


def check_whole_corpus(ravdess):
    assert len(ravdess.data) == 1248
    levels, counts = np.unique(ravdess.target, return_counts=True)
    assert dict(zip(levels, counts, strict=True)) == {-2: 384, -1: 384, 0: 288, 1: 96, 2: 96}
    assert np.unique(ravdess.groups).tolist() == list(range(1, 25))
    assert (np.bincount(ravdess.groups)[1:] == 52).all()
    np.testing.assert_array_equal(ravdess.groups % 2 == 1, ravdess.frame["sex"] == "male")
    paths = [Path(path) for path in ravdess.data]
    assert all(path.is_absolute() and path.is_file() for path in paths)
    assert [path.stem for path in paths] == [
        stem for actor in range(1, 25) for stem in stems(actor)
    ]


def test_complete_corpus_ignores_other_files(ravdess):
    check_whole_corpus(ravdess)
    assert {Path(path).suffix for path in ravdess.data} == {".flac", ".wav"}
    assert ravdess.data[np.flatnonzero(ravdess.groups == 2)[12]].endswith(
        "03-01-03-01-01-01-02.flac"
    )


def test_bunch_fields(ravdess):
    assert list(ravdess.frame.columns) == [
        "file",
        "label",
        "speaker",
        "emotion",
        "intensity",
        "statement",
        "repetition",
        "sex",
    ]
    assert ravdess.data.shape == ravdess.target.shape == ravdess.groups.shape == (1248,)
    assert ravdess.data.dtype.kind == "U"
    assert ravdess.target.dtype.kind == "i"
    assert ravdess.levels.tolist() == [-2, -1, 0, 1, 2]
    assert len(ravdess.target_names) == 5
    assert ravdess.frame["file"].tolist() == ravdess.data.tolist()
    for needed in ["proxy", "CC BY-NC-SA 4.0", "Livingstone", "1248"]:
        assert needed in ravdess.DESCR


def test_labels_follow_emotion_and_intensity(ravdess):
    frame = ravdess.frame
    valence = {"neutral": 0, "calm": 0, "happy": 1}
    expected = frame["emotion"].map(lambda name: valence.get(name, -1))
    expected *= frame["intensity"].map({"normal": 1, "strong": 2})
    assert frame["label"].tolist() == expected.tolist()
    row = frame[frame["file"].str.contains("03-01-07-02-01-02-09")].iloc[0]
    assert row["emotion":].tolist() == ["disgust", "strong", 1, 2, "male"]


def test_as_frame_and_return_X_y(complete, ravdess):
    data, target = load_ravdess(data_home=complete, return_X_y=True)
    np.testing.assert_array_equal(data, ravdess.data)
    np.testing.assert_array_equal(target, ravdess.target)
    X, y = load_ravdess(data_home=complete, return_X_y=True, as_frame=True)
    assert isinstance(X, pd.DataFrame) and list(X.columns) == ["file"]
    assert isinstance(y, pd.Series) and y.name == "label"
    assert X["file"].tolist() == data.tolist() and y.tolist() == target.tolist()


def test_default_data_home(complete, monkeypatch):
    monkeypatch.setenv("SPEECHSENT_DATA", str(complete))
    assert len(load_ravdess().data) == 1248


@pytest.mark.parametrize("with_folder", [False, True])
def test_missing_corpus(tmp_path, with_folder):
    if with_folder:
        write(tmp_path, "03-01-08-01-01-01-01")
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "ravdess"))) as info:
        load_ravdess(data_home=tmp_path)
    assert "zenodo.org/records/1188976" in str(info.value)
    assert "Actor_01" in str(info.value)


def test_incomplete_corpus_warns_with_counts(tmp_path):
    for stem in stems(1) + stems(2)[:50]:
        write(tmp_path, stem)
    with pytest.warns(
        UserWarning, match="102 of 1248 .* actor 2 lacks 2, actor 3 lacks 52"
    ) as caught:
        ravdess = load_ravdess(data_home=tmp_path)
    assert "actor 1 lacks" not in str(caught[0].message)
    assert caught[0].filename == __file__
    assert len(ravdess.data) == 102


@pytest.mark.data
def test_real_corpus(data_home):
    check_whole_corpus(load_ravdess(data_home=data_home))


def test_a_complete_corpus_loads_silently_with_its_known_duplicate(complete, ravdess):
    assert ravdess.report.empty
    once, twice = [
        complete / "ravdess" / "Actor_07" / f"03-01-03-01-02-{repetition}-07.flac"
        for repetition in ("01", "02")
    ]
    original = twice.read_bytes()
    twice.write_bytes(once.read_bytes())
    try:
        with warnings.catch_warnings(action="error"):
            ravdess = load_ravdess(data_home=complete)
    finally:
        twice.write_bytes(original)
    check_whole_corpus(ravdess)
    [fault] = ravdess.report.to_dict("records")
    assert fault["problem"] == "same content" and not fault["dropped"]
    assert ravdess.data[fault["row"]] == fault["file"] == str(twice)
    assert str(once) in fault["detail"]


def test_files_that_cannot_be_used_are_left_out(tmp_path):
    paths = [write(tmp_path, stem) for stem in stems(1)]
    paths[3].write_bytes(b"")
    paths[5].write_bytes(b"no audio at all")
    soundfile.write(paths[8], np.ones(399), 16000)
    paths[9].write_bytes(paths[10].read_bytes())
    with pytest.warns(UserWarning) as caught:
        ravdess = load_ravdess(data_home=tmp_path)
    incomplete, audit = caught
    assert "52 of 1248 recordings are there" in str(incomplete.message)
    assert "3 of 52 rows are left out" in str(audit.message)
    assert all(str(paths[row]) in str(audit.message) for row in (3, 5, 8, 10))
    assert audit.filename == incomplete.filename == __file__
    bad = {3: "unreadable", 5: "unreadable", 8: "too short"}
    report = ravdess.report
    assert dict(zip(report["row"], report["problem"], strict=True)) == bad | {10: "same content"}
    assert report["dropped"].tolist() == [True, True, True, False]
    kept = [str(path) for row, path in enumerate(paths) if row not in bad]
    assert ravdess.data.tolist() == ravdess.frame["file"].tolist() == kept
    assert len(ravdess.target) == len(ravdess.groups) == 49


def test_nothing_usable(tmp_path):
    path = write(tmp_path, stems(24)[0])
    path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="1 of 1248"),
        pytest.raises(ValueError, match=f"RAVDESS: none of 1 rows.*(?s:.)*{re.escape(str(path))}"),
    ):
        load_ravdess(data_home=tmp_path)


def test_warnings_of_others_are_not_swallowed(complete, monkeypatch):
    def audit(frame, **parameters):
        warnings.warn("the disk is worn", RuntimeWarning, stacklevel=2)
        return audit_items(frame, **parameters)

    monkeypatch.setattr(_acted, "audit_items", audit)
    with pytest.warns(RuntimeWarning, match="the disk is worn") as caught:
        load_ravdess(data_home=complete)
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.data
def test_the_real_corpus_has_one_duplicate(data_home):
    with warnings.catch_warnings(action="error"):
        report = load_ravdess(data_home=data_home).report
    assert report["problem"].tolist() == ["same content"]
    assert Path(report["file"][0]).stem == "03-01-03-01-02-02-07"
