"""Explanation of one prediction, by occlusion of parts of the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from sklearn.utils import check_scalar

from sklearn_speechsent.audio import RecordingError, as_recordings, read
from sklearn_speechsent.inference.detection import RATE
from sklearn_speechsent.inference.scoring import Scorer, level_and_mean

#: Samples of a frame of the spectrum, and from one to the next: 32 ms every 8 ms.
_FRAME, _HOP = 512, 128
#: Windows, end to end, that a recording has by default, and the shortest of them (s).
_PARTS, _SHORTEST = 8, 0.2
#: Edges of bands (Hz), about as wide as each other for the ear.
BANDS = (0.0, 250.0, 500.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 5500.0, 8000.0)
#: Quantile of a frequency's magnitude over time that is its background.
_BACKGROUND = 0.05


@dataclass(frozen=True)
class Explanation:
    """Parts of a recording by what they add to its prediction, see :func:`explain`.

    Parameters
    ----------
    expected : float
        Expected level of the whole recording; the intensity that a regressor predicts.
    levels : ndarray of shape (n_levels,) or None
        In ordinal order; None for a regressor.
    time : DataFrame
        One row per window, with the columns ``start`` and ``end`` (s), ``change`` (expected level
        of the recording less that without the window) and, for each threshold, ``p(>level)``
        (change of the probability that the level lies above it).
    frequency : DataFrame
        One row per band, with ``low`` and ``high`` (Hz) and the same columns of changes.
    samples : ndarray of shape (n_samples,)
        The recording at 16 kHz.
    """

    expected: float
    levels: NDArray[Any] | None
    time: pd.DataFrame
    frequency: pd.DataFrame
    samples: NDArray[np.float32]

    @property
    def thresholds(self) -> list[str]:
        """Columns of changes of probabilities, from the lowest threshold."""
        return [column for column in self.time if column.startswith("p(")]


def spectrum_of(samples: NDArray[np.float32]) -> NDArray[np.complex128]:
    """Spectrum over time.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,)
        At 16 kHz.

    Returns
    -------
    ndarray of shape (n_bins, n_frames)
        Frame k is centred on sample 128 (k - 1).
    """
    return _TRANSFORM.stft(samples)


_TRANSFORM = ShortTimeFFT(hann(_FRAME, sym=False), _HOP, RATE)
REPLACE = "background"


def explain(
    pipeline: Any,
    recording: Any,
    *,
    window: float | None = None,
    bands: Sequence[float] = BANDS,
) -> Explanation:
    scorer = Scorer(pipeline)
    X = as_recordings(recording if isinstance(recording, pd.DataFrame) else [recording])
    if len(X) != 1:
        raise ValueError(f"explain takes one recording, got {len(X)}: pass one row.")
    samples = read(X[0], RATE)
    duration = len(samples) / RATE
    if window is None:
        window = max(duration / _PARTS, _SHORTEST)
    check_scalar(window, "window", Real, min_val=_FRAME / RATE)
    if window > duration / 2:
        raise X[0].error(
            f"it lasts {duration:.2f} s, and windows {window:g} s: explain needs two windows or "
            "more. Pass a shorter window=, or a longer recording."
        )
    edges = np.asarray(bands, dtype=np.float64)
    spectrum = spectrum_of(samples)
    n_windows = 2 * round(duration / window) - 1
    starts = np.linspace(0, duration - window, n_windows)
    centres = _TRANSFORM.t(len(samples))
    frequencies = _TRANSFORM.f
    masks = [((centres >= s) & (centres < s + window))[None, :] for s in starts]
    masks += [
        ((frequencies >= low) & (frequencies < high))[:, None]
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    magnitude = np.abs(spectrum)
    if REPLACE == "zero":
        quiet = np.zeros(len(spectrum))
    elif REPLACE == "background":
        quiet = np.quantile(magnitude, _BACKGROUND, axis=1)
    else:
        quiet = np.exp(np.log(magnitude + 1e-9).mean(axis=1))
    replacement = spectrum / np.maximum(magnitude, 1e-12) * quiet[:, None]
    copies = [
        _TRANSFORM.istft(np.where(mask, replacement, spectrum), k1=len(samples)).astype(np.float32)
        for mask in masks
    ]
    if REPLACE == "cut":
        t = np.arange(len(samples)) / RATE
        copies[: len(starts)] = [samples[(t < s) | (t >= s + window)] for s in starts]
    values = scorer.values([samples, *copies])
    if scorer.levels is None:
        expected, above = values[:, 0], np.empty((len(values), 0))
        names = []
    else:
        expected = np.array([level_and_mean(v, scorer.levels)[1] for v in values])
        above = 1 - np.cumsum(values, axis=1)[:, :-1]
        names = [f"p(>{level})" for level in scorer.levels[:-1].tolist()]
    changes = pd.DataFrame(above[0] - above[1:], columns=names)
    changes.insert(0, "change", expected[0] - expected[1:])
    time = pd.concat(
        [pd.DataFrame({"start": starts, "end": starts + window}), changes[: len(starts)]], axis=1
    )
    frequency = pd.concat(
        [pd.DataFrame({"low": edges[:-1], "high": edges[1:]}),
         changes[len(starts) :].reset_index(drop=True)],
        axis=1,
    )
    return Explanation(float(expected[0]), scorer.levels, time, frequency, samples)
