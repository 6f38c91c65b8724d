"""Tables of votes in place of labels: classifiers, regressors, networks, pipelines."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from skorch.callbacks import EpochScoring

from sklearn_speechsent import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    WaveformPerturbation,
    export_onnx,
    load_model,
    make_sentiment_pipeline,
    save_model,
)
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.metrics import get_scorer
from sklearn_speechsent.metrics.votes import median_index, read_votes
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
from sklearn_speechsent.runtime import OnnxSentiment

LEVELS = [-1, 0, 1]
NET = dict(max_epochs=2, batch_size=8, lr=0.01, spec_augment=False, n_jobs=1, random_state=0)
CLASSIFIERS = {
    "ordinal": OrdinalClassifier(levels=LEVELS),
    "logistic": OrdinalClassifier(LogisticRegression(), levels=LEVELS),
    "vote": OrdinalVotingClassifier(
        [("svm", OrdinalClassifier()), ("lr", OrdinalClassifier(LogisticRegression()))],
        levels=LEVELS,
    ),
    "network": SpeechSentimentClassifier(levels=LEVELS, **NET),
    "two heads": SpeechSentimentClassifier(levels=LEVELS, two_headed=True, **NET),
    "sampling": SpeechSentimentClassifier(levels=LEVELS, sampling_exponent=1.0, **NET),
    "hold-out": SpeechSentimentClassifier(
        levels=LEVELS, early_stopping=True, validation_fraction=0.25, **NET
    ),
}


@pytest.fixture
def table(rng):
    """48 rows, and the votes of one to five annotators on what they say."""
    heard = np.arange(48) % 3 - 1
    X = (heard[:, None] + 0.5 * rng.normal(size=(48, 4))).astype(np.float32)
    votes = np.zeros((48, 3), dtype=int)
    for row, level in enumerate(heard):
        for _ in range(rng.integers(1, 6)):
            votes[row, int(np.clip(np.rint(level + 0.6 * rng.normal()), -1, 1)) + 1] += 1
    return X, pd.DataFrame(votes, columns=LEVELS)


@pytest.fixture(params=CLASSIFIERS)
def classifier(request):
    """A classifier of levels, unfitted."""
    return clone(CLASSIFIERS[request.param])


def test_unanimous_votes_are_labels(classifier, table):
    X, votes = table
    y = np.array(LEVELS)[median_index(read_votes(votes)[0])]
    expected = clone(classifier).fit(X, y).predict_proba(X)
    for times in (1, 3):
        found = classifier.fit(X, times * (y[:, None] == LEVELS)).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-7)
    assert classifier.score(X, y[:, None] == LEVELS) == classifier.score(X, y)


def test_every_form_of_the_same_votes(classifier, table):
    X, votes = table
    expected = clone(classifier).fit(X, votes).predict_proba(X)
    assert not np.allclose(expected, expected[0], atol=0.01)
    for y in (votes.to_numpy(), votes.div(votes.sum(axis=1), axis=0), votes[[1, -1, 0]]):
        found = clone(classifier).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    own = clone(classifier).set_params(levels=None).fit(X, votes)
    np.testing.assert_allclose(own.predict_proba(X), expected, atol=1e-6)
    assert own.levels_.tolist() == LEVELS
    again = pickle.loads(pickle.dumps(own))
    np.testing.assert_array_equal(again.predict_proba(X), own.predict_proba(X))


def test_the_median_counts_in_score(classifier, table):
    X, votes = table
    predicted = classifier.fit(X, votes).predict(X)
    median = np.array(LEVELS)[median_index(read_votes(votes)[0])]
    assert classifier.score(X, votes) == np.mean(predicted == median) > 0.4


def test_searches(table):
    X, votes = table
    groups = np.arange(48) // 6
    cv = StratifiedSpeakerKFold(2)
    scorer = get_scorer("neg_ranked_probability_error")
    search = GridSearchCV(OrdinalClassifier(), {"C": [0.1, 10]}, scoring=scorer, cv=cv)
    assert search.fit(X, votes, groups=groups).best_score_ > -0.6
    net = SpeechSentimentClassifier(**NET)
    assert np.isfinite(cross_val_score(net, X, votes, groups=groups, cv=cv, scoring=scorer)).all()
    with pytest.raises(ValueError, match="cross_val_predict"):
        cross_val_predict(OrdinalClassifier(), X, votes, method="predict_proba")


# -- thresholds ------------------------------------------------------------------------------------


def test_thresholds_learn_every_vote(table):
    """A row per vote, with weights that sum to one for each recording."""
    X, votes = table[0].astype(float), table[1]
    rows, y, weight = [], [], []
    for row, counts in enumerate(votes.to_numpy()):
        rows += [row] * counts.sum()
        y += np.repeat(LEVELS, counts).tolist()
        weight += [1 / counts.sum()] * counts.sum()
    machine = OrdinalClassifier(LogisticRegression(tol=1e-10))
    expected = clone(machine).fit(X[rows], y, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(machine.fit(X, votes).predict_proba(X), expected, atol=1e-6)
    by_votes = clone(machine).fit(X[rows], y).predict_proba(X)
    found = clone(machine).fit(X, votes, sample_weight=votes.sum(axis=1)).predict_proba(X)
    np.testing.assert_allclose(found, by_votes, atol=1e-6)


def test_the_shared_kernel_changes_nothing(table):
    """With weights each threshold computes its own kernel."""
    X, votes = table
    machine = OrdinalClassifier(SVC(gamma=0.1, class_weight="balanced", tol=1e-6))
    shared = clone(machine).fit(X, votes)
    own = clone(machine).fit(X, votes, sample_weight=np.ones(48))
    assert shared._shared_ is not None and own._shared_ is None
    np.testing.assert_allclose(shared.predict_proba(X), own.predict_proba(X), atol=1e-3)


def test_balance_goes_by_what_most_annotators_chose(table):
    """Every vote as a row, with the weight of the side on which most votes of its recording are."""
    X, votes = table
    estimator = make_pipeline(StandardScaler(), SVC(gamma=0.1, class_weight="balanced", tol=1e-6))
    found = OrdinalClassifier(estimator).fit(X, votes)
    shares, _ = read_votes(votes)
    for k in range(2):
        above = shares[:, k + 1 :].sum(axis=1)
        side = above > 0.5
        size = np.where(side, side.mean(), 1 - side.mean())
        weight = np.concatenate([above / (2 * size), (1 - above) / (2 * size)])
        scaled = StandardScaler().fit_transform(X)
        used = weight > 0
        rows, y = np.concatenate([scaled, scaled])[used], np.repeat([True, False], 48)[used]
        expected = SVC(gamma=0.1, tol=1e-6).fit(rows, y, weight[used]).decision_function(scaled)
        np.testing.assert_allclose(found.estimators_[k].decision_function(X), expected, atol=1e-3)


def test_rows_come_twice_only_where_votes_are_divided(table, monkeypatch):
    X, votes = table
    counts = votes.to_numpy()
    divided = [((counts[:, :k].sum(1) > 0) & (counts[:, k:].sum(1) > 0)).sum() for k in (1, 2)]
    rows, fit = [], SVC.fit
    monkeypatch.setattr(
        SVC,
        "fit",
        lambda self, X, y, sample_weight=None: (
            rows.append(len(y)) or fit(self, X, y, sample_weight)
        ),
    )
    OrdinalClassifier().fit(X, votes)
    assert sorted(rows) == sorted(48 + n for n in divided) and 0 < min(divided) < 48


def test_divided_votes_need_weights(table):
    X, votes = table
    with pytest.raises(ValueError, match=r"table of votes.*KNeighborsClassifier takes no sample_w"):
        OrdinalClassifier(KNeighborsClassifier()).fit(X, votes)
    unanimous = pd.DataFrame(np.eye(3)[np.arange(48) % 3], columns=LEVELS)
    assert OrdinalClassifier(KNeighborsClassifier()).fit(X, unanimous).score(X, unanimous) > 0.8


@pytest.mark.parametrize("estimator", [None, LogisticRegression()])
def test_with_metadata_routing(estimator, table):
    X, votes = table
    model = OrdinalClassifier(estimator)
    expected = clone(model).fit(X, votes).predict_proba(X)
    with sklearn.config_context(enable_metadata_routing=True):
        found = model.fit(X, votes).predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_levels_without_votes_warn(table):
    X, votes = table
    with pytest.warns(UserWarning, match="No training label is at level 2"):
        model = OrdinalClassifier(levels=range(-1, 3)).fit(X, votes)
    assert model.predict_proba(X).shape == (48, 4)
    one = pd.DataFrame({-1: np.ones(48), 0: np.zeros(48)})
    with pytest.raises(ValueError, match="only one class"):
        OrdinalClassifier().fit(X, one)


def test_text(table):
    X, votes = table
    names = ["zero", "one", "two"]
    numbers = OrdinalClassifier().fit(X, votes).predict(X)
    votes.columns = pd.CategoricalIndex(names, categories=names, ordered=True)
    model = OrdinalClassifier().fit(X, votes)
    assert model.levels_.tolist() == names and model.classes_.tolist() == sorted(names)
    np.testing.assert_array_equal(model.predict(X), np.array(names)[numbers + 1])
    scorer = get_scorer("neg_ranked_probability_error")
    assert scorer(model, X, votes) > -0.6
    with pytest.raises(ValueError, match=r"needs numbers.*'zero'"):
        SpeechSentimentClassifier(two_headed=True, **NET).fit(X, votes)
    with pytest.raises(ValueError, match="text has no mean"):
        IntensityRegressor().fit(X, votes)


def test_rows_of_nan_stay_with_their_votes(table):
    X, votes = table
    bad = X.copy()
    bad[[3, 40]] = np.nan
    rows = np.setdiff1d(np.arange(48), [3, 40])
    for model in (
        OrdinalClassifier(on_error="nan"),
        SpeechSentimentClassifier(on_error="nan", **NET),
    ):
        with pytest.warns(UserWarning, match="left out"):
            found = clone(model).fit(bad, votes).predict_proba(X)
        expected = model.fit(X[rows], votes.iloc[rows]).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-6)


# -- intensities -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "regressor",
    [
        IntensityRegressor(),
        IntensityVotingRegressor([("a", IntensityRegressor()), ("b", IntensityRegressor(C=1))]),
        SpeechSentimentRegressor(**NET),
        SpeechSentimentRegressor(early_stopping=True, validation_fraction=0.25, **NET),
    ],
    ids=["machine", "vote", "network", "hold-out"],
)
def test_regressors_learn_the_mean(regressor, table):
    X, votes = table
    mean = votes.to_numpy() @ LEVELS / votes.sum(axis=1).to_numpy()
    expected = clone(regressor).fit(X, mean)
    regressor.fit(X, votes)
    np.testing.assert_allclose(regressor.predict(X), expected.predict(X), atol=1e-6)
    assert regressor.score(X, votes) == pytest.approx(expected.score(X, mean))


def test_an_array_of_votes_has_no_values(table):
    X, votes = table
    with pytest.raises(ValueError, match="levels are not known"):
        IntensityRegressor().fit(X, votes.to_numpy())
    net = SpeechSentimentRegressor(levels=LEVELS, **NET)
    expected = clone(net).fit(X, votes).predict(X)
    np.testing.assert_allclose(net.fit(X, votes.to_numpy()).predict(X), expected, atol=1e-6)


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordinal", ["coral", "corn", "condor", "clm", "ce", "sord"])
def test_every_head_approaches_the_shares(ordinal, rng):
    """Rows without information: what is left to learn are the mean shares."""
    X = np.zeros((40, 4), dtype=np.float32)
    votes = pd.DataFrame(
        np.tile([[4, 1, 0], [0, 1, 4], [1, 3, 1], [5, 0, 0]], (10, 1)), columns=LEVELS
    )
    net = SpeechSentimentClassifier(
        ordinal=ordinal, max_epochs=15, batch_size=20, lr=0.01, n_jobs=1, random_state=0
    )
    proba = net.fit(X, votes).predict_proba(X)[0]
    expected = [0.5, 0.25, 0.25]
    if ordinal == "sord":
        soft = np.exp(-2.0 * np.abs(np.subtract.outer(range(3), range(3))))
        expected = expected @ (soft / soft.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(proba, expected, atol=0.03)


def test_validation_data_and_later_fits(table):
    X, votes = table
    net = SpeechSentimentClassifier(**NET)
    net.fit(X[:32], votes[:32], X_val=X[32:], y_val=votes[32:])
    assert np.isfinite(net.history[:, "valid_loss"]).all()
    net.partial_fit(X, votes).partial_fit(X, votes.to_numpy()).partial_fit(X, votes.idxmax(axis=1))
    with pytest.raises(ValueError, match="a column 5, and the levels are"):
        net.partial_fit(X, votes.rename(columns={1: 5}))


def test_scores_of_epochs(table):
    """Callbacks get the shares, in the order of the levels."""
    X, votes = table
    scorer = get_scorer("neg_ranked_probability_error", levels=LEVELS)
    callback = EpochScoring(scorer, name="rps", lower_is_better=False)
    net = SpeechSentimentClassifier(
        early_stopping=True, validation_fraction=0.25, callbacks=[callback], **NET
    )
    scores = net.fit(X, votes).history[:, "rps"]
    assert len(scores) == 2 and -1 < min(scores) <= max(scores) < 0


def test_resuming(table, tmp_path):
    """A finished fit is read; other votes, or other levels of the same votes, are other fits."""
    X, votes = table
    net = SpeechSentimentClassifier(two_headed=True, resume=tmp_path, **NET)
    first = clone(net).fit(X, votes)
    again = clone(net).fit(X, votes)
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    other = clone(net).fit(X, votes.rename(columns={1: 2}))
    clone(net).fit(X, votes[::-1])
    assert len(list(tmp_path.iterdir())) == 3 and other.levels_.tolist() == [-1, 0, 2]
    whole = clone(net).set_params(resume=None).fit(X, votes)
    np.testing.assert_array_equal(whole.predict_proba(X), first.predict_proba(X))


def test_an_interrupted_fit_goes_on(table, tmp_path, monkeypatch):
    X, votes = table
    net = SpeechSentimentClassifier(two_headed=True, **NET)
    whole = clone(net).fit(X, votes).predict_proba(X)
    net.set_params(resume=tmp_path)
    steps, step = [], SpeechSentimentClassifier.train_step_single

    def interrupted(*args, **kwargs):
        steps.append(0)
        if len(steps) == 9:  # in the second epoch
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(SpeechSentimentClassifier, "train_step_single", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clone(net).fit(X, votes)
    np.testing.assert_array_equal(clone(net).fit(X, votes).predict_proba(X), whole)
    assert len(steps) == 9 + 6  # the second epoch again


# -- pipelines, bundles, graphs --------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(speech):
    """Votes on the recordings of the synthetic corpus, one of five elsewhere."""
    votes = 4.0 * (speech.target[:, None] == LEVELS)
    return pd.DataFrame(votes + np.roll(votes, 1, axis=0) / 4, columns=LEVELS)


@pytest.mark.parametrize("system", ["small", "2/2SREx-SEResNet-16 + C + R", "finetuned"])
def test_pipelines_bundles_and_graphs(system, speech, spoken, tmp_path):
    params = {} if system == "small" else {"max_epochs": 1, "random_state": 0}
    pipeline = make_sentiment_pipeline(system, weights="speechsent-seresnet", **params)
    pipeline.fit(speech.data[:12], spoken[:12])
    proba = pipeline.predict_proba(speech.data[:4])
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    loaded = load_model(save_model(pipeline, tmp_path / "bundle"))
    np.testing.assert_allclose(loaded.predict_proba(speech.data[:4]), proba, atol=1e-6)
    runtime = OnnxSentiment(export_onnx(pipeline, tmp_path / "model.onnx"))
    np.testing.assert_allclose(runtime.predict_proba(speech.data[:4]), proba, atol=1e-4)


def test_copies_have_the_votes_of_their_recording(speech, spoken):
    pipeline = make_sentiment_pipeline(weights=None, vad="passthrough")
    model = WaveformPerturbation(pipeline, conditions=(), predict_speeds=(1,))
    model.fit(speech.data, spoken)
    by_hand = clone(pipeline).fit(
        [r.perturbed(speed=speed) for speed in (1.0, 0.9) for r in as_recordings(speech.data)],
        pd.concat([spoken, spoken]),
    )
    X = speech.data[:5]
    np.testing.assert_allclose(model.predict_proba(X), by_hand.predict_proba(X), atol=1e-6)
    assert 0 <= model.score(speech.data, spoken) <= 1
    intensity = WaveformPerturbation(
        make_sentiment_pipeline(weights=None, vad="passthrough", target="intensity"), conditions=()
    )
    assert intensity.fit(speech.data, spoken).score(speech.data, spoken) > 0
    with pytest.raises(ValueError, match=r"row 2 .1 of 24. has none"):
        empty = spoken.copy()
        empty.iloc[2] = 0
        model.fit(speech.data, empty)
