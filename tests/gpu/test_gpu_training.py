"""Training on a CUDA device: all kinds of networks, seeds, interruptions, pickles."""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping

from sklearn_speechsent import (
    SpeakerVerifier,
    SpeechEncoder,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    make_sentiment_pipeline,
)
from sklearn_speechsent.nn import EncoderNetwork, SpeakerResNet
from sklearn_speechsent.pipeline import SYSTEMS
from sklearn_speechsent.pretrained import save_weights
from sklearn_speechsent.training import resume as resume_module
from sklearn_speechsent.training.data import scoped_seed
from sklearn_speechsent.training.net import UtteranceNet

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
SHIPPED = "speechsent-seresnet"
QUICK = dict(max_epochs=2, batch_size=8, n_jobs=2, random_state=0)
RECORD = {"sample_rate": 16000, "n_mels": 16, "frame_shift": 0.01, "cmn": "utterance"}
ROOT = Path(__file__).resolve().parents[2]
#: Loads a pipeline where there is no CUDA, and saves what it predicts.
ELSEWHERE = """
import sys, joblib, numpy as np, torch
assert not torch.cuda.is_available()
pipeline, X = joblib.load(sys.argv[1]), joblib.load(sys.argv[2])
predict = getattr(pipeline, "predict_proba", pipeline.predict)
np.save(sys.argv[3], predict(X))
"""


def scores(pipeline, X):
    """Probabilities of a classifier, intensities of a regressor."""
    return getattr(pipeline, "predict_proba", pipeline.predict)(X)


def devices(net):
    return {tensor.device.type for tensor in net.module_.state_dict().values()}


def losses(net):
    return np.array(net.history[:, "train_loss"])


@pytest.fixture
def frames(make_frames):
    return make_frames(n=24, size=16, longest=50, **RECORD)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("system", [*SYSTEMS, "finetuned"])
def test_the_systems_of_the_paper(system, precision, speech):
    params = dict(QUICK, weights=SHIPPED, device=DEVICE, precision=precision)
    pipeline = make_sentiment_pipeline(system, **params).fit(speech.data, speech.target)
    net = pipeline["net"]
    assert devices(net) == {DEVICE}
    assert len(net.history) == 2 and np.isfinite(losses(net)).all()
    assert np.isfinite(scores(pipeline, speech.data)).all()


@pytest.mark.parametrize("system", [SYSTEMS[0], SYSTEMS[2], SYSTEMS[4], "small"])
def test_a_pickle_where_there_is_no_cuda(system, speech, tmp_path):
    params = dict(QUICK) if system != "small" else {"n_jobs": 2}
    pipeline = make_sentiment_pipeline(system, weights=SHIPPED, device=DEVICE, **params)
    pipeline.fit(speech.data, speech.target)
    expected = scores(pipeline, speech.data)
    joblib.dump(pipeline, tmp_path / "pipeline")
    joblib.dump(speech.data, tmp_path / "X")
    paths = [str(tmp_path / name) for name in ("pipeline", "X", "scores.npy")]
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *paths],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        check=True,
        timeout=240,
    )
    found = np.load(paths[2])
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    again = joblib.load(tmp_path / "pipeline")
    np.testing.assert_allclose(scores(again, speech.data), expected, atol=1e-5)
    if system != "small":
        assert devices(again["net"]) == {DEVICE}


