"""Files: the data home, checksums, atomic writes, and locks that show that a process is alive."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_DAY = 86400.0
#: Seconds that a process waits for its turn.
_TURN = 1.0


def create_locked(folder: Path, name: Callable[[], str]) -> tuple[Path, IO[bytes]]:
    """Create a file and lock it until it is closed.

    Parameters
    ----------
    folder : Path
    name : callable
        Gives a new name at every call.

    Returns
    -------
    path : Path
    file : binary file, open for writing and reading

    Raises
    ------
    OSError
        If it cannot be created.
    """
    while True:
        path = folder / name()
        file = path.open("xb+")
        # Somebody may look at it, and remove it as abandoned, before it is locked.
        if _lock(file) is not False and path.exists():
            return path, file
        file.close()
        path.unlink(missing_ok=True)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Let one process after the other do something short with a folder.

    Parameters
    ----------
    folder : Path

    Notes
    -----
    Nobody waits longer than a second, in which the one before may have been stopped, or at all
    where folders have no locks: what is done must be safe without.
    """
    try:
        folder_number = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        yield
        return
    try:
        latest = time.monotonic() + _TURN
        while _lock(folder_number) is False and time.monotonic() < latest:
            time.sleep(_TURN / 500)
        yield
    finally:
        os.close(folder_number)


def write_locked(path: Path, content: bytes, temporary: str) -> None:
    """Write a small file so that it is there in full or not at all.

    Parameters
    ----------
    path : Path
    content : bytes
    temporary : str
        Name that it has until then, with a suffix that :func:`remove_abandoned` is told.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left of it then.
    """
    part, file = create_locked(path.parent, lambda: temporary)
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def is_alive(path: Path) -> bool:
    """Whether a process has this file locked.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
        False also if the file is gone, or not for us to read.
    """
    try:
        with path.open("rb") as file:
            return not _is_abandoned(file)
    except OSError:
        return False


def remove_abandoned(folder: Path, *suffixes: str) -> None:
    """Remove what processes that have died left behind.

    Parameters
    ----------
    folder : Path
    *suffixes : str
        Of files that are locked while they are in use.

    Raises
    ------
    OSError
        If one cannot be removed.
    """
    for path in [Path(entry.path) for entry in os.scandir(folder)]:
        if path.suffix in suffixes:
            try:
                with path.open("rb") as file:
                    # Locked while it is removed: see create_locked.
                    if _is_abandoned(file):
                        path.unlink(missing_ok=True)
            except FileNotFoundError:
                pass


def _lock(file: IO[bytes] | int, *, shared: bool = False) -> bool | None:
    """Lock a file until it is closed: False if somebody else has, None if there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_abandoned(file: IO[bytes]) -> bool:
    # Who only looks keeps the owner out but nobody else who looks; and network folders give an
    # exclusive lock for files that are open for writing only.
    locked = _lock(file, shared=True)
    if locked is None:
        return time.time() - os.fstat(file.fileno()).st_mtime > _DAY
    return locked


def get_data_home() -> Path:
    """Folder that holds corpora and pre-trained weights.

    The environment variable ``SPEECHSENT_DATA`` names it; without the variable it is
    ``~/speechsent_data``. The folder need not exist: nothing is created or downloaded here.

    Returns
    -------
    pathlib.Path
        Absolute path of the data home.

    Examples
    --------
    >>> from sklearn_speechsent.datasets import get_data_home
    >>> get_data_home().is_absolute()
    True
    """
    home = os.environ.get("SPEECHSENT_DATA") or "~/speechsent_data"
    return Path(home).expanduser().resolve()


#: Path, size and time of the last change: a replaced file has another one.
Stamp = tuple[Path, int, int]


def stamp(path: Path) -> Stamp:
    """What a file's contents are cached by."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=32)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path, expected: str | None = None, remedy: str = "Replace it.") -> str:
    """SHA-256 of a file in hexadecimal; a ValueError if another one was expected."""
    _, size, changed = stamp(path)
    found = _digest(path, size, changed)
    if expected is not None and found != expected:
        raise ValueError(
            f"{path} ({size} bytes) has sha256 {found}, expected {expected}: the file is damaged, "
            f"incomplete or another one. {remedy}"
        )
    return found
