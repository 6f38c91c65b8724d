"""Scores of windows by a pipeline, and what follows from their probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.frames.domain import DomainWarning
from sklearn_speechsent.frames.no_speech import NoSpeechWarning
from sklearn_speechsent.inference.detection import RATE, SHIFT
from sklearn_speechsent.inference.events import Event, Score
from sklearn_speechsent.inference.listener import Final, Item, Window
from sklearn_speechsent.inference.windows import WeightedMean
from sklearn_speechsent.metrics.labels import NUMBERS
from sklearn_speechsent.utils.estimators import final_step
from sklearn_speechsent.utils.repeats import without_warnings

#: Samples of a batch of windows: a minute.
_BATCH = 60 * RATE


class Scorer:
    """Probabilities of windows, by a fitted pipeline that is only read.

    Parameters
    ----------
    pipeline : estimator
        With ``predict_proba``, or a regressor.

    Attributes
    ----------
    levels : ndarray of shape (n_levels,) or None
        In ordinal order; None for a regressor.

    Raises
    ------
    NotFittedError
        If the pipeline is not fitted.
    """

    def __init__(self, pipeline: Any) -> None:
        check_is_fitted(pipeline)
        self._pipeline = pipeline
        self._warned = False
        self.levels = fitted_levels(pipeline) if hasattr(pipeline, "predict_proba") else None

    @property
    def n_values(self) -> int:
        """Number of values that a window gets: probabilities, or one intensity."""
        return 1 if self.levels is None else len(self.levels)

    @property
    def columns(self) -> list[str]:
        """Names of :meth:`row`."""
        levels = [] if self.levels is None else self.levels.tolist()
        return ["level", "expected", *(f"p({level})" for level in levels)]

    @property
    def has_text(self) -> bool:
        """Whether levels are text."""
        return self.levels is not None and self.levels.dtype.kind not in NUMBERS

    def values(self, samples: list[NDArray[np.float32]]) -> NDArray[np.floating]:
        """Probabilities of the levels in ordinal order, or intensities.

        Parameters
        ----------
        samples : list of ndarray of shape (n_samples_i,)
            At 16 kHz.

        Returns
        -------
        ndarray of shape (n, n_values)
            NaN where nothing can be said.

        Warns
        -----
        DomainWarning
            With the first windows only.
        """
        return self.of([(RATE, window) for window in samples])

    def of(self, X: Any) -> NDArray[np.floating]:
        """The same for whatever the pipeline takes.

        Parameters
        ----------
        X : array-like of shape (n,)
            Recordings.

        Returns
        -------
        ndarray of shape (n, n_values)

        Warns
        -----
        DomainWarning
            With the first recordings only.
        """
        muted = [NoSpeechWarning, "no prediction", *[DomainWarning] * self._warned]
        with without_warnings(muted):
            self._warned = True
            if self.levels is None:
                return np.asarray(self._pipeline.predict(X), dtype=np.float64)[:, None]
            order = np.argsort(np.argsort(self.levels))
            return np.asarray(self._pipeline.predict_proba(X))[:, order]

    def summary(self, values: NDArray[np.floating]) -> tuple[Any, float, tuple[float, ...]]:
        """What follows from the values of a window or an utterance.

        Parameters
        ----------
        values : ndarray of shape (n_values,)

        Returns
        -------
        level : object
            NaN of a regressor and where nothing can be said, None for levels of text.
        expected : float
        probabilities : tuple of float
        """
        if self.levels is None:
            return np.nan, float(values[0]), ()
        return (*level_and_mean(values, self.levels), tuple(values.tolist()))

    def row(self, values: NDArray[np.floating]) -> dict[str, Any]:
        """What follows from the values of a window or an utterance, by column.

        Parameters
        ----------
        values : ndarray of shape (n_values,)

        Returns
        -------
        dict
        """
        level, expected, probabilities = self.summary(values)
        return dict(zip(self.columns, (level, expected, *probabilities), strict=True))


def level_and_mean(proba: NDArray[np.floating], levels: NDArray[Any]) -> tuple[Any, float]:
    """Level with the number of thresholds that are likely exceeded, and the expected level.

    Parameters
    ----------
    proba : ndarray of shape (n_levels,)
    levels : ndarray of shape (n_levels,)
        In ordinal order. For text the expected level is the mean position, from 0.

    Returns
    -------
    level : object
    expected : float

    Examples
    --------
    >>> level_and_mean(np.array([0.25, 0.5, 0.25]), np.array([-1, 0, 1]))
    (0, 0.0)
    """
    numbers = levels.dtype.kind in NUMBERS
    if np.isnan(proba).any():
        return (np.nan if numbers else None), np.nan
    above = 1 - np.cumsum(proba)[:-1]
    steps = levels.astype(np.float64) if numbers else np.arange(len(levels))
    return levels[(above > 0.5).sum()].item(), float(proba @ steps)


class EventMaker:
    """Events of the utterances and windows of one signal, whose windows are scored in batches.

    Parameters
    ----------
    scorer : Scorer
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._items: list[Item] = []
        self._size = 0
        self._means: dict[int, WeightedMean] = {}

    def add(self, item: Item) -> list[Event]:
        """Take what a listener gives; events come as soon as a batch of windows is there.

        Parameters
        ----------
        item : SpeechStart, Window, Final or SpeechEnd

        Returns
        -------
        list of events
        """
        self._items.append(item)
        self._size += len(item.samples) if isinstance(item, Window) else 0
        return self.flush() if self._size >= _BATCH else []

    def flush(self) -> list[Event]:
        """Score the windows that are there.

        Returns
        -------
        list of events
        """
        items, self._items, self._size = self._items, [], 0
        windows = [item.samples for item in items if isinstance(item, Window)]
        values = iter(self._scorer.values(windows)) if windows else iter(())
        return list(self._events(items, values))

    def _events(self, items: list[Item], values: Iterator[NDArray[np.floating]]) -> Iterator[Event]:
        for item in items:
            if isinstance(item, Window):
                found = next(values)
                if item.role == "whole":  # it counts alone
                    self._means.pop(item.utterance, None)
                if item.role != "short":
                    mean = self._means.setdefault(item.utterance, WeightedMean())
                    mean.add(found, item.speech)
                if item.role in ("short", "full"):
                    yield self._score(item, found)
            elif isinstance(item, Final):
                mean = self._means.pop(item.utterance, WeightedMean())
                mean = mean if item.scored else WeightedMean()
                yield self._score(item, mean.value(self._scorer.n_values))
            else:
                yield item

    def _score(self, item: Window | Final, values: NDArray[np.floating]) -> Score:
        start, stop = item.start, item.stop
        level, expected, probabilities = self._scorer.summary(values)
        return Score(
            utterance=item.utterance,
            start_sample=start,
            end_sample=stop,
            start=start / RATE,
            end=stop / RATE,
            level=level,
            expected=expected,
            probabilities=probabilities,
            speech=item.speech * SHIFT / RATE,
            final=isinstance(item, Final),
        )


def fitted_levels(pipeline: Any) -> NDArray[Any]:
    """Levels in ordinal order, as the last step of a fitted pipeline has learned them.

    Parameters
    ----------
    pipeline : estimator
        Fitted, with ``predict_proba``.

    Returns
    -------
    ndarray of shape (n_levels,)
    """
    last = final_step(pipeline)[1]
    for name in ("best_estimator_", "estimator_"):  # of a search, of training on copies
        if hasattr(last, name) and not hasattr(last, "levels_"):
            return fitted_levels(getattr(last, name))
    return np.asarray(getattr(last, "levels_", last.classes_))
