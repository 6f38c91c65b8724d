"""From frames to seconds: runs of speech at exact times, in files, segments and arrays."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank, UtteranceFrames, VoiceActivityDetector
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.frames.validation import holds_recordings
from sklearn_speechsent.vad.segments import run_times

RATE = 16000


def seconds_of_noise(*levels, rate=RATE):
    """One second at each loudness."""
    rng = np.random.default_rng(0)
    return np.concatenate([level * rng.standard_normal(rate) for level in levels])


def detector(**params):
    return VoiceActivityDetector("energy", **{"hangover": 0.0, **params})


@pytest.fixture
def fixed(monkeypatch):
    """Function that makes every detector give these scores, above 9 dB being speech."""

    def fix(*scores):
        monkeypatch.setattr(
            VoiceActivityDetector, "_scores", lambda *args: [np.asarray(s, float) for s in scores]
        )

    return fix


def speech(n, *runs):
    scores = np.zeros(n)
    for first, last in runs:
        scores[first:last] = 20.0
    return scores


# -- the rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "shift"), [(0.025, 0.01), (0.05, 0.02), (0.01, 0.01)])
def test_frames_stand_for_the_shift_around_their_centre(length, shift):
    mask = np.zeros(20, dtype=bool)
    mask[[5, 6, 7, 12]] = True
    starts, ends = run_times(mask, length, shift, 20 * shift + length)
    around = length / 2 - shift / 2, length / 2 + shift / 2
    np.testing.assert_allclose(starts, np.array([5, 12]) * shift + around[0])
    np.testing.assert_allclose(ends, np.array([7, 12]) * shift + around[1])


def test_the_first_and_the_last_frame_take_what_is_left():
    every = np.ones(20, dtype=bool)
    assert [t.tolist() for t in run_times(every, 0.025, 0.01, 0.22)] == [[0.0], [0.22]]
    starts, ends = run_times(every, 0.025, 0.01)
    assert starts[0] == 0 and ends[0] == pytest.approx(19 * 0.01 + 0.025)
    one = run_times(np.ones(1, dtype=bool), 0.025, 0.01, 0.03)
    assert [t.tolist() for t in one] == [[0.0], [0.03]]
    alternating = np.arange(6) % 2 == 0
    starts, ends = run_times(alternating, 0.025, 0.01)
    np.testing.assert_allclose(starts, [0, 0.0275, 0.0475])
    np.testing.assert_allclose(ends, [0.0175, 0.0375, 0.0575])
    assert [t.size for t in run_times(np.zeros(6, dtype=bool), 0.025, 0.01, 1.0)] == [0, 0]


def test_times_are_exact_on_a_constructed_example(fixed):
    """20 dB from frame 30 to 49 and from 80 on, in 100 frames over a recording of 1.02 s."""
    samples = seconds_of_noise(0.1, 0.1)[: round(1.02 * RATE)]
    assert len(MelFilterBank().fit_transform([samples])[0]) == 100
    fixed(speech(100, (30, 50), (80, 100)), speech(100), speech(100, (0, 20)))
    table = detector().fit([samples]).speech_segments([samples] * 3)
    assert table["file"].tolist() == [0, 0, 2]
    np.testing.assert_allclose(table["start"], [0.3075, 0.8075, 0.0])
    np.testing.assert_allclose(table["end"], [0.5075, 1.02, 0.2075])
    frames = MelFilterBank().fit_transform([samples] * 3)
    table = detector().fit(frames).speech_segments(frames)
    assert table["file"].tolist() == [0, 0, 2]
    np.testing.assert_allclose(table["end"], [0.5075, 0.99 + 0.025, 0.2075])


def test_the_hangover_is_part_of_it_and_min_duration_is_not(fixed):
    frames = UtteranceFrames.from_arrays([np.zeros((300, 8))])
    fixed(speech(300, (100, 120)))
    table = detector(hangover=0.25, min_duration=60.0).fit(frames).speech_segments(frames)
    np.testing.assert_allclose(table[["start", "end"]], [[0.7575, 1.4575]])


def test_loud_seconds_are_found():
    samples = seconds_of_noise(1e-3, 0.1, 1e-3, 0.1)
    table = detector().fit([samples]).speech_segments([samples])
    assert table["file"].tolist() == [0, 0]
    np.testing.assert_allclose(table[["start", "end"]], [[1, 2], [3, 4]], atol=0.02)
    assert table["end"].iloc[-1] == 4.0


# -- what X holds ----------------------------------------------------------------------------------


@pytest.fixture
def wav(tmp_path):
    """Loud from 1 to 2 s and from 3 to 4 s of 5."""
    path = tmp_path / "loud.wav"
    soundfile.write(path, seconds_of_noise(1e-3, 0.1, 1e-3, 0.1, 1e-3), RATE, subtype="FLOAT")
    return str(path)


def test_times_count_from_the_beginning_of_the_file(wav):
    X = pd.DataFrame(
        {"file": [wav] * 4, "start": [0.5, np.nan, 2.5, 1.2], "end": [2.5, 1.5, np.nan, 1.7]},
        index=[7, 7, 3, 1],
    )
    table = detector().fit(X).speech_segments(X)
    # Within 1.2 to 1.7 s the noise is as loud as everywhere: no speech, and no row.
    np.testing.assert_allclose(table[["start", "end"]], [[1, 2], [1, 1.5], [3, 4]], atol=0.02)
    assert table["end"].tolist()[1] == 1.5
    assert table["file"].tolist() == [wav] * 3 and table.index.tolist() == [0, 1, 2]


def test_what_is_played_faster_keeps_the_times_of_its_file(wav):
    X = pd.DataFrame({"file": [wav, wav], "start": [0.5, 0.5], "speed": [1.25, np.nan]})
    table = detector().fit(X).speech_segments(X)
    expected = [[1, 2], [3, 4]] * 2
    np.testing.assert_allclose(table[["start", "end"]], expected, atol=0.03)
    whole = pd.DataFrame({"file": [wav], "start": [3.1], "end": [3.9], "speed": [0.5]})
    assert detector(threshold=-90.0).fit(whole).speech_segments(whole).values.tolist() == [
        [wav, 3.1, pytest.approx(3.9)]
    ]


def test_segments_are_taken_as_recordings(wav, tmp_path):
    X = [wav, seconds_of_noise(1e-3, 0.1, 1e-3)]
    table = detector().fit(X).speech_segments(X)
    assert table["file"].tolist() == [wav, wav, 1]
    segments = table[:2]
    frames = MelFilterBank().fit_transform(segments)
    assert len(frames) == 2 and np.all(np.abs(frames.lengths - 98) < 4)
    recordings = as_recordings(segments)
    assert [recording.source for recording in recordings] == [wav, wav]
    # And of a kind that the detector takes itself.
    again = detector(threshold=-90.0).fit(segments).speech_segments(segments)
    pd.testing.assert_frame_equal(again, segments, check_dtype=False)


def test_other_rates_and_pairs(tmp_path):
    samples = seconds_of_noise(1e-3, 0.1, 1e-3, rate=44100)
    soundfile.write(tmp_path / "a.flac", samples, 44100)
    for X in ([(44100, samples)], [tmp_path / "a.flac"]):
        table = detector().fit(X).speech_segments(X)
        np.testing.assert_allclose(table[["start", "end"]], [[1, 2]], atol=0.02)
    slow = MelFilterBank(sample_rate=8000)
    table = detector(frontend=slow).fit([samples]).speech_segments([samples])
    np.testing.assert_allclose(table[["start", "end"]], [[5.5, 11]], atol=0.1)
    assert detector(frontend=slow, threshold=-90.0).fit([samples]).speech_segments([samples])[
        "end"
    ].tolist() == [len(samples) / 8000]


def test_no_speech_is_an_empty_table(rng):
    samples = 0.1 * rng.standard_normal(RATE)
    for X in ([samples], MelFilterBank().fit_transform([samples])):
        table = detector().fit(X).speech_segments(X)
        assert len(table) == 0 and table.columns.tolist() == ["file", "start", "end"]
        assert table.dtypes.astype(str).tolist() == ["object", "float64", "float64"]


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (["a.wav"], True),
        (("a.wav", "b.wav"), True),
        (np.array(["a.wav"]), True),
        (np.array([["a.wav"]], dtype=object), True),
        (pd.Series(["a.wav"]), True),
        (pd.DataFrame({"file": ["a.wav"]}), True),
        (pd.DataFrame({"name": ["a.wav"]}), True),
        (as_recordings(["a.wav"]), True),
        ([np.zeros(9)], True),
        ([(RATE, np.zeros(9))], True),
        ([[RATE, [0.0, 1.0]]], True),
        (np.array([(RATE, np.zeros(9)), (RATE, np.zeros(8))], dtype=object), True),
        ("a.wav", True),
        ((RATE, np.zeros(9)), True),
        ([np.zeros((9, 80))], False),
        ((np.zeros((9, 80)), np.zeros((9, 80))), False),
        ([[[0.0, 1.0]], [[0.0, 1.0]]], False),
        ([[0.0, 1.0], [1.0, 2.0]], False),
        (np.zeros((4, 80)), False),
        (np.zeros((4, 80), dtype=object), False),
        (np.zeros((2, 4, 80)), False),
        (np.zeros(9), False),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), False),
        (UtteranceFrames.from_arrays([np.zeros((9, 80))]), False),
        ([], False),
        (np.empty((0, 3), dtype=object), False),
    ],
)
def test_recordings_are_told_from_frames(X, expected):
    assert holds_recordings(X) is expected
