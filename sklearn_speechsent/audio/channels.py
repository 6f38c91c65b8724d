"""Channels that cancel when they are mixed, and channels that are the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Power of a mix, compared with that of independent channels, below which they cancel.
_CANCELLED = 0.02
#: Power of the differences, compared with that of the channels, below which they are the same.
_SAME = 1e-6


class ChannelPowers:
    """Powers of the channels of a recording, of their mix and of their differences.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.sin(np.arange(1000.0))
    >>> powers = ChannelPowers()
    >>> powers.add(np.stack([x, -x], axis=1), np.zeros(1000))
    >>> powers.cancel(), powers.same()
    (True, False)
    """

    def __init__(self) -> None:
        self.n = 0
        self._sums: NDArray[np.float64] = np.zeros(3)
        self._squares: NDArray[np.float64] = np.zeros(3)
        self._count = 0

    def add(self, block: NDArray[np.floating], mix: NDArray[np.floating]) -> None:
        """Add some samples.

        Parameters
        ----------
        block : ndarray of shape (n_samples, n_channels)
        mix : ndarray of shape (n_samples,)
            Their means.
        """
        self.n = block.shape[1]
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are said elsewhere
            for row, values in enumerate((block, block - block[:, :1], mix)):
                flat = values.reshape(-1)
                self._sums[row] += flat.sum(dtype=np.float64)
                self._squares[row] += np.dot(flat, flat)
        self._count += len(block)

    def cancel(self) -> bool:
        """Whether the mix is far below what it would be if the channels were independent."""
        if not self.n:
            return False
        channels, _, mix = self._powers()
        return bool(mix < _CANCELLED / self.n * channels)

    def same(self) -> bool:
        """Whether all channels are the same but for rounding."""
        if not self.n:
            return False
        channels, difference, _ = self._powers()
        return bool(difference < _SAME * channels)

    def _powers(self) -> NDArray[np.float64]:
        """Mean squares around the mean: an offset is not sound."""
        counts = self._count * np.array([self.n, self.n, 1])
        with np.errstate(invalid="ignore"):
            powers = self._squares / counts - (self._sums / counts) ** 2
        # What is left of an offset by rounding is not sound either.
        return np.where(powers > 1e-6 * self._squares / counts, powers, 0.0)
