"""Given utterances: tables, RTTM files, audformat's index, and what is wrong with them."""

import audformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from followed import RATE, told

from sklearn_speechsent import sentiment_timeline
from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.datasets import to_segment_index
from sklearn_speechsent.inference import read_rttm

SAMPLES = told(np.repeat([0.1, 0.95], [100, 900]))  # 10 s


@pytest.fixture
def paths(tmp_path):
    paths = []
    for name in ("a.wav", "b.wav"):
        paths.append(str(tmp_path / name))
        soundfile.write(paths[-1], SAMPLES, RATE, subtype="FLOAT")
    return paths


@pytest.fixture
def follow(telling, loudness):
    """Function that makes a time line with few windows."""

    def follow(X, segments, **options):
        rule = {"step": 5.0, "detector": telling(), **options}
        return sentiment_timeline(loudness, X, segments=segments, **rule)

    return follow


def test_tables(paths, follow, loudness):
    table = pd.DataFrame(
        {
            "file": [paths[1], paths[0], paths[1]],
            "start": [6.0, np.nan, 2.00003],
            "end": [np.nan, 4.0, 5.0],
            "speaker": ["agent", None, "customer"],
        }
    )
    timeline = follow(paths, table)
    assert timeline["file"].tolist() == [paths[0], paths[1], paths[1]]
    assert timeline["speaker"].tolist() == [None, "agent", "customer"]
    assert timeline["start"].tolist() == [0.0, 6.0, 2.0]  # rounded to samples
    assert timeline["end"].tolist() == [4.0, 10.0, 5.0]
    assert timeline["speech"].tolist() == pytest.approx([3.0, 3.98, 3.0], abs=0.011)
    for (_, row), samples in zip(timeline.iloc[[0, 2, 1]].iterrows(), loudness.asked_, strict=True):
        first, last = round(row["start"] * RATE), round(row["end"] * RATE)
        np.testing.assert_array_equal(samples, SAMPLES[first:last])


def test_overlaps_and_windows(paths, follow):
    """Segments may overlap; windows of each are as if it were alone."""
    table = pd.DataFrame({"file": paths[0], "start": [2.0, 1.5, 3.0], "end": [9.5, 3.0, 9.0]})
    options = {"step": 1.0, "window": 2.0, "max_window": 4.0}
    together = follow(paths[:1], table, **options)
    alone = [follow(paths[:1], table.iloc[[row]], **options) for row in range(3)]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))
    assert len(together) == 7 + 1 + 1 + 1 + 5 + 1


def test_a_segment_without_speech(paths, follow):
    table = pd.DataFrame({"file": paths[0], "start": [0.0], "end": [1.5]})
    assert follow(paths[:1], table)["expected"].isna().tolist() == [True]
    assert follow(paths[:1], table, min_speech=0.0)["expected"].notna().tolist() == [True]
    tiny = pd.DataFrame({"file": paths[0], "start": [2.0], "end": [2.02]})
    assert follow(paths[:1], tiny, min_speech=0.0)["expected"].isna().tolist() == [True]


def test_samples_in_memory_by_row(follow):
    table = pd.DataFrame({"file": [1], "start": [2.0], "end": [4.0]})
    timeline = follow([SAMPLES, (RATE, SAMPLES)], table)
    assert timeline[["file", "start", "end"]].to_numpy().tolist() == [[1, 2.0, 4.0]]


def test_channels_of_segments(tmp_path, follow):
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([SAMPLES, 0 * SAMPLES], axis=1), RATE, subtype="FLOAT")
    (tmp_path / "call.rttm").write_text(
        "SPKR-INFO call 1 <NA> <NA> <NA> unknown agent <NA>\n"
        "SPEAKER call 1 2.0 3.0 <NA> <NA> agent <NA> <NA>\n"
        ";; a remark\n"
        "\n"
        "SPEAKER call 2 4.0 2.5 <NA> <NA> customer 0.9 <NA>\n"
    )
    separate = follow([path], tmp_path / "call.rttm", channels="separate")
    assert separate["channel"].tolist() == [0, 1]
    assert separate["speaker"].tolist() == ["agent", "customer"]
    assert separate["end"].tolist() == [5.0, 6.5]
    assert separate["expected"].isna().tolist() == [False, True]
    mixed = follow([path], str(tmp_path / "call.rttm"), min_speech=0.0)
    assert mixed["channel"].isna().all() and mixed["speaker"].tolist() == ["agent", "customer"]
    table = read_rttm(tmp_path / "call.rttm").assign(channel=[0, 2])
    with pytest.raises(RecordingError, match="a segment is of channel 2, and it has channels 0 to"):
        follow([path], table, channels="separate")


