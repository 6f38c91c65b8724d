"""The folder in which features are kept, and its care."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sklearn_speechsent.store.compute import COUNTS
from sklearn_speechsent.store.keys import settings_digest
from sklearn_speechsent.store.leases import CLAIMS
from sklearn_speechsent.store.shard import (
    DamagedShardError,
    StoreError,
    read_shard,
    shard_paths,
)
from sklearn_speechsent.store.step_cache import Shelf
from sklearn_speechsent.utils.files import PART, atomic_write, remove_abandoned

#: Version of the layout: part of the name of every shelf, so that another one starts afresh.
FORMAT = 1
_SETTINGS = "settings.json"
_SHELF = re.compile(r"[a-z_]+-[0-9a-f]{16}")


class FeatureStore:
    """Folder in which the steps of a Pipeline keep the features of each utterance.

    Every ``memory=`` of this package takes one, or just the path of its folder. What is kept goes
    by the content of a recording (or of an utterance's frames) and by all settings that made it,
    never by names, and is found again from other folders, machines and programs. Many processes
    may use one folder at the same time, also on several machines; they share the work. Whatever
    happens to a process, what is in the folder is whole.

    Parameters
    ----------
    folder : str or Path
        Made when something is kept first.
    dtype : {"float16", "float32"}, optional
        What frames are kept as; None keeps the type they have. float16 halves the space, and
        moves log-mel frames by up to 0.008. Rows of one vector per utterance keep their type.

    Notes
    -----
    Each step has a subfolder for each of its settings, and in it shards: ``.npy`` files that hold
    the frames of some hundred utterances end to end, with their keys and checksums behind. Frames
    of a corpus are then opened as they lie, through memory maps, as one
    :class:`~sklearn_speechsent.UtteranceFrames`: a fold, a candidate or a worker gets row numbers
    and file names, never a copy. A file per utterance would cost an opening for each;
    ``benchmarks/feature_store.py`` compares.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from sklearn_speechsent import FeatureStore, MelFilterBank
    >>> recordings = np.random.default_rng(0).normal(scale=0.1, size=(3, 8000))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = FeatureStore(folder)
    ...     frames = [MelFilterBank(memory=store).fit_transform(recordings) for _ in range(2)]
    ...     equal = np.array_equal(frames[0][2], frames[1][2])
    ...     store.statistics()[["step", "utterances", "hits", "misses"]]
    ...     store.check().empty
      step  utterances  hits  misses
    0  mfb           3     3       3
    True
    >>> equal
    True
    """

    def __init__(self, folder: str | os.PathLike[str], *, dtype: str | None = None) -> None:
        if dtype not in (None, "float16", "float32"):
            raise ValueError(f"dtype={dtype!r} must be 'float16', 'float32' or None.")
        # Workers elsewhere have other working directories.
        self.folder = Path(folder).expanduser().absolute()
        self.dtype = dtype

    def __repr__(self) -> str:
        dtype = "" if self.dtype is None else f", dtype={self.dtype!r}"
        return f"FeatureStore({str(self.folder)!r}{dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureStore) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.folder, self.dtype))

    def shelf(self, step: str, settings: dict[str, Any], *, frames: bool = True) -> Shelf:
        """Part of the store that holds the results of one step with one set of settings.

        Parameters
        ----------
        step : str
            Lower-case name.
        settings : dict
            All that results depend on beside the input; what JSON can hold.
        frames : bool, default=True
            Whether results are frames, which are kept as ``dtype``.

        Returns
        -------
        Shelf

        Raises
        ------
        StoreError
            If it is new and the folder cannot be written to.
        """
        dtype = self.dtype if frames else None
        record = {"step": step, "settings": settings, "kept_as": dtype, "format": FORMAT}
        folder = self.folder / f"{step}-{settings_digest(record).hex()[:16]}"
        if not (folder / _SETTINGS).exists():
            text = json.dumps(record, indent=1, sort_keys=True)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                atomic_write(folder / _SETTINGS, text.encode())
            except OSError as exception:
                raise StoreError.about(self.folder, exception) from exception
        return Shelf(folder, dtype)

    def statistics(self) -> pd.DataFrame:
        """What is kept, and what this process found.

        Returns
        -------
        DataFrame
            A row per step and settings: ``step``, ``settings`` (dict), ``utterances``, ``files``,
            ``bytes`` on disk; ``hits`` and ``misses``, utterances that this process (not its
            workers) found and did not find; ``folder``.
        """
        rows = []
        for folder in self._shelves():
            shelf = Shelf(folder)
            shelf.refresh()
            shards = shard_paths(folder)
            record = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            hits, misses = COUNTS[str(folder)].tolist()
            rows.append(
                {
                    "step": record["step"],
                    "settings": record["settings"],
                    "utterances": len(shelf),
                    "files": len(shards),
                    "bytes": sum(path.stat().st_size for path in shards),
                    "hits": hits,
                    "misses": misses,
                    "folder": str(folder),
                }
            )
        columns = "step settings utterances files bytes hits misses folder".split()
        return pd.DataFrame(rows, columns=columns)

    def check(self, *, remove: bool = False) -> pd.DataFrame:
        """Read everything and compare it with its checksums.

        Parameters
        ----------
        remove : bool, default=False
            Whether to remove damaged files, whose utterances are then computed anew when they are
            asked for. Files that cannot be read stay: nobody knows what is in them.

        Returns
        -------
        DataFrame
            A row per damaged file: ``file``, ``utterances`` (number of damaged ones; 0 if the file
            as a whole makes no sense) and ``problem``. Empty if all is well.
        """
        rows = []
        for path in self._shards():
            damaged, known = 0, True
            try:
                damaged = len(read_shard(path).damaged())
                problem = "" if damaged == 0 else "frames differ from what was written"
            except FileNotFoundError:  # gone in the meantime
                continue
            except DamagedShardError as exception:
                problem = str(exception)
            except OSError as exception:
                problem, known = f"cannot be read: {exception}", False
            if problem:
                rows.append({"file": str(path), "utterances": damaged, "problem": problem})
                if remove and known:
                    path.unlink(missing_ok=True)
        return pd.DataFrame(rows, columns=["file", "utterances", "problem"])

    def clear(self) -> None:
        """Remove everything that is kept; other files in the folder stay."""
        for folder in self._shelves():
            remove_abandoned(folder, PART, CLAIMS)
            for path in [*shard_paths(folder), folder / _SETTINGS]:
                path.unlink(missing_ok=True)
            try:
                folder.rmdir()
            except OSError:  # somebody is about to write
                pass

    def reduce_size(self, bytes_limit: int) -> int:
        """Remove what was used longest ago, file by file, until the rest is small enough.

        Parameters
        ----------
        bytes_limit : int
            Bytes that may stay.

        Returns
        -------
        int
            Bytes that stay.

        Notes
        -----
        Use is noted once an hour. Frames that a program holds from files that are removed are an
        error to it when it looks at them next.
        """
        shards = [(path.stat(), path) for path in self._shards()]
        size = sum(status.st_size for status, _ in shards)
        for status, path in sorted(shards, key=lambda item: item[0].st_mtime):
            if size <= bytes_limit:
                break
            path.unlink(missing_ok=True)
            size -= status.st_size
        return size

    def _shelves(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(
            path
            for path in self.folder.iterdir()
            if _SHELF.fullmatch(path.name) and (path / _SETTINGS).is_file()
        )

    def _shards(self) -> Iterator[Path]:
        for folder in self._shelves():
            yield from shard_paths(folder)


def as_store(memory: FeatureStore | str | os.PathLike[str]) -> FeatureStore:
    """Store that the parameter ``memory`` of a step stands for.

    Parameters
    ----------
    memory : FeatureStore, str or Path

    Returns
    -------
    FeatureStore
    """
    return memory if isinstance(memory, FeatureStore) else FeatureStore(memory)
