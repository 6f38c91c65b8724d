"""Sums over recordings, from which measures of many draws of speakers follow at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent.metrics.levels import level_index

Floats = NDArray[np.float64]

#: Variances and weights up to this are rounding.
_NOTHING = 1e-12


def tallies(y: Floats, prediction: Floats, levels: NDArray, *, polar: bool = True) -> pd.DataFrame:
    """Summands of each recording.

    Parameters
    ----------
    y, prediction : ndarray of shape (n,)
        Numbers.
    levels : ndarray of shape (n_levels,)
        In ascending order.
    polar : bool, default=True
        Whether 0 is between negative and positive.

    Returns
    -------
    DataFrame of shape (n, n_sums)
        Columns for :func:`measure`.
    """
    i, j = (level_index(values, levels).astype(np.float64) for values in (y, prediction))
    values = np.asarray(levels, dtype=np.float64)
    error = prediction - y
    # Moments are about the middle of the scale, where they lose least to rounding.
    middle = values.mean()
    found = {"n": np.ones(len(y)), "error": error, "absolute": np.abs(error)}
    found |= _moments("raw", y - middle, prediction - middle)
    found |= _moments("level", i - len(levels) / 2, j - len(levels) / 2)
    found |= {
        "exact": i == j,
        "near": np.abs(i - j) <= 1,
        "steps": np.abs(i - j) / (len(levels) - 1),
    }
    found |= {"polar": (y != 0) & polar, "right": (y != 0) & polar & ((y > 0) == (prediction > 0))}
    distance = np.abs(values[i.astype(int)] - values[j.astype(int)])
    for k in range(len(levels)):
        found |= {f"n of {k}": i == k, f"distance of {k}": (i == k) * distance}
    return pd.DataFrame(found, dtype=np.float64)


def _moments(name: str, a: Floats, b: Floats) -> dict[str, Floats]:
    return {f"{name} {k}": v for k, v in zip("abcde", (a, b, a * a, b * b, a * b), strict=True)}


def _concordance(sums: pd.DataFrame, name: str) -> Floats:
    """Concordance correlation; 0 where truth or prediction is constant."""
    a, b, aa, bb, ab = (sums[f"{name} {k}"] / sums["n"] for k in "abcde")
    va, vb, covariance = aa - a * a, bb - b * b, ab - a * b
    varies = (va > _NOTHING) & (vb > _NOTHING)
    return np.where(
        varies, 2 * covariance / (va + vb + (a - b) ** 2), np.where(sums["n"] > 0, 0, np.nan)
    )


def _macro(sums: pd.DataFrame) -> Floats:
    n = sums.filter(regex="^n of ").to_numpy()
    distance = sums.filter(regex="^distance of ").to_numpy()
    occurs = n > _NOTHING
    means = np.divide(distance, n, out=np.zeros_like(n), where=occurs)
    return means.sum(axis=1) / occurs.sum(axis=1)


#: Measures by their names in `ordinal_report`, and the bias, which is the mean error.
MEASURES: dict[str, Callable[[pd.DataFrame], Floats]] = {
    "mae": lambda s: s["absolute"] / s["n"],
    "bias": lambda s: s["error"] / s["n"],
    "ccc": lambda s: _concordance(s, "raw"),
    "qwk": lambda s: _concordance(s, "level"),
    "accuracy": lambda s: s["exact"] / s["n"],
    "macro_mae": _macro,
    "polarity_accuracy": lambda s: s["right"] / s["polar"],
    "within_one": lambda s: s["near"] / s["n"],
    "threshold_accuracy": lambda s: 1 - s["steps"] / s["n"],
}
#: Measures of which less is better.
ERRORS = ("mae", "macro_mae")


def check_measures(names: Sequence[str], known: Iterable[str] = MEASURES) -> list[str]:
    """Refuse names of measures that are not known.

    Parameters
    ----------
    names : sequence of str
    known : iterable of str, default=MEASURES

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there are none, or one is unknown.
    """
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"measures must be some of {', '.join(known)}; got {unknown or names}.")
    return names


def measure(sums: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Measures from sums over recordings.

    Parameters
    ----------
    sums : DataFrame of shape (n_draws, n_sums)
        Of :func:`tallies`.
    names : sequence of str
        Of `MEASURES`.

    Returns
    -------
    ndarray of shape (n_draws, n_measures)
        NaN where nothing was summed.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.column_stack([np.asarray(MEASURES[name](sums)) for name in names])


def drawn(draws: Floats, sums: pd.DataFrame) -> pd.DataFrame:
    """Sums over the speakers of each draw.

    Parameters
    ----------
    draws : ndarray of shape (n_draws, n_speakers)
        How often each speaker is in it.
    sums : DataFrame of shape (n_speakers, n_sums)
        By speaker.

    Returns
    -------
    DataFrame of shape (n_draws, n_sums)
    """
    return pd.DataFrame(draws @ sums.to_numpy(), columns=sums.columns)
