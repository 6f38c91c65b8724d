"""One file of a store: the frames of some utterances, written once and never changed.

A shard is four NumPy arrays, one behind the other in the format of ``.npy``: frames end to end,
where each utterance stops, the keys, and a checksum of each utterance, with one of all the rest
behind. ``numpy.load`` reads the frames of any of them.
"""

from __future__ import annotations

import errno
import math
import os
import re
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sklearn_speechsent.store.keys import KEY_SIZE, as_key_array
from sklearn_speechsent.utils.files import PART, create_locked

#: Suffix of finished shards.
SUFFIX = ".npy"
_NAME = re.compile(rf"[0-9a-f]{{32}}\{SUFFIX}")
#: A shard is finished after this number of bytes or seconds, whichever comes first: no more work
#: is lost when the process is interrupted.
_MAX_BYTES, _MAX_SECONDS = 2**27, 20.0


class StoreError(OSError):
    """A feature store that cannot be written to; what it holds already is not touched."""

    @classmethod
    def about(cls, folder: Path, cause: OSError, n_missing: int | None = None) -> StoreError:
        """Say what is wrong with a folder, and what to do.

        Parameters
        ----------
        folder : Path
        cause : OSError
        n_missing : int, optional
            Utterances that were about to be computed.

        Returns
        -------
        StoreError
        """
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = (
                "Make room, store frames as float16 (FeatureStore(folder, dtype='float16')), "
                "remove what was used longest ago (FeatureStore(folder).reduce_size(bytes_limit)), "
                "or choose another folder by memory="
            )
        else:
            remedy = "Make it writable, or choose another folder by memory="
        wanted = "" if n_missing is None else f" {n_missing} utterances are missing in it."
        return cls(
            cause.errno,
            f"The feature store {folder} cannot be written to ({cause.strerror or cause}).{wanted} "
            "What was stored before is complete, and the same command resumes from there. "
            f"{remedy}",
        )


class DamagedShardError(ValueError):
    """A file that is not a complete shard."""


def shard_paths(folder: Path) -> list[Path]:
    """Files that are named like shards; other files in the folder are ignored.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
        Empty if there is no folder.
    """
    try:
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if _NAME.fullmatch(entry.name)]
            return sorted(Path(entry.path) for entry in named if entry.is_file())
    except FileNotFoundError:
        return []


@dataclass(frozen=True)
class Shard:
    """Contents of a shard, except for the frames.

    Parameters
    ----------
    path : Path
    offset : int
        Byte at which the frames begin.
    frame_shape : tuple of int
    dtype : dtype
    stops : ndarray of int of shape (n,)
        Row behind the last one of each utterance; the next one begins there.
    keys : ndarray of uint8 of shape (n, KEY_SIZE)
    checksums : ndarray of uint32 of shape (n,)
    """

    path: Path
    offset: int
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stops: NDArray[np.int64]
    keys: NDArray[np.uint8]
    checksums: NDArray[np.uint32]

    @property
    def n_rows(self) -> int:
        """Rows of all utterances."""
        return int(self.stops[-1])

    @property
    def n_bytes(self) -> int:
        """Bytes of the frames."""
        return self.n_rows * int(np.prod(self.frame_shape, dtype=np.int64)) * self.dtype.itemsize

    def damaged(self) -> NDArray[np.int64]:
        """Read all frames, and compare them with what was written.

        Returns
        -------
        ndarray of int
            Positions of the utterances that differ from what was written.
        """
        row_bytes = self.n_bytes // self.n_rows
        lengths = np.diff(self.stops, prepend=0)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            found = [zlib.crc32(file.read(int(length) * row_bytes)) for length in lengths]
        return np.flatnonzero(np.array(found, np.uint32) != self.checksums)


def read_shard(path: Path) -> Shard:
    """Read the contents of a shard, except for the frames.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Shard

    Raises
    ------
    DamagedShardError
        If it is cut off, or not a shard.
    OSError
        If it was removed or cannot be read; its contents may be good.
    """
    with path.open("rb") as file:
        try:
            npy.read_magic(file)
            shape, fortran_order, dtype = npy.read_array_header_1_0(file)
            offset = file.tell()
            end = offset + math.prod(shape) * dtype.itemsize
            if not offset < end < os.fstat(file.fileno()).st_size:
                raise ValueError("it is cut off.")
            file.seek(end)
            stops, keys, checksums = (npy.read_array(file, allow_pickle=False) for _ in range(3))
            whole = not file.read(1) and not fortran_order and not dtype.hasobject
        except OSError:
            raise
        except Exception as exception:  # NumPy reads headers as Python, which can fail in any way
            raise DamagedShardError(f"{path} is not a shard of a store: {exception}") from exception
    n = stops.size
    shapes = (stops.shape, keys.shape, checksums.shape)
    fits = shapes == ((n,), (n, KEY_SIZE), (n + 1,)) and n > 0 and len(shape) > 0
    if not (whole and fits and stops[-1] == shape[0] and (np.diff(stops, prepend=0) > 0).all()):
        raise DamagedShardError(f"{path} is not a shard of a store: its parts do not fit together.")
    if _table_checksum(shape[1:], dtype, stops, keys, checksums[:-1]) != checksums[-1]:
        raise DamagedShardError(f"{path} is not a shard of a store: its table has changed.")
    return Shard(path, offset, shape[1:], dtype, stops, keys, checksums[:-1])


