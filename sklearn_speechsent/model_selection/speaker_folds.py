"""Folds over speakers for continuous intensity.

A model scores far too well on speakers it was trained on, and scikit-learn's stratified group
splitter refuses continuous targets.
"""

import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_speechsent.metrics.levels import check_levels, level_index, round_to_integers
from sklearn_speechsent.metrics.scale import read_labels, refuse_off
from sklearn_speechsent.metrics.votes import (
    is_votes,
    mean_level,
    median_index,
    names_levels,
    read_votes,
)

IntArray = NDArray[np.intp]


class StratifiedSpeakerKFold(StratifiedGroupKFold):
    """K folds in which no speaker is on both sides and levels are spread evenly.

    Each utterance falls in the stratum of its level, or of its quantile bin, and
    :class:`~sklearn.model_selection.StratifiedGroupKFold` distributes whole speakers so that
    every fold has about the same share of each stratum [1]_.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of speakers.
    levels : array-like of shape (n_levels,), default=None
        The scale, to whose levels labels are rounded and clipped as by
        :func:`~sklearn_speechsent.metrics.round_to_levels`; or text from the lowest to the highest
        level. None takes the order of an ordered category, and rounds numbers to the nearest
        integer.
    n_bins : int, default=None
        Number of quantile bins of the labels to stratify by, for labels without levels; an error
        next to `levels`. None stratifies by level.
    shuffle : bool, default=False
        Whether speakers of similar label counts are assigned in random order.
    random_state : int or RandomState instance, default=None
        Seed of the shuffling.

    See Also
    --------
    sklearn.model_selection.GroupKFold : Without an even spread of levels.

    References
    ----------
    .. [1] K. Sechidis, G. Tsoumakas and I. Vlahavas (2011). "On the stratification of
       multi-label data". Proc. ECML PKDD, 145-158.

    Examples
    --------
    >>> from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
    >>> paths = [f"{i}.wav" for i in range(6)]
    >>> y = [-1.2, 0.9, -0.8, 1.1, -1.0, 1.3]
    >>> speakers = ["ann", "ann", "bob", "bob", "eve", "eve"]
    >>> cv = StratifiedSpeakerKFold(n_splits=3)
    >>> for train, test in cv.split(paths, y, groups=speakers):
    ...     print(test)
    [0 1]
    [2 3]
    [4 5]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        levels: ArrayLike | range | None = None,
        n_bins: int | None = None,
        shuffle: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        super().__init__(n_splits=n_splits, shuffle=shuffle, random_state=random_state)
        if n_bins is not None and not (isinstance(n_bins, Integral) and n_bins >= 2):
            raise ValueError(f"n_bins must be None or an integer of at least 2, got {n_bins!r}.")
        if levels is not None:
            check_levels(levels)
            if n_bins is not None:
                raise ValueError(
                    "levels and n_bins are two ways to stratify: pass one of them, levels for a "
                    "scale that is known."
                )
        self.levels = levels
        self.n_bins = n_bins

    def split(
        self, X: Any, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the train and test rows of each fold.

        Parameters
        ----------
        X : sequence of shape (n_samples, ...)
            Anything with a length: paths, utterances, arrays. Only its length is used.
        y : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
            Labels: numbers, continuous or integer, text of which `levels` gives the order, or an
            ordered category. Of votes the median level counts, with `n_bins` the mean.
        groups : array-like of shape (n_samples,)
            Speaker of each utterance.

        Returns
        -------
        iterator of (ndarray, ndarray)
            Train and test rows of each fold.

        Raises
        ------
        ValueError
            If `y` or `groups` is missing or holds missing values, lengths differ, there are
            fewer speakers than folds, or every stratum has fewer utterances than folds.

        Warns
        -----
        UserWarning
            If a level (or bin) of `y` is absent from the training part of a fold.
        """
        if groups is None:
            raise ValueError(
                f"{type(self).__name__} needs the speaker of each utterance: pass groups=."
            )
        if y is None:
            raise ValueError(f"{type(self).__name__} stratifies by label: pass y.")
        labels, scale = self._labels(y)
        speakers = column_or_1d(groups)
        check_consistent_length(X, labels, speakers)
        if pd.isna(speakers).any():
            raise ValueError("groups holds missing values: every utterance needs a speaker.")
        n_speakers = len(pd.unique(speakers))
        if n_speakers < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} folds need as many speakers; groups has {n_speakers}."
            )
        strata = self._strata(labels, scale)
        if max(np.unique(strata, return_counts=True)[1]) < self.n_splits:
            raise ValueError(
                f"Every level of y has fewer than n_splits={self.n_splits} utterances: use fewer "
                "folds, or stratify by quantiles with n_bins."
            )
        with warnings.catch_warnings():
            # "least populated class" and "many unique classes" do no harm as long as every level
            # is in every training part, which is checked below
            warnings.simplefilter("ignore", UserWarning)
            tests = [test for _, test in super().split(labels, strata, speakers)]
        _fill_empty(tests, speakers)
        rows = np.arange(len(labels))
        folds = [(np.setdiff1d(rows, test), test) for test in tests]
        self._warn_absent(folds, labels, strata, scale)
        return iter(folds)

    def _labels(self, y: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Labels and their scale, if it is known."""
        if is_votes(y):
            unnamed = self.levels is None and not names_levels(y)
            shares, of_votes = read_votes(y, range(np.shape(y)[1]) if unnamed else self.levels)
            if self.n_bins is not None:
                return mean_level(shares, of_votes), of_votes
            return of_votes[median_index(shares)], of_votes
        labels, scale = read_labels(y, self.levels)
        if scale is not None and level_index(labels, scale).min() < 0:
            refuse_off(labels, scale, "Correct it, or pass other levels.")
        if self.n_bins is not None and labels.dtype.kind == "U":
            raise ValueError("n_bins needs numbers as labels, and y holds text.")
        return labels, scale

    def _strata(self, labels: NDArray[Any], scale: NDArray[Any] | None) -> IntArray:
        """Return the stratum of each utterance: its level or its quantile bin."""
        if self.n_bins is not None:
            edges = np.quantile(labels, np.linspace(0, 1, self.n_bins + 1)[1:-1])
            return np.digitize(labels, np.unique(edges))
        if scale is not None:
            return level_index(labels, scale).astype(np.intp)
        return round_to_integers(labels).astype(np.intp)

    def _warn_absent(
        self,
        folds: list[tuple[IntArray, IntArray]],
        labels: NDArray[Any],
        strata: IntArray,
        scale: NDArray[Any] | None,
    ) -> None:
        for number, (train, _) in enumerate(folds):
            for stratum in np.setdiff1d(strata, strata[train]):
                members = labels[strata == stratum]
                if self.n_bins is not None:
                    name = f"The bin of labels {members.min():g} to {members.max():g}"
                elif scale is not None:
                    level = scale[stratum]
                    name = f"Level {level}" if scale.dtype.kind == "U" else f"Level {level:g}"
                else:
                    name = f"Level {stratum}"
                warnings.warn(
                    f"{name} is absent from the training part of fold {number}: "
                    "its speakers are all in the test part.",
                    UserWarning,
                    stacklevel=3,
                )


def _fill_empty(tests: list[IntArray], speakers: NDArray[Any]) -> None:
    """Move a speaker into each empty test part, in place.

    scikit-learn breaks ties between folds by rounding error. With few more speakers than folds
    this sometimes leaves a fold empty.
    """
    for number, test in enumerate(tests):
        if len(test) == 0:
            giver = max(range(len(tests)), key=lambda fold: len(pd.unique(speakers[tests[fold]])))
            given = tests[giver]
            moved = speakers[given] == speakers[given[-1]]
            tests[number], tests[giver] = given[moved], given[~moved]
