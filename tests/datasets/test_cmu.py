"""CMU-MOSEI and CMU-MOSI from made-up videos and times; the counts are public."""

import os

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.audio import as_recordings, check_recordings
from sklearn_speechsent.datasets import load_cmu_mosei, load_cmu_mosi

LOADERS = {"cmu_mosei": load_cmu_mosei, "cmu_mosi": load_cmu_mosi}
VIDEOS = ("-a_1b", "12345", "_c--D")
#: Video, clip, sentiment, split, start, end: with everything that is wrong in the real ones.
ROWS = [
    (VIDEOS[0], 3, -1.0, "train", -0.25, 1.5),
    (VIDEOS[0], 7, 2 / 3, "train", 1.0, 2.5),
    (VIDEOS[0], 9, 0.0, "train", None, None),
    (VIDEOS[1], 0, 3.0, "valid", 0.0, 2.0),
    (VIDEOS[1], 2, -3.0, "valid", 2.0, 3.25),
    (VIDEOS[2], 1, 1.4, "test", 1.0, 2.0),
    (VIDEOS[2], 4, -0.6, "test", 2.5, 3.5),
]


@pytest.fixture
def labels():
    columns = ["video_id", "clip_id", "sentiment", "split", "start", "end"]
    return pd.DataFrame(ROWS, columns=columns).assign(label7=0)


@pytest.fixture
def home(tmp_path, labels):
    """Data home with the labels of both corpora and no audio."""
    for corpus in LOADERS:
        (tmp_path / corpus).mkdir()
        labels.to_csv(tmp_path / corpus / "labels.csv", index=False)
    return tmp_path


@pytest.fixture
def write(rng):
    def write_noise(path, seconds=4.0):
        path.parent.mkdir(parents=True, exist_ok=True)
        container = {"format": "MP3"} if path.suffix == ".mp3" else {}
        soundfile.write(path, 0.1 * rng.standard_normal(int(8000 * seconds)), 8000, **container)

    return write_noise


def write_clips(write, folder, name="{video}_{clip}.wav", shift=0):
    """One file per row, as long as its segment; `shift` numbers the clips otherwise."""
    for video, clip, _, _, start, end in ROWS:
        seconds = 1.0 if start is None else end - max(start, 0)
        write(folder / name.format(video=video, clip=clip + shift), seconds)


