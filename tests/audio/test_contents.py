"""Contents of files as rows: bytes and open files."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import FeatureStore, MelFilterBank
from sklearn_speechsent.audio import RecordingError, as_recordings, check_recordings, read
from sklearn_speechsent.frames.validation import holds_recordings
from sklearn_speechsent.store.rows import recording_keys

RATE = 16000


def noise(n=RATE, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(), RATE)
    return path


class Upload:
    """Object of a web framework: read, but no position."""

    def __init__(self, content):
        self.content = content

    def seekable(self):
        return False

    def read(self):
        return self.content


def rows(path):
    """One row of each kind, of the same content."""
    content = path.read_bytes()
    written = io.BytesIO()
    written.write(content)  # its position is the end
    return {
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "BytesIO": io.BytesIO(content),
        "written": written,
        "open file": open(path, "rb"),
        "upload": Upload(content),
    }


@pytest.fixture
def contents(path):
    contents = rows(path)
    yield contents
    contents["open file"].close()


@pytest.mark.parametrize(
    "kind", ["bytes", "bytearray", "memoryview", "BytesIO", "written", "open file", "upload"]
)
def test_contents_are_read_like_the_file(path, contents, kind):
    X = [contents[kind], path]
    frames = MelFilterBank().fit(X).transform(X)
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(MelFilterBank().fit_transform(X)[0], frames[1])
    assert check_recordings(X).all()
    assert holds_recordings(X) and holds_recordings([contents[kind]])
    table = pd.DataFrame(
        {"file": pd.Series([contents[kind]], dtype=object), "start": 0.25, "end": 0.5}
    )
    np.testing.assert_array_equal(
        read(as_recordings(table)[0], RATE), read(as_recordings([path])[0], RATE)[4000:8000]
    )


def test_keys_go_by_content(path, contents, tmp_path, decoded):
    recordings = as_recordings([path, *contents.values(), path.read_bytes() + bytes(9)])
    keys = recording_keys(recordings, FeatureStore(tmp_path / "store"), None)
    assert len({key.tobytes() for key in keys[:-1]}) == 1 and (keys[-1] != keys[0]).any()
    bank = MelFilterBank(memory=tmp_path / "store")
    bank.fit_transform([path, *contents.values()])
    assert len(decoded) == 1


def test_rows_are_named_and_can_be_sent_to_other_processes(path, contents):
    recordings = as_recordings(list(contents.values()))
    assert pickle.loads(pickle.dumps(recordings)) == recordings
    assert str(recordings[2]) == "row 2 (bytes)"
    with pytest.raises(RecordingError, match=r"row 1 \(bytes\): .*mislabelled"):
        MelFilterBank().fit([path, b"\0rubbish" * 900])
    with pytest.raises(RecordingError, match=r"row 1 \(bytes\): the file is empty"):
        MelFilterBank().fit([path, b""])
    cut = path.read_bytes()[:9000]
    with pytest.raises(RecordingError, match=rf"row 1 \(bytes\): it ends after .* of {RATE}"):
        MelFilterBank().transform([path, io.BytesIO(cut)])
    with pytest.warns(UserWarning, match=r"row 1 \(bytes\)"):
        frames = MelFilterBank(on_error="nan").transform([path, cut])
    assert frames.lengths.tolist() == [98, 1]


@pytest.mark.parametrize("name", [b"/tmp/a.wav", b"a.wav", "f\xfcr.wav".encode("latin-1"), b"~/x"])
def test_a_name_as_bytes_is_an_error_that_says_how(path, name):
    for X in ([path, name], [path, bytearray(name)], [path, os.fsencode(name)]):
        with pytest.raises(
            TypeError, match=r"Row 1 of X is bytes that name .*os\.fsdecode\(name\)"
        ):
            MelFilterBank().fit(X)
    with pytest.raises(TypeError, match=r"Row 0 of X .*os\.fsdecode"):
        MelFilterBank().fit(np.array([name]))


@pytest.mark.parametrize("cut", [b"OggS", b"fLaC", b"RIFF", b".snd", b"MATLAB 5.0 MAT-file, wr"])
def test_content_that_is_cut_off_behind_its_first_words_has_its_own_error(path, cut):
    mask, problems = check_recordings([path, cut], return_problems=True)
    assert mask.tolist() == [True, False] and "row 1 (bytes): cannot open" in problems[1]


def test_files_that_do_not_give_bytes(path, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("no sound")
    with open(text) as file, pytest.raises(TypeError, match=r'Row 1 of X: .*str, not bytes.*"rb"'):
        MelFilterBank().fit([path, file])
    closed = open(path, "rb")
    closed.close()
    with pytest.raises(RecordingError, match=r"row 1 \(bytes\): it cannot be read: .*closed"):
        MelFilterBank().fit([path, closed])
    with pytest.raises(TypeError, match=r"must be a list of recordings, .*pass \[file\]"):
        MelFilterBank().fit(io.BytesIO(path.read_bytes()))


def test_seeds_of_noise_differ_between_contents(path):
    one, other = as_recordings([path.read_bytes(), path.read_bytes()[:-1]])
    assert one.perturbed(snr_db=5.0).seed != other.perturbed(snr_db=5.0).seed
    assert one.perturbed(snr_db=5.0).seed == one.perturbed(snr_db=5.0, speed=1.1).seed


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_every_container_as_bytes(tmp_path, suffix):
    path = Path(tmp_path, f"a.{suffix}")
    soundfile.write(path, noise(3 * RATE), RATE)
    X = [path.read_bytes(), path]
    frames = MelFilterBank().fit_transform(X)
    np.testing.assert_array_equal(frames[0], frames[1])
