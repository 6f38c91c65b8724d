from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments._harness.corpus import load_corpus, read_manifest
from sklearn_speechsent.audio import RecordingError, as_recordings


@pytest.fixture
def table(speech, tmp_path):
    """Table of the synthetic corpus."""
    return speech.frame.copy()


@pytest.fixture
def write(tmp_path):
    def write(table, name="manifest.csv", **kwargs):
        path = tmp_path / name
        table.to_csv(path, index=False, **kwargs)
        return path

    return write


def test_reads_any_corpus(manifest):
    corpus = load_corpus(str(manifest))
    assert corpus.levels == (-1, 0, 1)
    assert corpus.y.min() == -0.75
    assert sorted(set(corpus.groups)) == ["voice 0", "voice 1", "voice 2", "voice 3"]
    described = corpus.describe()
    assert described["labels"] == "real"
    assert described["recordings"] == sum(described["counts"].values()) == 24


def test_levels_are_the_integers_that_rounded_labels_span(table, write):
    table["label"] = [2.6, -1.2] * 12
    assert read_manifest(write(table)).levels == (-1, 0, 1, 2, 3)


def test_paths_may_be_relative_and_segments_given(table, write, tmp_path, speech):
    (tmp_path / "audio").symlink_to(speech.out_dir)
    table["file"] = [f"audio/{Path(f).relative_to(speech.out_dir)}" for f in table["file"]]
    table["end"] = [1.25] + [""] * 23
    corpus = read_manifest(write(table, encoding="utf-8-sig"))
    first, second, *_ = as_recordings(corpus.X)
    assert first.source == str(tmp_path / table["file"][0])
    assert (first.start, first.stop, second.stop) == (None, 1.25, None)


def test_speakers_keep_their_names(table, write):
    table["speaker"] = ["007", "7", "NA", "08"] * 6
    assert sorted(set(read_manifest(write(table)).groups)) == ["007", "08", "7", "NA"]
    table["speaker"] = [10, 2, 0, 7] * 6
    assert read_manifest(write(table)).groups.dtype.kind == "i"


def spoil(**cells):
    """Change cells of the fourth row."""

    def change(table):
        table = table.astype(object)
        for column, value in cells.items():
            if column not in table:
                table[column] = ""
            table.loc[3, column] = value
        return table

    return change


BAD = {
    "column": (lambda t: t.rename(columns={"label": "Label"}), ValueError, "lacks.*label.*Label"),
    "label": (spoil(label=""), ValueError, "line 5: label '' is not a finite number"),
    "nan": (spoil(label="nan"), ValueError, "line 5: label 'nan' is not"),
    "infinite": (spoil(label="inf"), ValueError, "line 5: label 'inf' is not a finite"),
    "text": (spoil(label="happy"), ValueError, "line 5: label 'happy' is not a number"),
    "missing file": (spoil(file="gone.wav"), FileNotFoundError, "line 5: file 'gone.wav' does not"),
    "no file": (spoil(file=""), ValueError, "line 5: file '' is empty"),
    "no speaker": (spoil(speaker=""), ValueError, "line 5: speaker '' is empty"),
    "one speaker": (lambda t: t.assign(speaker="A"), ValueError, "have the speaker 'A'"),
    "one level": (lambda t: t.assign(label=0.3), ValueError, "at level 0"),
    "no rows": (lambda t: t[:0], ValueError, "no rows"),
    "start": (spoil(start="soon"), ValueError, "line 5: start 'soon' is not a number"),
    "negative": (spoil(start="-1"), ValueError, "line 5: start '-1' is negative"),
    "end": (spoil(start="1.0", end="0.5"), ValueError, "line 5: end '0.5' is not after"),
    "beyond": (spoil(start="99"), RecordingError, "row 3"),
}


@pytest.mark.parametrize("change, error, message", BAD.values(), ids=BAD)
def test_says_what_is_wrong(table, write, change, error, message):
    with pytest.raises(error, match=message):
        read_manifest(write(change(table)))


def test_names_a_file_that_is_not_audio(table, write, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(RecordingError, match=r"row 3 .*text\.wav"):
        read_manifest(write(spoil(file="text.wav")(table)))


def test_says_that_there_is_no_manifest():
    with pytest.raises(FileNotFoundError, match=r"no manifest nowhere\.csv.*'ravdess' or a CSV"):
        load_corpus("nowhere.csv")


def test_folds_keep_speakers_apart(manifest, capsys):
    corpus = read_manifest(manifest)
    folds = corpus.folds(8)
    assert "8 folds are more than 4 speakers: 4 folds" in capsys.readouterr().out
    assert len(folds) == 4
    for train, test in folds:
        assert not set(corpus.groups[train]) & set(corpus.groups[test])
    np.testing.assert_array_equal(np.sort(np.concatenate([t for _, t in folds])), np.arange(24))
    with pytest.raises(ValueError, match="at least 2 folds"):
        corpus.folds(1)


def test_a_manifest_of_a_loader_has_its_folds(speech, write):
    corpus = read_manifest(write(pd.DataFrame(speech.frame)))
    np.testing.assert_array_equal(corpus.groups, speech.groups)
    np.testing.assert_array_equal(corpus.y, speech.target)
