"""Processes that hold the model, and the threads that put questions to them.

Networks of many small operations hold the interpreter's lock, so that threads are no faster than
one, and processes are. Uploads and streams have different ones: a file that takes too long, or that
breaks a decoder, ends its process and no stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from sklearn_speechsent.serve.desk import work
from sklearn_speechsent.serve.errors import Refusal, busy, closing
from sklearn_speechsent.serve.settings import Settings

_LOG = logging.getLogger("uvicorn.error")
#: Seconds between two looks at whether an idle process is alive, and before it is started again.
_LOOK = 0.5
#: Seconds that a process gets to load the model, and to end.
_LOADING, _ENDING = 300.0, 2.0


@dataclass
class _Job:
    """A question, and where its answer goes."""

    name: str
    arguments: tuple[Any, ...]
    deadline: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def answer(self, answer: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self._set, answer)

    def _set(self, answer: Any) -> None:
        if self.future.done():
            return
        if isinstance(answer, Refusal):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


class Jobs:
    """Questions that wait for a process.

    Parameters
    ----------
    timeout : float
        Seconds in which one is answered.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.queue: SimpleQueue[_Job] = SimpleQueue()

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Answer of a process.

        Parameters
        ----------
        name : str
            Method of :class:`~sklearn_speechsent.serve.desk.Desk`.
        *arguments

        Returns
        -------
        object

        Raises
        ------
        Refusal
            That of the process; or if it takes too long, or ends.
        """
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + self._timeout
        job = _Job(name, arguments, deadline, loop, loop.create_future())
        self.queue.put(job)
        try:
            async with asyncio.timeout(self._timeout):
                return await job.future
        except TimeoutError:
            raise _too_slow(self._timeout) from None

    def tell(self, name: str, *arguments: Any) -> None:
        """Ask what nobody waits for.

        Parameters
        ----------
        name : str
        *arguments
        """
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + self._timeout
        self.queue.put(_Job(name, arguments, deadline, loop, loop.create_future()))


def _too_slow(seconds: float) -> Refusal:
    return Refusal(
        503,
        "timeout",
        f"There was no answer within {seconds:g} s. Try again later, or send a shorter recording.",
        close=1011,
    )


class Worker(threading.Thread):
    """A process that holds the model, and is started again when it ends.

    Parameters
    ----------
    jobs : Jobs
        That it answers, maybe with others.
    arguments : tuple
        Of :func:`~sklearn_speechsent.serve.desk.work`, without the connection.

    Attributes
    ----------
    description : dict or str or None
        Of the model; why it cannot be loaded; or None as long as it is being loaded.
    restarts : int
        How many times the process has ended by itself or was ended.
    streams : dict of int to asyncio.Future
        Streams that it follows: the future gets an exception when the process ends.
    """

    def __init__(self, jobs: Jobs, arguments: tuple[Any, ...]) -> None:
        super().__init__(daemon=True)
        self.jobs = jobs
        self.description: dict[str, Any] | str | None = None
        self.restarts = 0
        self.streams: dict[int, asyncio.Future[None]] = {}
        self._arguments = arguments
        self._over = threading.Event()
        self.loaded = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether it can answer."""
        return isinstance(self.description, dict)

    def run(self) -> None:
        """Start the process, and put questions to it, until :meth:`end`."""
        while not self._over.is_set():
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(theirs, *self._arguments)
            )
            process.start()
            theirs.close()
            with contextlib.suppress(EOFError, OSError):
                self._load(ours)
                while self.ready:
                    self._next(process, ours)
            # A process whose connection is closed ends, unless it is busy.
            ours.close()
            process.join(_ENDING if self._over.is_set() else 0)
            process.kill()
            process.join()
            process.close()
            if not self.loaded.is_set():
                self.description = self.description or "The process that loads the model has ended."
                self.loaded.set()
                return
            self.description = None
            if not self._over.is_set():
                self._lose()
                self._over.wait(_LOOK)

    def _load(self, connection: Any) -> None:
        """Wait for the model."""
        self._wait(connection, _LOADING)
        self.description = connection.recv()
        if self.ready:
            self.loaded.set()

    def _wait(self, connection: Any, seconds: float) -> None:
        """Wait until something can be received."""
        end = time.monotonic() + seconds
        while not connection.poll(_LOOK):
            if self._over.is_set() or time.monotonic() > end:
                raise EOFError

    def _next(self, process: Any, connection: Any) -> None:
        """Answer a question, if there is one."""
        try:
            job = self.jobs.queue.get(timeout=_LOOK)
        except Empty:
            job = None
        if self._over.is_set() or not process.is_alive():
            if job is not None:
                job.answer(_gone())
            raise EOFError
        # Those that are late were told so by `Jobs.ask`.
        if job is None or job.future.cancelled() or time.monotonic() > job.deadline:
            return
        try:
            connection.send((job.name, job.arguments))
            self._wait(connection, job.deadline - time.monotonic())
            answer = connection.recv()
        except (EOFError, OSError):
            job.answer(_gone())
            raise
        job.answer(answer)

    def _lose(self) -> None:
        """Tell that the process has ended."""
        self.restarts += 1
        _LOG.error("A process of the model has ended, and is started again.")
        for future in list(self.streams.values()):
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_fail, future, _gone())

    def end(self) -> None:
        """End the process."""
        self._over.set()


