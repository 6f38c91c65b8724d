"""Who is computing what: so that processes that fill one folder share the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO
from uuid import uuid4

from sklearn_speechsent.store.keys import KEY_SIZE
from sklearn_speechsent.store.locks import create_locked, is_alive

CLAIMS = ".claims"


class Claims:
    """Keys that this process has taken on, for others to see, and those of the others.

    They are advice: without locks, or if two look at the same moment, both do the same work and
    nothing worse happens.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[bytes] | None = None
        self._path: Path | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        """Take all claims back."""
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()

    def add(self, keys: Iterable[bytes]) -> None:
        """Tell the others.

        Parameters
        ----------
        keys : iterable of bytes

        Raises
        ------
        OSError
            If the folder cannot be written to.
        """
        if self._file is None:
            self._path, self._file = create_locked(self.folder, lambda: f"{uuid4().hex}{CLAIMS}")
        self._file.write(b"".join(keys))
        self._file.flush()

    def of_others(self) -> set[bytes]:
        """Keys that living processes have taken on.

        Returns
        -------
        set of bytes
        """
        claimed: set[bytes] = set()
        for path in self.folder.glob(f"*{CLAIMS}"):
            if path == self._path or not is_alive(path):
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            last = len(content) - len(content) % KEY_SIZE
            claimed.update(content[i : i + KEY_SIZE] for i in range(0, last, KEY_SIZE))
        return claimed
