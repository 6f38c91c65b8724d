import json

import numpy as np
import pytest

from experiments import robustness
from experiments._harness.corpus import read_manifest
from experiments._harness.egemaps import EGeMAPS
from experiments._harness.results import Results
from experiments.robustness import CLEAN, CONDITIONS, CONSTANT, SYSTEMS, Protocol, System
from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.audio import WaveformPerturbation, as_recordings, read
from sklearn_speechsent.metrics import ordinal_report

LEVELS = (-1, 0, 1)


def make_tiny(levels, shared):
    return make_sentiment_pipeline(
        weights=None, vad="passthrough", levels=levels, mfb__n_mels=8, **shared
    )


@pytest.fixture
def run(manifest, tmp_path, monkeypatch):
    """Function that runs the table: its exit code, and the number of fits."""
    fits, fit = [], OrdinalClassifier.fit
    monkeypatch.setattr(
        OrdinalClassifier, "fit", lambda self, X, y: fits.append(len(y)) or fit(self, X, y)
    )
    systems = {CONSTANT: SYSTEMS[CONSTANT], "tiny": System(make_tiny)}
    monkeypatch.setattr(robustness, "SYSTEMS", systems)

    def run(*more):
        before = len(fits)
        out = str(tmp_path / "r.json")
        arguments = ["--corpus", str(manifest), "--n-folds", "2", "--out", out, *more]
        return robustness.main(arguments), fits[before:]

    return run


def test_end_to_end(run, manifest, tmp_path, capsys):
    some = ("--conditions", "gain -20,babble,silence")
    assert run(*some, "--perturbed") == (0, [12, 12, 6 * 12, 6 * 12])
    document = json.loads((tmp_path / "r.json").read_text())
    names = [CLEAN, "babble, 10 dB", "gain -20 dB", "2 s of silence at either end"]
    assert document["conditions"] == names
    assert document["tested"] == 24
    assert {name: list(variants) for name, variants in document["systems"].items()} == {
        CONSTANT: ["plain"],
        "tiny": ["plain", "perturbed"],
    }
    corpus = read_manifest(manifest)
    for variant, scores in document["systems"]["tiny"].items():
        predicted = np.full(24, np.nan)
        for train, test in corpus.folds(2):
            model = make_tiny(LEVELS, {})
            if variant == "perturbed":
                model = WaveformPerturbation(model, predict_speeds=(1,))
            model.fit(corpus.X.iloc[train], corpus.y[train])
            predicted[test] = model.predict(corpus.X.iloc[test].assign(gain_db=-20))
        expected = ordinal_report(corpus.y, predicted, levels=LEVELS)
        assert {name: scores["gain -20 dB"][name] for name in expected} == pytest.approx(expected)
        for name in names:
            low, high = scores[name]["mae_interval"]
            assert low <= scores[name]["mae"] <= high
            change = scores[name]["mae"] - scores[CLEAN]["mae"]
            assert scores[name]["change"] == pytest.approx(change)
    constant = document["systems"][CONSTANT]["plain"]
    assert len({scores["mae"] for scores in constant.values()}) == 1
    markdown = (tmp_path / "r.md").read_text()
    assert "| condition | constant (median) | tiny, plain | tiny, perturbed |" in markdown
    assert f"| {constant[CLEAN]['mae']:.3f} |" in markdown
    assert "fold(s) 0, 1 of 2" in markdown
    assert (tmp_path / "r.png").stat().st_size > 0
    assert markdown in capsys.readouterr().out

    # Results are read again, and only what is new is computed.
    assert run(*some, "--perturbed") == (0, [])
    assert json.loads((tmp_path / "r.json").read_text())["systems"] == document["systems"]
    assert run("--conditions", "telephone,gain -20") == (0, [12, 12])
    assert run("--folds", "1", "--conditions", "telephone") == (0, [])
    assert run("--every", "2", "--folds", "0", "--conditions", "recorded") == (0, [12])
    assert json.loads((tmp_path / "r.json").read_text())["tested"] == 6


def test_interrupted_run_resumes_within_a_fold(run, tmp_path, monkeypatch, capsys):
    put, stored = Results.put, []

    def stop(self, key, result):
        stored.append(key)
        if len(stored) == 6:  # the constant in two folds and conditions, then the first of tiny
            raise KeyboardInterrupt
        return put(self, key, result)

    monkeypatch.setattr(Results, "put", stop)
    assert run("--conditions", "telephone") == (130, [12])
    assert "resumes" in capsys.readouterr().out
    assert run("--conditions", "telephone") == (0, [12, 12])
    assert len(stored) == 6 + 3
    assert stored[5] == stored[6]


def test_every_system_can_be_made(wespeaker, tmp_path):
    for name, system in SYSTEMS.items():
        if name == "large":  # an empty file is enough for WeSpeaker's network alone
            assert "whisper-base" in system.lacks()
            continue
        model = system.make(LEVELS, {"memory": str(tmp_path), "n_jobs": 1})
        assert hasattr(model, "fit")


