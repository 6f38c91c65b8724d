"""Several threads and processes on one folder, also if some are interrupted or stopped."""

import os
import signal
import threading
from contextlib import ExitStack, nullcontext

import joblib
import numpy as np
import pytest
from store_children import CONTEXT, TIMEOUT, SlowLeases, finished, lines, process
from store_corpus import (
    a_step_cache,
    assert_same_frames,
    assert_stored,
    key,
    made_of,
    put,
    short_recordings,
    strays,
)

from sklearn_speechsent import FeatureStore, MelFilterBank
from sklearn_speechsent.store import compute, digest
from sklearn_speechsent.store.compute import compute_missing
from sklearn_speechsent.store.leases import Leases
from sklearn_speechsent.store.shard import shard_paths
from sklearn_speechsent.utils import files
from sklearn_speechsent.utils.files import create_locked, folder_lock, is_locked, remove_abandoned

needs_locks = pytest.mark.skipif(files.fcntl is None, reason="this system has no locks")
#: Utterances that a process takes on at a time, of as few as there are here.
BLOCK = compute._SMALLEST


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return short_recordings(tmp_path_factory.mktemp("recordings"), 60)


@pytest.fixture(scope="module")
def expected(recordings):
    return MelFilterBank().fit_transform(recordings)


def assert_complete(folder, paths, expected):
    """All features are stored, once and undamaged, and no other file is there."""
    store = FeatureStore(folder)
    before = store.summary()[["utterances", "files", "bytes"]]
    assert_same_frames(MelFilterBank(memory=folder).fit_transform(paths), expected)
    after = store.summary()[["utterances", "files", "bytes"]]
    assert after.equals(before) and (after["utterances"] == len(paths)).all()
    assert store.check().empty and not strays(folder)


# --- one process


@pytest.mark.parametrize("n_jobs", [None, 1, 2, 4])
def test_each_key_is_computed_once(tmp_path, n_jobs):
    cache = a_step_cache(tmp_path)
    names = [*range(30), 3, 3, *range(5)]
    assert sorted(put(cache, names, n_jobs=n_jobs)) == list(range(30))
    assert_stored(cache, names)
    assert put(cache, names[::-1], n_jobs=n_jobs) == []
    assert put(cache, [7, 30, 7, 31], n_jobs=n_jobs) == [30, 31]
    assert_stored(cache, [31, 7, 30, 0])
    assert not strays(tmp_path)


def test_frames_come_out_of_several_files_in_the_order_of_the_rows(tmp_path, rng):
    cache = a_step_cache(tmp_path)
    for names in np.split(rng.permutation(40), [3, 4, 20]):
        put(a_step_cache(tmp_path), names.tolist())
    assert put(cache, list(range(40))) == []
    assert len(shard_paths(cache.folder)) == 4
    for _ in range(20):
        assert_stored(cache, rng.integers(40, size=15).tolist())


def test_shards_are_closed_when_they_are_large_or_old(tmp_path, monkeypatch):
    from sklearn_speechsent.store import shard

    monkeypatch.setattr(shard, "_MAX_BYTES", 60)  # five rows of three numbers
    cache = a_step_cache(tmp_path / "large")
    put(cache, list(range(10)))  # of 1, 2, 3, 4, 5, 1, ... rows
    rows = [shard.read_shard(path).n_rows for path in shard_paths(cache.folder)]
    assert sorted(rows) == [1 + 2 + 3, 1 + 2 + 3, 4 + 5, 4 + 5]
    monkeypatch.setattr(shard, "_MAX_SECONDS", 0.0)
    cache = a_step_cache(tmp_path / "old")
    put(cache, list(range(10)))
    assert len(shard_paths(cache.folder)) == 10
    assert_stored(cache, list(range(10)))


