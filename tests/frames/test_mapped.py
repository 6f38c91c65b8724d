"""Frames in many files against the same frames in one array."""

import os
import pickle
import sys
import threading

import numpy as np
import pytest

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.frames import mapped
from sklearn_speechsent.frames.mapped import FrameFiles

LENGTHS = (5, 1, 12, 3, 7)


@pytest.fixture
def pair(tmp_path, rng):
    """Files, and the array that they should look like."""
    return written(tmp_path, rng, LENGTHS)


def written(folder, rng, lengths, frame_shape=(3, 2), dtype=np.float32):
    array = rng.normal(size=(sum(lengths), *frame_shape)).astype(dtype)
    paths, offsets, first = [], [], 0
    for number, length in enumerate(lengths):
        paths.append(folder / f"{number}.bin")
        offsets.append(8 * number)
        paths[-1].write_bytes(bytes(offsets[-1]) + array[first : first + length].tobytes() + b"x")
        first += length
    return FrameFiles(paths, lengths, offsets, frame_shape, dtype), array


def assert_alike(files, array, key):
    found = files[key]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array[key])


def n_descriptors(folder):
    """Descriptors of this process for files in a folder."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the one that lists them
            pass
    return sum(path.startswith(str(folder)) for path in found)


needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="counts descriptors where Linux shows them"
)


def test_it_looks_like_the_array(pair):
    files, array = pair
    assert len(files) == len(array) == 28
    assert files.shape == array.shape and files.ndim == 3 and files.dtype == array.dtype


def test_every_slice(pair):
    files, array = pair
    for start in range(len(array) + 1):
        for stop in range(len(array) + 1):
            assert_alike(files, array, slice(start, stop))
    for key in (slice(None), slice(-3, None), slice(None, None, 2), slice(20, 2, -3), slice(9, 99)):
        assert_alike(files, array, key)


def test_slices_within_a_file_are_views_that_cannot_be_written_to(pair):
    files, _ = pair
    within, across = files[6:18], files[5:18]
    assert np.shares_memory(within, files[6:18]) and not np.shares_memory(across, files[5:18])
    assert type(within) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        within[0] = 0


def test_integer_arrays_of_any_shape(pair, rng):
    files, array = pair
    for shape in ((), (1,), (9,), (4, 6), (2, 3, 2), (0,), (3, 0)):
        for dtype in (np.int64, np.int32, np.uint8):
            assert_alike(files, array, rng.integers(len(array), size=shape).astype(dtype))
    assert_alike(files, array, [3, 27, 3])
    assert_alike(files, array, 11)
    assert files[[]].shape == (0, 3, 2)


def test_runs_of_rows_with_padding_between_and_behind(pair, rng):
    files, array = pair
    for rows in ([3, 4, 5, 6, 3, 3, 3], [7, 7, 8, 9, 9, 10], [27, 0, 0, 1, 27, 27], [4, 3, 2, 2]):
        assert_alike(files, array, rows)
    starts, lengths = rng.integers(16, size=(2, 9))
    lengths = np.minimum(lengths, len(array) - starts)[:, None]
    rows = starts[:, None] + np.arange(14)
    assert_alike(files, array, np.where(np.arange(14) < lengths, rows, starts[:, None]))


def test_rows_in_a_run_are_read_at_once(tmp_path, rng, monkeypatch):
    files, array = written(tmp_path, rng, (50, 50))
    opened = []

    def counted(path, mode):
        opened.append(open(path, mode))
        return opened[-1]

    monkeypatch.setattr(mapped, "open", counted, raising=False)
    chunks = np.array([60, 10, 30])[:, None] + np.arange(8)
    assert_alike(files, array, chunks)
    assert len(opened) == 2 and all(file.closed for file in opened)


@pytest.mark.parametrize("key", [-1, 28, [0, -2], [28], [0.0, 1.0], [True] * 28, np.array("a")])
def test_rows_that_there_are_not(pair, key):
    # UtteranceFrames never counts from the end nor uses masks here; silence would be wrong frames.
    with pytest.raises(IndexError, match="whole numbers from 0 to 27"):
        pair[0][key]


def test_files_without_rows(tmp_path, rng):
    files, array = written(tmp_path, rng, (0, 4, 0, 0, 3, 0))
    for start in range(8):
        for stop in range(start, 8):
            assert_alike(files, array, slice(start, stop))
            assert_alike(files, array, np.arange(start, stop))


@pytest.mark.parametrize("limits", [{"_MAPPED": 100}, {"_OPEN": 2}], ids=str)
def test_maps_that_are_given_up(pair, rng, monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(mapped, name, value)
    files, array = pair
    held = [(rows, files[rows]) for rows in map(slice, range(0, 24, 3), range(2, 26, 3))]
    for _ in range(50):
        assert_alike(files, array, rng.integers(len(array), size=6))
        start, stop = np.sort(rng.integers(len(array) + 1, size=2))
        assert_alike(files, array, slice(start, stop))
        assert len(files._maps) <= 2
    for rows, view in held:  # views stay what they were
        np.testing.assert_array_equal(view, array[rows])


@needs_proc
def test_a_thousand_small_files_do_not_use_up_the_descriptors(tmp_path, rng):
    import resource

    files, array = written(tmp_path, rng, [2] * 1000, frame_shape=())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        assert_alike(files, array, slice(None))
        assert_alike(files, array, rng.permutation(len(array)))
        for start in range(0, len(array), 2):  # a memory map each
            assert_alike(files, array, slice(start, start + 2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@needs_proc
def test_no_descriptor_is_left_behind(tmp_path, rng):
    files, _ = written(tmp_path, rng, LENGTHS)
    view = files[1:3]
    files[:]
    del files
    assert n_descriptors(tmp_path) <= 1  # of what is still looked at
    del view
    assert n_descriptors(tmp_path) == 0


@pytest.mark.parametrize("limits", [{"_MAPPED": 100}, {}], ids=["few maps", "many maps"])
def test_threads_read_at_once(tmp_path, rng, monkeypatch, request, limits):
    for name, value in limits.items():
        monkeypatch.setattr(mapped, name, value)
    files, array = written(tmp_path, rng, [2] * 100)
    tasks = [rng.integers(len(array), size=(300, 5)) for _ in range(4)]
    barrier, wrong = threading.Barrier(len(tasks)), []
    interval = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    sys.setswitchinterval(1e-6)

    def read(tasks):
        barrier.wait()
        for rows in tasks:
            # Rows of several files are read, and a slice of one file is a view of a memory map.
            for key in (rows, slice(rows[0], rows[0] + 1)):
                try:
                    equal = np.array_equal(files[key], array[key])
                except Exception as exception:
                    equal = exception
                if equal is not True:
                    wrong.append((key, equal))

    threads = [threading.Thread(target=read, args=(rows,)) for rows in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_pickle_holds_names_only(tmp_path, rng):
    files, array = written(tmp_path, rng, (4000, 6000))
    files[:]
    files[:10]
    assert files._maps  # which stay here
    content = pickle.dumps(files)
    assert len(content) < 1000 < array.nbytes
    again = pickle.loads(content)
    assert_alike(again, array, slice(3990, 4010))
    frames = UtteranceFrames(files, [0, 3990], [5, 4010])[[1]]
    for same in (pickle.loads(pickle.dumps(frames)), frames.compact()):
        np.testing.assert_array_equal(same[0], array[3990:4010])
    assert isinstance(frames.compact().base, np.ndarray)


def test_a_file_that_is_gone_is_explained(pair, tmp_path):
    files, array = pair
    view = files[7:9]
    (tmp_path / "3.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"removed from their store.*again.*3\.bin"):
        files[[0, 18]]
    assert_alike(files, array, slice(0, 18))  # the others are still there
    (tmp_path / "2.bin").unlink()
    np.testing.assert_array_equal(view, array[7:9])  # and so is what is being looked at


def test_a_file_that_has_shrunk_is_an_error(pair, tmp_path):
    (tmp_path / "2.bin").write_bytes(b"too short")
    with pytest.raises(ValueError, match="length"):
        pair[0][7:9]
    with pytest.raises(ValueError, match=r"2\.bin has become shorter"):
        pair[0][[7, 8]]