@pytest.mark.parametrize("corpus", LOADERS)
@pytest.mark.parametrize(
    "layout",
    [
        "WAV_16000",
        "Audio/Full/WAV_16000",
        "Raw/Audio/Full/WAV_16000",
        "Raw/Audio/WAV_16000/Full",
        ".",
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_whole_videos(home, write, corpus, layout, suffix):
    for video in VIDEOS:
        write(home / corpus / layout / (video + suffix))
    with pytest.warns(UserWarning, match="1 of 7 rows are left out, 2 are reported") as record:
        bunch = LOADERS[corpus](data_home=home)
    assert len(record) == 1 and record[0].filename == __file__
    assert list(bunch.data.columns) == ["file", "start", "end"]
    np.testing.assert_array_equal(
        bunch.data[["start", "end"]].to_numpy(),
        [(0, 1.5), (1, 2.5), (0, 2), (2, 3.25), (1, 2), (2.5, 3.5)],
    )
    folder = os.path.normpath(home / corpus / layout)
    assert bunch.data["file"].tolist() == [
        os.path.join(folder, VIDEOS[k] + suffix) for k in (0, 0, 1, 1, 2, 2)
    ]
    assert bunch.target.dtype == float
    np.testing.assert_allclose(bunch.target, [-1, 2 / 3, 3, -3, 1.4, -0.6])
    assert bunch.groups.tolist() == [VIDEOS[k] for k in (0, 0, 1, 1, 2, 2)]
    assert bunch.split.tolist() == ["train", "train", "valid", "valid", "test", "test"]
    assert bunch.levels.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert len(bunch.target_names) == 7
    assert bunch.target_names[0] == "highly negative" and bunch.target_names[3] == "neutral"
    assert bunch.report[["row", "problem", "dropped"]].to_numpy().tolist() == [
        [0, "starts below zero", False],
        [2, "no times", True],
    ]
    assert bunch.frame["clip_id"].tolist() == ["3", "7", "0", "2", "1", "4"]
    assert "label7" in bunch.frame.columns
    assert "-3: 1, -2: 0, -1: 2, 0: 0, 1: 2, 2: 0, 3: 1" in bunch.DESCR
    assert "may be passed on" in bunch.DESCR and "Zadeh" in bunch.DESCR
    assert max(map(len, bunch.DESCR.splitlines())) <= 100
    assert check_recordings(bunch.data).all()


@pytest.mark.parametrize("layout", ["Segmented", "Audio/Segmented", "Raw/Audio/Segmented"])
def test_segments_by_clip_id(home, write, layout):
    write_clips(write, home / "cmu_mosei" / layout)
    bunch = load_cmu_mosei(data_home=home)
    folder = home / "cmu_mosei" / layout
    assert bunch.data.tolist() == [f"{folder}/{video}_{clip}.wav" for video, clip, *_ in ROWS]
    np.testing.assert_allclose(bunch.target, [row[2] for row in ROWS])
    assert bunch.frame["video_start"].tolist()[:2] == [-0.25, 1.0]
    assert "start" not in bunch.frame.columns and "end" not in bunch.frame.columns
    assert bunch.report.empty
    assert "taken by clip_id" in bunch.DESCR
    X, y = load_cmu_mosei(data_home=home, return_X_y=True, as_frame=True)
    assert list(X.columns) == ["file"] and isinstance(y, pd.Series)


@pytest.mark.parametrize("place", ["Raw", "Raw/Audio"])
def test_segments_by_time(home, write, place):
    """Clips are numbered in another way; transcripts tell their times."""
    raw = home / "cmu_mosei" / "Raw"
    write_clips(write, raw / "Audio" / "Segmented", shift=5)
    transcripts = raw / "Transcript" / "Segmented" / "Combined"
    transcripts.mkdir(parents=True)
    for video in VIDEOS[:2]:
        lines = ["a line of something else", f"{video}___x___soon___later___no times"]
        for name, clip, _, _, start, end in ROWS:
            if name == video and start is not None:
                lines.append(f"{video}___{clip + 5}___{start + 0.004}___{end - 0.004}___so___ so")
        (transcripts / f"{video}.txt").write_text("\n".join(lines))
    # This one was cut elsewhere, and its clip 4 is the label's clip 1 by number only.
    (transcripts / f"{VIDEOS[2]}.txt").write_text(f"{VIDEOS[2]}___9___2.5___3.5___so")
    with pytest.warns(UserWarning, match="2 of 7 rows are left out") as record:
        bunch = load_cmu_mosei(home / "cmu_mosei" / place, data_home=home)
    assert len(record) == 1
    folder = raw / "Audio" / "Segmented"
    expected = [(VIDEOS[0], 8), (VIDEOS[0], 12), (VIDEOS[1], 5), (VIDEOS[1], 7), (VIDEOS[2], 9)]
    assert bunch.data.tolist() == [f"{folder}/{video}_{clip}.wav" for video, clip in expected]
    np.testing.assert_allclose(bunch.target, [-1, 2 / 3, 3, -3, -0.6])
    assert bunch.report["problem"].tolist() == ["missing", "missing"]
    assert bunch.report["row"].tolist() == [2, 5]
    assert bunch.report.loc[1, "file"].endswith("_c--D_(no clip at 1.00-2.00 s).wav")
    assert "transcripts by time" in bunch.DESCR


def test_videos_need_not_be_sorted_to_be_joined_by_time(home, write, labels):
    raw = home / "cmu_mosei"
    write_clips(write, raw / "Segmented", shift=5)
    transcripts = raw / "Transcript" / "Segmented" / "Combined"
    transcripts.mkdir(parents=True)
    for video, clip, _, _, start, end in ROWS:
        if start is not None:
            with open(transcripts / f"{video}.txt", "a") as stream:
                stream.write(f"{video}___{clip + 5}___{start}___{end}___so\n")
    timed = labels.dropna(subset=["start"])
    mixed = timed.iloc[[5, 0, 3, 4, 1, 2]]
    mixed.to_csv(home / "mixed.csv", index=False)
    bunch = load_cmu_mosei(data_home=home, labels=home / "mixed.csv")
    clips = [f"{video}_{clip + 5}.wav" for video, clip in mixed[["video_id", "clip_id"]].to_numpy()]
    assert [os.path.basename(file) for file in bunch.data] == clips
    np.testing.assert_allclose(bunch.target, mixed["sentiment"])


@pytest.mark.parametrize("place", ["cmu_mosi", "cmu_mosi/Raw"])
def test_folder_per_video(home, write, place):
    write_clips(write, home / "cmu_mosi" / "Raw", "{video}/{clip}.wav")
    # Transcripts are not used: the files have the numbers of their own labels.
    (home / "cmu_mosi" / "Raw" / "Transcript" / "Segmented" / "Combined").mkdir(parents=True)
    bunch = load_cmu_mosi(home / place, data_home=home)
    folder = home / "cmu_mosi" / "Raw"
    assert bunch.data.tolist() == [f"{folder}/{video}/{clip}.wav" for video, clip, *_ in ROWS]


@pytest.fixture
def mmsa(labels):
    """Labels as MMSA writes them: other names, no times."""
    names = {"sentiment": "label", "split": "mode"}
    table = labels.drop(columns=["start", "end", "label7"]).rename(columns=names)
    return table.assign(text="so, so", annotation="Neutral", label_T=0.5, label_A="", label_V=None)


@pytest.mark.parametrize("corpus", LOADERS)
@pytest.mark.parametrize("place", ["Raw/label.csv", "label.csv"])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("digits", [1, 2, 4])
def test_labels_of_mmsa(home, write, mmsa, corpus, place, suffix, digits):
    """Clips are numbered 7, 07 or 0007, in the table and on the disk each in their own way."""
    (home / corpus / "labels.csv").unlink()
    for k, (video, clip, *_) in enumerate(ROWS):
        write(home / corpus / "Raw" / video / f"{clip:0{digits}}{suffix}", 1 + k / 10)
    numbers = mmsa["clip_id"].map("{:04}".format) if digits == 1 else mmsa["clip_id"]
    mmsa.assign(clip_id=numbers).to_csv(home / corpus / place, index=False, encoding="utf-8-sig")
    bunch = LOADERS[corpus](data_home=home)
    assert bunch.data.tolist() == [
        str(home / corpus / "Raw" / video / f"{clip:0{digits}}{suffix}") for video, clip, *_ in ROWS
    ]
    np.testing.assert_allclose(bunch.target, [row[2] for row in ROWS])
    assert bunch.split.tolist() == [row[3] for row in ROWS]
    assert bunch.groups.tolist() == [row[0] for row in ROWS]
    assert bunch.frame["text"].tolist() == ["so, so"] * 7 and bunch.report.empty
    frame = LOADERS[corpus](data_home=home, labels=mmsa, split="test").frame
    assert frame["video_id"].tolist() == [VIDEOS[2]] * 2


def test_clip_ids_that_became_measurements(home, write, mmsa):
    write_clips(write, home / "cmu_mosi" / "Raw", "{video}/{clip}.wav")
    table = mmsa.assign(clip_id=mmsa["clip_id"].astype(float))
    table.to_csv(home / "cmu_mosi" / "label.csv", index=False)
    (home / "cmu_mosi" / "labels.csv").unlink()
    bunch = load_cmu_mosi(data_home=home)
    assert bunch.data.tolist() == [
        str(home / "cmu_mosi" / "Raw" / video / f"{clip}.wav") for video, clip, *_ in ROWS
    ]


def test_two_files_of_one_number_are_not_guessed(home, write, mmsa):
    folder = home / "cmu_mosi" / "Raw"
    write_clips(write, folder, "{video}/{clip}.wav")
    (folder / VIDEOS[0] / "3.wav").rename(folder / VIDEOS[0] / "03.wav")
    write(folder / VIDEOS[0] / "003.wav", 2)
    with pytest.warns(UserWarning, match=r"1 of 7 rows are left out") as record:
        bunch = load_cmu_mosi(data_home=home, labels=mmsa)
    assert len(record) == 1 and bunch.report["row"].tolist() == [0]
    assert bunch.report["file"].tolist() == [str(folder / VIDEOS[0] / "3.wav")]


def test_video_ids_are_never_numbers(home, write, mmsa):
    videos = ["1e5", "-3g5yACwYnA", "007", "7", "1E+05", "NA", "00000.1"]
    for k, video in enumerate(videos):
        write(home / "cmu_mosi" / "Raw" / video / "1.wav", 1 + k / 10)
    mmsa.assign(video_id=videos, clip_id="001").to_csv(
        home / "cmu_mosi" / "labels.csv", index=False
    )
    bunch = load_cmu_mosi(data_home=home)
    assert bunch.groups.tolist() == videos
    assert [os.path.basename(os.path.dirname(file)) for file in bunch.data] == videos
    with pytest.raises(ValueError, match=r"column 'video_id': 100000\.0 in row 0 .*is not text"):
        load_cmu_mosi(data_home=home, labels=mmsa.assign(video_id=1e5))


def test_labels_of_a_spreadsheet(home, write, labels):
    """The error has a call that reads them."""
    for video in VIDEOS:
        write(home / "cmu_mosei" / "WAV_16000" / f"{video}.wav")
    path = home / "cmu_mosei" / "labels.csv"
    table = labels.rename(columns={"clip_id": "clip"}).drop(index=2).assign(text="größer")
    table["start"] = table["start"].clip(lower=0)
    table.to_csv(path, index=False, sep=";", decimal=",", encoding="cp1252")
    with pytest.raises(
        ValueError, match=r"may be cp1252; it lacks 'clip_id'.*decimal comma"
    ) as info:
        load_cmu_mosei(data_home=home)
    call = str(info.value).partition("this reads it:\n")[2]
    call = call.replace("load_cmu_mosei(", "load_cmu_mosei(data_home=home, ")
    bunch = eval(call, {"load_cmu_mosei": load_cmu_mosei, "pd": pd, "home": home})
    np.testing.assert_allclose(bunch.target, labels["sentiment"].drop(2))
    np.testing.assert_allclose(bunch.data["end"], labels["end"].drop(2))


def test_clips_numbered_otherwise_are_noticed(home, write):
    folder = home / "cmu_mosei" / "Segmented"
    for video, clip, *_ in ROWS:
        write(folder / f"{video}_{clip}.wav", 5)
    with pytest.warns(UserWarning, match="seem to number the clips differently") as record:
        load_cmu_mosei(data_home=home)
    assert len(record) == 1 and record[0].filename == __file__


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [0, 1]),
        ("valid", [3, 4]),
        (("train", "test"), [0, 1, 5, 6]),
        (["test"], [5, 6]),
        (None, [0, 1, 3, 4, 5, 6]),
    ],
)
def test_split(home, write, labels, split, expected):
    labels = labels.drop(index=2)
    labels.loc[0, "start"] = 0
    labels.to_csv(home / "cmu_mosei" / "labels.csv", index=False)
    for video in VIDEOS:
        write(home / "cmu_mosei" / "WAV_16000" / f"{video}.wav")
    bunch = load_cmu_mosei(data_home=home, split=split)
    np.testing.assert_allclose(bunch.target, labels.loc[expected, "sentiment"])
    assert set(bunch.split) == set(labels.loc[expected, "split"])
    assert f"train: {sum(bunch.split == 'train')}, valid: " in bunch.DESCR


