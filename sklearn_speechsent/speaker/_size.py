"""Results that can outgrow a machine: say so before computing them."""

from __future__ import annotations

import os
import shutil
import warnings
from typing import Any

from sklearn_speechsent.store import as_store


def announce_size(what: str, n_bytes: int, memory: Any, verbose: int) -> None:
    """Say how much room something will take, and warn if there may not be enough of it.

    Parameters
    ----------
    what : str
    n_bytes : int
    memory : FeatureStore, str, Path or None
        Where it is kept; None is the machine's memory.
    verbose : int
        Whether to say so where there is enough.

    Warns
    -----
    ResourceWarning
        If it is more than half of the machine's memory, or more than the disk has left.
    """
    gibibytes = n_bytes / 2**30
    if memory is None:
        limit, room = _memory_size() / 2, "half of this machine's memory"
        remedy = "Set memory= to a folder"
    else:
        folder = as_store(memory).folder
        there = next(path for path in [folder, *folder.parents] if path.exists())
        limit, room = shutil.disk_usage(there).free, f"what is free in {there}"
        remedy = "Choose another folder by memory="
    if n_bytes > limit:
        warnings.warn(
            f"{what} take {gibibytes:.2f} GiB, more than {room} ({limit / 2**30:.2f} GiB). "
            f"{remedy}, use pooling='stats' or fewer recordings, or let the network hold the "
            "frozen blocks.",
            ResourceWarning,
            stacklevel=5,
        )
    elif verbose:
        print(f"{what} take {gibibytes:.2f} GiB.")


def _memory_size() -> int:
    """Physical memory in bytes, or a large number where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**62
