"""Stores for the frames of many utterances, behind one interface."""

import os

import joblib
import numpy as np

from sklearn_speechsent import FeatureStore
from sklearn_speechsent.store import digest
from sklearn_speechsent.store.compute import compute_missing

SHORTEST, MEAN = 400, 760
#: Utterances of a write where a store takes several at once, which a crash would lose.
AT_ONCE = 128


class Utterances:
    """Frames of made-up utterances, the same in every process.

    Parameters
    ----------
    n : int
    n_mels : int
    """

    def __init__(self, n, n_mels):
        rng = np.random.default_rng(0)
        self.lengths = SHORTEST + rng.exponential(MEAN - SHORTEST, n).astype(int)
        self._noise = rng.standard_normal((2 * self.lengths.max(), n_mels), dtype=np.float32)
        self._firsts = rng.integers(self.lengths.max(), size=n)
        self.keys = [digest(number.to_bytes(8, "little")) for number in range(n)]

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, number):
        first = self._firsts[number]
        return self._noise[first : first + self.lengths[number]]

    @property
    def n_mels(self):
        """Values of a frame."""
        return self._noise.shape[1]


class Store:
    """Store for utterances.

    Parameters
    ----------
    folder : Path
    utterances : Utterances
    """

    module = "numpy"

    def __init__(self, folder, utterances):
        self.folder = folder
        self.utterances = utterances
        self.names = [key.hex() for key in utterances.keys]

    def write(self):
        """Store all utterances."""
        raise NotImplementedError

    def find(self):
        """Look all utterances up, so that each can be read by its number afterwards."""
        raise NotImplementedError

    def __getitem__(self, number):
        raise NotImplementedError

    def gather(self, numbers, firsts):
        """Chunks of utterances as one array.

        Parameters
        ----------
        numbers, firsts : ndarray of int of shape (n,)
            Utterance, and first frame, of each chunk.

        Returns
        -------
        ndarray of float32 of shape (n, SHORTEST, n_mels)
        """
        pairs = zip(numbers, firsts, strict=True)
        return np.stack([self[number][first : first + SHORTEST] for number, first in pairs])


class OurStore(Store):
    """FeatureStore: shards of some hundred utterances, synced to the disk, with checksums."""

    def _step_cache(self):
        return FeatureStore(self.folder).step_cache("benchmark", {"n": len(self.utterances)})

    def write(self):
        """Write like every step of a Pipeline does."""
        compute_missing(
            self._step_cache(),
            self.utterances.keys,
            lambda rows: rows,
            lambda rows: (self.utterances[row] for row in rows),
        )

    def find(self):
        """Read the index of the shards, without the frames."""
        cache = self._step_cache()
        cache.refresh()
        self._base, self._starts, self._stops = cache.frames(self.utterances.keys)

    def __getitem__(self, number):
        return self._base[self._starts[number] : self._stops[number]]

    def gather(self, numbers, firsts):
        """Index the frames of all files at once, as training does."""
        return self._base[(self._starts[numbers] + firsts)[:, None] + np.arange(SHORTEST)]


class FilePerUtterance(Store):
    """numpy.save under another name, then renamed; read through memory maps."""

    def _path(self, number):
        name = self.names[number]
        return self.folder / name[:2] / f"{name}.npy"

    def write(self):
        """Write a file for each."""
        for number, utterance in enumerate(self.utterances):
            path = self._path(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path.with_suffix(".part"), "wb") as file:
                np.save(file, utterance)
            os.replace(path.with_suffix(".part"), path)

    def find(self):
        """Look for the files."""
        if not all(self._path(number).exists() for number in range(len(self.names))):
            raise FileNotFoundError(self.folder)

    def __getitem__(self, number):
        return np.load(self._path(number), mmap_mode="r")


class JoblibMemory(Store):
    """joblib.Memory over one function call per utterance, read through memory maps."""

    def __init__(self, folder, utterances):
        super().__init__(folder, utterances)
        memory = joblib.Memory(folder, mmap_mode="r", verbose=0)
        self._cached = memory.cache(_utterance, ignore=["make"])

    def write(self):
        """Call the function for each."""
        for number, name in enumerate(self.names):
            self._cached(name, lambda number=number: self.utterances[number])

    def find(self):
        """Look each up."""
        if not all(self._cached.check_call_in_cache(name, None) for name in self.names):
            raise FileNotFoundError(self.folder)

    def __getitem__(self, number):
        return self._cached(self.names[number], None)


