"""Labels as users give them: numbers, text, ordered categories; and what is wrong with them."""

from decimal import Decimal
from numbers import Real
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

#: Kinds of NumPy's types that are numbers, truth values among them.
NUMBERS = "biuf"
_REMEDY = "Leave these rows out of X and y."
#: Why a prediction of NaN is not scored, and what to do.
NO_SCORE = (
    "They belong to recordings that could not be used or hold no speech, and leaving them out "
    "silently would change the score: leave these rows out of X and y yourself."
)


def name_rows(mask: NDArray[np.bool_]) -> str:
    """Name rows in a message, the first five of them.

    Parameters
    ----------
    mask : ndarray of bool of shape (n,)
        True at the rows meant.

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> name_rows(np.arange(9) > 1), name_rows(np.arange(9) == 4)
    ('rows 2, 3, 4, 5, 6 and 2 more', 'row 4')
    """
    rows = np.flatnonzero(mask)
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:5]))}{more}"


def as_labels(
    y: Any, name: str = "y", *, warn: bool = False
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Labels as an array, and the order that they bring along.

    Parameters
    ----------
    y : array-like of shape (n,)
        Numbers, text, or a category of pandas.
    name : str, default="y"
        In messages.
    warn : bool, default=False
        Whether a column in place of a 1-D array is a warning.

    Returns
    -------
    values : ndarray of shape (n,)
        Numbers or text (dtype str); whatever else an ordered category holds, as text.
    order : ndarray of shape (n_levels,) or None
        Levels of an ordered category from the lowest to the highest.

    Raises
    ------
    ValueError
        If a label is missing, infinite, bytes, or neither a number nor text; the message names
        the row.

    Examples
    --------
    >>> import pandas as pd
    >>> as_labels([True, 2, 0.5])[0]
    array([1. , 2. , 0.5])
    >>> as_labels(pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True))[1]
    array(['b', 'a'], dtype='<U1')
    """
    if y is None:
        raise ValueError(f"requires {name} to be passed, but the target {name} is None")
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        column_or_1d(np.empty(y.shape), warn=warn)
        y = y.iloc[:, 0]
    order = None
    if isinstance(getattr(y, "dtype", None), pd.CategoricalDtype) and y.dtype.ordered:
        order = as_array(y.dtype.categories)
    values = column_or_1d(as_array(y), warn=warn)
    if len(values) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) in {name} while a minimum of 1 is required."
        )
    missing = pd.isna(values)
    if values.dtype.kind == "f":
        missing |= np.isinf(values)
    if missing.any():
        raise ValueError(
            f"Input {name} contains NaN or infinity: {int(missing.sum())} of {len(values)} values, "
            f"in {name_rows(missing)}. {NO_SCORE if name == 'y_pred' else _REMEDY}"
        )
    if order is not None and order.dtype.kind not in NUMBERS + "U":
        return values.astype(str), order.astype(str)  # intervals of pandas.cut
    if values.dtype.kind not in NUMBERS + "U":
        _refuse_kind(values, name)
    return values, order


def as_array(values: Any) -> NDArray[Any]:
    """Values as an array of numbers or of text, where they are all one or the other.

    Parameters
    ----------
    values : array-like
        NumPy would turn a list of numbers and text into text: it comes back as objects, as do
        missing values.

    Returns
    -------
    ndarray
    """
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(object), np.nan)
    array = np.asarray(values)
    if array.dtype.kind == "T" or (array.dtype.kind in "US" and not isinstance(values, np.ndarray)):
        array = np.asarray(values, dtype=object)
    if array.dtype.kind != "O" or array.size == 0:
        return array
    flat = array.ravel().tolist()
    if all(isinstance(value, (Real, np.bool_, Decimal)) for value in flat):
        numbers = np.array(
            [value.item() if isinstance(value, np.generic) else value for value in flat]
        )
        if numbers.dtype.kind not in NUMBERS:
            numbers = numbers.astype(np.float64)
        return numbers.reshape(array.shape)
    if all(isinstance(value, str) for value in flat):
        return array.astype(str)
    return array


def _refuse_kind(values: NDArray[Any], name: str) -> NoReturn:
    """Raise for labels that are neither numbers nor text."""
    items = values.tolist()
    if any(isinstance(item, bytes) for item in items):
        raise ValueError(
            f"{name} holds bytes, such as {items[0]!r} in row 0. Decode them "
            "(np.char.decode(y)), and convert numbers with pd.to_numeric."
        )
    texts = np.array([isinstance(item, str) for item in items])
    if texts.any():
        raise ValueError(
            f"{name} holds text in {name_rows(texts)} ({items[texts.argmax()]!r}) and something "
            f"else in {name_rows(~texts)} ({items[texts.argmin()]!r}). Use numbers only, or an "
            "ordered category."
        )
    raise ValueError(
        f"{name} must hold numbers or an ordered category, got dtype {values.dtype} with "
        f"{items[0]!r} in row 0."
    )


def reads_as(text: str) -> float | None:
    """Number that a text reads as, decimal commas included, or None.

    Parameters
    ----------
    text : str

    Returns
    -------
    float or None

    Examples
    --------
    >>> reads_as(" -1,5 "), reads_as("low")
    (-1.5, None)
    """
    try:
        return float(text.strip().replace("\N{MINUS SIGN}", "-").replace(",", ".", 1))
    except ValueError:
        return None


def refuse_text(values: NDArray[Any], name: str = "y", wanted: str = "") -> NoReturn:
    """Raise for labels that are text without an order, with the way to give them one.

    Parameters
    ----------
    values : ndarray of str of shape (n,)
    name : str, default="y"
    wanted : str, default=""
        What is needed, at the beginning of the message.

    Raises
    ------
    ValueError
        Always.
    """
    numbers = np.array([reads_as(value) is not None for value in values.tolist()])
    if not numbers.any():
        found = ", ".join(map(repr, np.unique(values)[:5].tolist()))
        raise ValueError(
            f"{wanted}{name} holds text, whose order is not known ({found}). Pass levels= from "
            'the lowest to the highest, such as levels=["low", "medium", "high"], an ordered '
            "category (pd.Categorical(y, categories=[...], ordered=True)), or numbers."
        )
    example = f"{values[numbers.argmax()]!s:.40}"
    column = f"pd.Series({name})"
    if any("," in value for value in values[numbers].tolist()):
        column += '.str.replace(",", ".")'
    if numbers.all():
        raise ValueError(
            f"{wanted}{name} holds numbers as text, such as {example!r} in row "
            f"{int(numbers.argmax())}: their alphabetical order is not that of the numbers. "
            f"Convert them: pd.to_numeric({column})."
        )
    other = int(numbers.argmin())
    raise ValueError(
        f"{wanted}{name} holds text, some of which reads as numbers ({example!r} in row "
        f"{int(numbers.argmax())}) and some does not ({str(values[other])!r} in row {other}). "
        f'Convert them: pd.to_numeric({column}, errors="coerce"), and leave out rows of NaN.'
    )
