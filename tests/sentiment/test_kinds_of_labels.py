"""Labels of every kind: text, categories, other scales, later fits, encoded and real ones."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    WaveformPerturbation,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.metrics import get_scorer

#: In ordinal order, and in another one when sorted.
NAMES = ["poor", "fair", "good", "best"]
NET = dict(max_epochs=1, batch_size=16, lr=0.02, spec_augment=False, n_jobs=1, random_state=0)
CLASSIFIERS = {
    "ordinal": OrdinalClassifier(),
    "network": SpeechSentimentClassifier(**NET),
}


@pytest.fixture(params=CLASSIFIERS)
def classifier(request):
    """A classifier of levels, unfitted."""
    return clone(CLASSIFIERS[request.param])


@pytest.fixture
def table(rng):
    """40 rows that tell levels 0 … 3 apart, and the levels."""
    code = np.arange(40) % 4
    return (code[:, None] + 0.1 * rng.normal(size=(40, 3))).astype(np.float32), code


def category(code, index=None):
    values = pd.Categorical.from_codes(code, NAMES, ordered=True)
    return pd.Series(values, index=index)


# -- text and categories ---------------------------------------------------------------------------


WORDS = [
    (["bad", "fine", "good", "best"], r"order is not known.*levels=\["),
    (["no", "yes", "no", "yes"], r"order is not known.*levels=\["),
    (["-2", "-1", "+1", "2"], r"'-2' in row 0.*pd.to_numeric\(pd.Series\(y\)\)"),
    (["0,5", "1", "1,5", "2"], r"pd.to_numeric\(pd.Series\(y\).str.replace\(\",\", \"\.\"\)"),
    ([" 1", "2 ", " 3 ", "4.0"], "numbers as text"),
    (["\N{MINUS SIGN}1", "0", "1", "2"], "numbers as text"),
    (["1", "2", "3", "n/a"], "'1' in row 0.*'n/a' in row 3.*errors=\"coerce\""),
]


@pytest.mark.parametrize(("text", "message"), WORDS)
@pytest.mark.parametrize("dtype", [None, object, "string", "category"])
def test_text_needs_an_order(classifier, table, text, message, dtype):
    X, _ = table
    y = pd.Series(text * 10, dtype=dtype) if dtype else np.array(text * 10)
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, y)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, "3", 4], r"text in rows 2.*'3'.*something else in rows 0, 1, 3"),
        ([b"1", b"2", b"3", b"4"], r"bytes.*b'1' in row 0.*Decode"),
        (pd.to_datetime(["2020", "2021", "2022", "2023"]).tolist(), "numbers or an ordered"),
        ([1j, 2, 3, 4], "numbers or an ordered|Complex data"),
        ([(1,), (2, 3), (4,), (5,)], "numbers or an ordered|inhomogeneous"),
    ],
)
def test_labels_that_are_neither_numbers_nor_text(classifier, table, labels, message):
    X, _ = table
    for y in (labels * 10, pd.Series(labels * 10)):
        with pytest.raises(ValueError, match=message):
            clone(classifier).fit(X, y)


@pytest.mark.parametrize("container", [pd.Series, pd.Categorical, pd.CategoricalIndex, "levels"])
def test_an_order_by_name(classifier, table, container):
    """The model of named levels is that of their numbers, columns sorted by name."""
    X, code = table
    y = np.array(NAMES)[code]
    if container == "levels":
        named = clone(classifier).set_params(levels=NAMES).fit(X, y.astype(object))
    else:
        given = category(code, index=np.random.default_rng(1).permutation(40))
        named = clone(classifier).fit(X, given if container is pd.Series else container(given))
    numbers = clone(classifier).fit(X, code)
    assert named.levels_.tolist() == NAMES
    assert named.classes_.tolist() == sorted(NAMES)
    np.testing.assert_array_equal(named.predict(X), np.array(NAMES)[numbers.predict(X)])
    columns = [NAMES.index(name) for name in sorted(NAMES)]
    np.testing.assert_array_equal(named.predict_proba(X), numbers.predict_proba(X)[:, columns])
    assert named.score(X, y) == numbers.score(X, code)
    loaded = pickle.loads(pickle.dumps(named))
    np.testing.assert_array_equal(loaded.predict(X), named.predict(X))
    expected = log_loss(y, named.predict_proba(X), labels=sorted(NAMES))
    scored = sklearn.metrics.get_scorer("neg_log_loss")(named, X, y)
    assert scored == pytest.approx(-expected)


def test_scorers_align_named_levels(classifier, table):
    X, code = table
    y, fitted = category(code), classifier.fit(X, code)
    named = clone(classifier).fit(X, y)
    for name in ("quadratic_weighted_kappa", "neg_ranked_probability_error", "within_one_accuracy"):
        expected = get_scorer(name, levels=range(4))(fitted, X, code)
        for scorer in (get_scorer(name), pickle.loads(pickle.dumps(get_scorer(name)))):
            assert scorer(named, X, y) == pytest.approx(expected)
        by_name = get_scorer(name, levels=NAMES)
        assert by_name(named, X, np.array(NAMES)[code]) == pytest.approx(expected)


def test_a_category_keeps_its_order_through_folds(table):
    X, code = table
    X, code = X[:-5], code[:-5]
    y = category(code, index=np.arange(35)[::-1])
    model = make_pipeline(StandardScaler(), OrdinalClassifier())
    assert cross_val_score(model, X, y, cv=StratifiedKFold(3)).min() > 0.9
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.9
    few = code != 3  # a fold without the highest level
    with pytest.warns(UserWarning, match="at level best;"):
        part = model.fit(X[few], y[few])
    assert part[-1].levels_.tolist() == NAMES


def test_orders_that_contradict_each_other(classifier, table):
    X, code = table
    numbers = pd.Categorical(np.array(["-1", "-2", "0", "1"])[code], ordered=True)
    with pytest.raises(ValueError, match="numbers as text, and their order is not that"):
        classifier.fit(X, numbers)
    with pytest.raises(ValueError, match=r"order of the category .* is not that of levels="):
        clone(classifier).set_params(levels=NAMES[::-1]).fit(X, category(code))
    with pytest.raises(ValueError, match="Label 'God' in row 0 lies off the scale"):
        y = np.array(NAMES)[code].astype(object)
        y[0] = "God"
        clone(classifier).set_params(levels=NAMES).fit(X, y)
    with pytest.raises(ValueError, match="are text, and labels are not"):
        clone(classifier).set_params(levels=NAMES).fit(X, code - 2)


def test_categories_of_numbers_and_of_intervals(table):
    X, code = table
    grades = pd.Categorical(4 - code, categories=[4, 3, 2, 1], ordered=True)  # 1 is best
    model = OrdinalClassifier().fit(X, grades)
    assert model.levels_.tolist() == [4, 3, 2, 1] and model.classes_.tolist() == [1, 2, 3, 4]
    assert model.predict(X).tolist() == (4 - code).tolist() and model.score(X, 4 - code) == 1
    unordered = OrdinalClassifier().fit(X, pd.Categorical(4 - code))  # numbers have an order
    assert unordered.levels_.tolist() == [1, 2, 3, 4]
    bins = pd.cut(code, [-1, 0, 2, 10])
    model = OrdinalClassifier().fit(X, bins)
    assert model.levels_.tolist() == ["(-1, 0]", "(0, 2]", "(2, 10]"]
    assert model.score(X, bins) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda y: pd.Series(y, dtype="Int64", index=range(50, 10, -1)),
        lambda y: np.array(y, dtype=object),
        lambda y: y.astype(np.float16),
        lambda y: y.astype(np.uint8),
        lambda y: list(y),
        lambda y: tuple(y.astype(float).tolist()),
        lambda y: np.ma.masked_array(y),
        lambda y: pd.Series(y, dtype="Float32"),
    ],
)
def test_numbers_in_any_container(classifier, table, make):
    X, code = table
    fitted = clone(classifier).fit(X, make(code))
    assert fitted.levels_.tolist() == [0, 1, 2, 3]
    expected = clone(classifier).fit(X, code).predict_proba(X)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: pd.Series(y, dtype="Int64").mask(np.arange(40) == 7),
        lambda y: np.where(np.arange(40) == 7, np.nan, y),
        lambda y: np.where(np.arange(40) == 7, -np.inf, y),
        lambda y: [None if row == 7 else label for row, label in enumerate(y)],
        lambda y: np.ma.masked_array(y, np.arange(40) == 7),
        lambda y: category(y).mask(np.arange(40) == 7),
        lambda y: np.where(np.arange(40) == 7, None, np.array(NAMES, object)[y]),
    ],
)
def test_missing_labels_name_their_row(classifier, table, make):
    X, code = table
    with pytest.raises(ValueError, match=r"y contains NaN or infinity: 1 of 40 .* row 7\b"):
        classifier.fit(X, make(code))


def test_truth_values_and_columns(classifier, table):
    X, code = table
    fitted = clone(classifier).fit(X, code > 1)
    assert fitted.levels_.tolist() == [False, True] and fitted.score(X, code > 1) == np.mean(
        fitted.predict(X) == (code > 1)
    )
    for column in (code[:, None], pd.DataFrame({"label": code})):
        with pytest.warns(Warning, match="1d array"):
            assert clone(classifier).fit(X, column).levels_.tolist() == [0, 1, 2, 3]


def test_a_regression_head_needs_numbers(table):
    X, code = table
    for net in (
        SpeechSentimentRegressor(**NET),
        SpeechSentimentClassifier(two_headed=True, levels=NAMES, **NET),
    ):
        with pytest.raises(ValueError, match=r"regression head needs numbers.*cat\.codes"):
            net.fit(X, category(code))


# -- the scale -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "n_levels"),
    [
        (np.linspace(-1, 1, 5), 3),  # halves go to the even level
        (np.linspace(0, 1, 11), 2),
        (np.linspace(0.5, 5, 10), 6),  # half stars
        (np.random.default_rng(0).uniform(0, 1, 40), 2),
    ],
)
def test_values_that_became_one_level_are_counted(classifier, table, values, n_levels):
    X, _ = table
    y = np.resize(values, 40)
    message = f"^{len(np.unique(values))} values became {n_levels} levels.*Pass levels="
    with pytest.warns(UserWarning, match=message):
        classifier.fit(X, y)
    scale = clone(classifier).set_params(levels=np.unique(values))  # no warning
    assert len(scale.fit(X, y).levels_) == len(np.unique(values))


def test_means_of_ratings_are_no_mistake(classifier, table):
    X, _ = table
    thirds = np.resize(np.arange(-9, 10) / 3, 40)
    assert classifier.fit(X, thirds).levels_.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"only one class.* 4 values became 1 level: pass levels="):
        classifier.fit(X, np.resize([0, 0.1, 0.2, 0.3], 40))


@pytest.mark.data
def test_labels_of_cmu_mosei_are_no_mistake(data_home):
    labels = pd.read_csv(data_home / "cmu_mosei" / "labels.csv")["sentiment"].to_numpy()
    for y in (labels, labels[:200]):
        model = OrdinalClassifier().fit(y[:200, None], y[:200])
        assert model.levels_.min() >= -3


def test_balanced_draws_of_a_regressor_count_too(table):
    X, code = table
    net = SpeechSentimentRegressor(sampling_exponent=1.0, **NET)
    with pytest.warns(UserWarning, match="4 values became 2 levels"):
        net.fit(X, code / 3)
    net.set_params(levels=np.unique(code / 3)).fit(X, code / 3)


def test_levels_in_any_order(classifier, table):
    X, code = table
    fitted = clone(classifier).set_params(levels=(3, 1, 0, 2)).fit(X, code)
    assert fitted.levels_.tolist() == [0, 1, 2, 3]
    for wrong in ([0, 1, 1, 2, 3], [0, np.nan, 3], ["a", 1], [[0, 1, 2, 3]]):
        with pytest.raises(ValueError, match="levels must be two or more different"):
            clone(classifier).set_params(levels=wrong).fit(X, code)


# -- later fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["partial_fit", "warm_start", "y_val"])
@pytest.mark.parametrize(
    "net",
    [
        SpeechSentimentClassifier(**NET),
        SpeechSentimentRegressor(two_headed=True, **NET),
        SpeechSentimentRegressor(levels=[0, 1, 2, 3], **NET),
    ],
    ids=["classifier", "two-headed", "regressor with levels"],
)
def test_later_labels_off_the_scale(net, table, way):
    X, code = table
    net = clone(net).set_params(warm_start=way == "warm_start").fit(X, code)
    later = np.where(np.arange(40) == 9, 5, code)
    message = re.escape("lies off the scale [0, 1, 2, 3]")
    with pytest.raises(ValueError, match=f"Label 5(.0)? in row 9( of y_val)? {message}"):
        if way == "y_val":
            net.fit(X, code, X_val=X, y_val=later)
        else:
            (net.fit if way == "warm_start" else net.partial_fit)(X, later)


def test_later_labels_between_the_levels_and_without_any(table):
    X, code = table
    net = SpeechSentimentClassifier(**NET).partial_fit(X, code)
    between = clone(net).fit(X, code)
    net.partial_fit(X, code + 0.3)
    np.testing.assert_array_equal(
        net.predict_proba(X), between.partial_fit(X, code).predict_proba(X)
    )
    regressor = SpeechSentimentRegressor(**NET).partial_fit(X, code)
    assert np.isfinite(regressor.partial_fit(X, code + 7).predict(X)).all()


def test_later_fits_on_other_levels(table):
    X, code = table
    net = SpeechSentimentClassifier(**NET).partial_fit(X, category(code))
    net.partial_fit(X, np.array(NAMES)[code])  # known by name now
    with pytest.raises(ValueError, match="not those of the first fit"):
        net.partial_fit(X, np.array(NAMES)[code], classes=NAMES[::-1])
    net = SpeechSentimentClassifier(**NET).partial_fit(X, code)
    with pytest.raises(ValueError, match=r"\[0, 1, 2, 3, 4\] are not those of the first fit"):
        net.partial_fit(X, code, classes=range(5))
    net.set_params(warm_start=False).fit(X, code + 5)  # from the start
    assert net.levels_.tolist() == [5, 6, 7, 8]


# -- labels that scikit-learn replaces -------------------------------------------------------------


NAMED = r'cross_val_predict\(method="predict_proba"\), VotingClassifier, StackingClassifier'


@pytest.mark.parametrize(
    "fit",
    [
        lambda model, X, y: cross_val_predict(model, X, y, method="predict_proba", cv=2),
        lambda model, X, y: VotingClassifier([("a", model)], voting="soft").fit(X, y),
        lambda model, X, y: StackingClassifier([("a", model)], cv=2).fit(X, y),
        lambda model, X, y: BaggingClassifier(model, 2).fit(X, y),
        lambda model, X, y: CalibratedClassifierCV(model, cv=2, ensemble=False).fit(X, y),
    ],
    ids=["cross_val_predict", "voting", "stacking", "bagging", "calibrated"],
)
class TestEncodedLabels:
    """Meta-estimators that put 0 … K - 1 in the place of labels."""

    def test_they_are_named(self, classifier, table, fit):
        X, code = table
        y, model = code - 1, classifier.set_params(levels=[-1, 0, 1, 2])
        with pytest.raises(ValueError, match=f"Label 3 in row .*{NAMED}"):
            fit(model, X, y)

    def test_the_way_out(self, table, fit):
        X, code = table
        model = OrdinalClassifier(levels=range(4))
        fitted = fit(model, X, code)
        proba = fitted if isinstance(fitted, np.ndarray) else fitted.predict_proba(X)
        assert (proba.argmax(axis=1) == code).all()


def test_a_level_that_lacks_at_the_top_names_them(classifier, table):
    X, code = table
    with pytest.warns(UserWarning, match=f"at level 4, 5;.*{NAMED}"):
        clone(classifier).set_params(levels=range(6)).fit(X, code)
    with pytest.warns(UserWarning, match="at level -1; it will hardly ever be predicted.$"):
        y = np.where(code == 1, 2, code - 2)
        clone(classifier).set_params(levels=range(-2, 3)).fit(X, np.where(y == -1, 1, y))


# -- score -----------------------------------------------------------------------------------------


def test_score_of_real_labels(classifier, table, rng):
    X, code = table
    y = code + rng.uniform(-0.45, 0.45, 40)
    fitted = clone(classifier).fit(X, y)
    hits = fitted.predict(X) == code
    assert fitted.score(X, y) == fitted.score(X, code) == hits.mean()
    weight = rng.uniform(size=40)
    assert fitted.score(X, y, sample_weight=weight) == pytest.approx(
        np.average(hits, weights=weight)
    )
    assert cross_val_score(OrdinalClassifier(), X, y).min() > 0.7


def test_labels_without_a_level_count_as_wrong(table):
    X, code = table
    model = OrdinalClassifier().fit(X[code < 3], code[code < 3])
    assert (model.predict(X[code == 3]) == 2).all()
    assert model.score(X, code) == 0.75  # and not 1, with 3 taken for the nearest level, 2
    gap = OrdinalClassifier().fit(X[code != 1], code[code != 1])
    assert gap.score(X, code) == 0.75
    given = OrdinalClassifier(levels=[0, 2, 3]).fit(X[code != 1], code[code != 1])
    assert given.score(X[code == 0], np.full(10, 0.9)) == 1  # the nearest level is 0
    assert given.score(X[code == 0], np.full(10, -0.9)) == 0


def test_a_training_label_next_to_a_gap_counts(table):
    X, code = table
    y = np.array([-3, 1, 1.2, 1.5])[code]
    model = OrdinalClassifier().fit(X, y)
    assert model.levels_.tolist() == [-3, 1] and model.score(X, y) == 1


# -- perturbed copies ------------------------------------------------------------------------------


def test_copies_of_named_levels(rng):
    """Named levels through WaveformPerturbation: the model of their numbers."""
    X = [level * 0.1 * rng.normal(size=4000) for level in np.tile([1, 2, 3], 4)]
    code = np.tile([0, 1, 2], 4)
    inner = make_pipeline(MelFilterBank(), FrameStatistics(), OrdinalClassifier())
    model = WaveformPerturbation(inner, conditions=())
    numbers = clone(model).fit(X, code)
    named = clone(model).fit(X, category(code).cat.remove_unused_categories())
    np.testing.assert_array_equal(named.predict(X), np.array(NAMES)[numbers.predict(X)])
    assert named.score(X, category(code)) == numbers.score(X, code)
    assert clone(model).fit(X, code + 0.3).score(X, code + 0.3) == numbers.score(X, code)
