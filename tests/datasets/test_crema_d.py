"""CREMA-D from a small folder with the names of the original release."""

import itertools
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.datasets import load_crema_d

SENTENCES = "DFA IEO IOM ITH ITS IWL IWW MTI TAI TIE TSI WSI".split()
EMOTIONS = "ANG DIS FEA HAP NEU SAD".split()
VALENCE = {"ANG": -1, "DIS": -1, "FEA": -1, "HAP": 1, "NEU": 0, "SAD": -1}
SILENT = "1076_MTI_SAD_XX"
#: Of a WAV file of 480 samples.
HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", 996, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", 960),
)


def stems(actor):
    """82 names of an actor, in their order, one of which lacks a letter in the release."""
    names = [
        f"{actor}_{sentence}_{emotion}_{level}"
        for sentence, emotion in itertools.product(SENTENCES, EMOTIONS)
        for level in (["HI", "LO", "MD"] if sentence == "IEO" and emotion != "NEU" else ["XX"])
    ]
    return [name.replace("1040_ITH_SAD_XX", "1040_ITH_SAD_X") for name in names]


def record(home, stem, suffix=".wav"):
    """Write 30 ms of noise that no other stem has."""
    path = Path(home, "crema_d", "AudioWAV", stem + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(stem.encode())).uniform(-0.1, 0.1, 480)
    if suffix == ".wav":  # by hand: there are thousands of them
        path.write_bytes(HEADER + (noise * 2**15).astype("<i2").tobytes())
    else:
        soundfile.write(path, noise, 16000)
    return path


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """As many files as the release has: the last actor lacks those that make more of them."""
    home = tmp_path_factory.mktemp("home")
    names = [stem for actor in range(1001, 1092) for stem in stems(actor)][:7442]
    for name in names:
        record(home, name, ".flac" if name.startswith("1002") else ".wav")
    record(home, names[0], ".flac")  # next to its WAV
    for other in ["1000_DFA_ANG_XX", "1092_DFA_ANG_XX", "1001_DFA_SUR_XX", "1001_DFA_ANG_YY"]:
        record(home, other)
    soundfile.write(home / "crema_d" / "AudioWAV" / f"{SILENT}.wav", np.zeros(480), 16000)
    return home, names


@pytest.fixture(scope="module")
def crema_d(complete):
    with warnings.catch_warnings(action="error"):
        return load_crema_d(data_home=complete[0])


def test_the_original_release_loads_silently_without_the_silent_file(complete, crema_d):
    _, names = complete
    paths = [Path(path) for path in crema_d.data]
    assert [path.stem for path in paths] == [name for name in names if name != SILENT]
    assert len(paths) == 7441 and all(path.is_absolute() for path in paths)
    assert paths[0].suffix == paths[82].suffix == ".flac" and paths[1].suffix == ".wav"
    [fault] = crema_d.report.to_dict("records")
    assert fault["problem"] == "silent" and fault["dropped"] and "silent" in fault["detail"]
    assert fault["row"] == names.index(SILENT) and Path(fault["file"]).stem == SILENT


def test_labels_follow_emotion_and_level(crema_d):
    for path, label, group in zip(crema_d.data, crema_d.target, crema_d.groups, strict=True):
        actor, _, emotion, level = Path(path).stem.split("_")
        assert label == VALENCE[emotion] * (2 if level == "HI" else 1) and group == int(actor)
    assert crema_d.target.dtype.kind == "i" and crema_d.levels.tolist() == [-2, -1, 0, 1, 2]
    row = crema_d.frame[crema_d.frame["file"].str.contains("1040_ITH_SAD_X")].iloc[0]
    assert row["emotion":].tolist() == ["sad", "unspecified", "ITH"]
    row = crema_d.frame[crema_d.frame["file"].str.contains("1007_IEO_FEA_LO")].iloc[0]
    assert row["label":].tolist() == [-1, 1007, "fear", "low", "IEO"]


def test_the_description_counts_what_is_there(crema_d):
    levels, counts = np.unique(crema_d.target, return_counts=True)
    for level, count in zip(levels, counts, strict=True):
        assert re.search(rf"[ :]\+?{level}: {count}\b", crema_d.DESCR)
    for needed in ["7441 of 91 actors", "proxy", "Open Database License", "Cao H", SILENT]:
        assert needed in crema_d.DESCR


