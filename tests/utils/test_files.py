"""Files: written completely or not at all, locked, and told apart by version and checksum."""

import errno
import os
import threading
from pathlib import Path

import pytest

from sklearn_speechsent.utils import files
from sklearn_speechsent.utils.files import (
    ProcessLock,
    atomic_write,
    create_locked,
    file_sha256,
    file_version,
    get_data_home,
    is_locked,
    remove_abandoned,
    remove_parts,
)

needs_locks = pytest.mark.skipif(files.fcntl is None, reason="this system has no locks")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def no_space(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*args):
    raise KeyboardInterrupt


# --- atomic writes


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "[a]*.txt"
    atomic_write(path, b"old")
    atomic_write(path, b"new, ", memoryview(b"in parts"), b"")
    assert path.read_bytes() == b"new, in parts" and names(tmp_path) == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [no_space, interrupt])
@pytest.mark.parametrize("there", [True, False])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, step, failure, there):
    path = tmp_path / "a.txt"
    if there:
        path.write_bytes(b"old")
    monkeypatch.setattr(os, step, failure)
    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        atomic_write(path, b"new")
    assert caught.type is KeyboardInterrupt or caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == (["a.txt"] if there else [])
    assert not there or path.read_bytes() == b"old"


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: steps.append("fsync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: steps.append(paths) or replace(*paths))
    atomic_write(tmp_path / "a.txt", b"new")
    first, (part, path) = steps
    assert first == "fsync" and path == tmp_path / "a.txt"
    assert part.parent == tmp_path and part.suffix == files.PART


@needs_locks
def test_a_file_that_is_being_written_is_not_abandoned(tmp_path, monkeypatch):
    replace = os.replace

    def look(part, path):
        assert is_locked(part)
        remove_abandoned(tmp_path, files.PART)
        replace(part, path)

    (tmp_path / ".b.txt.0.part").write_bytes(b"of an interrupted process")
    monkeypatch.setattr(os, "replace", look)
    atomic_write(tmp_path / "a.txt", b"new")
    assert names(tmp_path) == ["a.txt"]


def test_parts_of_one_file_are_removed(tmp_path):
    for name in (".[a]?.txt.0.part", ".b.txt.0.part", "[a]?.txt", ".ax.txt.0.part"):
        (tmp_path / name).touch()
    remove_parts(tmp_path / "[a]?.txt")
    assert names(tmp_path) == [".ax.txt.0.part", ".b.txt.0.part", "[a]?.txt"]


# --- locks: those of threads and folders are tested with the store


def in_a_child(function):
    """Exit status of a function in a forked child; its file descriptors are those of the parent."""
    child = os.fork()
    if child == 0:
        os._exit(int(bool(function())))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_locks
def test_a_path_is_locked_for_threads_and_processes(tmp_path):
    path = tmp_path / "a.lock"
    lock = ProcessLock.acquire(path)
    assert lock is not None and path.exists()
    assert ProcessLock.acquire(path) is None
    found = []
    thread = threading.Thread(target=lambda: found.append(ProcessLock.acquire(path)))
    thread.start()
    thread.join()
    assert found == [None]

    def acquires():
        ProcessLock._held.clear()  # as in a process that has nothing to do with this one
        return ProcessLock.acquire(path)

    assert in_a_child(acquires) == 0
    lock.release()
    assert names(tmp_path) == []
    assert in_a_child(acquires) == 1
    again = ProcessLock.acquire(path)  # the child has gone, and its lock with it
    assert again is not None
    again.release()


@needs_locks
@pytest.mark.parametrize("kind", ["process", "open file"])
def test_children_that_outlive_their_parent_hold_no_lock_of_a_process(tmp_path, kind):
    """The difference between the two kinds of locks, and the reason for the second one."""
    path = tmp_path / "a.lock"
    alive, ended = os.pipe(), os.pipe()

    def parent():
        if kind == "process":
            lock = ProcessLock.acquire(path)
        else:
            _, lock = create_locked(tmp_path, lambda: path.name)
        if os.fork() == 0:  # such as a worker of a DataLoader
            os.write(alive[1], b"x")
            os.close(ended[1])
            os.read(ended[0], 1)
            os._exit(0)
        os.read(alive[0], 1)
        return lock

    assert in_a_child(parent) == 1
    assert is_locked(path) == (kind == "open file")
    lock = ProcessLock.acquire(path)
    assert lock is not None  # locks of the two kinds do not see each other
    lock.release()
    os.close(ended[1])
    for descriptor in (*alive, ended[0]):
        os.close(descriptor)


def test_a_lock_that_cannot_be_made_is_not_held(tmp_path):
    path = tmp_path / "folder" / "a.lock"
    with pytest.raises(FileNotFoundError):
        ProcessLock.acquire(path)
    path.parent.mkdir()
    lock = ProcessLock.acquire(path)
    assert lock is not None
    lock.release()


def test_without_locks_a_path_is_locked_within_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    lock = ProcessLock.acquire(tmp_path / "a.lock")
    assert lock is not None and ProcessLock.acquire(tmp_path / "a.lock") is None
    lock.release()
    assert names(tmp_path) == []


# --- versions and checksums


def test_another_content_is_another_version(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    version, sha256 = file_version(path), file_sha256(path)
    assert version == file_version(path) and version.size == 3
    assert sha256.startswith("ba7816bf")
    assert file_sha256(path, sha256) == sha256
    path.write_bytes(b"abd")
    os.utime(path, (1, 1))  # the clock may be too coarse to tell the two apart
    assert file_version(path) != version and file_sha256(path) != sha256
    says = r"a\.txt \(3 bytes\) has sha256 a52d159f.*expected ba7816bf.*another one\. Delete it\."
    with pytest.raises(ValueError, match=says):
        file_sha256(path, sha256, "Delete it.")


def test_data_home_follows_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path / "there"))
    assert get_data_home() == tmp_path / "there"
    assert not (tmp_path / "there").exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", None):
        monkeypatch.setenv("SPEECHSENT_DATA", value or "")
        if value is None:
            monkeypatch.delenv("SPEECHSENT_DATA")
        assert get_data_home() == tmp_path / "speechsent_data"
    monkeypatch.setenv("SPEECHSENT_DATA", "~/speech")
    assert get_data_home() == tmp_path / "speech"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEECHSENT_DATA", "nearby")
    assert get_data_home() == Path(tmp_path, "nearby")
