"""Sets and intervals: coverage of new speakers, neighbours, figures of MAPIE, bad input."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_speechsent import IntensityRegressor, OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.inspection import ConformalOrdinal, OrdinalCalibrator, conformal

LEVELS = np.arange(-2, 3)


def voices(rng, n_speakers, n_each=20, spread=0.6):
    """Rows of speakers who all deviate in their own way."""
    speakers = np.repeat(np.arange(n_speakers), n_each)
    y = rng.integers(-2, 3, len(speakers))
    own = spread * rng.normal(size=n_speakers)
    X = (y + own[speakers] + 0.8 * rng.normal(size=len(y)))[:, None]
    return X, y, speakers


@pytest.fixture
def table(rng):
    return voices(rng, 12)


def linear():
    return OrdinalClassifier(LogisticRegression())


@pytest.mark.parametrize(
    "params",
    [
        {"method": "base"},
        {"method": "plus"},
        {"calibration": np.arange(8)},
        {"calibration": np.arange(12), "guarantee": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_coverage_of_speakers_that_were_not_there(params, alpha):
    """Over draws of all speakers; a promise of this kind is about the mean."""
    hits, sizes, inside = [], [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        X, y, speakers = voices(rng, 20)
        model = ConformalOrdinal(linear(), alpha, **params).fit(X, y, groups=speakers)
        X, y, _ = voices(rng, 40)
        sets = model.predict_set(X)
        hits.append(sets[np.arange(len(y)), y + 2].mean())
        sizes.append(sets.sum(axis=1).mean())
        low, high = model.predict_interval(X).T
        inside.append(((low <= y) & (y <= high)).mean())
    # A guarantee of twelve speakers is worth the worst of thirteen.
    low, high = (-0.01, 0.11) if params.get("guarantee") else (-0.03, 0.06)
    assert low < np.mean(hits) - (1 - alpha) < high
    assert low < np.mean(inside) - (1 - alpha) < high
    assert np.mean(sizes) < 4


def test_sets_are_neighbours_with_the_prediction_among_them(table, rng):
    X, y, speakers = table
    for model in (
        ConformalOrdinal(linear(), 0.1, method="plus"),
        ConformalOrdinal(OrdinalCalibrator(linear(), method="isotonic"), 0.9),
    ):
        model.fit(X, y, groups=speakers)
        sets = model.predict_set(X)
        assert (np.abs(np.diff(np.pad(sets, ((0, 0), (1, 1))).astype(int))).sum(axis=1) == 2).all()
        assert sets[np.arange(len(X)), model.predict(X) + 2].all()
        low, high = model.predict_interval(X).T
        assert (low >= -2).all() and (high <= 2).all() and (low <= high).all()


def test_smaller_alpha_larger_sets_without_another_fit(table):
    X, y, speakers = table
    model = ConformalOrdinal(linear()).fit(X, y, groups=speakers)
    small = model.predict_set(X)
    large = model.set_params(alpha=0.02).predict_set(X)
    assert (large >= small).all() and large.sum() > small.sum()
    np.testing.assert_array_equal(
        ConformalOrdinal(linear(), 0.02).fit(X, y, groups=speakers).predict_set(X), large
    )


def test_few_speakers_and_a_guarantee_rule_nothing_out(table):
    X, y, speakers = table
    few = ConformalOrdinal(linear(), calibration=[0, 1, 2], guarantee=True)
    few.fit(X, y, groups=speakers)
    assert few.predict_set(X).all()
    assert (few.predict_interval(X) == [-2, 2]).all()
    assert not few.set_params(guarantee=False).predict_set(X).all()
    real = ConformalOrdinal(Ridge(), calibration=[0, 1, 2], guarantee=True)
    assert np.isinf(real.fit(X, y, groups=speakers).predict_interval(X)).all()


def test_speakers_count_alike_however_often_they_speak(rng):
    """The errors of one who speaks ten times as much weigh no more."""
    X, y, speakers = voices(rng, 10, 20)
    frozen = FrozenEstimator(Ridge().fit(X, y))
    X[speakers == 9] += 3  # whom it misunderstands
    often = np.concatenate([np.arange(200), np.tile(np.flatnonzero(speakers == 9), 9)])
    model = ConformalOrdinal(frozen, 0.3)
    once = model.fit(X, y, groups=speakers).predict_interval(X)
    again = model.fit(X[often], y[often], groups=speakers[often]).predict_interval(X)
    np.testing.assert_allclose(again, once, atol=0.1)
    with pytest.warns(UserWarning, match="each row counts"):
        alone = model.fit(X[often], y[often]).predict_interval(X)
    assert (alone[:, 1] - once[:, 1]).min() > 1


def test_split_is_by_hand(table):
    X, y, speakers = table
    model = ConformalOrdinal(Ridge(), 0.2, calibration=[3, 5]).fit(X, y, groups=speakers)
    held = np.isin(speakers, [3, 5])
    fitted = Ridge().fit(X[~held], y[~held])
    errors = np.sort(np.abs(fitted.predict(X[held]) - y[held]))
    limit = errors[int(np.ceil(0.8 * (len(errors) + 1))) - 1]
    expected = fitted.predict(X)[:, None] + [-limit, limit]
    np.testing.assert_allclose(model.predict_interval(X), expected)
    assert is_regressor(model) and not is_classifier(model) and not hasattr(model, "classes_")
    np.testing.assert_allclose(model.predict(X), fitted.predict(X))
    assert model.score(X, y) == fitted.score(X, y)


def test_real_labels_are_covered_as_they_are(table):
    X, y, speakers = table
    real = np.clip(y + 0.4, -2, 2)
    low, high = ConformalOrdinal(linear()).fit(X, real, groups=speakers).predict_interval(X).T
    assert ((low <= real) & (real <= high)).mean() == pytest.approx(0.9, abs=0.05)
    with pytest.raises(ValueError, match="has no predict_proba"):
        ConformalOrdinal(RidgeClassifier()).fit(X, y, groups=speakers)


def test_sets_cover_the_median_of_votes_and_intervals_their_mean(table, rng):
    X, y, speakers = table
    said = (y[:, None] + rng.integers(-1, 2, (len(y), 5))).clip(-2, 2)
    votes = pd.DataFrame({level: (said == level).sum(axis=1) for level in LEVELS})
    median, mean = np.sort(said, axis=1)[:, 2], said.mean(axis=1)
    fitted = linear().fit(X, votes)
    model = ConformalOrdinal(FrozenEstimator(fitted)).fit(X, votes, groups=speakers)
    ones = ConformalOrdinal(FrozenEstimator(fitted)).fit(X, median, groups=speakers)
    np.testing.assert_array_equal(model.predict_set(X), ones.predict_set(X))
    real = ConformalOrdinal(FrozenEstimator(fitted)).fit(X, mean, groups=speakers)
    np.testing.assert_allclose(model.predict_interval(X), real.predict_interval(X))
    assert (model.predict_interval(X) != ones.predict_interval(X)).any()
    apart = ConformalOrdinal(linear(), cv=3).fit(X, votes, groups=speakers)
    assert apart.predict_set(X)[np.arange(len(y)), median + 2].mean() > 0.85
    low, high = ConformalOrdinal(IntensityRegressor()).fit(
        X, votes, groups=speakers
    ).predict_interval(X).T  # fmt: skip
    assert ((low <= mean) & (mean <= high)).mean() > 0.85


def test_many_rows_are_looked_at_in_parts(table, monkeypatch):
    X, y, speakers = table
    model = ConformalOrdinal(linear(), method="plus").fit(X, y, groups=speakers)
    whole = model.predict_interval(X)
    monkeypatch.setattr(conformal, "_PAIRS", 1000)
    np.testing.assert_allclose(model.predict_interval(X), whole)


def test_abstention(table):
    X, y, speakers = table
    model = ConformalOrdinal(linear()).fit(X, y, groups=speakers)
    widths = model.predict_set(X).sum(axis=1)
    sure = model.predict(X)
    shy = model.set_params(max_levels=2).predict(X)
    np.testing.assert_array_equal(np.isnan(shy), widths > 2)
    assert 0 < np.isnan(shy).sum() < len(X)
    np.testing.assert_array_equal(shy[widths <= 2], sure[widths <= 2])
    np.testing.assert_allclose(model.predict_proba(X), model.estimator_.predict_proba(X))
    with pytest.raises(AttributeError, match="use predict_interval"):
        ConformalOrdinal(Ridge(), max_levels=2).fit(X, y, groups=speakers)
    assert not hasattr(ConformalOrdinal(Ridge()), "predict_set")


def test_text_and_rows_of_nan(table):
    X, y, speakers = table
    words = np.array(["awful", "poor", "fair", "good", "great"])
    number = ConformalOrdinal(linear()).fit(X, y, groups=speakers)
    category = pd.Series(pd.Categorical(words[y + 2], categories=words, ordered=True))
    model = ConformalOrdinal(linear(), max_levels=3).fit(X, category, groups=speakers)
    np.testing.assert_array_equal(model.predict_set(X), number.predict_set(X))
    np.testing.assert_allclose(model.predict_interval(X), number.predict_interval(X) + 2)
    assert model.classes_.tolist() == sorted(words)
    X[7] = np.nan
    inner = OrdinalClassifier(LogisticRegression(), on_error="nan")
    with pytest.warns(UserWarning, match="left out of training"):
        model = ConformalOrdinal(inner, max_levels=4, method="plus").fit(X, y, groups=speakers)
    assert model.predict_set(X)[7].all() and np.isnan(model.predict_interval(X)[7]).all()
    assert np.isnan(model.predict(X)[7]) and np.isfinite(np.delete(model.predict(X), 7)).all()
    assert np.isfinite(np.delete(model.predict_interval(X), 7, axis=0)).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"calibration": [99]}, "99 is not in groups"),
        ({"calibration": np.arange(12)}, "it is all"),
        ({"calibration": [1], "cv": 3}, "cv and calibration are two ways"),
        ({"cv": list(KFold(5).split(range(240)))}, "on both sides"),
        ({"alpha": 1.0}, "alpha"),
        ({"max_levels": 0}, "max_levels"),
        ({"method": "minus"}, "method"),
    ],
)
def test_parameters_that_cannot_be(table, params, message):
    X, y, speakers = table
    with pytest.raises(ValueError, match=message):
        ConformalOrdinal(linear(), **params).fit(X, y, groups=speakers)


def test_pickles_clones_search_and_routing(table):
    X, y, speakers = table
    last = make_pipeline(StandardScaler(), ConformalOrdinal(linear(), method="plus"))
    last.fit(X, y, conformalordinal__groups=speakers)
    again, scaled = pickle.loads(pickle.dumps(last)), last[:-1].transform(X)
    np.testing.assert_array_equal(
        again[-1].predict_set(scaled),
        clone(last[-1]).fit(scaled, y, groups=speakers).predict_set(scaled),
    )
    grid = {"conformalordinal__estimator__estimator__C": [0.1, 1.0]}
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(last, grid, cv=GroupKFold(3)).fit(X, y, groups=speakers)
    assert search.best_score_ > 0.3 and search.best_estimator_.predict(X).shape == (240,)


def test_whole_pipelines(speech, tmp_path, decoded):
    pipeline = make_sentiment_pipeline(weights=None, memory=tmp_path, n_jobs=1)
    model = ConformalOrdinal(pipeline, max_levels=1, n_jobs=1)
    model.fit(speech.data, speech.target, groups=speech.groups)
    sets = model.predict_set(speech.data)
    assert len(decoded) == 24 and sets.shape == (24, 3) and sets.any(axis=1).all()
    assert model.predict(speech.data).shape == (24,)


# -- MAPIE, which knows neither speakers nor order -------------------------------------------------


@pytest.fixture
def rows_are_speakers(rng):
    """Two levels, whose sets are the same by either definition; each row is a speaker."""
    X, y, _ = voices(rng, 20, 10)
    return X, y, (y > 0).astype(int), np.arange(200)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_mapie_splits_the_same_sets(rows_are_speakers, alpha):
    mapie = pytest.importorskip("mapie.classification")
    X, _, y, rows = rows_are_speakers
    fitted = LogisticRegression().fit(X[:80], y[:80])
    ours = ConformalOrdinal(FrozenEstimator(fitted), alpha)
    ours.fit(X[80:140], y[80:140], groups=rows[80:140])
    theirs = mapie.SplitConformalClassifier(
        fitted, confidence_level=1 - alpha, conformity_score="lac", prefit=True
    ).conformalize(X[80:140], y[80:140])
    sets = theirs.predict_set(X[140:])[1][:, :, 0]
    # Ours also hold the prediction where theirs are empty.
    sets[np.arange(60), fitted.predict(X[140:])] = True
    np.testing.assert_array_equal(ours.predict_set(X[140:]), sets)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["base", "plus"])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_mapie_crosses_the_same_intervals(rows_are_speakers, alpha, method):
    mapie = pytest.importorskip("mapie.regression")
    X, y, _, rows = rows_are_speakers
    folds = KFold(5, shuffle=True, random_state=0)
    ours = ConformalOrdinal(Ridge(), alpha, method=method, cv=folds)
    ours.fit(X[:143], y[:143], groups=rows[:143])
    theirs = mapie.CrossConformalRegressor(
        Ridge(), confidence_level=1 - alpha, method=method, cv=folds
    ).fit_conformalize(X[:143], y[:143])
    np.testing.assert_allclose(
        ours.predict_interval(X[143:]), theirs.predict_interval(X[143:])[1][:, :, 0]
    )


_ROUNDED = "real labels count as the nearest level, as in OrdinalClassifier"
_MEDIAN = "the level is the median, as in OrdinalClassifier: tests/test_scikit_learn_checks.py"
_TEXT = "text has no order, which is asked for: test_text_and_rows_of_nan"


def _expected(estimator):
    if is_regressor(estimator):
        return {}
    return {
        "check_classifiers_regression_target": _ROUNDED,
        "check_classifiers_train": _MEDIAN,
        "check_classifiers_classes": _TEXT,
    }


@pytest.mark.filterwarnings("ignore:Without groups", "ignore:.*absent from the training part")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [ConformalOrdinal(linear()), ConformalOrdinal(IntensityRegressor(Ridge()))],
    expected_failed_checks=_expected,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
