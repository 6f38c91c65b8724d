"""Recordings that FFmpeg reads: m4a, mp4, webm and others."""

import io as standard_io
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.audio import (
    Recording,
    RecordingError,
    as_recordings,
    check_recordings,
    probe,
    read,
)
from sklearn_speechsent.audio.ffmpeg import open_ffmpeg

av = pytest.importorskip("av")

RATE = 16000
#: Container, codec, rate, channels.
FORMATS = [
    ("ipod", "aac", 16000, 1),
    ("mp4", "aac", 44100, 2),
    ("mp4", "alac", 16000, 1),
    ("webm", "libopus", 48000, 1),
    ("matroska", "flac", 16000, 2),
    ("adts", "aac", 16000, 1),
    ("mov", "pcm_s16le", 16000, 2),
]
EXACT = [format for format in FORMATS if format[1] in ("alac", "flac", "pcm_s16le")]


def tones(rate, channels=1, seconds=4.0):
    """A chirp per channel."""
    t = np.arange(round(rate * seconds)) / rate
    rows = [0.3 * np.sin(2 * np.pi * (200 + 150 * k) * t * (1 + t / 8)) for k in range(channels)]
    return np.array(rows, dtype=np.float32)


def encoded(samples, container, codec, rate, path=None, **options):
    """Bytes of a file, or the file; samples have the shape (n_channels, n_samples)."""
    layout = "mono" if len(samples) == 1 else "stereo"
    file = standard_io.BytesIO()
    with av.open(path or file, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format, layout=layout, rate=rate, frame_size=context.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


def samples(X, rate):
    return read(as_recordings(X)[0], rate)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: " ".join(format[:2]))
