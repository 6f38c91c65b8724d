"""Processes with a limit of memory and time that check one mutant after the other."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

#: A mutant may wait this many times as long as it may compute: machines are busy.
_WAIT = 30
_ENDINGS = {signal.SIGPROF: "hang", signal.SIGALRM: "hang", signal.SIGKILL: "memory"}


def serve(check: Callable[[int], dict[str, Any]], memory: int, seconds: float) -> None:
    """Check the numbers that arrive, one a line; each is announced before it begins.

    Parameters
    ----------
    check : callable
        From a number to what is reported about it.
    memory : int
        Bytes that may be allocated on top of what there is now.
    seconds : float
        Time of one check on the processor. Afterwards the process ends, with its stacks.

    Notes
    -----
    Memory is bounded on Linux only, where a limit of data counts what is allocated and not the
    libraries that are mapped.
    """
    # What libraries print goes to the standard error, not among the reports.
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _limit_memory(memory)
    faulthandler.enable()
    for number in (signal.SIGPROF, signal.SIGALRM):
        faulthandler.register(number, all_threads=True, chain=True)
    for line in sys.stdin:
        number = int(line)
        print(json.dumps({"number": number}), file=reports)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _WAIT * seconds)
        report = check(number)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"number": number, **report}), file=reports)


def _limit_memory(memory: int) -> None:
    import resource

    with contextlib.suppress(FileNotFoundError):
        status = Path("/proc/self/status").read_text()
        (used,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmData")]
        limit = 1024 * int(used) + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def check_in_children(
    command: list[str], numbers: Iterable[int], jobs: int = 1
) -> list[dict[str, Any]]:
    """Check numbers in processes that are started again when they die.

    Parameters
    ----------
    command : list of str
        Starts a process that calls `serve`.
    numbers : iterable of int
    jobs : int, default=1
        Processes at the same time.

    Returns
    -------
    list of dict
        Reports in the order of their numbers. Where a process died, the report has a ``failure``
        that says how, and ``stacks``, the end of its standard error.
    """
    numbers = list(numbers)
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(
            lambda share: list(_supervise(command, share)), [numbers[k::jobs] for k in range(jobs)]
        )
        return sorted((report for share in found for report in share), key=lambda r: r["number"])


def _supervise(command: list[str], numbers: list[int]) -> Iterator[dict[str, Any]]:
    """Reports of numbers, from as many processes as it takes."""
    left = numbers
    while left:
        begun = None
        with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as asked:
            asked.write("".join(f"{number}\n" for number in left))
            asked.seek(0)
            process = subprocess.Popen(
                command, stdin=asked, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            assert process.stdout is not None
            with process:
                for line in process.stdout:
                    report = json.loads(line)
                    if len(report) == 1:
                        begun = report["number"]
                        continue
                    begun, left = None, left[1:]
                    yield report
            if not left:
                return
            errors.seek(0)
            stacks = errors.read()[-3000:]
        if begun is None or process.returncode >= 0:
            raise RuntimeError(f"The process that checks mutants ended by itself:\n{stacks}")
        ending = signal.Signals(-process.returncode)
        failure = f"{_ENDINGS.get(ending, 'crash')} ({ending.name})"
        yield {"number": begun, "failure": failure, "stacks": stacks}
        left = left[1:]
