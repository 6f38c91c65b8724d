"""IntensityRegressor compared with scikit-learn by hand, and real labels in whole systems."""

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from encoders import as_openai, random_encoder
from sklearn import config_context
from sklearn.base import clone, is_regressor
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from sklearn_speechsent import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalVotingClassifier,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.metrics import get_scorer


@pytest.fixture
def data(rng):
    """Real labels -3 … 3, as means of ratings are, of 90 noisy rows."""
    y = np.round(rng.uniform(-3, 3, 90), 2)
    return y[:, None] * [1, 0.5, 0, 0] + 0.5 * rng.normal(size=(90, 4)), y


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """File of a small random encoder."""
    path = tmp_path_factory.mktemp("encoder") / "small.pt"
    torch.save(as_openai(random_encoder(n_blocks=2)), path)
    return path


def by_hand(y, n_features=4, steps=(), C=5.0, gamma=0.25):
    s = np.std(y)
    svr = SVR(C=C * s, gamma=gamma / n_features, epsilon=0.1 * s, tol=0.001 * s)
    return Pipeline([("scale", StandardScaler()), *steps, ("svr", svr)])


# -- alone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"C": 1.0, "gamma": 2.0}], ids=str)
def test_the_default_estimator(data, params):
    X, y = data
    model = IntensityRegressor(**params).fit(X, y)
    expected = by_hand(y, **params).fit(X, y)
    # The kernel is a product of matrices, which rounds in another order than libsvm.
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=0, atol=1e-12)
    assert model.score(X, y) == pytest.approx(expected.score(X, y), abs=1e-12)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("n_components", [2, 100])
def test_principal_components(data, n_components):
    X, y = data
    steps = [("pca", PCA(min(n_components, 4), random_state=0))]
    expected = by_hand(y, steps=steps).fit(X, y)
    model = IntensityRegressor(n_components=n_components).fit(X, y)
    np.testing.assert_allclose(model.predict(X), expected.predict(X))


@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0), (25.0, 50), (1e4, -7)])
def test_the_unit_of_labels_changes_nothing_else(data, factor, offset):
    X, y = data
    expected = factor * IntensityRegressor().fit(X, y).predict(X) + offset
    found = IntensityRegressor().fit(X, factor * y + offset).predict(X)
    # Both solutions are exact to a few thousandths of the deviation, where the solver stops.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.005 * np.std(y) * factor)


def test_labels_that_are_all_the_same(data):
    X, _ = data
    np.testing.assert_allclose(IntensityRegressor().fit(X, np.full(90, 1.5)).predict(X), 1.5)


@pytest.mark.parametrize("params", [{"C": 1.0}, {"gamma": 0.5, "n_components": 3}], ids=str)
def test_parameters_of_the_default_next_to_an_estimator(data, params):
    named = " and ".join(f"{name}={value}" for name, value in params.items())
    with pytest.raises(ValueError, match=f"^{named} would be ignored.*estimator__"):
        IntensityRegressor(Ridge(), **params).fit(*data)


@pytest.mark.parametrize("params", [{"C": 0}, {"gamma": "scale"}, {"n_components": 0}], ids=str)
def test_parameters_are_checked(data, params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of IntensityRegr"):
        IntensityRegressor(**params).fit(*data)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, None, pd.NA])
def test_labels_that_are_not_finite(data, wrong):
    X, y = data
    y = y.tolist()
    y[7] = wrong
    members = [("a", IntensityRegressor())]
    for model in (IntensityRegressor(on_error="nan"), IntensityVotingRegressor(members)):
        with pytest.raises(ValueError, match="NaN or infinity: 1 of 90 values, in row 7"):
            model.fit(X, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.astype(str), "A regressor needs numbers, and y holds text.*to_numeric"),
        (lambda y: ["low", *y[1:].tolist()], "y holds text in row 0"),
        (lambda y: y[:-1], "inconsistent"),
        (lambda y: np.c_[y, y], "table of votes.*negative"),
        (lambda y: pd.cut(y, 2), "A regressor needs numbers"),
    ],
)
def test_labels_that_are_not_numbers(data, change, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        IntensityRegressor().fit(X, change(y))


def test_kinds_of_numbers(data):
    X, y = data
    whole = np.rint(y)
    expected = IntensityRegressor().fit(X, whole).predict(X)
    for labels in (
        whole.astype(int).tolist(),
        pd.Series(whole, dtype="Int64"),
        pd.Categorical(whole.astype(int), ordered=True),
    ):
        np.testing.assert_array_equal(IntensityRegressor().fit(X, labels).predict(X), expected)


def test_sparse_rows_and_names_of_columns(data):
    X, y = data
    ridge = Ridge(solver="sparse_cg", tol=1e-10)
    expected = IntensityRegressor(ridge).fit(X, y).predict(X)
    sparse = IntensityRegressor(ridge).fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_allclose(sparse.predict(scipy.sparse.csr_array(X)), expected)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        IntensityRegressor().fit(scipy.sparse.csr_array(X), y)
    table = pd.DataFrame(X, columns=list("abcd"))
    model = IntensityRegressor().fit(table, y)
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[list("dcba")])


