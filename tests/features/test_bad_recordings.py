"""Recordings that cannot be used: errors that name them, before anything is decoded."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tones import RATE, tone

from sklearn_speechsent import MelFilterBank, SlidingCMN
from sklearn_speechsent.audio import RecordingError, check_recordings


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    return path


def _bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Unusable files by kind, with the message about each."""
    cases = {name: folder / f"{name}.wav" for name in ("missing", "directory", "empty", "header")}
    cases["directory"].mkdir()
    cases["empty"].touch()
    soundfile.write(folder / "whole.wav", tone(), RATE)
    cases["header"].write_bytes((folder / "whole.wav").read_bytes()[:30])
    cases["text"] = folder / "text.wav"
    cases["text"].write_text("no sound at all\n" * 50)
    cases["m4a"] = folder / "speech.m4a"
    cases["m4a"].write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    for name, samples in {
        "no_samples": np.empty(0),
        "short": tone()[:48],
        "nan": np.where(np.arange(RATE) == 77, np.nan, tone()),
        "inf": np.where(np.arange(RATE) == 77, -np.inf, tone()),
    }.items():
        cases[name] = folder / f"{name}.wav"
        soundfile.write(cases[name], samples, RATE, subtype="FLOAT")
    cases["cut"] = folder / "cut.flac"
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    soundfile.write(cases["cut"], noise, RATE)
    cases["cut"].write_bytes(cases["cut"].read_bytes()[:20000])
    says = {
        "missing": "no such file",
        "directory": "directory",
        "empty": "empty",
        "header": "damaged",
        "text": "mislabelled",
        "m4a": "ffmpeg -i speech.m4a speech.wav",
        "no_samples": "no samples",
        "short": "lasts 3 ms",
        "nan": "sample 77 is nan",
        "inf": "sample 77 is -inf",
        "cut": "cut off",
    }
    return {name: (path, says[name]) for name, path in cases.items()}


#: Faults that only decoding shows.
HIDDEN = {"nan", "inf", "cut"}


@pytest.fixture
def bad_files(tmp_path):
    return _bad_files(tmp_path)


def test_bad_files_are_named_before_anything_is_decoded(bad_files, wav, decoded):
    for name, (path, says) in bad_files.items():
        with pytest.raises(RecordingError, match=f"row 1 .*{path.name}.*{says}") as caught:
            MelFilterBank().fit_transform([wav, path])
        assert decoded == ([0, 1] if name in HIDDEN else []), name
        assert isinstance(caught.value, FileNotFoundError) == (name == "missing")
        if name in HIDDEN:
            assert "check_recordings" in caught.value.__notes__[0]
        decoded.clear()


def test_fit_finds_what_headers_show(bad_files, wav, decoded):
    for name, (path, says) in bad_files.items():
        if name in HIDDEN:
            MelFilterBank().fit([wav, path])
        else:
            with pytest.raises(RecordingError, match=says):
                MelFilterBank().fit([wav, path])
    assert not decoded


def test_a_short_read_is_a_cut_file(wav, monkeypatch):
    """Other releases of libsndfile stop early and say nothing."""
    whole = soundfile.SoundFile.read
    half = lambda self, n, **options: whole(self, n // 2, **options)  # noqa: E731
    monkeypatch.setattr(soundfile.SoundFile, "read", half)
    with pytest.raises(RecordingError, match="ends after 8000 of 16000 samples"):
        MelFilterBank().fit_transform([wav])


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (0.5, 0.5, "not before its end"),
        (0.7, 0.5, "not before its end"),
        (np.nan, 0.0, "not before its end"),
        (-0.1, 0.5, "before 0 s. Clip"),
        (1.0, np.nan, "after the recording's end at 1.000 s"),
        (30.0, 31.0, "after the recording's end at 1.000 s"),
        (0.0, 9.0, "after the recording's end at 1.000 s"),
        (0.5, 0.501, "lasts 1 ms"),
    ],
)
def test_bad_segments(wav, decoded, start, end, says):
    X = pd.DataFrame({"file": [wav, wav], "start": [0.0, start], "end": [0.5, end]}, index=[8, 9])
    with pytest.raises(RecordingError, match=f"row 1 .*tone.wav, .*{says}"):
        MelFilterBank().fit(X)
    assert not decoded
    assert check_recordings(X).tolist() == [True, False]


