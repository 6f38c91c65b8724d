"""Scales of samples: values that cannot be those of a full scale of 1."""

import numpy as np
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.audio import Recording, RecordingError, check_recordings, io

RATE = 16000


def noise(n=RATE, level=0.1):
    return np.random.default_rng(0).normal(0, level, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [127, 32768, 2.0**31])
def test_floats_of_an_integer_scale(tmp_path, dtype, scale):
    samples = (noise(level=0.05) * scale).astype(dtype)
    path = tmp_path / "loud.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT" if dtype == "float32" else "DOUBLE")
    good = noise()
    peak = f"{np.abs(samples).max().astype('float32'):g}"
    for bad, name in ((samples, "memory"), ((8000, samples), "memory"), (path, "loud.wav")):
        says = rf"row 1 \(.*{name}\): its samples reach {peak.replace('+', '.')}, .*32768 for 16"
        with pytest.raises(RecordingError, match=says):
            MelFilterBank().fit_transform([good, bad])
        mask, problems = check_recordings([good, bad], return_problems=True)
        assert mask.tolist() == [True, False] and "full scale" in problems[1]


def test_a_table_of_waveforms_of_another_scale():
    with pytest.raises(RecordingError, match=r"2 of 2 recordings|full scale"):
        MelFilterBank().fit_transform(np.stack([noise(), noise()]) * 32768)


@pytest.mark.parametrize("peak", [1e-3, 1.0, 1.5, 3.0])
def test_quiet_and_loud_floats_are_taken(peak):
    samples = noise()
    samples *= peak / np.abs(samples).max()
    assert len(MelFilterBank().fit_transform([samples])[0]) == 98


@pytest.mark.parametrize("at", [9000, 16049])
def test_the_peak_may_come_late(monkeypatch, at):
    monkeypatch.setattr(io, "BLOCK", 1000)
    samples = noise(16050)  # the last block does not tell a scale by itself
    samples[at] = 700.0
    with pytest.raises(RecordingError, match="reach 700"):
        MelFilterBank().fit_transform([samples])


@pytest.mark.parametrize("n", [RATE, 40])
@pytest.mark.parametrize("largest", [1e38, 3e38])
@pytest.mark.parametrize("channels", [1, 2])
def test_damaged_floats_are_an_error_however_short(tmp_path, n, largest, channels):
    samples = np.stack([noise(n)] * channels, axis=1)
    samples[n // 2] = largest
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    tiny = MelFilterBank(frame_length=0.002, frame_shift=0.001, n_mels=2)
    for bad in (path, (RATE, samples), (RATE, samples.astype("float32"))):
        with pytest.raises(RecordingError, match=r"row 0 .*(its samples reach|is inf)"):
            tiny.fit_transform([bad])
    with pytest.raises(RecordingError, match=r"row 0 .*is -?inf"):
        tiny.fit_transform([(RATE, samples * 10)])  # beyond float32


def test_infinities_of_both_signs_in_one_place():
    samples = np.stack([noise(), noise()], axis=1)
    samples[70] = np.inf, -np.inf
    with pytest.raises(RecordingError, match="sample 70 is nan"):
        MelFilterBank().fit_transform([(RATE, samples)])
    with pytest.raises(RecordingError, match="sample 70 is -inf"):
        MelFilterBank().fit_transform([Recording(0, samples, rate=RATE, channel=1)])


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float32"])
def test_samples_that_are_far_too_small(dtype):
    sixteen = (noise() * 32767).astype("int16")
    if dtype == "float32":
        samples = (sixteen / 32768.0**2).astype("float32")
    else:
        samples = (sixteen.astype(np.int64) + (2**31 if dtype == "uint32" else 0)).astype(dtype)
    with pytest.warns(UserWarning, match=r"row 1 \(samples in memory\): .* less than a step of 16"):
        MelFilterBank().fit_transform([sixteen, samples])
    with pytest.warns(UserWarning, match=r"(?s)1 of 2 recordings can be used, but .*row 1"):
        assert check_recordings([sixteen, samples]).all()


def test_files_of_32_bits_that_hold_16(tmp_path):
    path = tmp_path / "quiet.wav"
    soundfile.write(path, (noise() * 32767).astype(np.int32), RATE, subtype="PCM_32")
    with pytest.warns(UserWarning, match=r"quiet.wav\): .* less than a step of 16 bits"):
        MelFilterBank().fit_transform([path])


@pytest.mark.data
def test_real_speech_in_both_scales(data_home):
    path = min((data_home / "ravdess").rglob("*.flac"))
    integers, rate = soundfile.read(path, dtype="int16")
    expected = MelFilterBank().fit_transform([path])[0]
    np.testing.assert_array_equal(MelFilterBank().fit_transform([(rate, integers)])[0], expected)
    with pytest.raises(RecordingError, match="full scale is 1"):
        MelFilterBank().fit_transform([(rate, integers.astype("float32"))])
