"""Scorers inside scikit-learn's searches, on folds that lack a level."""

import pickle
import re

import numpy as np
import pytest
import sklearn
import sklearn.metrics
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent import metrics
from sklearn_speechsent.metrics import get_scorer, get_scorer_names

NAMES = get_scorer_names()
PROBABILITY = "neg_ranked_probability_error"
PREDICT_NAMES = [name for name in NAMES if name not in (PROBABILITY, "neg_cross_entropy_error")]


@pytest.fixture(scope="module")
def corpus():
    """60 items; level 3 is confined to the first fold, so one training part lacks it."""
    rng = np.random.default_rng(0)
    y = rng.integers(-2, 3, 60)
    y[:5] = 3
    return y[:, np.newaxis] + rng.normal(0, 0.7, (60, 2)), y


def test_names():
    assert NAMES == sorted(NAMES)
    assert {
        *("neg_cross_entropy_error", "neg_expected_absolute_error", "vote_share"),
        *(
            "acc5",
            "acc7",
            "acc7_sdk",
            "concordance_correlation",
            "kendall",
            "neg_macro_mean_absolute_error",
        ),
        *("neg_ranked_probability_error", "nonnegative_accuracy", "nonnegative_f1", "pearson"),
        *("polarity_accuracy", "polarity_f1", "quadratic_weighted_kappa", "rounded_accuracy"),
        *("rounded_f1_macro", "rounded_f1_micro", "rounded_f1_weighted", "spearman"),
        *("threshold_accuracy", "within_one_accuracy"),
    } == set(NAMES)
    assert not set(NAMES) & set(sklearn.metrics.get_scorer_names())


def test_scorers_are_named_after_their_metrics():
    """As in scikit-learn: without ``_score``, errors with ``neg_``; an average comes last."""
    for name in set(NAMES) - {"acc5", "acc7", "acc7_sdk"}:
        plain = re.sub("_(macro|micro|weighted)$", "", name.removeprefix("neg_"))
        suffix = "" if name.startswith("neg_") else "_score"
        assert plain + suffix in metrics.__all__


@pytest.mark.parametrize("name", PREDICT_NAMES)
@pytest.mark.parametrize("model", [Ridge(), LogisticRegression()], ids=["regressor", "classifier"])
def test_every_scorer_cross_validates(name, model, corpus):
    scores = cross_val_score(model, *corpus, scoring=get_scorer(name), cv=KFold(3))
    constant = DummyRegressor(strategy="constant", constant=-3)
    floor = cross_val_score(constant, *corpus, scoring=get_scorer(name), cv=KFold(3))
    assert np.isfinite(scores).all()
    assert np.isfinite(floor).all()
    assert (scores > floor).all()


def test_scorer_values_are_those_of_the_functions(corpus):
    X, y = corpus
    model = Ridge().fit(X, y)
    pred = model.predict(X)
    report = metrics.ordinal_report(y, pred)
    keys = {
        "concordance_correlation": "ccc",
        "quadratic_weighted_kappa": "qwk",
        "spearman": "spearman",
        "polarity_accuracy": "polarity_accuracy",
        "within_one_accuracy": "within_one",
    }
    for name, key in keys.items():
        assert get_scorer(name)(model, X, y) == report[key]
    error = get_scorer("neg_macro_mean_absolute_error")(model, X, y)
    assert error == -report["macro_mae"]
    assert get_scorer("neg_mean_absolute_error")(model, X, y) == -report["mae"]
    assert get_scorer("acc7")(model, X, y) == report["accuracy"]
    expected = metrics.rounded_accuracy_score(y, pred, range(-2, 3))
    assert get_scorer("acc5")(model, X, y) == expected


def test_levels_are_bound(corpus):
    X, y = corpus
    model = Ridge().fit(X, y)
    for levels in (range(-2, 4), np.arange(-2, 4)):
        result = get_scorer("threshold_accuracy", levels=levels)(model, X, y)
        assert result == metrics.threshold_accuracy_score(y, model.predict(X), range(-2, 4))
    with_levels = get_scorer("pearson", levels=range(-2, 4))(model, X, y)
    assert with_levels == get_scorer("pearson")(model, X, y)
    assert get_scorer("r2", levels=range(-2, 4))(model, X, y) == model.score(X, y)


