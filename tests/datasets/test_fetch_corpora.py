"""Downloads of corpora from a server on this machine: complete and verified, or nothing."""

import errno
import hashlib
import io
import os
import re
import stat
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from faulty_server import serving

from sklearn_speechsent.datasets import (
    _archives,
    emodb,
    fetch_emodb,
    fetch_ravdess,
    load_emodb,
    load_ravdess,
    ravdess,
)

ZIP = "Audio_Speech_Actors_01-24.zip"


def sound(seed):
    """30 ms of noise as the bytes of a WAV file."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, 480)
    soundfile.write(file, noise, 16000, format="WAV")
    return file.getvalue()


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def few(emotion="03"):
    """Two recordings of RAVDESS in the folders of the official archive, and one to ignore."""
    stems = [f"03-01-{emotion}-01-01-0{repetition}-01" for repetition in (1, 2)]
    members = {f"Actor_01/{stem}.wav": sound(seed) for seed, stem in enumerate(stems)}
    return members | {"Actor_01/03-01-08-01-01-01-01.wav": sound(9)}


def of(content, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data home, so far without its folder."""
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(monkeypatch):
    """Holds a RAVDESS of two recordings."""
    with serving(zipped(few()), monkeypatch) as server:
        small = replace(
            ravdess.ARCHIVE,
            urls=(server.url("/ravdess"),),
            n_files=2,
            checksum=of(server.content, "md5"),
            size=len(server.content),
        )
        monkeypatch.setattr(ravdess, "ARCHIVE", small)
        yield server


def left_over(home):
    """Everything in the data home but recordings, hidden or not."""
    return sorted(path.name for path in home.rglob("*") if path.suffix != ".wav")


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_what_is_fetched_can_be_loaded(server, home, algorithm):
    umask = os.umask(0o022)
    try:
        folder = fetch_ravdess(checksum=of(server.content, algorithm).upper())
    finally:
        os.umask(umask)
    assert folder == home / "ravdess" and left_over(home) == ["Actor_01", "ravdess"]
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    with warnings.catch_warnings(action="error"):
        corpus = load_ravdess()
    assert corpus.target.tolist() == [1, 1] and corpus.report.empty
    assert len(list(folder.rglob("*"))) == 4


def test_a_corpus_that_is_there_is_left_alone(server, home):
    folder = fetch_ravdess(checksum=of(server.content))
    assert fetch_ravdess() == folder
    next(folder.rglob("*-02-01.wav")).unlink()
    (folder / "notes.txt").touch()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(FileExistsError, match=r"1 of the 2 recordings.*Move it away"):
        fetch_ravdess(checksum=of(server.content))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert len(server.requests) == 1 and left_over(home) == ["Actor_01", "notes.txt", "ravdess"]


def test_an_empty_folder_is_not_a_corpus(server, home):
    (home / "ravdess").mkdir(parents=True)
    assert len(list(fetch_ravdess(checksum=of(server.content)).rglob("*.wav"))) == 3


def test_the_archive_stays_if_asked_for_and_is_used_if_there(server, home):
    path = home / ZIP
    folder = fetch_ravdess(checksum=of(server.content), keep_archive=True)
    assert path.read_bytes() == server.content
    folder.rename(home / "away")
    fetch_ravdess(checksum=of(server.content))
    assert len(server.requests) == 1 and path.exists() and folder.is_dir()  # it was there before
    folder.rename(home / "away too")
    path.write_bytes(b"another file")
    with pytest.raises(ValueError, match=r"\(12 bytes\) has md5:.*expected md5:.*Delete it"):
        fetch_ravdess(checksum=of(server.content, "md5"))
    assert path.read_bytes() == b"another file" and not folder.exists()


def test_what_the_loader_says_works(server, home):
    with pytest.raises(FileNotFoundError, match=r"Call sklearn_speechsent\.datasets\.fetch_rav"):
        load_ravdess()
    assert fetch_ravdess() == home / "ravdess"
    assert load_ravdess().target.tolist() == [1, 1]


