"""Disks that are full, and folders that cannot be written to."""

import errno
import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from store_corpus import (
    a_step_cache,
    assert_same_frames,
    assert_stored,
    made_of,
    put,
    short_recordings,
    strays,
)

from sklearn_speechsent import FeatureStore, MelFilterBank, SlidingCMN
from sklearn_speechsent.store import StoreError, leases, shard
from sklearn_speechsent.utils import files

NAMES = list(range(40))


def mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True, text=True)


@pytest.fixture
def small_disk(tmp_path):
    """File system of 160 KiB."""
    if getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("only root may mount a small disk; a simulated one is tested, too")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = mount("-t", "tmpfs", "-o", "size=160k,nr_inodes=200", "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def recordings(tmp_path):
    return short_recordings(tmp_path / "recordings", 30)


def assert_full(error, folder):
    assert error.errno == errno.ENOSPC
    message = str(error)
    for part in (folder, "No space left", "was stored before is complete", "resumes from there"):
        assert str(part) in message
    for remedy in ("float16", "reduce_size", "memory="):
        assert remedy in message


def assert_read_only(error, folder, n_missing):
    assert error.errno in (errno.EROFS, errno.EACCES)
    message = str(error)
    assert str(folder) in message and "Make it writable, or choose another folder" in message
    assert f"{n_missing} utterances are missing" in message


# --- with a disk


def test_a_disk_that_fills_up(small_disk, recordings, decoded):
    expected = MelFilterBank().fit_transform(recordings)
    bank = MelFilterBank(memory=small_disk / "store")
    bank.fit_transform(recordings[:10])
    assert len(decoded) == 40
    with pytest.raises(StoreError) as caught:
        bank.fit_transform(recordings)
    assert_full(caught.value, small_disk / "store")
    assert not strays(small_disk)
    assert FeatureStore(small_disk / "store").check().empty
    decoded.clear()
    assert_same_frames(bank.fit_transform(recordings[:10]), expected[:10])
    assert not decoded  # what was there before still is
    # More room, and the same command completes.
    assert mount("-o", "remount,size=2m", str(small_disk)).returncode == 0
    assert_same_frames(bank.fit_transform(recordings), expected)
    assert sorted(decoded) == list(range(10, 30))
    assert FeatureStore(small_disk / "store").check().empty


def test_a_disk_that_is_full_from_the_beginning(small_disk, recordings, decoded):
    (small_disk / "ballast").write_bytes(b"")
    with (small_disk / "ballast").open("ab", buffering=0) as ballast, pytest.raises(OSError):
        while True:
            ballast.write(bytes(512))
    with pytest.raises(StoreError) as caught:
        MelFilterBank(memory=small_disk / "store").fit_transform(recordings)
    assert_full(caught.value, small_disk / "store")
    assert not decoded
    (small_disk / "ballast").unlink()
    store = FeatureStore(small_disk / "store")
    assert store.check().empty and not [p for p in strays(small_disk) if p.name != "ballast"]
    MelFilterBank(memory=store).fit_transform(recordings[:5])


def test_making_room_by_dropping_what_was_used_longest_ago(small_disk, recordings):
    store = FeatureStore(small_disk)
    MelFilterBank(n_mels=60, memory=store).fit_transform(recordings[:20])
    bank = MelFilterBank(memory=store)
    with pytest.raises(StoreError, match="reduce_size"):
        bank.fit_transform(recordings[:18])
    assert store.reduce_size(0) == 0
    expected = MelFilterBank().fit_transform(recordings[:18])
    assert_same_frames(bank.fit_transform(recordings[:18]), expected)


def test_float16_makes_room(small_disk, recordings):
    with pytest.raises(StoreError, match="float16"):
        MelFilterBank(memory=small_disk).fit_transform(recordings)
    FeatureStore(small_disk).clear()
    frames = MelFilterBank(memory=FeatureStore(small_disk, dtype="float16"))
    assert frames.fit_transform(recordings).dtype == np.float16


def test_a_disk_that_becomes_read_only(small_disk, recordings, decoded):
    bank, cmn = (step(memory=small_disk / "store") for step in (MelFilterBank, SlidingCMN))
    expected = cmn.fit_transform(bank.fit_transform(recordings[:10]))
    expected = [utterance.copy() for utterance in expected]
    decoded.clear()
    del bank
    assert mount("-o", "remount,ro", str(small_disk)).returncode == 0
    bank = MelFilterBank(memory=small_disk / "store")
    frames = bank.fit_transform(recordings[:10])
    assert_same_frames(cmn.transform(frames), expected)
    with pytest.raises(StoreError) as caught:
        bank.fit_transform(recordings[:15])
    assert_read_only(caught.value, small_disk / "store", 5)
    with pytest.raises(StoreError) as caught:  # settings that are new
        MelFilterBank(40, memory=small_disk / "store").fit_transform(recordings[:10])
    assert str(small_disk / "store") in str(caught.value)
    assert not decoded
    assert FeatureStore(small_disk / "store").check().empty
    del frames
    assert mount("-o", "remount,rw,size=1m", str(small_disk)).returncode == 0
    assert len(bank.fit_transform(recordings[:15])) == 15
    assert sorted(decoded) == list(range(10, 15))


# --- anywhere


class FullDisk:
    """File on a disk that is full after some bytes, which it shares with other files."""

    def __init__(self, file, disk):
        self._file, self._disk = file, disk

    def write(self, content):
        self._disk.room -= memoryview(content).nbytes
        if self._disk.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)