def test_problems_are_told_by_key_and_not_kept(tmp_path):
    cache = a_step_cache(tmp_path)

    def function(batch):
        for name in batch:
            yield ValueError(name) if name % 3 == 0 else made_of(name)

    names = list(range(20))
    for _ in range(2):
        problems = compute_missing(cache, [key(n) for n in names], lambda rows: rows, function)
        assert {k: p.args[0] for k, p in problems.items()} == {key(n): n for n in range(0, 20, 3)}
    assert len(cache) == 13
    assert_stored(cache, [n for n in names if n % 3])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_was_computed_before_an_accident_is_kept(tmp_path, n_jobs):
    class Accident(Exception):
        pass

    def made(name):
        if name == 21:
            raise Accident
        return made_of(name)

    with pytest.raises(Accident):
        put(a_step_cache(tmp_path), list(range(40)), made, n_jobs=n_jobs)
    again = put(a_step_cache(tmp_path), list(range(40)), n_jobs=n_jobs)
    assert 21 in again and not set(range(16)) & set(again)
    assert_stored(a_step_cache(tmp_path), list(range(40)))
    assert not strays(tmp_path)


def test_a_writer_lent_out_when_the_rest_is_closed_is_closed_after(tmp_path):
    with compute.Writers(tmp_path, None) as writers:
        loan = writers.one()
        writer = loan.__enter__()
        writer.add(key(0), made_of(0))
    assert not shard_paths(tmp_path)
    writer.add(key(1), made_of(1))
    loan.__exit__(None, None, None)
    assert len(shard_paths(tmp_path)) == 1 and not strays(tmp_path)
    assert_stored(compute.StepCache(tmp_path), [0, 1])


def test_threads_that_were_chosen_compute(tmp_path, recordings, expected):
    with joblib.parallel_config(backend="threading", n_jobs=2):
        frames = MelFilterBank(memory=tmp_path).fit_transform(recordings)
    assert_same_frames(frames, expected)
    assert_complete(tmp_path, recordings, expected)


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_results_come_in_order_and_work_is_taken_as_it_is_needed(n_jobs):
    """A slow first task lets others pass; tasks are taken a few at a time, not all at once."""
    n, taken, computed, behind = 400, [], [], threading.Event()

    def take(rows):
        taken.extend(rows)
        if n_jobs > 1:
            assert len(taken) - len(computed) <= 2 * n_jobs * compute._UNSTORED
        return rows

    def function(rows):
        if n_jobs > 1 and rows[0] == 0:
            assert behind.wait(TIMEOUT)
        for row in rows:
            yield np.full((1, 1), row) if row != 7 else ValueError(row)
        computed.extend(rows)
        if len(computed) > n // 2:
            behind.set()

    results = compute.compute_all(n, take, function, n_jobs=n_jobs)
    rows = [7 if isinstance(found, ValueError) else int(found[0, 0]) for found in results]
    assert rows == list(range(n)) == taken


@pytest.mark.parametrize("stored", [False, True])
def test_small_work_is_done_by_this_thread_or_by_processes(tmp_path, stored):
    """Two threads would need longer for calls of microseconds than one."""

    def found_by(prefer, n_jobs=2):
        options = dict(n_jobs=n_jobs, prefer=prefer)
        if not stored:
            results = list(compute.compute_all(64, list, _who, **options))
        else:
            cache = a_step_cache(tmp_path / f"{prefer}{os.times().elapsed}")
            keys = [key(number) for number in range(64)]
            assert not compute_missing(cache, keys, list, _who, **options)
            results = [cache.frames([name])[0] for name in keys]
        return {tuple(result[0]) for result in results}

    here = os.getpid(), threading.get_ident() % 2**31
    assert found_by("neither") == {here}
    assert here not in found_by("threads") and {pid for pid, _ in found_by("threads")} == {here[0]}
    with joblib.parallel_config("loky", n_jobs=2):
        assert here[0] not in {pid for pid, _ in found_by("neither", None)}


def _who(rows):
    """Process and thread that compute."""
    return [np.array([[os.getpid(), threading.get_ident() % 2**31]]) for _ in rows]


def test_threads_end_with_an_error_or_a_caller_that_stops():
    before, taken = threading.active_count(), []

    def take(rows):
        taken.extend(rows)
        return rows

    def function(rows):
        for row in rows:
            yield np.full((1, 1), 1 / (40 - row))

    with pytest.raises(ZeroDivisionError):
        list(compute.compute_all(400, take, function, n_jobs=2))
    assert len(taken) < 400 and threading.active_count() == before
    sound = [row for row in range(400) if row != 40]
    results = compute.compute_all(
        399, lambda rows: [sound[row] for row in rows], function, n_jobs=2
    )
    next(results)
    results.close()
    assert threading.active_count() == before