def test_what_the_loader_says_of_a_corpus_without_a_checksum(server, home, monkeypatch):
    server.content = zipped({"wav/03a01Fa.wav": sound(0)})
    small = replace(emodb.ARCHIVE, urls=(server.url("/emodb"),), n_files=1)
    monkeypatch.setattr(emodb, "ARCHIVE", small)
    with pytest.raises(FileNotFoundError, match=r"fetch_emodb\(checksum='md5:\.\.\.'\)"):
        load_emodb()
    with pytest.raises(ValueError, match=r"No checksum is known.*site states none") as caught:
        fetch_emodb()
    for needed in ["emodb.zip", "checksum='md5:", "free for research", str(home)]:
        assert needed in str(caught.value)
    assert server.requests == [] and not home.exists()
    fetch_emodb(checksum=of(server.content, "md5"))
    assert load_emodb().target.tolist() == [1]


def test_the_official_archive_is_pinned():
    assert ravdess.ARCHIVE.checksum == "md5:bc696df654c87fed845eb13823edef8a"
    assert ravdess.ARCHIVE.size == 208_468_073
    assert ravdess.ARCHIVE.urls[0].startswith("https://zenodo.org/records/1188976/files/" + ZIP)


def test_a_file_of_unknown_length_is_not_read_to_its_end(server, home):
    server.fault = "no length"
    assert fetch_ravdess() == home / "ravdess"
    (home / "ravdess").rename(home / "away")
    expected = len(server.content)
    server.content += bytes(10**6)
    with pytest.raises(ValueError, match=f"has more than {expected} bytes, which were expected"):
        fetch_ravdess()
    assert not list(home.glob("*.part"))


def test_another_size_is_refused_before_it_fills_the_disk(server, home):
    home.mkdir()
    (home / (ZIP + ".part")).write_bytes(b"of an earlier call")
    expected = len(server.content)
    server.content += bytes(10**6)
    with pytest.raises(ValueError, match=f"has {len(server.content)} bytes, expected {expected}"):
        fetch_ravdess()
    assert left_over(home) == []


def test_a_damaged_download_of_the_right_size_is_removed(server, home):
    server.content = server.content[:-1] + b"x"
    with pytest.raises(ValueError, match="removed, since it is another file"):
        fetch_ravdess()
    assert left_over(home) == []


def test_no_room_is_said_before_the_download(server, home, monkeypatch):
    class Full:
        free = len(server.content)  # a copy is needed too

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Full)
    with pytest.raises(OSError, match=r"MB are free\. Make room on the disk, or name another"):
        fetch_ravdess()
    assert server.requests == [] and not home.exists()


def test_no_room_is_said_before_unpacking(server, home, monkeypatch):
    home.mkdir()
    (home / ZIP).write_bytes(server.content)

    class Full:
        free = 100

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Full)
    with pytest.raises(OSError, match=r"MB are free\. Make room on the disk, or unpack"):
        fetch_ravdess()
    assert left_over(home) == [ZIP] and not list(home.rglob("*.wav"))


@pytest.mark.parametrize("checksum", ["0" * 64, "sha1:" + "0" * 40, "md5:" + "0" * 64, "md5:xyz"])
def test_checksums_that_cannot_be_right(server, home, checksum):
    with pytest.raises(ValueError, match=f"64 hexadecimal digits.*{checksum}"):
        fetch_ravdess(checksum=checksum)
    assert server.requests == []


def test_a_wrong_archive_is_removed(server, home):
    with pytest.raises(ValueError, match="removed, since it is another file") as caught:
        fetch_ravdess(checksum="md5:" + "0" * 32)
    assert str(home / ZIP) in str(caught.value) and left_over(home) == []


def test_a_cut_connection_is_resumed(server, home):
    server.fault = "cut once"
    fetch_ravdess(checksum=of(server.content))
    assert server.ranges() == [None, f"bytes={len(server.content) // 2}-"]
    assert left_over(home) == ["Actor_01", "ravdess"]


def test_a_later_call_resumes_where_the_connection_failed(server, home):
    server.fault = "always cut"
    with pytest.raises(ConnectionError, match=r"arrived is in .*24\.zip\.part") as caught:
        fetch_ravdess(checksum=of(server.content))
    for needed in [of(server.content), str(home / ZIP), "Actor_01", "CC BY-NC-SA 4.0"]:
        assert needed in str(caught.value)
    assert left_over(home) == [ZIP + ".part"]
    server.requests.clear()
    server.fault = None
    fetch_ravdess(checksum=of(server.content))
    assert server.ranges()[0].startswith("bytes=") and left_over(home) == ["Actor_01", "ravdess"]


