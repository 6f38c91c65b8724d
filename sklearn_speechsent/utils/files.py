"""Files: atomic writes, locks, versions and checksums, and the data home."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Suffix of files that are still being written.
PART = ".part"
_DAY = 86400.0
#: Seconds that a process waits for the lock of a folder.
_LONGEST_WAIT = 1.0


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


# -- atomic writes -------------------------------------------------------------------------------


def atomic_write(path: Path, *content: bytes | memoryview) -> None:
    """Write a file completely or not at all; a crash leaves what was there before.

    Parameters
    ----------
    path : Path
        In a folder that exists. A file that is there is replaced.
    *content : bytes or memoryview
        Parts of the content, one after the other.

    Raises
    ------
    OSError
        If it cannot be written; nothing new is left in the folder then.

    Notes
    -----
    The temporary file lies in the same folder, is named after the file with the suffix `PART`,
    and is locked. What an interrupted process leaves of it is removed by
    :func:`remove_abandoned`, or by :func:`remove_parts` where there is one writer at most.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(Path(folder, "a.txt"), b"one ", b"two")
    ...     Path(folder, "a.txt").read_text()
    'one two'
    """
    part, file = create_locked(path.parent, lambda: f".{path.name}.{uuid4().hex}{PART}")
    try:
        with file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # which renames no open file
                file.close()
            os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def replace_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of files completely or not at all, in the place of one that may be there.

    Parameters
    ----------
    path : Path
        Nothing, or a folder without folders in it, which is removed.
    contents : mapping of str to bytes
        By name.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is there then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_folder(Path(folder, "a"), {"b.txt": b"one"})
    ...     replace_folder(Path(folder, "a"), {"c.txt": b"two"})
    ...     [file.name for file in Path(folder, "a").iterdir()]
    ['c.txt']
    """
    part, old = (path.parent / f".{path.name}.{uuid4().hex}{PART}" for _ in range(2))
    part.mkdir()
    try:
        for name, content in contents.items():
            with (part / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if path.exists():
            path.rename(old)
        try:
            part.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_parts(path: Path) -> None:
    """Remove what interrupted calls of :func:`atomic_write` left of a file.

    Parameters
    ----------
    path : Path
        File that nothing else writes to at the moment.

    Raises
    ------
    OSError
        If one cannot be removed.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        part.unlink(missing_ok=True)


# -- locks ---------------------------------------------------------------------------------------


def create_locked(folder: Path, name: Callable[[], str]) -> tuple[Path, IO[bytes]]:
    """Create a file and lock it until it is closed.

    The lock belongs to the open file: other threads are excluded, too, and a child that is
    forked while it is open holds the lock as long as it lives.

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
        # Another process may see it and remove it as abandoned before it is locked.
        if _lock(file) is not False and path.exists():
            return path, file
        file.close()
        path.unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Whether a file is locked by the process that created it.

    Parameters
    ----------
    path : Path
        Made by :func:`create_locked`.

    Returns
    -------
    bool
        False also if the file is gone or cannot be read. Where there are no locks, whether it was
        written to within a day.
    """
    try:
        with path.open("rb") as file:
            return not _is_abandoned(file)
    except OSError:
        return False


def remove_abandoned(folder: Path, *suffixes: str) -> None:
    """Remove files that interrupted processes left behind.

    Parameters
    ----------
    folder : Path
    *suffixes : str
        Of files that :func:`create_locked` makes.

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


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Let one thread or process after the other do something short with a folder.

    Parameters
    ----------
    folder : Path

    Notes
    -----
    The wait ends after a second, since the process that holds the lock may have been stopped, and
    there is none where folders have no locks: what is done must be safe without the lock.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        yield
        return
    try:
        latest = time.monotonic() + _LONGEST_WAIT
        while _lock(descriptor) is False and time.monotonic() < latest:
            time.sleep(_LONGEST_WAIT / 500)
        yield
    finally:
        os.close(descriptor)


class ProcessLock:
    """Lock of a path that belongs to this process alone, not to the children it forks.

    Worker processes that a DataLoader forks outlive an interrupted fit by seconds. They would
    hold a lock of :func:`create_locked` that long; this one is free at once. It does not exclude
    threads of the same process; a list of the locked paths does.

    Parameters
    ----------
    path : Path
        The lock file; it is there as long as the lock is held.
    descriptor : int
        The open, locked file.
    """

    _held: set[Path] = set()
    _guard = threading.Lock()

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> ProcessLock | None:
        """Lock a path, without waiting.

        Parameters
        ----------
        path : Path
            Resolved, so that one file has one name. The lock file is created.

        Returns
        -------
        ProcessLock or None
            None if another thread or process holds it.

        Raises
        ------
        OSError
            If the lock file cannot be created.
        """
        with cls._guard:
            if path in cls._held:
                return None
            cls._held.add(path)
        lock = None
        try:
            lock = cls._open(path)
        finally:
            if lock is None:
                with cls._guard:
                    cls._held.discard(path)
        return lock

    @classmethod
    def _open(cls, path: Path) -> ProcessLock | None:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if _lock(descriptor, of_process=True) is False:
                os.close(descriptor)
                return None
            # The process that had it may have removed it before it was locked here.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    return cls(path, descriptor)
            os.close(descriptor)

    def release(self) -> None:
        """Remove the lock file and unlock the path.

        Raises
        ------
        OSError
            If the file cannot be removed.
        """
        if os.name == "nt":  # which removes no open file
            os.close(self._descriptor)
            self._path.unlink(missing_ok=True)
        else:  # removed while it is locked, so that nothing locks a file that goes away
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
        with self._guard:
            self._held.discard(self._path)


def _lock(file: IO[bytes] | int, *, shared: bool = False, of_process: bool = False) -> bool | None:
    """Lock a file until it is closed: False if it is locked already, None if there are no locks."""
    if fcntl is None:
        return None
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    try:
        (fcntl.lockf if of_process else fcntl.flock)(file, mode)
    except BlockingIOError:
        return False
    except PermissionError:  # lockf's other word for a file that is locked
        return False if of_process else None
    except OSError:
        return None
    return True


def _is_abandoned(file: IO[bytes]) -> bool:
    # A shared lock excludes the owner's but not that of another process that looks; and network
    # folders give an exclusive lock only for files that are open for writing.
    locked = _lock(file, shared=True)
    if locked is None:
        return time.time() - os.fstat(file.fileno()).st_mtime > _DAY
    return locked


# -- versions and checksums ----------------------------------------------------------------------


class FileVersion(NamedTuple):
    """Path, size and time of the last change of a file: what its content is cached by.

    Parameters
    ----------
    path : Path
    size : int
        Bytes.
    changed : int
        Nanoseconds since the epoch.
    """

    path: Path
    size: int
    changed: int


def file_version(path: Path) -> FileVersion:
    """Version of a file, which differs once the file is replaced.

    Parameters
    ----------
    path : Path

    Returns
    -------
    FileVersion
    """
    status = path.stat()
    return FileVersion(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(version: FileVersion) -> str:
    with version.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path, expected: str | None = None, remedy: str = "Replace it.") -> str:
    """SHA-256 of a file, which is read once per process until it changes.

    Parameters
    ----------
    path : Path
    expected : str, optional
        Checksum that the file must have.
    remedy : str, default="Replace it."
        Sentence of the message if it has another one.

    Returns
    -------
    str
        In hexadecimal.

    Raises
    ------
    ValueError
        If another checksum was expected.
    """
    version = file_version(path)
    found = _sha256(version)
    if expected is not None and found != expected:
        raise ValueError(
            f"{path} ({version.size} bytes) has sha256 {found}, expected {expected}: the file is "
            f"damaged, incomplete or another one. {remedy}"
        )
    return found