def test_conditions_are_those_that_they_are_called(speech, manifest):
    corpus = read_manifest(manifest)
    ((train, test), _) = corpus.folds(2)
    protocol = Protocol(corpus, [(train, test)], 1, list(CONDITIONS))
    clean, rate = read(as_recordings(corpus.X)[test[0]], 16000), 16000
    copies = {name: fold[0] for name, fold in protocol._copies[0].items()}
    heard = {name: read(copy, rate) for name, copy in copies.items()}
    assert np.array_equal(heard[CLEAN], clean)
    for name in ("white noise, 10 dB", "pink noise, 10 dB", "babble, 10 dB"):
        noise = heard[name] - clean
        snr = 10 * np.log10(np.mean(clean**2) / np.mean(noise**2))
        assert snr == pytest.approx(10, abs=0.5)  # pink noise is not of equal power in each second
    assert np.allclose(heard["gain -20 dB"], clean / 10, atol=1e-6)
    padded = heard["2 s of silence at either end"]
    assert np.array_equal(padded[2 * rate : -2 * rate], clean)
    assert not padded[: 2 * rate].any() and not padded[-2 * rate :].any()
    for name, speed in (("speed 0.9", 0.9), ("speed 1.1", 1.1)):
        assert len(heard[name]) == pytest.approx(len(clean) / speed, rel=0.01)
    assert np.abs(heard["gain +10 dB, clipped"]).max() <= 1
    for name in ("telephone", "band limit 4 kHz"):
        spectrum = np.abs(np.fft.rfft(heard[name])) ** 2
        above = np.fft.rfftfreq(len(heard[name]), 1 / rate) > 4500
        assert spectrum[above].sum() < 1e-3 * spectrum.sum()
    for name in ("mp3, 32 kbit/s", "room, 0.5 s"):
        assert not np.allclose(heard[name][: len(clean)], clean[: len(heard[name])], atol=1e-4)
    # Babble is of the other speaker of the test fold: nobody who was trained on is heard.
    other = set(corpus.X["file"].iloc[test]) - set(
        corpus.X["file"][corpus.groups == corpus.groups[test[0]]]
    )
    voices = {voice.source for voice in copies["babble, 10 dB"].babble}
    assert voices and voices <= other


def test_recordings_without_an_answer_count_as_the_constant(manifest):
    corpus = read_manifest(manifest)
    protocol = Protocol(corpus, corpus.folds(2)[:1], 1, [CLEAN])
    median = 0.25
    for predictions in ([None] * 12, [median] * 12):
        result = {CLEAN: {"predictions": predictions, "median": median}}
        scores = robustness.score(protocol, [result])[CLEAN]
        assert scores["mae"] == pytest.approx(np.abs(corpus.y[protocol.rows[0]] - median).mean())
        assert scores["unanswered"] == predictions.count(None)


def test_says_what_is_wrong_before_work_starts(run, manifest, tmp_path, capsys):
    wrong = {
        ("--folds", "2"): "from 0 to 1",
        ("--folds", "-1"): "from 0 to 1",
        ("--systems", "bert"): "no system 'bert'",
        ("--conditions", "underwater"): "no condition 'underwater'",
        ("--every", "0"): "at least 1",
        ("--corpus", "gone.csv"): "no manifest",
        # One speaker in each test fold: there are no others for babble.
        ("--n-folds", "4"): "leave babble out",
    }
    for more, problem in wrong.items():
        assert run(*more) == (2, [])
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()
    assert run("--n-folds", "4", "--folds", "0", "--conditions", "telephone")[0] == 0


def test_a_system_that_fails_or_is_lacking_stops_no_other(run, tmp_path, monkeypatch):
    def fail(levels, shared):
        raise RuntimeError("no such luck")

    monkeypatch.setitem(robustness.SYSTEMS, "unlucky", System(fail))
    monkeypatch.setitem(robustness.SYSTEMS, "gone", System(fail, lambda: "it is not there"))
    monkeypatch.setitem(robustness.SYSTEMS, "last", System(make_tiny))
    assert run("--conditions", "recorded")[0] == 1
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["failed"] == {"unlucky, plain": "RuntimeError: no such luck"}
    assert document["skipped"] == {"gone": "it is not there"}
    assert list(document["systems"]) == [CONSTANT, "tiny", "last"]
    assert "- skipped: gone (it is not there)" in (tmp_path / "r.md").read_text()


def test_egemaps_hear_the_condition(speech, tmp_path):
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    table = speech.frame[["file"]].head(2)
    step = EGeMAPS(str(tmp_path))
    plain = step.transform(table)
    assert np.array_equal(plain[0], smile.process_file(table["file"][0]).to_numpy()[0])
    assert not np.allclose(step.transform(table.assign(codec="telephone")), plain)
    assert np.array_equal(step.transform(table), plain)
