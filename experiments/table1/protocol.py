"""Protocol of the table: all rows in the same folds, pooled predictions scored once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from experiments._harness.corpus import Corpus
from experiments._harness.intervals import interval
from experiments._harness.results import Results, epoch_seconds, key_of
from experiments.table1.rows import Row, Settings
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.metrics import ordinal_report

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


class Runner:
    """Fits and predictions that are not in a folder of results yet.

    Parameters
    ----------
    corpus : Corpus
    folds : list of (train, test)
    settings : Settings
    results : Results
        Of folds.
    """

    def __init__(
        self, corpus: Corpus, folds: Sequence[Fold], settings: Settings, results: Results
    ) -> None:
        self.corpus = corpus
        self.folds = folds
        self.settings = settings
        self.results = results
        self._identities = [recording.identity() for recording in as_recordings(corpus.X)]

    def fold(self, row: Row, number: int) -> dict[str, Any]:
        """Result of one fold of a row, read or computed.

        Parameters
        ----------
        row : Row
        number : int
            Of the fold.

        Returns
        -------
        dict
            Keys ``key, row, fold, predictions`` (one list per head), ``fit_seconds,
            predict_seconds, epochs`` (None for what is not a network).
        """
        train, test = self.folds[number]
        corpus, model = self.corpus, row.make(self.settings)
        key = key_of(
            model,
            [self._identities[i] for i in train],
            [self._identities[i] for i in test],
            corpus.y[train].tolist(),
            corpus.groups[train].tolist(),
        )
        result = self.results.get(key)
        if result is not None:
            return result
        X = corpus.X
        parameter = "net__groups" if isinstance(model, Pipeline) else "groups"
        grouped = {parameter: corpus.groups[train]} if row.searched else {}
        with self.results.resuming(key, model):
            started = time.perf_counter()
            model.fit(X.iloc[train].reset_index(drop=True), corpus.y[train], **grouped)
            fitted = time.perf_counter()
            predictions = row.predictions(model, X.iloc[test].reset_index(drop=True))
            of_epochs = epoch_seconds(model[-1]) if isinstance(model, Pipeline) else 0.0
            result = {
                "row": row.name,
                "fold": number,
                "predictions": [np.asarray(p, dtype=np.float64).tolist() for p in predictions],
                "fit_seconds": max(fitted - started, of_epochs),
                "predict_seconds": time.perf_counter() - fitted,
                "epochs": model.get_params().get("net__max_epochs"),
            }
            return self.results.put(key, result)

    def score(self, row: Row, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Pool the folds of a row and score each of its heads once.

        Parameters
        ----------
        row : Row
        results : list of dict
            One per fold.

        Returns
        -------
        list of dict
            Figures of `ordinal_report` and what goes with them, one dict per head.
        """
        y, scored = self.corpus.y, []
        for head, name in enumerate(row.heads):
            pooled = np.full(len(y), np.nan)
            for (_, test), result in zip(self.folds, results, strict=True):
                pooled[test] = result["predictions"][head]
            error = np.abs(pooled - y)
            scored.append(
                {
                    "name": row.name + name,
                    **ordinal_report(y, pooled, levels=self.corpus.levels),
                    "mae_interval": interval(
                        self.corpus.groups, lambda rows, error=error: error[rows].mean()
                    ),
                    "predictions": [round(float(value), 4) for value in pooled],
                    "fold_mae": [float(error[test].mean()) for _, test in self.folds],
                    "fit_seconds": sum(result["fit_seconds"] for result in results),
                    "predict_seconds": sum(result["predict_seconds"] for result in results),
                    "epochs": results[0]["epochs"],
                    "folds": len(self.folds),
                }
            )
        return scored
