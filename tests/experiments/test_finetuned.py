import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import finetuned
from experiments._harness.corpus import load_corpus
from experiments.table1.rows import CONSTANT

TINY = {"weights": "speechsent-seresnet", "max_epochs": 1, "chunk_duration": 0.2}
SETTINGS = {
    finetuned.BASE: TINY,
    "copies, 1 epoch": {**TINY, "copies": True, "module__hidden_size": 8},
    "speeds averaged": {**TINY, "speeds": True},
    "detector": {**TINY, "vad": "detector"},
    "block frozen at first": {**TINY, "callbacks": finetuned.thaw("stext.*", 2)},
}


@pytest.fixture
def corpus(manifest, monkeypatch):
    """Corpus of four speakers with numbers, which the experiment takes for RAVDESS."""
    found = load_corpus(str(manifest))
    numbers = np.unique(found.groups, return_inverse=True)[1] + 1
    numbered = replace(found, groups=numbers, y=np.rint(found.y))
    monkeypatch.setattr(finetuned, "load_corpus", lambda name: numbered)
    monkeypatch.setattr(finetuned, "lacks_weights", lambda *names: "")
    monkeypatch.setattr(finetuned, "SETTINGS", SETTINGS)
    monkeypatch.setattr(finetuned, "OTHERS", (CONSTANT, "small"))
    return numbered


def test_end_to_end(corpus, tmp_path):
    out = tmp_path / "f.json"
    arguments = ["--out", str(out), "--speakers", "2-3", "--folds", "2", "--seeds", "2"]
    assert finetuned.main([*arguments, "--settings", "as it is,copies"]) == 0
    rows = json.loads(out.read_text())["rows"]
    names = ["as it is", "copies, 1 epoch"]
    assert [row["name"] for row in rows] == [CONSTANT, "small", *names, *names]
    assert {len(row["predictions"]) for row in rows} == {12}  # of two speakers
    assert [len(row["losses"][0]) for row in rows] == [0, 0, 1, 1, 1, 1]
    lines = [line for line in out.with_suffix(".md").read_text().splitlines() if "±" in line]
    assert [line.split(" | ")[:2] for line in lines[:2]] == [[f"| {n}", "2"] for n in names]
    assert out.with_suffix(".png").stat().st_size > 1000
    # Other settings are added, and these are read.
    files = set((tmp_path / "f_folds").iterdir())
    assert finetuned.main([*arguments, "--settings", "as it is,speeds,detector"]) == 0
    added = set((tmp_path / "f_folds").iterdir()) - files
    assert len(added) == 2 * 2 * 2


def test_callbacks_of_a_setting_are_not_shared(corpus, tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "f.json"), "--speakers", "2-3", "--folds", "2"]
    arguments += ["--seeds", "2", "--settings", "block frozen"]
    assert finetuned.main(arguments) == 0
    capsys.readouterr()
    assert finetuned.main(arguments) == 0
    assert "0 results computed" in capsys.readouterr().out  # after a fit the keys are the same


def test_speakers_that_are_not_there(corpus, tmp_path, capsys):
    assert finetuned.main(["--out", str(tmp_path / "f.json"), "--speakers", "7"]) == 2
    assert "has no speakers 7 to 7" in capsys.readouterr().err


def test_without_weights_all_is_skipped(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuned, "lacks_weights", lambda *names: "there are none")
    out = tmp_path / "f.json"
    assert finetuned.main(["--out", str(out), "--speakers", "1-4", "--folds", "2"]) == 0
    assert "skipped: as it is, seed 0 (there are none)" in out.with_suffix(".md").read_text()
    assert not out.with_suffix(".png").exists()