# -- weights ---------------------------------------------------------------------------------------


def test_weights_reach_the_default_estimator(data, rng):
    """Replaces scikit-learn's check of the equivalence of weights and repetition."""
    X, y = data
    weight = rng.uniform(0.1, 3, 90)
    expected = by_hand(y).fit(X, y, svr__sample_weight=weight).predict(X)
    model = IntensityRegressor().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-12)
    members = [("a", make_pipeline(IntensityRegressor())), ("b", IntensityRegressor())]
    vote = IntensityVotingRegressor(members).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(vote.predict(X), expected)
    assert (expected != IntensityRegressor().fit(X, y).predict(X)).all()


@pytest.mark.parametrize("estimator", [IntensityRegressor(), IntensityRegressor(Ridge())], ids=str)
def test_a_weight_of_zero_is_no_row(data, rng, estimator):
    X, y = data
    weight = np.where(np.arange(90) % 5 == 0, 0, rng.uniform(0.1, 3, 90))
    found = clone(estimator).fit(X, y, sample_weight=weight)
    counted = weight > 0
    expected = clone(estimator).fit(X[counted], y[counted], sample_weight=weight[counted])
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def test_weights_that_cannot_be_used(data):
    X, y = data
    for weight, message in ((np.zeros(90), "zero"), (-np.ones(90), "Negative")):
        with pytest.raises(ValueError, match=message):
            IntensityRegressor().fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="KNeighborsRegressor takes no sample_weight"):
        IntensityRegressor(KNeighborsRegressor()).fit(X, y, sample_weight=np.ones(90))


def test_weights_through_metadata_routing(data, rng):
    X, y = data
    weight = rng.uniform(0.1, 3, 90)
    expected = IntensityRegressor(Ridge()).fit(X, y, sample_weight=weight).predict(X)
    with config_context(enable_metadata_routing=True):
        inner = Ridge().set_fit_request(sample_weight=True)
        model = IntensityRegressor(inner)
        found = make_pipeline(model).fit(X, y, sample_weight=weight).predict(X)
        scored = clone(model).set_score_request(sample_weight=True)
        result = cross_validate(scored, X, y, cv=2, params={"sample_weight": weight})
        default = IntensityRegressor().set_fit_request(sample_weight=True)
        default = make_pipeline(default).fit(X, y, sample_weight=weight).predict(X)
        with pytest.raises(TypeError, match="unexpected argument"):
            model.fit(X, y, groups=y)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(result["test_score"]).all()
    outside = IntensityRegressor().fit(X, y, sample_weight=weight).predict(X)
    np.testing.assert_array_equal(default, outside)


# -- votes -----------------------------------------------------------------------------------------


def test_vote_is_the_weighted_mean(data):
    X, y = data
    members = [("svm", IntensityRegressor()), ("line", Ridge()), ("none", "drop")]
    vote = IntensityVotingRegressor(members, weights=[1, 2, 5]).fit(X, y)
    svm, line = IntensityRegressor().fit(X, y).predict(X), Ridge().fit(X, y).predict(X)
    np.testing.assert_allclose(vote.predict(X), (svm + 2 * line) / 3)
    assert list(vote.named_estimators_) == ["svm", "line"]
    assert is_regressor(vote) and vote.score(X, y) > 0.8


def test_vote_with_rows_of_nan(data):
    X, y = data
    X = np.where((np.arange(90) == 4)[:, None], np.nan, X)
    members = [(name, IntensityRegressor(on_error="nan")) for name in "ab"]
    with pytest.warns(UserWarning, match="1 of 90 rows hold NaN"):
        vote = IntensityVotingRegressor(members).fit(X, y)
    assert np.flatnonzero(np.isnan(vote.predict(X))).tolist() == [4]
    with pytest.raises(ValueError, match=r"row 4.*leave these rows out"):
        vote.score(X, y)


def test_votes_that_cannot_be_counted(data):
    members = [("a", IntensityRegressor()), ("b", IntensityRegressor())]
    with pytest.raises(ValueError, match="must be 2 numbers from 0"):
        IntensityVotingRegressor(members, weights=[1]).fit(*data)
    with pytest.raises(ValueError, match="regressor"):
        IntensityVotingRegressor([("a", OrdinalVotingClassifier(members))]).fit(*data)


