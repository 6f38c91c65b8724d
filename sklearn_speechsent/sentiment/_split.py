"""Holding out a part of the training data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit


def hold_out(
    index: NDArray[np.int64],
    groups: NDArray[Any] | None,
    fraction: float,
    rng: np.random.RandomState,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into a training and a validation part.

    Parameters
    ----------
    index : ndarray of int of shape (n,)
        Level of each utterance.
    groups : ndarray of shape (n,) or None
        Speakers; whole ones are held out. None stratifies by level.
    fraction : float
        Share of the speakers (or utterances) held out.
    rng : RandomState

    Returns
    -------
    train, valid : ndarray of int

    Raises
    ------
    ValueError
        If there are less than two speakers.

    Warns
    -----
    UserWarning
        If a level occurs in one part only; the message says which.
    """
    placeholder = np.zeros(len(index))
    if groups is not None:
        if len(np.unique(groups)) < 2:
            raise ValueError(
                "early_stopping holds out whole speakers and groups has one only. Pass X_val and "
                "y_val, more speakers, or early_stopping=False."
            )
        splitter: Any = GroupShuffleSplit(1, test_size=fraction, random_state=rng)
    else:
        n_valid = int(np.ceil(fraction * len(index)))
        n_levels = len(np.unique(index))
        stratify = np.bincount(index)[index].min() > 1 and n_levels <= n_valid <= len(index) // 2
        splits = StratifiedShuffleSplit if stratify else ShuffleSplit
        splitter = splits(1, test_size=n_valid, random_state=rng)
    train, valid = next(splitter.split(placeholder, index, groups))
    for part, rows in (("training", train), ("validation", valid)):
        absent = np.setdiff1d(index, index[rows])
        if len(absent):
            warnings.warn(
                f"The {part} part of the hold-out lacks level number {absent.tolist()} (counted "
                "from the lowest, 0). A larger validation_fraction or more speakers may help.",
                UserWarning,
                stacklevel=4,
            )
    return train, valid
