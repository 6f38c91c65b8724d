"""Problems of the rows of a corpus, each kind made on purpose."""

import os
import unicodedata
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import audio
from sklearn_speechsent.datasets import _audit
from sklearn_speechsent.datasets._audit import audit_items
from sklearn_speechsent.datasets._bunch import make_bunch


@pytest.fixture
def write(tmp_path, rng):
    def write_noise(name, seconds, sample_rate=16000):
        path = tmp_path / name
        soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * sample_rate)), sample_rate)
        return str(path)

    return write_noise


def segments(file, *rows, **columns):
    """Rows of (start, end, label) in one file."""
    frame = pd.DataFrame(rows, columns=["start", "end", "label"], dtype=float)
    return frame.assign(**{"file": file, "speaker": "s", **columns})


def audit_with_warning(frame, **parameters):
    with pytest.warns(UserWarning, match="mine: ") as record:
        rows, report = audit_items(frame, corpus="mine", **parameters)
    assert len(record) == 1
    return rows, report, str(record[0].message)


def found(report):
    """What was found, without words."""
    return [(item.row, item.problem, item.dropped) for item in report.itertuples()]


def test_nothing_to_report(write):
    frame = segments(write("a.wav", 2), (0, 1, 0.0), (1, 2, 1.0), (1.5, np.nan, 1.0))
    frame.index = [5, 6, 7]
    rows, report = audit_items(frame, corpus="mine")
    assert rows.index.tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(rows, frame.reset_index(drop=True))
    assert list(report.columns) == ["row", "file", "start", "end", "problem", "detail", "dropped"]
    assert report.empty and report["dropped"].dtype == bool


def test_missing_unreadable_and_unlabelled_files(write, tmp_path):
    good = write("good.wav", 1)
    (tmp_path / "bad.wav").write_text("no sound")
    (tmp_path / "folder.wav").mkdir()
    files = [str(tmp_path / name) for name in ("bad.wav", "gone.wav", "folder.wav")]
    frame = pd.DataFrame({"file": [*files, None, good, good], "label": [0, 0, 0, 0, 0, None]})
    rows, report, message = audit_with_warning(frame.assign(speaker="s"))
    assert found(report) == [
        (0, "unreadable", True),
        (1, "missing", True),
        (2, "unreadable", True),
        (3, "missing", True),
        (5, "no label", True),
    ]
    assert rows["file"].tolist() == [good]
    assert report["file"].tolist()[:3] == files
    assert report.loc[1, "detail"] == "there is no such file."
    assert "it is a directory" in report.loc[2, "detail"]
    assert "5 of 6 rows are left out" in message and "rest is in bunch.report" in message
    assert files[1] in message


def test_times_are_corrected_or_refused(write):
    frame = segments(
        write("a.wav", 10),
        (0, 1, 0),
        (-0.5, 2, 0),
        (3, 10.4, 0),  # tolerated: times are rounded
        (4, 11, 0),
        (10, 11, 0),
        (np.nan, np.nan, 0),
        (np.nan, 3, 0),
        (5, np.nan, 0),
        (7, 7.01, 0),
        (8, 7, 0),
        (9.99, 10.4, 0),  # what is left of it is too short
        (-2, -1, 0),
    )
    rows, report, message = audit_with_warning(frame)
    assert message.index("no times: 1, left out") < message.index("starts below zero: 2, kept")
    assert found(report) == [
        (1, "starts below zero", False),
        (3, "ends after the recording", False),
        (4, "ends after the recording", True),
        (5, "no times", True),
        (8, "too short", True),
        (9, "too short", True),
        (10, "too short", True),
        (11, "starts below zero", False),
        (11, "too short", True),
    ]
    expected = [(0, 1), (0, 2), (3, 10.4), (4, 10), (np.nan, 3), (5, np.nan)]
    np.testing.assert_array_equal(rows[["start", "end"]].to_numpy(dtype=float), expected)
    assert report.loc[0, "start"] == -0.5  # as given
    assert frame.loc[1, "start"] == -0.5  # the caller's table is left alone
    # What is left can be read.
    assert audio.check_recordings(rows[["file", "start", "end"]]).all()


def test_whole_files_may_have_empty_columns_of_times(write):
    frame = segments(write("a.wav", 1), (np.nan, np.nan, 0))
    assert len(audit_items(frame, corpus="mine")[0]) == 1


@pytest.mark.parametrize(("seconds", "usable"), [(0.025, True), (0.0249, False), (0.0, False)])
def test_short_files(write, seconds, usable):
    frame = pd.DataFrame(
        {"file": [write("a.wav", seconds), write("b.wav", 1)], "label": 0, "speaker": 0}
    )
    if usable:
        assert len(audit_items(frame, corpus="mine")[0]) == 2
    else:
        assert found(audit_with_warning(frame)[1]) == [(0, "too short", True)]


