"""Explanation of one prediction, by occlusion of parts of the recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from sklearn.utils import check_scalar

from sklearn_speechsent.audio import Recording, RecordingError, as_recordings, read
from sklearn_speechsent.frames import DomainWarning
from sklearn_speechsent.inference.detection import RATE
from sklearn_speechsent.inference.scoring import Scorer
from sklearn_speechsent.utils.repeats import without_warnings

#: Samples of a frame of the spectrum, and from one to the next: 32 ms every 8 ms.
_FRAME, _HOP = 512, 128
#: Windows, end to end, that a recording has by default, and the shortest of all (s).
_PARTS, _SHORTEST = 5, 0.1
#: Edges of bands (Hz), about as wide as each other for the ear.
BANDS = (0.0, 250.0, 500.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 5500.0, 8000.0)
#: Quantile of a frequency's magnitude over time that is its background.
_BACKGROUND = 0.05
#: Far below the magnitude of anything that was recorded.
_NOTHING = 1e-9
_TRANSFORM = ShortTimeFFT(hann(_FRAME, sym=False), _HOP, RATE)


@dataclass(frozen=True)
class Explanation:
    """Parts of a recording by what they add to its prediction, as `explain` finds them.

    Parameters
    ----------
    expected : float
        Expected level of the whole recording; the intensity that a regressor predicts.
    levels : ndarray of shape (n_levels,) or None
        In ordinal order; None for a regressor.
    time : DataFrame
        One row per window, with the columns ``start`` and ``end`` (s), ``change`` (expected level
        of the recording less that without the window) and, for each threshold, ``p(>level)``
        (change of the probability that the level lies above it). NaN where nothing is predicted
        without the window.
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
    def has_numbers(self) -> bool:
        """Whether levels are numbers; those of text count as positions from 0."""
        return self.levels is None or self.levels.dtype.kind != "U"

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


def explain(
    pipeline: Any,
    recording: Any,
    *,
    window: float | None = None,
    bands: Sequence[float] = BANDS,
) -> Explanation:
    """Ask what a prediction rests on, by taking away one window or one band of the sound at a time.

    Parts are taken away in the spectrum (32 ms every 8 ms), and phases stay. In a window, each
    frequency gets its geometric mean over the recording: nothing of its own is left, and nothing
    new comes in, as a silence would be. A band gets its background, the quantile of 5 % of each
    frequency over time: its mean would leave the level of the band as it is. Both were chosen by
    how often they find what was planted. The pipeline is called once, with all copies.

    What is explained is the prediction, not the speaker, and not the truth.

    Parameters
    ----------
    pipeline : estimator
        Fitted; takes recordings.
    recording : str, Path, ndarray, ``(rate, array)`` or DataFrame of one row
        An array without a rate is at 16 kHz. At least two windows long.
    window : float, optional
        Seconds that are taken away at a time, 0.1 or more; by default a fifth of the recording.
        Windows overlap by half. Short ones say more exactly where, and move the prediction less.
    bands : sequence of float, default=(0, 250, 500, 1000, 1500, 2000, 3000, 4000, 5500, 8000)
        Edges of frequency bands (Hz), ascending, up to 8000.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        If ``recording`` is several, a parameter is out of range, or nothing is predicted.
    RecordingError
        If the recording cannot be used or is too short, or if nobody speaks in it once a part is
        taken away.

    See Also
    --------
    ExplanationDisplay : Draws it over the spectrogram.

    References
    ----------
    .. [1] M. D. Zeiler and R. Fergus (2014). "Visualizing and understanding convolutional
       networks". Proc. ECCV, 818-833.

    Examples
    --------
    >>> from sklearn_speechsent import make_sentiment_pipeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> from sklearn_speechsent.inspection import explain
    >>> corpus = make_speech_sentiment(4, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline(weights=None).fit(corpus.data, corpus.target)
    >>> found = explain(pipeline, corpus.data[0], bands=(0, 1000, 8000))
    >>> found.time.columns.tolist(), len(found.time)
    (['start', 'end', 'change', 'p(>-1)'], 9)
    >>> found.frequency[["low", "high"]].to_numpy().tolist()
    [[0.0, 1000.0], [1000.0, 8000.0]]
    """
    scorer = Scorer(pipeline)
    found = as_recordings(recording if isinstance(recording, pd.DataFrame) else [recording])
    if len(found) != 1:
        raise ValueError(f"explain takes one recording, got {len(found)}: pass one of them.")
    edges = _check_bands(bands)
    samples = read(found[0], RATE)
    starts, window = _windows(found[0], len(samples) / RATE, window)
    try:
        with without_warnings([DomainWarning]):  # of copies, which are unlike any recording
            values = scorer.values([samples, *_without(samples, starts, window, edges)])
    except RecordingError as error:
        if not error.row:
            raise
        raise found[0].error(
            f"without one of its parts it cannot be used: {error} Pass a shorter window=, narrower "
            'bands=, or set on_error="nan" in the pipeline.'
        ) from error
    if np.isnan(values[0]).any():
        raise found[0].error("nothing is predicted for it, and so there is nothing to explain.")
    changes = _changes(values, scorer)
    time = pd.DataFrame({"start": starts, "end": starts + window})
    frequency = pd.DataFrame({"low": edges[:-1], "high": edges[1:]})
    return Explanation(
        float(scorer.summary(values[0])[1]),
        scorer.levels,
        pd.concat([time, changes[: len(time)]], axis=1),
        pd.concat([frequency, changes[len(time) :].reset_index(drop=True)], axis=1),
        samples,
    )


