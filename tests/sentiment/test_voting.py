"""Ordinal classifiers that vote: probabilities, levels, members, weights, rows of NaN."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent import OrdinalClassifier, OrdinalVotingClassifier


@pytest.fixture
def table():
    """60 rows of three features, and levels -2 to 2 that two of them tell."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.clip(np.rint(X[:, 0] + X[:, 1]), -2, 2)
    return X, y


def vote(**params):
    logistic = make_pipeline(StandardScaler(), OrdinalClassifier(LogisticRegression()))
    return OrdinalVotingClassifier([("svm", OrdinalClassifier()), ("lr", logistic)], **params)


def test_log_odds_of_thresholds_are_averaged(table):
    X, y = table
    model = vote(weights=[1, 3]).fit(X, y)
    members = [member.predict_proba(X) for member in model.estimators_]
    first, second = (logit(1 - np.cumsum(proba, axis=1)[:, :-1]) for proba in members)
    mean = (first + 3 * second) / 4
    proba = model.predict_proba(X)
    assert np.allclose(1 - np.cumsum(proba, axis=1)[:, :-1], expit(mean), atol=1e-6)
    assert np.allclose(proba.sum(1), 1) and (proba >= 0).all()
    assert np.array_equal(model.predict(X), model.levels_[(mean > 0).sum(1)])
    assert model.levels_.tolist() == model.classes_.tolist() == [-2, -1, 0, 1, 2]
    assert model.score(X, y) == np.mean(model.predict(X) == y)


def test_decision_values_of_the_default_are_added(table):
    X, y = table
    members = [("a", OrdinalClassifier(C=1)), ("b", OrdinalClassifier(gamma=2.0))]
    model = OrdinalVotingClassifier(members).fit(X, y)
    decisions = [
        np.stack([threshold.decision_function(k) for threshold, k in thresholds], axis=1)
        for thresholds in ([(e, X) for e in member.estimators_] for member in model.estimators_)
    ]
    ordered = [-np.sort(-decision, axis=1) for decision in decisions]
    assert np.array_equal(model.predict(X), model.levels_[(sum(ordered) > 0).sum(1)])


def test_one_member_decides_alone(table):
    X, y = table
    alone = OrdinalClassifier().fit(X, y)
    for model in (vote(weights=[1, 0]), vote().set_params(lr="drop")):
        model.fit(X, y)
        assert np.array_equal(model.predict(X), alone.predict(X))
        assert np.allclose(model.predict_proba(X), alone.predict_proba(X))
    assert list(model.named_estimators_) == ["svm"]
    weighted = vote(weights=[2, 5]).set_params(lr="drop").fit(X, y)
    assert np.allclose(weighted.predict_proba(X), alone.predict_proba(X))


def test_text_has_an_order_of_its_own(table):
    X, y = table
    words = np.array(["terrible", "bad", "neutral", "good", "brilliant"])
    named = words[(y + 2).astype(int)]
    model = vote(levels=words).fit(X, named)
    assert model.levels_.tolist() == words.tolist()
    assert model.classes_.tolist() == sorted(words)
    assert np.array_equal(model.predict(X), words[(vote().fit(X, y).predict(X) + 2).astype(int)])
    category = pd.Series(pd.Categorical(named, categories=words, ordered=True))
    assert np.array_equal(vote().fit(X, category).predict(X), model.predict(X))


def test_levels_that_a_fold_lacks(table):
    X, y = table
    model = vote(levels=[-3, -2, -1, 0, 1, 2])
    with pytest.warns(UserWarning, match="-3"):
        model.fit(X, y)
    assert model.predict_proba(X).shape == (60, 6)
    assert all(len(member.classes_) == 6 for member in model.estimators_)
    other = vote().set_params(svm__levels=[-2, 0, 2])
    with pytest.raises(ValueError, match=r"svm has learned the levels \[-2, 0, 2\], and not"):
        other.fit(X, y)


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, np.nan]])
def test_wrong_weights(table, weights):
    with pytest.raises(ValueError, match="must be 2 numbers from 0"):
        vote(weights=weights).fit(*table)


def test_wrong_members(table):
    with pytest.raises(ValueError, match="non-empty list"):
        OrdinalVotingClassifier([]).fit(*table)
    with pytest.raises(ValueError, match="dropped"):
        vote().set_params(lr="drop", svm="drop").fit(*table)


def test_rows_of_nan(table):
    X, y = table
    X = np.array(X)
    X[3] = np.nan
    members = [(name, OrdinalClassifier(C=C, on_error="nan")) for name, C in (("a", 1), ("b", 9))]
    with pytest.raises(ValueError, match="row 3"):
        vote().fit(X, y)
    with pytest.warns(UserWarning, match="left out of training") as caught:
        model = OrdinalVotingClassifier(members).fit(X, y)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="left out of training") as alone:
        members[0][1].fit(X, y)
    assert alone[0].filename == __file__  # the line that called
    assert np.isnan(model.predict_proba(X)).all(1).tolist() == [row == 3 for row in range(60)]
    with pytest.raises(ValueError, match="No level can be given for row 3"):
        model.predict(X)
    assert np.isnan(model.set_params(on_error="nan").predict(X)).sum() == 1
    for member in model.estimators_:
        member.set_params(on_error="raise")
    for rows, n_warnings in ((X, 1), (X, 1), (np.delete(X, 3, axis=0), 0)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.predict_proba(rows)
        assert len(caught) == n_warnings


def test_weights_of_rows_reach_every_member(table):
    X, y = table
    weight = np.where(np.arange(60) < 40, 1.0, 0.0)
    model = vote().fit(X, y, sample_weight=weight)
    expected = vote().fit(X[:40], y[:40])
    # The scaler of the second member sees all rows.
    first, same = model.estimators_[0], expected.estimators_[0]
    assert np.allclose(first.predict_proba(X), same.predict_proba(X), atol=1e-6)
    assert not np.allclose(model.predict_proba(X), vote().fit(X, y).predict_proba(X), atol=1e-3)


def test_search_clone_and_folds(table):
    X, y = table
    grid = {"svm__C": [0.1, 10], "weights": [None, [1, 3]], "lr": ["drop", OrdinalClassifier()]}
    search = GridSearchCV(vote(), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    again = clone(search.best_estimator_).fit(X, y)
    assert np.array_equal(again.predict(X), search.predict(X))
    assert len(cross_val_predict(vote(), X, y, cv=3)) == 60
