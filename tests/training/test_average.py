"""Weights that are the mean of the last epochs."""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, Freezer, Unfreezer

from sklearn_speechsent import SpeechSentimentClassifier, SpeechSentimentRegressor


class Weights(Callback):
    """Remembers the weights after each epoch."""

    def on_train_begin(self, net, **kwargs):
        self.epochs_ = []

    def on_epoch_end(self, net, **kwargs):
        weights = {name: p.detach().clone() for name, p in net.module_.named_parameters()}
        self.epochs_.append(weights)


@pytest.fixture
def net():
    return SpeechSentimentRegressor(
        max_epochs=5,
        average_epochs=3,
        batch_size=12,  # all of the data
        lr=1e-2,
        chunk_duration=None,
        spec_augment=False,
        callbacks=[("weights", Weights())],
        n_jobs=1,
        random_state=0,
    )


def assert_means(net, last):
    for name, parameter in net.module_.named_parameters():
        found = torch.stack([weights[name] for weights in last])
        torch.testing.assert_close(parameter, found.mean(0), atol=1e-6, rtol=1e-5, msg=name)
        assert found.std(0).max() > 1e-5, name  # there is something to average


def epochs_of(net):
    return dict(net.callbacks_)["weights"].epochs_


@pytest.mark.parametrize("n_epochs", [3, 9])
def test_the_network_ends_with_the_mean(net, data, n_epochs):
    net.set_params(average_epochs=n_epochs).fit(*data)
    assert_means(net, epochs_of(net)[-n_epochs:])
    net.partial_fit(*data)
    assert len(epochs_of(net)) == 5  # of this call alone
    assert_means(net, epochs_of(net)[-n_epochs:])


def test_weights_that_learn_in_some_of_the_epochs(net, data):
    thaw = [("freeze", Freezer("stext.*")), ("thaw", Unfreezer("stext.*", at=5))]
    net.set_params(callbacks=[*net.callbacks, *thaw]).fit(*data)
    third, fourth, fifth = epochs_of(net)[-3:]
    for name, parameter in net.module_.named_parameters():
        if name.startswith("stext"):
            assert torch.equal(third[name], fourth[name])
            mean = fourth[name] + (fifth[name] - fourth[name]) / 3
            torch.testing.assert_close(parameter, mean, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("validated", [False, True])
def test_batch_normalisation_is_that_of_the_mean(net, data, validated):
    X, y = data
    net.fit(X, y, **(dict(X_val=X, y_val=y) if validated else {}))
    again = copy.deepcopy(net.module_).train()
    norms = [module for module in again.modules() if hasattr(module, "running_var")]
    for norm in norms:
        norm.momentum = 1.0
    batch = torch.nn.utils.rnn.pad_sequence([torch.tensor(u) for u in X], batch_first=True)
    with torch.no_grad():
        again(batch, torch.tensor(X.lengths))
    expected = again.state_dict()
    for name, value in net.module_.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3, msg=name)
    assert not net.module_.training


def test_one_epoch_is_the_last(net, data):
    last = net.set_params(average_epochs=1).fit(*data).predict(data[0])
    net.set_params(average_epochs=4).fit(*data)
    assert np.abs(net.predict(data[0]) - last).max() > 1e-3


def test_not_with_early_stopping(data):
    net = SpeechSentimentClassifier(average_epochs=2, early_stopping=True)
    with pytest.raises(ValueError, match=r"average_epochs=2.*use one of the two"):
        net.fit(*data)
