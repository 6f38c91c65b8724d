"""Hold-out and validation data of the networks: speakers, levels, metadata routing."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import Pipeline

from sklearn_speechsent import (
    SlidingCMN,
    SpeechSentimentRegressor,
)


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


def test_groups_and_weights_do_not_reach_the_module(net, data, groups):
    net.fit(*data, groups=groups, sample_weight=np.ones(12))


def test_without_routing_the_net_does_not_get_the_groups(net, data, groups, trained_on):
    net.set_params(early_stopping=True, validation_fraction=0.5)
    result = cross_validate(
        net, *data, groups=groups, cv=GroupKFold(2), scoring="neg_mean_absolute_error"
    )
    assert np.isfinite(result["test_score"]).all()
    # The splitter got the groups and the net did not: its hold-out cuts through speakers.
    assert [len(train) for train, _ in trained_on] == [3, 3]
    speaker = {float(u[0, 0]): g for u, g in zip(data[0], groups, strict=True)}
    for train, valid in trained_on:
        assert {speaker[value] for value in train} & {speaker[value] for value in valid}


def test_with_routing_the_net_gets_the_groups(net, data, groups, trained_on):
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


def test_no_hold_out_without_early_stopping(net, data, trained_on):
    net.fit(*data)
    assert trained_on == [[[float(u[0, 0]) for u in data[0]], None]]


def test_whole_speakers_are_held_out(net, data, groups, trained_on):
    X, y = data
    speaker = {float(u[0, 0]): g for u, g in zip(X, groups, strict=True)}
    net.set_params(early_stopping=True, validation_fraction=0.25).fit(X, y, groups=groups)
    train, valid = ({speaker[value] for value in part} for part in trained_on[0])
    assert len(valid) == 1 and train == set(groups) - valid


def test_hold_out_is_stratified_without_speakers(net, data, trained_on):
    X, y = data
    level = {float(u[0, 0]): label for u, label in zip(X, y, strict=True)}
    net.set_params(early_stopping=True, validation_fraction=0.25)
    for seed in (3, 4):  # with these, a draw without regard to levels would miss one
        net.set_params(random_state=seed).fit(X, y)
        assert sorted(level[value] for value in trained_on[-1][1]) == [-1, 0, 1]


def test_a_single_speaker_cannot_be_held_out(net, data):
    net.set_params(early_stopping=True)
    with pytest.raises(ValueError, match="whole speakers"):
        net.fit(*data, groups=["a"] * 12)


def test_validation_data_through_a_pipeline(net, data, trained_on):
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