@pytest.mark.parametrize(
    "name", ["../evil.wav", "Actor_01/../../evil.wav", "/evil.wav", "C:/evil.wav", "..\\evil.wav"]
)
def test_members_that_would_lie_outside_are_refused(server, home, tmp_path, name):
    server.content = zipped(few() | {name: b"evil"})
    with pytest.raises(ValueError, match=f"holds {re.escape(repr(name))}.*outside its folder"):
        fetch_ravdess(checksum=of(server.content))
    assert left_over(home) == [ZIP] and not list(tmp_path.rglob("evil*"))
    assert not list(home.rglob("*.wav"))


@pytest.mark.parametrize("content", [b"no zip file", zipped({"Songs/a.wav": b""})])
def test_archives_of_something_else(server, home, content):
    server.content = content
    with pytest.raises(ValueError, match=r"not an intact zip file|not hold a folder Actor_01"):
        fetch_ravdess(checksum=of(content))
    assert left_over(home) == [ZIP]


def test_damaged_members_are_not_a_corpus(server, home):
    content = bytearray(server.content)
    content[content.index(b"data") + 100] ^= 1  # a sample of the first recording
    server.content = bytes(content)
    with pytest.raises(ValueError, match=r"not an intact zip file .*CRC"):
        fetch_ravdess(checksum=of(server.content))
    assert left_over(home) == [ZIP]


def test_a_full_disk_leaves_nothing_half_unpacked(server, home, monkeypatch):
    copy, copied = _archives.zipfile.shutil.copyfileobj, []

    def full(source, target, *args):
        if copied:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(target.name)
        copy(source, target, *args)

    with monkeypatch.context() as patch:
        patch.setattr(_archives.zipfile.shutil, "copyfileobj", full)
        with pytest.raises(OSError, match=r"No space left.*Make room on the disk, or unpack"):
            fetch_ravdess(checksum=of(server.content))
    assert copied[0].endswith("03-01-03-01-01-01-01.wav") and left_over(home) == [ZIP]
    assert not list(home.rglob("*.wav"))
    fetch_ravdess(checksum=of(server.content))
    assert len(server.requests) == 1 and left_over(home) == ["Actor_01", ZIP, "ravdess"]


def test_a_disk_that_fills_up_while_downloading(server, home, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copy", full)  # of the part to the file that is verified
    with pytest.raises(OSError, match=r"Make room on the disk.*has arrived is in .*\.part"):
        fetch_ravdess(checksum=of(server.content))
    assert left_over(home) == [ZIP + ".part"]


def test_a_data_home_that_cannot_be_written_to(server, home, monkeypatch):
    home.mkdir()
    (home / ZIP).write_bytes(server.content)

    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(home))

    monkeypatch.setattr("tempfile.mkdtemp", denied)
    with pytest.raises(PermissionError, match="Make the folder writable, or unpack"):
        fetch_ravdess(checksum=of(server.content))


def test_emodb_has_other_folders_next_to_its_recordings(server, home, monkeypatch):
    members = {"wav/03a01Fa.wav": sound(0), "labsilb/03a01Fa.labsilb": b"", "erklaerung.txt": b""}
    server.content = zipped({f"emodb/{name}": content for name, content in members.items()})
    small = replace(emodb.ARCHIVE, urls=(server.url("/404"), server.url("/emodb")), n_files=1)
    monkeypatch.setattr(emodb, "ARCHIVE", small)
    folder = fetch_emodb(data_home=home / "elsewhere", checksum=of(server.content))
    assert folder == home / "elsewhere" / "emodb" and (folder / "erklaerung.txt").is_file()
    assert [path for path, _ in server.requests] == ["/404", "/emodb"]
    corpus = load_emodb(data_home=home / "elsewhere")
    assert corpus.target.tolist() == [1] and corpus.data[0] == str(folder / "wav" / "03a01Fa.wav")


def test_progress_goes_to_the_error_stream(server, home, capsys):
    fetch_ravdess(checksum=of(server.content), progress=True)
    captured = capsys.readouterr()
    assert ZIP in captured.err and captured.out == ""