@pytest.mark.parametrize("name", ["acc5", "acc7", "acc7_sdk"])
def test_names_that_fix_their_levels_take_no_others(name):
    with pytest.raises(ValueError, match="fixes its levels"):
        get_scorer(name, levels=range(-2, 3))


def test_levels_are_checked():
    with pytest.raises(ValueError, match="levels must be"):
        get_scorer("quadratic_weighted_kappa", levels=[1, 0])


def test_callables_and_scikit_learns_names_pass_through():
    scorer = get_scorer("quadratic_weighted_kappa")
    assert get_scorer(scorer) is scorer
    assert repr(get_scorer("r2")) == repr(sklearn.metrics.get_scorer("r2"))


def test_unknown_name_lists_the_names():
    with pytest.raises(
        ValueError,
        match=r"Unknown scorer 'kappa'.*'concordance_correlation'.*'within_one_accuracy'",
    ):
        get_scorer("kappa")


@pytest.mark.parametrize("name", NAMES)
def test_scorers_pickle_and_clone(name, corpus):
    X, y = corpus
    model = LogisticRegression().fit(X, y)
    scorer = get_scorer(name)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == scorer(model, X, y)
    clone(GridSearchCV(model, {}, scoring=scorer))


def test_ranked_probability_aligns_the_classes_of_the_fold(corpus):
    X, y = corpus
    scorer = get_scorer(PROBABILITY, levels=range(-3, 4))
    scores = cross_val_score(LogisticRegression(), X, y, scoring=scorer, cv=KFold(3))
    assert np.isfinite(scores).all()

    few = np.isin(y, [-1, 2])  # two classes, which is where make_scorer would give one column
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[few], y[few])
    proba = model.predict_proba(X)
    full = np.zeros((60, 7))
    full[:, 2], full[:, 5] = proba[:, 0], proba[:, 1]
    assert scorer(model, X, y) == pytest.approx(-metrics.ranked_probability_error(y, full))
    weight = np.arange(60)
    expected = -metrics.ranked_probability_error(y, full, sample_weight=weight)
    assert scorer(model, X, y, sample_weight=weight) == pytest.approx(expected)


def test_ranked_probability_refuses_classes_off_the_scale(corpus):
    X, y = corpus
    model = DummyClassifier().fit(X, y)
    with pytest.raises(ValueError, match="not all levels"):
        get_scorer(PROBABILITY, levels=range(-1, 2))(model, X, y.clip(-1, 1))


def test_ranked_probability_refuses_columns_without_a_class(corpus):
    model = DummyClassifier(strategy="prior").fit(*corpus)
    model.classes_ = model.classes_[1:]
    with pytest.raises(ValueError, match=r"columns for \d classes"):
        get_scorer(PROBABILITY)(model, *corpus)


def test_grid_search_by_several_scorers_with_weights(corpus):
    X, y = corpus
    kappa, error = "quadratic_weighted_kappa", "neg_macro_mean_absolute_error"
    scoring = {name: get_scorer(name) for name in (kappa, PROBABILITY, error)}
    model = LogisticRegression(max_iter=1000)
    search = GridSearchCV(model, {"C": [1e-6, 1.0]}, scoring=scoring, refit=kappa, cv=KFold(3))
    search.fit(X, y, sample_weight=np.ones(60))
    assert search.best_params_ == {"C": 1.0}
    assert np.isfinite(search.cv_results_[f"mean_test_{PROBABILITY}"]).all()


def test_weights_are_routed_when_requested(corpus):
    X, y = corpus
    weight = np.random.default_rng(0).random(60)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = get_scorer("quadratic_weighted_kappa").set_score_request(sample_weight=True)
        model = Ridge().set_fit_request(sample_weight=False)
        result = cross_validate(
            model,
            X,
            y,
            scoring=scorer,
            cv=KFold(3),
            params={"sample_weight": weight},
            return_estimator=True,
            return_indices=True,
        )
    test = result["indices"]["test"][0]
    pred = result["estimator"][0].predict(X[test])
    expected = metrics.quadratic_weighted_kappa_score(y[test], pred, sample_weight=weight[test])
    assert result["test_score"][0] == pytest.approx(expected)
