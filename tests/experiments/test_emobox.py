import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.metrics import recall_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from experiments import emobox
from experiments._harness.results import key_of
from experiments.emobox import CONSTANT, EMOTIONS, FOLDS, AddedDecisions, KernelClassifier
from sklearn_speechsent import MelFilterBank, WaveformPerturbation
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.features import FrameStatistics


@pytest.fixture
def ravdess(home):
    """Made-up voices under the names of RAVDESS: three emotions of each actor."""
    corpus = make_speech_sentiment(
        24, 3, levels=(-1, 0, 1), out_dir=home / "voices", sample_rate=8000, random_state=0
    )
    for row, (file, label) in enumerate(zip(corpus.data, corpus.target, strict=True)):
        actor = row // 3 + 1
        emotion = EMOTIONS.index({-1: "sad", 0: "calm", 1: "surprised"}[label]) + 1
        folder = home / "ravdess" / f"Actor_{actor:02}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"03-01-{emotion:02}-01-01-01-{actor:02}.wav"
        (home / "voices" / file).rename(folder / name)
    return home


@pytest.fixture
def tiny(monkeypatch):
    """A row of mel statistics instead of the large networks; the fits it takes."""
    fits, fit = [], KernelClassifier.fit
    monkeypatch.setattr(
        KernelClassifier, "fit", lambda self, X, y: fits.append(len(y)) or fit(self, X, y)
    )

    def make(shared):
        mel = MelFilterBank(n_mels=8, memory=shared["memory"])
        return make_pipeline(mel, FrameStatistics(), KernelClassifier(4))

    rows = {
        CONSTANT: emobox.ROWS[CONSTANT],
        "tiny": (make, ()),
        "both": (lambda shared: AddedDecisions([("a", make(shared))], weights=(1,)), ()),
        "gone": (make, ("whisper-base",)),
    }
    monkeypatch.setattr(emobox, "ROWS", rows)
    return fits


def test_folds_are_of_all_actors_once():
    assert sorted(sum(FOLDS, ())) == list(range(1, 25))


def test_end_to_end(ravdess, tiny, tmp_path, monkeypatch):
    arguments = ["--perturbed", "--out", str(tmp_path / "e.json")]
    assert emobox.main(arguments) == 0
    assert tiny == 2 * ([60] * 6 + [6 * 60] * 6)
    document = json.loads((tmp_path / "e.json").read_text())
    titles = [CONSTANT, "tiny", "tiny, perturbed", "both", "both, perturbed"]
    assert list(document["rows"]) == titles
    assert document["recordings"] == 72
    assert document["skipped"] == {"gone": "the weights 'whisper-base' are not in the data home"}
    rows = document["rows"]
    assert rows[CONSTANT]["ua"] == pytest.approx(1 / 3)
    assert rows["both"] == rows["tiny"]  # one member decides as it does alone
    for row in rows.values():
        assert row["interval"][0] <= row["ua"] <= row["interval"][1]
        assert row["ua"] == pytest.approx(np.mean(row["folds"]))
    frame, expected = emobox.load_emotions(), []
    for actors in FOLDS:
        test = frame["actor"].isin(actors)
        model = emobox.ROWS["tiny"][0]({"memory": None})
        model.fit(frame["file"][~test], frame["emotion"][~test])
        found = model.predict(frame["file"][test])
        expected.append(recall_score(frame["emotion"][test], found, average="macro"))
    assert rows["tiny"]["folds"] == pytest.approx(expected)
    markdown = (tmp_path / "e.md").read_text()
    assert "72 recordings" in markdown
    assert "EmoBox)" not in markdown  # published figures are of the complete corpus
    assert "is not told apart" in " ".join(markdown.split())
    assert "- skipped: gone" in markdown
    assert (tmp_path / "e.png").stat().st_size > 0
    tiny.clear()
    monkeypatch.setattr(emobox, "N_FILES", 72)
    assert emobox.main(arguments) == 0
    assert tiny == []
    assert json.loads((tmp_path / "e.json").read_text())["rows"] == rows
    assert "| Whisper large v3 (EmoBox) | 635 M | 75.3 |  |" in (tmp_path / "e.md").read_text()


