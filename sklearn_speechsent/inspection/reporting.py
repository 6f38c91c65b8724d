"""Report on a pipeline: everything that was measured on held-out speakers, on one page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length
from tqdm.auto import tqdm

from sklearn_speechsent.audio import Recording, RecordingError, as_recordings, probe
from sklearn_speechsent.frames import DomainWarning, NoSpeechWarning
from sklearn_speechsent.inspection.calibration import ThresholdCalibration, threshold_calibration
from sklearn_speechsent.inspection.card import ModelCard
from sklearn_speechsent.inspection.comparison import compare
from sklearn_speechsent.inspection.groups import group_report
from sklearn_speechsent.inspection.occlusion import Explanation, explain
from sklearn_speechsent.inspection.out_of_fold import (
    Fold,
    OutOfFold,
    cross_validated,
    out_of_fold,
    speaker_folds,
)
from sklearn_speechsent.inspection.report_sections import (
    CONSTANT,
    GROUP_MEASURES,
    MEASURES,
    MODEL,
    Evaluation,
    Report,
    page,
)
from sklearn_speechsent.inspection.thresholds import level_of, level_values
from sklearn_speechsent.metrics.levels import level_index
from sklearn_speechsent.pipeline import make_sentiment_pipeline
from sklearn_speechsent.utils.files import atomic_write
from sklearn_speechsent.utils.repeats import without_warnings

#: The classical baseline in the table of scores.
_BASELINE = "mel statistics and SVR"
#: Recordings that are listed, and those that are tried where one cannot be explained.
_WORST, _TRIED = 10, 5
#: Rate (Hz) of arrays without one.
_RATE = 16000


def report(
    pipeline: Any,
    X: Any,
    y: Any,
    *,
    groups: ArrayLike,
    path: str | os.PathLike[str] = "report.html",
    by: Any = None,
    baselines: Mapping[str, Any] | None = None,
    cv: Any = None,
    levels: ArrayLike | range | None = None,
    audio: bool = True,
    n_jobs: int | None = None,
    verbose: int = 1,
    **texts: str,
) -> Report:
    """Cross-validate a pipeline by speaker and write down all that was found, as one HTML file.

    The page shows the data and the folds; scores with intervals over speakers, next to a classical
    baseline and to the constant predictor; confusion and calibration; scores by group and by
    speaker; the ten recordings with the largest errors, to listen to; three explanations; how it
    was made. It needs no other file, no network and no script, and can be printed.

    The page holds voices. Before you pass it on, ask whether their owners agreed to that, or leave
    them out (``audio=False``). Names of files and speakers are on it in any case.

    Parameters
    ----------
    pipeline : estimator
        Takes recordings; classifier of levels or regressor. It is cloned.
    X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``
        Recordings.
    y : array-like of shape (n,)
        Labels: numbers, an ordered category, or text of which ``levels`` gives the order.
    groups : array-like of shape (n,)
        Speakers.
    path : str or Path, default="report.html"
        Of the page, in a folder that exists. It is written completely or not at all.
    by : DataFrame or dict of str to array-like of shape (n,), optional
        Groupings, such as ``{"sex": sex}``, whose values are scored one by one.
    baselines : dict of str to estimator, optional
        What the pipeline is compared with: estimators of numbers, or of levels that are numbers,
        by name. By default means and deviations of mel bands under a support vector machine; ``{}``
        is none. They are fitted on the same folds; levels of text are positions from 0 for them.
    cv : int, splitter or iterable of (train, test), optional
        Folds over speakers, see :func:`~sklearn_speechsent.inspection.cross_val_ordinal`.
    levels : array-like of shape (n_levels,), optional
        The scale, see :func:`~sklearn_speechsent.inspection.cross_val_ordinal`.
    audio : bool, default=True
        Whether recordings of up to 30 s can be listened to on the page (4 kB per second).
    n_jobs : int, optional
        Folds that are computed at the same time.
    verbose : int, default=1
        Whether to show progress.
    **texts : str
        What only a person knows, such as ``title`` and ``intended_use``; see
        :meth:`ModelCard.fill`.

    Returns
    -------
    Report

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If lengths differ, a label or speaker is missing, a fold has a speaker on both sides, a text
        is unknown, or a baseline has the name of another row.
    RecordingError
        If a recording cannot be used and ``on_error`` of ``pipeline`` is "raise".
    OSError
        If the page cannot be written.

    See Also
    --------
    ModelCard : The same figures for a hub, without the page.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_speechsent import make_sentiment_pipeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> from sklearn_speechsent.inspection import report
    >>> corpus = make_speech_sentiment(4, 4, levels=(-1, 1), random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = report(
    ...         make_sentiment_pipeline(weights=None), corpus.data, corpus.target,
    ...         groups=corpus.groups, path=os.path.join(folder, "report.html"), cv=2, verbose=0)
    >>> found.scores.index.tolist()
    ['this model', 'mel statistics and SVR', 'constant']
    """
    path = _checked_path(path)
    ModelCard({}, {}, pd.DataFrame()).fill(**texts)  # which refuses texts that are unknown
    if baselines is None:
        baselines = {_BASELINE: _mel_statistics(pipeline)}
    if {MODEL, CONSTANT} & set(baselines):
        raise ValueError(f"No baseline can be called {MODEL!r} or {CONSTANT!r}: rename it.")
    by = pd.DataFrame(
        {k: np.asarray(v, dtype=object) for k, v in dict({} if by is None else by).items()}
    )
    recordings = as_recordings(X)
    check_consistent_length(recordings, y, groups, *(by[name] for name in by))
    seconds: dict[str, float] = {}
    with tqdm(total=3 + len(baselines), desc=MODEL, unit="step", disable=not verbose) as bar:

        def timed(name: str, call: Callable[[], Any]) -> Any:
            bar.set_description(name)
            start = time.perf_counter()
            result = call()
            seconds[name] = time.perf_counter() - start
            bar.update()
            return result

        given = {"groups": groups, "cv": cv, "levels": levels, "n_jobs": n_jobs}
        frame, scale, found = timed(
            MODEL, lambda: cross_validated(pipeline, X, y, keep=True, verbose=verbose, **given)
        )
        values, truth = level_values(scale), _as_numbers(frame["truth"], scale)
        probabilistic = found.values.shape[1] > 1
        predicted = _as_numbers(frame["level"], scale) if probabilistic else found.values[:, 0]
        speakers = frame["speaker"].to_numpy()
        folds = found.folds
        if len(folds) == 1:  # a frozen pipeline, next to which others are cross-validated
            folds = speaker_folds(None, cv, X, truth, speakers, values)
        systems = {MODEL: predicted}
        for name, baseline in baselines.items():
            call = lambda b=baseline: _of_baseline(b, X, truth, speakers, folds, values, n_jobs)  # noqa: E731
            systems[name] = timed(name, call)
        systems[CONSTANT] = _constant(truth, folds)
        frame["duration"] = timed("durations", lambda: _durations(recordings))
        errors = (frame["expected"] - truth).abs().to_numpy()
        order = np.argsort(-errors, kind="stable")[: int((~np.isnan(errors)).sum())]
        explanations = timed("explanations", lambda: _explained(found, recordings, order))
    by["speaker"] = speakers
    proba = found.values if probabilistic else None
    card = ModelCard.from_predictions(
        frame["truth"].to_numpy(),
        (frame["level"] if probabilistic else frame["expected"]).to_numpy(),
        proba=None if proba is None else proba[:, np.argsort(scale)],  # in the order of classes_
        levels=scale,
        groups=speakers,
        by=by,
    ).fill(**texts)
    result = Report(
        path,
        frame,
        _scores(systems, truth, speakers, values),
        group_report(
            truth, predicted, by, speakers=speakers, levels=values, measures=GROUP_MEASURES
        ),
        frame.iloc[order[:_WORST]].assign(row=order[:_WORST]),
        None if proba is None else _calibration(truth, proba, values),
        explanations,
        card,
    )
    evaluation = Evaluation(
        recordings, scale, truth, predicted, found, by, pipeline, seconds, audio
    )
    atomic_write(path, page(result, evaluation, datetime.now(UTC)))
    return result


def _checked_path(path: str | os.PathLike[str]) -> Path:
    """Path of the page, before anything is computed for it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'A report needs matplotlib for its pictures: pip install "sklearn-speechsent[plot]".'
        ) from error
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"path={str(path)!r} is a folder: name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}: make it, or correct path=.")
    return path


