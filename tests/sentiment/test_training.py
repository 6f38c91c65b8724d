"""Training of the two networks: batches, start, schedule, heads, validation of the input."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.dataset import ValidSplit

from sklearn_speechsent import (
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)
from sklearn_speechsent.metrics.levels import sampling_weights
from sklearn_speechsent.nn import SentimentNetwork
from sklearn_speechsent.training.data import RandomBatches, UtteranceDataset
from sklearn_speechsent.training.net import UtteranceNet

WEIGHTS = "speechsent-seresnet"


class RecordingNetwork(SentimentNetwork):
    """Records the lengths of utterances in training and in prediction."""

    seen: dict[bool, list[int]] = {True: [], False: []}

    def forward(self, x, lengths):
        self.seen[self.training] += lengths.tolist()
        return super().forward(x, lengths)


# -- batches ---------------------------------------------------------------------------------------


def test_sampling_exponent_evens_out_the_levels():
    index = np.repeat([0, 1, 2], [80, 15, 5])
    rng = np.random.RandomState(0)
    for exponent, expected in ((1.0, [1 / 3] * 3), (0.5, np.sqrt([80, 15, 5]))):
        expected = np.array(expected) / np.sum(expected)
        batches = RandomBatches(100, 10, rng, sampling_weights(index, exponent))
        drawn = np.concatenate([np.concatenate(list(batches)) for _ in range(100)])
        frequencies = np.bincount(index[drawn]) / len(drawn)
        np.testing.assert_allclose(frequencies, expected, atol=0.02)


def test_without_sampling_each_epoch_sees_all_once():
    batches = RandomBatches(11, 5, np.random.RandomState(0))
    epoch = list(batches)
    assert sorted(map(len, epoch)) == [3, 4, 4]  # no batch of a single utterance
    assert sorted(np.concatenate(epoch)) == list(range(11))


def test_long_utterances_are_cut_in_training_only(net):
    RecordingNetwork.seen = {True: [], False: []}
    frames = UtteranceFrames.from_arrays(
        [np.random.default_rng(k).normal(size=(n, 8)) for k, n in enumerate((500, 120, 30, 500))],
        frame_settings={"frame_shift": 0.02},
    )
    net.set_params(module=RecordingNetwork, chunk_duration=4.0).fit(frames, [0, 1, 0, 1])
    # Seen once by the optimizer, once to estimate batch normalisation.
    assert sorted(RecordingNetwork.seen[True]) == sorted(2 * [30, 120, 200, 200])
    net.predict(frames)
    assert sorted(RecordingNetwork.seen[False]) == [30, 120, 500, 500]


def test_chunks_are_stretches_of_the_utterance():
    frames = UtteranceFrames.from_arrays([np.arange(100.0)[:, None], np.arange(50.0)[:, None]])
    dataset = UtteranceDataset(frames, chunk=20, rng=np.random.RandomState(0))
    starts = set()
    for _ in range(200):
        x = dataset[np.array([0, 1])][0]["x"].numpy()[:, :, 0]
        np.testing.assert_array_equal(np.diff(x, axis=1), 1)
        starts.add(x[1, 0])
    assert min(starts) == 0 and max(starts) == 30


class BatchRecordingNetwork(SentimentNetwork):
    """Records the batches of prediction."""

    seen: list[torch.Tensor] = []

    def forward(self, x, lengths):
        if not self.training:
            type(self).seen.append(x)
        return super().forward(x, lengths)


def test_predictions_do_not_depend_on_the_order_of_rows(net, rng):
    """To the last bit: rounding depends on the place in a batch, so batches must be the same.

    Without it scikit-learn's check of the order of rows fails by 3e-8 on some processors.
    """
    X, y, order = 3 * rng.normal(size=(70, 8)), np.arange(70) % 3, rng.permutation(70)
    net.set_params(module=BatchRecordingNetwork, batch_size=32).fit(X, y)
    method = net.predict_proba if hasattr(net, "predict_proba") else net.predict
    BatchRecordingNetwork.seen = first = []
    expected = method(X)
    BatchRecordingNetwork.seen = second = []
    np.testing.assert_array_equal(method(X[order]), expected[order])
    assert len(first) == len(second) == 3
    assert all(map(torch.equal, first, second))


# -- start and schedule ----------------------------------------------------------------------------


def test_regression_starts_at_the_median(data, net_params):
    X, _ = data
    y = np.concatenate([np.zeros(4), np.linspace(2.0, 2.6, 7)])
    net = SpeechSentimentRegressor(**{**net_params, "lr": 1e-12}).fit(X[:11], y)
    assert net.module_.heads["regression"].linear.bias.item() == pytest.approx(np.median(y))
    balanced = clone(net).set_params(sampling_exponent=1.0).fit(X, [0.0] * 9 + [1.0, 1.0, 2.0])
    assert balanced.module_.heads["regression"].linear.bias.item() == pytest.approx(1.0)


def test_learning_rate_falls_at_the_milestones(data, net_params):
    net = SpeechSentimentRegressor(**{**net_params, "max_epochs": 7, "lr": 0.5e-3}).fit(*data)
    rates = [0.5e-3] * 5 + [0.5e-4] + [0.5e-5]  # 60 % of 7 epochs are 4.2, 85 % are 5.95
    np.testing.assert_allclose(net.history[:, "event_lr"], rates)


def test_learning_rate_falls_on_a_plateau(data, net_params):
    # Such steps move nothing, so that the loss of the only batch stays where it is.
    params = {**net_params, "max_epochs": 5, "lr": 3e-8, "batch_size": 12}
    params["optimizer"] = torch.optim.SGD
    net = SpeechSentimentRegressor(**params, lr_schedule="plateau", patience=2, spec_augment=False)
    net.fit(*data)
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(3e-9)


@pytest.mark.parametrize("reloaded", [False, True])
def test_partial_fit_continues_at_the_full_rate(net, data, reloaded):
    net.partial_fit(*data)
    assert len(net.history) == 1
    weights = [p.detach().clone() for p in net.module_.parameters()]
    if reloaded:
        net = pickle.loads(pickle.dumps(net))
    net.set_params(lr=2e-3).partial_fit(*data)
    assert net.history[:, "event_lr"] == [1e-3, 2e-3]
    moved = [
        not torch.equal(old, new)
        for old, new in zip(weights, net.module_.parameters(), strict=True)
    ]
    assert any(moved)
    # Adam moves each weight by about the learning rate in a step: training did not start over.
    change = max(
        (o - n).abs().max() for o, n in zip(weights, net.module_.parameters(), strict=True)
    )
    assert change < 10 * 2e-3


@pytest.mark.parametrize("reloaded", [False, True])
def test_warm_start_continues(net, data, reloaded):
    net.set_params(warm_start=True).fit(*data)
    if reloaded:
        net = pickle.loads(pickle.dumps(net))
    net.fit(*data)
    assert len(net.history) == 2
    assert len(net.set_params(warm_start=False).fit(*data).history) == 1


def test_partial_fit_takes_classes(data, net_params):
    X, y = data
    net = SpeechSentimentClassifier(**net_params)
    with pytest.warns(UserWarning, match="level 2"):
        net.partial_fit(X, y, classes=[-1, 0, 1, 2])
    net.partial_fit(X, y + 1)
    np.testing.assert_array_equal(net.classes_, [-1, 0, 1, 2])


# -- heads and views -------------------------------------------------------------------------------


@pytest.mark.parametrize("ordinal", ["coral", "corn", "condor", "clm", "ce", "sord"])
def test_every_ordinal_head_learns(ordinal):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = (y[:, None] - 1.0) * [1.0, -1.0] + 0.2 * rng.normal(size=(90, 2))
    net = SpeechSentimentClassifier(
        ordinal=ordinal,
        max_epochs=6,
        lr=1e-2,
        batch_size=16,
        spec_augment=False,
        n_jobs=1,
        random_state=0,
    ).fit(X, y)
    assert net.score(X, y) > 0.9
    above = 1 - np.cumsum(net.predict_proba(X), axis=1)
    assert (np.diff(above, axis=1) <= 1e-6).all()


def test_views_share_one_network(net, data):
    X, y = data
    net.set_params(two_headed=True).fit(X, y)
    classifier = net.as_classifier() if hasattr(net, "as_classifier") else net
    regressor = net.as_regressor() if hasattr(net, "as_regressor") else net
    assert classifier.module_ is regressor.module_ is net.module_
    outputs = net._outputs(X)
    np.testing.assert_array_equal(regressor.predict(X), outputs["regression"])
    assert set(classifier.predict(X)) <= {-1, 0, 1}
    back = regressor.as_classifier().as_regressor()
    np.testing.assert_array_equal(back.predict(X), regressor.predict(X))
    for view in (classifier, regressor):
        assert clone(view).get_params(deep=False) == view.get_params(deep=False)
        loaded = pickle.loads(pickle.dumps(view))
        np.testing.assert_array_equal(loaded.predict(X), view.predict(X))
        assert clone(view).fit(X, y).predict(X).shape == (12,)


def test_views_need_two_heads(net, data):
    net.fit(*data)
    name = "as_regressor" if hasattr(net, "as_regressor") else "as_classifier"
    with pytest.raises(AttributeError, match="two_headed=True"):
        getattr(net, name)()


def test_prior_correction_by_hand(data, net_params):
    X, _ = data
    y = np.repeat([-1, 0, 1], [7, 4, 1])
    plain = SpeechSentimentClassifier(**net_params, sampling_exponent=1.0).fit(X, y)
    corrected = clone(plain).set_params(prior_correction=True).fit(X, y)
    sampled = plain.predict_proba(X).astype(float)
    # Drawn evenly, so that P_train(c) / P_sampled(c) = 3 P_train(c).
    expected = sampled * (np.array([7, 4, 1]) / 12) / (1 / 3)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(corrected.predict_proba(X), expected, atol=1e-5)
    median = (np.cumsum(expected, axis=1)[:, :-1] < 0.5).sum(axis=1) - 1
    np.testing.assert_array_equal(corrected.predict(X), median)


def test_weights_of_the_losses(data, net_params):
    net = SpeechSentimentRegressor(**net_params, two_headed=True, criterion__ordinal_weight=0.0)
    net.fit(*data)
    bias = net.module_.heads["ordinal"].bias.detach().numpy()
    assert bias == pytest.approx([np.log(2), -np.log(2)], abs=1e-4)  # still at the prior


# -- wrong data and parameters --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 1}, "batch_size"),
        ({"ordinal": "x"}, "ordinal.*coral"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"average_epochs": 0}, "average_epochs"),
        ({"chunk_duration": 0}, "chunk_duration"),
        ({"lr_schedule": "cosine"}, "milestones"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"spec_augment": "yes"}, "spec_augment"),
        ({"module__n_frozen_blocks": 2}, "without pre-trained weights"),
        ({"weights": WEIGHTS}, "module__n_frozen_blocks"),
        ({"weights": "missing", "module__n_frozen_blocks": 1}, "missing"),
    ],
)
def test_wrong_parameters(net, data, params, message, make_frames):
    X, y = data
    with pytest.raises(ValueError, match=message):
        net.set_params(**params).fit(make_frames(size=80)[0] if "weights" in params else X, y)


def test_labels_that_do_not_fit(net, data):
    X, y = data
    with pytest.raises(ValueError, match="inconsistent"):
        net.fit(X, y[:-1])
    with pytest.raises(ValueError, match="NaN"):
        net.fit(X, np.where(y == 1, np.nan, y))
    with pytest.raises(ValueError, match="inconsistent"):
        net.fit(X, y, groups=["a"] * 5)
    with pytest.raises(ValueError, match="two utterances"):
        net.fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="target y is None"):
        net.fit(X, None)


def test_levels_that_do_not_fit(data, net_params):
    X, y = data
    net = SpeechSentimentClassifier(**net_params)
    with pytest.raises(ValueError, match=r"only one class, level 1:"):
        net.fit(X, np.ones(12, dtype=int))
    with pytest.raises(ValueError, match=r"two or more different numbers"):
        clone(net).set_params(levels=np.array([1, 1])).fit(X, y)
    with pytest.raises(ValueError, match="Label 4 in row 3 lies off the scale"):
        clone(net).set_params(levels=[-1, 0, 1]).fit(X, [*y[:3], 4, *y[4:]])
    with pytest.warns(UserWarning, match="at level 2, 3;"):
        clone(net).set_params(levels=[-1, 0, 1, 2, 3]).fit(X, y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_training_frames_must_be_finite(net, data, value):
    X, y = data
    arrays = [u.copy() for u in X]
    arrays[7][3, 2] = value
    with pytest.raises(ValueError, match="row 7"):
        net.fit(arrays, y)


def test_nan_rows_at_prediction(data, net_params):
    X, y = data
    arrays = [u.copy() for u in X]
    arrays[4][:] = np.nan
    regressor = SpeechSentimentRegressor(**net_params).fit(X, y)
    with pytest.warns(UserWarning, match=r"1 of 12 rows are NaN \(row 4\)"):
        predicted = regressor.predict(arrays)
    others = np.arange(12) != 4
    assert np.isnan(predicted[4])
    np.testing.assert_allclose(predicted[others], regressor.predict(X)[others], atol=1e-5)
    classifier = SpeechSentimentClassifier(**net_params).fit(X, y)
    with pytest.raises(ValueError, match="row 4"):
        classifier.predict(arrays)
    with pytest.warns(UserWarning, match="row 4"):
        proba = classifier.predict_proba(arrays)
    assert np.isnan(proba[4]).all() and np.isfinite(proba[others]).all()


def test_all_rows_nan_at_prediction(data, net_params):
    X, y = data
    blank = [np.full((5, 8), np.nan)] * 2
    regressor = SpeechSentimentRegressor(**net_params).fit(X, y)
    with pytest.warns(UserWarning, match="2 of 2 rows are NaN"):
        assert np.isnan(regressor.predict(blank)).all()
    classifier = SpeechSentimentClassifier(**net_params).fit(X, y)
    with pytest.warns(UserWarning, match="2 of 2 rows are NaN"):
        assert np.isnan(classifier.predict_proba(blank)).all()


def test_frames_of_another_size(net, data, make_frames):
    net.fit(*data)
    with pytest.raises(ValueError, match="is expecting 8 features"):
        net.predict(make_frames(size=9)[0])
    with pytest.raises(ValueError, match="expecting"):
        net.predict([np.ones((5, 2, 4))])


def test_infinite_loss_names_the_remedy(data, net_params):
    X, y = data
    net = SpeechSentimentRegressor(**net_params)
    with pytest.raises(FloatingPointError, match="Lower lr"):
        net.fit(X, np.where(y == 1, 3e38, -3e38))


def test_batch_norm_is_estimated_again_after_training(data, net_params, monkeypatch):
    """On a small corpus running averages lag far behind the weights."""
    X, y = data
    net = SpeechSentimentRegressor(
        **{**net_params, "module__stext": 16, "max_epochs": 3, "lr": 0.01}
    )
    estimated = np.abs(clone(net).fit(X, y).predict(X) - y).mean()
    monkeypatch.setattr(UtteranceNet, "_estimate_batch_norm", lambda net, run: None)
    lagging = np.abs(clone(net).fit(X, y).predict(X) - y).mean()
    assert estimated < 0.9 * lagging


@pytest.mark.parametrize(
    "params", [{"train_split": ValidSplit(3)}, {"predict_nonlinearity": None}, {"dataset": list}]
)
def test_parameters_of_skorch_without_effect_are_refused(net, data, params):
    (name,) = params
    with pytest.raises(ValueError, match=name):
        net.set_params(**params).fit(*data)


# -- utterances of NaN -----------------------------------------------------------------------------


def test_utterances_of_nan_are_left_out_and_predicted_as_nan(net, data, rng):
    X, y = data
    arrays = list(X)
    arrays[3] = np.full((1, 8), np.nan, np.float32)
    broken, good = X.with_frames(arrays), np.arange(12) != 3
    extra = {"groups": np.arange(12) % 4, "sample_weight": rng.uniform(0.5, 1, 12)}
    net.set_params(on_error="nan")
    with pytest.warns(UserWarning, match="1 of 12 rows hold NaN"):
        found = clone(net).fit(broken, y, **extra)
    expected = clone(net).fit(X[good], y[good], **{k: v[good] for k, v in extra.items()})
    predicted = found.predict(broken)
    np.testing.assert_array_equal(predicted[good], expected.predict(X[good]))
    assert np.isnan(predicted[3])
