"""The paper's experiment on synthetic voices and with small systems."""

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

import experiments.cmu_mosei.__main__ as cmu_mosei
from experiments._harness.command import choose
from experiments.cmu_mosei import features
from experiments.cmu_mosei.table import as_markdown
from sklearn_speechsent import FeatureStore, make_sentiment_pipeline

SMALL, TWO_HEADED, FUSED = "small", "2/2SREx-SEResNet-16 + C + R", "1/2SREx-SEResNet-34 + SpE + C"
# The warning about a level that is too rare to be learned.
pytestmark = pytest.mark.filterwarnings("ignore:No training label is at level")


def tiny_row(name, args, store):
    """In place of each system one that needs no pre-trained weights."""
    shared = {"weights": None, "levels": range(-3, 4), "memory": store, "random_state": args.seed}
    shared |= {"mfb__n_mels": 8, "mfb__frame_shift": 0.05}
    if name in (SMALL, "medium"):
        return make_sentiment_pipeline(SMALL, vad="passthrough", **shared)
    return make_sentiment_pipeline(
        TWO_HEADED, max_epochs=args.epochs, early_stopping=True, **shared
    )


@pytest.fixture(scope="module")
def folder(speech, tmp_path_factory):
    """Folder of one file per segment: of two voices to train on, one for each other fold."""
    folder = tmp_path_factory.mktemp("mosei")
    voices = list(dict.fromkeys(speech.groups))
    rows = []
    for clip, (file, label, voice) in enumerate(
        zip(speech.data, speech.target, speech.groups, strict=True)
    ):
        split = ["train", "train", "valid", "test"][voices.index(voice)]
        (folder / f"v{voice}").mkdir(exist_ok=True)
        shutil.copy(file, folder / f"v{voice}" / f"{clip}.wav")
        rows.append((f"v{voice}", clip, label + 0.25, split, 0.0, soundfile.info(file).duration))
    columns = ["video_id", "clip_id", "sentiment", "split", "start", "end"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """Function that runs the script and returns the exit code and the systems that were fitted."""
    monkeypatch.setattr(cmu_mosei, "make_row", tiny_row)
    monkeypatch.setattr(cmu_mosei, "has_weights", lambda name: True)
    # Pictures take longer than all the rest. test_cmu_mosei_interrupted.py has them.
    for name in ("draw_display", "draw_best"):
        monkeypatch.setattr(cmu_mosei, name, lambda *args: None)
    fit_and_read, fitted = cmu_mosei.fit_and_read, []

    def counted(system, folds):
        fitted.append(system[-1].__class__.__name__)
        return fit_and_read(system, folds)

    monkeypatch.setattr(cmu_mosei, "fit_and_read", counted)

    def run(*more, systems="small,2/2", audio=folder, out=tmp_path / "out"):
        fitted.clear()
        arguments = ["--audio-dir", str(audio), "--out", str(out), "--epochs", "1", "--jobs", "1"]
        return cmu_mosei.main([*arguments, "--systems", systems, *more]), list(fitted)

    return run


BOTH = ["OrdinalClassifier", "SpeechSentimentClassifier"]


def table(tmp_path):
    return json.loads((tmp_path / "out" / "table.json").read_text())


def test_results_are_read_back_only_for_the_same_settings_and_data(run, tmp_path, folder, capsys):
    assert run() == (0, BOTH)
    first = table(tmp_path)
    assert [row["epochs"] for row in first["rows"]] == [None, None, None, 1, 1]
    assert first["corpus"]["parts"]["train"]["segments"] == 12
    assert "can hardly be learned" in capsys.readouterr().out
    assert run("-v") == (0, [])
    assert "Read back: small, 2/2SREx-SEResNet-16 + C + R" in capsys.readouterr().out
    assert table(tmp_path)["rows"] == first["rows"]
    assert run(systems="2/2,medium") == (0, [])  # the same as small here

    assert run("--epochs", "2") == (0, BOTH[1:])
    assert run("--float16") == (0, BOTH)
    labels = pd.read_csv(folder / "labels.csv")
    labels["sentiment"] += 0.125
    labels.to_csv(tmp_path / "other.csv", index=False)
    assert run("--labels", str(tmp_path / "other.csv")) == (0, BOTH)
    assert run() == (0, [])
    assert table(tmp_path)["rows"] == first["rows"]


def test_a_trial_takes_whole_videos_and_says_so(run, tmp_path):
    assert run("--limit", "1", systems="small")[0] == 0
    document = table(tmp_path)
    assert {name: part["videos"] for name, part in document["corpus"]["parts"].items()} == {
        "train": 1,
        "valid": 1,
        "test": 1,
    }
    assert document["corpus"]["parts"]["train"]["segments"] == 6
    assert "**A trial: only the first 1 videos" in (tmp_path / "out" / "table.md").read_text()


def test_ctrl_c_says_how_to_resume(run, tmp_path, monkeypatch, capsys):
    fit = cmu_mosei.fit_and_read

    def stop(system, folds):
        if system[-1].__class__.__name__ == BOTH[1]:
            raise KeyboardInterrupt
        return fit(system, folds)

    monkeypatch.setattr(cmu_mosei, "fit_and_read", stop)
    assert run()[0] == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        "Interrupted. To resume from here: python -m experiments.cmu_mosei --audio-"
    )
    assert [row["system"] for row in table(tmp_path)["rows"]][2:] == [SMALL]
    monkeypatch.setattr(cmu_mosei, "fit_and_read", fit)
    assert run()[0] == 0
    assert len(table(tmp_path)["rows"]) == 5


