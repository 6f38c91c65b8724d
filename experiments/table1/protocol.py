"""Protocol of the table: all rows in the same folds, pooled predictions scored once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.pipeline import Pipeline

from experiments._harness.corpus import Corpus
from experiments._harness.results import Results, epoch_seconds, key_of
from experiments.table1.rows import Row, Settings, row_of
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.inspection import speaker_interval
from sklearn_speechsent.metrics import ordinal_report

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

#: Part of every key: raise it when results hold more.
_CONTENT = 2
#: Probabilities are at least this far from 0 and 1 where decisions of rows are added, as in
#: OrdinalVotingClassifier.
_SURE = 1e-9


def _last_step(model: Any) -> Any:
    """Fitted last step of a model."""
    model = getattr(model, "estimator_", model)
    return model[-1] if isinstance(model, Pipeline) else model


def _log_odds(probabilities: list[list[float]]) -> NDArray[np.float64]:
    """Log-odds that the level is above each threshold."""
    above = 1 - np.cumsum(probabilities, axis=1)[:, :-1]
    return logit(np.clip(above, _SURE, 1 - _SURE))


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
            Keys ``row, fold, predictions`` (one list per head), ``probabilities`` (of levels; None
            for what has none), ``fit_seconds, predict_seconds``, and ``epochs`` and ``losses`` (of
            training, by epoch), None and empty for what is not a network.
        """
        if row.members:
            return self._together(row, number)
        train, test = self.folds[number]
        corpus, model = self.corpus, row.make(self.settings)
        key = key_of(
            model,
            [self._identities[i] for i in train],
            [self._identities[i] for i in test],
            corpus.y[train].tolist(),
            corpus.groups[train].tolist(),
            _CONTENT,
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
            predictions, probabilities = row.predictions(model, X.iloc[test].reset_index(drop=True))
            predicted = time.perf_counter()
            net = _last_step(model)
            history = getattr(net, "history_", [])
            result = {
                "row": row.name,
                "fold": number,
                "predictions": [np.asarray(p, dtype=np.float64).tolist() for p in predictions],
                "probabilities": None if probabilities is None else probabilities.tolist(),
                "fit_seconds": max(fitted - started, epoch_seconds(net)),
                "predict_seconds": predicted - fitted,
                "epochs": len(history) or None,
                "losses": [epoch["train_loss"] for epoch in history],
            }
            return self.results.put(key, result)

    def _together(self, row: Row, number: int) -> dict[str, Any]:
        """Average the decisions of rows in a fold."""
        found = [self.fold(row_of(member), number) for member in row.members]
        odds = np.mean([_log_odds(result["probabilities"]) for result in found], axis=0)
        levels = np.asarray(self.settings.levels)[(odds > 0).sum(axis=1)]
        sums = ("fit_seconds", "predict_seconds")
        return {
            "row": row.name,
            "fold": number,
            "predictions": [levels.astype(float).tolist()],
            **{name: sum(result[name] for result in found) for name in sums},
            "epochs": None,
            "losses": [],
        }

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
                    "mae_interval": speaker_interval(
                        self.corpus.groups, lambda rows, error=error: error[rows].mean()
                    ),
                    "predictions": [round(float(value), 4) for value in pooled],
                    "fold_mae": [float(error[test].mean()) for _, test in self.folds],
                    "fit_seconds": sum(result["fit_seconds"] for result in results),
                    "predict_seconds": sum(result["predict_seconds"] for result in results),
                    "epochs": results[0]["epochs"],
                    "losses": [result["losses"] for result in results],
                    "folds": len(self.folds),
                }
            )
        return scored
