"""Leases: the keys that each process is computing, so that several share the work on one folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

from sklearn_speechsent.store.keys import KEY_SIZE
from sklearn_speechsent.utils.files import create_locked, is_locked

LEASES = ".leases"


class Leases:
    """Keys that this process is computing, for other processes to see, and the keys of the others.

    Leases are advice: without locks or disk space for them, or if two processes look at the same
    moment, both do the same work and nothing worse happens.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    OSError
        If nothing can be created in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._file = create_locked(folder, lambda: f"{uuid4().hex}{LEASES}")

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, *error: object) -> None:
        """End all leases."""
        try:
            self._path.unlink(missing_ok=True)
            self._file.close()
        except OSError:  # the disk is full, or the folder is gone
            pass

    def add(self, keys: Iterable[bytes]) -> None:
        """Lease keys.

        Parameters
        ----------
        keys : iterable of bytes
        """
        try:
            self._file.write(b"".join(keys))
            self._file.flush()
        except OSError:  # writing the results will raise it
            pass

    def of_others(self) -> set[bytes]:
        """Keys that other live processes lease.

        Returns
        -------
        set of bytes
        """
        leased: set[bytes] = set()
        for path in self._others():
            try:
                content = path.read_bytes()
            except OSError:
                continue
            last = len(content) - len(content) % KEY_SIZE
            leased.update(content[i : i + KEY_SIZE] for i in range(0, last, KEY_SIZE))
        return leased

    def has_others(self) -> bool:
        """Whether other processes work in the folder.

        Returns
        -------
        bool
        """
        return any(True for _ in self._others())

    def _others(self) -> Iterator[Path]:
        for path in self.folder.glob(f"*{LEASES}"):
            if path != self._path and is_locked(path):
                yield path