def _mel_statistics(pipeline: Any) -> Any:
    """Classical baseline, with the memory of the mel frames of a pipeline."""
    params = pipeline.get_params() if hasattr(pipeline, "get_params") else {}
    memories = (v for k, v in params.items() if k.endswith("mfb__memory") and v is not None)
    return make_sentiment_pipeline(
        "small",
        target="intensity",
        weights=None,
        vad="passthrough",
        on_error="nan",
        memory=next(memories, None),
    )


def _as_numbers(levels: Any, scale: NDArray[Any]) -> NDArray[np.floating]:
    """Levels as numbers, those of text as positions from 0, missing ones as NaN."""
    if scale.dtype.kind != "U":
        return np.asarray(levels, dtype=np.float64)
    places = pd.Index(scale).get_indexer(pd.Index(levels)).astype(np.float64)
    return np.where(places < 0, np.nan, places)


def _of_baseline(
    baseline: Any,
    X: Any,
    truth: NDArray[np.floating],
    speakers: NDArray[Any],
    folds: list[Fold],
    values: NDArray[np.floating],
    n_jobs: int | None,
) -> NDArray[np.floating]:
    """Predictions on the folds of the pipeline, which has given its warnings about recordings."""
    with without_warnings([DomainWarning, NoSpeechWarning]):
        own = out_of_fold(baseline, X, truth, speakers, folds, values, n_jobs=n_jobs).values
    return own[:, 0] if own.shape[1] == 1 else level_of(own, values).astype(np.float64)


