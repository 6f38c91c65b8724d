"""Some of the mutated bundles, and whether what must not happen is noticed."""

import json

import numpy as np
import pytest

from experiments.fuzz import bundles
from experiments.fuzz.bundles import BundleChecks, main, report_of
from sklearn_speechsent.deploy import BundleError


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    return BundleChecks(0, tmp_path_factory.mktemp("bundles"))


def test_some_of_the_mutants(checks):
    results = [checks.make(number).checked() for number in range(200)]
    assert not [result for result in results if "failure" in result]
    outcomes = {result["outcome"].partition(":")[0] for result in results}
    assert outcomes == {"error", "loaded"}
    kinds = {result["format"] for result in results}
    assert kinds == {"json", "text", "header", "numbers", "manifest", "zip"}
    assert len({result["outcome"] for result in results}) > 30
    assert any(line.startswith("| all | 200 |") for line in report_of(results))


def test_a_number_is_a_mutant(checks):
    first, second = (checks.make(17).content for _ in range(2))
    assert first == second != checks.make(18).content


@pytest.mark.parametrize(
    ("load", "failure"),
    [
        (lambda path: open(path.with_name("evil"), "w").close(), "it caused open"),
        (lambda path: exec("1"), "it caused exec"),
        (lambda path: int("x"), "ValueError"),
        (lambda path: {}["x"], "KeyError"),
        (lambda path: Other(), "predicts something else"),
    ],
    ids=["writes", "runs", "another ValueError", "another error", "another model"],
)
def test_failures_are_noticed(checks, monkeypatch, load, failure):
    monkeypatch.setattr(bundles, "load_model", load)
    assert failure in checks.make(1).checked()["failure"]


class Other:
    def predict_proba(self, X):
        return np.zeros((len(X), 3))


def test_a_refusal_is_an_outcome(checks, monkeypatch):
    def refuse(path):
        raise BundleError("No.")

    monkeypatch.setattr(bundles, "load_model", refuse)
    assert checks.make(1).checked()["outcome"] == "error: No"


def test_the_command(tmp_path):
    assert main(["--only", "1", "2", "--out", str(tmp_path / "a.json")]) == 0
    results = json.loads((tmp_path / "a.json").read_text())["results"]
    assert [result["number"] for result in results] == [1, 2]
