"""Learning rates: schedules, and groups of parameters with rates of their own."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_speechsent import SpeechSentimentRegressor

GROUPS = [("stext.*", {"lr": 1e-4})]


class Rates(Callback):
    """Remembers the rates of all groups in each training batch."""

    def on_train_begin(self, net, **kwargs):
        self.rates_ = []

    def on_grad_computed(self, net, **kwargs):
        self.rates_.append([group["lr"] for group in net.optimizer_.param_groups])


@pytest.fixture
def net():
    return SpeechSentimentRegressor(
        max_epochs=5,
        batch_size=3,  # 12 utterances are 4 batches an epoch
        lr_schedule="one-cycle",
        optimizer__param_groups=GROUPS,
        callbacks=[("rates", Rates())],
        n_jobs=1,
        random_state=0,
    )


def rates_of(net):
    return np.array(dict(net.callbacks_)["rates"].rates_)


def test_one_cycle_rises_and_falls_by_the_batch(net, data):
    rates = rates_of(net.fit(*data))
    assert rates.shape == (20, 2)
    np.testing.assert_allclose(rates[:, 0], 0.1 * rates[:, 1])  # in proportion
    done = (np.arange(20) + 0.5) / 20
    np.testing.assert_allclose(rates[:3, 1], 1e-3 * done[:3] / 0.15)
    assert (np.diff(rates[:3, 1]) > 0).all() and (np.diff(rates[3:, 1]) < 0).all()
    # Halfway through the fall it is half of the full rate, at the end next to none.
    assert np.interp(0.575, done, rates[:, 1]) == pytest.approx(0.5e-3, rel=0.01)
    assert 0 < rates[-1, 1] < 0.01e-3
    np.testing.assert_allclose(net.history[:, "event_lr"], rates[3::4, 0])


def test_validation_does_not_count(net, data):
    whole = rates_of(clone(net).fit(*data))
    found = rates_of(net.fit(*data, X_val=data[0], y_val=data[1]))
    np.testing.assert_array_equal(found, whole)


def test_a_cycle_of_a_single_batch(net, data):
    rates = rates_of(net.set_params(max_epochs=1, batch_size=12).fit(*data))
    assert rates.shape == (1, 2) and 0.5e-3 < rates[0, 1] <= 1e-3


@pytest.mark.parametrize("reloaded", [False, True])
def test_partial_fit_begins_a_new_cycle(net, data, reloaded):
    first = rates_of(net.partial_fit(*data))
    assert [group["lr"] for group in net.optimizer_.param_groups] == [1e-4, 1e-3]
    if reloaded:
        net = pickle.loads(pickle.dumps(net))
    net.set_params(max_epochs=3).partial_fit(*data)
    second = rates_of(net)
    assert second.shape == (12, 2) and len(net.history) == 8
    np.testing.assert_allclose(second[0], first[0] * 20 / 12)  # as far into a shorter cycle
    assert second[-1, 1] < 0.01e-3


@pytest.mark.parametrize("schedule", ["milestones", "plateau", None])
def test_groups_under_the_other_schedules(net, data, schedule):
    net.set_params(lr_schedule=schedule).fit(*data)
    rates = rates_of(net)
    np.testing.assert_allclose(rates[:, 0], 0.1 * rates[:, 1])
    assert rates[0].tolist() == [1e-4, 1e-3]
    if schedule == "milestones":
        np.testing.assert_allclose(rates[::4, 1], [1e-3, 1e-3, 1e-3, 1e-4, 1e-4])


def test_a_rate_of_a_group_is_its_own(net, data):
    """Blocks without a rate stay as they begin, the rest learns."""
    net.set_params(optimizer__param_groups=[("stext.*", {"lr": 0.0})])
    start = clone(net).set_params(lr=1e-30).fit(*data).module_.state_dict()
    found = net.fit(*data).module_
    for name, parameter in found.named_parameters():
        same = torch.allclose(parameter, start[name], atol=1e-6, rtol=0)
        assert same == name.startswith("stext"), name


@pytest.mark.parametrize("reloaded", [False, True])
def test_parameters_of_the_optimizer_hold_for_later_fits(net, data, reloaded):
    net.set_params(max_epochs=1, optimizer__param_groups=[]).fit(*data)
    if reloaded:
        net = pickle.loads(pickle.dumps(net))
    changes = {"optimizer__param_groups": GROUPS, "optimizer__weight_decay": 0.1}
    net.set_params(**changes)
    assert {name: net.get_params()[name] for name in changes} == changes
    for method in (net.partial_fit, net.fit):
        groups = method(*data).optimizer_.param_groups
        assert [group["lr"] for group in groups] == [1e-4, 1e-3]
        assert [group["weight_decay"] for group in groups] == [0.1, 0.1]
    np.testing.assert_array_equal(clone(net).fit(*data).predict(data[0]), net.predict(data[0]))


def test_the_norm_of_gradients_is_bounded(net, data):
    norms = []

    class Norms(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            gradients = [p.grad.flatten() for _, p in named_parameters if p.grad is not None]
            norms.append(torch.cat(gradients).norm().item())

    net.set_params(max_gradient_norm=0.05, callbacks=[Norms()]).fit(*data)
    assert len(norms) == 20 and max(norms) <= 0.05 * (1 + 1e-4) and max(norms) > 0.049


@pytest.mark.parametrize("norm", [0, -1.0, "all"])
def test_bounds_that_are_none(net, data, norm):
    with pytest.raises(ValueError, match="max_gradient_norm"):
        net.set_params(max_gradient_norm=norm).fit(*data)