def test_a_row_that_fails_stops_no_other(run, tmp_path, monkeypatch, capsys):
    fit = cmu_mosei.fit_and_read

    def fail(system, folds):
        if system[-1].__class__.__name__ == BOTH[0]:
            raise FloatingPointError("the loss became nan")
        return fit(system, folds)

    monkeypatch.setattr(cmu_mosei, "fit_and_read", fail)
    assert run()[0] == 1
    document = table(tmp_path)
    assert document["failed"] == {SMALL: "FloatingPointError: the loss became nan"}
    assert {row["system"] for row in document["rows"][2:]} == {TWO_HEADED}
    assert "- failed: small: FloatingPointError" in (tmp_path / "out" / "table.md").read_text()


def test_what_cannot_be_done_is_said_before_work_starts(run, folder, tmp_path, monkeypatch, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(folder / "labels.csv", empty)
    assert run(audio=empty) == (2, [])
    assert "Name the folder by audio_dir" in capsys.readouterr().err

    labels = pd.read_csv(folder / "labels.csv")
    labels["split"] = labels["split"].replace("valid", "train")
    labels.to_csv(tmp_path / "unfolded.csv", index=False)
    assert run("--labels", str(tmp_path / "unfolded.csv")) == (2, [])
    assert "no usable segment in the official fold 'valid'" in capsys.readouterr().err

    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run("--scheduler", "tcp://127.0.0.1:1") == (2, [])
    assert "pip install distributed" in capsys.readouterr().err

    def refuse(scheduler, timeout):
        raise OSError("timed out")

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=refuse))
    assert run("--scheduler", "tcp://127.0.0.1:1") == (2, [])
    assert "No Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err

    for more, message in (
        (("--systems", "bert"), "There is no system 'bert'"),
        (("--limit", "0"), "at least 1"),
        (("--device", "cuda:99"), "Use --device cpu"),
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(SystemExit, match="2"):
            run(*more)
        assert message in capsys.readouterr().err


def test_a_small_disk_is_refused_before_extraction(run, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda path: usage)
    assert run() == (2, [])
    said = capsys.readouterr()
    assert "--float16" in said.err
    assert "Extraction" not in said.out


def test_features_come_from_a_cluster_just_as_well(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    X = pd.DataFrame({"file": sorted(map(str, folder.glob("*/*.wav")))})
    tables = []
    with distributed.LocalCluster(
        1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        for scheduler in (None, cluster.scheduler_address):
            store = FeatureStore(tmp_path / str(len(tables)))
            system = make_sentiment_pipeline(SMALL, weights=None, vad="passthrough", memory=store)[
                :-1
            ]
            connection = features.connect(scheduler)
            features.extract({SMALL: system}, X, connection)
            if connection is not None:
                connection.close()
            assert store.summary().set_index("step").loc["mfb", "utterances"] == len(X)
            tables.append(system.fit_transform(X))
    np.testing.assert_array_equal(*tables)


def test_systems_by_name():
    systems = cmu_mosei.SYSTEMS
    assert choose("all", systems) == list(systems)
    assert choose("1/2SREx-SEResNet-16+c, small", systems) == [
        SMALL,
        "1/2SREx-SEResNet-16 + C",
    ]
    assert choose("2/2,spe", systems) == [TWO_HEADED, FUSED]


@pytest.mark.parametrize("name", cmu_mosei.SYSTEMS)
def test_every_system_can_be_made(name, tmp_path, wespeaker):
    arguments = ["--out", str(tmp_path), "--epochs", "7", "--precision", "bfloat16"]
    args = cmu_mosei.parse(arguments)
    system = cmu_mosei.make_row(name, args, FeatureStore(tmp_path))
    params = system[-1].get_params()
    if name in cmu_mosei.NETWORKS:
        assert params["max_epochs"] == 7
        assert params["precision"] == "bfloat16"
        assert params["early_stopping"]
    assert system["mfb"].memory == FeatureStore(tmp_path)


def test_published_numbers_stand_next_to_ours():
    figures = dict.fromkeys(
        ["mae", "pearson", "acc7", "f1_7_micro", "threshold_accuracy", "polarity_accuracy"], 0.5
    )
    row = {"system": FUSED, "reading": "levels", **figures, "nonnegative_accuracy": 0.25}
    part = {"segments": 4659, "videos": 676, "hours": 10.0}
    document = {
        "command": "c",
        "settings": {"seed": 0},
        "notes": [],
        "rows": [{**row, "fit_seconds": 7200.0}],
        "corpus": {"parts": dict.fromkeys(cmu_mosei.FOLDS, part), "always_positive": 0.6285},
        "failed": {},
    }
    lines = as_markdown(document)
    cells = "0.500 | .712 | 0.500 | 50.00 | 43.16 | 50.00 | 43.10 | 50.00 | 88.15 | 50.00 | 25.00"
    assert lines[2] == f"| {FUSED}, levels | {cells} | 2.0 h |"
    assert len({line.count("|") for line in lines[:3]}) == 1
    assert "always positive: 62.85" in "\n".join(lines)


def test_missing_weights_are_named_before_work_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cmu_mosei, "has_weights", lambda name: False)
    out = ["--out", str(tmp_path)]
    for systems in ("all", "medium", "2/2"):
        with pytest.raises(SystemExit, match="2"):
            cmu_mosei.parse([*out, "--systems", systems])
        assert "--weights speechsent-seresnet" in capsys.readouterr().err
    assert cmu_mosei.parse([*out, "--systems", "small"]).systems == ["small"]
    networks = cmu_mosei.parse([*out, "--systems", "2/2", "--weights", "speechsent-seresnet"])
    assert cmu_mosei.make_row(TWO_HEADED, networks, None)["srext"].weights == "speechsent-seresnet"
