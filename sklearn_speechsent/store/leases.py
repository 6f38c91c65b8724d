"""Who is computing what: so that processes that fill one folder share the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

from sklearn_speechsent.store.keys import KEY_SIZE
from sklearn_speechsent.utils.files import create_locked, is_locked

CLAIMS = ".claims"


class Claims:
    """Keys that this process has taken on, for others to see, and those of the others.

    They are advice: without locks or room for them, or if two look at the same moment, both do the
    same work and nothing worse happens.

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
        self._path, self._file = create_locked(folder, lambda: f"{uuid4().hex}{CLAIMS}")

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        """Take all claims back."""
        try:
            self._path.unlink(missing_ok=True)
            self._file.close()
        except OSError:  # what is buffered has no place to go, or the folder is gone
            pass

    def add(self, keys: Iterable[bytes]) -> None:
        """Tell the others.

        Parameters
        ----------
        keys : iterable of bytes
        """
        try:
            self._file.write(b"".join(keys))
            self._file.flush()
        except OSError:  # who writes results will say so
            pass

    def of_others(self) -> set[bytes]:
        """Keys that living processes have taken on.

        Returns
        -------
        set of bytes
        """
        claimed: set[bytes] = set()
        for path in self._others():
            try:
                content = path.read_bytes()
            except OSError:
                continue
            last = len(content) - len(content) % KEY_SIZE
            claimed.update(content[i : i + KEY_SIZE] for i in range(0, last, KEY_SIZE))
        return claimed

    def has_company(self) -> bool:
        """Whether other processes are at work in the folder.

        Returns
        -------
        bool
        """
        return any(True for _ in self._others())

    def _others(self) -> Iterator[Path]:
        for path in self.folder.glob(f"*{CLAIMS}"):
            if path != self._path and is_locked(path):
                yield path
