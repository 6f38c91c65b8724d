"""Channels of recordings: one of them, their mix, and mixes that go wrong."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.audio import (
    Recording,
    RecordingError,
    SilentRecordingError,
    as_recordings,
    check_recordings,
    io,
    read,
)
from sklearn_speechsent.frames import NoSpeechWarning

RATE = 16000


def noise(n=RATE, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, n).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def write(*channels, name="call.wav", rate=RATE):
        path = tmp_path / name
        soundfile.write(path, np.stack(channels, axis=1), rate, subtype="FLOAT")
        return str(path)

    return write


def table(file, **columns):
    return pd.DataFrame({"file": [file] * len(next(iter(columns.values()))), **columns})


# -- one channel -----------------------------------------------------------------------------------


def test_a_channel_is_the_file_of_that_speaker(write):
    speakers = [noise(seed=seed) for seed in range(3)]
    call = write(*speakers)
    X = table(call, channel=[0, 1, 2, None])
    rows = [read(recording, RATE) for recording in as_recordings(X)]
    for row, speaker in zip(rows, [*speakers, np.mean(speakers, axis=0)], strict=True):
        np.testing.assert_allclose(row, speaker, atol=1e-7)
    alone = [write(speaker, name=f"{k}.wav") for k, speaker in enumerate(speakers)]
    frames, expected = MelFilterBank().fit_transform(X[:3]), MelFilterBank().fit_transform(alone)
    np.testing.assert_array_equal(frames.base, expected.base)


def test_channels_of_segments_at_another_rate_and_of_samples_in_memory(write):
    left, right = noise(44100), noise(44100, seed=1)
    call = write(left, right, rate=44100)
    X = table(call, start=[0.25], end=[0.75], channel=[1])
    (from_file,) = as_recordings(X)
    (pair,) = as_recordings(X.assign(file=[(44100, np.stack([left, right], axis=1))]))
    np.testing.assert_array_equal(read(from_file, RATE), read(pair, RATE))
    alone = Recording(0, right[11025:33075], rate=44100)
    np.testing.assert_array_equal(read(from_file, RATE), read(alone, RATE))


@pytest.mark.parametrize("dtype", [float, object, "Int64", str])
def test_the_column_may_be_any_numbers(write, dtype):
    X = table(write(noise(), noise(seed=1)), channel=pd.Series([0, 1]).astype(dtype))
    assert [recording.channel for recording in as_recordings(X)] == [0, 1]
    assert as_recordings(X.assign(channel=[1, None]))[1].channel is None


@pytest.mark.parametrize(("n", "says"), [(1, "has channel 0 only"), (2, "has channels 0 to 1")])
def test_a_channel_that_is_not_there(write, n, says):
    X = table(write(*(noise(seed=k) for k in range(n))), channel=[0, 2])
    with pytest.raises(RecordingError, match=rf"row 1 \(.*call.wav, channel 2\): it {says}"):
        MelFilterBank().fit(X)
    assert check_recordings(X).tolist() == [True, False]
    in_memory = [Recording(0, np.zeros((800, n), np.float32), channel=2)]
    with pytest.raises(RecordingError, match=rf"row 0 \(samples in memory, channel 2\): it {says}"):
        MelFilterBank().fit(in_memory)


@pytest.mark.parametrize("channel", [-1, 0.5, "left", np.inf])
def test_what_is_not_a_channel(write, channel):
    X = table(write(noise(), noise(seed=1)), channel=np.array([0, channel], dtype=object))
    with pytest.raises(ValueError, match=r"(?i)row 1 .*call.wav|channel"):
        MelFilterBank().fit(X)


def test_channels_are_entries_of_their_own_in_a_store(write, tmp_path, decoded):
    X = table(write(noise(), noise(seed=1)), channel=[0, 1, None])
    bank = MelFilterBank(memory=tmp_path / "store")
    first = bank.fit_transform(X)
    assert len(decoded) == 3
    again = bank.fit_transform(X[::-1])
    assert len(decoded) == 3
    for row in range(3):
        np.testing.assert_array_equal(first[row], again[2 - row])
    assert len({frames.tobytes() for frames in first}) == 3


def test_seeds_of_noise_differ_between_channels_and_are_what_they_were_without():
    def seed(channel, source="/a/call.wav"):
        return Recording(0, source, channel=channel).perturbed(snr_db=5.0).seed

    assert len({seed(None), seed(0), seed(1)}) == 3
    samples = np.ones((4, 2), np.int16)
    assert len({seed(None, samples), seed(0, samples), seed(1, samples)}) == 3
    assert seed(None) == 449573457  # crc32 of "('call.wav', None, None)", modulo 2**31


# -- channels that cancel --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "factors", [(1, -1), (1, -0.99), (-0.95, 1), (1, -0.5, -0.5), (1, 1, -1, -1)], ids=str
)
def test_channels_that_cancel_are_an_error_that_names_the_column(write, factors):
    voice = noise()
    call = write(*(voice * factor for factor in factors))
    says = rf"row 0 \(.*call.wav\): its {len(factors)} channels cancel .*'channel', 0 to"
    with pytest.raises(RecordingError, match=says):
        MelFilterBank().fit_transform([call])
    mask, problems = check_recordings([call], return_problems=True)
    assert not mask[0] and "cancel" in problems[0]
    frames = MelFilterBank().fit_transform(table(call, channel=[0, 1]))
    assert frames.lengths.tolist() == [98, 98]
    pair = (RATE, np.stack([voice * factor for factor in factors], axis=1))
    with pytest.raises(RecordingError, match=r"row 0 \(samples in memory\): .*cancel"):
        MelFilterBank().fit_transform([pair])


def test_an_offset_does_not_hide_that_channels_cancel(write):
    voice = noise(level=0.02)
    with pytest.raises(RecordingError, match="cancel"):
        MelFilterBank().fit_transform([write(0.3 + voice, 0.3 - voice)])


@pytest.mark.parametrize(
    "channels",
    [
        (noise(), noise(seed=1)),
        (noise(), np.zeros(RATE, np.float32)),
        (noise(), -0.5 * noise()),
        (noise(), -noise() + noise(seed=1)),
        tuple(noise(seed=k) for k in range(16)),
        (noise(), -noise(level=0.001)),
    ],
    ids=["two speakers", "one is silent", "louder", "half of it", "array", "echo"],
)
def test_other_channels_do_not_cancel(write, channels):
    assert len(MelFilterBank().fit_transform([write(*channels)])[0]) == 98


def test_silence_has_its_own_answer(write):
    zeros = np.zeros(RATE, np.float32)
    for call in (write(zeros, zeros), write(zeros + 0.25, zeros + 0.25)):
        with pytest.raises(SilentRecordingError, match="silent"):
            read(Recording(0, call), RATE)
    with pytest.warns(NoSpeechWarning, match=r"channel 1\)"):
        frames = MelFilterBank().fit_transform(table(write(noise(), zeros), channel=[1]))
    assert np.isnan(frames[0]).all()


def test_cancelling_is_seen_across_blocks(write, monkeypatch):
    monkeypatch.setattr(io, "BLOCK", 1000)
    quiet = np.where(np.arange(RATE) < 4000, noise(seed=1, level=1e-3), 0).astype(np.float32)
    with pytest.raises(RecordingError, match="cancel"):
        read(Recording(0, write(noise(), quiet - noise())), RATE)


def test_nan_in_a_channel_is_said_as_such():
    samples = np.stack([noise(), noise(seed=1)], axis=1)
    samples[700, 1] = np.inf
    with pytest.raises(RecordingError, match="sample 700 is inf"):
        read(Recording(0, samples), RATE)
    assert np.isfinite(read(Recording(0, samples, channel=0), RATE)).all()


# -- the same channel twice ------------------------------------------------------------------------


def test_the_same_channel_twice_is_said_where_channels_are_asked_for(write):
    voice = noise()
    call = write(voice, voice * np.float32(1 + 1e-5))
    with pytest.warns(
        UserWarning, match=r"row 0 \(.*call.wav, channel 1\): all 2 channels are the"
    ):
        MelFilterBank().fit_transform(table(call, channel=[1]))
    MelFilterBank().fit_transform([call])  # mixing makes no difference
    MelFilterBank().fit_transform(table(write(voice, 0.9 * voice), channel=[1]))


def test_the_same_channel_twice_is_said_in_check_recordings(write):
    voice = noise()
    X = [
        write(voice, voice, name="a.wav"),
        write(voice, noise(seed=1), name="b.wav"),
        write(voice, voice, voice, name="c.wav"),
        "missing.wav",
    ]
    with pytest.warns(UserWarning, match=r"(?s)2 of 4 .*row 0 \(.*a.wav\).*3 channels") as caught:
        mask, problems = check_recordings(X, return_problems=True, n_jobs=2)
    assert len(caught) == 1 and mask.tolist() == [True, True, True, False]
    assert problems[:3] == [None] * 3


@pytest.mark.data
def test_real_speech_with_one_speaker_per_channel(data_home, tmp_path):
    paths = [min((data_home / "ravdess" / f"Actor_{k:02d}").glob("*.flac")) for k in (1, 2)]
    voices = [soundfile.read(path, dtype="int16")[0] for path in paths]
    n = min(map(len, voices))
    call = str(tmp_path / "call.flac")
    soundfile.write(call, np.stack([voice[:n] for voice in voices], axis=1), RATE)
    frames = MelFilterBank().fit_transform(table(call, channel=[0, 1]))
    for row, voice in enumerate(voices):
        expected = MelFilterBank().fit_transform([(RATE, voice[:n])])[0]
        np.testing.assert_array_equal(frames[row], expected)
    soundfile.write(call, np.stack([voices[0], -voices[0]], axis=1), RATE)
    with pytest.raises(RecordingError, match="cancel"):
        MelFilterBank().fit_transform([call])


# -- times of speech -------------------------------------------------------------------------------


def test_times_of_speech_have_the_channel_where_x_has(write):
    burst = np.where(np.abs(np.arange(2 * RATE) - RATE) < RATE // 2, 1.0, 1e-3)
    left = (noise(2 * RATE) * burst).astype(np.float32)
    right = (noise(2 * RATE, seed=1) * burst[::-1] * 0.5).astype(np.float32)
    call = write(left, right)
    detector = VoiceActivityDetector(method="energy")
    X = table(call, channel=[1, None])
    found = detector.fit(X).speech_segments(X)
    assert list(found.columns) == ["file", "start", "end", "channel"]
    assert found["channel"].isna().tolist() == [False, True] and found["channel"][0] == 1
    again = as_recordings(found)
    assert [recording.channel for recording in again] == [1, None]
    assert MelFilterBank().fit_transform(found).lengths.min() > 50
    assert "channel" not in detector.speech_segments([call])
