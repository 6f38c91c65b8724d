"""Sentiment intensity from speech alone, as scikit-learn estimators.

``Pipeline.fit(wav_paths, labels)``: recordings go in, ordinal sentiment from -3 to +3 comes out,
and every step in between can be swapped, searched, cloned, pickled and inspected.

Names load on first use, so that what does not need torch starts without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sklearn_speechsent._version import __version__

if TYPE_CHECKING:
    from sklearn_speechsent.audio import WaveformPerturbation
    from sklearn_speechsent.deploy import export_onnx, load_model, save_model
    from sklearn_speechsent.features import MelFilterBank, SlidingCMN
    from sklearn_speechsent.frames import UtteranceFrames
    from sklearn_speechsent.inference import (
        StreamingSentiment,
        aggregate_timeline,
        sentiment_timeline,
    )
    from sklearn_speechsent.pipeline import make_sentiment_pipeline
    from sklearn_speechsent.sentiment import (
        IntensityRegressor,
        IntensityVotingRegressor,
        OrdinalClassifier,
        OrdinalVotingClassifier,
        SpeechSentimentClassifier,
        SpeechSentimentRegressor,
    )
    from sklearn_speechsent.speaker import (
        SpeakerEmbedder,
        SpeakerEmbeddingFusion,
        SpeakerFeatureExtractor,
        SpeakerVerifier,
    )
    from sklearn_speechsent.speech import SpeechEncoder
    from sklearn_speechsent.store import FeatureStore
    from sklearn_speechsent.vad import VoiceActivityDetector

#: Module of each public name.
_MODULES = {
    "FeatureStore": "store",
    "IntensityRegressor": "sentiment",
    "IntensityVotingRegressor": "sentiment",
    "MelFilterBank": "features",
    "OrdinalClassifier": "sentiment",
    "OrdinalVotingClassifier": "sentiment",
    "SlidingCMN": "features",
    "SpeakerEmbedder": "speaker",
    "SpeakerEmbeddingFusion": "speaker",
    "SpeakerFeatureExtractor": "speaker",
    "SpeakerVerifier": "speaker",
    "SpeechEncoder": "speech",
    "SpeechSentimentClassifier": "sentiment",
    "SpeechSentimentRegressor": "sentiment",
    "StreamingSentiment": "inference",
    "UtteranceFrames": "frames",
    "VoiceActivityDetector": "vad",
    "WaveformPerturbation": "audio",
    "aggregate_timeline": "inference",
    "export_onnx": "deploy",
    "load_model": "deploy",
    "make_sentiment_pipeline": "pipeline",
    "save_model": "deploy",
    "sentiment_timeline": "inference",
}
_SUBMODULES = (
    "audio",
    "cluster",
    "datasets",
    "deploy",
    "features",
    "frames",
    "inference",
    "inspection",
    "metrics",
    "model_selection",
    "nn",
    "pipeline",
    "pretrained",
    "runtime",
    "sentiment",
    "speaker",
    "speech",
    "store",
    "vad",
)

__all__ = [
    "FeatureStore",
    "IntensityRegressor",
    "IntensityVotingRegressor",
    "MelFilterBank",
    "OrdinalClassifier",
    "OrdinalVotingClassifier",
    "SlidingCMN",
    "SpeakerEmbedder",
    "SpeakerEmbeddingFusion",
    "SpeakerFeatureExtractor",
    "SpeakerVerifier",
    "SpeechEncoder",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "StreamingSentiment",
    "UtteranceFrames",
    "VoiceActivityDetector",
    "WaveformPerturbation",
    "__version__",
    "aggregate_timeline",
    "export_onnx",
    "load_model",
    "make_sentiment_pipeline",
    "save_model",
    "sentiment_timeline",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