def test_threads_fill_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LONGEST_WAIT", TIMEOUT)
    names, barrier, computed = list(range(100)), threading.Barrier(4), []

    def work():
        cache = a_step_cache(tmp_path)
        barrier.wait()
        computed.extend(put(cache, names))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(computed) == names if files.fcntl else set(computed) == set(names)
    assert_stored(a_step_cache(tmp_path), names)
    assert not strays(tmp_path)


# --- leases and locks


def test_leases_are_seen_until_they_end(tmp_path):
    with Leases(tmp_path) as ours, Leases(tmp_path) as theirs:
        assert ours.has_others() and ours.of_others() == set()
        theirs.add([key(0), key(1)])
        theirs.add([])
        theirs.add([key(2)])
        assert ours.of_others() == {key(0), key(1), key(2)} and theirs.of_others() == set()
    assert not list(tmp_path.iterdir())


@needs_locks
def test_leases_of_ended_processes_do_not_count(tmp_path):
    content = key(0) + key(1)
    (tmp_path / "dead.leases").write_bytes(content)
    with Leases(tmp_path) as leases:
        assert leases.of_others() == set() and not leases.has_others()
        path, file = create_locked(tmp_path, lambda: "living.leases")
        with file:
            file.write(content + key(2)[:5])  # the last one is still being written
            file.flush()
            assert leases.of_others() == {key(0), key(1)}
        assert leases.of_others() == set() and not is_locked(path)
        remove_abandoned(tmp_path, ".leases")
        assert leases._path.exists() and len(list(tmp_path.iterdir())) == 1


@needs_locks
def test_leftovers_are_removed_and_files_in_use_are_not(tmp_path):
    cache = a_step_cache(tmp_path)
    for name in ("a.part", "b.leases", ".c.part"):
        (cache.folder / name).write_bytes(b"x")
    _, file = create_locked(cache.folder, lambda: "used.part")
    with file:
        put(cache, [0, 1])
        assert [path.name for path in strays(tmp_path)] == ["used.part"]
        FeatureStore(tmp_path).clear()
        assert [path.name for path in cache.folder.iterdir()] == ["used.part"]
    put(a_step_cache(tmp_path), [0, 1])
    assert not strays(tmp_path)


def test_without_locks_files_are_alive_for_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    cache = a_step_cache(tmp_path)
    for name, age in (("new.part", 3600), ("old.part", 90000), ("old.leases", 90000)):
        path = cache.folder / name
        path.write_bytes(key(0))
        moment = path.stat().st_mtime - age
        os.utime(path, (moment, moment))
    assert put(cache, [0, 1, 2]) == [0, 1, 2]
    assert [path.name for path in strays(tmp_path)] == ["new.part"]


def test_a_file_that_was_taken_for_abandoned_is_created_again(tmp_path, monkeypatch):
    names = iter(["first", "second"])

    def removes_the_first(file, **options):
        (tmp_path / "first").unlink(missing_ok=True)
        return True

    monkeypatch.setattr(files, "_lock", removes_the_first)
    path, file = create_locked(tmp_path, lambda: next(names))
    file.close()
    assert path.name == "second" and [p.name for p in tmp_path.iterdir()] == ["second"]


@needs_locks
def test_waiting_for_a_folder_lock_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LONGEST_WAIT", 0.01)
    with folder_lock(tmp_path):
        number = os.open(tmp_path, os.O_RDONLY)
        assert files._lock(number) is False
        with folder_lock(tmp_path):  # the one before does not come back
            pass
        os.close(number)
    with folder_lock(tmp_path / "nowhere"):
        pass


# --- many processes


def run_at_once(n, paths, folder, log, **options):
    """Children that extract at the same time; gives the rows that were decoded."""
    ready = CONTEXT.Barrier(n)
    with ExitStack() as stack:
        children = [
            stack.enter_context(process(paths, str(folder), log, ready=ready, **options))
            for _ in range(n)
        ]
        assert all([finished(child) for child in children])
    return [row for _, row in lines(log)]


