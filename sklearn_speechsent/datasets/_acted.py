"""Shared parts of the loaders of acted corpora, whose files are named by a code.

An actor was asked for an emotion; the labels follow from it and are a proxy for sentiment.
"""

import re
import warnings
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sklearn_speechsent.datasets._audit import audit_items
from sklearn_speechsent.utils.files import get_data_home

#: FLAC is taken if both are there.
SUFFIXES = (".flac", ".wav")
LEVEL_NAMES = {
    -2: "very negative",
    -1: "negative",
    0: "neutral",
    1: "positive",
    2: "very positive",
}


def corpus_folder(data_home: str | Path | None, name: str) -> Path:
    """Where a corpus is expected: a folder in the data home."""
    home = get_data_home() if data_home is None else Path(data_home).expanduser().resolve()
    return home / name


def recordings_in(folder: Path, pattern: str) -> list[tuple[Path, re.Match[str]]]:
    """Recordings in a folder whose stems match the pattern, by stem."""
    found = {}
    # Backwards, so that the first suffix overwrites the others.
    for suffix in reversed(SUFFIXES):
        for path in folder.glob(f"*{suffix}"):
            match = re.fullmatch(pattern, path.stem)
            if match and path.is_file():
                found[path.stem] = path, match
    return [found[stem] for stem in sorted(found)]


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Table of recordings; paths have the type object, since they need not be Unicode."""
    frame = pd.DataFrame([{**row, "file": ""} for row in rows])
    return frame.assign(file=pd.Series([row["file"] for row in rows], dtype=object))


def warn_if_incomplete(
    frame: pd.DataFrame, folder: Path, *, corpus: str, n_files: int, detail: str
) -> None:
    """Warn that recordings of the original release are missing; called by a public loader."""
    if len(frame) < n_files:
        warnings.warn(
            f"{corpus} in {folder} is incomplete: {len(frame)} of {n_files} recordings are there; "
            f"{detail}. Scores are not comparable with those of the whole corpus.",
            UserWarning,
            stacklevel=3,
        )


def audit_release(
    frame: pd.DataFrame, *, corpus: str, known: Set[tuple[str, str]] = frozenset()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Audit a published corpus, silently where only its known faults are found.

    Parameters
    ----------
    frame : DataFrame
        As :func:`~sklearn_speechsent.datasets._audit.audit_items` takes it.
    corpus : str
        Name for messages.
    known : set of (str, str)
        Problem and file stem of each fault of the original release; they are in the report.

    Returns
    -------
    rows, report : DataFrame
        As `audit_items` returns them.
    """
    # Whether there is anything new is known only after the audit has warned.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows, report = audit_items(frame, corpus=corpus)
    stems = [Path(file).stem for file in report["file"]]
    found = zip(report["problem"], stems, strict=True)
    nothing_new = set(found) <= known
    for warning in caught:
        if not (nothing_new and str(warning.message).startswith(f"{corpus}: ")):
            warnings.warn(warning.message, warning.category, stacklevel=3)
    return rows, report


def level_counts(frame: pd.DataFrame, levels: np.ndarray) -> str:
    """Levels and numbers of their recordings as text."""
    counts = frame["label"].value_counts().reindex(levels, fill_value=0)
    return ", ".join(f"{level:+d}: {count}" for level, count in counts.items()).replace("+0:", "0:")
