"""Speaker blocks before the net and inside it: frozen and tuned parts, equal results."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sklearn_speechsent import (
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
    make_sentiment_pipeline,
)
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.nn.resnet import SpeakerBlocks
from sklearn_speechsent.pretrained import has_weights

WEIGHTS = "wespeaker-voxceleb-resnet34"
# Adam divides by the size of the gradient: where there is next to none, it makes steps of noise.
EQUAL = dict(chunk_duration=None, spec_augment=False, optimizer=torch.optim.SGD, lr=1e-2)
RECORD = {"sample_rate": 16000, "n_mels": 16, "frame_shift": 0.01, "cmn": "utterance"}


@pytest.fixture
def frames(make_frames):
    """9 utterances of 16 bins and their levels, recorded as having gone through CMN."""
    return make_frames(n=9, size=16, longest=50, **RECORD)


@pytest.fixture
def verifier(frames):
    """Fitted on the same frames, three utterances a speaker."""
    params = dict(max_epochs=1, batch_size=5, validation_fraction=0, n_jobs=1, random_state=0)
    layout = dict(module__widths=(4, 8, 8), module__depths=(1, 1, 1), module__embedding_size=6)
    return SpeakerVerifier(**params, **layout).fit(frames[0], np.repeat([1, 2, 3], 3))


@pytest.fixture
def watched(monkeypatch):
    """Modes of batch normalisation, by name, whenever blocks were called with gradients on."""
    modes = []
    forward = SpeakerBlocks.forward

    def spy(self, x, lengths):
        if torch.is_grad_enabled():
            modes.append({name: m.training for name, m in self.named_modules() if ".bn" in name})
        return forward(self, x, lengths)

    monkeypatch.setattr(SpeakerBlocks, "forward", spy)
    return modes


def inside(net, weights, frozen, tuned):
    return clone(net).set_params(
        weights=FrozenEstimator(weights),
        module__n_frozen_blocks=frozen,
        module__n_tuned_blocks=tuned,
    )


def changed_keys(net, before):
    """Tensors of the speaker blocks that differ from the weights they started from."""
    state = net.module_.srext.state_dict()
    return {key for key, value in state.items() if not torch.equal(value, before[key])}


def assert_routes_agree(before, within, X, y, maps, atol):
    """Train the two nets alike and compare what they predict."""
    still = clone(before).set_params(lr=1e-30).fit(maps, y).predict(maps)
    before.fit(maps, y)
    assert np.abs(before.predict(maps) - still).min() > 10 * atol  # there is something to agree on
    within.fit(X, y)
    shared = before.module_.state_dict()
    for key, value in within.module_.state_dict().items():
        if not key.startswith("srext"):
            torch.testing.assert_close(value, shared[key], atol=atol, rtol=0, msg=key)
    np.testing.assert_allclose(within.predict(X), before.predict(maps), atol=atol)


@pytest.fixture
def one_start(monkeypatch):
    """Every net starts its sentiment blocks and heads from the same numbers.

    The same seed would draw others in a net that draws speaker blocks first.
    """
    original = SpeechSentimentRegressor.initialize_module

    def initialize(self):
        original(self)
        torch.manual_seed(5)
        for name, module in self.module_.named_modules():
            if not name.startswith("srext") and hasattr(module, "reset_parameters"):
                module.reset_parameters()
        torch.manual_seed(6)
        return self

    monkeypatch.setattr(
        "sklearn_speechsent.sentiment.net.SpeechSentimentNet.initialize_module", initialize
    )


@pytest.mark.parametrize("fused", [False, True])
def test_two_frozen_blocks_before_or_inside_the_net(frames, verifier, net_params, one_start, fused):
    X, y = frames
    if fused:
        X = SpeakerEmbeddingFusion(SpeakerEmbedder(FrozenEstimator(verifier))).fit_transform(X)
    params = {**net_params, **EQUAL, "max_epochs": 3}
    net = SpeechSentimentRegressor(**params)
    extractor = SpeakerFeatureExtractor(verifier, n_blocks=2, pooling=None)
    maps = extractor.fit_transform(X)
    assert_routes_agree(net, inside(net, verifier, 2, 0), X, y, maps, atol=1e-4)


def test_frozen_blocks_stay_to_the_bit(frames, verifier, net_params, watched):
    X, y = frames
    net = inside(SpeechSentimentClassifier(**net_params), verifier, 2, 0).fit(X, y)
    assert not changed_keys(net, verifier.to_weights().state)
    assert not any(p.requires_grad for p in net.module_.srext.parameters())
    assert watched and not any(mode for modes in watched for mode in modes.values())
    assert not any(m.training for m in net.module_.srext.modules() if hasattr(m, "running_var"))


def test_one_block_learns_above_a_frozen_one(frames, verifier, net_params, watched):
    X, y = frames
    net = inside(SpeechSentimentClassifier(**net_params), verifier, 1, 1).fit(X, y)
    changed = changed_keys(net, verifier.to_weights().state)
    assert {"layer2.0.conv1.weight", "layer2.0.bn1.weight", "layer2.0.se.squeeze.weight"} <= changed
    assert all(key.startswith("layer2.") for key in changed)
    # Its normalisation does not change its statistics, which folded weights depend on.
    assert not [key for key in changed if "running" in key or "tracked" in key]
    assert watched and not any(mode for modes in watched for mode in modes.values())


def test_both_blocks_learn_from_scratch(frames, verifier, net_params):
    X, y = frames
    net = SpeechSentimentClassifier(**net_params, module__n_tuned_blocks=2)
    net.set_params(module__widths=(4, 8, 8), module__depths=(1, 1, 1)).fit(X, y)
    pretrained = verifier.to_weights().state
    start = clone(net).set_params(lr=1e-30, max_epochs=1).fit(X, y).module_.srext.state_dict()
    now = net.module_.srext.state_dict()
    learned = {key for key, _ in net.module_.srext.named_parameters() if ".se." not in key}
    assert not [key for key in learned if torch.equal(now[key], start[key])]
    weights = [key for key in start if key.endswith(("conv1.weight", "conv2.weight"))]
    assert all(not torch.allclose(start[key], pretrained[key], atol=1e-2) for key in weights)


def test_both_blocks_can_also_be_tuned(frames, verifier, net_params):
    X, y = frames
    net = inside(SpeechSentimentClassifier(**net_params), verifier, 0, 2).fit(X, y)
    changed = changed_keys(net, verifier.to_weights().state)
    assert {"conv1.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight"} <= changed


def test_weights_from_a_file_or_a_verifier(frames, verifier, net_params, tmp_path):
    X, y = frames
    path = verifier.save_weights(tmp_path / "mine.safetensors")
    net = SpeechSentimentClassifier(
        **net_params, weights=path, module__n_frozen_blocks=1, module__n_tuned_blocks=1
    )
    expected = net.fit(X, y).predict_proba(X)
    for weights in (str(path), verifier, FrozenEstimator(verifier)):
        again = copy.copy(net).set_params(weights=weights).fit(X, y)
        np.testing.assert_array_equal(again.predict_proba(X), expected)
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        clone(net).set_params(weights=clone(verifier)).fit(X, y)


def test_frames_of_another_kind_than_the_verifiers(frames, verifier, net_params, make_frames):
    X, y = frames
    net = inside(SpeechSentimentClassifier(**net_params), verifier, 1, 1)
    other = UtteranceFrames(
        X.base, X.starts, X.stops, frame_settings={**RECORD, "sample_rate": 8000}
    )
    with pytest.raises(ValueError, match=r"sample_rate=8000 \(expected 16000\)"):
        net.fit(other, y)
    with pytest.raises(ValueError, match="16 mel bins"):
        net.fit(*make_frames(n=9, size=24))


def test_a_pipeline_on_the_users_verifier(speech):
    """Its network is used by all steps: blocks and fused embedding."""
    params = dict(max_epochs=1, batch_size=8, validation_fraction=0.5, n_jobs=1, random_state=0)
    layout = dict(module__widths=(4, 8, 8), module__depths=(1, 1, 1), module__embedding_size=6)
    verifier = SpeakerVerifier(**params, **layout).fit(speech.data, speech.groups)
    pipeline = make_sentiment_pipeline(
        "1/2SREx-SEResNet-16 + SpE + C",
        weights=FrozenEstimator(verifier),
        max_epochs=1,
        chunk_duration=0.3,
        batch_size=12,
        n_jobs=1,
        random_state=0,
    )
    clone(pipeline)
    pipeline.fit(speech.data, speech.target)
    assert pipeline["cmn"].window is None
    assert pipeline["net"].module_.embedding_size == 6
    assert not any(
        key.startswith("layer1")
        for key in changed_keys(pipeline["net"], verifier.to_weights().state)
    )
    assert pipeline.predict(speech.data[:3]).shape == (3,)


def test_a_verifier_without_frame_settings(frames, verifier):
    bare = UtteranceFrames.from_arrays(list(frames[0]))
    unknowing = clone(verifier).fit(bare, [1, 2, 3] * 3)
    assert make_sentiment_pipeline(weights=FrozenEstimator(unknowing))["cmn"].window is None


# -- the real network ------------------------------------------------------------------------------


@pytest.fixture
def speaker_net(data_home, net_params):
    if not has_weights(WEIGHTS):
        pytest.skip("no pre-trained weights in the data home")
    return SpeechSentimentRegressor(
        **net_params, weights=WEIGHTS, module__n_frozen_blocks=1, module__n_tuned_blocks=1
    )


@pytest.mark.data
def test_frozen_blocks_stay_and_tuned_blocks_learn(speaker_net, make_frames):
    X, y = make_frames(n=6, size=80)
    speaker_net.fit(X, y)
    fresh = SpeakerFeatureExtractor(WEIGHTS, n_blocks=2, pooling=None).fit(X).network_.state_dict()
    trained = speaker_net.module_.srext.state_dict()
    changed = {name for name, value in fresh.items() if not torch.equal(value, trained[name])}
    assert changed and all(name.startswith("layer2") for name in changed)
    # Folded batch normalisation depends on the statistics of the weights.
    assert not [name for name in changed if "running" in name]


@pytest.mark.data
def test_weights_check_the_frontend(speaker_net, make_frames):
    X, y = make_frames(n=6, size=80, sample_rate=8000)
    with pytest.raises(ValueError, match="8000"):
        speaker_net.fit(X, y)
    with pytest.raises(ValueError):
        speaker_net.fit(SlidingCMN().fit_transform(make_frames(n=6, size=40)[0]), y)


@pytest.mark.data
def test_routes_agree_on_real_weights_and_speech(speaker_net, net_params, one_start):
    bunch = load_ravdess()
    files = pd.DataFrame(
        {"file": bunch.data[[0, 300, 600, 900]], "start": 1.0, "end": [1.6, 1.9, 1.5, 1.8]}
    )
    X = make_sentiment_pipeline(weights=WEIGHTS)[:3].fit_transform(files)
    y = np.array([-1.0, 0.0, 1.0, 2.0])
    params = {**net_params, **EQUAL, "batch_size": 2}
    net = SpeechSentimentRegressor(**params)
    maps = SpeakerFeatureExtractor(WEIGHTS, n_blocks=2, pooling=None, n_jobs=1).fit_transform(X)
    within = clone(net).set_params(weights=speaker_net.weights, module__n_frozen_blocks=2)
    assert_routes_agree(net, within, X, y, maps, atol=2e-4)
