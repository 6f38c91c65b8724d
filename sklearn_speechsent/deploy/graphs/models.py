"""Fitted models in a graph: from an utterance to P(level > k), or to an intensity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_speechsent.deploy.graphs.sentiment import (
    above,
    level_probabilities,
    network_output,
)
from sklearn_speechsent.deploy.graphs.steps import Utterance, after_steps
from sklearn_speechsent.deploy.graphs.tables import TableGraph
from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.inspection import ConformalOrdinal, OrdinalCalibrator
from sklearn_speechsent.sentiment import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.sentiment.voting import SURE


def model_output(model: Any, utterance: Utterance, *, given: bool = False) -> tuple[Value, Value]:
    """What a fitted model gives for an utterance.

    Parameters
    ----------
    model : estimator
        Pipeline from recordings, or a vote of such.
    utterance : Utterance
        Samples, or frames where ``given``.
    given : bool, default=False
        See :func:`~sklearn_speechsent.deploy.graphs.steps.after_steps`.

    Returns
    -------
    output : Value
        P(level > k) of shape (1, K - 1), or an intensity of shape (1,), float64.
    valid : Value of shape (1,), bool
        Whether the utterance holds anything to say something about.

    Raises
    ------
    ValueError
        If a part has no graph; the message says which, and what to do.
    """
    if isinstance(model, Pipeline):
        utterance = after_steps(model, utterance, given=given)
        return model_output(model.steps[-1][1], utterance)
    if type(model) is OrdinalCalibrator:
        return _calibrated(model, utterance, given)
    graph, x = utterance.graph, utterance.x
    if type(model) in (OrdinalVotingClassifier, IntensityVotingRegressor):
        return _vote(model, utterance, given)
    if type(model) is OrdinalClassifier:
        return _thresholds(model, TableGraph(graph, x)), utterance.valid
    if type(model) is IntensityRegressor:
        return TableGraph(graph, x).output(model.estimator_).reshape(-1), utterance.valid
    if type(model) in (SpeechSentimentClassifier, SpeechSentimentRegressor):
        return _network(model, utterance).cast(np.float64), utterance.valid
    if type(model) is ConformalOrdinal:
        raise ValueError(
            "A graph has levels and probabilities, and no sets of ConformalOrdinal. Export its "
            "estimator_ in its place, which gives the same probabilities."
        )
    raise ValueError(
        f"{type(model).__name__} as the last step cannot be exported to ONNX. OrdinalClassifier, "
        "IntensityRegressor, the two votes, SpeechSentimentClassifier and SpeechSentimentRegressor "
        "can: wrap a classifier in OrdinalClassifier(estimator=...)."
    )


def _thresholds(model: OrdinalClassifier, tables: TableGraph) -> Value:
    graph, scores = tables.graph, [tables.output(each) for each in model.estimators_]
    odds = graph.Concat(*scores, axis=1) * 2.0
    return graph.largest(graph.Sigmoid(odds), len(scores))


def _network(model: Any, utterance: Utterance) -> Value:
    graph = utterance.graph
    network = model._network
    head = "ordinal" if type(model) is SpeechSentimentClassifier else "regression"
    output = network_output(graph, network, utterance.x, utterance.embedding, head)
    if head == "ordinal" and model.prior_correction:
        natural = level_probabilities(graph, output) * model.prior_ratio_.astype(np.float32)
        output = above(graph, natural / natural.reduce("Sum", 1))
    return output


def _vote(model: Any, utterance: Utterance, given: bool) -> tuple[Value, Value]:
    graph = utterance.graph
    ordinal = type(model) is OrdinalVotingClassifier
    total, valid = graph.constant(0.0), utterance.valid
    for weight, member in zip(_weights(model), model.estimators_, strict=True):
        output, holds = model_output(member, utterance, given=given)
        if ordinal:
            output = _log_odds(graph, output)
        total, valid = total + output * float(weight), valid & holds
    return graph.Sigmoid(total) if ordinal else total, valid


def _calibrated(model: OrdinalCalibrator, utterance: Utterance, given: bool) -> tuple[Value, Value]:
    inner = thawed(model.estimator_)
    if model.method != "sigmoid":
        raise ValueError(
            f"OrdinalCalibrator(method={model.method!r}) cannot be exported to ONNX: its steps "
            'turn rounding into other probabilities. Use method="sigmoid".'
        )
    if not np.array_equal(inner.classes_, model.classes_):
        raise ValueError(
            f"OrdinalCalibrator has the levels {model.levels_.tolist()}, and the model inside was "
            "fitted without some of them. Fit it on speakers that have all of them."
        )
    graph = utterance.graph
    output, valid = model_output(inner, utterance, given=given)
    slopes, shifts = np.array([(each.a_, each.b_) for each in model.calibrators_]).T
    above = graph.Sigmoid(-(_log_odds(graph, output) * slopes + shifts))
    return graph.largest(above, len(slopes)), valid


def thawed(model: Any) -> Any:
    """Model that a FrozenEstimator holds, or the model itself."""
    return model.estimator if isinstance(model, FrozenEstimator) else model


def _log_odds(graph: Graph, above: Value) -> Value:
    sure = graph.Min(graph.Max(above, np.float64(SURE)), np.float64(1 - SURE))
    return graph.Log(sure / (1.0 - sure))


def _weights(model: Any) -> NDArray[np.float64]:
    """Weights of the members that are not dropped, with a sum of one."""
    given = np.ones(len(model.estimators)) if model.weights is None else model.weights
    there = [member != "drop" for _, member in model.estimators]
    weights = np.asarray(given, dtype=np.float64)[there]
    return weights / weights.sum()


def sentiment(
    graph: Graph, output: Value, valid: Value, values: NDArray[np.float64] | None
) -> dict[str, Value]:
    """Outputs of the graph, NaN where nothing can be said.

    Parameters
    ----------
    graph : Graph
    output, valid : Value
        See :func:`model_output`.
    values : ndarray of shape (K,) or None
        Of the levels in ordinal order; None for an intensity.

    Returns
    -------
    dict of str to Value
        ``level`` and ``expected`` of shape (1,), ``probabilities`` of shape (K,); of an intensity
        ``expected`` only.
    """
    if values is None:
        return {"expected": graph.Where(valid, output, np.float64(np.nan))}
    probabilities = level_probabilities(graph, output).reshape(-1)
    n_above = (output > 0.5).cast(np.int64).reduce("Sum", 1, keep=False)
    found = {
        "level": graph.constant(values).take(n_above),
        "expected": (probabilities * values).reduce("Sum", 0),
        "probabilities": probabilities,
    }
    return {name: graph.Where(valid, x, np.float64(np.nan)) for name, x in found.items()}
