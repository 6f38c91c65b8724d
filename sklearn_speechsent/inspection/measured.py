"""Scores of predictions, as the sections of a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from sklearn.utils import check_consistent_length

from sklearn_speechsent.inspection.bootstrap import speaker_interval
from sklearn_speechsent.inspection.calibration import threshold_calibration
from sklearn_speechsent.inspection.markdown import literal, table
from sklearn_speechsent.metrics import (
    macro_mean_absolute_error,
    quadratic_weighted_kappa_score,
    spearman_score,
    within_one_accuracy_score,
)
from sklearn_speechsent.metrics.levels import level_index
from sklearn_speechsent.metrics.scale import read_target, target_labels

#: Measures on cards: heading, what is better, the name that the hub has for it, and function.
MEASURES: dict[str, tuple[str, str, str, Callable[..., float]]] = {
    "mae": ("MAE", "lower", "mae", lambda y, p, levels: float(np.abs(y - p).mean())),
    "macro_mae": ("macro MAE", "lower", "macro_mae", macro_mean_absolute_error),
    "qwk": (
        "quadratic weighted kappa",
        "higher",
        "quadratic_weighted_kappa",
        quadratic_weighted_kappa_score,
    ),
    "spearman": ("Spearman's ρ", "higher", "spearmanr", lambda y, p, levels: spearman_score(y, p)),
    "within_one": (
        "share within one level",
        "higher",
        "within_one_accuracy",
        within_one_accuracy_score,
    ),
}
#: With fewer speakers an interval says little.
_FEW = 8
#: Name of the group without a value.
MISSING = "(missing)"


def by_value(column: Any) -> list[tuple[Any, NDArray[np.intp]]]:
    """Rows of each value of a column, in order, and last those without one.

    Parameters
    ----------
    column : array-like of shape (n,)

    Returns
    -------
    list of (value, rows)
    """
    values = np.asarray(column, dtype=object)
    missing = pd.isna(values)
    known = list(dict.fromkeys(values[~missing].tolist()))
    numbers = all(isinstance(value, Real) for value in known)
    known.sort(key=None if numbers else str)
    found = [(value, np.flatnonzero(values == value)) for value in known]
    return found + [(MISSING, np.flatnonzero(missing))] * bool(missing.any())


class Measured:
    """Truth and predictions as numbers, and the sections that follow from them.

    Levels of text count as their positions, from 0; of votes the median is the truth.
    """

    def __init__(self, y: Any, prediction: Any, levels: Any, groups: Any) -> None:
        check_consistent_length(y, prediction, groups)
        y, scale = read_target(y, levels)
        if scale is not None:
            y = target_labels(y, scale)
        answered = ~pd.isna(np.asarray(prediction))
        if not answered.any():
            raise ValueError(
                f"Nothing was predicted for any of the {len(y)} recordings: there is nothing to "
                "measure."
            )
        if scale is None:
            scale = np.arange(np.rint(y.min()), np.rint(y.max()) + 1).astype(int)
        self.names = scale
        self._text = scale.dtype.kind == "U"
        self.levels = np.arange(len(scale)) if self._text else scale
        self._given = y
        self.y = self._place(y)
        self.constant = float(np.quantile(self.y, 0.5, method="inverted_cdf"))
        self.prediction = self._filled(prediction)
        self.unanswered = int((~answered).sum())
        self.groups = None if groups is None else np.asarray(groups)
        self.figures = dict(zip(MEASURES, self._values(np.arange(len(y))), strict=True))

    @property
    def has_zero(self) -> bool:
        """Whether 0 lies between negative and positive: the scale is of numbers."""
        return not self._text

    def _place(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        return (level_index(labels, self.names) if self._text else labels).astype(np.float64)

    def _filled(self, prediction: Any) -> NDArray[np.float64]:
        """Predictions as numbers, the constant's where there are none."""
        prediction = np.asarray(prediction)
        answered = ~pd.isna(prediction)
        numbers = np.full(len(self.y), self.constant)
        numbers[answered] = self._place(prediction[answered].astype("U" if self._text else float))
        return numbers

    def _values(self, rows: Any, prediction: Any = None) -> list[float]:
        """Measures of some rows."""
        prediction = self.prediction if prediction is None else prediction
        return [m(self.y[rows], prediction[rows], self.levels) for *_, m in MEASURES.values()]

    def _n_speakers(self, rows: Any) -> int:
        return 0 if self.groups is None else len(np.unique(self.groups[rows]))

    def _mae(self, error: NDArray[np.float64], rows: Any) -> list[str]:
        """Cells of an MAE and its interval, if there are speakers to draw."""
        error, interval = error[rows], "–"
        if self._n_speakers(rows) > 1:
            groups = np.asarray(self.groups)[rows]
            low, high = speaker_interval(groups, lambda drawn: error[drawn].mean())
            interval = f"{low:.3f} to {high:.3f}"
        return [f"{error.mean():.3f}", interval]

    def overview(self) -> str:
        """Measures with intervals, next to the constant."""
        everything = np.arange(len(self.y))
        found = self._values(everything)
        constant = self._values(everything, np.full(len(self.y), self.constant))
        n_speakers = self._n_speakers(everything)
        ends = [["–"]] * len(found)
        if n_speakers > 1:
            lows, highs = speaker_interval(np.asarray(self.groups), self._values)
            ends = [[f"{a:.3f} to {b:.3f}"] for a, b in zip(lows, highs, strict=True)]
        headings = [f"{name} ({better} is better)" for name, better, *_ in MEASURES.values()]
        rows = [
            [heading, f"{value:.3f}", *end, f"{floor:.3f}"]
            for heading, value, end, floor in zip(headings, found, ends, constant, strict=True)
        ]
        speakers = f" of {n_speakers} speakers" if n_speakers else ""
        lines = [
            f"{len(self.y)} recordings{speakers}. Intervals (95 %) are by bootstrap over speakers. "
            "The constant always answers the median of these labels.",
            table(["measure", "this model", "interval", "constant"], rows),
        ]
        if self.groups is None:
            lines[0] += (
                " [to be filled in: who speaks was not given, so there are no intervals, and "
                "nothing here tells whether speakers were in training]"
            )
        elif n_speakers < _FEW:
            lines[0] += f" {n_speakers} speakers are few: other voices may differ by more."
        if self.unanswered:
            lines[0] += f" {self.unanswered} without an answer count as the constant's."
        return "\n\n".join(lines)

    def confusion(self) -> pd.DataFrame:
        """Counts, true levels in rows."""
        true, predicted = (level_index(values, self.levels) for values in (self.y, self.prediction))
        counts = confusion_matrix(true, predicted, labels=np.arange(len(self.levels)))
        return pd.DataFrame(counts, index=self.names, columns=self.names)

    def confusion_table(self) -> str:
        """Counts of the confusion as a table."""
        counts = self.confusion()
        pairs = zip(counts.index, counts.to_numpy(), strict=True)
        rows = [[literal(name), *map(str, row)] for name, row in pairs]
        return table(["true \\ predicted", *map(literal, counts.columns)], rows)

    def by(self, column: Any, heading: str) -> str:
        """Scores by the values of a column."""
        check_consistent_length(self.y, column)
        rows = [
            [value if value == MISSING else literal(value), *self._cells(found)]
            for value, found in by_value(column)
        ]
        headings = ["recordings", "speakers", "MAE", "interval", "macro MAE", "mean error"]
        return table([heading, *headings], rows) + (
            "\n\nMean error: predicted less true; above 0 the model hears more positive than is."
        )

    def _cells(self, rows: NDArray[np.intp]) -> list[str]:
        macro = macro_mean_absolute_error(self.y[rows], self.prediction[rows], self.levels)
        residual = self.prediction[rows] - self.y[rows]
        return [
            str(len(rows)),
            str(self._n_speakers(rows) or "–"),
            *self._mae(np.abs(self.prediction - self.y), rows),
            f"{macro:.3f}",
            f"{residual.mean():+.3f}",
        ]

    def degraded(self, degraded: Mapping[str, Any]) -> str:
        """Scores by condition."""
        everything, rows = np.arange(len(self.y)), []
        for name, given in {"as recorded": self.prediction, **degraded}.items():
            check_consistent_length(self.y, given)
            prediction = given if given is self.prediction else self._filled(given)
            _, macro, qwk, *_ = self._values(everything, prediction)
            unanswered = self.unanswered if given is self.prediction else int(pd.isna(given).sum())
            error = self._mae(np.abs(prediction - self.y), everything)
            rows.append([literal(name), *error, f"{macro:.3f}", f"{qwk:.3f}", str(unanswered)])
        headings = ["condition", "MAE", "interval", "macro MAE", "kappa", "without an answer"]
        return table(headings, rows)

    def calibration(self, proba: Any) -> str:
        """How often a level lies above a threshold, by the probability that it does."""
        check_consistent_length(self.y, proba)
        proba = np.asarray(proba, dtype=np.float64)
        answered = ~np.isnan(proba).any(axis=1)
        found = threshold_calibration(self._given[answered], proba[answered], self.names)
        rows = [
            [f"{predicted:.2f}", f"{observed:.2f}", f"{n:.0f}"]
            for predicted, observed, n in found.reliability.itertuples(index=False)
        ]
        return "\n\n".join(
            [
                f"Expected calibration error over thresholds: {found.error:.3f}; a perfect "
                f"forecaster of as many recordings has {found.perfect:.3f}. Ranked probability "
                f"error: {found.ranked_probability_error:.3f}.",
                table(["predicted P(above)", "observed share above", "pairs"], rows),
            ]
        )