def _fail(future: asyncio.Future[None], refusal: Refusal) -> None:
    if not future.done():
        future.set_exception(refusal)


def _gone() -> Refusal:
    return Refusal(
        503, "worker_ended", "The process that did this has ended. Try again.", close=1011
    )


class Pool:
    """All processes of a service.

    Parameters
    ----------
    model : str
        Bundle.
    settings : Settings

    Attributes
    ----------
    description : dict
        Of the model, once it was loaded.
    closing : bool
        Whether the service ends.
    """

    def __init__(self, model: str, settings: Settings) -> None:
        self.settings = settings
        self.closing = False
        self.description: dict[str, Any] = {}
        self.requests = Jobs(settings.timeout)
        self._taken = 0
        self._count = 0

        def worker(jobs: Jobs, behind: bool) -> Worker:
            return Worker(jobs, (model, settings.max_seconds, behind))

        n = range(settings.workers)
        # Streams are live: what was uploaded can wait a little.
        self.scorers = [worker(self.requests, True) for _ in n]
        self.followers = [worker(Jobs(settings.timeout), False) for _ in n]

    @property
    def workers(self) -> list[Worker]:
        """Of both kinds."""
        return [*self.scorers, *self.followers]

    def start(self) -> None:
        """Start the processes, and wait until each has loaded the model.

        Raises
        ------
        ValueError
            If it cannot be loaded.
        """
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.loaded.wait()
            if not isinstance(worker.description, dict):
                raise ValueError(worker.description)
            self.description = worker.description

    def close(self) -> None:
        """Take nothing new, and end all streams."""
        self.closing = True
        for worker in self.followers:
            for future in list(worker.streams.values()):
                _fail(future, closing())

    def end(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.end()
        for worker in self.workers:
            if worker.ident is not None:
                worker.join()

    @property
    def ready(self) -> bool:
        """Whether there is a process of each kind that can answer."""
        kinds = (self.scorers, self.followers)
        return not self.closing and all(any(each.ready for each in kind) for kind in kinds)

    @property
    def n_waiting(self) -> int:
        """Number of requests that are being sent, wait or are computed."""
        return self._taken

    @property
    def n_streams(self) -> int:
        """Number of streams that are followed."""
        return sum(len(worker.streams) for worker in self.followers)

    @contextlib.contextmanager
    def place(self) -> Iterator[Jobs]:
        """Place of a request, from before its recording is received.

        Yields
        ------
        Jobs

        Raises
        ------
        Refusal
            If all are taken.
        """
        if self.closing:
            raise closing()
        if self._taken >= self.settings.queue + self.settings.workers:
            raise busy(f"{self._taken} other requests wait or are being answered.")
        self._taken += 1
        try:
            yield self.requests
        finally:
            self._taken -= 1

    @contextlib.contextmanager
    def stream(self) -> Iterator[tuple[Jobs, int, asyncio.Future[None]]]:
        """Place of a stream.

        Yields
        ------
        jobs : Jobs
            Of the process that follows it.
        number : int
            Of the stream.
        lost : asyncio.Future
            Gets an exception when the process ends.

        Raises
        ------
        Refusal
            If there are too many.
        """
        ready = [worker for worker in self.followers if worker.ready]
        if self.closing:
            raise closing()
        if not ready:
            raise busy("The processes that follow streams are being started.")
        if self.n_streams >= self.settings.max_streams:
            raise Refusal(
                429,
                "too_many_streams",
                f"{self.n_streams} streams are open, and no more at a time. Try again in a moment.",
                close=1013,
            )
        worker = min(ready, key=lambda each: len(each.streams))
        self._count += 1
        number = self._count
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        worker.streams[number] = lost
        try:
            yield worker.jobs, number, lost
        finally:
            del worker.streams[number]
            lost.cancel()
            worker.jobs.tell("close", number)
