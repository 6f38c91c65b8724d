"""Sentiment blocks that begin as the upper blocks of a speaker network."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklearn_speechsent import (
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.nn import EncoderNetwork, SpeakerResNet
from sklearn_speechsent.pretrained import load_weights, save_weights
from sklearn_speechsent.training.net import UtteranceNet

RECORD = {"sample_rate": 16000, "n_mels": 16, "frame_shift": 0.01, "cmn": "utterance"}
LAYOUT = {"n_mels": 16, "widths": (4, 8, 8, 12), "depths": (1, 1, 2, 1), "embedding_size": 6}
WHOLE, FIRST = ((2, 8), (1, 12)), ((2, 8),)


TRAINING = dict(max_epochs=1, batch_size=4, n_jobs=1, random_state=0)


@pytest.fixture
def frames(make_frames):
    """9 utterances of 16 bins and their levels, recorded as having gone through CMN."""
    return make_frames(n=9, size=16, longest=50, **RECORD)


@pytest.fixture(params=[None, 4], ids=["plain", "squeeze-excitation"])
def weights(request, tmp_path):
    """File of a small speaker network whose normalisations have statistics of their own."""
    layout = {**LAYOUT, "se_ratio": request.param}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = SpeakerResNet(**layout)
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    path = tmp_path / "mine.safetensors"
    save_weights(path, net.state_dict(), architecture=layout, frame_settings=RECORD)
    return path


@pytest.fixture
def warm(weights):
    """Unfitted network above maps of two blocks."""
    return SpeechSentimentRegressor(
        **TRAINING, weights=weights, module__stext=WHOLE, module__stext_init="speaker"
    )


def maps_of(weights, frames, n_blocks=2):
    return SpeakerFeatureExtractor(weights, n_blocks=n_blocks, pooling=None).fit_transform(frames)


def test_the_blocks_begin_as_those_of_the_speaker_network(frames, weights, warm):
    X, y = frames
    maps = maps_of(weights, X)
    for stages in (WHOLE, FIRST):
        net = clone(warm).set_params(module__stext=stages, lr=1e-30).fit(maps, y)
        for row, expected in enumerate(maps_of(weights, X, 2 + len(stages))):
            one = torch.tensor(maps[row]).permute(1, 2, 0)[None]
            with torch.no_grad():
                found, _ = net.module_.stext(one, torch.tensor([len(maps[row])]))
            np.testing.assert_allclose(found[0].permute(2, 0, 1), expected, atol=1e-5)


@pytest.mark.parametrize(("frozen", "tuned"), [(2, 0), (1, 1)])
def test_above_two_blocks_in_the_network(frames, weights, warm, frozen, tuned):
    X, y = frames
    start = load_weights(weights).state
    warm.set_params(module__n_frozen_blocks=frozen, module__n_tuned_blocks=tuned, lr=1e-30)
    module = warm.fit(X, y).module_
    keys = module.stext.speaker_keys(2)
    copied = {keys[key]: tensor for key, tensor in module.stext.state_dict().items()}
    copied |= module.srext.state_dict()
    assert set(copied) == {key for key in start if not key.startswith("seg_1")}
    for key, tensor in copied.items():
        torch.testing.assert_close(tensor, start[key], rtol=0, atol=1e-20, msg=key)


def test_copied_blocks_learn_and_their_normalisation_stays(frames, weights, warm):
    X, y = frames
    start = load_weights(weights).state
    net = warm.fit(maps_of(weights, X), y)
    keys = net.module_.stext.speaker_keys(2)
    state = net.module_.stext.state_dict()
    changed = {key for key, theirs in keys.items() if not torch.equal(state[key], start[theirs])}
    learned = {name for name, _ in net.module_.stext.named_parameters()}
    assert {key for key in learned if "conv" in key} <= changed
    assert not [key for key in changed if "running" in key or "tracked" in key]
    net._set_training(True)
    norms = [module for module in net.module_.stext.modules() if hasattr(module, "running_var")]
    assert norms and not any(norm.training for norm in norms)


def test_weights_of_a_verifier(frames):
    X, y = frames
    layout = {f"module__{k}": v for k, v in LAYOUT.items() if k != "n_mels"}
    params = {**TRAINING, "validation_fraction": 0}
    verifier = SpeakerVerifier(**params, **layout).fit(X, np.repeat([1, 2, 3], 3))
    maps = maps_of(FrozenEstimator(verifier), X)
    net = SpeechSentimentClassifier(
        **TRAINING,
        weights=FrozenEstimator(verifier),
        module__stext=FIRST,
        module__stext_init="speaker",
        module__decoder="stats",
    ).fit(maps, y)
    assert net.predict(maps).shape == (9,)


# -- clone, pickle, search, resume -----------------------------------------------------------------


def test_search_over_initial_values_and_decoders(frames, weights, warm):
    X, y = frames
    maps = maps_of(weights, X)
    grid = {"module__stext_init": [None, "speaker"], "module__decoder": ["cgd", "stats"]}
    search = GridSearchCV(warm, grid, cv=2, error_score="raise").fit(maps, y)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores.tolist())) == 4
    best = search.best_estimator_
    loaded = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(loaded.predict(maps), best.predict(maps))
    again = clone(best).fit(maps, y)
    np.testing.assert_array_equal(again.predict(maps), best.predict(maps))


def test_an_unpickled_network_continues_with_the_same_normalisation(frames, weights, warm):
    maps, y = maps_of(weights, frames[0]), frames[1]
    net = pickle.loads(pickle.dumps(warm.fit(maps, y)))
    before = {k: v.clone() for k, v in net.module_.stext.state_dict().items()}
    after = net.partial_fit(maps, y).module_.stext.state_dict()
    moved = {key for key in after if not torch.equal(after[key], before[key])}
    assert moved and not [key for key in moved if "running" in key]


class Killed(BaseException):
    """Stands for kill -9: no code catches it."""


def test_a_fit_that_was_interrupted_resumes(frames, weights, warm, tmp_path, monkeypatch):
    X, y = frames
    maps = maps_of(weights, X)
    warm.set_params(max_epochs=2, module__dropout=0.2, module__decoder="stats")
    warm.set_params(optimizer__param_groups=[("stext.*", {"lr": 1e-4})])
    whole = clone(warm).fit(maps, y)
    warm.set_params(resume=tmp_path / "fits")
    infer, calls = UtteranceNet.infer, []

    def dying(self, *args, **kwargs):
        calls.append(0)
        if len(calls) == 5:  # in the second epoch
            raise Killed
        return infer(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(UtteranceNet, "infer", dying)
        with pytest.raises(Killed):
            clone(warm).fit(maps, y)
    resumed = clone(warm).fit(maps, y)
    torch.testing.assert_close(
        resumed.module_.state_dict(), whole.module_.state_dict(), rtol=0, atol=0
    )
    assert len(calls) == 5


# -- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"module__stext": 16},
            r"\(\(2, 64\), \(1, 64\)\).*above the second are \(\(2, 8\), \(1, 12",
        ),
        ({"module__stext": 34}, r"\(\(6, 128\), \(3, 256\)\)"),
        ({"module__stext": ((1, 8),)}, "module__stext"),
        ({"module__stext": ((2, 9),)}, "module__stext"),
        ({"module__stext": (*WHOLE, (1, 12))}, "module__stext"),
        ({"module__stext_init": "other"}, "stext_init must be None or 'speaker'"),
        ({"weights": None}, "pass weights="),
        ({"module": EncoderNetwork}, "EncoderNetwork has no speaker blocks"),
    ],
)
def test_parameters_that_do_not_fit(frames, weights, warm, params, message):
    X, y = frames
    with pytest.raises(ValueError, match=message):
        warm.set_params(**params).fit(maps_of(weights, X), y)


def test_input_that_is_not_maps_of_the_second_block(frames, weights, warm):
    X, y = frames
    with pytest.raises(
        ValueError, match=r"of shape \(8, 8\), are needed.*n_blocks=2, pooling=None"
    ):
        warm.fit(X, y)
    with pytest.raises(ValueError, match=r"got frames of shape \(8, 4\) \(.*3 blocks\)"):
        warm.fit(maps_of(weights, X, 3), y)
    maps = maps_of(weights, X)
    maps.frame_settings["srext"] = "another network, 2 blocks"
    with pytest.raises(ValueError, match=r"\(another network, 2 blocks\)"):
        warm.fit(maps, y)
    del maps.frame_settings["srext"]
    warm.fit(maps, y)
    maps.frame_settings["srext"] = "another network, 2 blocks"
    with pytest.raises(ValueError, match="are needed"):
        warm.predict(maps)


@pytest.mark.parametrize("n_tuned", [1, 3])
def test_another_number_of_blocks_in_the_network(frames, warm, n_tuned):
    X, y = frames
    with pytest.raises(ValueError, match=rf"{n_tuned} speaker block.*add up to 2"):
        warm.set_params(module__n_tuned_blocks=n_tuned).fit(X, y)