def test_decision_values_are_added_over_speeds():
    class Hearing:
        classes_ = np.array(["calm", "sad"])

        def fit(self, X, y):
            return self

        predict = fit

        def decision_function(self, X):
            # One speed is sure of "sad", the other two lean to "calm".
            sad = {0.9: 3.0, 1.0: -1.0, 1.1: -1.0}
            return np.array([[-sad[speed], sad[speed]] for speed in X["speed"]])

    model = WaveformPerturbation(Hearing())
    model.estimator_ = Hearing()
    assert emobox.predict(model, pd.Series(["a.wav", "b.wav"])) == ["sad", "sad"]


def test_incomplete_corpora_and_unknown_rows_are_errors(ravdess, tmp_path, capsys):
    out = ["--out", str(tmp_path / "e.json")]
    assert emobox.main([*out, "--rows", "bert"]) == 2
    assert "no system 'bert'" in capsys.readouterr().err
    for actor in FOLDS[2]:
        for file in (ravdess / "ravdess" / f"Actor_{actor:02}").iterdir():
            file.unlink()
    assert emobox.main(out) == 2
    assert "(8, 9, 19, 23) of fold 2" in capsys.readouterr().err
    assert not (tmp_path / "e.json").exists()


def test_kernel_classifier_is_the_pipeline_it_stands_for(rng):
    y = np.repeat(["a", "b", "c"], 20)
    X = rng.normal(size=(60, 10)) + np.repeat(np.eye(3, 10), 20, axis=0)
    svc = SVC(C=10, gamma=0.25 / 10, class_weight="balanced", decision_function_shape="ovo")
    fitted = make_pipeline(StandardScaler(), PCA(5, random_state=0), svc).fit(X, y)
    expected = np.zeros((60, 3))
    for (i, j), values in zip(((0, 1), (0, 2), (1, 2)), fitted.decision_function(X).T, strict=True):
        expected[:, i] += np.clip(values, -1, 1)
        expected[:, j] -= np.clip(values, -1, 1)
    model = KernelClassifier(5).fit(X, y)
    assert np.allclose(model.decision_function(X), expected)
    # Rows of NaN change nothing for the others.
    X = np.vstack([X, np.full((1, 10), np.nan)])
    model = KernelClassifier(5).fit(X, [*y, "c"])
    assert np.allclose(model.decision_function(X)[:-1], expected)
    assert not model.decision_function(X)[-1].any()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_kernel_classifier_tells_classes_apart(rng, n_classes):
    y = np.repeat(np.array(["a", "b", "c", "d"])[:n_classes], 20)
    X = rng.normal(size=(len(y), 10)) + 4 * np.repeat(np.eye(n_classes, 10), 20, axis=0)
    assert (KernelClassifier().fit(X, y).predict(X) == y).mean() > 0.95


def test_decisions_are_added_by_weight(rng):
    X, y = rng.normal(size=(30, 6)), np.repeat(["a", "b", "c"], 10)
    members = [("one", KernelClassifier()), ("two", KernelClassifier(2))]
    model = AddedDecisions(members, weights=(1, 2)).fit(X, y)
    one, two = (member.fit(X, y).decision_function(X) for _, member in members)
    assert np.array_equal(model.predict(X), np.array(["a", "b", "c"])[(one + 2 * two).argmax(1)])
    assert key_of(AddedDecisions(members, (1, 2))) != key_of(AddedDecisions(members[::-1], (1, 2)))
    assert key_of(AddedDecisions(members, (1, 2))) != key_of(AddedDecisions(members, (2, 1)))


def test_parameters_are_those_of_all_frozen_networks(rng):
    X, y = rng.normal(size=(30, 6)), np.repeat(["a", "b", "c"], 10)
    step = FunctionTransformer()
    step.network_ = torch.nn.BatchNorm1d(4)
    alone = Pipeline([("encoder", step), ("net", KernelClassifier())])
    assert emobox.n_parameters(alone) == 8
    both = AddedDecisions([("a", alone), ("b", alone)], weights=(1, 2))
    both.estimators_ = [alone, alone]
    assert emobox.n_parameters(both) == 16
    wrapped = WaveformPerturbation(both)
    wrapped.estimator_ = both
    assert emobox.n_parameters(wrapped) == 16
    assert emobox.n_parameters(DummyClassifier().fit(X, y)) == 0
