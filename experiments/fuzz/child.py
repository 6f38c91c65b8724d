"""Process that checks mutants, see :mod:`experiments.fuzz.children`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from experiments.fuzz.children import serve
from experiments.fuzz.mutant import Mutant
from experiments.fuzz.recordings import RecordingChecks
from experiments.fuzz.sources import load_voices
from experiments.fuzz.tables import TableChecks

#: One mutant in this many is a table.
TABLES = 5


def mutants(seed: int, folder: Path) -> Callable[[int], Mutant]:
    """Function that makes the mutant of a number, a recording or a table.

    Parameters
    ----------
    seed : int
    folder : Path
        For their files.

    Returns
    -------
    callable
    """
    recordings = RecordingChecks(seed, folder, load_voices(folder))
    tables = TableChecks(seed, folder, recordings)
    return lambda number: (
        recordings.make(number) if number % TABLES else tables.make(number // TABLES)
    )


def main(folder: str, seed: str, memory: str, seconds: str) -> None:
    """Check the mutants whose numbers are read, with limits of MiB and seconds."""
    make = mutants(int(seed), Path(tempfile.mkdtemp(dir=folder)))
    serve(lambda number: make(number).checked(), int(memory) * 2**20, float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
