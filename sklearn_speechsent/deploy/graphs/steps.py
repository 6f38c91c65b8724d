"""Steps of a fitted pipeline, one after the other, in a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_speechsent.deploy.graphs import frames
from sklearn_speechsent.deploy.graphs.detector import speech_frames
from sklearn_speechsent.deploy.graphs.encoder import encoder_output
from sklearn_speechsent.deploy.graphs.pieces import speaker_maps
from sklearn_speechsent.deploy.graphs.sentiment import unit
from sklearn_speechsent.deploy.graphs.statistics import banded, pooled
from sklearn_speechsent.features import FrameStatistics, MelFilterBank, SlidingCMN
from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.graphs.networks import linear
from sklearn_speechsent.speaker import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
)
from sklearn_speechsent.speech import SpeechEncoder
from sklearn_speechsent.vad import VoiceActivityDetector


@dataclass(frozen=True)
class Utterance:
    """What is known of the utterance between two steps.

    Parameters
    ----------
    graph : Graph
    x : Value
        Samples (n,), frames (n_frames, n_mels), maps (1, C, F, T), layers (T, L, W), or a table of
        one row.
    valid : Value of shape (1,), bool
        Whether anything can be said about it.
    filter_bank : MelFilterBank, optional
        That made the frames.
    log_mel : bool
        Whether x is log-mel frames before any mean normalisation.
    embedding : Value of shape (1, n), optional
        Of the speaker.
    """

    graph: Graph
    x: Value
    valid: Value
    filter_bank: MelFilterBank | None = None
    log_mel: bool = False
    embedding: Value | None = None

    @property
    def frame(self) -> tuple[float, float]:
        """Length and shift of frames in seconds."""
        assert self.filter_bank is not None
        return self.filter_bank.frame_length, self.filter_bank.frame_shift

    def audible(self) -> Value:
        """Mask of frames without digital silence."""
        length, shift = self.frame
        return frames.audible(self.graph, self.x, math.ceil(length / shift - 1e-6) - 1)


def after_steps(pipeline: Pipeline, utterance: Utterance, *, given: bool) -> Utterance:
    """Utterance after all steps of a fitted Pipeline but the last.

    Parameters
    ----------
    pipeline : Pipeline
    utterance : Utterance
    given : bool
        Whether the utterance already is what the first step makes: frames.

    Returns
    -------
    Utterance

    Raises
    ------
    ValueError
        If a step has no graph.
    """
    for position, (name, step) in enumerate(pipeline.steps[:-1]):
        step = step.estimator if isinstance(step, FrozenEstimator) else step
        if step is None or step == "passthrough":
            continue
        if isinstance(step, Pipeline):
            raise ValueError(f"The step {name!r} is a Pipeline in a Pipeline: put its steps there.")
        if type(step) not in _STEPS:
            raise ValueError(
                f"The step {name!r}, {type(step).__name__}, cannot be exported to ONNX. What can: "
                f"{', '.join(kind.__name__ for kind in _STEPS)}."
            )
        if given and position == 0:
            if type(step) is not MelFilterBank:
                raise ValueError(
                    f'kind="frames" needs MelFilterBank as the first step, which is '
                    f'{type(step).__name__}. Use kind="waveform".'
                )
            utterance = replace(utterance, filter_bank=step, log_mel=True)
        else:
            utterance = _STEPS[type(step)](step, utterance)
    return utterance


def _mfb(step: MelFilterBank, given: Utterance) -> Utterance:
    if step.dtype != "float32":
        raise ValueError(
            f"MelFilterBank(dtype={step.dtype!r}) cannot be exported: graphs compute frames in "
            'float32. Fit with dtype="float32".'
        )
    made = frames.mel_frames(given.graph, given.x, step)
    return replace(given, x=made, filter_bank=step, log_mel=True)


def _vad(step: VoiceActivityDetector, given: Utterance) -> Utterance:
    if step.method != "unet":
        raise ValueError(
            f"VoiceActivityDetector(method={step.method!r}) cannot be exported: only the U-net "
            'can. Fit with method="unet", or without a detector (vad="passthrough").'
        )
    speech, somebody = speech_frames(given.graph, given.x, step, given.audible(), given.frame[1])
    return replace(given, x=speech, valid=given.valid & somebody)


def _cmn(step: SlidingCMN, given: Utterance) -> Utterance:
    x, valid = given.x, given.valid
    if given.log_mel:
        heard = given.audible()
        x, valid = frames.chosen(given.graph, x, heard), valid & frames.some(heard)
    width = None if step.window is None else max(1, round(step.window / given.frame[1]))
    made = frames.without_means(given.graph, x, width)
    return replace(given, x=made, valid=valid, log_mel=False)


def _fusion(step: SpeakerEmbeddingFusion, given: Utterance) -> Utterance:
    embedder = step.embedder_
    embedder = embedder.estimator if isinstance(embedder, FrozenEstimator) else embedder
    if step.frames_ is not None or type(embedder) is not SpeakerEmbedder:
        raise ValueError(
            f"{step!r} cannot be exported to ONNX: only the embedding of a SpeakerEmbedder, of the "
            "frames that go on, can. Leave out frames= and use SpeakerEmbedder, or export without "
            "the embedding."
        )
    graph = given.graph
    maps = speaker_maps(graph, embedder.network_, given.x)
    n_values = embedder.network_.out_channels * embedder.network_.out_frequencies
    values = maps.reshape(1, n_values, -1).reshape(n_values, -1)
    mean, deviation = pooled(graph, values, ["mean", "std"])
    n = values.size(1).cast(np.float64)
    unbiased = n / graph.Max(n - 1.0, np.ones(1))
    deviation = graph.Sqrt(deviation * deviation * unbiased + 1e-7)
    statistics = graph.Concat(mean, deviation, axis=0).reshape(1, -1).cast(np.float32)
    embedding = unit(graph, linear(graph, embedder.network_.seg_1, statistics))
    return replace(given, embedding=embedding)


def _srext(step: SpeakerFeatureExtractor, given: Utterance) -> Utterance:
    graph, network = given.graph, step.network_
    maps = speaker_maps(graph, network, given.x)
    if step.pooling is None:
        return replace(given, x=maps.cast(step.dtype).cast(np.float32))
    maps = banded(graph, maps, network.out_frequencies, int(step.n_bands))
    values = maps.reshape(network.out_channels * int(step.n_bands), -1)
    table = graph.Concat(*pooled(graph, values, step.statistics), axis=0).cast(np.float32)
    table = table.reshape(1, -1)
    if step.compress == "sqrt":
        table = graph.Sqrt(table)
    elif step.compress == "log1p":
        table = graph.Log(table + 1.0)
    if given.embedding is not None:
        table = graph.Concat(table, given.embedding, axis=1)
    return replace(given, x=table.cast(step.dtype).cast(np.float32), embedding=None)


def _frame_statistics(step: FrameStatistics, given: Utterance) -> Utterance:
    graph = given.graph
    parts = pooled(graph, given.x.transpose(1, 0), ["mean", "std"])
    return replace(given, x=graph.Concat(*parts, axis=0).cast(np.float32).reshape(1, -1))


def _encoder(step: SpeechEncoder, given: Utterance) -> Utterance:
    return replace(given, x=encoder_output(given.graph, given.x, step))


#: What each kind of step does; a subclass may do something else.
_STEPS: dict[type, Callable[[Any, Utterance], Utterance]] = {
    MelFilterBank: _mfb,
    VoiceActivityDetector: _vad,
    SlidingCMN: _cmn,
    SpeakerEmbeddingFusion: _fusion,
    SpeakerFeatureExtractor: _srext,
    FrameStatistics: _frame_statistics,
    SpeechEncoder: _encoder,
}
