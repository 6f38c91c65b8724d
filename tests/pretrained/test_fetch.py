"""Downloads against a server on this machine: complete and verified, or nothing."""

import errno
import hashlib
import os
import stat

import pooch
import pytest

from sklearn_speechsent.pretrained import (
    fetch_weights,
    get_weights,
    has_weights,
    load_weights,
    weights_path,
)
from sklearn_speechsent.utils import resuming

REAL = "wespeaker-voxceleb-resnet34"


def left_over(home):
    """Names of all files below the data home."""
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_a_download_is_complete_and_readable_by_others(server, served, home):
    umask = os.umask(0o022)
    try:
        path = fetch_weights(served.name)
    finally:
        os.umask(umask)
    assert path == weights_path(served) and path.read_bytes() == server.content
    assert left_over(home) == ["test-weights.onnx"] and server.ranges() == [None]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_that_is_there_is_only_verified(server, served, home):
    path = fetch_weights(served.name)
    assert fetch_weights(served.name) == path and len(server.requests) == 1
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"expected {served.sha256}.*Delete it and call fetch"):
        fetch_weights(served.name)
    assert path.read_bytes() == b"something else" and len(server.requests) == 1


def test_a_wrong_file_is_removed(server, served, home):
    server.content = server.content[::-1]
    with pytest.raises(ValueError, match="another file than expected") as caught:
        fetch_weights(served.name)
    assert hashlib.sha256(server.content).hexdigest() in str(caught.value)
    assert served.sha256 in str(caught.value) and not has_weights(served.name)
    assert left_over(home) == [] and server.ranges() == [None]


def test_a_cut_connection_is_resumed(server, served, home):
    server.fault = "cut once"
    assert fetch_weights(served.name).read_bytes() == server.content
    assert server.ranges() == [None, "bytes=50000-"]
    assert left_over(home) == ["test-weights.onnx"]


def test_a_later_call_resumes_where_the_first_failed(server, served, home):
    server.fault = "always cut"
    with pytest.raises(ConnectionError, match=r"arrived is in .*test-weights\.onnx\.part"):
        fetch_weights(served.name)
    assert left_over(home) == ["test-weights.onnx.part"] and not has_weights(served.name)
    assert len(server.requests) == resuming.ATTEMPTS
    part = weights_path(served).with_name("test-weights.onnx.part")
    size = part.stat().st_size
    assert size == 93750  # half of the rest, four times
    server.requests.clear()
    server.fault = None
    assert fetch_weights(served.name).read_bytes() == server.content
    assert server.ranges() == [f"bytes={size}-"] and left_over(home) == ["test-weights.onnx"]


@pytest.mark.parametrize("fault", ["no ranges", "another range", "no length"])
def test_servers_without_ranges(server, served, home, fault):
    part = weights_path(served).with_name("test-weights.onnx.part")
    part.parent.mkdir()
    part.write_bytes(server.content[:60_000])
    server.fault = fault
    assert fetch_weights(served.name).read_bytes() == server.content
    ranges = {"another range": ["bytes=60000-", None]}.get(fault, ["bytes=60000-"])
    assert server.ranges() == ranges and left_over(home) == ["test-weights.onnx"]


@pytest.mark.parametrize(
    ("fault", "size", "ranges"),
    [
        (None, 100_000, ["bytes=100000-"]),
        (None, 100_001, ["bytes=100001-", None]),
        ("mute 416", 100_000, ["bytes=100000-", None]),
    ],
)
def test_parts_that_are_complete_or_too_long(server, served, home, fault, size, ranges):
    part = weights_path(served).with_name("test-weights.onnx.part")
    part.parent.mkdir()
    part.write_bytes((server.content + b"!")[:size])
    server.fault = fault
    assert fetch_weights(served.name).read_bytes() == server.content
    assert server.ranges() == ranges and left_over(home) == ["test-weights.onnx"]


def test_a_part_of_another_file_is_downloaded_again(server, served, home):
    part = weights_path(served).with_name("test-weights.onnx.part")
    part.parent.mkdir()
    part.write_bytes(b"?" * 60_000)
    assert fetch_weights(served.name).read_bytes() == server.content
    assert server.ranges() == ["bytes=60000-", None] and left_over(home) == ["test-weights.onnx"]
    weights_path(served).unlink()
    part.write_bytes(b"?" * 60_000)
    server.content = server.content[::-1]
    with pytest.raises(ValueError, match="another file than expected"):
        fetch_weights(served.name)
    assert left_over(home) == []


