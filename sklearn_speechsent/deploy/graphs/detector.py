"""Voice activity detection by the U-net in a graph."""

from __future__ import annotations

from typing import cast

import numpy as np

from sklearn_speechsent.deploy.graphs.frames import chosen, some, widened
from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.graphs.unet import speech_logits
from sklearn_speechsent.nn import SpeechUNet, folded
from sklearn_speechsent.vad import VoiceActivityDetector
from sklearn_speechsent.vad.presence import AVERAGED, LOOKED_AT, MOVED, REACHED, SURE, lowered_bands
from sklearn_speechsent.vad.segments import MEDIAN


def speech_frames(
    graph: Graph, frames: Value, step: VoiceActivityDetector, heard: Value, shift: float
) -> tuple[Value, Value]:
    """Frames of speech, as the detector finds them with its U-net.

    Parameters
    ----------
    graph : Graph
    frames : Value of shape (n_frames, n_mels)
    step : VoiceActivityDetector
        Fitted.
    heard : Value of shape (n_frames,), bool
        Which frames hold no digital silence.
    shift : float
        Seconds from one frame to the next.

    Returns
    -------
    frames : Value
        All of them where there is no speech.
    somebody : Value of shape (1,), bool
        Whether somebody speaks.
    """
    sound = chosen(graph, frames, heard)
    threshold, hysteresis = step.limits()
    network = folded(step.network_)
    scores = _without_clicks(graph, _probabilities(graph, network, sound))
    somebody = some(heard) & _holds_speech(graph, network, sound, scores, threshold)
    speech = _runs(graph, scores, threshold, hysteresis)
    speech = widened(graph, speech, round(step.hangover / shift))
    enough = max(round(step.min_duration / shift), 1)
    long = speech.cast(np.int64).reduce("Sum", 0) >= enough
    return graph.Compress(sound, speech | ~long, axis=0), somebody


def _probabilities(graph: Graph, network: SpeechUNet, frames: Value) -> Value:
    """Probability of speech in each frame, of which none is digital silence."""
    level = frames.reduce("Mean", 1).cast(np.float64).reduce("Mean", 0).cast(np.float32)
    return graph.Sigmoid(speech_logits(graph, network, frames - level))


def _without_clicks(graph: Graph, scores: Value) -> Value:
    """Median-filtered scores, the first and the last repeated at the edges."""
    half = MEDIAN // 2
    padded = graph.Pad(scores, [half, half], mode="edge")
    around = graph.Unsqueeze(graph.arange(scores.size()), [1]) + np.arange(MEDIAN)
    return graph.largest(padded.take(around), half + 1).part(-1, MEDIAN, axis=1).reshape(-1)


def _runs(graph: Graph, scores: Value, threshold: float, hysteresis: float) -> Value:
    """Mask of runs that reach the threshold, and fall no more than the hysteresis below it."""
    above = scores > threshold - hysteresis
    before = graph.Pad(above.part(0, -1).cast(np.int64), [1, 0])
    begins = above.cast(np.int64) * (1 - before)
    run = graph.CumSum(begins, np.int64(0))
    none = graph.Expand(np.zeros(1, np.float32), scores.size() + 1)
    reached = graph.ScatterElements(
        none, run, (scores > threshold).cast(np.float32), reduction="max"
    )
    return above & (reached.take(run) > 0.5)


def _holds_speech(
    graph: Graph, network: SpeechUNet, frames: Value, scores: Value, threshold: float
) -> Value:
    """Whether somebody speaks, see :func:`~sklearn_speechsent.vad.presence.holds_speech`."""

    def raised() -> list[Value]:
        lowered = frames.take(lowered_bands(cast(int, network.architecture["n_mels"])), axis=1)
        again = _without_clicks(graph, _probabilities(graph, network, lowered))
        return [graph.Max(scores, again)]

    (heard,) = graph.either(some(scores >= SURE), lambda: [scores], raised)
    found = graph.NonZero(heard >= min(REACHED, threshold)).reshape(-1)
    n = found.size()
    found = found.part(0, n, step=graph.Max((n + LOOKED_AT - 1) // LOOKED_AT, [1]))
    around = graph.Unsqueeze(found, [1]) + (np.arange(AVERAGED) - AVERAGED // 2)
    spectra = frames.take(graph.Max(graph.Min(around, frames.size() - 1), [0]))
    spectra = spectra.reduce("Mean", 1, keep=False)
    spectra = (spectra - spectra.reduce("Mean", 1)).cast(np.float64)
    n = graph.Max(found.size(), [1]).cast(np.float64)
    spread = spectra - spectra.reduce("Sum", 0) / n
    deviation = graph.Sqrt((spread * spread).reduce("Sum", 0, keep=False) / n)
    return deviation.reduce("Mean", 0) >= MOVED
