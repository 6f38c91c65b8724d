"""Corpus of the CMU-MOSEI experiment: official folds, and notes on them."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from experiments._harness.files import write_text
from experiments.cmu_mosei.table import LEVELS
from sklearn_speechsent.datasets import load_cmu_mosei

FOLDS = ("train", "valid", "test")


def load(audio_dir, labels, *, limit, report, n_jobs):
    """Load the official folds, and say which segments cannot be used and why.

    Parameters
    ----------
    audio_dir, labels : Path or None
        See :func:`load_cmu_mosei`.
    limit : int or None
        Videos of each fold to take; None takes all.
    report : Path
        File for the table of findings, by segment.
    n_jobs : int

    Returns
    -------
    folds : dict of str to (DataFrame, ndarray, ndarray)
        Segments, labels and videos of train, valid and test.
    notes : list of str
        Remarks below the table, without which its figures mislead.

    Raises
    ------
    FileNotFoundError, ValueError
        If audio or labels are missing or not understood, or a fold is empty.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        mosei = load_cmu_mosei(audio_dir, labels=labels, as_frame=True, n_jobs=n_jobs)
    for warning in said:  # segments that are left out, repaired or doubtful
        print(f"{warning.message}\n(written to {report})\n")
    write_text(report, mosei.report.to_csv(index=False))
    folds = {}
    for name in FOLDS:
        rows = mosei.split == name
        if limit is not None:  # whole videos: segments of one overlap, and resemble each other
            rows &= np.isin(mosei.groups, pd.unique(mosei.groups[rows])[:limit])
        if not rows.any():
            raise ValueError(
                f"There is no usable segment in the official fold {name!r}: see {report}, and the "
                "column split of the labels."
            )
        folds[name] = mosei.data[rows], mosei.target[rows].to_numpy(), mosei.groups[rows]
    return folds, _notes(mosei, limit)


def _notes(mosei, limit):
    notes = []
    if limit is not None:
        notes.append(f"A trial: only the first {limit} videos of each fold.")
    n_dropped = mosei.report.loc[mosei.report["dropped"], "row"].nunique()
    if n_dropped:
        notes.append(f"{n_dropped} segments of all folds could not be used, see report.csv.")
    root = Path(os.path.commonpath(list(mosei.data["file"])))
    # Written by benchmarks.scale.standin at the top of its folder.
    if any((folder / "standin.json").is_file() for folder in [root, *root.parents][:3]):
        notes.append(
            "The sound is not that of CMU-MOSEI but other speech in its place: no figure here "
            "says anything about sentiment."
        )
    return notes


def seconds_of(X):
    """Seconds of each segment.

    Parameters
    ----------
    X : DataFrame
        Columns ``file`` and, for segments of files, ``start, end`` (s).

    Returns
    -------
    ndarray of shape (n,)
        NaN where a segment has only a start or an end.
    """
    if "start" in X:
        return (X["end"] - X["start"]).to_numpy()
    return np.array([soundfile.info(file).duration for file in X["file"]])


def describe(folds):
    """Print the sizes of the folds, and the levels that one of them lacks.

    Parameters
    ----------
    folds : dict
        Of :func:`load`.

    Returns
    -------
    dict
        ``parts`` (by fold: segments, videos, hours) and ``always_positive``, the polarity accuracy
        of saying "positive" to everything.
    """
    parts = {}
    for name, (X, y, videos) in folds.items():
        n_videos, hours = len(np.unique(videos)), float(np.nansum(seconds_of(X)) / 3600)
        counts = [int(np.sum(np.rint(y) == level)) for level in LEVELS]
        print(
            f"{name:5s} {len(y)} segments, {n_videos} videos, {hours:.2f} h; levels -3 … 3: "
            f"{', '.join(map(str, counts))}"
        )
        absent = [level for level, n in zip(LEVELS, counts, strict=True) if n == 0]
        if absent and name != "test":
            print(f"      no label of {name} is nearest to {absent}, which can hardly be learned")
        parts[name] = {"segments": len(y), "videos": n_videos, "hours": hours}
    y = folds["test"][1]
    always_positive = float(np.mean(y[y != 0] > 0)) if np.any(y) else float("nan")
    return {"parts": parts, "always_positive": always_positive}
