"""Bunch that every loader returns."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_speechsent.metrics.levels import check_levels


def check_numbers(levels: Any) -> np.ndarray:
    """Levels of a scale whose labels are numbers.

    Parameters
    ----------
    levels : array-like of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If they are not two or more different numbers in ascending order.
    """
    scale = check_levels(levels)
    if scale.dtype.kind == "U":
        raise ValueError(
            f"levels={levels!r} are words, and labels here are numbers. Pass numbers, and write "
            "the number that each word stands for."
        )
    return scale


def make_bunch(
    frame: pd.DataFrame,
    *,
    levels: np.ndarray,
    target_names: list[str],
    descr: str,
    as_frame: bool = False,
    return_X_y: bool = False,
    votes: pd.DataFrame | None = None,
    **extra: Any,
) -> Bunch | tuple[Any, Any]:
    """Turn a table of recordings into what scikit-learn's loaders return.

    Parameters
    ----------
    frame : DataFrame
        One row per recording, with at least the columns ``file``, ``label`` and ``speaker``.
        With ``start`` and ``end`` (s) the rows are segments, with ``channel`` (from 0) they are
        channels. ``split`` becomes a field.
    levels : ndarray of shape (n_levels,)
        The levels of the scale in ascending order; their type is the type of the target.
    target_names : list of str
        One readable name per level.
    descr : str
        Description of the corpus.
    as_frame : bool, default=False
        Whether ``data`` and ``target`` are pandas objects. ``data`` always is one for segments and
        channels.
    return_X_y : bool, default=False
        Whether to return only ``(data, target)``.
    votes : DataFrame of shape (n_rows, n_levels), optional
        The target, in place of labels.
    **extra : Any
        Further fields of the Bunch.

    Returns
    -------
    Bunch or tuple of (data, target)
        Fields ``data``, ``target``, ``groups``, ``frame``, ``levels``, ``target_names``,
        ``DESCR``, where there is such a column ``split``, and those of `extra`.
    """
    data: Any
    columns = [name for name in ("file", "start", "end", "channel") if name in frame.columns]
    if as_frame or len(columns) > 1:  # an array would make text of seconds
        data = frame[columns]
    else:
        data = np.array(frame["file"].tolist(), dtype=str)
    target: Any = frame["label"] if as_frame else frame["label"].to_numpy(dtype=levels.dtype)
    if votes is not None:
        target = votes
    if return_X_y:
        return data, target
    if "split" in frame.columns:
        extra["split"] = frame["split"].to_numpy()
    return Bunch(
        data=data,
        target=target,
        groups=frame["speaker"].to_numpy(),
        frame=frame,
        levels=levels,
        target_names=target_names,
        DESCR=descr,
        **extra,
    )