CONFIGURATIONS = {
    "chunks, dropout, SpecAugment": dict(chunk_duration=0.12, module__dropout=0.3),
    "early stopping": dict(early_stopping=True, lr_schedule="plateau", validation_fraction=0.25),
    "one cycle, groups of rates, gradient norm, average": dict(
        lr_schedule="one-cycle",
        average_epochs=2,
        optimizer=torch.optim.AdamW,
        optimizer__param_groups=[("stext.*", {"lr": 1e-4})],
        callbacks=[("clip", GradientNormClipping(1.0))],
    ),
    "two heads, sampling": dict(two_headed=True, sampling_exponent=1.0),
    "attention": dict(module__decoder="attentive"),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_all_that_training_can_do(name, precision, frames):
    X, y = frames
    net = SpeechSentimentClassifier(
        **QUICK, **CONFIGURATIONS[name], precision=precision, device=DEVICE
    )
    net.fit(X, y)
    assert np.isfinite(losses(net)).all() and np.isfinite(net.predict_proba(X)).all()
    n_epochs = len(net.history)
    net.partial_fit(X, y)
    assert len(net.history) > n_epochs and np.isfinite(losses(net)).all()


def test_training_gets_somewhere(frames):
    X, y = frames
    params = {**QUICK, "max_epochs": 30, "lr": 1e-2, "spec_augment": False}
    net = SpeechSentimentRegressor(**params, device=DEVICE).fit(X, y)
    assert losses(net)[-1] < 0.7 * losses(net)[0]


def test_predictions_are_those_of_the_processor(frames):
    """Also alone, in another order and with other batches."""
    X, y = frames
    net = SpeechSentimentRegressor(**QUICK, device=DEVICE).fit(X, y)
    expected = net.predict(X)
    np.testing.assert_allclose(net.predict(X[::-1])[::-1], expected, atol=1e-5)
    np.testing.assert_allclose(
        [net.predict(X[[row]])[0] for row in range(5)], expected[:5], atol=1e-4
    )
    np.testing.assert_allclose(clone_on("cpu", net).predict(X), expected, atol=1e-4)


def clone_on(device, net):
    """Copy of a fitted network on another device."""
    state = net.__getstate__() | {"device": device}
    copied = type(net).__new__(type(net))
    copied.__setstate__(state)
    assert devices(copied) == {device}
    return copied


def test_speaker_embeddings_and_warm_started_blocks(frames, tmp_path):
    X, y = frames
    layout = {"n_mels": 16, "widths": (4, 8, 8, 12), "depths": (1, 1, 2, 1), "embedding_size": 6}
    with torch.random.fork_rng(devices=[]):
        network = SpeakerResNet(**layout, se_ratio=4)
    path = tmp_path / "small.safetensors"
    save_weights(
        path, network.state_dict(), architecture=layout | {"se_ratio": 4}, frame_settings=RECORD
    )
    X = X.with_embeddings(np.random.default_rng(0).normal(size=(len(X), 5)).astype("f4"))
    net = SpeechSentimentRegressor(
        **QUICK,
        weights=path,
        module__n_frozen_blocks=1,
        module__n_tuned_blocks=1,
        module__stext=((2, 8), (1, 12)),
        module__stext_init="speaker",
        device=DEVICE,
    ).fit(X, y)
    assert np.isfinite(losses(net)).all() and np.isfinite(net.predict(X)).all()
    np.testing.assert_allclose(clone_on("cpu", net).predict(X), net.predict(X), atol=1e-4)


def test_layers_of_an_encoder(speech, model):
    frames = SpeechEncoder(model, pooling=None, device=DEVICE).fit_transform(speech.data)
    net = SpeechSentimentRegressor(EncoderNetwork, **QUICK, device=DEVICE)
    net.fit(frames, speech.target)
    assert np.isfinite(losses(net)).all() and np.isfinite(net.predict(frames)).all()


def test_speakers(frames):
    X, _ = frames
    y = np.array(["a", "b", "c", "d"])[np.arange(len(X)) % 4]
    small = dict(module__widths=(4, 8), module__depths=(1, 1), module__embedding_size=6)
    net = SpeakerVerifier(**QUICK, **small, device=DEVICE).fit(X, y)
    assert np.isfinite(losses(net)).all() and net.transform(X).shape == (len(X), 6)


# -- seeds -----------------------------------------------------------------------------------------


def test_draws_are_repeated():
    with scoped_seed(3, DEVICE):
        first = torch.rand(9, device=DEVICE)
    with scoped_seed(3, DEVICE):
        assert torch.equal(torch.rand(9, device=DEVICE), first)


def test_the_same_seed_gives_nearly_the_same_losses(frames):
    """Sums of CUDA are in no fixed order."""
    X, y = frames
    net = SpeechSentimentRegressor(**QUICK, module__dropout=0.3, device=DEVICE)
    first, second = (losses(clone(net).fit(X, y)) for _ in range(2))
    np.testing.assert_allclose(first, second, rtol=1e-2)
    other = losses(clone(net).set_params(random_state=1).fit(X, y))
    assert np.abs(other - first).max() > 10 * np.abs(second - first).max()


def test_the_processor_leaves_the_device_alone(frames):
    """The fixture ``device_generator_untouched`` looks."""
    X, y = frames
    SpeechSentimentRegressor(**QUICK, module__dropout=0.3).fit(X, y)


# -- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"average_epochs": 2}, {"early_stopping": True}])
def test_an_interrupted_fit_resumes(params, frames, tmp_path, monkeypatch):
    X, y = frames
    monkeypatch.setattr(resume_module, "SAVE_INTERVAL", 0.0)
    net = SpeechSentimentRegressor(
        **{**QUICK, "max_epochs": 3}, **params, module__dropout=0.3, device=DEVICE
    )
    whole = clone(net).fit(X, y)
    original, calls = UtteranceNet.infer, []

    def infer(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == n_batches:
            raise MemoryError
        return original(self, *args, **kwargs)

    monkeypatch.setattr(UtteranceNet, "infer", infer)
    n_batches = 8
    with pytest.raises(MemoryError):
        clone(net).set_params(resume=tmp_path).fit(X, y)
    n_batches = -1
    calls.clear()
    clone(net).fit(X, y)
    n_calls = len(calls)
    calls.clear()
    resumed = clone(net).set_params(resume=tmp_path).fit(X, y)
    assert len(calls) < n_calls
    np.testing.assert_allclose(losses(resumed), losses(whole), rtol=2e-2)
    np.testing.assert_allclose(resumed.predict(X), whole.predict(X), atol=5e-2)
    calls.clear()
    finished = clone(net).set_params(resume=tmp_path).fit(X, y)
    assert not calls
    np.testing.assert_allclose(finished.predict(X), resumed.predict(X), atol=1e-5)
