"""Tables of votes: for each recording how many annotators, or which share, chose each level."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from sklearn_speechsent.metrics.labels import NUMBERS, as_array, name_rows, reads_as
from sklearn_speechsent.metrics.levels import as_order, as_scale

FloatArray = NDArray[np.float64]
#: A share of half the votes is not more than half because of its last digit.
_ROUNDING = 1e-9


def is_votes(y: Any) -> bool:
    """Whether labels are a table with a column per level, and not one label per recording.

    Parameters
    ----------
    y : array-like or DataFrame

    Returns
    -------
    bool

    Examples
    --------
    >>> is_votes([[1, 4], [0, 5]]), is_votes([0, 1]), is_votes([[0], [1]])
    (True, False, False)
    """
    if scipy.sparse.issparse(y):
        return False
    if not hasattr(y, "shape"):
        rows = isinstance(y, (list, tuple)) and len(y) > 0
        if not (rows and all(isinstance(row, (list, tuple, np.ndarray)) for row in y)):
            return False
        y = np.asarray(y, dtype=object)
    return len(y.shape) == 2 and y.shape[1] > 1


def check_votes(y: Any, name: str = "y") -> FloatArray:
    """Votes as numbers, whatever their levels are.

    Parameters
    ----------
    y : array-like or DataFrame of shape (n, n_levels)
    name : str, default="y"
        In messages.

    Returns
    -------
    ndarray of shape (n, n_levels)

    Raises
    ------
    ValueError
        If a value is missing, infinite, negative or not a number, or a row has no votes; the
        message names row and column.
    """
    columns = y.columns.tolist() if isinstance(y, pd.DataFrame) else range(np.shape(y)[1])
    table = as_array(y.to_numpy() if isinstance(y, pd.DataFrame) else y)
    if len(table) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) in {name} while a minimum of 1 is required."
        )
    values = pd.DataFrame(table.tolist()).to_numpy() if table.dtype.kind == "O" else table
    missing = pd.isna(values)

    def refuse(bad: NDArray[np.bool_], what: str, remedy: str) -> None:
        if bad.any():
            row, column = np.argwhere(bad)[0]
            value = values[row : row + 1, column].tolist()[0]
            raise ValueError(
                f"{name} is a table of votes, and {what}: {value!r} in row {row}, column "
                f"{columns[column]!r} ({int(bad.any(axis=1).sum())} of {len(bad)} rows). {remedy}"
            )

    refuse(missing, "holds NaN", "Write 0 where a level has no votes.")
    if values.dtype.kind not in NUMBERS:
        text = np.vectorize(lambda value: isinstance(value, (str, bytes)), otypes=[bool])(values)
        refuse(
            text if text.any() else np.ones(values.shape, bool),
            "holds something that is not a number",
            "Write the number, or the share, of the annotators who chose the level. Where columns "
            "are annotators, datasets.count_votes makes the table.",
        )
    votes = values.astype(np.float64)
    refuse(np.isinf(votes), "holds infinity", "Write numbers or shares of annotators.")
    refuse(
        votes < 0,
        "holds a negative number",
        "Where columns are annotators, and values are their levels, datasets.count_votes makes the "
        "table.",
    )
    empty = votes.sum(axis=1) == 0
    if empty.any():
        raise ValueError(
            f"{name} is a table of votes, and {name_rows(empty)} ({int(empty.sum())} of "
            f"{len(empty)}) has none. Leave such rows out of X and y."
        )
    return votes


def read_votes(
    y: Any, levels: ArrayLike | range | None = None, name: str = "y"
) -> tuple[FloatArray, NDArray[Any]]:
    """Shares of the levels in the votes of each recording, and their scale.

    Every recording counts as much as any other, however many votes it has: four of five votes are
    the same as a share of 0.8. ``sample_weight=votes.sum(axis=1)`` weights recordings by their
    votes.

    Parameters
    ----------
    y : array-like or DataFrame of shape (n, n_levels)
        Numbers of votes or shares. The columns of a DataFrame are named after the levels, and may
        come in any order; the columns of an array are in the order of `levels`, numbers ascending.
    levels : array-like of shape (n_levels,), optional
        The scale, of which a DataFrame may lack levels without votes. By default its columns:
        numbers (also as text), or an ordered category.
    name : str, default="y"
        In messages.

    Returns
    -------
    shares : ndarray of shape (n, n_levels)
        Rows sum to 1; columns are in ordinal order.
    scale : ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If votes cannot be used (the message names row and column), or columns are not those of the
        levels.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.metrics.votes import read_votes
    >>> read_votes(pd.DataFrame({1: [1, 0], -1: [4, 5]}))
    (array([[0.8, 0.2],
           [1. , 0. ]]), array([-1,  1]))
    """
    votes = check_votes(y, name)
    scale = None if levels is None else as_scale(levels)
    if isinstance(y, pd.DataFrame):
        votes, scale = _in_order(votes, y.columns, scale, name)
    elif scale is None:
        raise ValueError(
            f"{name} has {votes.shape[1]} columns, a table of votes whose levels are not known. "
            "Pass levels=, from the lowest to the highest, or a DataFrame whose columns are named "
            "after the levels: pd.DataFrame(y, columns=[-1, 0, 1]). "
            f"{_ENCODED}"
        )
    elif votes.shape[1] != len(scale):
        raise ValueError(
            f"{name} has {votes.shape[1]} columns of votes for the {len(scale)} levels "
            f"{scale.tolist()}. Pass the levels= of its columns, or a DataFrame whose columns are "
            "named after their levels."
        )
    return votes / votes.sum(axis=1, keepdims=True), scale


def names_levels(y: Any) -> bool:
    """Whether a table of votes says its levels and their order itself.

    Parameters
    ----------
    y : array-like or DataFrame of shape (n, n_levels)

    Returns
    -------
    bool
        True for a DataFrame whose columns are numbers or an ordered category.
    """
    if not isinstance(y, pd.DataFrame):
        return False
    names, order = _names(y.columns, None)
    return order is not None or names.dtype.kind in NUMBERS


_ENCODED = (
    'cross_val_predict(method="predict_proba") loses the names of columns, and changes votes: call '
    'it with method="predict".'
)


def _in_order(
    votes: FloatArray, columns: pd.Index, scale: NDArray[Any] | None, name: str
) -> tuple[FloatArray, NDArray[Any]]:
    """Votes with a column for each level of the scale, by default of the columns."""
    names, order = _names(columns, scale)
    if scale is None:
        if order is None and names.dtype.kind not in NUMBERS:
            raise ValueError(
                f"{name} is a table of votes with the columns {names.tolist()}, whose order is not "
                "known. Pass levels= from the lowest to the highest, or columns that are an "
                "ordered category. Where columns are annotators, datasets.count_votes makes the "
                "table."
            )
        scale = as_scale(names) if order is None else as_order(order)
    places = pd.Index(scale, dtype=object).get_indexer(pd.Index(names, dtype=object))
    if (places < 0).any():
        raise ValueError(
            f"{name} is a table of votes with a column {names.tolist()[int(places.argmin())]!r}, "
            f"and the levels are {scale.tolist()}. Name the columns after the levels, or pass "
            "other levels=."
        )
    if len(np.unique(places)) < len(places):
        raise ValueError(
            f"{name} is a table of votes with several columns of one level: {names.tolist()}. Add "
            "them up."
        )
    found = np.zeros((len(votes), len(scale)))
    found[:, places] = votes
    return found, scale


def _names(
    columns: pd.Index, scale: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Levels that columns are named after, and their order if it is an ordered category."""
    if isinstance(columns, pd.MultiIndex):
        columns = columns.to_flat_index().map(str)
    order = None
    if isinstance(columns.dtype, pd.CategoricalDtype) and columns.dtype.ordered:
        order = as_array(columns.dtype.categories)
    names = as_array(list(columns))
    wants_text = scale is not None and scale.dtype.kind == "U"
    numbers = [reads_as(text) for text in names.tolist()] if names.dtype.kind == "U" else [None]
    if order is None and not wants_text and None not in numbers:  # the first line of a text table
        names = np.array(numbers, dtype=np.float64)
    return names, order


