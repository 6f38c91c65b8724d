import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Unfreezer

from experiments._harness.command import choose, make_parser
from experiments._harness.experiment import (
    Experiment,
    add_run_options,
    remarks,
    run_experiment,
)
from experiments._harness.files import write_text
from experiments._harness.pictures import draw_confusion
from experiments._harness.results import Results, key_of
from experiments._harness.tables import duration, save, table_of
from sklearn_speechsent import (
    MelFilterBank,
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    make_sentiment_pipeline,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.inspection import speaker_interval
from sklearn_speechsent.pretrained import REGISTRY


def test_files_are_there_in_full_or_not_at_all(tmp_path, monkeypatch):
    results = Results(tmp_path)
    results.put("a", {"epochs": 3})

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="full"):
        write_text(tmp_path / "a.json", "{}")
    assert results.get("a") == {"key": "a", "epochs": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_incomplete_results_and_those_of_another_key_are_not_read(tmp_path):
    results = Results(tmp_path / "made when needed")
    assert results.get("a") is None
    assert results.put("a", {"epochs": 3}) == {"key": "a", "epochs": 3}
    assert len(results) == 1
    file = results.folder / "a.json"
    file.with_name("b.json").write_text(file.read_text())
    assert results.get("b") is None
    file.write_text('{"key": "a"')
    assert results.get("a") is None


def test_tables(tmp_path, capsys):
    lines = table_of(["a", "b"], [["1", "2"]])
    assert lines == ["| a | b |", "| --- | --- |", "| 1 | 2 |", ""]
    assert table_of(["a"], []) == []
    save(tmp_path / "new" / "t.json", {"ρ": 1}, lines)
    assert (tmp_path / "new" / "t.md").read_text() == capsys.readouterr().out[:-1]
    assert '"ρ": 1' in (tmp_path / "new" / "t.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (9000, "2.5 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
    assert duration(150, decimals=1) == "2.5 min"


def test_names_and_parts_of_names():
    names = ["small", "medium", "medium, perturbed", "1/2 + C + R", "1/2 + C"]
    assert choose("all", names) == names
    assert choose("1/2+c, MEDIUM", names) == ["medium", "1/2 + C"]
    assert choose("perturbed,1/2", names) == names[2:]
    for wrong in ("bert", "small,", ""):
        with pytest.raises(ValueError, match="There is no row"):
            choose(wrong, names, "row")


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit):
        make_parser("Something.\n\n    python -m experiments.vad --out x\n").parse_args(["--help"])
    assert "usage: python -m experiments.vad [-h] --out OUT" in capsys.readouterr().out


def test_a_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw_confusion(tmp_path / "c.png", [0, 1, 1], [0, 1, 0], [0, 1], "title")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_interval_is_over_speakers():
    """Rows of one speaker add nothing: twenty copies of each give the same interval."""
    error = np.random.default_rng(1).normal(size=24)
    once = speaker_interval(np.arange(24), lambda rows: error[rows].mean())
    copied, groups = np.repeat(error, 20), np.repeat(np.arange(24), 20)
    assert speaker_interval(groups, lambda rows: copied[rows].mean()) == pytest.approx(once)
    # As the formula for a mean has it, within the error of the draws.
    half = 1.96 * error.std() / np.sqrt(24)
    assert once == pytest.approx([error.mean() - half, error.mean() + half], abs=0.15 * half)


def test_key_sees_members_and_not_where_they_store():
    def key(names, memory):
        members = [(name, FrameStatistics()) for name in names]
        members = [(name, make_pipeline(MelFilterBank(memory=memory), m)) for name, m in members]
        return key_of(OrdinalVotingClassifier(members))

    assert key("ab", "here") == key("ab", "there")
    assert key("ab", None) != key("ba", None)


@pytest.fixture
def run(tmp_path):
    """Function that runs an experiment of two folds: its exit code, and what it computed."""
    computed, given = [], {}

    def prepare(options, stored, shared):
        given.update(shared)
        if options.jobs == 0:
            raise ValueError("no threads")

        def fold(name, number):
            key = f"{name}{number}"
            if stored.get(key) is None:
                computed.append(key)
                if key == "stopped1":
                    raise KeyboardInterrupt
                if key == "unlucky1":
                    raise RuntimeError("no such luck")
                stored.put(key, {"value": number})
            return stored.get(key)

        def add(document, name, results):
            document["rows"][name] = [result["value"] for result in results]

        return Experiment(
            {"rows": {}, "skipped": {"gone": "it is not there"}},
            {name: name for name in options.names.split(",")},
            2,
            fold,
            add,
            lambda document: [f"{document['rows']}", *remarks(document)],
            lambda path, document: path.write_text("drawn"),
        )

    def run(*arguments):
        computed.clear()
        parser = make_parser("    python -m experiments.mine --out FILE.json")
        parser.add_argument("--names")
        add_run_options(parser)
        argv = ["--out", str(tmp_path / "m.json"), *arguments]
        return run_experiment("experiments.mine", prepare, parser.parse_args(argv), argv), computed

    run.given = given
    return run


def test_an_experiment_is_written_after_each_run_and_resumes(run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert run("--names", "a,stopped,b") == (130, ["a0", "a1", "stopped0", "stopped1"])
    assert "resumes from here" in capsys.readouterr().out
    assert json.loads((tmp_path / "m.json").read_text())["rows"] == {"a": [0, 1]}
    assert not (tmp_path / "m.png").exists()
    assert run("--names", "a,b") == (0, ["b0", "b1"])
    said = capsys.readouterr().out
    assert "Skipped: gone, because it is not there." in said
    assert "- skipped: gone (it is not there)" in said and "2 results computed" in said
    assert json.loads((tmp_path / "m.json").read_text()) == {
        "command": f"python -m experiments.mine --out {tmp_path}/m.json --names a,b",
        "rows": {"a": [0, 1], "b": [0, 1]},
        "skipped": {"gone": "it is not there"},
        "failed": {},
    }
    assert (tmp_path / "m.md").read_text() in said
    assert (tmp_path / "m.png").read_text() == "drawn"
    assert {path.name for path in (tmp_path / "m_folds").iterdir()} == {
        f"{key}.json" for key in ("a0", "a1", "b0", "b1", "stopped0")
    }


def test_a_run_that_fails_stops_no_other(run, tmp_path):
    assert run("--names", "unlucky,b") == (1, ["unlucky0", "unlucky1", "b0", "b1"])
    document = json.loads((tmp_path / "m.json").read_text())
    assert document["rows"] == {"b": [0, 1]}
    assert document["failed"] == {"unlucky": "RuntimeError: no such luck"}
    assert "- failed: unlucky (RuntimeError: no such luck)" in (tmp_path / "m.md").read_text()


def test_what_cannot_be_used_is_said_before_work_starts(run, tmp_path, capsys):
    assert run("--names", "a", "--jobs", "0") == (2, [])
    assert capsys.readouterr().err == "mine: no threads\n"
    assert run.given == {"memory": str(tmp_path / "features"), "n_jobs": 0}
    assert not list(tmp_path.iterdir())
    run("--names", "a", "--memory", "elsewhere", "--jobs", "2")
    assert run.given == {"memory": str(Path("elsewhere").resolve()), "n_jobs": 2}


def test_other_weights_of_the_same_name_have_another_key(monkeypatch):
    shipped = REGISTRY["speechsent-seresnet"]
    key = key_of(make_sentiment_pipeline("small"))
    assert key_of(make_sentiment_pipeline("small")) == key
    monkeypatch.setitem(REGISTRY, shipped.name, replace(shipped, sha256="0" * 64))
    assert key_of(make_sentiment_pipeline("small")) != key


def test_callbacks_of_a_network_are_part_of_the_key():
    def key(callbacks):
        return key_of(SpeechSentimentClassifier(callbacks=callbacks))

    def thaw(epoch):
        return [("thaw", Unfreezer("stext.*", at=epoch))]

    assert key(thaw(2)) == key(thaw(2))
    assert len({key(None), key(thaw(2)), key(thaw(3))}) == 3
