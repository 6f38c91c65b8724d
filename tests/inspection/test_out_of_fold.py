"""Frames of out-of-fold predictions: alignment, speakers, scales, and what cannot be used."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent import (
    OrdinalClassifier,
    SpeechSentimentClassifier,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.inspection import cross_val_ordinal
from sklearn_speechsent.metrics import ordinal_report


@pytest.fixture
def table(rng):
    """Rows of 8 speakers in no order, their levels -1, 0, 1, and features that tell them."""
    y, speakers = rng.integers(-1, 2, 96), rng.permutation(np.repeat(list("abcdefgh"), 12))
    X = y[:, None] + 0.5 * rng.normal(size=(96, 3))
    return X, y, speakers


class Listener(ClassifierMixin, BaseEstimator):
    """Remembers the groups that it was given, and who it has heard by the first feature."""

    heard = []

    def fit(self, X, y, groups=None):
        self.classes_ = np.unique(y)
        self.heard.append((None if groups is None else set(groups), set(X[:, 0])))
        return self

    def predict(self, X):
        return np.repeat(self.classes_[0], len(X))

    def predict_proba(self, X):
        assert not set(X[:, 0]) & self.heard[-1][1]
        return np.tile(np.eye(len(self.classes_))[0], (len(X), 1))


def test_rows_are_those_of_a_loop_by_hand(table):
    X, y, speakers = table
    model = OrdinalClassifier(levels=[-1, 0, 1])
    index = pd.Index(np.arange(96) * 3 + 5, name="recording")
    frame = cross_val_ordinal(
        model, pd.DataFrame(X, index=index, columns=list("xyz")), y, groups=speakers,
        cv=GroupKFold(4),
    )  # fmt: skip
    assert frame.index.equals(index)
    for number, (train, test) in enumerate(GroupKFold(4).split(X, y, speakers)):
        fitted = OrdinalClassifier(levels=[-1, 0, 1]).fit(X[train], y[train])
        part = frame.iloc[test]
        proba = part[["p(-1)", "p(0)", "p(1)"]].to_numpy()
        np.testing.assert_allclose(proba, fitted.predict_proba(X[test]))
        np.testing.assert_array_equal(part["level"], fitted.predict(X[test]))
        np.testing.assert_allclose(part["expected"], proba @ [-1, 0, 1])
        assert (part["fold"] == number).all()
    np.testing.assert_array_equal(frame["truth"], y)
    np.testing.assert_array_equal(frame["speaker"], speakers)
    assert ordinal_report(frame["truth"], frame["level"], [-1, 0, 1])["accuracy"] > 0.7
    assert not hasattr(model, "levels_")  # clones are fitted


def test_speakers_are_passed_on_and_never_cross(table):
    _, y, speakers = table
    X = np.array([[float(ord(speaker))] for speaker in speakers])
    search = GridSearchCV(Listener(), {}, cv=GroupKFold(2))
    for wrapped, wanted in ((Listener(), True), (make_pipeline(Listener()), True), (search, False)):
        check_heard(wrapped, X, y, speakers, wanted)
    with sklearn.config_context(enable_metadata_routing=True):
        check_heard(make_pipeline(Listener().set_fit_request(groups=True)), X, y, speakers, True)
        check_heard(Listener().set_fit_request(groups=False), X, y, speakers, False)


def check_heard(wrapped, X, y, speakers, wanted):
    Listener.heard.clear()
    frame = cross_val_ordinal(wrapped, X, y, groups=speakers, cv=3)
    assert len(Listener.heard) % 3 == 0
    assert frame.groupby("speaker")["fold"].nunique().max() == 1
    for groups, heard in Listener.heard:
        assert groups == ({chr(int(code)) for code in heard} if wanted else None)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (list(KFold(3).split(range(96))), "Fold 0 has speaker 'a' on both sides, like"),
        (GroupShuffleSplit(1, random_state=0), "are in no test part"),
        (GroupShuffleSplit(9, random_state=0), "are in several test parts"),
        (1, "cannot be divided into folds of speakers"),
    ],
)
def test_folds_that_cannot_be_used(table, cv, message):
    X, y, speakers = table
    with pytest.raises(ValueError, match=message):
        cross_val_ordinal(OrdinalClassifier(), X, y, groups=speakers, cv=cv)


def test_missing_and_misaligned_input_is_named(table):
    X, y, speakers = table
    model = OrdinalClassifier()
    with pytest.raises(ValueError, match="row 3 have none"):
        cross_val_ordinal(model, X, y, groups=np.where(np.arange(96) == 3, None, speakers))
    for wrong in ((X[1:], y, speakers), (X, y[1:], speakers), (X, y, speakers[1:])):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            cross_val_ordinal(model, *wrong[:2], groups=wrong[2])
    with pytest.raises(ValueError, match="NaN or infinity: 1 of 96 values, in row 2"):
        cross_val_ordinal(model, X, np.where(np.arange(96) == 2, np.nan, y), groups=speakers)
    with pytest.raises(ValueError, match=r"Label -1 in row .* lies off the scale \[0, 1, 2\]"):
        cross_val_ordinal(model, X, y, groups=speakers, levels=[0, 1, 2])
    with (
        pytest.warns(UserWarning, match="No training label"),
        pytest.raises(ValueError, match=r"learned the levels.*not all of them are on the scale"),
    ):
        cross_val_ordinal(OrdinalClassifier(levels=[-1, 0, 1, 2]), X, y, groups=speakers,
                          levels=[-1, 0, 1])  # fmt: skip
    with pytest.raises(TypeError, match="groups"):
        cross_val_ordinal(model, X, y)


def test_a_level_that_a_fold_lacks(table):
    """Where cross_val_predict refuses a scale that the estimator was told."""
    X, y, speakers = table
    y = np.where(speakers == "a", 2, y)  # nobody else has it
    model = OrdinalClassifier()
    with pytest.warns(UserWarning, match="Level 2 is absent from the training part of fold"):
        frame = cross_val_ordinal(model, X, y, groups=speakers, cv=LeaveOneGroupOut())
    lacking = frame["speaker"] == "a"
    assert (frame.loc[lacking, "p(2)"] == 0).all() and (frame.loc[~lacking, "p(2)"] > 0).all()
    np.testing.assert_allclose(frame.filter(like="p(").sum(axis=1), 1)
    told = OrdinalClassifier(levels=[-1, 0, 1])
    with pytest.raises(ValueError, match="may be numbers of classes"):
        cross_val_predict(told, X, np.where(y > 1, 1, y), method="predict_proba", cv=2)


def test_text_has_the_order_that_it_is_given(table):
    X, y, speakers = table
    words = np.array(["low", "middle", "high"])
    expected = cross_val_ordinal(OrdinalClassifier(), X, y, groups=speakers, cv=3)
    scale = ["low", "middle", "high"]
    category = pd.Series(pd.Categorical(words[y + 1], categories=scale, ordered=True))
    for model, labels, levels in (
        (OrdinalClassifier(levels=scale), words[y + 1], None),
        (GridSearchCV(OrdinalClassifier(levels=scale), {}, cv=GroupKFold(2)), words[y + 1], None),
        (OrdinalClassifier(), category, None),
    ):
        frame = cross_val_ordinal(model, X, labels, groups=speakers, cv=3, levels=levels)
        assert list(frame.columns[2:5]) == ["p(low)", "p(middle)", "p(high)"]
        np.testing.assert_allclose(frame.iloc[:, 2:5], expected.iloc[:, 2:5])
        np.testing.assert_array_equal(frame["level"], words[expected["level"] + 1])
        np.testing.assert_allclose(frame["expected"], expected["expected"] + 1)
    frame = cross_val_ordinal(
        LogisticRegression(), X, words[y + 1], groups=speakers, cv=3, levels=scale
    )
    assert (frame["level"] == frame["truth"]).mean() > 0.7
    with pytest.raises(ValueError, match="order"):
        cross_val_ordinal(OrdinalClassifier(), X, words[y + 1], groups=speakers)


@pytest.mark.parametrize("kind", ["frame", "array"])
def test_votes_are_learned_and_their_median_is_the_truth(table, rng, kind):
    X, y, speakers = table
    votes = np.array([np.bincount((v + rng.integers(-1, 2, 5)).clip(-1, 1) + 1, minlength=3)
                      for v in y])  # fmt: skip
    model = OrdinalClassifier(levels=[-1, 0, 1])
    given = pd.DataFrame(votes, columns=[-1, 0, 1]) if kind == "frame" else votes
    frame = cross_val_ordinal(model, X, given, groups=speakers, cv=GroupKFold(3))
    median = np.sort(np.repeat(np.tile([-1, 0, 1], 96), votes.ravel()).reshape(96, 5), axis=1)[:, 2]
    np.testing.assert_array_equal(frame["truth"], median)
    train, test = next(GroupKFold(3).split(X, y, speakers))
    expected = OrdinalClassifier(levels=[-1, 0, 1]).fit(X[train], votes[train])
    proba = frame.loc[frame["fold"] == 0, ["p(-1)", "p(0)", "p(1)"]]
    np.testing.assert_allclose(proba, expected.predict_proba(X[test]))
    # A level that nobody's median is at has votes, and is not absent.
    votes[:, 0], votes[:, 1:] = 1, 2 * (y >= [[0], [1]]).T
    if kind == "frame":
        given = pd.DataFrame({1: votes[:, 2], -1: votes[:, 0], 0: votes[:, 1] + 3})
        assert (
            not cross_val_ordinal(OrdinalClassifier(), X, given, groups=speakers)
            .isna()
            .any(axis=None)
        )
        given = given.astype(float)
        given.iloc[3, 1] = np.nan
        with pytest.raises(ValueError, match="row 3, column -1"):
            cross_val_ordinal(model, X, given, groups=speakers)
    else:
        with pytest.raises(ValueError, match="levels are not known"):
            cross_val_ordinal(OrdinalClassifier(), X, given, groups=speakers)


def test_regressors_have_no_probabilities(table):
    X, y, speakers = table
    real = y + 0.25
    frame = cross_val_ordinal(Ridge(), X, real, groups=speakers, cv=3)
    assert frame.columns.tolist() == ["level", "expected", "truth", "speaker", "fold"]
    np.testing.assert_array_equal(frame["level"], np.clip(np.rint(frame["expected"]), -1, 1))
    np.testing.assert_array_equal(frame["truth"], real)
    halves = cross_val_ordinal(Ridge(), X, real, groups=speakers, cv=3, levels=[-1, -0.5, 0, 1.5])
    assert set(halves["level"]) <= {-1, -0.5, 0, 1.5}


def test_networks_and_rows_of_nan(table, make_frames):
    frames, y = make_frames(12)
    net = SpeechSentimentClassifier(max_epochs=1, batch_size=4, n_jobs=1, random_state=0)
    frame = cross_val_ordinal(net, frames, y, groups=np.repeat([1, 2], 6))
    np.testing.assert_allclose(frame.filter(like="p(").sum(axis=1), 1, rtol=1e-5)
    X, y, speakers = table
    X[5] = np.nan
    with pytest.warns(UserWarning, match="left out of training"):
        frame = cross_val_ordinal(OrdinalClassifier(on_error="nan"), X, y, groups=speakers)
    empty = frame[["level", "expected", "p(-1)", "p(0)", "p(1)"]].isna().all(axis=1)
    assert empty.tolist() == (np.arange(96) == 5).tolist()


def test_whole_pipelines_hear_each_recording_once(speech, tmp_path, decoded):
    pipeline = make_sentiment_pipeline(weights=None, memory=tmp_path, n_jobs=1)
    X = pd.DataFrame({"file": list(speech.data)}, index=[f"r{k}" for k in range(24)])
    frame = cross_val_ordinal(pipeline, X, speech.target, groups=speech.groups)
    assert len(decoded) == 24 and frame["fold"].nunique() == 4
    assert frame.index.equals(X.index)
    copies = WaveformPerturbation(pipeline, conditions=(), predict_speeds=(1.0,))
    frame = cross_val_ordinal(copies, list(speech.data), speech.target, groups=speech.groups, cv=2)
    assert len(decoded) == 48  # and its copy
    assert not frame.isna().any(axis=None)


def test_processes_and_progress(table, capsys):
    X, y, speakers = table
    model = make_pipeline(StandardScaler(), OrdinalClassifier())
    alone = cross_val_ordinal(model, X, y, groups=speakers, verbose=1)
    assert "folds: 100%" in capsys.readouterr().err
    pd.testing.assert_frame_equal(cross_val_ordinal(model, X, y, groups=speakers, n_jobs=2), alone)
    assert capsys.readouterr().err == ""
