"""Rows of NaN, as those of recordings that cannot be used or hold no speech."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sklearn_speechsent.audio.validation import CHECK_HINT
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import unusable
from sklearn_speechsent.metrics.labels import name_rows
from sklearn_speechsent.utils.repeats import is_news

Mask = NDArray[np.bool_]


def find_nan(X: Any) -> tuple[Mask, Mask]:
    """Find rows that are NaN throughout, and rows that hold NaN among numbers.

    Parameters
    ----------
    X : UtteranceFrames, ndarray or sparse matrix of shape (n, n_features)

    Returns
    -------
    whole, partly : ndarray of bool of shape (n,)
        An utterance is NaN throughout if all its frames are, whatever its embedding is.

    Raises
    ------
    ValueError
        If utterances hold infinity; the message names the rows.

    Examples
    --------
    >>> import numpy as np
    >>> find_nan(np.array([[np.nan, np.nan], [np.nan, 1], [0, 1]]))
    (array([ True, False, False]), array([False,  True, False]))
    """
    if isinstance(X, UtteranceFrames):
        return _find_nan_in_frames(X)
    missing = np.isnan(X.data if scipy.sparse.issparse(X) else X)
    if scipy.sparse.issparse(X):
        missing = scipy.sparse.csr_array((missing, X.indices, X.indptr), shape=X.shape)
    counts = np.asarray(missing.sum(axis=1)).ravel()
    return counts == X.shape[1], (counts > 0) & (counts < X.shape[1])


def _find_nan_in_frames(X: UtteranceFrames) -> tuple[Mask, Mask]:
    bad = unusable(X)
    whole, infinite = np.zeros(len(X), dtype=bool), np.zeros(len(X), dtype=bool)
    for row in np.flatnonzero(bad):
        whole[row] = np.isnan(X[row]).all()
        infinite[row] = np.isinf(X[row]).any()
    if X.embeddings is not None:
        infinite |= np.isinf(X.embeddings).any(axis=1)
    if infinite.any():
        raise ValueError(
            f"Input X contains infinity in {name_rows(infinite)}: look at the step that made it."
        )
    return whole, bad & ~whole


def rows_to_fit(
    X: Any, *, on_error: str, takes_nan: bool = False, name: str = "X", stacklevel: int = 6
) -> Mask:
    """Find the rows to train on.

    Parameters
    ----------
    X : see :func:`find_nan`
    on_error : {"raise", "nan"}
    takes_nan : bool, default=False
        Whether NaN among numbers is fine.
    name : str, default="X"
        In messages.
    stacklevel : int, default=6
        Of the warning; 6 is for a method that ``fit`` calls.

    Returns
    -------
    ndarray of bool of shape (n,)

    Raises
    ------
    ValueError
        If there are rows of NaN and ``on_error`` is "raise", or nothing else; the message names
        them.

    Warns
    -----
    UserWarning
        With the number of rows that are left out.
    """
    whole, partly = find_nan(X)
    bad = whole if takes_nan else whole | partly
    if not bad.any():
        return ~bad
    counted = f"{int(bad.sum())} of {len(bad)} rows hold NaN"
    if on_error == "raise":
        raise ValueError(
            f"Input {name} contains NaN: {counted}, as those of recordings that cannot be used or "
            f"hold no speech do ({name_rows(bad)}). Leave them out of X and y before fitting: "
            f'{CHECK_HINT} on_error="nan" leaves them out with a warning.'
        )
    if bad.all():
        raise ValueError(f"Input {name} contains NaN: {counted}. There is nothing to train on.")
    if not is_news("not trained on", np.flatnonzero(bad).tolist()):
        return ~bad
    warnings.warn(
        f"{counted}, as those of recordings that could not be used do ({name_rows(bad)}). They "
        'are left out of training (on_error="nan").',
        UserWarning,
        stacklevel=stacklevel,
    )
    return ~bad


def rows_without_prediction(X: Any, *, on_error: str, takes_nan: bool = False) -> Mask:
    """Find the rows for which NaN is predicted.

    Parameters
    ----------
    X : see :func:`find_nan`
    on_error : {"raise", "nan"}
    takes_nan : bool, default=False
        Whether NaN among numbers is fine.

    Returns
    -------
    ndarray of bool of shape (n,)

    Raises
    ------
    ValueError
        If NaN stands among numbers, is not fine, and ``on_error`` is "raise".
    """
    whole, partly = find_nan(X)
    if takes_nan:
        return whole
    if on_error == "raise" and partly.any():
        raise ValueError(
            f"Input X contains NaN among numbers in {name_rows(partly)}. Only a row of NaN "
            "throughout stands for a recording that cannot be used; look at the step that made "
            'this one, or set on_error="nan".'
        )
    return whole | partly


def warn_nan(predicted: NDArray[Any], on_error: str) -> NDArray[Any]:
    """Warn of rows for which NaN is predicted, unless that was asked for.

    Parameters
    ----------
    predicted : ndarray of shape (n,) or (n, n_levels)
    on_error : {"raise", "nan"}

    Returns
    -------
    ndarray
        ``predicted``.

    Warns
    -----
    UserWarning
        If there are such rows and ``on_error`` is "raise"; the message names them.
    """
    bad = np.isnan(predicted.reshape(len(predicted), -1)).any(axis=1)
    rows = np.flatnonzero(bad).tolist()
    if on_error == "raise" and rows and is_news("no prediction", rows):
        warnings.warn(
            f"{int(bad.sum())} of {len(bad)} rows are NaN ({name_rows(bad)}); so is what is "
            "predicted for them.",
            UserWarning,
            stacklevel=3,
        )
    return predicted
