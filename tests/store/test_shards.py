"""Files of a store that are damaged, foreign or in the way."""

import numpy as np
import pandas as pd
import pytest
from store_corpus import a_step_cache, assert_stored, key, made_of, put, strays

from sklearn_speechsent import FeatureStore
from sklearn_speechsent.store.shard import (
    DamagedShardError,
    ShardWriter,
    StoreError,
    read_shard,
    shard_paths,
)

NAMES = list(range(6))


@pytest.fixture
def cache(tmp_path):
    """Six utterances in one file."""
    cache = a_step_cache(tmp_path)
    put(cache, NAMES)
    return cache


@pytest.fixture
def shard(cache):
    (path,) = shard_paths(cache.folder)
    return path


def heals(cache, damaged=tuple(NAMES)):
    """The damaged entries, and no others, are computed again, and no other file is left."""
    again = a_step_cache(cache.folder.parent)
    assert again.folder == cache.folder
    assert put(again, NAMES) == list(damaged)
    assert_stored(again, NAMES)
    assert put(a_step_cache(cache.folder.parent), NAMES) == []
    assert not strays(cache.folder)
    return FeatureStore(cache.folder.parent).check().empty


def test_a_shard_says_what_is_in_it(shard):
    table = read_shard(shard)
    assert table.n_rows == sum(len(made_of(name)) for name in NAMES) == 16
    assert table.frame_shape == (3,) and table.dtype == np.float32 and table.n_bytes == 16 * 12
    assert [row.tobytes() for row in table.keys] == [key(name) for name in NAMES]
    assert table.damaged().size == 0
    # Anybody can look at the frames.
    np.testing.assert_array_equal(np.load(shard), np.concatenate([made_of(n) for n in NAMES]))


def test_cut_off_anywhere(cache, shard):
    content = shard.read_bytes()
    for length in range(0, len(content), 3):
        shard.write_bytes(content[:length])
        with pytest.raises(DamagedShardError, match=shard.name):
            read_shard(shard)
    shard.write_bytes(content + b"x")
    with pytest.raises(DamagedShardError):
        read_shard(shard)
    shard.write_bytes(content)
    assert heals(cache, damaged=())


@pytest.mark.parametrize("size", [0, 10, 127, 130, 319, 400, 700, -1])
def test_cut_off_shards_are_replaced(cache, shard, size):
    shard.write_bytes(shard.read_bytes()[:size])
    problems = FeatureStore(cache.folder.parent).check()
    assert problems["file"].tolist() == [str(shard)] and problems["utterances"].tolist() == [0]
    assert heals(cache)
    assert not shard.exists()


def test_no_flipped_bit_goes_unnoticed(shard, rng):
    """A bit of each byte: of the table on opening, of frames by a check, or it is padding."""
    content, right = shard.read_bytes(), read_shard(shard)
    frames = range(right.offset, right.offset + right.n_bytes)
    unharmed = 0
    for position, bit in enumerate(rng.integers(8, size=len(content))):
        flipped = bytearray(content)
        flipped[position] ^= 1 << bit
        shard.write_bytes(flipped)
        try:
            table = read_shard(shard)
        except DamagedShardError:
            assert position not in frames
            continue
        if position in frames:
            row = (position - right.offset) // (right.n_bytes // right.n_rows)
            assert table.damaged().tolist() == [np.searchsorted(right.stops, row, "right")]
            continue
        unharmed += 1
        assert (table.offset, table.frame_shape) == (right.offset, right.frame_shape)
        assert table.dtype == right.dtype
        for column in ("stops", "keys", "checksums"):
            assert getattr(table, column).tobytes() == getattr(right, column).tobytes()
    assert unharmed < 0.2 * len(content)  # spaces in headers, versions of the format


def test_flipped_bits_of_frames_are_found_by_a_check_and_healed(cache, shard):
    table = read_shard(shard)
    content = bytearray(shard.read_bytes())
    content[table.offset + 5] ^= 16
    content[table.offset + table.n_bytes - 1] ^= 1
    shard.write_bytes(content)
    store = FeatureStore(cache.folder.parent)
    for remove in (False, True):
        expected = pd.DataFrame(
            {
                "file": [str(shard)],
                "utterances": [2],
                "problem": ["frames differ from what was written"],
            }
        )
        pd.testing.assert_frame_equal(store.check(remove=remove), expected)
        assert shard.exists() != remove
    assert store.check().empty
    assert heals(cache)


def test_a_check_names_every_damaged_file(tmp_path):
    cache = a_step_cache(tmp_path)
    for name in NAMES:
        put(cache, [name])
    paths = shard_paths(cache.folder)
    assert len(paths) == len(NAMES)
    paths[1].write_bytes(b"")
    content = bytearray(paths[4].read_bytes())
    content[read_shard(paths[4]).offset] ^= 1
    paths[4].write_bytes(content)
    found = FeatureStore(tmp_path).check(remove=True)
    assert found["file"].tolist() == [str(paths[1]), str(paths[4])]
    assert found["utterances"].tolist() == [0, 1]
    assert len(put(a_step_cache(tmp_path), NAMES)) == 2


def foreign_files(folder):
    """Things that lie in the folder of a step and are not ours."""
    np.save(folder / "mine.npy", np.arange(3.0))
    (folder / "notes.txt").write_text("keep me")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "folder.npy").mkdir()
    (folder / f"{'0' * 32}.npy").mkdir()
    return {"mine.npy", "notes.txt", "empty.npy", "folder.npy", f"{'0' * 32}.npy"}