def _utterance(name, make):
    return make()


class DiskCache(Store):
    """diskcache: an SQLite index in WAL mode, and files for what is larger than 32 KiB."""

    module = "diskcache"

    def __init__(self, folder, utterances):
        super().__init__(folder, utterances)
        import diskcache

        self._cache = diskcache.Cache(str(folder), size_limit=2**40)

    def write(self):
        """Write some at once."""
        for first in range(0, len(self.names), AT_ONCE):
            with self._cache.transact():
                for number in range(first, min(first + AT_ONCE, len(self.names))):
                    self._cache[self.names[number]] = self.utterances[number]

    def find(self):
        """Look each up in the index."""
        if not all(name in self._cache for name in self.names):
            raise FileNotFoundError(self.folder)

    def __getitem__(self, number):
        return self._cache[self.names[number]]


class Lmdb(Store):
    """LMDB: one file, a B+ tree in a memory map; values are read without a copy."""

    module = "lmdb"

    def __init__(self, folder, utterances):
        super().__init__(folder, utterances)
        import lmdb

        self._environment = lmdb.open(str(folder), map_size=2**36)

    def write(self):
        """Write some at once."""
        for first in range(0, len(self.names), AT_ONCE):
            with self._environment.begin(write=True) as transaction:
                for number in range(first, min(first + AT_ONCE, len(self.names))):
                    value = np.ascontiguousarray(self.utterances[number])
                    transaction.put(self.utterances.keys[number], value.data)

    def find(self):
        """Take views of all values."""
        self._transaction = self._environment.begin(buffers=True)
        self._values = [self._transaction.get(key) for key in self.utterances.keys]

    def __getitem__(self, number):
        values = np.frombuffer(self._values[number], np.float32)
        return values.reshape(-1, self.utterances.n_mels)


class ZarrArrays(Store):
    """zarr: a group with an array, of one chunk, per utterance."""

    module = "zarr"

    def write(self):
        """Write an array for each."""
        import zarr

        group = zarr.open_group(str(self.folder), mode="w")
        for number, name in enumerate(self.names):
            utterance = self.utterances[number]
            group.create_array(name, data=utterance, chunks=utterance.shape, compressors=None)

    def find(self):
        """Open all arrays."""
        import zarr

        group = zarr.open_group(str(self.folder), mode="r")
        self._arrays = [group[name] for name in self.names]

    def __getitem__(self, number):
        return self._arrays[number][:]


class ZarrArray(Store):
    """zarr: all utterances end to end in one array of 1 MiB chunks, written by one process."""

    module = "zarr"

    def write(self):
        """Write whole chunks only: a chunk that is written twice would be read in between."""
        import zarr

        n_mels = self.utterances.n_mels
        stops = np.cumsum(self.utterances.lengths)
        rows = max(1, 2**18 // n_mels)
        array = zarr.create_array(
            str(self.folder / "frames"),
            shape=(int(stops[-1]), n_mels),
            chunks=(rows, n_mels),
            dtype="float32",
            compressors=None,
        )
        done, waiting = 0, []
        for utterance in self.utterances:
            waiting.append(utterance)
            ready = sum(map(len, waiting)) // rows * rows
            if ready:
                block = np.concatenate(waiting)
                array[done : done + ready] = block[:ready]
                done, waiting = done + ready, [block[ready:]]
        array[done:] = np.concatenate(waiting)
        np.save(self.folder / "stops.npy", stops)

    def find(self):
        """Open the array and its index."""
        import zarr

        self._array = zarr.open_array(str(self.folder / "frames"), mode="r")
        stops = np.load(self.folder / "stops.npy")
        self._starts = np.concatenate([[0], stops[:-1]])
        self._stops = stops

    def __getitem__(self, number):
        return self._array[self._starts[number] : self._stops[number]]

    def gather(self, numbers, firsts):
        """Read chunks only, not whole utterances."""
        starts = self._starts[numbers] + firsts
        return np.stack([self._array[start : start + SHORTEST] for start in starts])


STORES = {
    "FeatureStore": OurStore,
    "joblib.Memory": JoblibMemory,
    ".npy per utterance": FilePerUtterance,
    "diskcache": DiskCache,
    "lmdb": Lmdb,
    "zarr, array each": ZarrArrays,
    "zarr, one array": ZarrArray,
}