def test_in_memory_faults_name_the_row():
    good = tone()
    for bad, says in [
        (np.where(good > 0.4, np.nan, good), "nan"),
        (good[:100], "100 samples"),
        (np.empty(0), "no samples"),
        ((RATE, np.zeros((2, RATE), np.float32)), "transpose"),
    ]:
        with pytest.raises(RecordingError, match=rf"row 2 \(samples in memory\): .*{says}"):
            MelFilterBank().fit_transform([good, good, bad])


@pytest.mark.parametrize(
    ("X", "remedy"),
    [
        ("a.wav", "['a.wav']"),
        (Path("a.wav"), "['a.wav']"),
        (np.array(["a.wav"])[0], "['a.wav']"),
        (b"RIFF" * 10_000, "[contents]"),
        ((RATE, tone()), "[pair]"),
    ],
)
def test_a_single_recording_is_not_a_list(X, remedy):
    with pytest.raises(TypeError, match="must be a list of recordings, got") as raised:
        MelFilterBank().fit(X)
    assert str(raised.value).endswith(f"pass {remedy}.")
    assert len(str(raised.value)) < 120


def test_a_single_waveform_is_not_a_batch():
    with pytest.raises(ValueError, match=r"passed as \[waveform\]"):
        MelFilterBank().fit(tone())


@pytest.mark.parametrize(
    "item",
    [
        None,
        3,
        2.5,
        np.array("a"),
        {},
        tone().astype(complex),
        ["a", "b"],
        np.zeros((3, 3, 3)),
        [[1], 2, 3],
    ],
)
def test_wrong_types_name_the_row(item):
    with pytest.raises(TypeError, match=r"(?s)Row 1 of X is .*A recording is a path"):
        MelFilterBank().fit([tone(), item])


def test_pairs_the_wrong_way_round():
    with pytest.raises(TypeError, match=r"Row 0 of X is \(array, rate\)"):
        MelFilterBank().fit([(tone(), RATE)])


@pytest.mark.parametrize("rate", [0, -1, 22050.5, np.nan, np.inf])
def test_impossible_rates(rate):
    with pytest.raises(ValueError, match=r"Row 0 of X: .* is not a sample rate"):
        MelFilterBank().fit([(rate, tone())])


@pytest.mark.parametrize("columns", [["file", "strat"], ["path", "start"], ["file", "label"]])
def test_unknown_columns(wav, columns):
    X = pd.DataFrame([[str(wav), 0.0]], columns=columns)
    with pytest.raises(ValueError, match=rf"column 'file' .*{columns[1]}"):
        MelFilterBank().fit(X)


def test_columns_of_wrong_types(wav):
    with pytest.raises(ValueError, match="Column 'start' must hold seconds"):
        MelFilterBank().fit(pd.DataFrame({"file": [wav], "start": ["soon"]}))
    with pytest.raises(TypeError, match="Row 1 of X holds nan where the path"):
        MelFilterBank().fit(pd.DataFrame({"file": [str(wav), np.nan]}))


def test_empty_input_is_an_error():
    for X in ([], np.empty(0, dtype=object), pd.DataFrame({"file": []})):
        with pytest.raises(ValueError, match="0 sample"):
            MelFilterBank().fit(X)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        ([1, 2, 3], "inconsistent numbers of samples"),
        ([1.0, np.nan], "row 1"),
        ([np.inf, 1.0], "row 0"),
        ([2, 2], "only one class"),
        ([["a", "b"], ["b", "a"]], "not a number: .a. in row 0"),
        ([[1, 0], [0, 0]], "row 1 .1 of 2. has none"),
    ],
)
def test_bad_labels_are_seen_before_extraction(wav, decoded, y, says):
    with pytest.raises(ValueError, match=says):
        MelFilterBank().fit_transform([wav, wav], y)
    assert not decoded