# -- whole systems ---------------------------------------------------------------------------------


@pytest.fixture
def make(encoder):
    """A system of intensities without pre-trained weights, by its name."""
    base = {"target": "intensity", "weights": None, "vad": "passthrough", "n_jobs": 1}

    def make_system(system, **params):
        if system == "large":
            params |= {"encoder__model": encoder, "encoder__layers": (1, 2)}
        return make_sentiment_pipeline(system, **base, **params)

    return make_system


@pytest.fixture
def recordings(rng):
    """Noise that is louder the higher the real label, of 12 recordings."""
    y = np.linspace(-3, 3, 12).round(2)
    return [np.exp(level) * 0.01 * rng.normal(size=4000) for level in y], y


@pytest.mark.parametrize("system", ["small", "medium", "large"])
def test_systems(make, recordings, tmp_path, system):
    X, y = recordings
    model = make(system, memory=tmp_path / "features").fit(X, y)
    predicted = model.predict(X)
    assert is_regressor(model) and predicted.dtype == np.float64 and predicted.shape == (12,)
    assert np.corrcoef(predicted, y)[0, 1] > 0.9 and model.score(X, y) > 0.5
    assert get_scorer("concordance_correlation")(model, X, y) > 0.7
    assert np.isfinite(get_scorer("acc7")(model, X, y))
    joblib.dump(clone(model).set_output(transform="pandas").fit(X, y), tmp_path / "model")
    np.testing.assert_allclose(joblib.load(tmp_path / "model").predict(X), predicted)
    held_out = cross_val_predict(clone(model), X, y, cv=3)
    assert np.isfinite(held_out).all() and len(np.unique(held_out)) > 6


@pytest.mark.parametrize(
    ("system", "name"), [("small", "net__C"), ("large", "net__speech__net__C")]
)
def test_search(make, recordings, tmp_path, system, name):
    X, y = recordings
    model = make(system, memory=tmp_path)
    search = GridSearchCV(model, {name: [0.01, 5.0]}, cv=2, scoring="neg_mean_absolute_error")
    assert search.fit(X, y).best_params_ == {name: 5.0}


@pytest.mark.parametrize("system", ["small", "large"])
@pytest.mark.filterwarnings("ignore:1 of 12", "ignore:. of .. rows", "ignore:. of .. recordings")
def test_a_bad_recording_is_nan_and_no_other_row_moves(make, recordings, system):
    X, y = recordings
    model = make(system, on_error="nan")
    expected = clone(model).fit(X[:4] + X[5:], np.delete(y, 4)).predict(X[:4] + X[5:])
    X[4] = np.full(4000, np.nan)
    predicted = model.fit(X, y).predict(X)
    assert np.flatnonzero(np.isnan(predicted)).tolist() == [4]
    np.testing.assert_allclose(np.delete(predicted, 4), expected)


def test_averages_over_speeds(make, recordings):
    X, y = recordings
    model = WaveformPerturbation(make("small"), speeds=(), predict_speeds=(0.9, 1.0)).fit(X, y)
    single = [clone(model).set_params(predict_speeds=(s,)).fit(X, y).predict(X) for s in (0.9, 1)]
    np.testing.assert_allclose(model.predict(X), np.mean(single, axis=0))
    assert is_regressor(model) and not hasattr(model, "predict_proba")
    assert np.isfinite(model.score(X, y))


def test_the_last_steps(make):
    large = make("large", on_error="nan")
    assert isinstance(large["net"], IntensityVotingRegressor)
    assert large["net"].weights == [1, 2]
    for name, n_components in (("speaker", 256), ("speech", None)):
        last = dict(large["net"].estimators)[name]["net"]
        assert last.get_params() == {
            **IntensityRegressor().get_params(),
            "n_components": n_components,
            "on_error": "nan",
        }


@pytest.mark.parametrize("system", ["small", "large"])
def test_parameters_of_levels_are_an_error(make, system):
    with pytest.raises(ValueError, match=r"levels= is neither a step .* Intensity"):
        make(system, levels=[-1, 0, 1])


def test_target_is_checked(make):
    with pytest.raises(ValueError, match="target='emotion' must be 'level' or 'intensity'"):
        make_sentiment_pipeline(target="emotion")
    says = (
        r"is for 'small', 'medium', 'large', 'finetuned'; .*R intensities.*C \+ R.*as_regressor\(\)"
    )
    for system in ("1/2SREx-SEResNet-16 + C", "1/2SREx-SEResNet-16 + R"):
        with pytest.raises(ValueError, match=says):
            make_sentiment_pipeline(system, target="intensity")
