"""Validation that several rooms need."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_consistent_length, check_random_state, column_or_1d


def check_labels(y: Any, n: int) -> None:
    """Check labels before long work starts: length, missing values, number of levels.

    Parameters
    ----------
    y : array-like of shape (n,)
    n : int
        Number of recordings.

    Raises
    ------
    ValueError
        If the length differs, a label is missing or infinite (the message names the row), or all
        labels are equal.
    """
    y = np.asarray(y)
    check_consistent_length(y, np.empty(n))
    if y.ndim == 2 and y.shape[1] != 1:
        raise ValueError(f"y must hold one label per recording, got shape {y.shape}.")
    labels = pd.Series(column_or_1d(y))
    missing = labels.isna()
    if labels.dtype.kind == "f":
        missing |= np.isinf(labels)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"Input y contains NaN or infinity: {int(missing.sum())} label(s), the first in row "
            f"{row} ({labels[row]}). Leave these rows out of X and y."
        )
    if n > 1 and labels.nunique() == 1:
        raise ValueError(
            f"All {n} labels are {labels[0]}: there is only one class, and nothing to learn from "
            "one level."
        )


def new_generator(random_state: Any) -> np.random.RandomState:
    """Generator of a parameter ``random_state``; None is a new seed each time.

    Parameters
    ----------
    random_state : int, RandomState instance or None

    Returns
    -------
    RandomState
        Never NumPy's global one, which only users may advance.
    """
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)
