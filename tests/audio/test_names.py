"""Names of files: bytes that are not UTF-8, names from other systems, and names that cannot be."""

import builtins
import os
import sys
import unicodedata

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.audio import RecordingError, check_recordings

RATE = 16000


def noise(n=RATE):
    return np.random.default_rng(0).normal(0, 0.1, n)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder of a few recordings, where names are bytes, which is also home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    soundfile.write(tmp_path / "plain.wav", noise(), RATE)
    return tmp_path


def table(path, **columns):
    """Table of one file: the strings of pandas are UTF-8, other names are objects."""
    return pd.DataFrame({"file": pd.Series([path], dtype=object)}).assign(**columns)


def copied(folder, name):
    """Path of a copy under a name, which may be bytes."""
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    try:
        with open(path, "wb") as file:
            file.write((folder / "plain.wav").read_bytes())
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return os.fsdecode(path)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
@pytest.mark.parametrize(
    "name", [b"f\xfcr.wav", b"\xe9\xe8/x.wav", b"\xff\xfe.flac", "日本語.wav".encode("sjis")]
)
def test_names_that_are_not_utf_8(folder, name, tmp_path):
    if b"/" in name:
        os.mkdir(os.path.join(os.fsencode(folder), name.split(b"/")[0]))
    path = copied(folder, name)
    expected = MelFilterBank().fit_transform([folder / "plain.wav"]).base
    for X in ([path], table(path, start=0.0)):
        assert check_recordings(X).all()
        for _ in range(2):
            frames = MelFilterBank(memory=tmp_path / "store").fit_transform(X)
            np.testing.assert_array_equal(frames.base, expected)
    os.remove(path)
    for call in (MelFilterBank().fit, MelFilterBank(memory=tmp_path / "store").transform):
        with pytest.raises(FileNotFoundError, match=r"row 0 .*\\udc\w\w.*no such file") as caught:
            call([path])
        str(caught.value).encode("utf-8")
    mask, problems = check_recordings([path, folder / "plain.wav"], return_problems=True)
    assert mask.tolist() == [False, True]
    problems[0].encode("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_messages_about_such_names_can_be_printed(folder, tmp_path):
    silent = copied(folder, b"st\xfcll.wav")
    soundfile.write(os.fsencode(silent), np.zeros(RATE), RATE, format="WAV")
    with pytest.warns(UserWarning, match=r"st\\udcfcll.wav") as caught:
        MelFilterBank(on_error="nan").fit_transform([silent, folder / "plain.wav"])
    str(caught[0].message).encode("utf-8")
    text = copied(folder, b"t\xe9xt.wav")
    with open(text, "wb") as file:
        file.write(b"no sound" * 100)
    with pytest.raises(RecordingError, match=r"cannot open as audio") as error:
        MelFilterBank().fit([text])
    str(error.value).encode("utf-8")
    with pytest.raises(ValueError, match="must hold seconds") as times:
        MelFilterBank().fit(table(text, start="soon"))
    str(times.value).encode("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_times_of_speech_in_such_files(folder):
    path = copied(folder, b"r\xfcf.wav")
    burst = np.where(np.arange(RATE) > RATE // 2, 1.0, 1e-3)
    soundfile.write(os.fsencode(path), noise() * burst, RATE, format="WAV")
    found = VoiceActivityDetector(method="energy").fit([path]).speech_segments([path])
    assert found["file"].tolist() == [path] * len(found) and len(found)


@pytest.mark.parametrize("suffix", ["", " ", "\n", "\r\n", "\t"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_from_tables_and_other_systems(folder, form, suffix):
    other = "NFD" if form == "NFC" else "NFC"
    copied(folder, unicodedata.normalize(form, "Zoë é.wav"))
    given = [
        str(folder / unicodedata.normalize(other, "Zoë é.wav")) + suffix,
        "~/" + unicodedata.normalize(other, "Zoë é.wav") + suffix,
        " ~/plain.wav" + suffix,
    ]
    frames = MelFilterBank(memory=folder / "store").fit_transform(given)
    for row in frames:
        np.testing.assert_array_equal(row, frames[0])
    assert check_recordings(given).all()


def test_a_name_that_exists_is_taken_as_it_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    os.mkdir("~")
    soundfile.write("~/plain.wav", noise(RATE // 2), RATE)
    assert MelFilterBank().fit_transform(["~/plain.wav"]).lengths.tolist() == [48]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a\0b.wav", "cannot be opened: embedded null"),
        ("x" * 5000 + ".wav", "cannot be opened: File name too long"),
        ("\ud800.wav", "cannot be opened: .*surrogates not allowed"),
        ("plain.wav/inside.wav", "cannot be opened: Not a directory"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="what is said is the system's")
def test_names_that_cannot_be(folder, name, says, tmp_path):
    X = [folder / "plain.wav", str(folder / name)]
    for bank in (MelFilterBank(), MelFilterBank(memory=tmp_path / "store")):
        with pytest.raises(RecordingError, match=f"(?s)row 1 .*{says}") as caught:
            bank.fit_transform(X)
        str(caught.value).encode("utf-8")
        with pytest.warns(UserWarning, match="(?s)1 of 2 .*row 1"):
            frames = bank.set_params(on_error="nan").fit_transform(X)
        assert frames.lengths.tolist() == [98, 1]
    assert check_recordings(X).tolist() == [True, False]


def test_permission_has_its_own_words(folder, monkeypatch):
    path, original = str(folder / "plain.wav"), builtins.open

    def refusing(file, *arguments, **options):
        if file == path:
            raise PermissionError(13, "Permission denied", file)
        return original(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    with pytest.raises(RecordingError, match=r"row 0 .*not permitted\. Change the permissions"):
        MelFilterBank().fit([path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.wav")
    with pytest.raises(RecordingError, match=r"row 0 .*pipe\.wav.*not a file"):
        MelFilterBank().fit([folder / "pipe.wav"])
