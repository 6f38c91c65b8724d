"""Text files of results."""

from __future__ import annotations

from pathlib import Path

from sklearn_speechsent.utils.files import atomic_write


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all, and make its folder.

    Parameters
    ----------
    path : Path
    text : str
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, text.encode("utf-8"))
