import importlib.util
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import experiments.table1.__main__ as table1
from experiments._harness.corpus import read_manifest
from experiments._harness.results import Results, key_of, settings_of
from experiments.table1 import protocol, rows
from experiments.table1.protocol import Runner
from experiments.table1.rows import ROWS, TWO_HEADS, Row, Settings, SpeakerFolds, select_rows
from sklearn_speechsent import (
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    make_sentiment_pipeline,
)
from sklearn_speechsent.metrics import ordinal_report
from sklearn_speechsent.training.net import UtteranceNet

ROW_NAMES = ["constant (median)", "MFB mean + std, SVR", "TFN acoustic"]
LEVELS = (-1, 0, 1)


@pytest.fixture
def run(manifest, tmp_path, monkeypatch):
    """Function that runs the table and returns its exit code and the number of fits."""
    stored, put = [], Results.put
    monkeypatch.setattr(Results, "put", lambda self, *args: stored.append(1) or put(self, *args))

    def run(*more, rows="mfb mean,TFN"):
        stored.clear()
        out = str(tmp_path / "t.json")
        arguments = ["--corpus", str(manifest), "--out", out, "--folds", "2", "--epochs", "1"]
        return table1.main([*arguments, "--rows", rows, *more]), len(stored)

    return run


def test_end_to_end(run, tmp_path, manifest, capsys):
    assert run() == (0, 6)
    document = json.loads((tmp_path / "t.json").read_text())
    assert [row["name"] for row in document["rows"]] == ROW_NAMES
    assert document["corpus"]["speakers"] == 4
    assert document["settings"]["folds"] == 2
    corpus = read_manifest(manifest)
    predictions = np.full(24, np.nan)
    for train, test in corpus.folds(2):
        predictions[test] = np.median(corpus.y[train])
    expected = ordinal_report(corpus.y, predictions, levels=LEVELS)
    constant = document["rows"][0]
    assert {name: constant[name] for name in expected} == expected
    assert np.mean(constant["fold_mae"]) == pytest.approx(constant["mae"])
    assert [row["epochs"] for row in document["rows"]] == [None, None, 1]
    markdown = (tmp_path / "t.md").read_text()
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    scores = "MAE | ρ | CCC | QWK | acc | macro MAE | polarity | MAE, interval | epochs"
    assert lines[0] == f"| system | {scores} | time |"
    low, high = constant["mae_interval"]
    assert low <= constant["mae"] <= high and f"| {low:.3f} – {high:.3f} |" in lines[2]
    assert [line.split(" | ")[0][2:] for line in lines[2:]] == ROW_NAMES
    assert f"{constant['mae']:.3f}" in lines[2]
    assert "2 folds over speakers; networks 1 epochs" in markdown
    assert markdown in capsys.readouterr().out
    assert {file.suffix for file in tmp_path.glob("t_folds/*")} == {".json"}

    # A second run fits nothing and says the same.
    figures = document["rows"]
    assert run() == (0, 0)
    assert json.loads((tmp_path / "t.json").read_text())["rows"] == figures

    # With a changed setting only the results that depend on it are computed again.
    assert run("--epochs", "2") == (0, 2)
    assert run("--epochs", "4", "--rival-epochs", "2") == (0, 0)
    assert run("--seed", "1") == (0, 2)
    assert run("--folds", "3") == (0, 9)


def test_another_label_or_version_is_another_result(run, tmp_path, manifest, monkeypatch):
    rows = "constant"
    assert run(rows=rows) == (0, 2)
    monkeypatch.setattr("sklearn_speechsent.__version__", "99")
    assert run(rows=rows) == (0, 2)
    table = manifest.read_text().replace("0.25", "0.5", 1)
    other = tmp_path / "other.csv"
    other.write_text(table)
    code, n_fits = run("--corpus", str(other), rows=rows)
    assert (code, n_fits) == (0, 1)  # only in the fold that trains on that row


def test_broken_results_are_computed_again(run, tmp_path):
    assert run(rows="constant") == (0, 2)
    file = next(tmp_path.glob("t_folds/*.json"))
    file.write_text(file.read_text()[:50])
    assert run(rows="constant") == (0, 1)


def test_a_row_that_fails_stops_no_other(run, tmp_path, monkeypatch):
    def fail(settings):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(table1, "select_rows", lambda names: [Row("unlucky", fail), ROWS[0]])
    assert run() == (1, 2)
    assert json.loads((tmp_path / "t.json").read_text())["failed"] == {
        "unlucky": "RuntimeError: no such luck"
    }
    assert "- failed: unlucky" in (tmp_path / "t.md").read_text()