def test_row_of_no_fold_is_loaded_without_split_only(home, write, labels):
    labels = labels.drop(index=[0, 2])
    labels.loc[1, "split"] = None
    labels.to_csv(home / "cmu_mosei" / "labels.csv", index=False)
    for video in VIDEOS:
        write(home / "cmu_mosei" / "WAV_16000" / f"{video}.wav")
    assert len(load_cmu_mosei(data_home=home).data) == 5
    assert len(load_cmu_mosei(data_home=home, split=("train", "valid", "test")).data) == 4
    with pytest.raises(ValueError, match="no label is in the split 'train'"):
        load_cmu_mosei(data_home=home, split="train")


def test_fullest_layout_and_best_suffix_win(home, write):
    write(home / "cmu_mosei" / "Segmented" / f"{VIDEOS[0]}_3.wav")
    for video in VIDEOS:
        write(home / "cmu_mosei" / "WAV_16000" / f"{video}.flac")
    write(home / "cmu_mosei" / "WAV_16000" / f"{VIDEOS[0]}.wav")
    write(home / "cmu_mosei" / "WAV_16000" / "unlabelled.wav")
    with pytest.warns(UserWarning):
        bunch = load_cmu_mosei(data_home=home)
    names = {os.path.basename(file) for file in bunch.data["file"]}
    assert names == {f"{VIDEOS[0]}.wav", f"{VIDEOS[1]}.flac", f"{VIDEOS[2]}.flac"}


