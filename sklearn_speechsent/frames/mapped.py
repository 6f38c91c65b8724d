"""Frames that stay in files: many files seen as one flat array."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Bytes of files that are mapped at a time, or one file. Pages that were read count as memory of
#: the process while they are mapped; mapping a file again takes some ten microseconds.
_MAPPED = 2**28
#: Number of files that are mapped at a time: a process may have a thousand descriptors or less.
_OPEN = 64


@contextmanager
def _explained() -> Iterator[None]:
    """Explain why a file may be missing."""
    try:
        yield
    except FileNotFoundError as exception:
        exception.strerror = (
            "Features have been removed from their store since they were looked up; transform again"
        )
        raise


class FrameFiles:
    """Rows of many files as one array.

    It can be indexed along its first axis as :class:`~sklearn_speechsent.UtteranceFrames` needs it:
    by slices, which are views of a memory map where they lie within one file, and by integer
    arrays, of which consecutive rows are read at once. A pickle holds the names of the files.

    Parameters
    ----------
    paths : sequence of path-like
        Files that hold rows of one shape and type in C order.
    lengths : sequence of int
        Rows of each file.
    offsets : sequence of int
        Byte of each file at which the rows begin.
    frame_shape : tuple of int
        Shape of a row.
    dtype : dtype

    Raises
    ------
    FileNotFoundError
        By indexing, if a file was removed.
    IndexError
        By indexing with anything else, or with rows out of range.
    ValueError
        By indexing, if a file has become shorter.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [Path(folder, name) for name in "ab"]
    ...     for number, path in enumerate(paths):
    ...         np.full((3, 2), number, np.float32).tofile(path)
    ...     files = FrameFiles(paths, [3, 3], [0, 0], (2,), np.float32)
    ...     files[[2, 3]].tolist(), files[4:6].shape
    ([[0.0, 0.0], [1.0, 1.0]], (2, 2))
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        lengths: Sequence[int],
        offsets: Sequence[int],
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
    ) -> None:
        self.paths = [str(path) for path in paths]
        self.offsets = [int(offset) for offset in offsets]
        #: First row of each file, and the end of the last one.
        self.edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.shape = (int(self.edges[-1]), *frame_shape)
        self.dtype = np.dtype(dtype)
        self._maps: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            number = int(np.searchsorted(self.edges, start, side="right")) - 1
            if step == 1 and start < stop <= self.edges[number + 1]:
                first = self.edges[number]
                return self._map(number)[start - first : stop - first]
            key = np.arange(start, stop, step)
        rows = np.asarray(key)
        if rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"Rows must be whole numbers from 0 to {len(self) - 1}, got {key!r}.")
        gathered = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        content = gathered.reshape(-1).view(np.uint8).reshape(rows.size, row_bytes)
        self._read(rows.reshape(-1).astype(np.int64), content)
        return gathered

    def _read(self, rows: NDArray[np.int64], content: NDArray[np.uint8]) -> None:
        """Fill an array of bytes with rows, by one read for each run of consecutive ones.

        Maps are slower here, because the system enters each of their pages when it is touched.
        """
        places = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        lengths = np.diff(places, append=len(rows))
        # Padding is one row again and again.
        repeated = (lengths == 1) & (places > 0) & (rows[places] == rows[places - 1])
        copies, places, lengths = places[repeated], places[~repeated], lengths[~repeated]
        sources = (places + lengths)[np.searchsorted(places, copies) - 1] - 1
        firsts = rows[places]
        while len(places):
            numbers = np.searchsorted(self.edges, firsts, side="right") - 1
            read = np.minimum(lengths, self.edges[numbers + 1] - firsts)
            for number in np.unique(numbers):
                with _explained(), open(self.paths[number], "rb") as file:
                    for run in np.flatnonzero(numbers == number):
                        part = content[places[run] : places[run] + read[run]]
                        row = firsts[run] - self.edges[number]
                        file.seek(self.offsets[number] + row * part.shape[1])
                        if file.readinto(part.data) < part.nbytes:
                            raise ValueError(f"{self.paths[number]} has become shorter.")
            more = read < lengths  # in the next file
            places, firsts, lengths = (
                (places + read)[more],
                (firsts + read)[more],
                (lengths - read)[more],
            )
        content[copies] = content[sources]

    def _map(self, number: int) -> NDArray[Any]:
        with self._lock:
            mapped = self._maps.pop(number, None)
            if mapped is None:
                n_rows = int(self.edges[number + 1] - self.edges[number])
                shape = (n_rows, *self.shape[1:])
                with _explained():
                    mapped = np.memmap(
                        self.paths[number], self.dtype, "r", self.offsets[number], shape
                    ).view(np.ndarray)
            self._maps[number] = mapped  # the one used last stands last
            while len(self._maps) > 1 and (
                len(self._maps) > _OPEN or sum(m.nbytes for m in self._maps.values()) > _MAPPED
            ):
                self._maps.popitem(last=False)
        return mapped

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_maps", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._maps, self._lock = OrderedDict(), threading.Lock()
