"""Scores of sentiment systems over folds of speakers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_val_predict

from experiments._harness.corpus import Corpus
from experiments._harness.tables import table_of
from sklearn_speechsent.metrics import ordinal_report

#: Figures of `ordinal_report` that tables show, and their headings.
SCORES = {
    "mae": "MAE",
    "spearman": "ρ",
    "ccc": "CCC",
    "qwk": "QWK",
    "accuracy": "acc",
    "macro_mae": "macro MAE",
    "polarity_accuracy": "polarity",
}


def system_scores(corpus: Corpus, folds: Any, pipeline: Any) -> dict[str, float]:
    """Scores of a Pipeline over all folds, and the seconds of its extraction.

    Everything but the last step learns nothing from the corpus, and is computed once for all folds.

    Parameters
    ----------
    corpus : Corpus
    folds : list of (train, test)
    pipeline : Pipeline

    Returns
    -------
    dict of str to float
    """
    started = time.perf_counter()
    features = pipeline[:-1].fit_transform(corpus.X)
    seconds = time.perf_counter() - started
    return _scores(corpus, folds, pipeline[-1], features) | {"seconds": seconds}


def constant_scores(corpus: Corpus, folds: Any) -> dict[str, float]:
    """Scores of the median of the training labels.

    Parameters
    ----------
    corpus : Corpus
    folds : list of (train, test)

    Returns
    -------
    dict of str to float
    """
    nothing = np.zeros((len(corpus.y), 1))
    return _scores(corpus, folds, DummyRegressor(strategy="median"), nothing)


def _scores(corpus: Corpus, folds: Any, model: Any, features: Any) -> dict[str, float]:
    prediction = cross_val_predict(model, features, corpus.y, cv=folds)
    report = ordinal_report(corpus.y, prediction, levels=corpus.levels)
    return {name: report[name] for name in SCORES}


def score_table(first: str, rows: dict[str, dict[str, float]]) -> list[str]:
    """Lines of a Markdown table of scores.

    Parameters
    ----------
    first : str
        Heading of the names.
    rows : dict of str to dict

    Returns
    -------
    list of str
    """
    cells = [[name, *(f"{row[s]:.3f}" for s in SCORES)] for name, row in rows.items()]
    return table_of([first, *SCORES.values()], cells)