def test_missing_videos_are_reported(home, write):
    write(home / "cmu_mosei" / "WAV_16000" / f"{VIDEOS[1]}.wav")
    with pytest.warns(UserWarning, match="5 of 7 rows are left out"):
        bunch = load_cmu_mosei(data_home=home)
    assert len(bunch.data) == 2
    missing = bunch.report[bunch.report["problem"] == "missing"]
    assert missing["file"].iloc[0] == str(home / "cmu_mosei" / "WAV_16000" / f"{VIDEOS[0]}.wav")


@pytest.mark.parametrize(
    ("name", "stars"),
    [
        ("Raw/{video}/{clip}.mp4", "Raw/*/*.mp4"),
        ("Segmented/{video}_{clip}.mp4", "Segmented/*.mp4"),
        ("WAV_16000/{video}.m4a", "WAV_16000/*.m4a"),
    ],
)
def test_films_are_not_audio(home, name, stars):
    for video, clip, *_ in ROWS:
        path = home / "cmu_mosi" / name.format(video=video, clip=clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(FileNotFoundError, match=r"ffmpeg -i .* -ar 16000") as info:
        load_cmu_mosi(data_home=home)
    suffix = os.path.splitext(stars)[1]
    assert f"for f in {home}/cmu_mosi/{stars}; do" in str(info.value)
    assert f'"${{f%{suffix}}}.wav"' in str(info.value)


def test_films_whose_sound_can_be_read_are_taken(home, write, mmsa, rng):
    folder = home / "cmu_mosi" / "Raw"
    for k, (video, clip, *_) in enumerate(ROWS):
        (folder / video).mkdir(parents=True, exist_ok=True)
        noise = 0.1 * rng.standard_normal(8000 + k)
        soundfile.write(folder / video / f"{clip}.mp4", noise, 8000, format="WAV")
    files = [str(folder / video / f"{clip}.mp4") for video, clip, *_ in ROWS]
    assert load_cmu_mosi(data_home=home, labels=mmsa).data.tolist() == files
    write(folder / VIDEOS[0] / "3.wav")  # one whose sound was extracted
    files[0] = str(folder / VIDEOS[0] / "3.wav")
    assert load_cmu_mosi(data_home=home, labels=mmsa).data.tolist() == files


def test_no_audio_names_what_was_looked_for(home, write):
    with pytest.raises(FileNotFoundError, match="none of the 3 videos") as info:
        load_cmu_mosei(data_home=home)
    for expected in (
        str(home / "cmu_mosei"),
        "WAV_16000/<video>",
        "Segmented/<video>_<clip>",
        "<video>/<clip>",
        "audio_dir",
    ):
        assert expected in str(info.value)
    with pytest.raises(FileNotFoundError, match=f"no folder {home}/nowhere"):
        load_cmu_mosei(home / "nowhere", data_home=home)


def test_no_labels(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cmu_mosi/labels\.csv.*video_id, clip_id"):
        load_cmu_mosi(data_home=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no labels at .*mine\.csv"):
        load_cmu_mosei(data_home=tmp_path, labels=tmp_path / "mine.csv")


@pytest.mark.parametrize("split", ["dev", ("train", "dev"), ()])
def test_wrong_split(home, split):
    with pytest.raises(ValueError, match="split must be one or several of"):
        load_cmu_mosei(data_home=home, split=split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"sentiment": 4.0},
            r"4\.0 in row 0 \(line 2, -a_1b\).*and 2 more is not between -3 and 3",
        ),
        ({"sentiment": "good"}, r"'good' in row 0 \(line 2, -a_1b\)"),
        ({"split": "dev"}, "'dev' in row 0 .* is none of train, valid, test"),
        ({"start": "soon"}, "column 'start': 'soon'"),
    ],
)
def test_wrong_labels(home, labels, change, message):
    labels.assign(**change).to_csv(home / "cmu_mosei" / "labels.csv", index=False)
    with pytest.raises(ValueError, match=message):
        load_cmu_mosei(data_home=home)


