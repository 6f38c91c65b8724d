"""Headers that promise something else than what their files hold."""

import struct
from dataclasses import replace

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
    find_problems,
    flac,
    headers,
    io,
    read,
)

RATE = 16000
N = 16000


def noise(n=N, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def content(folder, format, subtype=None, n=N, channels=1):
    """Bytes of a file of noise."""
    path = folder / f"{format}.{format.lower()}"
    samples = noise(n) if channels == 1 else np.c_[noise(n), noise(n, 1)]
    soundfile.write(path, samples, RATE, format=format, subtype=subtype)
    return path.read_bytes()


def patched(content, name, value, kind="<I", offset=4):
    """Bytes with another number at ``offset`` from a name."""
    at = content.index(name) + offset
    return content[:at] + struct.pack(kind, value) + content[at + struct.calcsize(kind) :]


@pytest.fixture
def recording(tmp_path):
    """Function that writes bytes to a file and makes a table of it, with times."""

    def make(content, name="a.bin", **times):
        path = tmp_path / name
        path.write_bytes(content)
        return pd.DataFrame({"file": [str(path)], **{k: [v] for k, v in times.items()}})

    return make


def samples(X):
    return read(as_recordings(X)[0], RATE)


# -- files that are cut off ------------------------------------------------------------------------

#: Containers whose header tells how many samples there should be.
EXACT = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "AVR", "MPC2K"]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("format", EXACT)
def test_half_a_file(tmp_path, recording, format, channels):
    whole = content(tmp_path, format, "PCM_16", channels=channels)
    half = whole[: len(whole) // 2]
    X = recording(half)
    says = rf"row 0 \(.*a\.bin\): it ends after [67]\d\d\d of {N} samples .*cut off"
    for call in (MelFilterBank().fit, MelFilterBank().transform, samples):
        with pytest.raises(RecordingError, match=says):
            call(X)
    mask, problems = check_recordings(X, return_problems=True)
    assert not mask[0] and f"of {N} samples" in problems[0]


@pytest.mark.parametrize("format", [*EXACT, "FLAC", "MP3", "SVX"])
def test_a_segment_inside_of_what_is_there_is_read(tmp_path, recording, format):
    whole = content(tmp_path, format)
    half = whole[: len(whole) // 2]
    part = {"start": 0.05, "end": 0.2}
    np.testing.assert_allclose(
        samples(recording(half, **part)), samples(recording(whole, **part)), atol=1e-6
    )
    with pytest.raises(RecordingError, match="cut off"):
        samples(recording(half, start=0.3, end=0.8))


@pytest.mark.parametrize("format", ["FLAC", "MP3"])
def test_what_only_decoding_tells(tmp_path, recording, format):
    whole = content(tmp_path, format, n=5 * N)
    X = recording(whole[: len(whole) // 2])
    MelFilterBank().fit(X)
    with pytest.raises(RecordingError, match=rf"it ends after [34]\d\d\d\d of {5 * N} samples"):
        MelFilterBank().transform(X)
    mask, problems = check_recordings(X, return_problems=True)
    assert not mask[0] and f"of {5 * N} samples" in problems[0]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_page_of_ogg_that_is_cut_off(tmp_path, recording, subtype, share):
    whole = content(tmp_path, "OGG", subtype, n=5 * N)
    X = recording(whole[: int(share * len(whole))])
    with pytest.raises(RecordingError, match=r"row 0 .*last page is cut off, after \d+ samples"):
        MelFilterBank().fit(X)
    assert not check_recordings(X)[0]
    assert len(samples(recording(whole[: int(share * len(whole))], start=0.2, end=0.6))) == 6400


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "MS_ADPCM"])
def test_half_a_file_of_compressed_samples(tmp_path, recording, subtype):
    whole = content(tmp_path, "WAV", subtype)
    with pytest.raises(RecordingError, match="cut off"):
        MelFilterBank().fit(recording(whole[: len(whole) // 2]))


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU"])
def test_ten_milliseconds_may_be_missing(tmp_path, recording, format):
    whole = content(tmp_path, format, "PCM_16")
    assert len(samples(recording(whole[: -2 * 155]))) == N - 155
    with pytest.raises(RecordingError, match=f"{N - 165} of {N}"):
        samples(recording(whole[: -2 * 165]))


@pytest.mark.data
@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_originals_that_were_cut_off(data_home, recording, share):
    path = min((data_home / "ravdess_48k").rglob("*.wav"))
    whole = path.read_bytes()
    n = soundfile.info(path).frames
    X = recording(whole[: int(share * len(whole))])
    with pytest.raises(RecordingError, match=f"of {n} samples"):
        MelFilterBank().fit(X)
    flac = min((data_home / "ravdess").rglob("*.flac"))
    whole = flac.read_bytes()
    X = recording(whole[: int(share * len(whole))])
    with pytest.raises(RecordingError, match=f"of {soundfile.info(flac).frames} samples"):
        MelFilterBank().transform(X)


# -- sizes of streams and of recorders that did not finish -----------------------------------------

UNFINISHED = [0, 2**31 - 1, 2**31 - 4096, 2**31, 2**32 - 1, 2**32 - 37]


@pytest.mark.parametrize("size", UNFINISHED)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "GSM610", "IMA_ADPCM"])
def test_wav_without_a_size_is_read_to_the_end(tmp_path, recording, subtype, size):
    whole = content(tmp_path, "WAV", subtype)
    expected = samples(recording(whole))
    for lying in (
        patched(whole, b"data", size),
        patched(patched(whole, b"data", size), b"RIFF", min(size + 36, 2**32 - 1)),
    ):
        np.testing.assert_array_equal(samples(recording(lying)), expected)
        MelFilterBank().fit(recording(lying))
        half = samples(recording(lying, start=0.5, end=0.75))
        np.testing.assert_array_equal(half, expected[8000:12000])


@pytest.mark.parametrize(
    ("format", "name", "kind", "offset", "sizes"),
    [
        ("RF64", b"ds64", "<Q", 16, (0, 2**64 - 1, 2**63 - 1)),
        ("W64", b"data\xf3\xac", "<Q", 16, (0, 2**64 - 1, 2**63 - 1)),
        ("AU", b".snd", ">I", 8, (0, 2**31 - 1, 2**32 - 1)),
        ("AIFF", b"SSND", ">I", 4, (0, 2**31 - 1, 2**32 - 1)),
        ("CAF", b"data", ">q", 4, (0, -1, 2**63 - 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_containers_without_a_size(tmp_path, recording, format, name, kind, offset, sizes):
    whole = content(tmp_path, format, "PCM_16")
    for size in sizes:
        lying = recording(patched(whole, name, size, kind, offset))
        np.testing.assert_array_equal(samples(lying), samples(recording(whole, "whole")))
        MelFilterBank().fit(lying)


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\0" + bytes(128)], ids=["bare", "ID3"])
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("quiet_first", [True, False])
def test_mp3_of_variable_bit_rate_without_a_count(
    tmp_path, recording, tag, rate, channels, quiet_first
):
    """The bit rate of the first frame would tell a fraction, or a multiple, of the length."""
    tone = 0.01 * np.sin(np.arange(5 * rate) / 10).astype(np.float32)
    given = np.r_[tone, noise(5 * rate)] if quiet_first else np.r_[noise(5 * rate), tone]
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.stack([given] * channels, axis=1), rate)
    content = path.read_bytes()
    X = recording(tag + content[content.index(content[:2], content.index(b"Xing")) :])
    decoded = read(as_recordings(X)[0], rate)
    assert len(given) <= len(decoded) < len(given) + 4 * 1152
    part = read(as_recordings(X.assign(start=7.0, end=8.0))[0], rate)
    np.testing.assert_allclose(part, decoded[7 * rate : 8 * rate], atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("promised", [1, 10, 0.5, -1])
def test_mp3_with_more_frames_than_its_count(tmp_path, recording, rate, promised):
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(3 * rate), rate)
    whole = path.read_bytes()
    (n,) = struct.unpack_from(">I", whole, whole.index(b"Xing") + 8)
    promised = {0.5: n // 2, -1: n - 1}.get(promised, promised)
    X = recording(patched(whole, b"Xing", promised, ">I", 8))
    with pytest.raises(RecordingError, match=rf"promises {promised} of the {n + 1} frames"):
        samples(X)
    with pytest.raises(RecordingError, match="row 0"):
        MelFilterBank().fit(X)
    if promised > n // 3:
        part = samples(X.assign(start=0.2, end=0.7))
        expected = samples(recording(whole, start=0.2, end=0.7))
        np.testing.assert_allclose(part, expected, atol=1e-6)


@pytest.mark.parametrize("quiet_first", [None, True, False])
def test_mp3_whose_encoder_did_not_come_back_to_its_count(tmp_path, recording, quiet_first):
    given = noise(5 * N)
    if quiet_first is not None:  # of variable bit rate
        tone = 0.01 * np.sin(np.arange(5 * N) / 10).astype(np.float32)
        given = np.r_[tone, given] if quiet_first else np.r_[given, tone]
    path = tmp_path / "a.mp3"
    soundfile.write(path, given, RATE)
    X = recording(patched(path.read_bytes(), b"Xing", 0, ">I", 8))
    decoded = samples(X)
    assert len(given) <= len(decoded) < len(given) + 4 * 1152
    part = samples(X.assign(start=3.0, end=4.0))
    np.testing.assert_allclose(part, decoded[3 * N : 4 * N], atol=1e-6)
    whole = path.read_bytes()
    assert len(samples(recording(whole))) == len(given)


def test_a_recorder_that_did_not_begin(tmp_path, recording):
    empty = content(tmp_path, "WAV", "PCM_16", n=0)
    for bytes_ in (empty, empty + b"LIST" + struct.pack("<I", 4) + b"INFO"):
        with pytest.raises(RecordingError, match="no samples"):
            MelFilterBank().fit(recording(bytes_))


@pytest.mark.parametrize("promised", [N // 2, 2 * N, 2**24])
@pytest.mark.parametrize("format", ["WAV", "AU", "AIFF", "W64", "FLAC"])
def test_a_wrong_number_of_samples(tmp_path, recording, format, promised):
    whole = content(tmp_path, format, "PCM_16")
    if format == "FLAC":
        lying = flac_of(whole, promised)
    else:
        name, kind, offset, more = {
            "WAV": (b"data", "<I", 4, 0),
            "AU": (b".snd", ">I", 8, 0),
            "AIFF": (b"SSND", ">I", 4, 8),
            "W64": (b"data\xf3\xac", "<Q", 16, 24),
        }[format]
        lying = patched(whole, name, 2 * promised + more, kind, offset)
    says = f"promises {promised} samples" if promised < N else f"{N} of {promised} samples"
    for call in (MelFilterBank().transform, samples):
        with pytest.raises(RecordingError, match=says):
            call(recording(lying))
    assert len(samples(recording(lying, start=0.1, end=0.3))) == 3200


def flac_of(whole, n):
    """FLAC that promises ``n`` samples; 0 leaves it open."""
    return (
        whole[:21]
        + bytes([whole[21] & 0xF0 | n >> 32])
        + struct.pack(">I", n & 0xFFFFFFFF)
        + whole[26:]
    )


def test_flac_of_unknown_length(tmp_path, recording):
    whole = content(tmp_path, "FLAC", n=5 * N)
    expected = samples(recording(whole))
    lying = flac_of(whole, 0)
    np.testing.assert_array_equal(samples(recording(lying)), expected)
    np.testing.assert_array_equal(samples(recording(lying, start=4.0)), expected[4 * N :])
    part = samples(recording(lying, start=1.0, end=2.0))
    np.testing.assert_array_equal(part, expected[N : 2 * N])
    assert len(MelFilterBank().fit_transform(recording(lying))[0]) == 498
    with pytest.raises(RecordingError, match=r"segment ends after .* 5\.000 s"):
        samples(recording(lying, start=4.0, end=6.0))
    with pytest.raises(RecordingError, match="cut off"):
        samples(recording(lying[: len(lying) // 2]))


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 130 * 4096, 2100 * 4096 + 7])
@pytest.mark.parametrize("rate", [16000, 12345, 44100, 96000])
def test_a_whole_flac_is_read_by_the_decoder_itself(tmp_path, monkeypatch, n, rate):
    """Not through Python, which other threads would wait for."""
    samples_of = np.random.default_rng(0).integers(-99, 99, n).astype(np.int16)
    path = str(tmp_path / "a.flac")
    soundfile.write(path, samples_of, rate)
    monkeypatch.setattr(headers.Corrected, "readinto", None)
    with io.open_audio(Recording(0, path)) as file:
        read = np.concatenate(list(file.blocks(0, None)))
    np.testing.assert_array_equal(read[:, 0] * 2.0**15, samples_of)


@pytest.mark.parametrize("seconds", [0.3, 5])
def test_two_flac_of_one_length_behind_one_another(tmp_path, recording, seconds):
    """The last frame of the second one ends where the first one promises."""
    whole = content(tmp_path, "FLAC", n=int(seconds * N))
    for twice in (2 * whole, whole + bytes(9) + whole + b"TAG" + bytes(125)):
        with pytest.raises(RecordingError, match="another file begins behind it, after"):
            samples(recording(twice))


def test_a_flac_that_ends_within_its_last_frame(tmp_path, recording):
    """Its header is there and says what the file promises."""
    whole = content(tmp_path, "FLAC", n=4 * 4096)
    assert flac.frame_end(whole[whole.rfind(b"\xff\xf8") :][:16], 4096) == 4 * 4096
    with pytest.raises(RecordingError, match=f"ends after {3 * 4096} of {4 * 4096} samples"):
        samples(recording(whole[: whole.rfind(b"\xff\xf8") + 500]))


def test_a_promise_beyond_all_memory_is_an_error(tmp_path, recording):
    whole = recording(flac_of(content(tmp_path, "FLAC"), 2**36 - 1))
    for X in (whole, whole.assign(end=2.0e6)):
        with pytest.raises(RecordingError, match=f"{N} of {2**36 - 1} samples"):
            MelFilterBank().transform(X)


@pytest.mark.parametrize("rate", [1, 90, 2**31 - 1])
def test_impossible_rates(tmp_path, recording, rate):
    X = recording(patched(content(tmp_path, "WAV", "PCM_16"), b"fmt ", rate, offset=12))
    with pytest.raises(RecordingError, match=f"row 0 .*rate is {rate} Hz"):
        MelFilterBank().fit(X)


# -- what lies behind the samples ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "GSM610"),
        ("AIFF", None),
        ("AU", None),
        ("CAF", None),
        ("W64", None),
        ("RF64", None),
        ("NIST", None),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("MP3", None),
    ],
)
def test_files_behind_one_another(tmp_path, recording, format, subtype):
    whole = content(tmp_path, format, subtype)
    X = recording(whole + content(tmp_path, format, subtype, n=12000))
    with pytest.raises(RecordingError, match=rf"row 0 .*another .* begins .*after {N} samples"):
        samples(X)
    mask, problems = check_recordings(X, return_problems=True)
    assert not mask[0] and "another" in problems[0]
    part = samples(X.assign(start=0.5, end=0.75))
    np.testing.assert_allclose(part, samples(recording(whole))[8000:12000], atol=1e-6)


@pytest.mark.parametrize("format", ["WAV", "AU", "W64", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(700)], ids=["tag", "zeros"])
def test_tags_and_zeros_do_no_harm(tmp_path, recording, format, tail):
    whole = content(tmp_path, format)
    np.testing.assert_array_equal(samples(recording(whole + tail)), samples(recording(whole, "b")))


@pytest.mark.parametrize("format", ["WAV", "AIFF", "CAF", "W64", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("length", [0, 300, 20000])
def test_tags_before_a_file_do_no_harm(tmp_path, recording, format, length):
    size = bytes(length >> shift & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\0\0" + size + bytes(length)
    whole = content(tmp_path, format, n=3 * N)
    expected = samples(recording(whole))
    for X in (recording(tag + whole, "a.mp3"), recording(tag + tag + whole)):
        np.testing.assert_allclose(samples(X), expected, atol=1e-5)
        part = samples(X.assign(start=1.0, end=2.0))
        np.testing.assert_allclose(part, expected[N : 2 * N], atol=1e-5)
    np.testing.assert_allclose(
        samples(recording(tag + whole + b"TAG" + bytes(125))), expected, atol=1e-5
    )
    with pytest.raises(RecordingError, match=r"row 0 \(.*b\.wav\): .*(cut off|holds)"):
        samples(recording(tag + whole[: len(whole) // 2], "b.wav"))


@pytest.mark.parametrize("size", [-1, -20, -(2**62)])
def test_chunks_of_negative_size(tmp_path, recording, size):
    whole = content(tmp_path, "CAF", "PCM_16")
    X = recording(whole + b"info" + struct.pack(">q", size) + bytes(40))
    np.testing.assert_array_equal(samples(X), samples(recording(whole, "b")))
    head = whole[:8]
    with pytest.raises(RecordingError, match="row 0"):
        samples(recording(head + b"desc" + struct.pack(">q", size) + whole[20:]))


@pytest.mark.parametrize("start", [b"-900000", b"-1     ", b"9999999"])
def test_sphere_whose_samples_begin_nowhere(tmp_path, recording, start):
    whole = content(tmp_path, "NIST", "PCM_16")
    X = recording(whole[:8] + start + whole[15:])
    assert not check_recordings(X)[0] or len(samples(X)) == N


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("speed", [1.0, 1.1])
def test_one_rule_for_what_is_too_short(rate, speed):
    """Headers, decoding and frames agree on files of about one frame."""
    for n in range(round(0.025 * rate * speed) - 3, round(0.025 * rate * speed) + 4):
        X = as_recordings([(rate, noise(n))])
        X = [replace(recording, speed=speed) for recording in X]
        usable = check_recordings(X)[0]
        assert usable == (not find_problems(X, RATE, 0.025))
        assert usable == (len(samples(X)) >= 400)
        if usable:
            assert len(MelFilterBank().fit_transform(X)[0]) == 1
        else:
            with pytest.raises(RecordingError, match="shorter than one frame"):
                MelFilterBank().fit(X)


def test_chunks_behind_the_samples_are_not_samples(tmp_path, recording):
    for format, chunk in (
        ("WAV", b"LIST" + struct.pack("<I", 1000) + bytes(range(250)) * 4),
        ("AIFF", b"ANNO" + struct.pack(">I", 1000) + bytes(range(250)) * 4),
    ):
        whole = content(tmp_path, format, "PCM_16")
        np.testing.assert_array_equal(
            samples(recording(whole + chunk)), samples(recording(whole, "b"))
        )


# -- codecs ----------------------------------------------------------------------------------------


def codecs():
    """All that soundfile can write, and open by its header."""
    for format in soundfile.available_formats():
        if format in ("RAW", "SD2"):  # have no header
            continue
        yield from ((format, subtype) for subtype in soundfile.available_subtypes(format))


@pytest.mark.parametrize(("format", "subtype"), list(codecs()))
def test_every_codec_is_read_and_cut(tmp_path, recording, format, subtype):
    try:
        whole = content(tmp_path, format, subtype)
    except soundfile.SoundFileError:
        pytest.skip("this build of libsndfile cannot write it")
    rate = soundfile.info(tmp_path / f"{format}.{format.lower()}").samplerate
    everything = read(as_recordings(recording(whole))[0], rate)
    assert N <= len(everything) <= N + 300
    first, last = round(0.1 * rate), round(0.3 * rate)
    part = read(as_recordings(recording(whole, start=0.1, end=0.3))[0], rate)
    np.testing.assert_allclose(part, everything[first:last], atol=1e-6)
    assert len(MelFilterBank().fit_transform(recording(whole))) == 1


def test_a_segment_of_gsm_is_one_of_the_whole(tmp_path, recording):
    whole = content(tmp_path, "WAV", "GSM610", n=4 * N)
    everything = samples(recording(whole))
    part = samples(recording(whole, start=1.0, end=2.0))
    np.testing.assert_array_equal(part, everything[N : 2 * N])
