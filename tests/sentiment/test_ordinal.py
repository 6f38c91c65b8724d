"""OrdinalClassifier compared with a loop by hand, and inside scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from sklearn_speechsent import OrdinalClassifier, WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.metrics import get_scorer


@pytest.fixture
def data(rng):
    """Noisy levels -2 … 2 on a line."""
    y = np.repeat([-2, -1, 0, 1, 2], 20)
    return y[:, None] + rng.normal(size=(100, 3)), y


class NoScores(GaussianNB):
    """Classifier that can only predict."""

    predict_proba = property()
    predict_log_proba = property()
    predict_joint_log_proba = property()


def test_equals_a_loop_by_hand(data):
    X, y = data
    above = np.stack(
        [LogisticRegression().fit(X, y > k).predict_proba(X)[:, 1] for k in (-2, -1, 0, 1)], axis=1
    )
    model = OrdinalClassifier(LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), -2 + (above > 0.5).sum(axis=1))


def test_probabilities_by_hand(data):
    X, y = data
    model = OrdinalClassifier(GaussianNB()).fit(X, y)
    above = np.stack([GaussianNB().fit(X, y > k).predict_proba(X)[:, 1] for k in (-2, -1, 0, 1)], 1)
    for row, proba in zip(above, model.predict_proba(X), strict=True):
        expected, left = [], 1.0
        for p in row:
            p = min(p, left)  # the probability of a higher threshold may not be larger
            expected.append(left - p)
            left = p
        np.testing.assert_allclose(proba, [*expected, left], atol=1e-12)


@pytest.mark.parametrize(
    "estimator", [None, LogisticRegression(), RidgeClassifier(), GaussianNB()], ids=str
)
def test_probabilities_are_a_distribution(data, estimator):
    X, y = data
    proba = OrdinalClassifier(estimator).fit(X, y).predict_proba(X)
    assert proba.shape == (100, 5) and (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_estimator_without_scores(data):
    X, y = data
    model = OrdinalClassifier(NoScores()).fit(X, y)
    assert not hasattr(model, "predict_proba")
    assert model.score(X, y) > 0.4


def test_level_that_does_not_occur(data):
    X, y = data
    rows = y != 2
    model = OrdinalClassifier(LogisticRegression(), levels=[-2, -1, 0, 1, 2])
    with pytest.warns(UserWarning, match="at level 2;"):
        model.fit(X[rows], y[rows])
    assert len(model.estimators_) == 4
    proba = model.predict_proba(X)
    assert proba.shape == (100, 5) and (proba[:, 4] == 0).all()
    assert set(model.predict(X)) == {-2, -1, 0, 1}


def test_levels_beyond_both_ends(data):
    X, y = data
    with pytest.warns(UserWarning, match="at level -3, 3;"):
        model = OrdinalClassifier(GaussianNB(), levels=range(-3, 4)).fit(X, y)
    proba = model.predict_proba(X)
    assert (proba[:, [0, 6]] == 0).all()
    plain = OrdinalClassifier(GaussianNB()).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_wrong_labels(data):
    X, y = data
    with pytest.raises(ValueError, match="only one class"):
        OrdinalClassifier().fit(X, np.ones(100))
    with pytest.raises(ValueError, match="off the scale"):
        OrdinalClassifier(levels=[-1, 0, 1]).fit(X, y)
    with pytest.raises(ValueError, match="two or more different numbers"):
        OrdinalClassifier(levels=[1]).fit(X, y)
    with pytest.raises(ValueError, match=r"must be numbers.*numbers as text"):
        OrdinalClassifier(levels=[-1, 0, 1]).fit(X, y.astype(str))


def test_sample_weight_reaches_every_threshold(data):
    X, y = data
    weight = np.where(y > 0, 5.0, 1.0)
    model = OrdinalClassifier(LogisticRegression()).fit(X, y, sample_weight=weight)
    for k, estimator in zip((-2, -1, 0, 1), model.estimators_, strict=True):
        expected = LogisticRegression().fit(X, y > k, sample_weight=weight)
        np.testing.assert_allclose(estimator.coef_, expected.coef_)


def test_sample_weight_through_metadata_routing(data):
    X, y = data
    weight = np.where(y > 0, 5.0, 1.0)
    expected = OrdinalClassifier(LogisticRegression()).fit(X, y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        model = OrdinalClassifier(inner).fit(X, y, sample_weight=weight)
        scored = OrdinalClassifier(inner).set_score_request(sample_weight=True)
        result = cross_validate(scored, X, y, cv=2, params={"sample_weight": weight})
        with pytest.raises(TypeError, match="unexpected argument"):
            OrdinalClassifier(inner).fit(X, y, groups=y)
    np.testing.assert_allclose(model.estimators_[0].coef_, expected.estimators_[0].coef_)
    assert np.isfinite(result["test_score"]).all()


def test_names_of_pandas_columns(data):
    X, y = data
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = OrdinalClassifier(LogisticRegression()).fit(table, y)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[["c", "b", "a"]])


def test_calibrated_inside_and_outside(data):
    X, y = data
    inside = OrdinalClassifier(CalibratedClassifierCV(RidgeClassifier(), cv=2)).fit(X, y)
    np.testing.assert_allclose(inside.predict_proba(X).sum(axis=1), 1)
    outside = CalibratedClassifierCV(OrdinalClassifier(RidgeClassifier()), cv=2).fit(X, y)
    assert outside.predict_proba(X).shape == (100, 5)


def test_nested_parameters(data):
    X, y = data
    model = OrdinalClassifier(LogisticRegression(C=2.0))
    assert model.get_params()["estimator__C"] == 2.0
    assert clone(model).set_params(estimator__C=3.0).estimator.C == 3.0
    scorer = get_scorer("quadratic_weighted_kappa", levels=range(-2, 3))
    search = GridSearchCV(model, {"estimator__C": [0.01, 1.0]}, scoring=scorer, cv=2).fit(X, y)
    assert search.best_score_ > 0.5
    assert not hasattr(model.estimator, "coef_")


def test_search_over_the_defaults(data):
    X, y = data
    grid = {"C": [0.01, 10.0], "gamma": [0.25, 25.0]}
    search = GridSearchCV(OrdinalClassifier(), grid, cv=3).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    best = search.best_params_
    svc = SVC(C=best["C"], gamma=best["gamma"] / 3, class_weight="balanced", random_state=0)
    by_hand = OrdinalClassifier(make_pipeline(StandardScaler(), svc)).fit(X, y)
    np.testing.assert_array_equal(search.predict_proba(X), by_hand.predict_proba(X))

    pipeline = Pipeline([("scale", MinMaxScaler()), ("net", OrdinalClassifier())])
    grid = {f"net__{name}": values for name, values in grid.items()}
    assert GridSearchCV(pipeline, grid, cv=3).fit(X, y).best_params_.keys() == grid.keys()
    assert clone(OrdinalClassifier(C=3.0, gamma=0.5)).get_params()["gamma"] == 0.5


def test_search_over_the_defaults_of_whole_systems(rng):
    X = [0.1 * rng.normal(size=4000) for _ in range(8)]
    y, grid = np.arange(8) % 2, [0.1, 3.0]
    pipeline = make_sentiment_pipeline(weights=None, vad="passthrough", n_jobs=1)
    for model, prefix in (
        (pipeline, "net"),
        (
            WaveformPerturbation(pipeline, speeds=(), conditions=(), predict_speeds=(1,)),
            "estimator__net",
        ),
    ):
        search = GridSearchCV(model, {f"{prefix}__C": grid, f"{prefix}__gamma": grid}, cv=2)
        assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()
        assert search.best_params_.keys() == {f"{prefix}__C", f"{prefix}__gamma"}


@pytest.mark.parametrize("params", [{"C": 1.0}, {"gamma": 0.5}, {"C": 1.0, "gamma": 0.5}], ids=str)
def test_parameters_of_the_default_next_to_an_estimator(data, params):
    model = OrdinalClassifier(LogisticRegression(), **params)
    named = " and ".join(f"{name}={value}" for name, value in params.items())
    with pytest.raises(ValueError, match=f"^{named} would be ignored.*estimator__"):
        model.fit(*data)
    model.set_params(C=10.0, gamma=0.25).fit(*data)
    model.set_params(estimator=None, **params).fit(*data)


@pytest.mark.parametrize("params", [{"C": 0}, {"gamma": -1.0}, {"gamma": "scale"}], ids=str)
def test_parameters_of_the_default_are_checked(data, params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of OrdinalClassifier"):
        OrdinalClassifier(**params).fit(*data)


def test_levels_are_in_ordinal_order(data):
    X, y = data
    model = OrdinalClassifier(levels=[2, 1, 0, -1, -2]).fit(X, y)
    assert model.levels_.tolist() == model.classes_.tolist() == [-2, -1, 0, 1, 2]


def test_jobs_change_nothing(data):
    X, y = data
    one, two = (OrdinalClassifier(n_jobs=n).fit(X, y) for n in (None, 2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.coo_array])
def test_sparse_input(data, container):
    X, y = data
    dense = OrdinalClassifier(LogisticRegression()).fit(X, y)
    sparse = OrdinalClassifier(LogisticRegression()).fit(container(X), y)
    np.testing.assert_allclose(
        sparse.predict_proba(container(X)), dense.predict_proba(X), atol=1e-4
    )
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        OrdinalClassifier().fit(container(X), y)


def test_missing_values_go_where_the_estimator_takes_them(data):
    from sklearn.ensemble import HistGradientBoostingClassifier

    X, y = data
    X = X.copy()
    X[::7, 0] = np.nan
    forest = HistGradientBoostingClassifier(max_iter=2)
    assert OrdinalClassifier(forest).fit(X, y).predict(X).shape == (100,)
    with pytest.raises(ValueError, match="NaN"):
        OrdinalClassifier(LogisticRegression()).fit(X, y)


def test_folds_without_a_level(data):
    X, y = data
    model = OrdinalClassifier(LogisticRegression(), levels=[-2, -1, 0, 1, 2])
    with pytest.warns(UserWarning, match="No training label"):
        proba = cross_val_predict(
            model,
            X,
            y,
            cv=[
                (np.flatnonzero(y < 2), np.flatnonzero(y == 2)),
                (np.flatnonzero(y > -2), np.flatnonzero(y < 2)),
            ],
            method="predict",
        )
    assert proba.shape == (100,)


# -- rows of NaN -----------------------------------------------------------------------------------


@pytest.fixture
def with_gaps(rng):
    """Table of 60 rows, two of which hold NaN, its labels, and a mask of the others."""
    y = np.arange(60) % 3 - 1
    X = y[:, None] + 0.3 * rng.normal(size=(60, 4))
    good = ~np.isin(np.arange(60), [5, 40])
    X[5, 1] = X[40] = np.nan
    return X, y, good


@pytest.mark.parametrize("inner", [None, LogisticRegression()], ids=["default", "logistic"])
def test_rows_of_nan_are_left_out_and_predicted_as_nan(with_gaps, inner):
    X, y, good = with_gaps
    with pytest.warns(UserWarning, match="2 of 60 rows hold NaN"):
        model = OrdinalClassifier(inner, on_error="nan").fit(X, y)
    expected = OrdinalClassifier(inner).fit(X[good], y[good])
    for method in ("predict", "predict_proba"):
        found = getattr(model, method)(X)
        np.testing.assert_array_equal(found[good], getattr(expected, method)(X[good]))
        assert np.isnan(found[~good]).all()
    assert model.predict(X[good]).dtype == y.dtype
    assert np.isnan(model.predict(X[~good])).all()


def test_weights_of_rows_of_nan_are_left_out(with_gaps, rng):
    X, y, good = with_gaps
    weight = rng.uniform(0.1, 1, 60)
    with pytest.warns(UserWarning, match="rows hold NaN"):
        model = OrdinalClassifier(LogisticRegression(), on_error="nan").fit(
            X, y, sample_weight=weight
        )
    expected = OrdinalClassifier(LogisticRegression()).fit(
        X[good], y[good], sample_weight=weight[good]
    )
    np.testing.assert_array_equal(model.predict_proba(X[good]), expected.predict_proba(X[good]))


def test_rows_of_nan_among_text_labels(with_gaps):
    X, y, good = with_gaps
    text = np.array(["poor", "fair", "good"])[y + 1]
    model = OrdinalClassifier(on_error="nan", levels=["poor", "fair", "good"])
    predicted = model.fit(X[good], text[good]).predict(X)
    assert pd.isna(predicted).tolist() == (~good).tolist()
    np.testing.assert_array_equal(predicted[good], model.predict(X[good]))