def test_containers(tmp_path, format):
    container, codec, rate, channels = format
    given = tones(rate, channels)
    path = tmp_path / f"a.{container}"
    path.write_bytes(encoded(given, container, codec, rate))
    decoded = samples([path], rate)
    n = given.shape[1]
    assert n <= len(decoded) < n + 0.15 * rate
    mix = given.mean(axis=0)
    best = max(np.corrcoef(mix[: n // 2], decoded[k : k + n // 2])[0, 1] for k in range(3))
    best = max(best, np.corrcoef(mix[: n // 2], decoded[1024 : 1024 + n // 2])[0, 1])
    assert best > 0.97
    (recording,) = as_recordings([path])
    assert probe(recording, RATE, 0.025) == pytest.approx(4.0, abs=0.15)
    bank = MelFilterBank()
    assert bank.fit([path]).transform([path]).lengths[0] >= 396
    assert check_recordings([path]).all()


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: " ".join(format[:2]))
@pytest.mark.parametrize("start", [0.0, 0.3, 1.2345, 2.9])
def test_segments_are_cut_to_the_sample(tmp_path, format, start):
    container, codec, rate, channels = format
    path = tmp_path / f"a.{container}"
    path.write_bytes(encoded(tones(rate, channels), container, codec, rate))
    X = pd.DataFrame({"file": [path], "start": [start], "end": [start + 1.0]})
    first = round(start * rate)
    whole = samples([path], rate)[first : first + rate]
    part = samples(X, rate)
    assert len(part) == rate
    # Some decoders of AAC draw noise, which depends on where they began.
    np.testing.assert_allclose(part, whole, atol=0 if format in EXACT else 0.02)


@pytest.mark.parametrize("format", EXACT, ids=lambda format: " ".join(format[:2]))
def test_lossless_codecs_give_the_samples(tmp_path, format):
    container, codec, rate, channels = format
    given = np.round(tones(rate, channels) * 2**15) / 2**15
    content = encoded(given.astype(np.float32), container, codec, rate)
    rows = as_recordings(pd.DataFrame({"file": [content] * channels, "channel": range(channels)}))
    for row, channel in zip(rows, given, strict=True):
        np.testing.assert_allclose(read(row, rate), channel, atol=2**-15)
    np.testing.assert_allclose(samples([content], rate), given.mean(axis=0), atol=2**-15)


def test_channels_and_their_errors(tmp_path):
    path = tmp_path / "call.mov"
    path.write_bytes(encoded(tones(RATE, 2), "mov", "pcm_s16le", RATE))
    X = pd.DataFrame({"file": [path, path], "channel": [1, 2]})
    with pytest.raises(RecordingError, match=r"row 1 .*call\.mov, channel 2\): it has channels 0"):
        MelFilterBank().fit(X)
    path.write_bytes(encoded(tones(RATE) * np.float32([[1], [-1]]), "mov", "pcm_s16le", RATE))
    with pytest.raises(RecordingError, match="cancel"):
        MelFilterBank().transform([path])


@pytest.mark.parametrize("share", [0.4, 0.9])
@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("webm", "libopus", 48000), ("matroska", "flac", 16000), ("mp4", "aac", 16000)],
)
def test_files_that_are_cut_off(tmp_path, container, codec, rate, share):
    path = tmp_path / f"cut.{container}"
    if container == "mp4":  # the index comes first where a file is written for the web
        encoded(tones(rate), container, codec, rate, str(path), movflags="faststart")
        content = path.read_bytes()
    else:
        content = encoded(tones(rate), container, codec, rate)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RecordingError, match=r"row 0 .*cut off"):
        MelFilterBank().transform([path])
    mask, problems = check_recordings([path], return_problems=True)
    assert not mask[0] and "cut off" in problems[0]
    if container == "matroska":
        inside = pd.DataFrame({"file": [path], "start": [0.5], "end": [1.0]})
        np.testing.assert_array_equal(
            samples(inside, rate), samples([content], rate)[rate // 2 : rate]
        )


def test_raw_aac_promises_nothing_but_whole_frames(tmp_path):
    content = encoded(tones(RATE), "adts", "aac", RATE)
    with pytest.raises(RecordingError, match=r"it ends after .* cut off"):
        samples([content[: len(content) // 2]], RATE)
    with pytest.raises(RecordingError, match=r"segment ends after the recording's end at 4\."):
        samples(pd.DataFrame({"file": [content], "start": [1.0], "end": [9.0]}), RATE)


def test_without_pyav_the_message_names_both_ways_out(tmp_path, monkeypatch):
    path = tmp_path / "speech.m4a"
    path.write_bytes(encoded(tones(RATE), "ipod", "aac", RATE))
    monkeypatch.setitem(sys.modules, "av", None)
    says = r"row 0 .*ffmpeg -i speech\.m4a speech\.wav.*pip install sklearn-speechsent\[av\]"
    for X in ([path], pd.DataFrame({"file": [path], "start": [1.0]})):
        with pytest.raises(RecordingError, match=says):
            MelFilterBank().fit(X)
    with pytest.raises(RecordingError, match=r"row 0 \(bytes\): .*sklearn-speechsent\[av\]"):
        MelFilterBank().fit([path.read_bytes()])


def damaged():
    """Files at which FFmpeg gives up, each with another error."""
    m4a = encoded(tones(RATE), "ipod", "aac", RATE)
    webm = encoded(tones(48000), "webm", "libopus", 48000)
    at = m4a.index(b"esds") + 39
    return {
        "EOFError": b"OggS" + bytes(200),
        "DecoderNotFoundError": webm.replace(b"A_OPUS", b"A_XXXX"),
        "NotImplementedError": m4a[:at] + b"\xff" + m4a[at + 1 :],
    }


@pytest.mark.parametrize("error", ["EOFError", "DecoderNotFoundError", "NotImplementedError"])
@pytest.mark.parametrize("suffix", [".ogg", ".m4a", ".raw", ""])
def test_no_error_of_ffmpeg_passes_through(tmp_path, error, suffix, capfd):
    content = damaged()[error]
    with pytest.raises(getattr(av.error, error)), av.open(standard_io.BytesIO(content)) as file:
        next(file.decode(audio=0))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    good = tones(RATE)[0]
    for bad in (str(path), content, standard_io.BytesIO(content)):
        mask, problems = check_recordings([good, bad], return_problems=True)
        assert mask.tolist() == [True, False] and "row 1" in problems[1]
        with pytest.warns(UserWarning, match="1 of 2 recordings were kept as NaN"):
            frames = MelFilterBank(on_error="nan").fit_transform([good, bad])
        assert np.isnan(frames[1]).all() and np.isfinite(frames[0]).all()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", ["MemoryError", "PatchWelcomeError", "OSError"])
def test_errors_of_ffmpeg_in_the_middle(tmp_path, monkeypatch, error):
    content = encoded(tones(RATE), "ipod", "aac", RATE)
    opened = []

    def open_(*args, **kwargs):
        opened.append(args)
        if len(opened) > 1:
            raise getattr(av.error, error)(1, "no more")
        return original(*args, **kwargs)

    original = av.open
    monkeypatch.setattr(av, "open", open_)
    with pytest.raises(RecordingError, match=r"row 0 .*it ends after 0 of .*no more"):
        samples([content], RATE)


def test_memory_that_a_damaged_size_asks_for():
    class Exhausted(standard_io.BytesIO):
        def read(self, n=-1):
            raise MemoryError

    assert open_ffmpeg(Recording(0, b""), Exhausted(b"FORM")) is None


def test_lists_of_other_files_are_not_followed(tmp_path):
    soundfile.write(tmp_path / "secret.wav", tones(RATE)[0], RATE)
    for name, text in {
        "list.m3u8": "#EXTM3U\n#EXTINF:4,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(RecordingError, match=f"row 0 .*{name}"):
            MelFilterBank().fit([tmp_path / name])


def test_pictures_without_sound(tmp_path):
    file = standard_io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(RecordingError, match=r"row 0 \(bytes\): it has pictures and no sound"):
        MelFilterBank().fit([file.getvalue()])


@pytest.mark.data
def test_real_speech_as_m4a_and_webm(data_home, tmp_path):
    speech = min((data_home / "ravdess_48k").rglob("*.wav"))
    given, rate = soundfile.read(speech, dtype="float32", always_2d=True)
    expected = MelFilterBank().fit_transform([(rate, given)])[0]
    loud = expected > np.median(expected)
    loud[:, 60:] = False  # codecs leave high bands out
    for container, codec in (("ipod", "aac"), ("webm", "libopus")):
        path = tmp_path / f"a.{container}"
        path.write_bytes(encoded(given[:, :1].T.copy(), container, codec, rate))
        frames = MelFilterBank().fit_transform([path])[0]
        n = min(len(frames), len(expected))
        error = min(np.abs(frames[k:n] - expected[: n - k])[loud[: n - k]].mean() for k in range(3))
        assert abs(len(frames) - len(expected)) < 15 and error < 0.5
