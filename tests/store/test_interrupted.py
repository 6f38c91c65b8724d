"""Interrupted extraction: only utterances that were being computed are lost."""

import signal
from functools import partial

import pytest
from store_children import CONTEXT, finished, lines, process
from store_corpus import assert_same_frames, short_recordings, strays

from sklearn_speechsent import FeatureStore, MelFilterBank
from sklearn_speechsent.store import compute
from sklearn_speechsent.utils import files

pytestmark = pytest.mark.skipif(
    files.fcntl is None, reason="without locks, files of ended processes count as in use for a day"
)
#: Bytes after which a shard is closed: every utterance has one of its own; three or four share one.
OWN, SHARED = 1, 25_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return short_recordings(tmp_path_factory.mktemp("recordings"), 200)


@pytest.fixture(scope="module")
def expected(recordings):
    return MelFilterBank().fit_transform(recordings)


def n_stored(folder):
    """Number of utterances in the store, none of which is damaged."""
    store = FeatureStore(folder)
    assert store.check().empty
    stored = store.summary().set_index("step")["utterances"]
    return int(stored.get("mfb", 0))


def assert_whole(folder, paths, expected):
    assert_same_frames(MelFilterBank(memory=folder).fit_transform(paths), expected)
    assert n_stored(folder) == len(paths)
    assert not strays(folder)


@pytest.mark.parametrize("max_bytes, n_jobs", [(OWN, 1), (SHARED, 1), (SHARED, 2)])
def test_interrupted_ten_times(recordings, expected, tmp_path, rng, max_bytes, n_jobs):
    folder, log = tmp_path / "store", tmp_path / "log"
    extract = partial(process, recordings, str(folder), log, _MAX_BYTES=max_bytes, n_jobs=n_jobs)
    stored = 0
    for moment in rng.integers(1, 16, size=10).tolist():
        before = len(lines(log))
        ours, theirs = CONTEXT.Pipe()
        with extract(hold=(moment, theirs)) as child:
            theirs.close()
            # It ends between two decodings; a second thread may be in the middle of another one.
            assert ours.poll(60) and ours.recv() == "here"
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
        now = n_stored(folder)
        # Those of a task may be computed together, and a shard be open.
        in_hand = n_jobs * (compute._SMALLEST + (0 if max_bytes == OWN else 4))
        assert stored + len(lines(log)) - before - in_hand - n_jobs <= now
        assert stored <= now
        stored = now
    assert 0 < stored < len(recordings)
    with extract() as child:
        assert finished(child)
    lost = len(lines(log)) - len(recordings)
    assert 0 < lost <= 10 * (in_hand + n_jobs)
    assert_whole(folder, recordings, expected)


def test_interrupted_at_any_line_of_the_store(recordings, expected, tmp_path, rng):
    """Also while it reads, takes leases, writes, renames and removes files."""
    folder, log, deaths = tmp_path / "store", tmp_path / "log", 0
    paths = recordings[:16]
    extract = partial(process, paths, str(folder), log, _MAX_BYTES=SHARED)
    for moment in rng.integers(1, 1200, size=40).tolist():
        with extract(die_at=moment) as child:
            child.join()
            assert child.exitcode in (0, -signal.SIGKILL)
            deaths += child.exitcode != 0
        if n_stored(folder) == len(paths):
            FeatureStore(folder).clear()
    assert deaths >= 20
    with extract() as child:
        assert finished(child)
    assert_whole(folder, paths, expected[:16])


def test_interrupted_next_to_another_process(recordings, expected, tmp_path, rng):
    folder, log = tmp_path / "store", tmp_path / "log"
    extract = partial(process, recordings, str(folder), log, _MAX_BYTES=SHARED, _POLL=0.005)
    with extract() as survivor:
        for moment in rng.integers(200, 3000, size=6).tolist():
            with extract(die_at=moment) as child:
                child.join()
                assert child.exitcode in (0, -signal.SIGKILL)
        assert finished(survivor)
    assert_whole(folder, recordings, expected)


def test_interrupted_before_the_settings_are_written(recordings, expected, tmp_path):
    """A folder without settings does not count until features are stored in it again."""
    folder = tmp_path / "store"
    MelFilterBank(memory=folder).fit_transform(recordings[:9])
    for settings in folder.rglob("settings.json"):
        settings.unlink()
    assert FeatureStore(folder).summary().empty
    assert_same_frames(MelFilterBank(memory=folder).fit_transform(recordings[:9]), expected[:9])
    assert_whole(folder, recordings[:9], expected[:9])
