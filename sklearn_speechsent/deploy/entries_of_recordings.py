"""Entries of the steps that take recordings and frames, with their frozen networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn_speechsent.audio import WaveformPerturbation
from sklearn_speechsent.deploy.entry import MACHINE, Entry, plain, set_state
from sklearn_speechsent.deploy.networks import Frozen, Record, WeightsName, encoder_state
from sklearn_speechsent.deploy.values import (
    Domain,
    Flag,
    Nested,
    Number,
    Place,
    Rule,
    Seed,
    Size,
    whole,
)
from sklearn_speechsent.features import FrameStatistics, MelFilterBank, SlidingCMN
from sklearn_speechsent.features.frozen import PRECISIONS
from sklearn_speechsent.pretrained import (
    EncoderWeights,
    SpeakerWeights,
    VADWeights,
    build_encoder,
    build_vad,
)
from sklearn_speechsent.speaker import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
)
from sklearn_speechsent.speech import SpeechEncoder
from sklearn_speechsent.speech.whisper import WhisperFunction
from sklearn_speechsent.vad import VoiceActivityDetector


def _get_frozen(model: Any) -> dict[str, Any]:
    """State of a step with a frozen network, which goes with the record of its weights."""
    found = {name: value for name, value in vars(model).items() if name.endswith("_")}
    found.pop("_store_", None)
    found.pop("loss_curve_", None)
    if "network_" in found:
        found["network_"] = (model.network_.state_dict(), model.weights_)
    return found


def _put_frozen(model: Any, values: dict[str, Any], place: Place) -> None:
    weights = replace(values["weights_"], state=values.pop("network_"))
    set_state(model, values, place)
    model.network_ = model._build(weights)
    if isinstance(model, SpeakerFeatureExtractor) and model.pooling is not None:
        model._divisions()


def _get_detector(model: VoiceActivityDetector) -> dict[str, Any]:
    return {**_get_frozen(model), "own_frontend": model.frontend is not None}


def _put_detector(model: VoiceActivityDetector, values: dict[str, Any], place: Place) -> None:
    state = values.pop("network_", None)
    if values.pop("own_frontend"):
        model.frontend = values["frontend_"]
    set_state(model, values, place)
    model.limits()
    if (model.method == "unet") != (state is not None and "weights_" in values):
        raise ValueError(f"a network and method={model.method!r} do not go together.")
    if state is not None:
        model.network_ = build_vad(replace(values["weights_"], state=state))


def _get_encoder(model: SpeechEncoder) -> dict[str, Any]:
    network: Any = model.network_
    state = encoder_state(network, Place("SpeechEncoder"))
    weights = replace(model.weights_, architecture=dict(network.architecture))
    return {**_get_frozen(model), "weights_": weights, "network_": (state, weights)}


def _put_encoder(model: SpeechEncoder, values: dict[str, Any], place: Place) -> None:
    weights = replace(values["weights_"], state=values.pop("network_"))
    set_state(model, values, place)
    model._check_choices()
    model.network_ = build_encoder(weights, model._highest()).prepare(PRECISIONS[model.precision])
    model._function_class = WhisperFunction


def _get_fusion(model: SpeakerEmbeddingFusion) -> dict[str, Any]:
    own = {"own_embedder": model.embedder is not None}
    return {**{name: v for name, v in vars(model).items() if name.endswith("_")}, **own}


def _put_fusion(model: SpeakerEmbeddingFusion, values: dict[str, Any], place: Place) -> None:
    if values.pop("own_embedder"):
        model.embedder = values["embedder_"]
    model.frames = values["frames_"]
    set_state(model, values, place)


def _put_perturbed(model: WaveformPerturbation, values: dict[str, Any], place: Place) -> None:
    set_state(model, values, place)
    model.estimator = model.estimator_
    speeds = model.predict_speeds
    if not isinstance(speeds, (list, tuple)) or not 0 < len(speeds) <= 16:
        raise ValueError(f"predict_speeds={speeds!r:.60} must be 1 to 16 numbers.")
    model._check_values(model.estimator_)


def _speaker(kind: type, params: str, **state: Rule) -> Entry:
    return Entry(
        kind,
        {"weights": WeightsName(), **plain(params)},
        {
            "n_features_in_": Size("n"),
            **state,
            "weights_": Record(SpeakerWeights),
            "network_": Frozen(SpeakerWeights),
        },
        MACHINE,
        get=_get_frozen,
        put=_put_frozen,
    )


RECORDING_STEPS = [
    Entry(
        MelFilterBank,
        {
            "n_mels": whole(1, 512),
            "sample_rate": whole(1000, 96_000),
            "frame_length": Number(2e-3, 0.1),
            "frame_shift": Number(2e-3, 1.0),
            **plain("window low_freq high_freq preemphasis scale dtype on_error"),
        },
        {"n_features_in_": Size("n"), "_with_labels_": Flag()},
        "n_jobs memory verbose",
        "n_features_in_ _with_labels_",
    ),
    Entry(SlidingCMN, plain("window"), {"n_features_in_": Size("n")}, "n_jobs memory verbose"),
    Entry(FrameStatistics, {}, {"n_features_in_": Size("n"), "domain_": Domain()}),
    Entry(
        VoiceActivityDetector,
        plain("method threshold max_epochs lr batch_size")
        | {"hangover": Number(0, 60), "min_duration": Number(0, 3600)}
        | {"weights": WeightsName(), "random_state": Seed()},
        {
            "n_features_in_": Size("n"),
            "own_frontend": Flag(),
            "frontend_": Nested(),
            "weights_": Record(VADWeights),
            "network_": Frozen(VADWeights),
        },
        "n_jobs memory verbose backend",
        "weights_ network_",
        blank={"frontend": None},
        get=_get_detector,
        put=_put_detector,
    ),
    _speaker(SpeakerEmbedder, "normalize precision"),
    _speaker(
        SpeakerFeatureExtractor,
        "n_blocks pooling n_bands statistics compress dtype precision",
        embedding_size_=whole(0, 2**16),
        domain_=Domain(),
    ),
    Entry(
        SpeakerEmbeddingFusion,
        {},
        {
            "n_features_in_": Size("n"),
            "own_embedder": Flag(),
            "embedder_": Nested(),
            "frames_": Nested(optional=True),
        },
        optional="n_features_in_",
        blank={"embedder": None, "frames": None},
        get=_get_fusion,
        put=_put_fusion,
    ),
    Entry(
        SpeechEncoder,
        {"model": WeightsName()}
        | plain("revision layers pooling statistics normalize n_blocks dtype precision on_error"),
        {
            "n_features_in_": Size("n"),
            "weights_": Record(EncoderWeights),
            "network_": Frozen(EncoderWeights),
        },
        MACHINE,
        "n_features_in_",
        get=_get_encoder,
        put=_put_encoder,
    ),
    Entry(
        WaveformPerturbation,
        plain("speeds snr_db gain_db conditions predict_speeds") | {"random_state": Seed()},
        {"n_features_in_": Size("n"), "estimator_": Nested()},
        optional="n_features_in_",
        blank={"estimator": None},
        put=_put_perturbed,
    ),
]
