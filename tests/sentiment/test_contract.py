"""Networks under the contract of scikit-learn: parameters, inputs, outputs, pickles."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_speechsent import (
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.nn import RegressionHead


def test_private_attributes_are_not_parameters(net, data):
    """scikit-learn sets some on estimators, and skorch takes such attributes for parameters."""
    names = set(net.get_params(deep=False))
    net.fit(*data)
    net._parent_callback_ctx = object()  # as a search does
    assert set(net.get_params(deep=False)) == names
    assert not hasattr(clone(net), "_parent_callback_ctx")


def test_nothing_inferred_becomes_a_parameter(net, data):
    names = set(net.get_params())
    net.fit(*data)
    assert set(net.get_params()) == names
    assert net.module_.in_frequencies == 8
    again = clone(net).fit([np.ones((5, 4)) * k for k in range(4)], [0, 1, 0, 1])
    assert again.module_.in_frequencies == 4


def test_targets_do_not_broadcast(data, net_params, monkeypatch):
    """The loss compares each utterance with its own label, also where y is a column."""
    shapes, loss = [], RegressionHead.loss

    def spy(self, prediction, target):
        shapes.append((len(prediction), prediction.shape, target.shape))
        return loss(self, prediction, target)

    monkeypatch.setattr(RegressionHead, "loss", spy)
    X, y = data
    flat = SpeechSentimentRegressor(**net_params).fit(X, y)
    with pytest.warns(Warning, match="1d array"):
        column = SpeechSentimentRegressor(**net_params).fit(X, y[:, None])
    assert len(shapes) == 6 and all(p == t == (n,) for n, p, t in shapes)
    np.testing.assert_array_equal(flat.predict(X), column.predict(X))
    assert flat.predict(X).shape == (12,)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_frames_of_any_number_type(net, data, dtype):
    X, y = data
    X = [(10 * utterance).astype(dtype) for utterance in X]
    assert net.fit(X, y.astype(float)).predict(X).shape == (12,)
    assert next(net.module_.parameters()).dtype == torch.float32


def test_a_pandas_table_and_its_column_names(net, rng):
    table = pd.DataFrame(rng.normal(size=(8, 3)), columns=["a", "b", "c"])
    y = pd.Series(np.arange(8) % 2, index=range(10, 18))
    net.fit(table, y)
    assert list(net.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(
        net.predict(table), clone(net).fit(table, y.to_numpy()).predict(table)
    )
    with pytest.raises(ValueError, match="feature names"):
        net.predict(table[["b", "a", "c"]])


def test_pandas_output_of_the_step_before(net, rng):
    pipeline = Pipeline([("scale", StandardScaler()), ("net", net)]).set_output(transform="pandas")
    X = pd.DataFrame(rng.normal(size=(8, 3)), columns=["a", "b", "c"])
    assert pipeline.fit(X, np.arange(8) % 2).predict(X).shape == (8,)


def test_levels_are_decoded(data, net_params):
    X, y = data
    net = SpeechSentimentClassifier(**net_params).fit(X, 3 * y)
    np.testing.assert_array_equal(net.classes_, [-3, 0, 3])
    index = (np.cumsum(net.predict_proba(X), axis=1)[:, :-1] < 0.5).sum(axis=1)
    np.testing.assert_array_equal(net.predict(X), np.array([-3, 0, 3])[index])


def test_probabilities_of_an_unpickled_net(data, net_params):
    X, y = data
    net = pickle.loads(pickle.dumps(SpeechSentimentClassifier(**net_params).fit(X, y)))
    proba = net.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert (proba >= 0).all()


def test_lists_and_object_arrays_are_the_same_as_frames(net, data):
    X, y = data
    objects = np.empty(12, dtype=object)
    objects[:] = list(X)
    expected = clone(net).fit(X, y).predict(X)
    for same in (objects, list(X)):
        np.testing.assert_array_equal(clone(net).fit(same, y).predict(same), expected)


def test_a_regressor_has_no_probabilities(net_params):
    regressor, classifier = SpeechSentimentRegressor(), SpeechSentimentClassifier()
    assert is_regressor(regressor) and not hasattr(regressor, "predict_proba")
    assert is_classifier(classifier) and hasattr(classifier, "predict_proba")


def test_pickles_hold_no_training_state(net, data):
    net.set_params(max_epochs=2, lr_schedule="plateau").fit(*data)
    content = pickle.dumps(net)
    assert b"torch.optim.lr_scheduler" not in content
    loaded = pickle.loads(content)
    assert not hasattr(loaded, "optimizer_") and not hasattr(loaded, "callbacks_")
    np.testing.assert_array_equal(loaded.predict(data[0]), net.predict(data[0]))
    assert hasattr(net, "optimizer_")  # training of the original can continue


def test_the_number_of_threads_is_restored(net, data):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        net.set_params(n_jobs=1).fit(*data).predict(data[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_without_random_state_every_fit_has_a_new_seed(net, data, early_stopping):
    net.set_params(random_state=None, early_stopping=early_stopping, validation_fraction=0.25)
    method = "predict_proba" if hasattr(net, "predict_proba") else "predict"
    first, second = (getattr(clone(net).fit(*data), method)(data[0]) for _ in range(2))
    assert not np.allclose(first, second)
    assert not np.allclose(getattr(net.fit(*data), method)(data[0]), first)
    third = getattr(net.fit(*data), method)(data[0])
    assert not np.allclose(third, second)  # also of one estimator that is fitted again


class Pickled(Callback):
    """Pickles the net after an epoch."""

    def on_epoch_end(self, net, **kwargs):
        assert net._run_ is not None
        self.content_ = pickle.dumps(net)


def test_nothing_is_left_of_the_run_of_a_fit(net, data):
    X, y = data
    net.set_params(callbacks=[("pickled", Pickled())]).fit(X, y)
    content = dict(net.callbacks_)["pickled"].content_
    assert "_run_" not in vars(net) and "_run_" not in vars(pickle.loads(content))
    net.set_params(callbacks=None, lr=1e30, max_epochs=5)
    with pytest.raises(FloatingPointError):
        net.fit(X, y)
    assert "_run_" not in vars(net)


def test_early_stopping_writes_no_file(net, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net.set_params(early_stopping=True, validation_fraction=0.25, max_epochs=2).fit(*data)
    assert list(tmp_path.iterdir()) == []


def test_the_batch_size_does_not_change_predictions(net, data):
    X, y = data
    net.fit(X, y)
    method = "predict" if is_regressor(net) else "predict_proba"
    together = getattr(net.set_params(batch_size=12), method)(X)
    apart = getattr(net.set_params(batch_size=2), method)(X)
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_biases_start_at_the_prior_and_are_finite(data, net_params):
    """Log-odds of the prior, also for levels that do not occur, inside and at the end."""
    X, _ = data
    y = np.repeat([-1, 0, 2], [6, 3, 3])
    net = SpeechSentimentClassifier(**{**net_params, "lr": 1e-12}, levels=[-1, 0, 1, 2, 3])
    with pytest.warns(UserWarning, match="level 1, 3;"):
        net.fit(X, y)
    bias = net.module_.heads["ordinal"].bias.detach().numpy()
    np.testing.assert_allclose(bias[:3], [0.0, np.log(3 / 9), np.log(3 / 9)], atol=2e-3)
    assert -12 < bias[3] < -8
    assert np.isfinite(net.predict_proba(X)).all()
