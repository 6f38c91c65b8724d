"""Windows of an utterance that are scored, and the final probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.inference.detection import LENGTH, RATE


@dataclass(frozen=True)
class WindowRule:
    """Which windows of an utterance are scored; all values are numbers of samples at 16 kHz.

    Parameters
    ----------
    window, step : int
        Length of the windows, and distance between their ends.
    min_speech : int
        An utterance with less speech gets no score.
    max_window : int
        A longer utterance is scored in windows.

    Examples
    --------
    >>> rule = WindowRule.of_seconds(window=5.0, step=2.0, min_speech=1.0, max_window=15.0)
    >>> rule.provisional(start=800, first=1, stop=100_000).tolist()
    [[800, 32800], [800, 64800], [16800, 96800]]
    """

    window: int
    step: int
    min_speech: int
    max_window: int

    @classmethod
    def of_seconds(
        cls, *, window: float, step: float, min_speech: float, max_window: float
    ) -> WindowRule:
        """Rule of values in seconds.

        Parameters
        ----------
        window, step, min_speech, max_window : float

        Returns
        -------
        WindowRule

        Raises
        ------
        ValueError
            If a value is not finite, or they are not in order.
        """
        given = {"window": window, "step": step, "min_speech": min_speech, "max_window": max_window}
        for name, value in given.items():
            if not (isinstance(value, (int, float, np.number)) and np.isfinite(value)):
                raise ValueError(f"{name}={value!r} is not a finite number of seconds.")
        if not LENGTH / RATE <= step <= window <= max_window or not 0 <= min_speech <= window:
            raise ValueError(
                f"{', '.join(f'{name}={value:g}' for name, value in given.items())}: they must be "
                f"{LENGTH / RATE:g} <= step <= window <= max_window and 0 <= min_speech <= window "
                "(seconds)."
            )
        return cls(**{name: round(value * RATE) for name, value in given.items()})

    def provisional(self, start: int, first: int, stop: int) -> NDArray[np.int64]:
        """Windows of an utterance that end while it goes on.

        Parameters
        ----------
        start : int
            Of the utterance.
        first : int
            Number of the first window that is wanted, from 1.
        stop : int
            They end before this sample.

        Returns
        -------
        ndarray of shape (n, 2)
            Start and end of window ``k``, which ends ``k * step`` after the start of the utterance.
        """
        first = max(first, 1, -(-self.min_speech // self.step))
        ends = start + self.step * np.arange(first, max(first, -(-(stop - start) // self.step)))
        return np.stack([np.maximum(start, ends - self.window), ends], axis=1)


class WeightedMean:
    """Mean of the probabilities of windows, weighted by their speech.

    The mean of cumulative probabilities is the same. Windows of NaN do not count; if none has
    speech, all count alike.

    Examples
    --------
    >>> mean = WeightedMean()
    >>> mean.add(np.array([1.0, 0.0]), speech=3)
    >>> mean.add(np.array([0.0, 1.0]), speech=1)
    >>> mean.value(2)
    array([0.75, 0.25])
    """

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64] | float] = [0.0, 0.0]
        self._weights = [0, 0]

    def add(self, values: NDArray[np.floating], speech: int) -> None:
        """Add a window.

        Parameters
        ----------
        values : ndarray of shape (n_values,)
        speech : int
            Frames of speech in it.
        """
        if np.isnan(values).any():
            return
        for i, weight in enumerate((speech, 1)):
            self._sums[i] = self._sums[i] + weight * values.astype(np.float64)
            self._weights[i] += weight

    def value(self, n_values: int) -> NDArray[np.float64]:
        """Mean of the windows.

        Parameters
        ----------
        n_values : int

        Returns
        -------
        ndarray of shape (n_values,)
            NaN if there was no window.
        """
        for total, weight in zip(self._sums, self._weights, strict=True):
            if weight:
                return np.asarray(total) / weight
        return np.full(n_values, np.nan)
