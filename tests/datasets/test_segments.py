"""Rows of segments to audformat's index and back."""

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.datasets import from_segment_index, to_segment_index

NANOSECONDS = [0, 1, 999_999_999, 1_234_567_891, 3_600_000_000_001, 86_399_999_999_999]


def segment_index(starts, ends, unit="ns"):
    files = [f"f{k}.wav" for k in range(len(starts))]
    times = [pd.to_timedelta(values).as_unit(unit) for values in (starts, ends)]
    return pd.MultiIndex.from_arrays([files, *times], names=["file", "start", "end"])


def test_round_trip_is_exact_to_the_nanosecond(rng):
    starts = np.r_[NANOSECONDS, rng.integers(0, 10**14, size=2000)]
    ends = pd.to_timedelta(starts + rng.integers(1, 10**12, size=len(starts))).to_series()
    ends.iloc[::7] = pd.NaT
    index = segment_index(starts, ends.to_numpy())
    frame = from_segment_index(index)
    assert frame.dtypes[["start", "end"]].eq(float).all()
    assert frame["end"].isna().sum() == len(ends[::7])
    back = to_segment_index(frame)
    for level in ("start", "end"):
        pd.testing.assert_index_equal(
            back.get_level_values(level), index.get_level_values(level), exact=False
        )
    assert back.get_level_values("file").tolist() == index.get_level_values("file").tolist()
    pd.testing.assert_frame_equal(from_segment_index(back), frame)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_timedeltas(unit):
    index = segment_index(["1s", "2s"], ["4s", None], unit)
    frame = from_segment_index(index)
    np.testing.assert_array_equal(frame[["start", "end"]], [[1, 4], [2, np.nan]])


def test_tables_and_files_with_such_an_index():
    index = segment_index(["0s", "2s"], ["1s", None])
    expected = from_segment_index(index)
    series = pd.Series([1, 2], index=index)
    for obj in (series, series.to_frame()):
        pd.testing.assert_frame_equal(from_segment_index(obj), expected)
    assert expected.index.tolist() == [0, 1]
    whole = from_segment_index(pd.Series([1], index=pd.Index(["a.wav"], name="file")))
    assert whole["file"].tolist() == ["a.wav"]
    assert whole["start"].tolist() == [0] and whole["end"].isna().all()


def test_rows_are_taken_as_X():
    recordings = as_recordings(from_segment_index(segment_index(["0s", "2s"], ["1s", None])))
    assert [(r.source, r.start, r.stop) for r in recordings] == [
        ("f0.wav", 0.0, 1.0),
        ("f1.wav", 2.0, None),
    ]


def test_whole_files_become_segments():
    index = to_segment_index(pd.DataFrame({"file": ["a.wav"]}))
    assert index.get_level_values("start")[0] == pd.Timedelta(0)
    assert index.get_level_values("end").isna().all()
    frame = pd.DataFrame({"file": ["a"], "start": [np.nan], "end": pd.to_timedelta(["2s"])})
    assert to_segment_index(frame)[0][1:] == (pd.Timedelta(0), pd.Timedelta("2s"))


def test_names_that_are_not_unicode_and_channels():
    frame = pd.DataFrame({"start": [0.0, 0.0], "end": [1.0, 1.0], "channel": [0, 1]})
    frame.insert(0, "file", pd.Series(["J\udcfcrgen.wav"] * 2, dtype=object))
    table = frame[["channel"]].set_index(to_segment_index(frame))
    pd.testing.assert_frame_equal(from_segment_index(table), frame)


def test_empty():
    frame = from_segment_index(segment_index([], []))
    assert frame.shape == (0, 3)
    assert len(to_segment_index(frame)) == 0


def test_audformat_agrees():
    audformat = pytest.importorskip("audformat")
    index = audformat.segmented_index(
        ["a.wav", "a.wav", "b.wav"], ["0s", "1.234567891s", "0s"], ["1s", "2s", pd.NaT]
    )
    back = to_segment_index(from_segment_index(index))
    pd.testing.assert_index_equal(back, index)
    assert audformat.is_segmented_index(back)
    audformat.assert_index(back)
    files = audformat.filewise_index(["a.wav", "b.wav"])
    pd.testing.assert_index_equal(
        to_segment_index(from_segment_index(files)), audformat.utils.to_segmented_index(files)
    )


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        (["a.wav"], TypeError, "got list"),
        (pd.Index(["a.wav"]), ValueError, "Use rename"),
        (segment_index(["0s"], ["1s"]).rename(["file", "from", "to"]), ValueError, "'from'"),
        (
            pd.MultiIndex.from_arrays([["a"], [0.0], [1.0]], names=["file", "start", "end"]),
            TypeError,
            "to_timedelta",
        ),
    ],
)
def test_wrong_indices(obj, error, message):
    with pytest.raises(error, match=message):
        from_segment_index(obj)


def test_wrong_frames():
    with pytest.raises(ValueError, match=r"column 'file'; got \['wav'\]"):
        to_segment_index(pd.DataFrame({"wav": ["a"]}))
    frame = pd.DataFrame({"file": ["a", "b"], "start": 0.0, "end": [1.0, np.inf]})
    with pytest.raises(ValueError, match=r"Row 1 \(b\) has the time inf"):
        to_segment_index(frame)