def _check_bands(bands: Sequence[float]) -> NDArray[np.float64]:
    edges = np.asarray(bands, dtype=np.float64)
    ascend = edges.ndim == 1 and len(edges) > 1 and bool((np.diff(edges) > 0).all())
    if not ascend or edges[0] < 0 or edges[-1] > RATE / 2:
        raise ValueError(
            f"bands must be two or more ascending edges from 0 to {RATE // 2} Hz, got {bands!r}."
        )
    narrow = np.diff(edges).min()
    if narrow < RATE / _FRAME:
        raise ValueError(f"Bands must be {RATE / _FRAME:g} Hz wide or more, got one of {narrow:g}.")
    return edges


def _windows(
    recording: Recording, duration: float, window: float | None
) -> tuple[NDArray[np.float64], float]:
    """Starts of windows that overlap by half or a little more, and their length (s)."""
    if window is None:
        window = max(duration / _PARTS, _SHORTEST)
    check_scalar(window, "window", Real, min_val=_SHORTEST)
    if window > duration / 2:
        raise recording.error(
            f"it lasts {duration:.2f} s, and explain needs two windows of {window:g} s or more. "
            "Pass a shorter window=, or a longer recording."
        )
    n_windows = int(np.ceil(2 * duration / window - 1e-9)) - 1
    return np.linspace(0, duration - window, n_windows), window


def _without(
    samples: NDArray[np.float32],
    starts: NDArray[np.float64],
    window: float,
    edges: NDArray[np.float64],
) -> Iterator[NDArray[np.float32]]:
    """Copies of a recording, each without one window, then each without one band."""
    spectrum = spectrum_of(samples)
    magnitude = np.abs(spectrum) + _NOTHING
    phase = spectrum / magnitude
    mean = phase * np.exp(np.log(magnitude).mean(axis=1, keepdims=True))
    quiet = phase * np.quantile(magnitude, _BACKGROUND, axis=1, keepdims=True)
    centres, frequencies = _TRANSFORM.t(len(samples)), _TRANSFORM.f[:, np.newaxis]

    def copy(part: NDArray[np.bool_], instead: NDArray[np.complex128]) -> NDArray[np.float32]:
        changed = np.where(part, instead, spectrum)
        return _TRANSFORM.istft(changed, k1=len(samples)).astype(np.float32)

    for start in starts:
        yield copy((centres >= start) & (centres < start + window), mean)
    for low, high in pairwise(edges):
        top = frequencies <= high if high == RATE / 2 else frequencies < high
        yield copy((frequencies >= low) & top, quiet)


def _changes(values: NDArray[np.floating], scorer: Scorer) -> pd.DataFrame:
    """Values of the whole recording, the first, less those of the copies."""
    expected = np.array([scorer.summary(row)[1] for row in values])
    found = {"change": expected[0] - expected[1:]}
    if scorer.levels is not None:
        above = 1 - np.cumsum(values, axis=1)[:, :-1]
        names = [f"p(>{level})" for level in scorer.levels[:-1].tolist()]
        found |= dict(zip(names, (above[0] - above[1:]).T, strict=True))
    return pd.DataFrame(found)
