"""Last values of an array that grows at its end, in memory that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Tail:
    """Values by their position in the whole, of which only the last ones are there.

    Parameters
    ----------
    keep : int
        Number of values that are there at least, once there were as many.
    dtype : dtype

    Attributes
    ----------
    n : int
        Number of all values that were appended.

    Examples
    --------
    >>> tail = Tail(3, "int64")
    >>> for first in range(0, 12, 2):
    ...     tail.append(np.arange(first, first + 2))
    >>> tail.n, tail[9:12]
    (12, array([ 9, 10, 11]))
    """

    def __init__(self, keep: int, dtype: DTypeLike) -> None:
        self.n = 0
        self._keep = keep
        self._data: NDArray[Any] = np.empty(2 * keep, dtype)
        self._first = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add values at the end.

        Parameters
        ----------
        values : ndarray of shape (n,)
            As many as are kept, at most.
        """
        used = self.n - self._first
        if used + len(values) > len(self._data):
            kept = self._data[used - self._keep : used].copy()
            self._data[: self._keep] = kept
            self._first, used = self.n - self._keep, self._keep
        self._data[used : used + len(values)] = values
        self.n += len(values)

    def __getitem__(self, part: slice) -> NDArray[Any]:
        if not self._first <= part.start <= part.stop <= self.n:
            raise IndexError(f"{part.start} to {part.stop} of {self._first} to {self.n}")
        return self._data[part.start - self._first : part.stop - self._first].copy()
