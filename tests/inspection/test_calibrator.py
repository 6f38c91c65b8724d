"""Calibration on held-out speakers: what it learns, whom it hears, where it goes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_speechsent import (
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    WaveformPerturbation,
    make_sentiment_pipeline,
    sentiment_timeline,
)
from sklearn_speechsent.inference.scoring import fitted_levels
from sklearn_speechsent.inspection import (
    OrdinalCalibrator,
    cross_val_ordinal,
    threshold_calibration,
)
from sklearn_speechsent.inspection.thresholds import log_odds
from sklearn_speechsent.metrics import ranked_probability_error

LEVELS = np.array([-1, 0, 1])


class Boastful(ClassifierMixin, BaseEstimator):
    """Knows the cumulative probabilities of its only feature, and says them too surely."""

    def __init__(self, surer=3.0):
        self.surer = surer

    def fit(self, X, y):
        self.classes_ = LEVELS
        return self

    def predict_proba(self, X):
        above = expit(self.surer * (X[:, :1] - [-1, 1]))
        return np.diff(-np.pad(above, ((0, 0), (1, 1)), constant_values=(1, 0)))[:, :3]

    def predict(self, X):
        return LEVELS[self.predict_proba(X).argmax(axis=1)]


def drawn(rng, n):
    """Features, levels with the probabilities of Boastful(1), speakers."""
    X = 2 * rng.normal(size=(n, 1))
    above = expit(X - [-1, 1])
    y = LEVELS[(rng.random((n, 1)) < above).sum(axis=1)]
    return X, y, np.arange(n) % 20


@pytest.fixture
def table(rng):
    y, speakers = np.tile(LEVELS, 40), np.repeat(np.arange(12), 10)
    return y[:, None] + 0.8 * rng.normal(size=(120, 3)), y, speakers


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_what_is_said_too_surely_is_corrected(rng, method):
    X, y, speakers = drawn(rng, 4000)
    model = OrdinalCalibrator(Boastful(), method=method).fit(X, y, groups=speakers)
    X, y, _ = drawn(rng, 4000)
    before = threshold_calibration(y, Boastful().fit(X, y).predict_proba(X), LEVELS)
    after = threshold_calibration(y, model.predict_proba(X), LEVELS)
    assert before.error > 0.05 and after.error < 1.7 * after.perfect
    assert after.ranked_probability_error < before.ranked_probability_error
    # The true probabilities are known.
    np.testing.assert_allclose(
        model.predict_proba(X), Boastful(1.0).fit(X, y).predict_proba(X), atol=0.12
    )


def test_it_is_fitted_on_what_others_say_about_held_out_speakers(table):
    """By hand: log-odds out of fold, one function per threshold, the last model on all rows."""
    X, y, speakers = table
    inner = OrdinalClassifier(levels=LEVELS)
    model = OrdinalCalibrator(inner, method="isotonic", cv=GroupKFold(4))
    model.fit(X, y, groups=speakers)
    frame = cross_val_ordinal(inner, X, y, groups=speakers, cv=GroupKFold(4))
    odds = log_odds(frame.filter(like="p(").to_numpy())
    final = inner.fit(X, y)
    now, above = log_odds(final.predict_proba(X)), []
    for k in range(2):
        function = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        above.append(function.fit(odds[:, k], y > LEVELS[k]).predict(now[:, k]))
    above = np.sort(above, axis=0)[::-1]
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba[:, 2], above[1], atol=1e-12)
    np.testing.assert_allclose(proba[:, 0], 1 - above[0], atol=1e-12)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(
        model.predict(X), LEVELS[(np.cumsum(proba, axis=1)[:, :-1] < 0.5).sum(axis=1)]
    )
    assert model.score(X, y) == np.mean(model.predict(X) == y)


def test_a_single_fold_and_a_fitted_estimator(table):
    X, y, speakers = table
    seen = speakers < 6
    split = OrdinalCalibrator(
        OrdinalClassifier(), cv=[(np.flatnonzero(seen), np.flatnonzero(~seen))]
    )
    split.fit(X, y, groups=speakers)
    fitted = OrdinalClassifier().fit(X[seen], y[seen])
    frozen = OrdinalCalibrator(FrozenEstimator(fitted))
    frozen.fit(X[~seen], y[~seen], groups=speakers[~seen])
    np.testing.assert_allclose(split.predict_proba(X), frozen.predict_proba(X))
    np.testing.assert_allclose(split.estimator_.predict_proba(X), fitted.predict_proba(X))
    few = ~seen & (y < 1)  # which lack a level that the estimator knows
    frozen.fit(X[few], y[few], groups=speakers[few])
    np.testing.assert_array_equal(frozen.classes_, LEVELS)


def test_a_fold_that_knows_one_side_of_a_threshold_teaches_nothing_about_it(table):
    X, y, speakers = table
    y = np.where(speakers == 3, 2, np.minimum(y, 1))  # one speaker has the highest level
    with pytest.warns(UserWarning, match="Level 2 is absent"):
        model = OrdinalCalibrator(OrdinalClassifier(), cv=GroupKFold(12)).fit(X, y, groups=speakers)
    # Of the others, who were told of level 2, nobody has it.
    assert (model.predict_proba(X)[:, 3] < 0.2).all()
    slope = model.calibrators_[2].a_
    assert abs(slope) < 5 and np.isfinite(slope)


def test_text_keeps_its_order(table):
    X, y, speakers = table
    words = np.array(["low", "middle", "high"])
    number = OrdinalCalibrator(OrdinalClassifier()).fit(X, y, groups=speakers)
    category = pd.Categorical(words[y + 1], categories=words, ordered=True)
    told = OrdinalCalibrator(OrdinalClassifier(levels=words))
    for model, labels in ((told, words[y + 1]), (OrdinalCalibrator(OrdinalClassifier()), category),
                          (OrdinalCalibrator(LogisticRegression()), category)):  # fmt: skip
        model.fit(X, labels, groups=speakers)
        assert model.levels_.tolist() == words.tolist() == fitted_levels(model).tolist()
        assert model.classes_.tolist() == ["high", "low", "middle"]
        proba = model.predict_proba(X)[:, [1, 2, 0]]
        if not isinstance(model.estimator, LogisticRegression):
            np.testing.assert_allclose(proba, number.predict_proba(X))
        assert ranked_probability_error(words[y + 1], model.predict_proba(X), words) < 0.4
        assert (model.predict(X) == words[y + 1]).mean() > 0.6


def votes_of(rng, y, n=5):
    """Votes of annotators for levels around the true one."""
    said = (y[:, None] + rng.integers(-1, 2, (len(y), n))).clip(-1, 1)
    return pd.DataFrame({level: (said == level).sum(axis=1) for level in (1, -1, 0)})


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_of_votes_each_threshold_learns_the_share_above_it(table, rng, method):
    """As of the same rows written once per vote, out of fold."""
    X, y, speakers = table
    votes = votes_of(rng, y)
    inner = OrdinalClassifier(LogisticRegression())
    model = OrdinalCalibrator(inner, method=method, cv=GroupKFold(4))
    model.fit(X, votes, groups=speakers)
    assert model.levels_.tolist() == [-1, 0, 1]
    frame = cross_val_ordinal(inner, X, votes, groups=speakers, cv=GroupKFold(4))
    odds = log_odds(frame.filter(like="p(").to_numpy())
    now = log_odds(inner.fit(X, votes).predict_proba(X))
    table_of = votes[[-1, 0, 1]].to_numpy()
    once = np.repeat(np.tile(LEVELS, len(y)), table_of.ravel())
    for k in range(2):
        row_of = np.repeat(np.arange(len(y)), 5)
        function = model._calibrator().fit(odds[row_of, k], once > LEVELS[k], np.full(600, 0.2))
        np.testing.assert_allclose(
            model.calibrators_[k].predict(now[:, k]), function.predict(now[:, k]), atol=1e-6
        )
    honest = cross_val_ordinal(model, X, votes, groups=speakers, cv=3).filter(like="p(")
    assert ranked_probability_error(votes, honest, levels=LEVELS) < 0.2
    median = np.sort(once.reshape(-1, 5), axis=1)[:, 2]
    assert model.score(X, votes) == np.mean(model.predict(X) == median)
    with pytest.raises(ValueError, match="only one class"):
        model.fit(X, pd.DataFrame({0: np.ones(120), 1: np.zeros(120)}), groups=speakers)


def test_groups_come_by_search_by_routing_and_into_a_pipeline(table):
    X, y, speakers = table
    last = make_pipeline(StandardScaler(), OrdinalCalibrator(OrdinalClassifier(), cv=2))
    last.fit(X, y, ordinalcalibrator__groups=speakers)
    around = OrdinalCalibrator(make_pipeline(StandardScaler(), OrdinalClassifier()), cv=2)
    around.fit(X, y, groups=speakers)
    np.testing.assert_allclose(last.predict_proba(X), around.predict_proba(X), atol=0.02)
    grid = {"ordinalcalibrator__estimator__C": [1, 10], "ordinalcalibrator__method": ["isotonic"]}
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(last, grid, cv=GroupKFold(2)).fit(X, y, groups=speakers)
        scores = cross_validate(search, X, y, cv=GroupKFold(2), params={"groups": speakers})
    assert search.best_estimator_[-1].method == "isotonic" and scores["test_score"].min() > 0.5
    frame = cross_val_ordinal(last, X, y, groups=speakers, cv=3)  # speakers inside as well
    assert not frame.isna().any(axis=None)
    with pytest.warns(UserWarning, match="each row counts as a speaker"):
        OrdinalCalibrator(OrdinalClassifier()).fit(X, y)


@pytest.mark.parametrize("cls", ["vote", "network", "logistic"])
def test_other_classifiers(table, cls, make_frames):
    X, y, speakers = table
    if cls == "network":
        inner = SpeechSentimentClassifier(max_epochs=1, batch_size=4, n_jobs=1, random_state=0)
        X, y = make_frames(24)
        speakers = np.arange(24) // 6
    elif cls == "vote":
        members = [("a", OrdinalClassifier()), ("b", OrdinalClassifier(gamma=1.0))]
        inner = OrdinalVotingClassifier(members, weights=[1, 2])
    else:
        inner = OrdinalClassifier(LogisticRegression())
    model = OrdinalCalibrator(inner).fit(X, y, groups=speakers)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-6)
    assert not hasattr(clone(model), "estimator_")
    np.testing.assert_array_equal(model.classes_, LEVELS)


def test_whole_pipelines(speech, tmp_path, decoded):
    pipeline = make_sentiment_pipeline(weights=None, memory=tmp_path, n_jobs=1)
    X, y, speakers = list(speech.data), speech.target, speech.groups
    model = OrdinalCalibrator(pipeline).fit(X, y, groups=speakers)
    assert len(decoded) == 24  # once for all folds
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    found = sentiment_timeline(model, X[:1])
    assert {"expected", "p(-1)", "p(1)"} <= set(found)
    copies = OrdinalCalibrator(WaveformPerturbation(pipeline, conditions=(), predict_speeds=(1,)))
    assert copies.fit(X, y, groups=speakers).predict(X).shape == (24,)


def test_rows_of_nan(table):
    X, y, speakers = table
    X[5] = np.nan
    with pytest.warns(UserWarning, match="left out of training"):
        model = OrdinalCalibrator(OrdinalClassifier(on_error="nan")).fit(X, y, groups=speakers)
    assert np.isnan(model.predict_proba(X)[5]).all() and np.isnan(model.predict(X)[5])
    assert np.isfinite(np.delete(model.predict_proba(X), 5, axis=0)).all()
    model.estimator_.set_params(on_error="raise")
    with (
        pytest.warns(UserWarning, match="1 of 120 rows are NaN"),
        pytest.raises(ValueError, match="No level can be given for row 5"),
    ):
        model.predict(X)
    frozen = FrozenEstimator(OrdinalClassifier(on_error="nan").fit(X[6:], y[6:]))
    with pytest.raises(ValueError, match="no prediction for any held-out row"):
        OrdinalCalibrator(frozen).fit(X[[5, 5]], [0, 1], groups=[1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(120)}, "only one class"),
        ({"groups": np.zeros(120)}, r"1 speaker\(s\) cannot be divided"),
        ({"groups": np.arange(119)}, "inconsistent numbers"),
    ],
)
def test_bad_input(table, change, message):
    X, y, speakers = table
    given = {"y": y, "groups": speakers, **change}
    with pytest.raises(ValueError, match=message):
        OrdinalCalibrator(OrdinalClassifier()).fit(X, **given)


_ROUNDED = "real labels count as the nearest level, as in OrdinalClassifier"
_MEDIAN = "the level is the median, as in OrdinalClassifier: tests/test_scikit_learn_checks.py"
_TEXT = "text has no order, which is asked for: test_text_keeps_its_order"


@pytest.mark.filterwarnings("ignore:Without groups", "ignore:.*absent from the training part")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [OrdinalCalibrator(OrdinalClassifier(LogisticRegression()))],
    expected_failed_checks=lambda _: {
        "check_classifiers_regression_target": _ROUNDED,
        "check_classifiers_train": _MEDIAN,
        "check_classifiers_classes": _TEXT,
    },
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