def test_ctrl_c_ends_the_run(run, tmp_path, monkeypatch, capsys):
    def stop(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(table1, "select_rows", lambda names: [ROWS[0], Row("slow", stop)])
    assert run() == (130, 2)
    assert "resumes from here" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert row["name"] == "constant (median)"


def test_rows_are_skipped_with_a_reason(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(rows="egemaps") == (0, 2)
    assert "Skipped: eGeMAPS + SVR, because opensmile is not installed" in capsys.readouterr().out
    assert "- skipped: eGeMAPS + SVR" in (tmp_path / "t.md").read_text()
    monkeypatch.setattr(rows, "has_weights", lambda name: False)
    assert not ROWS[1].lacks()
    assert "weights" in ROWS[2].lacks()


def test_says_what_is_wrong_before_work_starts(tmp_path, manifest, capsys):
    out = ["--out", str(tmp_path / "t.json")]
    for more in (["--corpus", "gone.csv"], ["--corpus", str(manifest), "--rows", "bert"]):
        assert table1.main([*out, *more]) == 2
    error = capsys.readouterr().err
    assert "no manifest gone.csv" in error
    assert "There is no row 'bert'" in error
    assert not list(tmp_path.iterdir())


def test_lists_rows(capsys):
    assert table1.main(["--list"]) == 0
    assert [line.split("  [")[0] for line in capsys.readouterr().out.splitlines()] == [
        row.name for row in ROWS
    ]
    assert [row.name for row in select_rows("mult, SMALL,medium")] == [
        "constant (median)",
        "small",
        "medium",
        "MulT audio",
    ]
    perturbed = [f"{name}, perturbed" for name in ("small", "medium", "large", "finetuned")]
    perturbed.append("large, perturbed + finetuned, perturbed")
    assert [row.name for row in select_rows("perturbed")][1:] == perturbed
    assert [row.name for row in select_rows("large,Searched")][1:] == ["large, searched"]
    names = ["medium, perturbed", "large, searched"]
    assert {row.name for row in select_rows(";".join(names))} == {"constant (median)", *names}
    assert select_rows("all") == list(ROWS)
    with pytest.raises(ValueError, match="There is no row 'bert'"):
        select_rows("bert")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_made(row, wespeaker, whisper):
    """Keys see what matters and not where, how fast or how verbosely it is computed."""
    settings = Settings(LEVELS, epochs=3, rival_epochs=3)
    key = key_of(row.make(settings))
    elsewhere = replace(settings, memory="elsewhere", verbose=1, jobs=2)
    assert key_of(row.make(elsewhere)) == key
    is_network = any(name.endswith("net__max_epochs") for name in settings_of(row.make(settings)))
    assert (key_of(row.make(replace(settings, precision="bfloat16"))) != key) is is_network
    # "finetuned" has a number of epochs of its own.
    is_network = is_network and "finetuned" not in row.name
    longer = replace(settings, epochs=4, rival_epochs=4)
    assert (key_of(row.make(longer)) != key) is is_network


def test_two_heads_come_from_one_fit(manifest, tmp_path):
    def make(settings):
        net = SpeechSentimentClassifier(
            two_headed=True, max_epochs=1, n_jobs=1, levels=LEVELS, random_state=0
        )
        coarse = {"mfb__n_mels": 8, "mfb__frame_shift": 0.05}
        return make_sentiment_pipeline(
            "2/2SREx-SEResNet-16+C+R", weights=None, net=net, memory=settings.memory, **coarse
        )

    corpus, row = read_manifest(manifest), Row("two", make, heads=TWO_HEADS)
    settings, results = Settings(LEVELS, memory=str(tmp_path / "f")), Results(tmp_path / "r")
    runner = Runner(corpus, corpus.folds(2), settings, results)
    scored = runner.score(row, [runner.fold(row, number) for number in range(2)])
    assert len(results) == 2
    assert [row["name"] for row in scored] == ["two, levels", "two, intensities"]
    levels, intensities = runner.fold(row, 0)["predictions"]
    assert set(levels) <= set(map(float, LEVELS))
    assert len(set(intensities)) > 3


@pytest.mark.parametrize("processes", ["1", "2"])
def test_rows_that_vote(run, tmp_path, manifest, monkeypatch, processes):
    """Votes of stored decisions are those of a voting classifier, in processes too."""

    def make(C):
        return lambda settings: make_sentiment_pipeline("small", weights=None, C=C)

    members = [Row(f"C = {C}", make(C)) for C in (0.1, 10.0)]

    def vote(settings):
        return OrdinalVotingClassifier([(row.name, row.make(settings)) for row in members])

    found = [*members, Row("together", vote, members=("C = 0.1", "C = 10.0"))]
    monkeypatch.setattr(protocol, "row_of", {row.name: row for row in members}.get)
    monkeypatch.setattr(table1, "select_rows", lambda names: found)
    assert run("--processes", processes)[0] == 0
    document = json.loads((tmp_path / "t.json").read_text())
    assert len(list(tmp_path.glob("t_folds/*"))) == 4
    corpus = read_manifest(manifest)
    expected = np.full(24, np.nan)
    for train, test in corpus.folds(2):
        model = vote(None).fit(corpus.X.iloc[train], corpus.y[train])
        expected[test] = model.predict(corpus.X.iloc[test])
    assert document["rows"][2]["predictions"] == expected.tolist()
    assert len(set(expected)) > 1


def test_search_is_by_speaker(rng):
    X, y = rng.normal(size=(12, 2)), rng.normal(size=12)
    for n_speakers, n_splits in ((3, 3), (6, 5), (1, 5)):
        groups = np.arange(12) % n_speakers
        splits = list(SpeakerFolds(5).split(X, y, groups))
        assert len(splits) == SpeakerFolds(5).get_n_splits(X, y, groups) == n_splits
        if n_speakers > 1:
            assert all(not set(groups[a]) & set(groups[b]) for a, b in splits)
    assert isinstance(rows._searched_svr(Settings(LEVELS)), GridSearchCV)


def test_a_search_around_the_whole_model_is_by_speaker(manifest, tmp_path, monkeypatch):
    seen, split = [], SpeakerFolds.split
    monkeypatch.setattr(
        SpeakerFolds,
        "split",
        lambda self, X, y, groups: seen.append(list(groups)) or split(self, X, y, groups),
    )

    def make(settings):
        pipeline = make_sentiment_pipeline(
            weights=None, vad="passthrough", levels=LEVELS, mfb__n_mels=8, memory=settings.memory
        )
        return GridSearchCV(pipeline, {"net__C": [0.1, 10.0]}, cv=SpeakerFolds(2))

    corpus, settings = read_manifest(manifest), Settings(LEVELS, memory=str(tmp_path / "f"))
    folds = corpus.folds(2)
    runner = Runner(corpus, folds, settings, Results(tmp_path / "r"))
    assert len(runner.fold(Row("searched", make, searched=True), 0)["predictions"][0]) == 12
    assert seen == [corpus.groups[folds[0][0]].tolist()]


class Stopped(BaseException):
    """In place of kill -9: nothing catches it."""


@pytest.mark.parametrize("name", ["TFN acoustic", "MulT audio", "2/2 from frames"])
@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt])
def test_an_interrupted_fit_resumes_to_the_same_result(manifest, tmp_path, monkeypatch, name, stop):
    """Also through random chunks, masks, dropout, the schedule and batch normalisation."""
    corpus = read_manifest(manifest)

    def make(settings):
        if name.startswith("2/2"):
            model = make_sentiment_pipeline(
                "2/2SREx-SEResNet-16+C+R", weights=None, levels=LEVELS, **settings.system()
            )
            model.set_params(mfb__n_mels=8, mfb__frame_shift=0.05)
        else:
            model = next(row for row in ROWS if row.name == name).make(settings)
            model.set_params(mfb__n_mels=8, mfb__frame_shift=0.05)
        return model.set_params(net__max_epochs=4, net__batch_size=5, net__chunk_duration=1.0)

    settings = Settings(LEVELS, memory=str(tmp_path / "features"))
    row = Row(name, make)
    folds = corpus.folds(2)
    whole = Runner(corpus, folds, settings, Results(tmp_path / "whole")).fold(row, 0)

    stopped = Runner(corpus, folds, settings, Results(tmp_path / "stopped"))
    train_step, steps = UtteranceNet.train_step, []

    def die(net, *args, **kwargs):
        steps.append(len(net.history))
        if len(steps) == 8:
            raise stop
        return train_step(net, *args, **kwargs)

    monkeypatch.setattr(UtteranceNet, "train_step", die)
    with pytest.raises(stop):
        stopped.fold(row, 0)
    assert not list((tmp_path / "stopped").glob("*.json"))
    assert steps == [1, 1, 1, 2, 2, 2, 3, 3]
    steps[:] = [0] * 8
    resumed = stopped.fold(row, 0)
    assert steps[8:] == [3, 3, 3, 4, 4, 4]
    assert resumed["predictions"] == whole["predictions"]
    assert resumed["fit_seconds"] > 0
    (file,) = (tmp_path / "stopped").iterdir()
    assert file.suffix == ".json"
