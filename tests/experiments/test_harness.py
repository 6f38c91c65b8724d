import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from experiments._harness.command import choose, make_parser
from experiments._harness.files import write_text
from experiments._harness.intervals import interval
from experiments._harness.pictures import draw_confusion
from experiments._harness.results import Results, key_of
from experiments._harness.tables import duration, save, table_of
from sklearn_speechsent import MelFilterBank, OrdinalVotingClassifier
from sklearn_speechsent.features import FrameStatistics


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
    assert results.n_new == 1
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
    once = interval(np.arange(24), lambda rows: error[rows].mean())
    copied, groups = np.repeat(error, 20), np.repeat(np.arange(24), 20)
    assert interval(groups, lambda rows: copied[rows].mean()) == pytest.approx(once)
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
