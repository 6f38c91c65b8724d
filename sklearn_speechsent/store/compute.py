"""Computation of a step's results: on threads, in processes or on a cluster."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from tqdm.auto import tqdm

from sklearn_speechsent.store.leases import Leases
from sklearn_speechsent.store.shard import ShardWriter, StoreError
from sklearn_speechsent.store.step_cache import StepCache
from sklearn_speechsent.utils.files import folder_lock

#: Number of tasks on threads, tasks per worker elsewhere, and smallest and largest number of
#: utterances in a task (on threads, elsewhere). Small tasks move the progress bar; outside of
#: threads each costs some milliseconds and makes a file.
_TASKS, _TASKS_PER_WORKER, _SMALLEST, _LARGEST = 256, 16, 4, (128, 512)
#: Largest number of utterances in a task that stores nothing.
_UNSTORED = 16
#: Seconds between two looks at other processes, and the longest wait for one without progress.
_POLL, _PATIENCE = 0.1, 60.0
#: Entries found and computed by this process, by folder.
COUNTS: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(2, np.int64))

#: Gives an array for each item of a batch, in order, or the exception that says why there is none.
Function = Callable[[Any], Iterable[NDArray[Any] | Exception]]


def compute_all(
    n: int,
    take: Callable[[list[int]], Any],
    function: Function,
    *,
    n_jobs: int | None = None,
    verbose: int = 0,
    label: str = "",
    prefer: str = "threads",
) -> Iterator[NDArray[Any] | Exception]:
    """Compute all rows in order, with a progress bar, and store nothing.

    Parameters
    ----------
    n : int
        Number of rows.
    take : callable
        Gives the batch of some rows.
    function : callable
        Gives the frames of each item of a batch, or an exception that says why there are none.
    n_jobs : int, optional
        Workers, unless ``joblib.parallel_config`` names another backend.
    verbose : int, default=0
        Whether to show a progress bar.
    label : str
        Its label.
    prefer : {"threads", "processes", "neither"}, default="threads"
        Kind of workers. Decoding, resampling, Fourier transforms and large operations of torch
        release the interpreter lock; many small ones take turns with it, and two threads need
        longer for them than one: "neither" is this thread, unless processes are configured.

    Yields
    ------
    ndarray or Exception
        One per row.
    """
    n_jobs, prefer = _preferred(n_jobs, prefer)
    where = {"prefer": prefer}
    _, n_workers = _workers(n_jobs, where)
    with tqdm(total=n, desc=label, unit="utt", disable=not verbose) as bar, ExitStack() as stack:
        results: Iterable[Iterable[NDArray[Any] | Exception]]
        if n_workers == 1:  # one batch, whose items come as they are computed
            results = [function(take(list(range(n))))]
        else:
            size = max(1, min(_UNSTORED, n // (4 * n_workers)))
            blocks = (list(range(first, min(first + size, n))) for first in range(0, n, size))
            tasks = (joblib.delayed(_list)(function, take(rows)) for rows in blocks)
            results = stack.enter_context(closing(_run(tasks, n_jobs, where, in_order=True)))
        for block in results:
            for result in block:
                bar.update()
                yield result


def _list(function: Function, batch: Any) -> list[NDArray[Any] | Exception]:
    return list(function(batch))


def _preferred(n_jobs: int | None, prefer: str) -> tuple[int | None, str]:
    """Number of jobs and kind of workers, of which "neither" is one thread."""
    if prefer != "neither":
        return n_jobs, prefer
    return (1 if _workers(n_jobs, {"prefer": "threads"})[0] else n_jobs), "threads"


def _workers(n_jobs: int | None, where: dict[str, str]) -> tuple[bool, int]:
    """Whether workers are threads of this process, and how many there are."""
    backend, configured = get_active_backend(**where)
    n_workers = backend.effective_n_jobs(configured if n_jobs is None else n_jobs)
    return getattr(backend, "supports_sharedmem", False), n_workers


def _run(
    tasks: Iterable[Any], n_jobs: int | None, where: dict[str, str], *, in_order: bool
) -> Generator[Any]:
    """Results of delayed calls, each taken from ``tasks`` when a worker is about to be free.

    joblib looks for results every hundredth of a second, which is long for threads: they have a
    pool of their own.
    """
    here, n_workers = _workers(n_jobs, where)
    if not here:
        kind = "generator" if in_order else "generator_unordered"
        yield from joblib.Parallel(n_jobs, return_as=kind, **where)(tasks)
    elif n_workers == 1:
        yield from (function(*args, **kwargs) for function, args, kwargs in tasks)
    else:
        with ThreadPoolExecutor(n_workers) as pool:
            yield from _on_threads(pool, enumerate(tasks), 2 * n_workers, in_order)


def _on_threads(
    pool: ThreadPoolExecutor, tasks: Iterator[tuple[int, Any]], n_waiting: int, in_order: bool
) -> Iterator[Any]:
    running: dict[Future[Any], int] = {}
    results: dict[int, Any] = {}
    turn = 0
    try:
        while True:
            for number, (function, args, kwargs) in islice(tasks, n_waiting - len(running)):
                running[pool.submit(function, *args, **kwargs)] = number
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                results[running.pop(future)] = future.result()
            while results and (not in_order or turn in results):
                yield results.pop(turn if in_order else next(iter(results)))
                turn += 1
    finally:
        for future in running:
            future.cancel()


def compute_missing(
    cache: StepCache,
    keys: list[bytes],
    take: Callable[[list[int]], Any],
    function: Function,
    *,
    n_jobs: int | None = None,
    verbose: int = 0,
    label: str = "",
    prefer: str = "threads",
    threads: bool = False,
) -> dict[bytes, Exception]:
    """Compute and store the rows that a step cache lacks.

    Parameters
    ----------
    cache : StepCache
    keys : list of bytes
        One per row.
    take : callable
        Gives the batch of some rows, which is sent to the worker that computes it.
    function : callable
        Gives the frames of each item of a batch, or an exception that says why there are none.
    n_jobs : int, optional
        Workers, unless ``joblib.parallel_config`` names another backend.
    verbose : int, default=0
        Whether to show a progress bar.
    label : str
        Its label.
    prefer : {"threads", "processes", "neither"}, default="threads"
        Kind of workers, see :func:`compute_all`.
    threads : bool, default=False
        Whether to use threads of this process whatever backend is configured.

    Returns
    -------
    dict of bytes to Exception
        Why some keys could not be computed; nothing is stored for these.

    Raises
    ------
    StoreError
        If something is missing and the folder cannot be written to.

    Notes
    -----
    Processes that work on the same cache see what each of them leases, compute
    the rest, and in the end wait for each other as long as there is progress.
    """
    try:
        cache.refresh()
    except OSError as exception:  # a folder that may not be read
        raise StoreError.about(cache.folder, exception) from exception
    rows: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, row)
    missing = [key for key in rows if key not in cache]
    COUNTS[str(cache.folder)] += len(rows) - len(missing), len(missing)
    problems: dict[bytes, Exception] = {}
    if not missing:
        with suppress(OSError):  # the store may be read-only
            cache.tidy()
        return problems
    try:
        cache.tidy()
        leases = Leases(cache.folder)
    except OSError as exception:
        raise StoreError.about(cache.folder, exception, len(missing)) from exception
    n_jobs, prefer = _preferred(n_jobs, prefer)
    where = _where(threads, prefer)
    size = _task_size(len(missing), n_jobs, where)
    bar = tqdm(
        total=len(rows),
        initial=len(rows) - len(missing),
        desc=label,
        unit="utt",
        disable=not verbose,
    )
    with bar, leases:
        changed = time.monotonic()
        while missing:
            leased = leases.of_others()
            # Leases of a process that makes no progress for too long do not count.
            expired = leased if time.monotonic() - changed > _PATIENCE else set()
            free = [key for key in missing if key in expired or key not in leased]
            with Writers(cache.folder, cache.dtype) as writers:
                tasks = (
                    joblib.delayed(_compute)(
                        writers, function, take([rows[k] for k in block]), block
                    )
                    for block in _blocks(free, size, cache, leases, expired)
                )
                with closing(_run(tasks, n_jobs, where, in_order=False)) as results:
                    for block, found in results:
                        problems |= found
                        bar.update(len(block))
            cache.refresh()
            left = [key for key in rows if key not in cache and key not in problems]
            if len(left) < len(missing):
                changed = time.monotonic()
            elif not free:
                time.sleep(_POLL)
            missing = left
        bar.update(bar.total - bar.n)  # computed by other processes
    cache.tidy()
    return problems


def _task_size(n_missing: int, n_jobs: int | None, where: dict[str, str]) -> int:
    here, n_workers = _workers(n_jobs, where)
    share = -(-n_missing // n_workers)  # of few rows, which may be hours long
    if here:
        return min(share, int(np.clip(n_missing // _TASKS, _SMALLEST, _LARGEST[0])))
    size = np.clip(n_missing // (_TASKS_PER_WORKER * n_workers), _SMALLEST, _LARGEST[1])
    return min(share, int(size))


def _where(threads: bool, prefer: str) -> dict[str, str]:
    """Arguments of ``joblib.Parallel``: what is preferred, unless a backend is configured.

    Within a task of a Dask cluster always threads: a task that waits for leased keys holds a place
    on the cluster, and if computing them needed another place, all tasks might wait for each other.
    """
    if threads:
        return {"require": "sharedmem"}
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            distributed.get_worker()
        except ValueError:  # not in a task
            pass
        else:
            return {"require": "sharedmem"}
    return {"prefer": prefer}


def _blocks(
    keys: list[bytes], size: int, cache: StepCache, leases: Leases, expired: set[bytes]
) -> Iterator[list[bytes]]:
    """Blocks of keys that are neither stored nor leased, each leased when it is handed out."""
    if leases.has_others():  # without locks, processes should not begin with the same blocks
        first = uuid4().int % max(len(keys), 1)
        keys = keys[first:] + keys[:first]
    waiting = deque(keys)
    while waiting:
        block: list[bytes] = []
        with folder_lock(cache.folder):
            leased = leases.of_others() - expired
            cache.refresh()  # after the leases: a key whose lease has ended is stored by now
            while waiting and len(block) < size:
                key = waiting.popleft()
                if key not in leased and key not in cache:
                    block.append(key)
            leases.add(block)
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

    A shard continues from task to task. In another process, which does not see the last task end,
    each task finishes its own.

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
        """Finish all shards; threads that still compute finish theirs later."""
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
        """Lend a writer; what was added to it is stored even if the task fails afterwards."""
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
