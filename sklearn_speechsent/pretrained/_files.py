"""Checksums of files, computed once per process for each state of a file."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

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
