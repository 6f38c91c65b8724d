import json
import sys
from functools import partial

import pytest

from experiments import ablations
from sklearn_speechsent import make_sentiment_pipeline

CENTRAL = (ablations.BASE, ablations.BASE | {"heads": "R", "spe": True})
SINGLE = (ablations.BASE | {"exponent": 0.0, "noise": 0.5},)


@pytest.fixture
def run(manifest, tmp_path, monkeypatch):
    """Function that runs the ablations on the shipped network, and gives the document."""
    shipped = partial(make_sentiment_pipeline, weights="speechsent-seresnet", batch_size=8)
    monkeypatch.setattr(ablations, "make_sentiment_pipeline", shipped)
    monkeypatch.setattr(ablations, "CENTRAL", CENTRAL)
    monkeypatch.setattr(ablations, "SINGLE", SINGLE)

    def run(*more):
        out = tmp_path / "a.json"
        arguments = ["--corpus", str(manifest), "--out", str(out), "--folds", "2", "--seeds", "2"]
        arguments += ["--epochs", "1", "--chunk", "0.2", "--jobs", "1", *more]
        monkeypatch.setattr(sys, "argv", ["ablations", *arguments])
        ablations.main()
        return json.loads(out.read_text())

    return run


def test_some_systems(run, tmp_path, capsys):
    tables = run("--systems", "spe")["tables"]
    assert [row["setting"]["spe"] for row in tables["All seeds"]] == [True]
    assert [row["setting"]["spe"] for row in tables["One seed"]] == [True]
    assert len(list((tmp_path / "a_fits").iterdir())) == 2 * 2
    with pytest.raises(SystemExit):
        run("--systems", "34")
    assert "'34'" in capsys.readouterr().err


def test_end_to_end(run, tmp_path):
    tables = run()["tables"]
    assert [(row["seeds"], row["n"]) for row in tables["All seeds"]] == [(2, 24), (2, 24)]
    assert [(row["seeds"], row["n"]) for row in tables["One seed"]] == [(1, 24)] * 3
    report = (tmp_path / "a.md").read_text()
    assert "| 2/2SREx-SEResNet-16 + SpE + R | levels alike | clean | 2 | 24 |" in report
    assert "| 2/2SREx-SEResNet-16 + C | as they are | 50% wrong | 1 | 24 |" in report
    assert "constant (median)" in report
    assert (tmp_path / "a.png").stat().st_size > 1000
    # The report reads what is there.
    fits = sorted((tmp_path / "a_fits").iterdir())
    assert len(fits) == 2 * 2 * 2 + 2
    assert run("--report")["tables"] == tables
    assert run("--epochs", "2", "--report")["tables"] == {"All seeds": [], "One seed": []}
    assert sorted((tmp_path / "a_fits").iterdir()) == fits
