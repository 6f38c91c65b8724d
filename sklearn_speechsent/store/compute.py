"""Computing what a shelf lacks: on threads, in processes or on a cluster, and beside others."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from tqdm.auto import tqdm

from sklearn_speechsent.store.leases import Claims
from sklearn_speechsent.store.shard import ShardWriter, StoreError
from sklearn_speechsent.store.step_cache import Shelf
from sklearn_speechsent.utils.files import folder_lock

#: Utterances of a task are a share of those that are missing, within limits. On threads there are
#: many small tasks, for the progress bar; elsewhere every task costs some milliseconds of its own
#: and makes a file, so that each worker gets a few large ones.
_TASKS, _TASKS_PER_WORKER, _SMALLEST, _LARGEST = 256, 16, 4, (128, 512)
#: Seconds between two looks at what others do, and after which nobody waits for them in vain.
_POLL, _PATIENCE = 0.1, 60.0
#: Entries found and computed by this process, by folder.
COUNTS: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(2, np.int64))

#: Gives an array for each item of a batch, in order, or the exception that says why there is none.
Function = Callable[[Any], Iterable[NDArray[Any] | Exception]]


def fill(
    shelf: Shelf,
    keys: list[bytes],
    take: Callable[[list[int]], Any],
    function: Function,
    *,
    n_jobs: int | None = None,
    verbose: int = 0,
    description: str = "",
) -> dict[bytes, Exception]:
    """Compute what is missing.

    Parameters
    ----------
    shelf : Shelf
    keys : list of bytes
        One per row.
    take : callable
        Gives the batch of some rows; what it gives travels to where it is computed.
    function : callable
        Gives the frames of each item of a batch, or an exception that says why there are none.
    n_jobs : int, optional
        Threads, unless ``joblib.parallel_config`` says who works.
    verbose : int, default=0
        Whether to show a progress bar.
    description : str
        Its label.

    Returns
    -------
    dict of bytes to Exception
        Why some keys could not be computed; nothing is kept of these.

    Raises
    ------
    StoreError
        If something is missing and the folder cannot be written to.

    Notes
    -----
    Processes that fill the same shelf tell each other what they have taken on, compute the rest,
    and in the end wait for each other as long as there is progress.
    """
    shelf.refresh()
    rows: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, row)
    missing = [key for key in rows if key not in shelf]
    COUNTS[str(shelf.folder)] += len(rows) - len(missing), len(missing)
    problems: dict[bytes, Exception] = {}
    if not missing:
        with suppress(OSError):  # it may be for reading only
            shelf.tidy()
        return problems
    try:
        shelf.tidy()
        claims = Claims(shelf.folder)
    except OSError as exception:
        raise StoreError.about(shelf.folder, exception, len(missing)) from exception
    where = _where()
    size = _task_size(len(missing), n_jobs, where)
    bar = tqdm(
        total=len(rows),
        initial=len(rows) - len(missing),
        desc=description,
        unit="utt",
        disable=not verbose,
    )
    with bar, claims:
        changed = time.monotonic()
        while missing:
            taken = claims.of_others()
            # Those that keep others waiting for too long are not waited for.
            stuck = taken if time.monotonic() - changed > _PATIENCE else set()
            free = [key for key in missing if key in stuck or key not in taken]
            with Writers(shelf.folder, shelf.dtype) as writers:
                tasks = (
                    joblib.delayed(_compute)(
                        writers, function, take([rows[k] for k in block]), block
                    )
                    for block in _blocks(free, size, shelf, claims, stuck)
                )
                workers = joblib.Parallel(n_jobs, return_as="generator_unordered", **where)
                with closing(workers(tasks)) as results:
                    for block, found in results:
                        problems |= found
                        bar.update(len(block))
            shelf.refresh()
            left = [key for key in rows if key not in shelf and key not in problems]
            if len(left) < len(missing):
                changed = time.monotonic()
            elif not free:
                time.sleep(_POLL)
            missing = left
        bar.update(bar.total - bar.n)  # what others have done
    shelf.tidy()
    return problems


def _task_size(n_missing: int, n_jobs: int | None, where: dict[str, str]) -> int:
    backend, _ = get_active_backend(**where)
    if getattr(backend, "supports_sharedmem", False):
        return int(np.clip(n_missing // _TASKS, _SMALLEST, _LARGEST[0]))
    n_workers = joblib.effective_n_jobs(n_jobs)
    return int(np.clip(n_missing // (_TASKS_PER_WORKER * n_workers), _SMALLEST, _LARGEST[1]))


def _where() -> dict[str, str]:
    """Threads, because the work releases the interpreter lock, unless somebody said where to work.

    And threads in the tasks of a cluster.

    A task that waits for another one's claims keeps a place on the cluster. If what was claimed
    were tasks that need a place, too, all of them might wait for each other.
    """
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            distributed.get_worker()
        except ValueError:  # not in a task
            pass
        else:
            return {"require": "sharedmem"}
    return {"prefer": "threads"}


def _blocks(
    keys: list[bytes], size: int, shelf: Shelf, claims: Claims, stuck: set[bytes]
) -> Iterator[list[bytes]]:
    """Pieces of what nobody else has done or taken on, each taken on as it is handed out."""
    if claims.has_company():  # where there are no turns, not all should want the same pieces
        first = uuid4().int % max(len(keys), 1)
        keys = keys[first:] + keys[:first]
    waiting = deque(keys)
    while waiting:
        block: list[bytes] = []
        with folder_lock(shelf.folder):
            taken = claims.of_others() - stuck
            shelf.refresh()  # afterwards: what has been given back is done
            while waiting and len(block) < size:
                key = waiting.popleft()
                if key not in taken and key not in shelf:
                    block.append(key)
            claims.add(block)
        if block:
            yield block


def _compute(
    writers: Writers, function: Function, batch: Any, keys: list[bytes]
) -> tuple[list[bytes], dict[bytes, Exception]]:
    """Compute a block and write it; the result says for which keys there is a problem instead."""
    problems: dict[bytes, Exception] = {}
    with writers.one() as writer:
        for key, result in zip(keys, function(batch), strict=True):
            if isinstance(result, Exception):
                problems[key] = result
            else:
                writer.add(key, result)
    return keys, problems


class Writers:
    """Writers of shards, one for every thread that writes at the same time.

    Shards go on from task to task. In another process, where nobody will say that the last task
    is done, each task finishes its own.

    Parameters
    ----------
    folder : Path
    dtype : dtype or None
    """

    def __init__(self, folder: Path, dtype: Any) -> None:
        self.folder = folder
        self.dtype = dtype
        self._idle: list[ShardWriter] = []
        self._lock = threading.Lock()
        self._open = True

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *error: object) -> None:
        """Finish all shards; threads that are still at work finish theirs later."""
        with self._lock:
            self._open = False
            idle, self._idle = self._idle, []
        problems = []
        for writer in idle:
            try:
                writer.commit()
            except StoreError as exception:
                problems.append(exception)
        if problems:
            raise problems[0]

    @contextmanager
    def one(self) -> Iterator[ShardWriter]:
        """Lend a writer; what was added to it counts, whatever happens after."""
        with self._lock:
            writer = self._idle.pop() if self._idle else ShardWriter(self.folder, self.dtype)
        try:
            yield writer
        finally:
            with self._lock:
                lent_on = self._open
                if lent_on:
                    self._idle.append(writer)
            if not lent_on:
                writer.commit()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "dtype": self.dtype}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
        self._open = False
