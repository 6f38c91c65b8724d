"""Export of a fitted pipeline to one ONNX graph."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent._version import __version__
from sklearn_speechsent.audio import WaveformPerturbation
from sklearn_speechsent.deploy.graphs.frames import is_silent
from sklearn_speechsent.deploy.graphs.models import model_output, sentiment, thawed
from sklearn_speechsent.deploy.graphs.steps import Utterance
from sklearn_speechsent.features import MelFilterBank
from sklearn_speechsent.graphs.builder import Graph
from sklearn_speechsent.inspection.speakerwise import SpeakerwiseEstimator
from sklearn_speechsent.metrics.labels import NUMBERS
from sklearn_speechsent.sentiment.voting import VotingEstimator
from sklearn_speechsent.speech import SpeechEncoder
from sklearn_speechsent.speech.log_mel import LENGTH, SAMPLE_RATE
from sklearn_speechsent.utils.estimators import final_step
from sklearn_speechsent.utils.files import atomic_write
from sklearn_speechsent.utils.sklearn_compat import BaseSearchCV

#: Version of inputs, outputs and metadata.
_FORMAT = 1
_KINDS = ("waveform", "frames")


def export_onnx(pipeline: Any, path: str | os.PathLike[str], *, kind: str = "waveform") -> Path:
    """Write a fitted pipeline as one ONNX graph, from the samples of a recording to its sentiment.

    The graph needs onnxruntime 1.19 or later, or onnxruntime-web, and nothing of this package; its
    operator set is 18. :class:`sklearn_speechsent.runtime.OnnxSentiment` runs it on files and
    streams. Probabilities are those of ``predict_proba`` up to 1e-4.

    Parameters
    ----------
    pipeline : Pipeline, vote of Pipelines, search, WaveformPerturbation or OrdinalCalibrator
        Fitted, from recordings to levels or intensities, such as
        :func:`~sklearn_speechsent.make_sentiment_pipeline` makes. Of calibration by
        ``method="sigmoid"`` only.
    path : str or path-like
        Of the file, with the suffix ``.onnx``. A file that is there is replaced.
    kind : {"waveform", "frames"}, default="waveform"
        What the graph takes. ``"waveform"``: ``samples`` of shape (n_samples,), float32, one
        channel in [-1, 1] at ``sample_rate``. ``"frames"``: ``frames`` of shape (n_frames, n_mels),
        float32, as :class:`~sklearn_speechsent.MelFilterBank` makes them.

    Returns
    -------
    pathlib.Path
        Of the file.

    Raises
    ------
    NotFittedError
        If the pipeline is not fitted.
    ValueError
        If a part of it has no graph; the message says which, and what to do.

    See Also
    --------
    sklearn_speechsent.runtime.OnnxSentiment : Runs what is exported.
    save_model : Saves what can be fitted again.

    Notes
    -----
    Outputs are float64. ``level``, shape (1,): the predicted level, for text its position from 0.
    ``expected``, shape (1,): the expected level, for text the expected position; or the intensity,
    which is then the only output. ``probabilities``, shape (n_levels,): of the levels in ordinal
    order. All are NaN where nobody speaks, or a recording is digital silence.

    Metadata: ``format``, ``kind``, ``sample_rate``, ``shortest`` (samples), ``levels`` (JSON, null
    for intensities), ``speeds`` (JSON), ``weights`` (JSON; names of the pre-trained networks in the
    graph, whose licences go with it), and ``versions`` (JSON) of the packages that made it.

    A :class:`~sklearn_speechsent.WaveformPerturbation` averages over ``predict_speeds``. The graph
    computes one speed; who runs it, as ``OnnxSentiment`` does, resamples, calls it once per speed
    and averages.

    Networks are in single precision, whatever ``precision`` and ``backend`` say, kernels in double.
    The graph does not check samples, and does not warn about recordings unlike those of training.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent import make_sentiment_pipeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> from sklearn_speechsent.deploy import export_onnx
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline().fit(corpus.data, corpus.target)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(pipeline, f"{folder}/sentiment.onnx").stat().st_size > 1_000_000
    True
    """
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} must be one of {_KINDS}.")
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path} must end in .onnx.")
    check_is_fitted(pipeline)
    model, speeds = _without_wrappers(pipeline)
    levels = _levels(model)
    rate, shortest, n_mels = _input(model)
    graph = Graph()
    if kind == "frames":
        x = graph.input("frames", np.float32, ["n_frames", n_mels])
        utterance = Utterance(graph, x, valid=graph.constant([True]))
    else:
        x = graph.input("samples", np.float32, ["n_samples"])
        utterance = Utterance(graph, x, valid=~is_silent(x))
    output, valid = model_output(model, utterance, given=kind == "frames")
    values = None
    if levels is not None:
        numbers = levels.dtype.kind in NUMBERS
        values = levels.astype(np.float64) if numbers else np.arange(len(levels), dtype=np.float64)
    metadata = {
        "format": str(_FORMAT),
        "kind": kind,
        "sample_rate": str(rate),
        "shortest": str(shortest),
        "levels": json.dumps(None if levels is None else levels.tolist()),
        "speeds": json.dumps(speeds),
        "weights": json.dumps(_weights(model)),
        "versions": json.dumps({"sklearn_speechsent": __version__, "onnx": version("onnx")}),
    }
    outputs = sentiment(graph, output, valid, values)
    sizes = dict.fromkeys(outputs, 1)
    if values is not None:
        sizes["probabilities"] = len(values)
    proto = graph.model(outputs, sizes, metadata)
    atomic_write(path, proto.SerializeToString(deterministic=True))
    return path


def _without_wrappers(model: Any) -> tuple[Any, list[float]]:
    """Model without search and perturbation, and the speeds that predictions are averaged over."""
    speeds = [1.0]
    while True:
        if isinstance(model, WaveformPerturbation):
            speeds = [a * float(b) for a in speeds for b in model.predict_speeds]
            model = model.estimator_
        elif isinstance(model, BaseSearchCV):
            if not hasattr(model, "best_estimator_"):
                raise ValueError(
                    f"{type(model).__name__}(refit={model.refit}) has no fitted pipeline. Search "
                    "with refit=True, or export a pipeline that was fitted with best_params_."
                )
            model = model.best_estimator_
        else:
            return model, speeds


def _input(model: Any) -> tuple[int, int, int]:
    """Rate (Hz), samples of the shortest recording, and bins of a frame, of all first steps."""
    if isinstance(model, VotingEstimator):
        rates, shortest, n_mels = zip(*map(_input, model.estimators_), strict=True)
        if len({*rates}) > 1:
            raise ValueError(
                f"The members of the vote take recordings at {sorted({*rates})} Hz, and a graph "
                "has one rate. Fit them with the same sample_rate."
            )
        return rates[0], max(shortest), n_mels[0]
    first = model.steps[0][1] if isinstance(model, Pipeline) else model
    if isinstance(first, SpeakerwiseEstimator):
        inner = thawed(first.estimator_)
        if isinstance(inner, WaveformPerturbation):
            raise ValueError(
                f"{type(first).__name__} corrects what WaveformPerturbation has averaged over its "
                "speeds, and a graph computes one speed. Put the perturbation around it."
            )
        return _input(inner)
    if isinstance(first, Pipeline | VotingEstimator):
        return _input(first)
    if isinstance(first, MelFilterBank):
        return first.sample_rate, first.design().frame[0], first.n_mels
    if isinstance(first, SpeechEncoder):
        return SAMPLE_RATE, LENGTH, 0
    raise ValueError(
        f"A graph begins with recordings, and {type(first).__name__} does not take them. Export "
        "the whole Pipeline, whose first step is MelFilterBank or SpeechEncoder."
    )


def _weights(model: Any) -> list[str]:
    """Names of the pre-trained networks of a model."""
    if isinstance(model, VotingEstimator):
        return sorted({name for member in model.estimators_ for name in _weights(member)})
    if isinstance(model, Pipeline):
        return sorted({name for _, step in model.steps for name in _weights(step)})
    if isinstance(model, SpeakerwiseEstimator):
        return _weights(model.estimator_)
    if isinstance(model, FrozenEstimator):
        return _weights(model.estimator)
    model = getattr(model, "embedder_", model)
    if getattr(model, "weights_", None) is not None:  # None of networks from scratch
        return [str(model.weights_.name)]
    given = getattr(model, "weights", None)
    if given is None:
        return []
    return [os.fspath(given) if isinstance(given, str | os.PathLike) else type(given).__name__]


def _levels(model: Any) -> Any:
    """Levels in ordinal order, None for intensities."""
    last = final_step(model)[1]
    return last.levels_ if is_classifier(last) and hasattr(last, "levels_") else None
