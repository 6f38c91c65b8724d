"""Emo-DB from a small folder with its file names."""

import re
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sklearn_speechsent.datasets import load_emodb

#: Published number of recordings of each emotion.
COUNTS = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
SPEAKERS = ["03", "08", "09", "10", "11", "12", "13", "14", "15", "16"]
TEXTS = ["a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"]


def record(home, stem, suffix=".wav"):
    """Write 30 ms of noise that no other stem has."""
    path = Path(home, "emodb", "wav", stem + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(stem.encode())).uniform(-0.1, 0.1, 480)
    soundfile.write(path, noise, 16000)
    return path


def names():
    """535 names with the published counts of emotions; versions beyond the first where needed."""
    return sorted(
        f"{SPEAKERS[n % 10]}{TEXTS[n // 10 % 10]}{letter}{'ab'[n // 100]}"
        for letter, count in COUNTS.items()
        for n in range(count)
    )


@pytest.fixture(scope="module")
def emodb(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for name in names():
        record(home, name, ".flac" if name.startswith("16") else ".wav")
    for other in ["04a01Fa", "03a01Xa", "03c01Fa", "03a01F", "03a01Fa (copy)"]:
        record(home, other)
    with warnings.catch_warnings(action="error"):
        return load_emodb(data_home=home)


def test_the_complete_corpus(emodb):
    assert [Path(path).stem for path in emodb.data] == names() and len(emodb.data) == 535
    assert emodb.report.empty
    levels, counts = np.unique(emodb.target, return_counts=True)
    assert dict(zip(levels, counts, strict=True)) == {-1: 385, 0: 79, 1: 71}
    assert emodb.levels.tolist() == [-1, 0, 1]
    assert emodb.target_names == ["negative", "neutral", "positive"]
    assert np.unique(emodb.groups).tolist() == [3, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    for needed in ["535 of 10 speakers", "-1: 385, 0: 79, +1: 71", "proxy", "Burkhardt"]:
        assert needed in emodb.DESCR


def test_names_are_taken_apart(emodb):
    frame = emodb.frame
    letters = frame["file"].map(lambda path: Path(path).stem[5])
    emotions = dict(zip(letters, frame["emotion"], strict=True))
    assert emotions == {
        "W": "anger",
        "L": "boredom",
        "E": "disgust",
        "A": "fear",
        "F": "happiness",
        "T": "sadness",
        "N": "neutral",
    }
    assert frame.groupby("emotion")["label"].nunique().eq(1).all()
    row = frame[frame["file"].str.contains("08a01Wb")].iloc[0]
    assert row["label":].tolist() == [-1, 8, "anger", "a01", "b", "female", 34]
    assert frame.drop_duplicates("speaker")["sex"].value_counts().tolist() == [5, 5]


def test_bad_files_and_missing_ones(tmp_path):
    record(tmp_path, "03a01Fa")
    record(tmp_path, "03a01Wa").write_bytes(b"")
    with pytest.warns(UserWarning) as caught:
        emodb = load_emodb(data_home=tmp_path)
    messages = [str(warning.message) for warning in caught]
    assert "2 of 535 recordings are there; 1 of 10 speakers" in messages[0]
    assert "Emo-DB: 1 of 2 rows are left out" in messages[1]
    assert [Path(path).stem for path in emodb.data] == ["03a01Fa"]
    assert emodb.report["problem"].tolist() == ["unreadable"]


def test_missing_corpus(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "emodb"))) as caught:
        load_emodb(data_home=tmp_path)
    assert "fetch_emodb" in str(caught.value) and "download.zip" in str(caught.value)