def test_foreign_files_are_left_alone(cache, shard):
    foreign = foreign_files(cache.folder)
    store = FeatureStore(cache.folder.parent)
    assert store.check(remove=True).empty
    assert put(a_step_cache(store.folder), [*NAMES, 99]) == [99]
    assert store.summary()[["utterances", "files"]].to_numpy().tolist() == [[7, 2]]
    assert store.reduce_size(0) == 0
    store.clear()
    assert {path.name for path in cache.folder.iterdir()} == foreign
    np.testing.assert_array_equal(np.load(cache.folder / "mine.npy"), np.arange(3.0))
    assert store.summary().empty and store.check().empty
    assert put(a_step_cache(store.folder), NAMES) == NAMES  # and the folder is as good as new


FRAMES, STOPS, KEYS = np.ones((4, 3), np.float32), np.array([2, 4]), np.zeros((2, 16), np.uint8)


@pytest.mark.parametrize(
    "arrays",
    [
        [FRAMES],
        [FRAMES, STOPS, KEYS],
        [FRAMES, STOPS, KEYS, np.zeros(3, np.uint32)],
        [FRAMES, STOPS, KEYS, np.zeros(2, np.uint32)],
        [FRAMES, np.array(4), KEYS, np.zeros(2, np.uint32)],
        [FRAMES, STOPS[:0], KEYS[:0], np.zeros(1, np.uint32)],
        [FRAMES, STOPS[::-1], KEYS, np.zeros(3, np.uint32)],
        [np.float32(1), STOPS[:1], KEYS[:1], np.zeros(2, np.uint32)],
        [np.asfortranarray(FRAMES), STOPS, KEYS, np.zeros(3, np.uint32)],
    ],
    ids=range(9),
)
def test_files_that_look_like_shards(cache, shard, arrays):
    with shard.open("wb") as file:
        for array in arrays:
            np.save(file, array)
    with pytest.raises(DamagedShardError):
        read_shard(shard)
    assert heals(cache)


def test_a_pickle_is_never_opened(cache, shard, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    with shard.open("wb") as file:
        np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedShardError):
        read_shard(shard)
    assert not (tmp_path / "exploded").exists()


def test_a_shard_that_cannot_be_read_is_not_thrown_away(cache, shard, monkeypatch):
    """Too many open files, or another user's rights, say nothing about what is in a file."""
    import sklearn_speechsent.store.step_cache as module
    from sklearn_speechsent.store import feature_store

    def fails(path):
        if path == shard:
            raise PermissionError(13, "Permission denied", str(path))
        return read_shard(path)

    with monkeypatch.context() as patched:
        for place in (module, feature_store):
            patched.setattr(place, "read_shard", fails)
        assert put(a_step_cache(cache.folder.parent), NAMES) == NAMES  # elsewhere
        problems = FeatureStore(cache.folder.parent).check(remove=True)
    assert problems["file"].tolist() == [str(shard)]
    assert "cannot be read" in problems["problem"][0] and "denied" in problems["problem"][0]
    assert len(shard_paths(cache.folder)) == 2
    assert FeatureStore(cache.folder.parent).check().empty
    assert_stored(a_step_cache(cache.folder.parent), NAMES)


# --- writing


def test_a_writer_refuses_what_does_not_fit(tmp_path):
    writer = ShardWriter(tmp_path)
    with pytest.raises(ValueError, match=r"shape \(0, 3\) cannot be stored"):
        writer.add(key(0), np.empty((0, 3)))
    assert not list(tmp_path.iterdir())
    writer.commit()  # of nothing
    writer.add(key(0), np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"shape \(2, 4\).*\(n_frames, 3\)|next to those of shape"):
        writer.add(key(1), np.ones((2, 4), np.float32))
    writer.add(key(2), np.ones((1, 3)))
    writer.commit()
    (path,) = tmp_path.iterdir()
    table = read_shard(path)
    assert table.stops.tolist() == [2, 3] and table.dtype == np.float32
    assert [row.tobytes() for row in table.keys] == [key(0), key(2)]


def test_discarding_leaves_nothing(tmp_path):
    writer = ShardWriter(tmp_path)
    writer.discard()
    writer.add(key(0), np.ones((2, 3)))
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    writer.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(), (1,), (7, 2, 3), (123456,)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_any_kind_of_row(tmp_path, rng, shape, dtype):
    arrays = [(99 * rng.random((n, *shape))).astype(dtype) for n in (1, 11, 2)]
    writer = ShardWriter(tmp_path)
    for number, array in enumerate(arrays):
        writer.add(key(number), array)
    writer.commit()
    (path,) = tmp_path.iterdir()
    assert read_shard(path).frame_shape == shape
    assert np.load(path).tobytes() == b"".join(array.tobytes() for array in arrays)


def test_many_rows_fit_into_the_header_of_few(tmp_path):
    writer = ShardWriter(tmp_path)
    for number in range(3):
        writer.add(key(number), np.zeros((400_000, 1), np.uint8))
    writer.commit()
    (path,) = tmp_path.iterdir()
    table = read_shard(path)
    assert table.n_rows == 1_200_000 and table.offset % 64 == 0 and not table.damaged().size


def test_store_error_is_an_os_error_with_its_number(tmp_path):
    error = StoreError.about(tmp_path, PermissionError(13, "Permission denied"), 5)
    assert isinstance(error, OSError) and error.errno == 13
    for part in (str(tmp_path), "Permission denied", "5 utterances", "memory="):
        assert part in str(error)