def test_several_bad_files_are_one_error(bad_files, wav, decoded):
    names = ["missing", "directory", "empty", "header", "text", "short"]
    X = [wav, *(bad_files[name][0] for name in names)]
    with pytest.raises(RecordingError) as caught:
        MelFilterBank().fit(X)
    message = str(caught.value)
    assert "6 of 7 recordings" in message and "check_recordings" in message
    for row, name in enumerate(names[:5], start=1):
        assert f"row {row} ({bad_files[name][0]})" in message
    assert "short" not in message and "and 1 more" in message
    assert not decoded and not isinstance(caught.value, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="2 of 2"):
        MelFilterBank().fit(["nowhere.wav", "nothing.wav"])


def test_check_recordings_gives_mask_and_reasons(bad_files, wav):
    X = [wav, *(path for path, _ in bad_files.values()), wav]
    for n_jobs in (1, 2):
        mask, problems = check_recordings(X, n_jobs=n_jobs, return_problems=True)
        assert mask.dtype == bool and mask.tolist() == [p is None for p in problems]
        assert np.flatnonzero(mask).tolist() == [0, len(X) - 1]
        for problem, (path, says) in zip(problems[1:-1], bad_files.values(), strict=True):
            assert path.name in problem and says in problem
    usable = [x for x, good in zip(X, check_recordings(X), strict=True) if good]
    assert len(MelFilterBank().fit_transform(usable)) == 2


# --- on_error


def test_skip_is_refused_with_labels(wav, bad_files):
    X = [wav, bad_files["nan"][0]]
    bank = MelFilterBank(on_error="skip")
    for call in (bank.fit, bank.fit_transform):
        with pytest.raises(ValueError, match="check_recordings"):
            call(X, [0, 1])
    bank.set_params(on_error="raise").fit([wav, wav], [0, 1])
    with pytest.raises(ValueError, match="check_recordings"):
        bank.set_params(on_error="skip").transform(X)
    with pytest.warns(UserWarning, match="left out"):  # a later fit without labels forgets them
        assert len(bank.fit(X).transform(X)) == 1


@pytest.mark.parametrize("bad", ["nan", "empty"])
def test_skip_without_labels_leaves_rows_out(wav, bad_files, bad):
    path = bad_files[bad][0]
    bank = MelFilterBank(on_error="skip")
    with pytest.warns(UserWarning, match=f"1 of 3 recordings were left out:\n.*{path.name}"):
        frames = bank.fit_transform([wav, path, wav])
    assert frames.lengths.tolist() == [98, 98]


def test_nan_keeps_the_rows(wav, bad_files):
    X = [bad_files["missing"][0], wav, bad_files["cut"][0]]
    with pytest.warns(UserWarning, match="2 of 3 recordings were kept as NaN") as caught:
        frames = MelFilterBank(on_error="nan").fit_transform(X, [0, 1, 2])
    assert "missing.wav" in str(caught[0].message) and "cut.flac" in str(caught[0].message)
    assert frames.lengths.tolist() == [1, 98, 1]
    assert np.isnan(frames[0]).all() and np.isnan(frames[2]).all() and np.isfinite(frames[1]).all()


@pytest.mark.parametrize("on_error", ["skip", "nan"])
def test_bad_rows_only_are_an_error(bad_files, on_error):
    X = [bad_files["missing"][0], bad_files["nan"][0]]
    with pytest.raises(RecordingError, match="2 of 2"):
        MelFilterBank(on_error=on_error).fit_transform(X)


def test_frames_know_the_rows_and_the_index_of_X(wav, tmp_path):
    rows = pd.DataFrame({"file": [wav] * 3}, index=["x", "y", "z"])
    frames = MelFilterBank().fit_transform(rows)
    assert list(frames.metadata.index) == ["x", "y", "z"]
    rows.loc["y", "file"] = "missing.wav"
    for step in (MelFilterBank(on_error="skip"), MelFilterBank(on_error="skip", memory=tmp_path)):
        with pytest.warns(UserWarning, match="1 of 3"):
            frames = SlidingCMN().fit_transform(step.fit_transform(rows))
        assert frames.metadata["row"].to_dict() == {"x": 0, "z": 2}