def test_audformat(paths, follow):
    index = audformat.segmented_index(paths[::-1], ["1s", "2s"], ["4s", pd.NaT])
    for segments in (index, pd.Series(0, index), pd.DataFrame({"speaker": ["x", "y"]}, index)):
        timeline = follow(paths, segments)
        timeline = timeline[timeline["final"]]
        assert timeline["file"].tolist() == paths
        assert timeline["start"].tolist() == [2.0, 1.0]
        assert timeline["end"].tolist() == [10.0, 4.0]
    assert timeline["speaker"].tolist() == ["y", "x"]
    again = follow(paths, to_segment_index(timeline))
    pd.testing.assert_frame_equal(
        again[again["final"]].drop(columns="speaker"), timeline.drop(columns="speaker")
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER a 1 2.0 -1.0 <NA> <NA> x", "line 2: it starts at 2 s and lasts -1 s"),
        ("SPEAKER a 1 2.0 0 <NA> <NA> x", "lasts 0 s"),
        ("SPEAKER a 1 -2.0 1 <NA> <NA> x", "starts at -2 s"),
        ("SPEAKER a 1 2.0 nan <NA> <NA> x", "lasts nan s"),
        ("SPEAKER a 1 two 1 <NA> <NA> x", "start and duration are numbers"),
        ("SPEAKER a 1 2.0", "a line of RTTM has 8 fields"),
        ("SPEAKER c 1 2.0 1 <NA> <NA> x", "'c', which is not in X"),
        ("SPEAKER a 1 12.0 1 <NA> <NA> x", "ends at 10.000 s"),
        ("SPEAKER a 1 9.0 2 <NA> <NA> x", r"from 9 to 11 s is not inside"),
    ],
)
def test_rttm_that_cannot_be_used(paths, follow, tmp_path, line, message):
    path = tmp_path / "x.rttm"
    path.write_text(f"SPEAKER a 1 1.0 1.0 <NA> <NA> x <NA> <NA>\n{line}\n")
    with pytest.raises(ValueError, match=message):
        follow(paths, path)


def test_an_end_may_be_rounded(paths, follow):
    table = pd.DataFrame({"file": paths[0], "start": [6.0], "end": [10.2]})
    assert follow(paths, table)["end"].tolist() == [10.0]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"file": ["a"], "start": [2.0], "end": [1.0]}, ValueError, "Row 0 .*from 2 to 1 s"),
        ({"file": ["a"], "start": [-1.0]}, ValueError, "Row 0 .*from -1 to nan s"),
        ({"file": ["a"], "start": ["x"]}, ValueError, "Column 'start' of segments must hold"),
        ({"file": ["a"], "end": [np.inf]}, ValueError, "from 0 to inf s"),
        ({"file": ["a"], "start": [1.0], "end": [1.00001]}, RecordingError, "has no samples"),
        ({"name": ["a"]}, ValueError, "An index of segments has the levels"),
    ],
)
def test_tables_that_cannot_be_used(paths, follow, table, error, message):
    with pytest.raises(error, match=message):
        follow(paths, pd.DataFrame(table))
    with pytest.raises(TypeError, match="segments must be"):
        follow(paths, [1, 2])


def test_names_that_two_files_have(tmp_path, follow):
    X = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        X.append(str(tmp_path / folder / "a.wav"))
        soundfile.write(X[-1], SAMPLES, RATE, subtype="FLOAT")
    table = pd.DataFrame({"file": ["a"], "start": [2.0], "end": [4.0]})
    with pytest.raises(ValueError, match=r"'a', which may be .*Give the whole path"):
        follow(X, table)
    assert follow(X, table.assign(file=X[1]))["file"].tolist() == [X[1]]
    twice = pd.DataFrame({"file": [X[0], X[0]]})
    assert len(follow(twice, table)) == 2