def share_above(shares: FloatArray) -> FloatArray:
    """Share of the votes above each threshold.

    Parameters
    ----------
    shares : ndarray of shape (n, n_levels)
        In ordinal order.

    Returns
    -------
    ndarray of shape (n, n_levels - 1)
        Exactly 0 or 1 where all votes are on one side.

    Examples
    --------
    >>> import numpy as np
    >>> share_above(np.array([[0.25, 0.5, 0.25], [0, 1, 0]]))
    array([[0.75, 0.25],
           [1.  , 0.  ]])
    """
    reached = np.cumsum(shares[:, ::-1], axis=1)[:, ::-1]
    return reached[:, 1:] / reached[:, :1]


def median_index(shares: FloatArray) -> NDArray[np.int64]:
    """Position of the median level of each row, the lower of two.

    It is the number of thresholds above which there are more than half of the votes, as predicted
    levels are.

    Parameters
    ----------
    shares : ndarray of shape (n, n_levels)
        In ordinal order.

    Returns
    -------
    ndarray of int64 of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> median_index(np.array([[0.2, 0.5, 0.3], [0.5, 0.0, 0.5]]))
    array([1, 0])
    """
    return (share_above(shares) > 0.5 + _ROUNDING).sum(axis=1).astype(np.int64)


def median_votes(y: Any, levels: ArrayLike | range | None = None, name: str = "y") -> Any:
    """Median level of votes, for what needs one level per recording.

    Parameters
    ----------
    y : array-like of shape (n,), or table of votes
    levels : array-like of shape (n_levels,), optional
        Of an array, and of columns that are text without an order; other columns say it.
    name : str, default="y"
        In messages.

    Returns
    -------
    ndarray of shape (n,)
        `y` itself if it is not a table.
    """
    if not is_votes(y):
        return y
    shares, scale = read_votes(y, None if names_levels(y) else levels, name)
    return scale[median_index(shares)]


def mean_votes(y: Any, levels: ArrayLike | range | None = None, name: str = "y") -> Any:
    """Mean of votes, for what needs one intensity per recording.

    Parameters
    ----------
    y : array-like of shape (n,), or table of votes
    levels : array-like of numbers of shape (n_levels,), optional
        Of an array; the columns of a DataFrame say it.
    name : str, default="y"
        In messages.

    Returns
    -------
    ndarray of shape (n,)
        `y` itself if it is not a table.

    Raises
    ------
    ValueError
        If votes cannot be used, or levels are text.
    """
    if not is_votes(y):
        return y
    shares, scale = read_votes(y, None if names_levels(y) else levels, name)
    return mean_level(shares, scale, name)


def mean_level(shares: FloatArray, scale: NDArray[Any], name: str = "y") -> FloatArray:
    """Mean level of each row of shares.

    Parameters
    ----------
    shares : ndarray of shape (n, n_levels)
    scale : ndarray of shape (n_levels,)
    name : str, default="y"
        In messages.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If the levels are text.
    """
    if scale.dtype.kind == "U":
        raise ValueError(
            f"{name} is a table of votes for {scale.tolist()}, and text has no mean. Number the "
            "levels: pd.DataFrame(y, columns=[...])."
        )
    return shares @ scale.astype(np.float64)