def test_min_duration(write):
    frame = segments(write("a.wav", 3), (0, 0.99, 0), (1, 2, 0))
    rows, report, _ = audit_with_warning(frame, min_duration=1.0)
    assert rows["start"].tolist() == [1.0]
    assert report.loc[0, "detail"] == "it lasts 990 ms, less than 1000 ms"


def test_duplicates(write):
    file = write("a.wav", 9)
    rows, report, _ = audit_with_warning(
        segments(
            file,
            (0, 1, 0),
            (0, 1, 0),
            (-1, 1, 0),  # the same once it is clipped
            (2, 3, 1),
            (2, 3, 2),
            (2, 3, 1),
            (5, np.nan, 0),
            (5, np.nan, 0),
        )
    )
    assert rows["start"].tolist() == [0, 2, 2, 2, 5]
    duplicates = report[report["problem"] == "duplicate"]
    assert duplicates["row"].tolist() == [1, 2, 3, 4, 5, 7]
    assert duplicates["dropped"].tolist() == [True, True, False, False, False, True]
    detail = duplicates.set_index("row")["detail"]
    assert detail[1] == "the same as row 0, label and all"
    assert detail[4] == "labelled 1.0 and 2.0 in rows 3, 4 and 5; all are taken"


def test_same_whole_file_twice(write):
    file = write("a.wav", 1)
    frame = pd.DataFrame({"file": [file, file], "label": 1, "speaker": 0})
    rows, report, _ = audit_with_warning(frame)
    assert len(rows) == 1 and found(report) == [(1, "duplicate", True)]


def test_same_content(write, tmp_path, monkeypatch):
    first, twin, other = (write(name, 5) for name in ("a.wav", "b.wav", "c.wav"))
    lone = write("d.wav", 4)
    content = Path(first).read_bytes()
    Path(twin).write_bytes(content)
    Path(other).write_bytes(content[:-2] + b"\0\1")  # equal in size and beginning only
    opened = []
    monkeypatch.setattr(_audit, "_head_digest", spy(_audit._head_digest, opened))
    frame = pd.DataFrame({"file": [first, other, lone, twin], "label": [1, 1, 1, 2]})
    rows, report, _ = audit_with_warning(frame.assign(speaker="s", split="train"))
    assert len(rows) == 4
    assert found(report) == [(3, "same content", False)]
    assert report.loc[0, "detail"] == f"the same bytes as {first} (row 0), but label 2, not 1"
    assert sorted(opened) == sorted([first, other, twin]), "a file of unique size was read"


def spy(function, calls):
    def spied(argument):
        calls.append(argument)
        return function(argument)

    return spied


def test_each_file_is_opened_once_for_all_of_its_rows(write, monkeypatch):
    files = [write("a.wav", 30), write("b.wav", 30)]
    frame = pd.concat(
        [segments(file, *[(k, k + 1, 0) for k in range(20)], speaker=file) for file in files]
    )
    opened = []
    monkeypatch.setattr(audio.io, "open_audio", spy(audio.io.open_audio, opened))
    rows, _ = audit_items(frame, corpus="mine", n_jobs=2)
    assert len(rows) == 40
    assert sorted(recording.source for recording in opened) == files


def test_segments_of_a_cut_file_stay_as_far_as_they_are_there(write, tmp_path):
    whole = Path(write("a.wav", 4)).read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) * 5 // 8])  # 2.5 of 4 s
    frame = segments(str(cut), (0, 1, 0), (1.5, 2.4, 1), (2.4, 2.9, 2), (3, 3.5, 0), (2, np.nan, 1))
    rows, report, _ = audit_with_warning(frame)
    assert rows["label"].tolist() == [0, 1]
    assert found(report) == [(row, "unreadable", True) for row in (2, 3, 4)]
    assert report["detail"].str.contains("of 64000 samples").all()


