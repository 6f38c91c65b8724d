"""Learning curves over speakers and tables across corpora: who trains, who is scored, on what."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.tree import DecisionTreeClassifier

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.inspection import SpeakerCurveDisplay, cross_corpus, learning_curve
from sklearn_speechsent.metrics import ordinal_report


class Spy(BaseEstimator):
    """Remembers the speakers, which are the features, of every fit with a prediction."""

    seen = []

    def fit(self, X, y):
        self.trained_ = set(np.ravel(X).tolist())
        return self

    def predict(self, X):
        self.seen.append((self.trained_, set(np.ravel(X).tolist())))
        return np.zeros(len(X))


@pytest.fixture
def spied(monkeypatch):
    monkeypatch.setattr(Spy, "seen", [])
    return Spy.seen


@pytest.fixture
def corpus(rng):
    speakers, y = np.repeat(np.arange(12), 9), np.tile([-1, 0, 1], 36)
    return (
        y[:, None] + rng.normal(0, 1, (108, 6)) + rng.normal(0, 1, (12, 6))[speakers],
        y,
        speakers,
    )


def test_training_speakers_are_nested_and_the_others_the_same(spied):
    speakers, y = np.repeat(np.arange(12), 3), np.tile([-1, 0, 1], 12)
    curve = learning_curve(
        Spy(), speakers[:, None], y, groups=speakers, n_speakers=[2, 5, 9], cv=4, random_state=0
    )
    assert curve["n_speakers"].tolist() == [2, 5, 9]
    assert curve["n_recordings"].tolist() == [6, 15, 27]
    for fold in range(4):
        (few, test), (more, same), (most, again) = (spied[k * 4 + fold] for k in range(3))
        assert few < more < most and [len(few), len(more), len(most)] == [2, 5, 9]
        assert test == same == again and not test & most
    assert (curve["mae"] == curve["mae_constant"]).all()  # both always say 0


def test_the_last_point_is_the_cross_validated_score(corpus):
    X, y, speakers = corpus
    cv = GroupKFold(3)
    curve = learning_curve(
        Ridge(),
        X,
        y,
        groups=speakers,
        cv=cv,
        levels=[-1, 0, 1],
        measures=["mae", "qwk"],
        random_state=0,
    )
    pooled = np.empty(len(y))
    for train, test in cv.split(X, y, speakers):
        pooled[test] = Ridge().fit(X[train], y[train]).predict(X[test])
    report = ordinal_report(y, pooled, [-1, 0, 1])
    last = curve.iloc[-1]
    assert last["mae"] == pytest.approx(report["mae"]) and last["qwk"] == pytest.approx(
        report["qwk"]
    )
    assert last["mae_low"] < last["mae"] < last["mae_high"]
    assert curve["mae"].iloc[0] > last["mae"]  # one speaker is not enough


def test_the_same_seed_gives_the_same_curve(corpus):
    X, y, speakers = corpus
    curves = [
        learning_curve(Ridge(), X, y, groups=speakers, n_speakers=[2], cv=3, random_state=seed)
        for seed in (0, 0, 1)
    ]
    pd.testing.assert_frame_equal(curves[0], curves[1])
    assert not curves[0].equals(curves[2])


def test_labels_of_text(corpus):
    X, y, speakers = corpus
    names = pd.Series(np.array(["bad", "fair", "best"])[y + 1])  # not their alphabetical order
    order = ["bad", "fair", "best"]
    models = DecisionTreeClassifier(max_depth=2, random_state=0)
    numbers = learning_curve(models, X, y, groups=speakers, cv=3, random_state=0, levels=[-1, 0, 1])
    texts = learning_curve(models, X, names, groups=speakers, cv=3, random_state=0, levels=order)
    assert texts["mae_constant"].equals(numbers["mae_constant"])
    categories = names.astype(pd.CategoricalDtype(order, ordered=True))
    same = cross_corpus(models, {"a": (X, categories, speakers)}, cv=3, levels=order)
    assert same["mae_constant"].item() == pytest.approx(numbers["mae_constant"].iloc[-1])
    with pytest.raises(ValueError, match="pass levels="):
        cross_corpus(models, {"a": (X, categories, speakers)}, cv=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_speakers": [2, 9]}, "from 1 to 8.*got \\[2, 9\\]"),
        ({"n_speakers": []}, "from 1 to 8"),
        (
            {"cv": list(KFold(3, shuffle=True, random_state=0).split(range(108)))},
            "both sides of split 0",
        ),
        ({"groups": [0, 1]}, "inconsistent"),
    ],
)
def test_errors_say_what_to_do(corpus, change, message):
    X, y, speakers = corpus
    with pytest.raises(ValueError, match=message):
        learning_curve(Ridge(), X, y, **{"groups": speakers, "cv": GroupKFold(3), **change})


def test_each_corpus_is_fitted_once_and_scored_on_the_others(spied):
    y, a, b = np.tile([-1, 0, 1], 6), np.repeat(range(6), 3), np.repeat(range(10, 16), 3)
    corpora = {"a": (a[:, None], y, a), "b": (b[:, None], y + 1, b)}
    table = cross_corpus(Spy(), corpora, cv=3, measures=["mae"])
    assert list(table.index) == [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    assert (set(range(6)), set(range(10, 16))) in spied
    assert (set(range(10, 16)), set(range(6))) in spied
    assert sum(len(train) == 4 for train, _ in spied) == 6  # folds of the two diagonals
    assert table.loc[("a", "b"), "mae_constant"] == pytest.approx(1.0)  # a's median is 0
    assert table.loc[("b", "a"), "mae_constant"] == pytest.approx(4 / 3 - 1 / 3)  # b's is 1
    assert table["n"].tolist() == [18] * 4 and table["speakers"].tolist() == [6] * 4


def test_recordings_go_through_a_pipeline(speech, tmp_path):
    pipeline = make_sentiment_pipeline(weights=None, memory=tmp_path, levels=speech.levels)
    curve = learning_curve(
        pipeline, speech.frame[["file"]], speech.target, groups=speech.groups, cv=2, random_state=0
    )
    assert curve["n_speakers"].tolist() == [1, 2] and curve.notna().all().all()


def test_display():
    curve = pd.DataFrame(
        {"n_speakers": [2, 4], "qwk": [0.2, 0.4], "qwk_low": [0.1, 0.3], "qwk_high": [0.3, 0.5]}
    ).assign(qwk_constant=0.0)
    display = SpeakerCurveDisplay(curve).plot(measure="qwk")
    assert display.ax_.lines[0].get_ydata().tolist() == [0.2, 0.4]
    assert display.ax_.lines[1].get_ydata().tolist() == [0, 0]
    with pytest.raises(ValueError, match="has qwk; got measure='mae'"):
        display.plot()
    plt.close("all")


def test_display_of_an_estimator(corpus):
    X, y, speakers = corpus
    display = SpeakerCurveDisplay.from_estimator(
        Ridge(), X, y, groups=speakers, cv=3, random_state=0
    )
    assert display.ax_.get_ylabel() == "mae" and len(display.curve) == 5
    plt.close("all")
