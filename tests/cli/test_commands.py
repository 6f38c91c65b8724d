"""Every subcommand, once in a process of its own, as a user types it."""

import csv
import json
import os
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.frozen import FrozenEstimator
from typed import COMMAND, lines, run

from sklearn_speechsent import load_model, save_model, sentiment_timeline
from sklearn_speechsent._version import __version__
from sklearn_speechsent.inspection import OrdinalCalibrator


def test_help_and_version_load_nothing_heavy():
    code = (
        "import sys; from sklearn_speechsent.cli import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'sklearn', 'pandas', 'numpy'} & set(sys.modules)"
    )
    for option, text in (("--help", "timeline"), ("--version", __version__)):
        result = subprocess.run([COMMAND[0], "-c", code, option], capture_output=True, text=True)
        assert result.returncode == 0 and text in result.stdout and not result.stderr


def test_predict_gives_what_the_model_gives(bundle, speech, tmp_path):
    names = list(speech.data[:2])
    result = run("predict", *names, tmp_path / "none.wav", "-m", bundle, "-f", "json")
    assert result.returncode == 1
    assert lines(result)[-1] == "1 of 3 recordings could not be scored."
    found = json.loads(result.stdout)
    assert [row["file"] for row in found] == [*names, str(tmp_path / "none.wav")]
    model = load_model(bundle)
    assert [row["level"] for row in found[:2]] == model.predict(names).tolist()
    columns = [f"p({level})" for level in model.classes_]
    chances = [[row[column] for column in columns] for row in found[:2]]
    # One by one here, because a batch with a file that is not there fails as a whole.
    np.testing.assert_allclose(chances, model.predict_proba(names), rtol=0, atol=1e-12)
    assert found[2]["level"] is None and found[2]["error"] == "there is no such file."


def test_predict_by_a_calibrated_model(call, fitted, speech, tmp_path):
    frozen = OrdinalCalibrator(FrozenEstimator(fitted))
    model = frozen.fit(speech.data, speech.target, groups=speech.groups)
    path, names = save_model(model, tmp_path / "a.zip"), list(speech.data[:2])
    code, out, err = call("predict", *names, "-m", path, "-f", "json")
    assert code == 0, err
    found = json.loads(out)
    chances = [[row[f"p({level})"] for level in model.classes_] for row in found]
    np.testing.assert_allclose(chances, model.predict_proba(names), rtol=0, atol=1e-12)
    assert [row["level"] for row in found] == model.predict(names).tolist()


def test_real_speech(call, bundle, data_home):
    """Folders, and recordings on standard input."""
    folder = data_home / "ravdess" / "Actor_01"
    names = sorted(folder.iterdir())[:3]
    content = names[0].read_bytes()
    code, out, _ = call("predict", "-", "-m", bundle, "-f", "jsonl", stdin=content)
    row = json.loads(out)
    assert code == 0 and row["file"] == "-"
    assert row["level"] == load_model(bundle).predict([str(names[0])])[0]
    code, out, _ = call("timeline", *names, "-m", bundle, "-f", "csv", "--final")
    assert code == 0
    assert {row["file"] for row in csv.DictReader(out.splitlines())} == set(map(str, names))


def test_timeline(call, bundle, speech, tmp_path):
    out = tmp_path / "line.csv"
    options = ("-m", bundle, "-o", out, "--segments", "whole")
    code, _, said = call("timeline", *speech.data[:2], tmp_path, *options)
    assert code == 2 and "holds no recording" in said
    result = run("timeline", *speech.data[:2], *options)
    assert result.returncode == 0 and not result.stdout
    expected = sentiment_timeline(load_model(bundle), speech.data[:2], segments=None)
    found = pd.read_csv(out).drop(columns="error")
    for column in ("file", "start", "end", "level", "expected", "final"):
        assert found[column].tolist() == expected[column].tolist()


