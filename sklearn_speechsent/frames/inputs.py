"""What X holds: recordings, or frames that were made of them before."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from sklearn_speechsent.audio.recording import Recording
from sklearn_speechsent.frames.container import UtteranceFrames


def holds_recordings(X: Any) -> bool:
    """Tell recordings from frames, by the first row, without looking at any file.

    Parameters
    ----------
    X : object

    Returns
    -------
    bool
        True for paths, tables with a column of files, 1-D arrays of samples and pairs of rate
        and samples; also for a single one, about which
        :func:`~sklearn_speechsent.audio.as_recordings` has something to say. False for matrices
        and for tables of numbers, which are utterances of one frame a row.

    Examples
    --------
    >>> import numpy as np
    >>> holds_recordings(["a.wav"]), holds_recordings([np.zeros(400)])
    (True, True)
    >>> holds_recordings([np.zeros((5, 80))]), holds_recordings(np.zeros((5, 80)))
    (False, False)
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        return True
    if isinstance(X, pd.DataFrame):
        return "file" in X.columns or any(dtype.kind not in "fiub" for dtype in X.dtypes)
    if isinstance(X, np.ndarray) and (X.ndim != 1 or X.dtype.kind not in "OUS"):
        # Rows of an object array may hold a path or a pair; else they are numbers.
        return X.ndim == 2 and X.dtype.kind in "OU" and X.size > 0 and _in_columns(X[0])
    if isinstance(X, UtteranceFrames) or not hasattr(X, "__len__") or hasattr(X, "toarray"):
        return False
    if isinstance(X, tuple) and _is_pair(X):
        return True
    first = next(iter(X), None)
    if isinstance(first, (str, bytes, os.PathLike, Recording)):
        return True
    return _is_pair(first) or (isinstance(first, np.ndarray) and first.ndim == 1)


def _in_columns(row: Any) -> bool:
    return _is_pair(row) or (len(row) == 1 and isinstance(row[0], (str, os.PathLike)))


def _is_pair(item: Any) -> bool:
    """Whether an item is a rate and samples."""
    if not isinstance(item, (tuple, list, np.ndarray)) or len(item) != 2:
        return False
    return isinstance(item[0], Real) and not isinstance(item[1], str) and np.ndim(item[1]) > 0
