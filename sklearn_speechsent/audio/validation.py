"""Validation of many recordings before the long work starts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.audio.inputs import as_recordings
from sklearn_speechsent.audio.recording import (
    MissingRecordingError,
    Recording,
    RecordingError,
)
from sklearn_speechsent.audio.samples import Headers, probe, read_blocks

#: Remedy for bad recordings before fitting.
CHECK_HINT = "sklearn_speechsent.audio.check_recordings(X) gives a mask of the good ones."


def find_problems(
    recordings: Sequence[Recording],
    sample_rate: int,
    min_duration: float,
    headers: Headers | None = None,
) -> dict[int, RecordingError]:
    """Problems of recordings that their headers show, reading each header once.

    Parameters
    ----------
    recordings : sequence of Recording
    sample_rate : int
        Rate (Hz) of samples in memory that carry none.
    min_duration : float
        Shortest usable duration (s).
    headers : dict, optional
        Files that were opened before; those that are opened are added.

    Returns
    -------
    dict of int to RecordingError
        By row.
    """
    problems: dict[int, RecordingError] = {}
    if headers is None:
        headers = {}
    for recording in recordings:
        try:
            probe(recording, sample_rate, min_duration, headers)
        except RecordingError as exception:
            problems[recording.row] = exception
    return problems


def raise_for_bad_recordings(problems: Sequence[RecordingError], n: int) -> None:
    """Raise one error for all bad recordings of a batch, naming the first five.

    Parameters
    ----------
    problems : sequence of RecordingError
    n : int
        Size of the batch.

    Raises
    ------
    RecordingError
        If there are problems. A single missing file stays a ``FileNotFoundError`` too.
    """
    if not problems:
        return
    # Copies of one recording share its row and its problem.
    rows = {problem.row: problem for problem in reversed(problems)}
    first = [problem for problem in problems if rows[problem.row] is problem]
    if len(first) == 1:
        raise first[0]
    lines = [str(problem) for problem in first[:5]]
    if len(first) > 5:
        lines.append(f"... and {len(first) - 5} more")
    total = f" of {n}" if len(first) == len(problems) else ""
    missing = all(isinstance(problem, MissingRecordingError) for problem in first)
    raise (MissingRecordingError if missing else RecordingError)(
        f"{len(first)}{total} recordings cannot be used. {CHECK_HINT}\n  " + "\n  ".join(lines)
    )


def check_recordings(
    X: Any,
    *,
    sample_rate: int = 16000,
    min_duration: float = 0.025,
    n_jobs: int | None = None,
    return_problems: bool = False,
) -> NDArray[np.bool_] | tuple[NDArray[np.bool_], list[str | None]]:
    """Decode every recording, to find those that can be used.

    Leave rows out before ``Pipeline.fit``, while X and y can still be cut with the same mask.

    Parameters
    ----------
    X : see :func:`as_recordings`
    sample_rate : int, default=16000
        Rate (Hz) of samples in memory that carry none.
    min_duration : float, default=0.025
        Shortest usable duration in seconds: one frame.
    n_jobs : int, optional
        Threads that decode.
    return_problems : bool, default=False
        Whether to return the messages as well.

    Returns
    -------
    mask : ndarray of bool of shape (n,)
        True for recordings that can be used.
    problems : list of str or None
        Only if ``return_problems``: what is wrong with each row.

    Warns
    -----
    UserWarning
        If recordings are odd and can be used, with their number: all channels are the same, or the
        samples are far too small.

    See Also
    --------
    as_recordings : What X may be.
    find_problems : The errors themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.audio import check_recordings
    >>> tone = np.sin(np.arange(16000) / 10.0)
    >>> check_recordings([tone, np.zeros(16000)])
    array([ True, False])
    """

    def decode(recording: Recording) -> tuple[str | None, list[str]]:
        notes: list[str] = []
        try:
            for _ in read_blocks(recording, sample_rate, notes, min_duration):
                pass
        except RecordingError as exception:
            return str(exception), []
        return None, notes

    recordings = as_recordings(X)
    found = joblib.Parallel(n_jobs=n_jobs, prefer="threads")(
        joblib.delayed(decode)(recording) for recording in recordings
    )
    problems = [problem for problem, _ in found]
    noted = [note for _, notes in found for note in notes]
    if noted:
        shown = "\n  ".join([*noted[:5], *(["..."] if len(noted) > 5 else [])])
        warnings.warn(
            f"{len(noted)} of {len(recordings)} recordings can be used, but are odd:\n  {shown}",
            UserWarning,
            stacklevel=2,
        )
    mask = np.array([message is None for message in problems], dtype=bool)
    return (mask, list(problems)) if return_problems else mask