def _table_checksum(
    frame_shape: tuple[int, ...], dtype: np.dtype[Any], *table: NDArray[Any]
) -> int:
    """Checksum of everything but the frames: damage would give frames to other utterances."""
    checksum = zlib.crc32(f"{frame_shape} {dtype.str}".encode())
    for column in table:
        checksum = zlib.crc32(np.ascontiguousarray(column).tobytes(), checksum)
    return checksum


class ShardWriter:
    """Adds utterances to a file that gets its name when it is finished.

    Parameters
    ----------
    folder : Path
    dtype : dtype, optional
        Type that frames are converted to; None is the type of the first ones.

    Notes
    -----
    The file is locked while it is written. One that is not locked belongs to a process that has
    ended, and is removed by the next one.
    """

    def __init__(self, folder: Path, dtype: Any = None) -> None:
        self.folder = folder
        self.dtype = None if dtype is None else np.dtype(dtype)
        self._file: IO[bytes] | None = None

    def add(self, key: bytes, frames: NDArray[Any]) -> None:
        """Write the frames of one utterance.

        Parameters
        ----------
        key : bytes
        frames : ndarray of shape (n_frames, ...)
            One frame at least; of the shape of those before.

        Raises
        ------
        StoreError
            If they cannot be written; nothing is left of this shard then.
        ValueError
            If frames have another shape than those of the utterances before.
        """
        frames = np.ascontiguousarray(frames, self.dtype)
        if not frames.size or (self._file is not None and frames.shape[1:] != self._shape):
            raise ValueError(
                f"Frames of shape {frames.shape} cannot be stored"
                + (f" next to those of shape (n_frames, *{self._shape})." if self._file else ".")
            )
        try:
            if self._file is None:
                self._begin(frames)
            assert self._file is not None
            content = frames.reshape(-1).view(np.uint8).data
            self._file.write(content)
            self._keys.append(key)
            self._stops.append((self._stops[-1] if self._stops else 0) + len(frames))
            self._checksums.append(zlib.crc32(content))
        except OSError as exception:
            self.discard()
            raise StoreError.about(self.folder, exception) from exception
        late = time.monotonic() - self._begun > _MAX_SECONDS
        if late or self._stops[-1] * self._row_bytes >= _MAX_BYTES:
            self.commit()

    def commit(self) -> None:
        """Finish the file: other processes see it from here on, complete.

        Raises
        ------
        StoreError
            If it cannot be written; nothing is left of it then.
        """
        file = self._file
        if file is None:
            return
        assert self.dtype is not None
        stops, keys = np.array(self._stops, np.int64), as_key_array(self._keys)
        checksums = np.array(self._checksums, np.uint32)
        last = _table_checksum(self._shape, self.dtype, stops, keys, checksums)
        try:
            for column in (stops, keys, np.append(checksums, np.uint32(last))):
                npy.write_array(file, column, allow_pickle=False)
            file.seek(0)
            self._write_header(self._stops[-1])
            # Not forced to the disk, which would take a fifth of the time of an extraction: after a
            # power cut the last file may be damaged, which its checksum shows, and the work of
            # the last half minute is done again.
            file.flush()
            if os.name == "nt":  # which renames no open file
                file.close()
            os.replace(self._part, self._part.with_suffix(SUFFIX))
        except OSError as exception:
            self.discard()
            raise StoreError.about(self.folder, exception) from exception
        self._file = None
        file.close()

    def discard(self) -> None:
        """Remove the unfinished file."""
        file, self._file = self._file, None
        if file is None:
            return
        self._part.unlink(missing_ok=True)
        try:
            file.close()
        except OSError:  # the disk is full
            pass

    def _begin(self, frames: NDArray[Any]) -> None:
        self._part, self._file = create_locked(self.folder, lambda: f"{uuid4().hex}{PART}")
        self.dtype, self._shape = frames.dtype, frames.shape[1:]
        self._row_bytes = frames.nbytes // max(len(frames), 1)
        self._keys: list[bytes] = []
        self._stops: list[int] = []
        self._checksums: list[int] = []
        self._begun = time.monotonic()
        self._write_header(0)

    def _write_header(self, n_rows: int) -> None:
        # Headers of .npy have room for a larger first axis: both headers have the same size.
        assert self._file is not None and self.dtype is not None
        header = {
            "descr": npy.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (n_rows, *self._shape),
        }
        npy.write_array_header_1_0(self._file, header)