def test_a_stated_length_that_is_too_long(server, served, home):
    server.fault = "too long"
    assert fetch_weights(served.name).read_bytes() == server.content
    assert server.ranges() == [None, "bytes=100000-"]


def test_a_stated_length_that_is_too_short(server, served, home):
    server.fault = "too short"
    with pytest.raises(ValueError, match="another file than expected"):
        fetch_weights(served.name)
    assert left_over(home) == [] and len(server.requests) == 1


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (500, 4), (204, 1)])
def test_the_next_address_is_tried(server, served, register, home, status, attempts):
    urls = (server.url(f"/{status}"), server.url("/good"))
    entry = register(sha256=served.sha256, urls=urls)
    path = fetch_weights(entry.name)
    assert path.read_bytes() == server.content and left_over(home) == ["test-weights.onnx"]
    paths = [path for path, _ in server.requests]
    assert paths == [f"/{status}"] * attempts + ["/good"]


def test_the_next_address_is_tried_after_a_wrong_file(server, served, register, home):
    entry = register(sha256=served.sha256, urls=(server.url("/204"), server.url("/404")))
    with pytest.raises(ValueError, match=r"(?s)/204.*/404"):
        fetch_weights(entry.name)
    assert left_over(home) == []


def test_offline_says_what_to_do(server, served, register, home):
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match="is this machine online") as caught:
        fetch_weights(served.name)
    message = str(caught.value)
    for part in (weights_path(served), served.sha256, "CC BY 4.0", "an author", server.url()):
        assert str(part) in message
    assert "has arrived" not in message and left_over(home) == []


@pytest.mark.parametrize("failing", ["mkdir", "part"])
def test_folders_that_cannot_be_written_to(served, home, monkeypatch, failing):
    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(home / "models"))

    if failing == "mkdir":
        monkeypatch.setattr("pathlib.Path.mkdir", denied)
    else:
        monkeypatch.setattr(pooch, "retrieve", denied)
    with pytest.raises(
        PermissionError, match="Make the folder writable, or put the file"
    ) as caught:
        fetch_weights(served.name)
    assert str(weights_path(served)) in str(caught.value) and left_over(home) == []


def test_a_full_disk_is_not_a_network_problem(served, home, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(resuming.ResumingDownloader, "_append", full)
    with pytest.raises(OSError, match=r"cannot be written to .*No space left"):
        fetch_weights(served.name)
    assert left_over(home) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_read_only_data_home(served, home):
    home.chmod(0o500)
    with pytest.raises(PermissionError, match="Make the folder writable"):
        fetch_weights(served.name)
    home.chmod(0o700)


def test_without_a_checksum_nothing_is_downloaded(server, served, register, home):
    entry = register(sha256=None, urls=(server.url(),))
    with pytest.raises(ValueError, match=r"No checksum is known.*sha256=\.\.\."):
        fetch_weights(entry.name)
    assert server.requests == []
    path = fetch_weights(entry.name, sha256="SHA256:" + served.sha256.upper())
    assert path.read_bytes() == server.content
    assert fetch_weights(entry.name) == path and len(server.requests) == 1
    with pytest.raises(ValueError, match="expected 00000"):
        fetch_weights(entry.name, sha256="0" * 64)


@pytest.mark.parametrize(
    ("sha256", "says"),
    [("abc", "64 hexadecimal digits, got 'abc'"), ("0" * 64, "Leave sha256 out")],
)
def test_checksums_that_are_malformed_or_contradict(served, home, sha256, says):
    with pytest.raises(ValueError, match=says):
        fetch_weights(served.name, sha256=sha256)


def test_without_an_address_the_message_says_where_to_put_the_file(register, home):
    entry = register(sha256="0" * 64)
    with pytest.raises(FileNotFoundError, match=f"No public address.*{'0' * 64}"):
        fetch_weights(entry.name)
    with pytest.raises(FileNotFoundError, match="Put the file with sha256 000") as caught:
        load_weights(entry.name)
    assert "fetch_weights" not in str(caught.value)


def test_loading_never_downloads(server, served, home):
    with pytest.raises(FileNotFoundError, match=r"fetch_weights\('test-weights'\)"):
        load_weights(served.name)
    assert server.requests == []


def test_progress_goes_to_the_error_stream(served, home, capsys):
    fetch_weights(served.name, progress=True)
    captured = capsys.readouterr()
    assert "test-weights.onnx" in captured.err and captured.out == ""


@pytest.mark.data
def test_the_file_of_the_data_home_is_the_registered_one(data_home):
    assert fetch_weights(REAL) == weights_path(get_weights(REAL))