def test_labels_without_a_column(home, labels):
    path = home / "cmu_mosei" / "labels.csv"
    labels.rename(columns={"video_id": "vid"}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"lacks 'video_id'; its columns are 'vid'") as info:
        load_cmu_mosei(data_home=home)
    call = f"load_cmu_mosei(labels=pd.read_csv('{path}', dtype={{'vid': 'str', 'clip_id': 'str'}})"
    assert f"{call}.rename(columns={{'vid': 'video_id'}}))" in str(info.value)


def test_whole_videos_need_times(home, labels, write):
    labels.assign(start=None, end=None).to_csv(home / "cmu_mosei" / "labels.csv", index=False)
    write(home / "cmu_mosei" / "WAV_16000" / f"{VIDEOS[0]}.wav")
    with pytest.raises(ValueError, match="no label has times"):
        load_cmu_mosei(data_home=home)


def test_default_data_home(home, write, monkeypatch):
    monkeypatch.setenv("SPEECHSENT_DATA", str(home))
    write_clips(write, home / "cmu_mosei" / "Segmented")
    assert len(load_cmu_mosei().data) == 7


def fake_videos(folder, video_ids):
    """Five silent minutes under the name of every video; only headers are read."""
    folder.mkdir(parents=True)
    silence = folder.parent / "silence.flac"
    soundfile.write(silence, np.zeros(300 * 4000), 4000)
    for video in video_ids:
        os.link(silence, folder / f"{video}.flac")