@pytest.mark.parametrize(("content", "problem"), [(b"", "unreadable"), (None, "too short")])
def test_the_known_file_may_be_empty_or_without_samples(tmp_path, content, problem):
    path = record(tmp_path, SILENT)
    if content is None:
        soundfile.write(path, np.zeros(0), 16000)
    else:
        path.write_bytes(content)
    record(tmp_path, "1076_MTI_NEU_XX")
    with pytest.warns(UserWarning) as caught:
        crema_d = load_crema_d(data_home=tmp_path)
    assert len(caught) == 1 and "2 of 7442" in str(caught[0].message)
    assert "1 of 91 actors" in str(caught[0].message) and caught[0].filename == __file__
    assert crema_d.report["problem"].tolist() == [problem] and len(crema_d.data) == 1


def test_a_sound_copy_of_the_known_file_is_kept(tmp_path):
    record(tmp_path, SILENT)
    with pytest.warns(UserWarning, match="incomplete"):
        crema_d = load_crema_d(data_home=tmp_path)
    assert len(crema_d.data) == 1 and crema_d.report.empty


def test_rows_of_the_report_are_those_of_the_corpus(tmp_path):
    first, *_ = [record(tmp_path, f"10{n}_MTI_SAD_XX") for n in (10, 20, 76, 80)]
    first.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    silent = tmp_path / "crema_d" / "AudioWAV" / f"{SILENT}.wav"
    soundfile.write(silent, np.zeros(480), 16000)
    with pytest.warns(UserWarning, match="incomplete|1 of 4 rows are left out"):
        crema_d = load_crema_d(data_home=tmp_path)
    assert crema_d.report[["row", "problem"]].to_numpy().tolist() == [
        [0, "unreadable"],
        [2, "silent"],
    ]
    assert crema_d.groups.tolist() == [1020, 1080] and crema_d.frame.index.tolist() == [0, 1]


def test_sex_and_age_if_the_official_table_is_there(tmp_path):
    record(tmp_path, "1001_DFA_ANG_XX")
    record(tmp_path, "1002_DFA_ANG_XX")
    table = tmp_path / "crema_d" / "VideoDemographics.csv"
    table.write_text("ActorID,Age,Sex,Race,Ethnicity\n1002,21,Female,x,y\n1001,51,Male,x,y\n")
    with pytest.warns(UserWarning, match="incomplete"):
        frame = load_crema_d(data_home=tmp_path).frame
    assert frame[["speaker", "sex", "age"]].to_numpy().tolist() == [
        [1001, "male", 51],
        [1002, "female", 21],
    ]
    table.write_text("ActorID,Gender\n1001,Male\n")
    with pytest.raises(ValueError, match=r"VideoDemographics\.csv lacks 'Age', 'Sex'"):
        load_crema_d(data_home=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ActorID;Age;Sex\n1001;51;Male\n".encode("utf-16"), None),
        ("ActorID,Age,Sex,Race\n1001,51,Male,Métis\n".encode("cp1252"), "may be cp1252. Save it"),
        (b"ActorID,Age,Sex\n1001,51,Male\n1001,52,Male\n", r"row 1 \(line 3, 1001\.0\)"),
        (b"ActorID,Age,Sex\nme,51,Male\n", r"'me' in row 0 \(line 2, me\) is not a number"),
        (b"ActorID,Age,Sex\n1001,51,Male,x\n", "line 2 has 4 fields"),
    ],
)
def test_other_tables_of_sex_and_age(tmp_path, content, message):
    record(tmp_path, "1001_DFA_ANG_XX")
    (tmp_path / "crema_d" / "VideoDemographics.csv").write_bytes(content)
    if message is None:
        with pytest.warns(UserWarning, match="incomplete"):
            assert load_crema_d(data_home=tmp_path).frame["age"].tolist() == [51]
        return
    with pytest.raises(ValueError, match=message) as error:
        load_crema_d(data_home=tmp_path)
    assert "VideoDemographics.csv" in str(error.value)


def test_as_frame_and_return_X_y(tmp_path):
    paths = [record(tmp_path, f"1001_DFA_{emotion}_XX") for emotion in ("ANG", "HAP", "NEU")]
    with pytest.warns(UserWarning, match="incomplete"):
        X, y = load_crema_d(data_home=tmp_path, return_X_y=True, as_frame=True)
    assert list(X.columns) == ["file"] and isinstance(y, pd.Series)
    assert X["file"].tolist() == list(map(str, paths)) and y.tolist() == [-1, 1, 0]


def test_missing_corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Git LFS") as caught:
        load_crema_d()
    assert str(tmp_path / "crema_d" / "AudioWAV") in str(caught.value)
