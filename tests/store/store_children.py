"""Processes that fill a store, to be interrupted, stopped and counted by the tests.

They are forked off a process that has imported everything, which is a hundred times faster
than starting from scratch; they share nothing with the process of the test.
"""

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import sklearn_speechsent.store.compute as compute
import sklearn_speechsent.store.shard as shard
import sklearn_speechsent.utils.files as locks
from sklearn_speechsent import MelFilterBank, audio
from sklearn_speechsent.store.leases import Leases

#: Seconds after which a test gives up; nothing here takes one.
TIMEOUT = 120
#: Where lines of code count as moments at which a process may die.
_TRACED = str(Path(shard.__file__).parent)

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["sklearn_speechsent.features", "store_children"])


def extract(
    paths,
    folder,
    log,
    *,
    n_jobs=None,
    ready=None,
    hold=(None, None),
    die_at=None,
    made=None,
    **settings,
):
    """Extract recordings into a store.

    Every decoding adds a line to the file ``log``. The process waits for all that share the
    barrier ``ready``. At the decoding number ``hold[0]`` it sends a message through the pipe
    ``hold[1]`` and waits for an answer. It ends itself at line number ``die_at`` of the code of
    the store. Its frames go through the pipe ``made``. Other settings replace attributes of the
    store's modules, such as limits.
    """
    modules = (shard, compute, locks)
    for name, value in settings.items():
        holders = [module for module in modules if name in vars(module)]
        assert holders, f"there is no {name} to replace"
        for module in holders:
            setattr(module, name, value)
    original, decodings = audio.read_blocks, count(1)

    def read(recording, *given, **options):
        number = next(decodings)
        with open(log, "ab", buffering=0) as file:
            file.write(f"{os.getpid()} {recording.row}\n".encode())
        if number == hold[0]:
            hold[1].send("here")
            hold[1].recv()
        return original(recording, *given, **options)

    audio.read_blocks = read
    if ready is not None:
        ready.wait(TIMEOUT)
    if die_at is not None:
        sys.settrace(_killer(die_at))
    frames = MelFilterBank(memory=folder, n_jobs=n_jobs).fit_transform(paths)
    if made is not None:
        made.send(list(frames))


class SlowLeases(Leases):
    """Takes a moment between looking at the leases of others and adding its own."""

    def add(self, keys):
        threading.Event().wait(0.3)
        super().add(keys)


def _killer(die_at):
    passed = 0

    def trace(frame, event, _):
        nonlocal passed
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        if event == "line":
            passed += 1
            if passed == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


@contextmanager
def process(*args, **kwargs):
    """Run :func:`extract` in another process; it has ended afterwards."""
    child = CONTEXT.Process(target=extract, args=args, kwargs=kwargs, daemon=True)
    child.start()
    try:
        yield child
    finally:
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)  # also if it is stopped
        child.join(TIMEOUT)


def finished(child):
    """Wait for the end of a process; whether all went well."""
    child.join(TIMEOUT)
    assert child.exitcode is not None, "it hangs"
    return child.exitcode == 0


def lines(log):
    """Rows that were decoded, by process."""
    if not log.exists():
        return []
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
