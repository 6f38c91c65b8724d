"""The measured traps of skorch inside scikit-learn, each by its number."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring

from sklearn_speechsent import (
    SlidingCMN,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)
from sklearn_speechsent.metrics import get_scorer


@pytest.fixture
def trained_on(monkeypatch):
    """Number of utterances, and set of first values, of each training and validation set."""
    seen = []
    original = SpeechSentimentRegressor.get_split_datasets

    def spy(self, X, y=None, **fit_params):
        train, valid = original(self, X, y, **fit_params)
        seen.append(
            [None if part is None else [float(u[0, 0]) for u in part.X] for part in (train, valid)]
        )
        return train, valid

    monkeypatch.setattr(
        "sklearn_speechsent.sentiment.net.SpeechSentimentNet.get_split_datasets", spy
    )
    return seen


@pytest.fixture
def groups():
    return np.repeat(["a", "b", "c", "d"], 3)


def test_trap_1_names_of_parameters(net, data):
    names = set(net.get_params(deep=False))
    net.fit(*data)
    assert set(net.get_params(deep=False)) == names
    assert not [name for name in clone(net).get_params() if name.startswith("_")]


def test_trap_2_nothing_inferred_becomes_a_parameter(net, data):
    net.fit(*data)
    assert not [name for name in net.get_params() if name.startswith("module__")]
    assert net.module_.in_frequencies == 8
    again = clone(net).fit([np.ones((5, 4)) * k for k in range(4)], [0, 1, 0, 1])
    assert again.module_.in_frequencies == 4


def test_trap_4_targets_do_not_broadcast(data, net_params):
    X, y = data
    flat = SpeechSentimentRegressor(**net_params).fit(X, y)
    with pytest.warns(Warning, match="1d array"):
        column = SpeechSentimentRegressor(**net_params).fit(X, y[:, None])
    np.testing.assert_array_equal(flat.predict(X), column.predict(X))
    assert flat.predict(X).shape == (12,)
    # The loss of an epoch is the mean over utterances, not over all pairs.
    net = clone(flat).set_params(lr=1e-12, chunk_duration=None, spec_augment=False).fit(X, y)
    assert net.history[-1]["train_loss"] == pytest.approx(np.abs(y).mean(), rel=0.5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_trap_5_any_number_type(net, data, dtype):
    X, y = data
    X = [(10 * utterance).astype(dtype) for utterance in X]
    assert net.fit(X, y.astype(float)).predict(X).shape == (12,)
    assert next(net.module_.parameters()).dtype == torch.float32


def test_trap_5_pandas_table(net, rng):
    table = pd.DataFrame(rng.normal(size=(8, 3)), columns=["a", "b", "c"])
    y = pd.Series(np.arange(8) % 2, index=range(10, 18))
    net.fit(table, y)
    assert list(net.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(
        net.predict(table), clone(net).fit(table, y.to_numpy()).predict(table)
    )
    with pytest.raises(ValueError, match="feature names"):
        net.predict(table[["b", "a", "c"]])


def test_trap_5_pandas_output_upstream(net, rng):
    pipeline = Pipeline([("scale", StandardScaler()), ("net", net)]).set_output(transform="pandas")
    X = pd.DataFrame(rng.normal(size=(8, 3)), columns=["a", "b", "c"])
    assert pipeline.fit(X, np.arange(8) % 2).predict(X).shape == (8,)


def test_trap_6_levels_are_decoded(data, net_params):
    X, y = data
    net = SpeechSentimentClassifier(**net_params).fit(X, 3 * y)
    np.testing.assert_array_equal(net.classes_, [-3, 0, 3])
    assert set(net.predict(X)) <= {-3, 0, 3}


def test_trap_7_probabilities_need_no_named_nonlinearity(data, net_params):
    X, y = data
    net = pickle.loads(pickle.dumps(SpeechSentimentClassifier(**net_params).fit(X, y)))
    proba = net.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert (proba >= 0).all()


def test_trap_8_groups_do_not_reach_the_module(net, data, groups):
    net.fit(*data, groups=groups, sample_weight=np.ones(12))


def test_trap_8_groups_without_routing(net, data, groups, trained_on):
    net.set_params(early_stopping=True, validation_fraction=0.5)
    result = cross_validate(
        net, *data, groups=groups, cv=GroupKFold(2), scoring="neg_mean_absolute_error"
    )
    assert np.isfinite(result["test_score"]).all()
    # The splitter saw the groups and the net did not: its hold-out is stratified.
    assert [len(train) for train, _ in trained_on] == [3, 3]


def test_trap_8_groups_through_routing(net, data, groups, trained_on):
    X, y = data
    speaker = {float(u[0, 0]): g for u, g in zip(X, groups, strict=True)}
    with config_context(enable_metadata_routing=True):
        net.set_params(early_stopping=True, validation_fraction=0.5).set_fit_request(groups=True)
        search = GridSearchCV(
            net, {"lr": [1e-3]}, cv=GroupKFold(2), scoring="neg_mean_absolute_error"
        )
        search.fit(X, y, groups=groups)
        result = cross_validate(
            net,
            X,
            y,
            cv=GroupKFold(2),
            params={"groups": groups},
            scoring="neg_mean_absolute_error",
        )
    assert np.isfinite(result["test_score"]).all()
    assert len(trained_on) == 2 + 1 + 2
    for train, valid in trained_on:
        assert not {speaker[value] for value in train} & {speaker[value] for value in valid}


def test_trap_9_no_hold_out_unless_asked_for(net, data, trained_on):
    net.fit(*data)
    assert trained_on == [[[float(u[0, 0]) for u in data[0]], None]]


def test_trap_9_hold_out_of_whole_speakers(net, data, groups, trained_on):
    X, y = data
    speaker = {float(u[0, 0]): g for u, g in zip(X, groups, strict=True)}
    net.set_params(early_stopping=True, validation_fraction=0.25).fit(X, y, groups=groups)
    train, valid = ({speaker[value] for value in part} for part in trained_on[0])
    assert len(valid) == 1 and train == set(groups) - valid


def test_trap_9_hold_out_is_stratified_without_speakers(net, data, trained_on):
    X, y = data
    level = {float(u[0, 0]): label for u, label in zip(X, y, strict=True)}
    net.set_params(early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert sorted(level[value] for value in trained_on[0][1]) == [-1, 0, 1]


def test_trap_9_one_speaker_cannot_be_held_out(net, data):
    net.set_params(early_stopping=True)
    with pytest.raises(ValueError, match="whole speakers"):
        net.fit(*data, groups=["a"] * 12)


def test_trap_10_ragged_inputs_are_the_same(net, data):
    X, y = data
    objects = np.empty(12, dtype=object)
    objects[:] = list(X)
    expected = clone(net).fit(X, y).predict(X)
    for same in (objects, list(X)):
        np.testing.assert_array_equal(clone(net).fit(same, y).predict(same), expected)


def test_trap_11_a_regressor_has_no_probabilities(net_params):
    regressor, classifier = SpeechSentimentRegressor(), SpeechSentimentClassifier()
    assert is_regressor(regressor) and not hasattr(regressor, "predict_proba")
    assert is_classifier(classifier) and hasattr(classifier, "predict_proba")


@pytest.mark.parametrize(
    "scoring", ["neg_mean_absolute_error", get_scorer("concordance_correlation")]
)
def test_trap_11_scoring_callbacks(net, data, scoring):
    X, y = data
    callback = EpochScoring(scoring, name="score", lower_is_better=False)
    net.set_params(callbacks=[("score", callback)])
    net.fit(X, y, X_val=X[6:], y_val=y[6:])
    score = scoring if callable(scoring) else get_scorer(scoring)
    assert net.history[-1]["score"] == pytest.approx(score(net, X[6:], y[6:]), abs=1e-6)


def test_trap_12_pickles_hold_no_training_state(net, data):
    net.set_params(max_epochs=2, lr_schedule="plateau").fit(*data)
    content = pickle.dumps(net)
    assert b"torch.optim.lr_scheduler" not in content
    loaded = pickle.loads(content)
    assert not hasattr(loaded, "optimizer_") and not hasattr(loaded, "callbacks_")
    np.testing.assert_array_equal(loaded.predict(data[0]), net.predict(data[0]))
    assert hasattr(net, "optimizer_")  # the original can go on


def test_trap_14_set_output_reaches_past_frames(net, data):
    pipeline = Pipeline([("cmn", SlidingCMN()), ("net", net)]).set_output(transform="pandas")
    assert isinstance(pipeline[:-1].fit_transform(data[0]), UtteranceFrames)
    assert pipeline.fit(*data).predict(data[0]).shape == (12,)


def test_trap_17_search_in_processes(net, data):
    search = GridSearchCV(
        net, {"lr": [1e-3, 1e-2]}, cv=2, n_jobs=2, scoring="neg_mean_absolute_error"
    )
    search.fit(*data)
    alone = clone(search).set_params(n_jobs=None).fit(*data)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=1e-5
    )


def test_trap_17_threads_are_put_back(net, data):
    before = torch.get_num_threads()
    net.set_params(n_jobs=1).fit(*data)
    assert torch.get_num_threads() == before


def test_trap_17_shared_devices_warn(net, monkeypatch):
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    net.set_params(device="cuda")
    with pytest.warns(UserWarning, match="share one device"):
        net._check_device_sharing()


def test_trap_18_early_stopping_writes_no_file(net, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net.set_params(early_stopping=True, validation_fraction=0.25, max_epochs=2).fit(*data)
    assert list(tmp_path.iterdir()) == []


def test_trap_20_validation_data_through_a_pipeline(net, data, trained_on):
    X, y = data
    with config_context(enable_metadata_routing=True):
        net.set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("cmn", SlidingCMN(window=None)), ("net", net)], transform_input=["X_val"]
        )
        pipeline.fit(X[:8], y[:8], X_val=X[8:], y_val=y[8:])
    transformed = [float(u[0, 0]) for u in SlidingCMN(window=None).fit_transform(X[8:])]
    assert trained_on[0][1] == pytest.approx(transformed)
    assert np.isfinite(net.history[-1]["valid_loss"])


def test_trap_22_padding_in_one_batch(net, data):
    X, y = data
    net.fit(X, y)
    method = "predict" if is_regressor(net) else "predict_proba"
    together = getattr(net.set_params(batch_size=12), method)(X)
    apart = getattr(net.set_params(batch_size=2), method)(X)
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_trap_25_and_26_biases_start_at_the_prior(data, net_params):
    """Log-odds of the prior, and finite for a level that does not occur."""
    X, _ = data
    y = np.repeat([-1, 0, 2], [6, 3, 3])
    net = SpeechSentimentClassifier(**{**net_params, "lr": 1e-12}, levels=[-1, 0, 1, 2])
    with pytest.warns(UserWarning, match="level 1;"):
        net.fit(X, y)
    bias = net.module_.heads["ordinal"].bias.detach().numpy()
    np.testing.assert_allclose(bias, [0.0, np.log(3 / 9), np.log(3 / 9)], atol=2e-3)
    assert np.isfinite(net.predict_proba(X)).all()


def test_trap_27_meta_estimators_that_take_the_container(data, net_params):
    X, y = data
    net = SpeechSentimentRegressor(**net_params)
    y = y.astype(float)
    for meta in (
        VotingRegressor([("a", net), ("b", net)]),
        StackingRegressor([("a", net)], cv=2),
        TransformedTargetRegressor(net, func=np.arctanh, inverse_func=np.tanh, check_inverse=False),
    ):
        target = y / 2 if isinstance(meta, TransformedTargetRegressor) else y
        assert meta.fit(X, target).predict(X).shape == (12,)


def test_trap_27_meta_estimators_that_refuse_it(data, net_params):
    X, y = data
    with pytest.raises((TypeError, ValueError)):
        BaggingRegressor(SpeechSentimentRegressor(**net_params), 2).fit(X, y)
    with pytest.raises((TypeError, ValueError)):
        FeatureUnion([("cmn", SlidingCMN())]).fit_transform(X)


def test_trap_28_scorers_with_a_fixed_scale(data, net_params):
    X, _ = data
    y = np.repeat([-1, 0, 1], [5, 5, 2])
    net = SpeechSentimentClassifier(**net_params, levels=[-1, 0, 1])
    fold = net.fit(X, y)
    scorer = get_scorer("neg_ranked_probability_error", levels=[-1, 0, 1])
    assert np.isfinite(scorer(fold, X[:5], y[:5]))
    assert fold.predict_proba(X[:5]).shape == (5, 3)
