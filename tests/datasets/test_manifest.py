"""Tables of files and labels: what is read, reported and refused."""

import builtins
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.audio import check_recordings
from sklearn_speechsent.datasets import load_manifest


@pytest.fixture
def folder(tmp_path, rng):
    """Folder with three recordings of 4 s."""
    (tmp_path / "wav").mkdir()
    for name in "abc":
        soundfile.write(tmp_path / "wav" / f"{name}.wav", 0.1 * rng.standard_normal(32000), 8000)
    return tmp_path


def table(**columns):
    return pd.DataFrame({"file": ["wav/a.wav", "wav/b.wav", "wav/c.wav"], **columns})


def write(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


LABELS = {"label": [-1, 2, 0], "speaker": ["anna", "ben", "anna"]}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_whole_files(folder, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = write(table(**LABELS, mood=["x", "y", "z"]), folder / f"m{suffix}")
    bunch = load_manifest(path)
    assert bunch.data.tolist() == [str(folder / "wav" / f"{name}.wav") for name in "abc"]
    assert bunch.target.tolist() == [-1, 2, 0] and bunch.target.dtype.kind == "i"
    assert bunch.groups.tolist() == ["anna", "ben", "anna"]
    assert bunch.levels.tolist() == [-1, 0, 1, 2]
    assert bunch.target_names == ["-1", "0", "1", "2"]
    assert bunch.frame["mood"].tolist() == ["x", "y", "z"]
    assert bunch.report.empty and "split" not in bunch
    assert str(path) in bunch.DESCR and "-1: 1, 0: 1, 1: 0, 2: 1" in bunch.DESCR
    assert check_recordings(bunch.data).all()


def test_segments_and_splits(folder):
    frame = table(**LABELS, start=[0, 1.5, None], end=[1, None, 2], split=["train", "test", None])
    bunch = load_manifest(write(frame, folder / "m.csv"))
    assert list(bunch.data.columns) == ["file", "start", "end"]
    times = [(0, 1), (1.5, np.nan), (np.nan, 2)]
    np.testing.assert_array_equal(bunch.data[["start", "end"]].to_numpy(), times)
    assert bunch.split.tolist()[:2] == ["train", "test"] and pd.isna(bunch.split[2])
    assert check_recordings(bunch.data).all()
    X, y = load_manifest(folder / "m.csv", return_X_y=True, as_frame=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    assert isinstance(y, pd.Series) and y.tolist() == [-1, 2, 0]


def test_timedeltas_in_parquet(folder):
    pytest.importorskip("pyarrow")
    times = {"start": pd.to_timedelta(["0s"] * 3), "end": pd.to_timedelta(["1s", "2.5s", None])}
    bunch = load_manifest(write(table(**LABELS, **times), folder / "m.parquet"))
    np.testing.assert_array_equal(bunch.data["end"], [1, 2.5, np.nan])


def test_clips_of_ch_sims(folder, rng):
    """Labels from -1 to 1; files are named by video and clip; clips of a video stay together."""
    videos = ["video_0001", "video_0001", "video_0052"]
    for k, (video, clip) in enumerate(zip(videos, ("0001", "0002", "0001"), strict=True)):
        (folder / "Raw" / video).mkdir(parents=True, exist_ok=True)
        noise = 0.1 * rng.standard_normal(8000 + k)
        soundfile.write(folder / "Raw" / video / f"{clip}.wav", noise, 8000)
    table = pd.DataFrame({"video_id": videos, "clip_id": [1, 2, 1], "text": "我，我"})
    table = table.assign(label=[-0.8, 0.2, 1.0], label_T=0, mode=["train", "train", "test"])
    levels = [-1, -0.5, 0, 0.5, 1]
    path = folder / "label.csv"
    table.to_csv(path, index=False)
    with pytest.warns(UserWarning, match="speaker of 3 of 3 rows is not known. Their videos"):
        bunch = load_manifest(path, levels=levels)
    assert bunch.data.tolist() == [
        str(folder / "Raw" / videos[0] / "0001.wav"),
        str(folder / "Raw" / videos[1] / "0002.wav"),
        str(folder / "Raw" / videos[2] / "0001.wav"),
    ]
    assert bunch.target.tolist() == [-0.8, 0.2, 1.0] and bunch.groups.tolist() == videos
    assert bunch.split.tolist() == ["train", "train", "test"] and bunch.levels.tolist() == levels
    assert "-1: 1, -0.5: 0, 0: 1, 0.5: 0, 1: 1" in bunch.DESCR


@pytest.fixture
def call(folder, rng):
    """Recording of two speakers, one in each channel."""
    path = folder / "wav" / "call.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((32000, 2)), 8000)
    return str(path)


def test_channels(folder, call):
    path = folder / "m.csv"
    rows = ["file,label,speaker,channel", *(f"wav/call.wav,{k},s{k},{k}" for k in (0, 1))]
    path.write_text("\n".join(rows))
    bunch = load_manifest(path)
    assert bunch.data.to_dict("list") == {"file": [call, call], "channel": [0, 1]}
    assert bunch.groups.tolist() == ["s0", "s1"] and bunch.report.empty
    assert check_recordings(bunch.data).all()
    more = [
        "wav/call.wav,0,s0,0",  # again
        "wav/call.wav,1,s0,",  # both channels: another recording
        "wav/call.wav,1,s1,2",
        "wav/a.wav,1,s0,1",
        "wav/a.wav,1,s0,0.0",
    ]
    path.write_text("\n".join([*rows, *more]))
    with pytest.warns(UserWarning, match="3 of 7 rows are left out"):
        bunch = load_manifest(path)
    assert bunch.report[["row", "problem", "dropped"]].to_numpy().tolist() == [
        [2, "duplicate", True],
        [4, "unreadable", True],
        [5, "unreadable", True],
    ]
    assert "channel" in bunch.report["detail"][1] and "channel" in bunch.report["detail"][2]
    np.testing.assert_array_equal(bunch.data["channel"], [0, 1, np.nan, 0])
    assert bunch.target.tolist() == [0, 1, 1, 1] and check_recordings(bunch.data).all()


def test_channels_of_segments_do_not_overlap(folder, call):
    frame = pd.DataFrame({"file": call, "label": [0, 1, 2], "speaker": list("abc"), "start": 0.0})
    frame = frame.assign(end=[1, 2, 3], channel=[0, 1, 0], split=["train", "test", "valid"])
    with pytest.warns(UserWarning, match="overlap across splits: 1, kept"):
        bunch = load_manifest(frame)
    assert bunch.report["detail"].tolist() == ["in valid, overlaps row 0 in train"]
    assert list(bunch.data.columns) == ["file", "start", "end", "channel"]
    frame["channel"] = [0, 1, None]
    with pytest.warns(UserWarning, match="overlap across splits: 1, kept"):
        bunch = load_manifest(frame.iloc[1:])
    assert bunch.report["detail"].tolist() == ["in valid, overlaps row 0 in test"]


def test_copies_of_a_file_are_noticed_channel_by_channel(folder, call):
    Path(folder, "wav", "copy.wav").write_bytes(Path(call).read_bytes())
    frame = pd.DataFrame({"file": ["wav/call.wav", "wav/copy.wav"], "label": 1, "speaker": "s"})
    assert load_manifest(frame.assign(channel=[0, 1]), audio_dir=folder).report.empty
    with pytest.warns(UserWarning, match="same content: 1, kept"):
        load_manifest(frame.assign(channel=1), audio_dir=folder)


@pytest.mark.parametrize("channel", ["-1", "0.5", "left"])
def test_what_is_not_a_channel(folder, call, channel):
    path = folder / "m.csv"
    path.write_text(f"file,label,speaker,channel\nwav/call.wav,1,s,{channel}\n")
    with pytest.raises(
        ValueError, match=r"column 'channel': .* in row 0 \(line 2, wav/call\.wav\)"
    ):
        load_manifest(path)


def test_cut_files_are_reported_row_by_row(folder):
    """Half of the samples are there: segments of that half can be used."""
    path = folder / "wav" / "b.wav"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="1 of 3 rows are left out"):
        bunch = load_manifest(write(table(**LABELS), folder / "m.csv"))
    assert bunch.report[["row", "problem"]].to_numpy().tolist() == [[1, "unreadable"]]
    assert "of 32000 samples" in bunch.report["detail"][0]
    assert bunch.target.tolist() == [-1, 0] and bunch.groups.tolist() == ["anna", "anna"]
    frame = table(label=[0, 1, 2], speaker="s", start=[0, 1.0, 3.0], end=[1, 1.9, 4.0])
    frame["file"] = "wav/b.wav"
    with pytest.warns(UserWarning, match="1 of 3 rows are left out"):
        bunch = load_manifest(write(frame, folder / "m.csv"))
    assert bunch.target.tolist() == [0, 1] and bunch.report["row"].tolist() == [2]
    assert check_recordings(bunch.data).all()


def test_audio_dir_and_absolute_paths(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    frame = table(**LABELS)
    frame.loc[0, "file"] = str(folder / "wav" / "a.wav")
    write(frame, elsewhere / "m.csv")
    bunch = load_manifest(elsewhere / "m.csv", audio_dir=folder)
    assert bunch.data.tolist() == [str(folder / "wav" / f"{name}.wav") for name in "abc"]
    monkeypatch.chdir(elsewhere)
    assert load_manifest("m.csv", audio_dir=str(folder)).data.tolist() == bunch.data.tolist()


def test_text_stays_text_and_a_speaker_may_be_called_NA(folder):
    path = folder / "m.csv"
    path.write_text("file,label,speaker\nwav/a.wav,1,007\nwav/b.wav,2,NA\nwav/c.wav,3,7\n")
    assert load_manifest(path).groups.tolist() == ["007", "NA", "7"]


def test_byte_order_mark(folder):
    path = folder / "m.csv"
    path.write_bytes("file,label,speaker\nwav/a.wav,1,Jürgen\n".encode("utf-8-sig"))
    assert load_manifest(path).groups.tolist() == ["Jürgen"]


def test_real_valued_labels_and_levels(folder):
    path = write(table(**{**LABELS, "label": [-0.6, 1.4, 0.5]}), folder / "m.csv")
    bunch = load_manifest(path)
    assert bunch.levels.tolist() == [-1, 0, 1] and bunch.target.tolist() == [-0.6, 1.4, 0.5]
    bunch = load_manifest(path, levels=(-2, -1, 0, 1, 2))
    assert bunch.levels.tolist() == [-2, -1, 0, 1, 2] and bunch.target[0] == -0.6
    with pytest.raises(ValueError, match=r"1\.4 in row 1 .*b\.wav.*off the scale from -1 to 1"):
        load_manifest(path, levels=(-1, 0, 1))
    for levels in [(1, 0), (), "low", [[0, 1]], (0, np.nan)]:
        with pytest.raises(ValueError, match="numbers in ascending order"):
            load_manifest(path, levels=levels)


def test_unknown_speakers_warn(folder):
    frame = table(label=[0, 1, 2]).iloc[[0, 0, 1]].assign(start=[0, 1, 0], end=[1, 2, 1])
    write(frame, folder / "m.csv")
    with pytest.warns(UserWarning, match="speaker of 3 of 3 rows is not known") as record:
        bunch = load_manifest(folder / "m.csv")
    assert len(record) == 1 and record[0].filename == __file__
    assert bunch.groups.tolist() == bunch.data["file"].tolist()
    assert len(set(bunch.groups)) == 2
    assert "scores may flatter" in bunch.DESCR
    write(frame.assign(speaker=["anna", None, "ben"]), folder / "m.csv")
    with pytest.warns(UserWarning, match="speaker of 1 of 3 rows"):
        groups = load_manifest(folder / "m.csv").groups
    assert groups.tolist() == ["anna", str(folder / "wav" / "a.wav"), "ben"]


def test_unknown_speakers_that_were_numbers(folder):
    pytest.importorskip("pyarrow")
    write(table(label=[0, 1, 2], speaker=[1, None, 2]), folder / "m.parquet")
    with pytest.warns(UserWarning, match="speaker of 1 of 3 rows"):
        groups = load_manifest(folder / "m.parquet").groups
    assert len(np.unique(groups)) == 3  # of one type, so that splitters can sort them


def test_rows_that_cannot_be_used_are_reported(folder):
    frame = table(**{**LABELS, "label": [1, None, 3]})
    frame.loc[2, "file"] = "wav/gone.wav"
    with pytest.warns(UserWarning, match=r"m\.csv: 2 of 3 rows are left out") as record:
        bunch = load_manifest(write(frame, folder / "m.csv"))
    assert record[0].filename == __file__
    assert bunch.report["problem"].tolist() == ["no label", "missing"]
    assert bunch.report["row"].tolist() == [1, 2]
    assert bunch.target.tolist() == [1] and bunch.target.dtype.kind == "i"
    assert "1 of 3" in bunch.DESCR


def test_missing_audio_folder(folder):
    path = write(table(**LABELS), folder / "m.csv")
    nowhere = folder / "nowhere"
    with pytest.raises(FileNotFoundError, match=re.escape(f"{nowhere}")):
        load_manifest(path, audio_dir=nowhere)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wav,label\na,1\n", r"lacks 'file'; its columns are 'wav', 'label'.*\{'wav': 'file'\}"),
        ("fiel,label\na,1\n", r"columns=\{'fiel': 'file'\}"),
        ("x,label\na,1\n", r"its columns are 'x', 'label'. Rename or add them, or say"),
        ("a.wav,1\nb.wav,2\n", r"its columns are 'a.wav', '1'. Is the line of their names missing"),
        ("file,label,speaker,begin,end\na,1,b,0,1\n", "column 'begin' and no 'start'"),
        ("file,label,speaker,strat\na,1,b,0\n", "column 'strat' and no 'start'"),
        ("file,label,speaker,start\na,1,b,0\n", "column 'start' and no 'end'. Add it"),
        ('file,label,speaker\na,1,s\nb,1,"s",so\n', "line 3 has 4 fields, more than the 3"),
        ("file,label\n", "has no rows"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('file,label\na,1\nb,"1\n', "line 3: unexpected end of data"),
        (
            "file,label,speaker\na,good,s\nb,1,s\nc,inf,s\n",
            r"column 'label': 'good' in row 0 \(line 2, a\), 'inf' in row 2 \(line 4, c\) is not a",
        ),
        ("file,label,speaker,start,end\na,1,s,soon,2\n", r"column 'start': 'soon' in row 0 \(line"),
    ],
)
def test_tables_that_are_not_understood(folder, text, message):
    path = folder / "m.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"(?s){message}") as info:
        load_manifest(path)
    assert str(path) in str(info.value)


def test_many_bad_labels_are_counted(folder):
    rows = "".join(f"f{k},bad,s\n" for k in range(9))
    (folder / "m.csv").write_text("file,label,speaker\n" + rows)
    with pytest.raises(ValueError, match=r"in row 4 \(line 6, f4\) and 4 more is not a number"):
        load_manifest(folder / "m.csv")


def test_other_columns_may_be_called_anything(folder):
    more = {"text": list("xyz"), "duration": [1, 2, 3], "emotion": list("abc")}
    bunch = load_manifest(write(table(**LABELS, **more), folder / "m.csv"))
    assert set(more) <= set(bunch.frame.columns)


@pytest.mark.parametrize("wrong", ["99999999999999999999", "-1e12", "1e308", "15000"])
def test_labels_that_no_scale_has(folder, wrong):
    path = folder / "m.csv"
    path.write_text(f"file,label,speaker\nwav/a.wav,1,s\nwav/b.wav,{wrong},s\nwav/c.wav,2,s\n")
    with pytest.raises(ValueError, match=r"'label': \S+ in row 1 .*more than 500 from the median"):
        load_manifest(path)
    with pytest.raises(ValueError, match=r"'label': \S+ in row 1 .*is off the scale from -3 to 3"):
        load_manifest(path, levels=[-3, 0, 3])


def test_files_that_are_not_tables(folder):
    with pytest.raises(FileNotFoundError, match=r"no\.csv: there is no such table"):
        load_manifest(folder / "no.csv")
    with pytest.raises(ValueError, match="is a folder"):
        load_manifest(folder)


def test_broken_parquet(folder):
    pytest.importorskip("pyarrow")
    (folder / "m.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        load_manifest(folder / "m.parquet")


def test_parquet_without_pyarrow(folder, monkeypatch):
    (folder / "m.parquet").touch()
    real_import = builtins.__import__

    def without_pyarrow(name, *args, **kwargs):
        if name == "pyarrow":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(ImportError, match="pip install pyarrow, or save the table as CSV"):
        load_manifest(folder / "m.parquet")


def test_pathlib_and_text_are_alike(folder):
    path = write(table(**LABELS), folder / "m.csv")
    assert load_manifest(str(path)).data.tolist() == load_manifest(Path(path)).data.tolist()