def test_content_is_found_under_other_spellings_of_names(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    first = write(unicodedata.normalize("NFC", "caf\u00e9.wav"), 2)
    content = Path(first).read_bytes()
    (tmp_path / "twin.wav").write_bytes(content)
    files = [unicodedata.normalize("NFD", first), "~/twin.wav", f" {tmp_path}/twin.wav "]
    frame = pd.DataFrame({"file": files, "label": 1, "speaker": "s"})
    rows, report, _ = audit_with_warning(frame)
    assert len(rows) == 3
    assert found(report) == [(row, "same content", False) for row in (1, 2)]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_order_does_not_depend_on_threads(write, n_jobs):
    files = [write(f"{k}.wav", 0.01 + 0.05 * (k % 2)) for k in range(10)]
    frame = pd.DataFrame({"file": files, "label": range(10), "speaker": range(10)})
    rows, report, message = audit_with_warning(frame, n_jobs=n_jobs)
    assert rows["label"].tolist() == [1, 3, 5, 7, 9]
    assert report["row"].tolist() == [0, 2, 4, 6, 8]
    assert message.count("0.wav") + message.count("2.wav") + message.count("4.wav") == 3
    assert "6.wav" not in message and "... and 2 more" in message


def test_speakers_and_speech_across_splits(write):
    a, b = write("a.wav", 9), write("b.wav", 9)
    frame = pd.concat(
        [
            segments(a, (0, 5, 0), (1, 2, 0), (5, 6, 0), (4.9, 5.5, 0), speaker="anna"),
            segments(b, (0, 5, 0), (4, np.nan, 0), speaker="ben"),
        ]
    ).assign(split=["train", "train", "test", "test", "train", "train"])
    rows, report, _ = audit_with_warning(frame)
    assert len(rows) == 6 and not report["dropped"].any()
    assert found(report) == [
        (2, "speaker in several splits", False),
        (3, "overlap across splits", False),
    ]
    assert "speaker anna is in train: 2 rows, test: 2 rows" in report.loc[0, "detail"]
    assert report.loc[1, "detail"] == "in test, overlaps row 0 in train"


def test_overlap_with_a_long_segment_that_began_long_before(write):
    file = write("a.wav", 9)
    frame = segments(file, (0, np.nan, 0), (1, 2, 0), (6, 7, 0), speaker=[1, 1, 2])
    _, report, _ = audit_with_warning(frame.assign(split=["train", "train", "valid"]))
    assert report["detail"].tolist() == ["in valid, overlaps row 0 in train"]


def test_rows_without_split_are_in_none(write):
    file = write("a.wav", 9)
    frame = segments(file, (0, 5, 0), (1, 6, 0)).assign(split=["train", None])
    assert audit_items(frame, corpus="mine")[1].empty


def test_nothing_left(write, tmp_path):
    missing = segments(str(tmp_path / "gone" / "a.wav"), (0, 1, 0), (1, 2, 0))
    with pytest.raises(FileNotFoundError, match=f"mine: none .* 2 rows is in {tmp_path}/gone. Put"):
        audit_items(missing, corpus="mine")
    bad = segments(write("a.wav", 1), (0, 0.01, 0))
    with pytest.raises(ValueError, match=r"(?s)none of 1 rows can be used.*too short: 1") as info:
        audit_items(bad, corpus="mine")
    assert not isinstance(info.value, FileNotFoundError)
    mixed = pd.concat([missing, bad])
    with pytest.raises(ValueError, match=r"none of 3 rows") as info:
        audit_items(mixed, corpus="mine")
    assert not isinstance(info.value, FileNotFoundError)
    with pytest.raises(ValueError, match="mine: there are no rows"):
        audit_items(bad.iloc[:0], corpus="mine")


def test_duration_reads_the_header_only(write, tmp_path):
    file = write("a.wav", 1.5, 8000)
    assert audio.duration(audio.Recording(0, file, start=1.0)) == 1.5
    with pytest.raises(audio.MissingRecordingError, match="no such file"):
        audio.duration(audio.Recording(0, str(tmp_path / "no.wav")))


def test_bunch_of_segments(write):
    file = write("a.wav", 3)
    frame = segments(file, (0, 1, -0.5), (1, 2, 2)).assign(split=["train", "test"], more=1)
    parameters = {"levels": np.arange(-3.0, 4), "target_names": list("abcdefg"), "descr": "text"}
    bunch = make_bunch(frame, report="report", **parameters)
    assert list(bunch.data.columns) == ["file", "start", "end"]
    assert isinstance(bunch.target, np.ndarray) and bunch.target.tolist() == [-0.5, 2]
    assert bunch.split.tolist() == ["train", "test"] and bunch.report == "report"
    assert "more" in bunch.frame.columns
    X, y = make_bunch(frame, return_X_y=True, as_frame=True, **parameters)
    pd.testing.assert_frame_equal(X, bunch.data)
    assert isinstance(y, pd.Series)
    whole = make_bunch(frame.drop(columns=["start", "end", "split"]), **parameters)
    assert whole.data.tolist() == [file, file] and "split" not in whole


def test_audit_leaves_global_generator_and_working_folder_alone(write):
    frame = segments(os.path.relpath(write("a.wav", 1)), (0, 1, 0))
    before = joblib.hash(np.random.get_state())  # noqa: NPY002
    assert len(audit_items(frame, corpus="mine")[0]) == 1
    assert joblib.hash(np.random.get_state()) == before  # noqa: NPY002
