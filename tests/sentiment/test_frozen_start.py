"""Pre-trained blocks that stay as they are until the parts above them have learned."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sklearn_speechsent import (
    SpeakerFeatureExtractor,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.nn import SpeakerResNet
from sklearn_speechsent.pretrained import save_weights
from sklearn_speechsent.training.net import UtteranceNet

RECORD = {"sample_rate": 16000, "n_mels": 16, "frame_shift": 0.01, "cmn": "utterance"}
LAYOUT = {
    "n_mels": 16,
    "widths": (4, 8, 8),
    "depths": (1, 1, 2),
    "embedding_size": 6,
    "se_ratio": None,
}


class Steps(Callback):
    """Remembers weights after each epoch, and which gradients there were in each step."""

    def on_train_begin(self, net, **kwargs):
        self.epochs_, self.gradients_ = [self._weights(net)], []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.gradients_.append({name for name, p in named_parameters if p.grad is not None})

    def on_epoch_end(self, net, **kwargs):
        self.epochs_.append(self._weights(net))

    def _weights(self, net):
        return {name: p.detach().clone() for name, p in net.module_.named_parameters()}


@pytest.fixture
def frames(make_frames):
    """9 utterances of 16 bins and their levels, recorded as having gone through CMN."""
    return make_frames(n=9, size=16, longest=50, **RECORD)


@pytest.fixture
def weights(tmp_path):
    """File of a small speaker network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        state = SpeakerResNet(**LAYOUT).state_dict()
    path = tmp_path / "mine.safetensors"
    save_weights(path, state, architecture=LAYOUT, frame_settings=RECORD)
    return path


@pytest.fixture
def maps(frames, weights):
    X, y = frames
    return SpeakerFeatureExtractor(weights, n_blocks=2, pooling=None).fit_transform(X), y


@pytest.fixture
def net(weights):
    """Unfitted network of copied blocks, which learn from the third epoch on."""
    return SpeechSentimentRegressor(
        max_epochs=4,
        frozen_epochs=2,
        batch_size=5,
        lr=1e-2,
        n_jobs=1,
        random_state=0,
        weights=weights,
        module__stext=((2, 8),),
        module__stext_init="speaker",
        module__decoder="stats",
        callbacks=[("steps", Steps())],
    )


def steps_of(net):
    return dict(net.callbacks_)["steps"]


def changed(net):
    """Names of the weights that each epoch changed."""
    epochs = steps_of(net).epochs_
    return [
        {name for name in after if not torch.equal(before[name], after[name])}
        for before, after in itertools.pairwise(epochs)
    ]


def parts(names):
    return {name.split(".")[0] for name in names}


def test_blocks_stay_and_then_learn(net, maps):
    net.fit(*maps)
    above = {"decoders", "heads"}
    assert [parts(names) for names in changed(net)] == [above] * 2 + [{*above, "stext"}] * 2
    gradients = [parts(names) for names in steps_of(net).gradients_]
    assert gradients == [above] * 4 + [{*above, "stext"}] * 4  # two batches an epoch
    assert all(p.requires_grad for p in net.module_.parameters())


@pytest.mark.parametrize("n_frozen", [0, 1])
def test_tuned_blocks_in_the_network(net, frames, n_frozen):
    net.set_params(module__stext_init=None, module__stext=((1, 4),))
    net.set_params(module__n_frozen_blocks=n_frozen, module__n_tuned_blocks=2 - n_frozen)
    net.fit(*frames)
    first, _, third, _ = changed(net)
    assert parts(first) == {"stext", "decoders", "heads"}  # drawn blocks learn at once
    learned = {name for name in third if name.startswith("srext")}
    assert "srext.layer2.0.conv1.weight" in learned
    lowest = {"srext.conv1.weight", "srext.layer1.0.conv1.weight"}
    assert lowest & learned == (set() if n_frozen else lowest)
    frozen = {n for n, p in net.module_.named_parameters() if not p.requires_grad}
    assert bool(frozen) == (n_frozen == 1)
    assert not frozen & learned


def test_without_pretrained_blocks_it_changes_nothing(frames):
    X, y = frames
    params = dict(max_epochs=2, batch_size=5, n_jobs=1, random_state=0)
    whole = SpeechSentimentRegressor(**params).fit(X, y).predict(X)
    frozen = SpeechSentimentRegressor(frozen_epochs=1, **params).fit(X, y).predict(X)
    np.testing.assert_array_equal(frozen, whole)


def test_blocks_that_never_learn(net, maps):
    net.set_params(frozen_epochs=9).fit(*maps)
    assert all(parts(names) == {"decoders", "heads"} for names in changed(net))


def test_epochs_count_over_calls(net, maps):
    net.set_params(max_epochs=1)
    learned = [parts(changed(net.partial_fit(*maps))[0]) for _ in range(3)]
    assert ["stext" in names for names in learned] == [False, False, True]
    again = pickle.loads(pickle.dumps(net)).partial_fit(*maps)
    assert "stext" in parts(changed(again)[0])
    net.fit(*maps)  # from the start
    assert "stext" not in parts(changed(net)[0])


def test_the_mean_of_epochs_is_that_of_all_weights(net, maps):
    net.set_params(average_epochs=3).fit(*maps)
    last = steps_of(net).epochs_[-3:]
    for name, parameter in net.module_.named_parameters():
        mean = torch.stack([weights[name] for weights in last]).mean(0)
        torch.testing.assert_close(parameter, mean, atol=1e-6, rtol=1e-5, msg=name)


def test_search_and_clone(net, maps):
    net.set_params(callbacks=None)
    search = GridSearchCV(net, {"frozen_epochs": [0, 2]}, cv=2, error_score="raise").fit(*maps)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    best = search.best_estimator_
    again = clone(best).fit(*maps)
    np.testing.assert_array_equal(again.predict(maps[0]), best.predict(maps[0]))


class Killed(BaseException):
    """Stands for kill -9: no code catches it."""


@pytest.mark.parametrize("n_steps", [2, 4, 6])  # in a frozen epoch, between the two, after them
def test_a_fit_that_was_interrupted_resumes(net, maps, tmp_path, monkeypatch, n_steps):
    net.set_params(callbacks=None)
    whole = clone(net).fit(*maps)
    net.set_params(resume=tmp_path / "fits")
    infer, calls = UtteranceNet.infer, []

    def dying(self, *args, **kwargs):
        calls.append(0)
        if len(calls) == n_steps:
            raise Killed
        return infer(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(UtteranceNet, "infer", dying)
        with pytest.raises(Killed):
            clone(net).fit(*maps)
    resumed = clone(net).fit(*maps)
    assert all(p.requires_grad for p in resumed.module_.parameters())
    torch.testing.assert_close(
        resumed.module_.state_dict(), whole.module_.state_dict(), rtol=0, atol=0
    )


@pytest.mark.parametrize("value", [-1, 1.5, "2"])
def test_parameters_that_are_none(frames, value):
    with pytest.raises(ValueError, match="frozen_epochs"):
        SpeechSentimentClassifier(frozen_epochs=value).fit(*frames)
