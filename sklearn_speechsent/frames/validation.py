"""Validation of what a step takes: frames of utterances, or recordings to make them of."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

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
        True for paths, contents of files, tables with a column of files, 1-D arrays of samples and
        pairs of rate and samples; also for a single one, for which
        :func:`~sklearn_speechsent.audio.as_recordings` raises an error. False for matrices and for
        tables of numbers, which are utterances of one frame a row.

    Examples
    --------
    >>> import numpy as np
    >>> holds_recordings(["a.wav"]), holds_recordings([np.zeros(400)])
    (True, True)
    >>> holds_recordings([np.zeros((5, 80))]), holds_recordings(np.zeros((5, 80)))
    (False, False)
    """
    if isinstance(X, (str, bytes, os.PathLike)) or hasattr(X, "read"):
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
    if isinstance(first, (str, bytes, bytearray, memoryview, os.PathLike, Recording)):
        return True
    if hasattr(first, "read"):  # an open file
        return True
    return _is_pair(first) or (isinstance(first, np.ndarray) and first.ndim == 1)


def _in_columns(row: Any) -> bool:
    return _is_pair(row) or (len(row) == 1 and isinstance(row[0], (str, os.PathLike)))


def _is_pair(item: Any) -> bool:
    """Whether an item is a rate and samples."""
    if not isinstance(item, (tuple, list, np.ndarray)) or len(item) != 2:
        return False
    return isinstance(item[0], Real) and not isinstance(item[1], str) and np.ndim(item[1]) > 0


def as_utterance_frames(X: Any) -> UtteranceFrames:
    """Convert arrays of frames to :class:`UtteranceFrames`.

    Parameters
    ----------
    X : UtteranceFrames, or sequence or object array of arrays of shape (n_frames_i, ...)
        Anything else than the container is copied once.

    Returns
    -------
    UtteranceFrames

    Raises
    ------
    TypeError
        If ``X`` is a path or holds paths: they belong into ``MelFilterBank``.
    ValueError
        If the shapes of the utterances do not agree.
    """
    if isinstance(X, UtteranceFrames):
        return X
    utterances: list[Any] = [X] if isinstance(X, (str, bytes, os.PathLike)) else list(X)
    if any(isinstance(utterance, (str, bytes, os.PathLike)) for utterance in utterances):
        raise TypeError(
            "Got paths of recordings where frames of utterances are expected. Put MelFilterBank() "
            "in front of this step."
        )
    return UtteranceFrames.from_arrays(utterances)


def _is_table(X: Any) -> bool:
    """Whether X has one row of numbers per utterance, which scikit-learn can validate itself."""
    if isinstance(X, (list, tuple)):
        return not any(isinstance(row, (str, bytes, os.PathLike)) or np.ndim(row) > 1 for row in X)
    if isinstance(X, np.ndarray):
        # One dimension of objects or strings holds matrices or paths, unless there is none.
        return X.ndim < 3 and not (X.ndim == 1 and len(X) and X.dtype.kind in "OUS")
    return not isinstance(X, (UtteranceFrames, str, bytes, os.PathLike, pd.Series))


def _from_stack(stack: NDArray[Any]) -> UtteranceFrames:
    """View an array of shape (n, n_frames, ...) as utterances of equal length."""
    n, n_frames = stack.shape[:2]
    starts = n_frames * np.arange(n)
    base = stack.reshape(n * n_frames, *stack.shape[2:])
    return UtteranceFrames(base, starts, starts + n_frames)


def check_frames(
    estimator: Any, X: Any, *, reset: bool, bins: bool = False, allow_nan: bool = False
) -> UtteranceFrames:
    """Validate the frames that a step takes, and remember or compare their size.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` (size of one frame) when ``reset`` is true.
    X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)
        A 2-D table is read as utterances of one frame each, or with ``bins=True`` as utterances of
        ``n_values`` frames of a single bin.
    reset : bool
        Whether this is ``fit`` (remember) or a later call (compare).
    bins : bool, default=False
        Reading of a 2-D table, see ``X``.
    allow_nan : bool, default=False
        Whether an array may hold NaN, as frames always may.

    Returns
    -------
    UtteranceFrames

    Raises
    ------
    ValueError
        If there is no utterance, an utterance has no frames, or frames differ in size from those
        seen in ``fit``.
    """
    finite: Any = "allow-nan" if allow_nan else True
    if _is_table(X):
        dtypes = [np.float32, np.float64]
        table = validate_data(estimator, X, reset=reset, dtype=dtypes, ensure_all_finite=finite)
        return _from_stack(table[:, :, None] if bins else table[:, None, :])
    if isinstance(X, np.ndarray) and X.ndim > 2:
        dtypes = [np.float64, np.float32, np.float16]
        stack = check_array(X, allow_nd=True, dtype=dtypes, ensure_all_finite=finite)
        frames = _from_stack(stack)
    else:
        frames = as_utterance_frames(X)
    if len(frames) == 0:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    empty = np.flatnonzero(frames.lengths == 0)
    if len(empty):
        raise ValueError(f"Utterance {empty[0]} has no frames.")
    if frames.dtype.kind not in "fiu":
        raise ValueError(f"Frames must be numbers, got dtype {frames.dtype}.")
    width = int(np.prod(frames.frame_shape, dtype=np.int64))
    if reset:
        estimator.n_features_in_ = width
        vars(estimator).pop("feature_names_in_", None)  # of an earlier fit on a DataFrame
    elif getattr(estimator, "n_features_in_", width) != width:
        raise ValueError(
            f"X has {width} features per frame, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return frames


def unusable(frames: UtteranceFrames) -> NDArray[np.bool_]:
    """Which utterances hold NaN or infinite values, shape (n,)."""
    if frames.dtype.kind != "f":
        return np.zeros(len(frames), dtype=bool)
    return ~np.isfinite(sums_of(frames))


def sums_of(frames: UtteranceFrames) -> NDArray[np.float64]:
    """Sum over all values of each utterance and of its embedding, shape (n,)."""
    # NaN and infinity show in a sum, without a temporary array of the size of the utterance.
    sums = np.array([utterance.sum(dtype=np.float64) for utterance in frames])
    if frames.embeddings is not None:
        sums += frames.embeddings.sum(axis=1)
    return sums


def row_numbers(frames: UtteranceFrames) -> NDArray[np.int64]:
    """Row of X that messages name for each utterance, shape (n,); copies of a recording share one.

    Parameters
    ----------
    frames : UtteranceFrames

    Returns
    -------
    ndarray of int of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> frames = UtteranceFrames.from_arrays([np.zeros((3, 2)), np.ones((5, 2))])
    >>> row_numbers(frames), row_numbers(frames.with_metadata(row=[7, 7]))
    (array([0, 1]), array([7, 7]))
    """
    if frames.metadata is None or "row" not in frames.metadata:
        return np.arange(len(frames))
    return frames.metadata["row"].to_numpy()
