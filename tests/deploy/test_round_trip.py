"""Every system predicts the same, to the bit, after a round trip into a new process."""

import json
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from encoders import as_openai, random_encoder
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline

from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerVerifier,
    SpeechEncoder,
    SpeechSentimentClassifier,
    VoiceActivityDetector,
    WaveformPerturbation,
    load_model,
    make_sentiment_pipeline,
    save_model,
)
from sklearn_speechsent.inspection import ConformalOrdinal, OrdinalCalibrator
from sklearn_speechsent.nn import EncoderNetwork, SpeakerResNet
from sklearn_speechsent.pipeline import SYSTEMS
from sklearn_speechsent.pretrained import save_weights
from sklearn_speechsent.pretrained.registry import WESPEAKER_FRAME_SETTINGS

LAYOUT = {
    "n_mels": 80,
    "widths": (4, 4, 8, 8),
    "depths": (1, 1, 1, 1),
    "se_ratio": 2,
    "embedding_size": 6,
}
CODE = """
import json, sys, warnings
import numpy as np
import pandas as pd
from sklearn_speechsent import load_model

names, X, folder = json.loads(sys.argv[1])
X = pd.DataFrame(X)
warnings.simplefilter("ignore")
for name in names:
    model = load_model(f"{folder}/{name}")
    np.save(f"{folder}/{name}.npy", model.predict(X))
    if hasattr(model, "predict_proba"):
        np.save(f"{folder}/{name}.proba.npy", model.predict_proba(X))
"""