def test_fit_evaluate_export(manifest, speech, tmp_path):
    model = tmp_path / "model"
    settings = ("--column", "label=rating", "--set", "C=3", "--set", "vad__hangover=0.2")
    result = run("fit", manifest, "--out", model, *settings)
    assert result.returncode == 0, lines(result)
    fitted = load_model(model)
    assert fitted["net"].C == 3 and fitted["vad"].hangover == 0.2
    out = tmp_path / "scores"
    call = ["evaluate", manifest, "--out", out, "--folds", 2, *settings]
    result = run(*call, "--by", "sex")
    assert (
        result.returncode == 2 and "--by sex: the table has the columns file" in lines(result)[-1]
    )
    result = run(*call, "--by", "speaker")
    assert result.returncode == 0, lines(result)
    assert "constant" in result.stdout.decode() and (out / "confusion.png").stat().st_size > 5000
    html = (out / "report.html").read_text()
    assert "data:audio/mpeg" in html and "small on labels.csv" in html
    rows = pd.read_csv(out / "predictions.csv")
    assert len(rows) == len(speech.target) and rows["label"].tolist() == speech.target.tolist()
    assert rows.groupby("speaker")["fold"].nunique().max() == 1
    mae = (rows["level"] - rows["label"]).abs().mean()
    assert json.loads((out / "scores.json").read_text())["mae"] == pytest.approx(mae)


def test_listen_to_standard_input(call, bundle, speech):
    samples, rate = soundfile.read(speech.data[0], dtype="int16")
    content = np.concatenate([samples, np.zeros(2 * rate, np.int16)]).tobytes()
    result = run("listen", "-", "-m", bundle, "--rate", rate, "-f", "jsonl", stdin=content)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    kinds = [event["type"] for event in events]
    assert kinds[0] == "SpeechStart" and kinds[-1] == "SpeechEnd" and "Score" in kinds
    _, out, _ = call("listen", "-", "-m", bundle, "--rate", rate, stdin=content[:-1])
    assert "speech begins" in out


def test_check_and_doctor(call, speech, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    result = run("check", speech.data[0], bad, "-f", "json")
    (row,) = json.loads(result.stdout)
    assert result.returncode == 1 and row["file"] == str(bad) and row["row"] == 1
    assert call("check", speech.data[0])[0] == 0
    result = run("doctor", "-f", "json")
    facts = {row["what"]: row["found"] for row in json.loads(result.stdout)}
    assert result.returncode == 0 and facts["sklearn-speechsent"] == __version__
    assert facts["weights speechsent-seresnet"] == "there"


def test_fetch_lists_and_verifies(call, home):
    code, out, _ = call("fetch")
    assert code == 0 and "speechsent-seresnet" in out
    result = run("fetch", "speechsent-seresnet")
    assert result.returncode == 0 and b"speechsent-seresnet.safetensors" in result.stdout
    code, _, said = call("fetch", "nothing")
    assert code == 2 and "There is no nothing; known:" in said


def test_a_batch_that_is_interrupted_again_and_again(call, bundle, speech, tmp_path):
    """Complete in the end: no row twice, none missing, each as it would have been alone."""
    folder, out = tmp_path / "batch", tmp_path / "rows.csv"
    folder.mkdir()
    samples, rate = soundfile.read(speech.data[0], dtype="int16")
    soundfile.write(folder / "0000.wav", samples[: rate // 2], rate)
    for k in range(1, 600):
        os.link(folder / "0000.wav", folder / f"{k:04d}.wav")
    arguments = ["predict", str(folder), "-m", str(bundle), "-o", str(out), "--resume"]
    sizes = [0]
    for _ in range(2):
        process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if out.exists() and out.stat().st_size > sizes[-1] + 5_000:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        sizes.append(out.stat().st_size)
    assert sizes == sorted(set(sizes)), "it ended before it was interrupted"
    with open(out, "a", encoding="utf-8") as file:
        file.write(f"{folder}/0299.wav,1")  # as after a full disk
    assert call(*arguments)[0] == 0
    rows = pd.read_csv(out)
    assert rows["file"].tolist() == [f"{folder}/{k:04d}.wav" for k in range(600)]
    assert rows.drop(columns="file").drop_duplicates().shape[0] == 1
