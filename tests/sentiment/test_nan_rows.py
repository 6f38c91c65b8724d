"""Rows of NaN in training, prediction and scores, under either ``on_error``."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse
import soundfile
from sklearn.base import clone, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from sklearn_speechsent import (
    IntensityRegressor,
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.metrics import get_scorer

NET = dict(max_epochs=1, batch_size=8, n_jobs=1, random_state=0)
ESTIMATORS = {
    "ordinal": OrdinalClassifier(),
    "trees": OrdinalClassifier(HistGradientBoostingClassifier(max_iter=2)),
    "intensity": IntensityRegressor(),
    "trees of intensity": IntensityRegressor(HistGradientBoostingRegressor(max_iter=2)),
    "classifier": SpeechSentimentClassifier(**NET),
    "regressor": SpeechSentimentRegressor(**NET),
}
#: What each takes.
KINDS = {
    "ordinal": ["table"],
    "trees": ["table"],
    "intensity": ["table"],
    "trees of intensity": ["table"],
    "classifier": ["table", "frames"],
    "regressor": ["table", "frames"],
}
#: Rows of NaN among 30.
BAD = np.isin(np.arange(30), [4, 11, 12, 17, 20, 26, 29])
NAMED = "rows 4, 11, 12, 17, 20 and 2 more"


@pytest.fixture(params=[(name, kind) for name in ESTIMATORS for kind in KINDS[name]], ids="-".join)
def case(request):
    """One of all estimators, unfitted, and the kind of X."""
    name, kind = request.param
    return clone(ESTIMATORS[name]), kind


@pytest.fixture
def estimator(case):
    """The estimator of a case."""
    return case[0]


@pytest.fixture
def kind(case):
    """The kind of X of a case."""
    return case[1]


def make(kind, rng, bad=BAD):
    """30 rows of levels -1 … 1 without and with rows of NaN, and the levels."""
    y = np.arange(30) % 3 - 1
    X = (y[:, None] + 0.1 * rng.normal(size=(30, 4))).astype(np.float32)
    broken = np.where(bad[:, None], np.float32(np.nan), X)
    return (X, broken, y) if kind == "table" else (as_frames(X), as_frames(broken), y)


def as_frames(rows):
    """Rows of a table as utterances of two frames."""
    return UtteranceFrames.from_arrays([np.stack([row, row]) for row in rows])


def soft(estimator):
    return "predict_proba" if is_classifier(estimator) else "predict"


def test_predictions_where_an_error_is_asked_for(estimator, kind, rng):
    X, broken, y = make(kind, rng)
    fitted = estimator.fit(X, y)
    expected = getattr(fitted, soft(fitted))(X)
    with pytest.warns(UserWarning, match=rf"7 of 30 rows are NaN \({NAMED}\)"):
        found = getattr(fitted, soft(fitted))(broken)
    assert np.isnan(found[BAD]).all() and found.shape == expected.shape
    np.testing.assert_allclose(found[~BAD], expected[~BAD], rtol=1e-5, atol=1e-5)
    if is_classifier(fitted):
        with pytest.raises(ValueError, match=rf"{NAMED} \(7 of 30\).*on_error=\"nan\""):
            fitted.predict(broken)


def test_predictions_where_nan_is_asked_for(estimator, kind, rng):
    X, broken, y = make(kind, rng)
    fitted = estimator.set_params(on_error="nan").fit(X, y)
    for method in {"predict", soft(fitted)}:
        found = getattr(fitted, method)(broken)
        assert found.dtype.kind == "f" and np.isnan(found[BAD]).all()
        expected = getattr(fitted, method)(X)
        np.testing.assert_allclose(found[~BAD], expected[~BAD], rtol=1e-5, atol=1e-5)
    assert np.isnan(fitted.predict(broken[BAD])).all()  # nothing else


def test_training(estimator, kind, rng):
    X, broken, y = make(kind, rng)
    remedy = r".*check_recordings.*on_error=\"nan\""
    with pytest.raises(ValueError, match=rf"NaN: 7 of 30 rows .*\({NAMED}\){remedy}"):
        estimator.fit(broken, y)
    estimator.set_params(on_error="nan")
    with pytest.warns(UserWarning, match="7 of 30 rows hold NaN") as caught:
        found = clone(estimator).fit(broken, y)
    assert caught[0].filename == __file__
    expected = clone(estimator).fit(X[~BAD], y[~BAD])
    np.testing.assert_array_equal(*(getattr(m, soft(m))(X) for m in (found, expected)))
    with pytest.raises(ValueError, match=r"30 of 30 rows hold NaN\. There is nothing"):
        clone(estimator).fit(make(kind, rng, BAD | True)[1], y)
    y[4] = 7
    y[3] = 9
    with pytest.raises(ValueError, match="Label 9 in row 3"):  # rows as they were given
        clone(OrdinalClassifier(levels=[-1, 0, 1], on_error="nan")).fit(
            make("table", rng)[1], np.where(y == 7, 1, y)
        )


@pytest.mark.parametrize("on_error", ["raise", "nan"])
@pytest.mark.filterwarnings("ignore:7 of 30 rows are NaN")
def test_scores_do_not_leave_rows_out(estimator, kind, rng, on_error):
    X, broken, y = make(kind, rng)
    fitted = estimator.set_params(on_error=on_error).fit(X, y)
    names = ["acc7", "concordance_correlation"]
    if is_classifier(fitted):
        names.append("neg_ranked_probability_error")
    for score in [fitted.score, *(partial(get_scorer(name), fitted) for name in names)]:
        with pytest.raises(ValueError, match=f"{NAMED}.*[Ll]eave"):
            score(broken, y)
        assert np.isfinite(score(X, y))


def test_nan_among_numbers(estimator, kind, rng):
    X, _, y = make("table", rng)
    X[3, 1] = np.nan
    if kind == "frames":
        X = as_frames(X)
    if estimator.get_params().get("estimator") is not None:
        fitted = estimator.fit(X, y)
        assert np.isfinite(getattr(fitted, soft(fitted))(X)).all()  # trees take it
        return
    with pytest.raises(ValueError, match=r"contains NaN: 1 of 30 rows .*\(row 3\)"):
        clone(estimator).fit(X, y)
    good = np.arange(30) != 3
    fitted = clone(estimator).fit(X[good], y[good])
    with pytest.raises(ValueError, match="NaN among numbers in row 3"):
        getattr(fitted, soft(fitted))(X)
    fitted.set_params(on_error="nan")
    assert np.flatnonzero(np.isnan(fitted.predict(X))).tolist() == [3]


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_infinity_is_an_error(estimator, kind, rng, on_error):
    X, _, y = make("table", rng)
    fitted = estimator.set_params(on_error=on_error)
    broken = X.copy()
    broken[3, 1] = -np.inf
    if kind == "frames":
        X, broken = as_frames(X), as_frames(broken)
    with pytest.raises(ValueError, match="infinity"):
        clone(fitted).fit(broken, y)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(X, y).predict(broken)


def test_embeddings_of_nan(rng):
    """Finite frames with an embedding of NaN cannot be used either; NaN frames count as NaN."""
    X, broken, y = make("frames", rng)
    embeddings = rng.normal(size=(30, 2))
    net = SpeechSentimentRegressor(**NET).fit(X.with_embeddings(embeddings), y)
    with pytest.warns(UserWarning, match="7 of 30"):
        assert np.isnan(net.predict(broken.with_embeddings(embeddings))[BAD]).all()
    embeddings[3] = np.nan
    with pytest.raises(ValueError, match="NaN among numbers in row 3"):
        net.predict(X.with_embeddings(embeddings))
    embeddings[3] = np.inf
    with pytest.raises(ValueError, match="infinity in row 3"):
        net.predict(X.with_embeddings(embeddings))


@pytest.mark.filterwarnings("ignore:7 of 30 rows are NaN")
def test_views_of_a_two_headed_network(rng):
    X, broken, y = make("frames", rng)
    for on_error in ("raise", "nan"):
        net = SpeechSentimentClassifier(two_headed=True, on_error=on_error, **NET).fit(X, y)
        regressor = net.as_regressor()
        again = regressor.as_classifier()
        assert np.isnan(regressor.predict(broken)[BAD]).all()
        assert np.isnan(again.predict_proba(broken)[BAD]).all()
        if on_error == "nan":
            assert np.isnan(again.predict(broken)[BAD]).all()
        else:
            with pytest.raises(ValueError, match=NAMED):
                again.predict(broken)


def test_validation_data(rng):
    X, broken, y = make("frames", rng)
    net = SpeechSentimentRegressor(**NET)
    with pytest.raises(ValueError, match=f"X_val contains NaN: 7 of 30.*{NAMED}"):
        net.fit(X, y, X_val=broken, y_val=y)
    net.set_params(on_error="nan")
    with pytest.warns(UserWarning, match="7 of 30 rows hold NaN"):
        net.fit(X, y, X_val=broken, y_val=y)
    assert np.isfinite(net.history[-1]["valid_loss"])


def test_sparse_rows(rng):
    X, broken, y = make("table", rng)
    X[~BAD & (np.arange(30) > 20)] *= [1, 0, 1, 0]
    broken = np.where(BAD[:, None], np.nan, X)
    model = OrdinalClassifier(LogisticRegression()).fit(scipy.sparse.csr_array(X), y)
    with pytest.warns(UserWarning, match="7 of 30"):
        proba = model.predict_proba(scipy.sparse.csr_array(broken))
    assert np.flatnonzero(np.isnan(proba[:, 0])).tolist() == np.flatnonzero(BAD).tolist()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN among numbers in row 0"):
        model.predict(scipy.sparse.csr_array(broken))


def test_lengths_are_checked_before_rows_are_left_out(rng):
    _, broken, y = make("frames", rng)
    net = SpeechSentimentRegressor(on_error="nan", **NET)
    with (
        pytest.warns(UserWarning, match="7 of 30"),
        pytest.raises(ValueError, match="inconsistent"),
    ):
        net.fit(broken, y, groups=np.arange(29))


@pytest.mark.filterwarnings("ignore:1 of [0-9]+")
def test_copies_follow_the_last_step(speech):
    """A recording of silence: NaN where the last step gives NaN, an error where it raises one."""
    X = [soundfile.read(path)[0] for path in speech.data[:6]]
    pipeline = make_sentiment_pipeline(weights=None, n_jobs=1, mfb__on_error="nan")
    model = WaveformPerturbation(pipeline, speeds=(), conditions=(), predict_speeds=(0.9, 1.0))
    model.fit(X, [-1, 0, 1] * 2)
    X[2] = np.zeros(8000)
    with pytest.warns(UserWarning):
        assert np.isnan(model.predict_proba(X)[2]).all()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="row 2"):
        model.predict(X)
