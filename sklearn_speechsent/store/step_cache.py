"""Results of one step with one set of settings: a folder of shards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.mapped import FrameFiles
from sklearn_speechsent.store.leases import LEASES
from sklearn_speechsent.store.shard import (
    DamagedShardError,
    Shard,
    read_shard,
    shard_paths,
)
from sklearn_speechsent.utils.files import PART, remove_abandoned

#: Seconds after which the use of a shard is noted again.
_TOUCH = 3600.0


class StepCache:
    """Frames of utterances by their keys, in a folder that many processes may write to at once.

    Parameters
    ----------
    folder : Path
    dtype : dtype, optional
        Type that frames are stored in; None stores them as they are.
    """

    def __init__(self, folder: Path, dtype: Any = None) -> None:
        self.folder = folder
        self.dtype = dtype
        self._shards: dict[str, Shard] = {}
        self._damaged: set[str] = set()
        self._places: dict[bytes, tuple[str, int]] = {}

    # -- reading ---------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Notice shards that were added or removed."""
        names = {path.name for path in shard_paths(self.folder)}
        gone = self._shards.keys() - names
        if gone:
            self._places = {k: v for k, v in self._places.items() if v[0] not in gone}
            for name in gone:
                del self._shards[name]
        for name in sorted(names - self._shards.keys() - self._damaged):
            try:
                shard = read_shard(self.folder / name)
            except OSError:  # removed, or not readable for this user
                continue
            except DamagedShardError:
                self._damaged.add(name)
                continue
            self._shards[name] = shard
            content = shard.keys.tobytes()
            size = shard.keys.shape[1]
            for position in range(len(shard.keys)):
                key = content[size * position : size * (position + 1)]
                self._places.setdefault(key, (name, position))

    def frames(
        self, keys: Iterable[bytes]
    ) -> tuple[FrameFiles, NDArray[np.int64], NDArray[np.int64]]:
        """Open the stored frames of utterances.

        Parameters
        ----------
        keys : iterable of bytes
            Of entries that are stored.

        Returns
        -------
        base : FrameFiles
        starts, stops : ndarray of int of shape (n,)
            Rows of each utterance in it.
        """
        places = [self._places[key] for key in keys]
        names = list(dict.fromkeys(name for name, _ in places))
        shards = [self._shards[name] for name in names]
        first = shards[0]
        base = FrameFiles(
            [shard.path for shard in shards],
            [shard.n_rows for shard in shards],
            [shard.offset for shard in shards],
            first.frame_shape,
            first.dtype,
        )
        numbers = {name: number for number, name in enumerate(names)}
        files = np.array([numbers[name] for name, _ in places], np.int64)
        positions = np.array([position for _, position in places], np.int64)
        starts, stops = np.empty((2, len(places)), np.int64)
        for number, shard in enumerate(shards):
            chosen = files == number
            edges = np.concatenate([[0], shard.stops]) + base.edges[number]
            starts[chosen] = edges[positions[chosen]]
            stops[chosen] = edges[positions[chosen] + 1]
            _touch(shard.path)
        return base, starts, stops

    def tidy(self) -> None:
        """Make the folder if needed, and remove damaged and abandoned files.

        Raises
        ------
        OSError
            If the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder, PART, LEASES)
        for name in self._damaged:
            (self.folder / name).unlink(missing_ok=True)
        self._damaged.clear()

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)


def _touch(path: Path) -> None:
    """Mark a shard as used, for ``FeatureStore.reduce_size``."""
    try:
        if time.time() - path.stat().st_mtime > _TOUCH:
            os.utime(path)
    except OSError:  # a store that is only readable
        pass
