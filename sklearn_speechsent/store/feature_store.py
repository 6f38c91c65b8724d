"""Stores of features: a folder that keeps them, and the null store that keeps nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.store.compute import COUNTS, Function, compute_all, compute_missing
from sklearn_speechsent.store.keys import KEY_SIZE, as_key_array, digest, settings_digest
from sklearn_speechsent.store.leases import LEASES
from sklearn_speechsent.store.rows import Rows
from sklearn_speechsent.store.shard import (
    DamagedShardError,
    StoreError,
    read_shard,
    shard_paths,
)
from sklearn_speechsent.store.step_cache import StepCache
from sklearn_speechsent.utils.files import PART, atomic_write, remove_abandoned

#: Version of the layout: part of the name of every step cache, so that another one starts afresh.
FORMAT = 1
_SETTINGS = "settings.json"
_STEP_CACHE = re.compile(r"[a-z_]+-[0-9a-f]{16}")
#: Bytes that are written to find out whether there is room: a block of most disks.
_TRIAL = 4096
#: Key of the frames that replace those of utterances that could not be computed.
_REPLACED = bytes(KEY_SIZE)

#: What ``compute`` gives: frames of the rows that could be computed, or None without any, and the
#: problems of the others, by row.
Computed = tuple[UtteranceFrames | None, dict[int, Any]]


class NullStore:
    """Store that keeps nothing: ``memory=None``.

    It computes all rows of a step and holds the results in memory.
    """

    def prepare(self) -> None:
        """Nothing needs to be there."""

    def compute(
        self,
        step: str,
        settings: dict[str, Any],
        rows: Rows,
        function: Function,
        *,
        frames: bool = True,
        replacement: NDArray[Any] | None = None,
        lengths: NDArray[np.int64] | None = None,
        **progress: Any,
    ) -> Computed:
        """Compute all rows, see :meth:`FeatureStore.compute`."""
        results = compute_all(len(rows), rows.take, function, **progress)
        if lengths is not None:
            return _in_place(results, lengths), {}
        problems: dict[int, Any] = {}

        def arrays() -> Iterator[NDArray[Any]]:
            for row, result in enumerate(results):
                if not isinstance(result, Exception):
                    yield result
                    continue
                problems[row] = result
                if replacement is not None:
                    yield replacement

        made = _end_to_end(arrays())
        return (None if len(problems) == len(rows) else made), problems

    def room(self) -> tuple[int, str, str]:
        """Bytes that results may take, where that is, and what to do if they take more."""
        return _memory_size() // 2, "half of this machine's memory", "Set memory= to a folder"


def _end_to_end(arrays: Iterator[NDArray[Any]]) -> UtteranceFrames | None:
    """Arrays of unknown lengths behind one another, so that none is held twice for long."""
    base, stops = next(arrays, None), []
    if base is None:
        return None
    stops.append(len(base))
    for array in arrays:
        stop = stops[-1] + len(array)
        if len(stops) == 1:
            base = base.copy()  # one that can grow
        if stop > len(base):  # with room to spare, so that it is not moved for every array
            base.resize((stop + stop // 8, *base.shape[1:]), refcheck=False)
        if array.dtype != base.dtype:
            base = base.astype(np.result_type(array, base))
        base[stops[-1] : stop] = array
        stops.append(stop)
    return UtteranceFrames(base[: stops[-1]], [0, *stops[:-1]], stops)


def _in_place(results: Iterator[Any], lengths: NDArray[np.int64]) -> UtteranceFrames:
    """Arrays of known lengths, each written to where it stays, so that none is held twice."""
    stops = np.cumsum(lengths)
    starts = stops - lengths
    base: NDArray[Any] | None = None
    for start, stop, array in zip(starts, stops, results, strict=True):
        if base is None:
            base = np.empty((int(stops[-1]), *array.shape[1:]), array.dtype)
        base[start:stop] = array
    assert base is not None
    return UtteranceFrames(base, starts, stops)


def _memory_size() -> int:
    """Physical memory in bytes, or a large number where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**62