class Disk:
    def __init__(self, room, monkeypatch):
        self.room = room

        def create(folder, name):
            path, file = files.create_locked(folder, name)
            return path, FullDisk(file, self)

        for module in (shard, leases):
            monkeypatch.setattr(module, "create_locked", create)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("room", [0, 10, 64, 200, 700, 1700, 2400])
def test_full_at_any_moment(tmp_path, monkeypatch, room, n_jobs):
    put(a_step_cache(tmp_path), NAMES[:5])
    with monkeypatch.context() as patched:
        Disk(room, patched)
        with pytest.raises(StoreError) as caught:
            put(a_step_cache(tmp_path), NAMES, n_jobs=n_jobs)
    assert_full(caught.value, tmp_path)
    await_end_of_threads(tmp_path)
    assert FeatureStore(tmp_path).check().empty
    again = a_step_cache(tmp_path)
    assert put(again, NAMES[:5]) == []
    assert_stored(again, NAMES[:5])
    assert not set(put(again, NAMES)) & set(NAMES[:5])
    assert_stored(again, NAMES)


def test_shards_from_before_the_disk_was_full_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "_MAX_BYTES", 1)
    with monkeypatch.context() as patched:
        Disk(7000, patched)
        with pytest.raises(StoreError):
            put(a_step_cache(tmp_path), NAMES)
    done = len(refreshed_step_cache(tmp_path))
    assert 0 < done < len(NAMES)
    assert put(a_step_cache(tmp_path), NAMES) == NAMES[done:]


def await_end_of_threads(folder):
    """Threads that are at work when another one fails finish, or give up, what they have."""
    waiting = threading.Event()
    for _ in range(2000):
        if not strays(folder):
            return
        waiting.wait(0.005)
    raise AssertionError(strays(folder))


def refreshed_step_cache(folder):
    cache = a_step_cache(folder)
    cache.refresh()
    return cache


def test_full_when_only_the_leases_do_not_fit(tmp_path, monkeypatch):
    """Leases are advice: without room for them the work is still done."""
    disk = Disk(0, monkeypatch)
    monkeypatch.setattr(shard, "create_locked", files.create_locked)
    assert put(a_step_cache(tmp_path), NAMES) == NAMES
    assert disk.room < 0
    assert not strays(tmp_path)


def test_every_writer_is_closed_when_several_fail(tmp_path, monkeypatch):
    """Two threads have a shard each, and neither can be finished."""
    disk, both = Disk(2000, monkeypatch), threading.Barrier(2)

    def made(name):
        if name in (0, 4):  # the first of a block each
            both.wait(60)
        if name == 8:
            disk.room = 0
        return made_of(name)

    with pytest.raises(StoreError):
        put(a_step_cache(tmp_path), list(range(12)), made, n_jobs=2)
    await_end_of_threads(tmp_path)


@contextmanager
def read_only(monkeypatch):
    """Nothing can be created or removed; also for root, who has all permissions."""

    def create(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", create)
        for module in (shard, leases, files):
            patched.setattr(module, "create_locked", create)
        yield


def test_a_read_only_store(tmp_path, recordings, decoded, monkeypatch):
    bank, cmn = (step(memory=tmp_path / "store") for step in (MelFilterBank, SlidingCMN))
    expected = cmn.fit_transform(bank.fit_transform(recordings[:10]))
    for folder in (tmp_path / "store").iterdir():
        (folder / f"{'0' * 32}.npy").write_bytes(b"damaged")  # would be removed elsewhere
    decoded.clear()
    with read_only(monkeypatch):
        assert_same_frames(cmn.transform(bank.fit_transform(recordings[:10])), expected)
        with pytest.raises(StoreError) as caught:
            bank.fit_transform(recordings[:15])
        assert_read_only(caught.value, tmp_path / "store", 5)
        with pytest.raises(StoreError, match="memory="):
            MelFilterBank(40, memory=tmp_path / "store").fit_transform(recordings[:10])
        with pytest.raises(StoreError, match="memory="):
            MelFilterBank(memory=tmp_path / "new").fit_transform(recordings[:10])
    assert not decoded
    bank.fit_transform(recordings[:15])
    assert sorted(decoded) == list(range(10, 15))


def test_a_store_where_a_file_is(tmp_path, recordings, decoded):
    (tmp_path / "file").write_text("something else")
    with pytest.raises(StoreError, match=r"file cannot be written to.*choose another folder"):
        MelFilterBank(memory=tmp_path / "file").fit_transform(recordings)
    assert not decoded and (tmp_path / "file").read_text() == "something else"
