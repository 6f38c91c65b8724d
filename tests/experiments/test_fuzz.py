"""A tenth of the mutants, and whether what must not happen is noticed."""

import sys
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from experiments.fuzz import tables
from experiments.fuzz.__main__ import main
from experiments.fuzz.child import mutants
from experiments.fuzz.children import check_in_children
from experiments.fuzz.mutant import Failed, Mutant, check_names_row, guarded
from experiments.fuzz.mutations import find_chunks
from experiments.fuzz.recordings import RecordingChecks
from experiments.fuzz.sources import draw_source, load_voices
from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.datasets import load_manifest

#: A process that computes for ever, crashes, asks for a GiB, and does what it should.
PROCESS = """
import os
from experiments.fuzz.children import serve
from experiments.fuzz.mutant import Mutant, guarded

def check(number):
    if number == 1:
        while True:
            pass
    if number == 3:
        os.abort()
    size = 2**30 if number == 4 else 2**20
    return Mutant({}, "", b"", lambda: guarded(lambda: str(len(bytearray(size))))).checked()

serve(check, 2**26, 0.5)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def voices(folder):
    return load_voices(folder)


@pytest.fixture(scope="module")
def make(folder):
    return mutants(0, folder)


def test_a_tenth_of_the_mutants(tmp_path, capsys):
    assert main(["--n", "200", "--out", str(tmp_path / "fuzz.json")]) == 0, capsys.readouterr().out
    assert (tmp_path / "fuzz.md").read_text() == capsys.readouterr().out[:-1]


def test_mutants_are_those_of_the_seed(make, folder):
    """Except for the serial numbers and times that libsndfile writes into headers."""

    def made(function):
        made = [function(number) for number in range(40)]
        return [(mutant.report, mutant.suffix, len(mutant.content)) for mutant in made]

    assert made(mutants(0, folder)) == made(make)
    same = [a == b for a, b in zip(made(mutants(1, folder)), made(make), strict=True)]
    assert sum(same) < 4


def test_most_mutants_are_recognised(make):
    reports = [make(number).report for number in range(120) if number % 5]
    assert sum(report["magic"] for report in reports) >= len(reports) / 2
    assert len({report["format"] for report in reports}) > 15
    assert len(Counter(name for report in reports for name in report["mutations"])) == 12


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "OGG"])
def test_chunks_are_the_whole_file(format, voices, rng):
    content = draw_source(format, voices, rng).content
    chunks = find_chunks(content)
    assert len(chunks) > 1 and chunks[-1].stop == len(content)
    assert all(a.stop == b.start for a, b in pairwise(chunks))


def test_blocks_of_flac(voices, rng):
    content = draw_source("FLAC", voices, rng).content
    chunks = find_chunks(content)
    assert chunks[0].start == 4 and chunks[0].stop == 42  # STREAMINFO has 34 bytes
    # Where blocks end, frames begin.
    assert content[chunks[-1].stop : chunks[-1].stop + 2] in (b"\xff\xf8", b"\xff\xf9")


# -- what must not happen --------------------------------------------------------------------------


def test_the_end_of_a_process_is_that_of_its_mutant():
    found = check_in_children([sys.executable, "-c", PROCESS], range(6), jobs=2)
    assert [report["number"] for report in found] == list(range(6))
    assert [report.get("failure") for report in found] == [
        None,
        "hang (SIGPROF)",
        None,
        "crash (SIGABRT)",
        "memory beyond the bound",
        None,
    ]
    assert "in check" in found[1]["stacks"] and "in check" in found[3]["stacks"]
    assert found[5]["outcome"] == str(2**20)


def test_a_script_with_a_fault_of_its_own_is_no_crash():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        check_in_children([sys.executable, "-c", "1 / 0"], range(3))


def test_other_errors_and_warnings_of_libraries_are_failures():
    assert isinstance(guarded(lambda: int("x"), ValueError), ValueError)
    with pytest.raises(Failed, match="ZeroDivisionError"):
        guarded(lambda: 1 / 0, ValueError)
    with pytest.raises(Failed, match="RuntimeWarning"):
        guarded(lambda: np.float64(1) / np.float64(0))
    assert guarded(lambda: warnings.warn("1 of 3 recordings", stacklevel=1)) is None


def test_errors_name_the_row():
    check_names_row("Row 1 of X is None", "here")
    check_names_row("row 1 (a.wav): it is empty", "here")
    for message in ("row 0 (a.wav): it is empty", "row 11 is empty", "it is empty", None):
        with pytest.raises(Failed, match="names no row"):
            check_names_row(message, "here")


def test_rows_and_frames_of_good_recordings(folder, voices):
    checks = RecordingChecks(0, folder, voices)
    first, last = checks.good
    checks.compare(MelFilterBank().fit_transform([first, first, last]))
    with pytest.raises(Failed, match="2 rows of 3"):
        checks.compare(MelFilterBank().fit_transform([first, last]))
    with pytest.raises(Failed, match="good row 2 changed"):
        checks.compare(MelFilterBank().fit_transform([first, last, first]))


@pytest.mark.parametrize("fault", ["lost", "shifted"])
def test_manifests_that_lose_rows_or_shift_labels(make, monkeypatch, fault):
    def faulty(path):
        found = load_manifest(path)
        if fault == "lost":
            found.data, found.target, found.frame = (
                found.data[1:],
                found.target[1:],
                found.frame[1:],
            )
        else:
            found.target = np.roll(found.target, 1)
        return found

    numbers = [n for n in range(0, 400, 5) if make(n).report["format"] == "manifest"]
    monkeypatch.setattr(tables, "load_manifest", faulty)
    reports = [make(number).checked() for number in numbers]
    said = [report["failure"] for report in reports if "failure" in report]
    wanted = "left out of" if fault == "lost" else "no line has"
    assert sum(wanted in failure for failure in said) > len(reports) / 4


def test_outcomes_are_counted(capsys, tmp_path, monkeypatch):
    """The table, the files of the mutants that failed, and the exit status."""
    failing = {"number": 4, "failure": "crash (SIGSEGV)", "stacks": "…"}
    fine = {"number": 1, "format": "WAV", "magic": True, "outcome": "same frames"}
    monkeypatch.setattr("experiments.fuzz.__main__.check_in_children", lambda *_: [fine, failing])
    assert main(["--n", "5", "--out", str(tmp_path / "out.json")]) == 1
    said = capsys.readouterr().out
    assert "| WAV | 1 | 1 | 1 | 0 | 0 | 0 |" in said
    assert "| crash (SIGSEGV) | 1 | 4 |" in said
    (file,) = (tmp_path / "out.failures").iterdir()
    assert file.stem == "4" and isinstance(mutants(0, tmp_path)(4), Mutant)
    assert file.read_bytes() == mutants(0, tmp_path)(4).content