class FeatureStore:
    """Folder in which the steps of a Pipeline store the features of each utterance.

    Every ``memory=`` of this package takes one, or just the path of its folder. Features are stored
    by the content of a recording (or of an utterance's frames) and by all settings that made them,
    never by names, and are found again from other folders, machines and programs. Many processes
    may use one folder at the same time, also on several machines; they share the work. Whatever
    happens to a process, the files in the folder are complete.

    Parameters
    ----------
    folder : str or Path
        Made by the first fit. A relative one is in the working directory of the moment in which
        this object is made; a pickle of it names the same folder anywhere.
    dtype : {"float16", "float32"}, optional
        Type that frames are stored in; None stores them as they are. float16 halves the space, and
        moves log-mel frames by up to 0.008. Rows of one vector per utterance keep their type.

    See Also
    --------
    sklearn_speechsent.store.check_store : What ``memory=`` may be.

    Notes
    -----
    Each step has a subfolder for each of its settings, and in it shards: ``.npy`` files that hold
    the frames of some hundred utterances end to end, with their keys and checksums behind. Frames
    of a corpus are then opened as they lie, through memory maps, as one
    :class:`~sklearn_speechsent.UtteranceFrames`: a fold, a candidate or a worker gets row numbers
    and file names, never a copy. A file per utterance would cost an opening for each;
    ``benchmarks/scale`` compares.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from sklearn_speechsent import FeatureStore, MelFilterBank
    >>> recordings = np.random.default_rng(0).normal(scale=0.1, size=(3, 8000))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = FeatureStore(folder)
    ...     frames = [MelFilterBank(memory=store).fit_transform(recordings) for _ in range(2)]
    ...     equal = np.array_equal(frames[0][2], frames[1][2])
    ...     store.summary()[["step", "utterances", "hits", "misses"]]
    ...     store.check().empty
      step  utterances  hits  misses
    0  band           3     3       3
    1   mfb           3     3       3
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

    def prepare(self) -> None:
        """Make the folder, and try whether it can be written to.

        Raises
        ------
        StoreError
            If not, unless features are stored in it already: they may be all that is needed.
        """
        try:
            if not self._step_caches():
                self.folder.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=self.folder) as file:
                    file.write(bytes(_TRIAL))
        except OSError as exception:
            raise StoreError.about(self.folder, exception) from exception

    def compute(
        self,
        step: str,
        settings: dict[str, Any],
        rows: Rows,
        function: Function,
        *,
        frames: bool = True,
        replacement: NDArray[Any] | None = None,
        lengths: NDArray[np.int64] | None = None,
        **progress: Any,
    ) -> Computed:
        """Results of a step, once those that are not stored have been computed.

        Parameters
        ----------
        step : str
            Lower-case name.
        settings : dict
            All that results depend on next to the input, as JSON can hold it.
        rows : Rows
        function : callable
            Gives the result of each item of a batch of rows, or an exception that says why there
            is none.
        frames : bool, default=True
            Whether results are frames, which are stored as ``dtype``, rather than one row per
            utterance.
        replacement : ndarray of shape (1, ...), optional
            Frames of rows with a problem; None leaves them out.
        lengths : ndarray of int of shape (n,), optional
            Number of frames of each result, where that is known beforehand.
        **progress : dict
            ``n_jobs``, ``prefer``, ``verbose`` and ``label``, see
            ``sklearn_speechsent.store.compute.compute_missing``.

        Returns
        -------
        made : UtteranceFrames or None
            As they lie in the files of the store, in the order of the rows; None if there are none.
        problems : dict of int to Exception
            By row.
        """
        cache = self.step_cache(step, settings, frames=frames)
        names = [key.tobytes() for key in rows.keys(self)]
        failed = compute_missing(cache, names, rows.take, function, **progress)
        problems = {row: failed[name] for row, name in enumerate(names) if name in failed}
        if failed and replacement is not None:
            compute_missing(cache, [_REPLACED], lambda rows: [replacement], iter)
            names = [_REPLACED if name in failed else name for name in names]
        good = [name for name in names if name not in failed]
        if not good:
            return None, problems
        base, starts, stops = cache.frames(good)
        # The name of the folder stands for the step and all settings.
        step_name = cache.folder.name.encode()
        made = as_key_array(digest(step_name, name) for name in good)
        return UtteranceFrames(base, starts, stops, keys=made), problems

    def room(self) -> tuple[int, str, str]:
        """Bytes that results may take, where that is, and what to do if they take more."""
        there = next(path for path in [self.folder, *self.folder.parents] if path.exists())
        free = shutil.disk_usage(there).free
        return free, f"what is free in {there}", "Choose another folder by memory="

    def step_cache(self, step: str, settings: dict[str, Any], *, frames: bool = True) -> StepCache:
        """Part of the store that holds the results of one step with one set of settings.

        Parameters
        ----------
        step : str
            Lower-case name.
        settings : dict
            All that results depend on next to the input, as JSON can hold it.
        frames : bool, default=True
            Whether results are frames, which are stored as ``dtype``.

        Returns
        -------
        StepCache

        Raises
        ------
        StoreError
            If it is new and the folder cannot be written to.
        """
        dtype = self.dtype if frames else None
        record = {"step": step, "settings": settings, "stored_as": dtype, "format": FORMAT}
        folder = self.folder / f"{step}-{settings_digest(record).hex()[:16]}"
        if not os.path.exists(folder / _SETTINGS):  # False where it may not be looked at, too
            text = json.dumps(record, indent=1, sort_keys=True)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                atomic_write(folder / _SETTINGS, text.encode())
            except OSError as exception:
                raise StoreError.about(self.folder, exception) from exception
        return StepCache(folder, dtype)

    def summary(self) -> pd.DataFrame:
        """Stored features by step, and how many of them this process found.

        Returns
        -------
        DataFrame
            A row per step and settings: ``step``, ``settings`` (dict), ``utterances``, ``files``,
            ``bytes`` on disk; ``hits`` and ``misses``, utterances that this process (not its
            workers) found and did not find; ``folder``.
        """
        rows = []
        for folder in self._step_caches():
            cache = StepCache(folder)
            cache.refresh()
            shards = shard_paths(folder)
            record = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            hits, misses = COUNTS[str(folder)].tolist()
            rows.append(
                {
                    "step": record["step"],
                    "settings": record["settings"],
                    "utterances": len(cache),
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
            Whether to remove damaged files, whose utterances are then computed again when they are
            needed. Files that cannot be read stay: their contents may be good.

        Returns
        -------
        DataFrame
            A row per damaged file: ``file``, ``utterances`` (number of damaged ones; 0 if the file
            as a whole makes no sense) and ``problem``. Empty without damage.
        """
        rows = []
        for path in self._shards():
            damaged, known = 0, True
            try:
                damaged = len(read_shard(path).damaged())
                problem = "" if damaged == 0 else "frames differ from what was written"
            except FileNotFoundError:  # removed in the meantime
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
        """Remove all stored features; other files in the folder stay."""
        for folder in self._step_caches():
            remove_abandoned(folder, PART, LEASES)
            for path in [*shard_paths(folder), folder / _SETTINGS]:
                path.unlink(missing_ok=True)
            try:
                folder.rmdir()
            except OSError:  # another process is about to write
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
        Use is noted once an hour. A program that holds frames of a removed file gets an error when
        it reads them next.
        """
        shards = [(path.stat(), path) for path in self._shards()]
        size = sum(status.st_size for status, _ in shards)
        for status, path in sorted(shards, key=lambda item: item[0].st_mtime):
            if size <= bytes_limit:
                break
            path.unlink(missing_ok=True)
            size -= status.st_size
        return size

    def _step_caches(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(
            path
            for path in self.folder.iterdir()
            if _STEP_CACHE.fullmatch(path.name) and (path / _SETTINGS).is_file()
        )

    def _shards(self) -> Iterator[Path]:
        for folder in self._step_caches():
            yield from shard_paths(folder)


def check_store(memory: Any) -> FeatureStore | NullStore:
    """Store that the parameter ``memory`` of a step stands for.

    Parameters
    ----------
    memory : FeatureStore, str, Path, joblib.Memory or None
        A :class:`joblib.Memory` stands for a sub-folder of its own folder.

    Returns
    -------
    FeatureStore or NullStore

    Raises
    ------
    ValueError
        If a ``joblib.Memory`` stores elsewhere than in a local folder.
    """
    if memory is None:
        return NullStore()
    if isinstance(memory, FeatureStore):
        return memory
    if isinstance(memory, joblib.Memory):
        if memory.store_backend is None:
            return NullStore()
        if memory.backend != "local":
            raise ValueError(
                f"memory={memory!r} does not store in a local folder, which features need. Pass "
                "the path of a folder."
            )
        return FeatureStore(Path(memory.location) / "speechsent")
    return FeatureStore(memory)