@pytest.fixture
def real_labels(data_home):
    def find(corpus):
        path = data_home / corpus / "labels.csv"
        if not path.is_file():
            pytest.skip(f"no {path}")
        return path, pd.read_csv(path, dtype={"video_id": str})

    return find


@pytest.mark.data
def test_real_labels_of_mosei(real_labels, tmp_path):
    path, table = real_labels("cmu_mosei")
    fake_videos(tmp_path / "WAV_16000", table["video_id"].unique())
    with pytest.warns(UserWarning, match="CMU-MOSEI: "):
        valid = load_cmu_mosei(tmp_path, labels=path, split="valid")
    assert len(valid.data) + valid.report["dropped"].sum() == 1871
    with pytest.warns(UserWarning, match="6 of 22856 rows are left out, 229 are reported"):
        bunch = load_cmu_mosei(tmp_path, labels=path)
    usable = pd.Series(bunch.split).value_counts().to_dict()
    dropped = table.loc[bunch.report.loc[bunch.report["dropped"], "row"], "split"].value_counts()
    found = {split: usable[split] + dropped.get(split, 0) for split in usable}
    assert found == {"train": 16326, "valid": 1871, "test": 4659}
    assert len(bunch.data) == sum(usable.values()) == 22850
    assert len(valid.data) == usable["valid"]
    problems = bunch.report.groupby(["problem", "dropped"]).size().to_dict()
    assert problems == {("no times", True): 6, ("starts below zero", False): 223}
    assert len(np.unique(bunch.groups)) <= 3225
    assert set(bunch.target) <= set(table["sentiment"]) and len(bunch.target) == len(bunch.data)
    times = bunch.data[["start", "end"]].to_numpy()
    assert (times[:, 0] >= 0).all() and (times[:, 0] < times[:, 1]).all()
    assert len(as_recordings(bunch.data)) == 22850
    assert all(f"{split}: {n}" in bunch.DESCR for split, n in usable.items())
    # Videos do not cross folds.
    assert pd.crosstab(bunch.groups, bunch.split).gt(0).sum(axis=1).eq(1).all()


@pytest.mark.data
def test_real_labels_of_mosi(real_labels, tmp_path):
    path, table = real_labels("cmu_mosi")
    fake_videos(tmp_path / "WAV_16000", table["video_id"].unique())
    for split, n, n_usable in (("train", 1284, 1283), ("valid", 229, 229), ("test", 686, 686)):
        with pytest.warns(UserWarning, match="CMU-MOSI: "):
            bunch = load_cmu_mosi(tmp_path, labels=path, split=split)
        assert len(bunch.data) == n_usable
        assert n_usable + bunch.report["dropped"].sum() == n
    with pytest.warns(UserWarning, match="1 of 2199 rows are left out"):
        bunch = load_cmu_mosi(tmp_path, labels=path)
    assert bunch.report["problem"].value_counts().to_dict() == {"duplicate": 4, "too short": 1}
    assert len(np.unique(bunch.groups)) == 93


def test_labels_lie_with_the_audio_or_in_the_data_home(tmp_path):
    row = {"video_id": "abc", "clip_id": 1, "split": "test", "start": 0.0, "end": 1.0}
    home, near = tmp_path / "home", tmp_path / "audio"
    for folder, sentiment in ((home / "cmu_mosi", 1.0), (near, 2.0)):
        folder.mkdir(parents=True)
        pd.DataFrame([{**row, "sentiment": sentiment}]).to_csv(folder / "labels.csv", index=False)
    (near / "WAV_16000").mkdir()
    tone = np.sin(np.arange(32000) / 10)
    soundfile.write(near / "WAV_16000" / "abc.wav", tone, 16000)
    assert load_cmu_mosi(near, data_home=home).target.tolist() == [2.0]
    (near / "labels.csv").unlink()
    assert load_cmu_mosi(near, data_home=home).target.tolist() == [1.0]
