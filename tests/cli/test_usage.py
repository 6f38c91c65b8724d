"""Arguments, outputs and errors, without a new process for each."""

import io
import json
import sys

import numpy as np
import pytest
import soundfile

from sklearn_speechsent.cli.options import Format
from sklearn_speechsent.cli.output import plain, rows_there, written
from sklearn_speechsent.cli.recordings import find_recordings


@pytest.fixture
def tone(tmp_path):
    def write(name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
        return path

    return write


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "a.wav", "-m", "model.joblib"], "is a pickle, which runs code"),
        (["predict", "a.wav", "-m", "no.zip"], "no.zip"),
        (["predict", "-", "a.wav"], "alone"),
        (["predict", "a.wav", "--resume"], "--resume continues an --out"),
        (["predict", "a.wav", "--resume", "-o", "a.json"], "jsonl or csv"),
        (["predict", "m.zip", "a.wav"], "m.zip is a zip file, not a recording"),
        (["predict", "no.csv"], "There is no table no.csv"),
        (["predict", "a.wav", "--format", "xml"], "xml"),
        (["listen", "a.wav"], "see timeline"),
        (["fit", "no.csv", "--out", "model"], "no.csv"),
        (["nothing"], "nothing"),
    ],
)
def test_calls_that_cannot_be_carried_out(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert code == 2 and message in err and "Traceback" not in err and not out


def test_options_of_fit(call, manifest, tmp_path):
    for options, message in (
        (["--column", "rating"], "must have the form name=value"),
        (["--column", "label=rating", "--levels", "a,b"], "'a' is not a number"),
        (["--column", "label=rating", "--split", "train"], "has no column 'split'"),
        (["--column", "label=rating", "--set", "nothing=1"], "nothing= is neither a step"),
    ):
        code, _, err = call("fit", manifest, "--out", tmp_path / "model", *options)
        assert code == 2 and message in err
    assert not (tmp_path / "model").exists()


def test_recordings_of_arguments(tone, tmp_path, monkeypatch):
    names = [tone(name) for name in ("b/2.wav", "b/1.flac", "b/.hidden.wav", "-a.wav")]
    (tmp_path / "b" / "notes.txt").write_text("x")
    places, X = find_recordings([str(tmp_path / "b"), str(names[-1])])
    assert [row["file"] for row in places] == [str(names[k]) for k in (1, 0, 3)] and X == places
    places, _ = find_recordings([str(tmp_path / "b" / "*.wav")])  # as Windows passes it
    assert [row["file"] for row in places] == [str(names[0])]
    table = tmp_path / "rows.csv"
    table.write_text("file;start;end;note\nb/2.wav;0;0.5;x\nb/1.flac;;;y\n")
    places, _ = find_recordings([str(table)])
    assert places[0] == {"file": str(names[0]), "start": 0.0, "end": 0.5}
    assert places[1] == {"file": str(names[1])}
    table.write_text("name\nb/2.wav\n")
    with pytest.raises(ValueError, match=r"no column 'file', only 'name'"):
        find_recordings([str(table)])
    table.write_text("file,start\n,1\n")
    with pytest.raises(ValueError, match="row 0 names no file"):
        find_recordings([str(table)])


def test_segments_of_any_table(call, bundle, speech, tmp_path):
    table = tmp_path / "utterances.csv"
    table.write_text(f"file;start;end\n{speech.data[0]};0.1;1.2\n")
    line = tmp_path / "line.jsonl"
    code, *_ = call(
        "timeline", speech.data[0], "-m", bundle, "--final", "--segments", table, "-o", line
    )
    (row,) = [json.loads(text) for text in line.read_text().splitlines()]
    assert code == 0 and (row["start"], row["end"]) == (0.1, 1.2)


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(ValueError, match="Standard input is empty"):
        find_recordings(["-"])


def test_names_with_dashes_and_in_any_encoding(call, tone, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tone("-a.wav")
    code, out, _ = call("predict", "-m", bundle, "-f", "jsonl", "--", "-a.wav")
    assert code == 0 and json.loads(out)["file"] == "-a.wav"
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    tone("-a.wav").rename(tmp_path / name)
    for form in ("jsonl", "csv", "json"):
        output = tmp_path / f"rows.{form}"
        assert call("predict", "-m", bundle, "-o", output, name)[0] == 0
        content = output.read_bytes()
        assert (b"caf\xe9" in content) == (form == "csv")
        if form == "jsonl":
            assert json.loads(content)["file"] == name
    assert call("predict", "-m", bundle, "-o", tmp_path / "rows.csv", "--resume", name)[0] == 0
    assert (tmp_path / "rows.csv").read_bytes().count(b"\n") == 2  # it was there


def test_nobody_speaks(call, bundle, tmp_path):
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    code, out, _ = call("predict", path, "-m", bundle, "-f", "json")
    (row,) = json.loads(out)
    assert code == 0 and row["level"] is None and row["error"] == "nobody speaks in it"


def test_tables_are_for_reading(call, bundle, speech):
    code, out, _ = call("predict", *speech.data[:2], "-m", bundle)
    head, *rows = out.splitlines()
    at = head.index("expected")
    assert code == 0 and len(rows) == 2
    assert all(abs(float(row[at:].split()[0])) <= 3 and row[at - 1] == " " for row in rows)


@pytest.mark.parametrize("form", [Format.csv, Format.jsonl])
def test_incomplete_ends_are_removed(form, tmp_path):
    path, columns = tmp_path / "rows", ["file", "x"]
    rows = [("a,\u2028b", 1.5), ('c"', float("nan")), ('c"', 2.0)]
    with written(columns, form, path) as write:
        write(dict(zip(columns, row, strict=True)) for row in rows)
    whole = path.read_bytes()
    found = rows_there(path, form, columns)
    assert [row["file"] for row in found] == ["a,\u2028b", 'c"', 'c"']
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:cut])
        n = len(rows_there(path, form, columns))
        left = path.read_bytes()
        assert whole.startswith(left) and (not left or left.endswith(b"\n"))
        assert n == max(0, left.count(b"\n") - (form is Format.csv))
    path.write_bytes(whole)
    assert len(rows_there(path, form, columns, whole_files=True)) == 1
    with pytest.raises(ValueError, match="has the columns file, x"):
        rows_there(path, form, ["file", "y"])


def test_missing_values_are_null():
    assert [plain(x) for x in (np.float64("nan"), np.int64(3), float("inf"), None, "a")] == [
        None,
        3,
        None,
        None,
        "a",
    ]