@pytest.mark.parametrize("n", [2, 4])
def test_processes_share_the_work(recordings, expected, tmp_path, n):
    decoded = run_at_once(
        n, recordings, tmp_path / "store", tmp_path / "log", _LONGEST_WAIT=TIMEOUT
    )
    assert set(decoded) == set(range(len(recordings)))
    # A block is leased under a lock, so that nothing is computed twice. Without locks all processes
    # may take the same block at the same moment.
    allowed = 0 if files.fcntl else (n - 1) * BLOCK
    assert len(decoded) - len(recordings) <= allowed
    assert_complete(tmp_path / "store", recordings, expected)


@pytest.mark.parametrize("locked", [True, False])
def test_two_processes_want_the_same_block(recordings, expected, tmp_path, locked):
    """They look at leases and add theirs under a lock of the folder, where folders have locks."""
    options = {} if locked else {"folder_lock": nullcontext}
    paths, folder = recordings[:BLOCK], tmp_path / "store"
    decoded = run_at_once(
        2, paths, folder, tmp_path / "log", Leases=SlowLeases, _LONGEST_WAIT=TIMEOUT, **options
    )
    assert sorted(decoded) == sorted([*range(BLOCK)] * (1 if locked and files.fcntl else 2))
    assert_complete(folder, paths, expected[:BLOCK])


def test_processes_with_other_rows_and_threads(recordings, expected, tmp_path):
    log, folder = tmp_path / "log", tmp_path / "store"
    ready = CONTEXT.Barrier(3)
    with ExitStack() as stack:
        children = [
            stack.enter_context(process(rows, str(folder), log, ready=ready, n_jobs=2))
            for rows in (recordings[:40], recordings[20:][::-1], recordings[::2] * 2)
        ]
        assert all([finished(child) for child in children])
    assert_complete(folder, recordings, expected)


def test_every_process_gets_all_frames(recordings, expected, tmp_path):
    """Also those that another one computes."""
    ready, pipes = CONTEXT.Barrier(2), [CONTEXT.Pipe() for _ in range(2)]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                process(recordings, str(tmp_path / "s"), tmp_path / "log", ready=ready, made=theirs)
            )
            for _, theirs in pipes
        ]
        for ours, _ in pipes:
            assert ours.poll(TIMEOUT)
            assert_same_frames(ours.recv(), expected)
        assert all([finished(child) for child in children])
    assert_complete(tmp_path / "s", recordings, expected)


def until_held(log, n):
    """Wait until this number of decodings is in the log."""
    waiting = threading.Event()
    while len(lines(log)) < n:
        waiting.wait(0.005)


@needs_locks
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["interrupted", "stopped"])
def test_others_take_over_from_one_that_is(recordings, expected, tmp_path, end):
    """Its leases end with it, and the others stop waiting for one that stands still."""
    folder, log, other_log = tmp_path / "store", tmp_path / "log", tmp_path / "other"
    ours, theirs = CONTEXT.Pipe()
    patience = TIMEOUT if end == signal.SIGKILL else 0.05
    with process(recordings, str(folder), log, hold=(6, theirs)) as victim:
        until_held(log, 6)  # in the middle of its second block
        with process(
            recordings, str(folder), other_log, _PATIENCE=patience, _POLL=0.005
        ) as survivor:
            if end == signal.SIGSTOP:
                os.kill(victim.pid, end)
            else:
                # What is not leased has been computed, and the survivor waits for the rest.
                until_held(other_log, len(recordings) - 2 * BLOCK)
                assert survivor.is_alive()
                os.kill(victim.pid, end)
            assert finished(survivor)
        # The first blocks of the victim were in a shard that it had not finished.
        decoded = [row for _, row in lines(other_log)]
        assert sorted(decoded[-2 * BLOCK :]) == list(range(2 * BLOCK))
        assert len(decoded) == len(recordings)
        if end == signal.SIGSTOP:
            assert strays(folder)  # what the one that stands still is writing
            os.kill(victim.pid, signal.SIGCONT)
            ours.send(b"resume")
            assert finished(victim)
            assert len(lines(log)) == 2 * BLOCK  # it saw that the rest was done
    assert_same_frames(MelFilterBank(memory=folder).fit_transform(recordings), expected)
    assert FeatureStore(folder).check().empty and not strays(folder)


def test_keys_depend_on_where_parts_end():
    assert digest(b"ab", b"c") != digest(b"a", b"bc") != digest(b"abc")