def small_files(folder):
    """Files of a small speaker network and of a small encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = SpeakerResNet(**LAYOUT).state_dict()
    settings = {"architecture": LAYOUT, "frame_settings": WESPEAKER_FRAME_SETTINGS}
    save_weights(folder / "own.safetensors", state, **settings, extra={"licence": "CC BY-NC 4.0"})
    torch.save(as_openai(random_encoder(n_blocks=4)), folder / "encoder.pt")
    return folder / "own.safetensors", folder / "encoder.pt"


def systems(folder):
    """Unfitted systems, by name."""
    weights, encoder = small_files(folder)
    quick = {"weights": None, "vad": "passthrough"}
    train = {"max_epochs": 1, "batch_size": 9, "random_state": 0}

    def network(system, **params):
        return make_sentiment_pipeline(system, **{"weights": weights, **train, **params})

    large = {"weights": weights, "encoder__model": encoder}
    layers = SpeechSentimentClassifier(
        EncoderNetwork, module__hidden_size=6, module__attention_size=4, **train
    )
    voice = make_pipeline(MelFilterBank(), SlidingCMN(None), SpeakerEmbedder(weights))
    over_encoder = SpeechEncoder(encoder, pooling=None, layers=(1, 2))
    return {
        "small": make_sentiment_pipeline(n_jobs=1),
        "medium": make_sentiment_pipeline("medium", weights=weights),
        "large": make_sentiment_pipeline("large", **large),
        "bfloat16": make_sentiment_pipeline("large", encoder__precision="bfloat16", **large),
        "intensity": make_sentiment_pipeline(target="intensity", n_components=3, **quick),
        "large-intensity": make_sentiment_pipeline("large", target="intensity", **large),
        "finetuned": network("finetuned"),
        "finetuned-intensity": network("finetuned", target="intensity"),
        **{f"paper-{k}": network(system) for k, system in enumerate(SYSTEMS)},
        "scratch": network("0/2SREx-SEResNet-16 + C", weights=None, ordinal="corn"),
        "corrected": network("2/2SREx-SEResNet-16 + C", ordinal="clm", prior_correction=True),
        "layers": make_pipeline(over_encoder, layers),
        "voice": make_pipeline(SpeakerEmbeddingFusion(voice, frames=over_encoder), clone(layers)),
        "speeds": WaveformPerturbation(make_sentiment_pipeline(**quick), conditions=["telephone"]),
        "energy": make_sentiment_pipeline(
            weights=None, vad=VoiceActivityDetector("energy", frontend=MelFilterBank(n_mels=40))
        ),
        "8 kHz": make_sentiment_pipeline(**quick, mfb__sample_rate=8000, mfb__n_mels=40),
        "calibrated": OrdinalCalibrator(make_sentiment_pipeline(**quick), cv=2),
        "sets": ConformalOrdinal(
            OrdinalCalibrator(make_sentiment_pipeline(**quick), method="isotonic", cv=2), cv=2
        ),
    }


@pytest.fixture(scope="module")
def X(speech):
    """A second of each of nine recordings."""
    return pd.DataFrame({"file": speech.data[:9], "start": 0.5, "end": 1.5})


@pytest.fixture(scope="module")
def y(speech):
    return speech.target[:9]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, X, y):
    """Folder with the bundle of each system, and the fitted systems."""
    folder = tmp_path_factory.mktemp("systems")
    models = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in systems(folder).items():
            models[name] = model.fit(X, y)
            save_model(models[name], folder / name)
        for name in ("own.safetensors", "encoder.pt"):  # nothing needs them from here on
            (folder / name).unlink()
        argument = json.dumps([list(models), X.to_dict("list"), str(folder)])
        subprocess.run([sys.executable, "-c", CODE, argument], check=True)
    return folder, models


NAMES = (
    *("small", "medium", "large", "bfloat16", "intensity", "large-intensity", "finetuned"),
    *("finetuned-intensity", "paper-0", "paper-1", "paper-2", "paper-3", "paper-4", "scratch"),
    *("corrected", "layers", "voice", "speeds", "energy", "8 kHz", "calibrated", "sets"),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_predictions_in_a_new_process_are_the_same(fitted, X, name):
    folder, models = fitted
    assert set(models) == set(NAMES)
    model = models[name]
    outputs = model.predict(X)
    np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), outputs)
    if hasattr(model, "predict_proba"):
        outputs = model.predict_proba(X)
        np.testing.assert_array_equal(np.load(folder / f"{name}.proba.npy"), outputs)
    assert np.ptp(outputs, axis=0).any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["small", "large", "finetuned", "speeds"])
def test_a_loaded_model_is_saved_as_the_same_bytes(fitted, tmp_path, name):
    loaded = load_model(fitted[0] / name)
    again = save_model(loaded, tmp_path / "again")
    for file in sorted(p.name for p in again.iterdir()):
        assert (again / file).read_bytes() == (fitted[0] / name / file).read_bytes(), file


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["small", "intensity", "speeds", "layers"])
def test_a_loaded_model_is_an_ordinary_one(fitted, X, y, name):
    folder, models = fitted
    loaded = load_model(folder / name)
    assert type(loaded) is type(models[name])
    expected = models[name].predict(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(loaded)).predict(X), expected)
    if name == "layers":  # its encoder has no name to be loaded by
        with pytest.raises(ValueError, match="in the bundle"):
            clone(loaded).fit(X, y)
        return
    again = clone(loaded).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), expected)


@pytest.mark.filterwarnings("ignore")
def test_both_faces_of_two_heads(fitted, X):
    folder, models = fitted
    original, loaded = models["paper-0"], load_model(folder / "paper-0")
    frames = original[:-1].transform(X)
    expected = original["net"].as_regressor().predict(frames)
    np.testing.assert_array_equal(loaded["net"].as_regressor().predict(frames), expected)


@pytest.mark.filterwarnings("ignore")
def test_a_loaded_network_trains_on(fitted, X, y):
    loaded = load_model(fitted[0] / "scratch")
    frames = loaded[:-1].transform(X)
    before = loaded["net"].predict_proba(frames)
    loaded["net"].partial_fit(frames, y)
    assert np.isfinite(loaded["net"].predict_proba(frames)).all()
    assert (loaded["net"].predict_proba(frames) != before).any()


def test_joblib_still_saves(pooled, X, tmp_path):
    joblib.dump(pooled, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    expected = pooled.predict_proba(X)
    np.testing.assert_array_equal(again.predict_proba(X), expected)


def test_names_of_columns_and_text(table, tmp_path):
    data = pd.DataFrame(table[0], columns=list("abcdef"))
    labels = np.array(["low", "mid", "high"])[table[1] + 1]
    model = OrdinalClassifier(levels=["low", "mid", "high"]).fit(data, labels)
    again = load_model(save_model(model, tmp_path / "names"))
    assert again.levels_.tolist() == ["low", "mid", "high"]
    assert again.classes_.tolist() == ["high", "low", "mid"]
    np.testing.assert_array_equal(again.predict_proba(data), model.predict_proba(data))
    with pytest.raises(ValueError, match="feature names"):
        again.predict(data[list("fedcba")])


@pytest.mark.filterwarnings("ignore")
def test_weights_of_a_verifier_are_inside(speech, X, y, tmp_path):
    weights, _ = small_files(tmp_path)
    mfb = make_pipeline(MelFilterBank(), SlidingCMN(None))
    frames = mfb.fit_transform(X)
    verifier = SpeakerVerifier(
        module__widths=(4, 4),
        module__depths=(1, 1),
        max_epochs=1,
        random_state=0,
        validation_fraction=0,
    ).fit(frames, speech.groups[:9])
    model = make_sentiment_pipeline(
        weights=FrozenEstimator(verifier), srext__n_blocks=1, vad="passthrough"
    ).fit(X, y)
    again = load_model(save_model(model, tmp_path / "bundle"))
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    assert isinstance(again, Pipeline) and weights.is_file()