def _constant(truth: NDArray[np.floating], folds: list[Fold]) -> NDArray[np.floating]:
    """Median of the labels in training."""
    predicted = np.full(len(truth), np.nan)
    for train, test in folds:
        predicted[test] = np.quantile(truth[train], 0.5, method="inverted_cdf")
    return predicted


def _durations(recordings: list[Recording]) -> NDArray[np.floating]:
    """Seconds of each recording, from headers; NaN where it cannot be read."""
    headers: dict[Any, Any] = {}
    found = np.full(len(recordings), np.nan)
    for row, recording in enumerate(recordings):
        try:
            found[row] = probe(recording, _RATE, 0.0, headers)
        except RecordingError:
            pass
    return found


def _scores(
    systems: Mapping[str, NDArray[np.floating]],
    truth: NDArray[np.floating],
    speakers: NDArray[Any],
    values: NDArray[np.floating],
) -> pd.DataFrame:
    """Scores of all systems, and how sure their difference from the first is."""
    rows = {}
    for name, predicted in systems.items():
        scored = group_report(
            truth, predicted, {}, speakers=speakers, levels=values, measures=MEASURES
        )
        rows[name] = scored.iloc[0].filter(regex="^((?!difference).)*$")
        rows[name]["p_value"] = np.nan
        if name != MODEL:
            pair = compare(systems[MODEL], predicted, truth, groups=speakers, levels=values)
            rows[name]["p_value"] = pair.loc["mae", "p_value"]
    return pd.DataFrame(rows).T


def _calibration(
    truth: NDArray[np.floating], proba: NDArray[np.floating], values: NDArray[np.floating]
) -> ThresholdCalibration:
    answered = ~np.isnan(proba).any(axis=1)
    return threshold_calibration(
        values[level_index(truth[answered], values)], proba[answered], values
    )


def _explained(
    found: OutOfFold, recordings: list[Recording], order: NDArray[np.intp]
) -> dict[int, Explanation]:
    """Largest, median and smallest error, each by the model that has not met its speaker."""
    explanations: dict[int, Explanation] = {}
    for candidates in (order, order[len(order) // 2 :], order[::-1]):
        for row in candidates[:_TRIED].tolist():
            if row not in explanations:
                try:
                    explanations[row] = explain(found.models[found.fold[row]], recordings[row])
                    break
                except RecordingError:  # too short, or nobody speaks without one of its parts
                    continue
    return explanations
