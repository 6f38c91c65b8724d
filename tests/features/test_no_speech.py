"""Recordings without a sound: a row of NaN and one warning, never an error."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from tones import RATE, tone

from sklearn_speechsent import MelFilterBank, SlidingCMN, UtteranceFrames
from sklearn_speechsent.audio import as_recordings, check_recordings
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.frames import NoSpeechWarning


@pytest.mark.parametrize("on_error", ["raise", "nan", "skip"])
@pytest.mark.parametrize(
    "silence",
    [np.zeros(RATE), np.full(RATE, 0.25), np.zeros(RATE, np.int16), (8000, np.zeros((9000, 2)))],
)
@pytest.mark.parametrize("memory", [False, True])
def test_a_row_of_nan_between_the_others(tmp_path, on_error, silence, memory):
    bank = MelFilterBank(on_error=on_error, memory=tmp_path / "cache" if memory else None)
    X = [tone(), silence, tone(duration=0.5), silence]
    for _ in range(2):  # computed, and found in the store
        says = r"2 of 4 recordings are silent .* NaN: row 1 \(.*\), row 3"
        with pytest.warns(NoSpeechWarning, match=says) as caught:
            frames = bank.fit_transform(X)
        assert len(caught) == 1
        assert frames.lengths.tolist() == [98, 1, 48, 1] and frames.dtype == np.float32
        assert np.isnan(frames[1]).all() and np.isnan(frames[3]).all()
        assert np.isfinite(frames[0]).all() and np.isfinite(frames[2]).all()
        assert frames.metadata["row"].tolist() == [0, 1, 2, 3]


def test_silence_alone_is_not_an_error(tmp_path):
    soundfile.write(tmp_path / "nothing.flac", np.zeros(RATE), RATE)
    with pytest.warns(NoSpeechWarning, match=r"1 of 1 .*: row 0 \(.*nothing.flac\)"):
        frames = MelFilterBank().fit_transform([tmp_path / "nothing.flac"])
    assert frames.lengths.tolist() == [1] and np.isnan(frames[0]).all()
    assert check_recordings([tmp_path / "nothing.flac"]).tolist() == [False]


def test_silent_next_to_bad(tmp_path):
    X = [tmp_path / "missing.wav", tmp_path / "silent.wav", tmp_path / "tone.wav"]
    soundfile.write(X[1], np.zeros(RATE), RATE)
    soundfile.write(X[2], tone(), RATE)
    table = pd.DataFrame({"file": X}, index=["a", "b", "c"])
    for on_error, kept in (("nan", ["a", "b", "c"]), ("skip", ["b", "c"])):
        with pytest.warns(UserWarning) as caught:
            frames = MelFilterBank(on_error=on_error).fit_transform(table)
        assert [type(w.message) for w in caught] == [UserWarning, NoSpeechWarning]
        assert "1 of 3" in str(caught[0].message) and "silent.wav" in str(caught[1].message)
        assert list(frames.metadata.index) == kept
        assert np.isnan(frames[-2]).all() and np.isfinite(frames[-1]).all()


def test_copies_of_one_recording_count_once(tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(), RATE)
    rows = as_recordings([tmp_path / "tone.wav", np.zeros(RATE), np.full(RATE, np.nan)])
    copies = [r.perturbed(speed=s) for s in (0.9, 1.0, 1.1) for r in rows]
    copies = [type(r)(**{**vars(r), "origin": r.row}) for r in copies]
    with pytest.warns(UserWarning) as caught:
        frames = MelFilterBank(on_error="nan").fit_transform(copies)
    assert len(frames) == 9 and len(caught) == 2
    bad, silent = (str(w.message) for w in caught)
    assert bad.startswith("1 of 3 recordings") and bad.count("row 2") == 1
    assert silent.startswith("1 of 3 recordings") and silent.count("row 1") == 1


def test_steps_pass_rows_of_nan_on():
    with pytest.warns(NoSpeechWarning) as caught:
        frames = MelFilterBank().fit_transform([np.zeros(RATE), tone()])
        table = FrameStatistics().fit_transform(SlidingCMN().fit_transform(frames))
    assert len(caught) == 1
    assert np.isnan(table[0]).all() and np.isfinite(table[1]).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_frames_of_digital_silence_only(dtype):
    """Samples may differ from zero and be too faint for any energy."""
    frames = MelFilterBank().fit_transform([tone()])
    floor = np.full((7, 80), np.log(np.finfo(np.float32).eps))
    both = UtteranceFrames.from_arrays(
        [frames[0].astype(dtype), floor.astype(dtype)], frame_settings=frames.frame_settings
    )
    with pytest.warns(NoSpeechWarning, match=r"1 of 2 recordings hold digital silence only.*row 1"):
        made = SlidingCMN().fit_transform(both)
    assert made.lengths.tolist() == [98, 1] and np.isnan(made[1]).all()


def test_zeros_around_a_recording_leave_its_frames():
    """Zeros in front move nothing; behind, a frame that they cut may be whole by chance."""
    samples, zeros = tone(), np.zeros(2 * RATE)
    for window in (None, 0.3):
        cmn = SlidingCMN(window)
        plain, front, both, inside = cmn.fit_transform(
            MelFilterBank().fit_transform(
                [
                    samples[: 98 * 160],
                    np.r_[zeros, samples[: 98 * 160]],
                    np.r_[zeros, samples[: 98 * 160], zeros],
                    np.r_[samples[:8000], zeros, samples[8000:]],
                ]
            )
        )
        np.testing.assert_allclose(front, plain, atol=1e-5)
        np.testing.assert_allclose(both, plain, atol=1e-5)
        assert 90 < len(inside) < 98 and np.abs(inside).max() < np.abs(plain).max() + 1


def test_frames_of_other_origin_have_no_silence():
    low = np.full((9, 3), -15.95)
    np.testing.assert_allclose(SlidingCMN().fit_transform([low])[0], 0 * low, atol=1e-12)
    frames = UtteranceFrames.from_arrays([low], frame_settings={"n_mels": 3, "cmn": 3.0})
    assert SlidingCMN().fit_transform(frames).lengths.tolist() == [9]
