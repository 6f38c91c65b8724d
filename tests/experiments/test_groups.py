import json

import numpy as np
import pytest

from experiments import groups
from experiments.planted import _read, band_hit_rates, hit_rates, plant
from sklearn_speechsent.datasets import make_speech_sentiment


@pytest.fixture
def ravdess(monkeypatch):
    """Predictions of eight made-up actors by systems, in place of fits."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8), 15)
    y = np.tile([-2, -1, 0, 1, 2], 24)

    class Corpus:
        levels = (-2, -1, 0, 1, 2)

    Corpus.y, Corpus.groups = y, speakers
    predictions = {
        groups.CONSTANT: np.zeros(120),
        "medium": np.clip(y + rng.integers(-1, 2, 120), -2, 2),
        "large": np.clip(y + rng.integers(0, 2, 120), -2, 2),
    }
    monkeypatch.setattr(groups, "out_of_fold", lambda options, names: (predictions, Corpus))
    monkeypatch.setattr(
        groups, "sexes", lambda corpus: np.where(speakers % 2, "male", "female").astype(object)
    )
    monkeypatch.setattr(groups, "SIZES", ((6, 10),))
    found = {"n": 4, "heard": 1.0, "louder": 0.25, "quieter": 0.0}
    monkeypatch.setattr(groups, "band_hit_rates", lambda folder: {"500 to 1000 Hz": found})
    monkeypatch.setattr(
        groups, "hit_rates", lambda folder, **k: {"n": 4, "heard": 1.0, "hits": 0.5}
    )


def test_tables(ravdess, tmp_path):
    out = tmp_path / "groups.json"
    assert groups.main(["--out", str(out), "--simulations", "3"]) == 0
    document = json.loads(out.read_text(), parse_constant=pytest.fail)  # no NaN
    assert [len(rows) for rows in document["groups"].values()] == [3, 11, 11]
    for name in ("medium", "large"):
        found = document["planted"][name]
        assert found["female"][2] < 0 < found["male"][1]  # found, each with its sign
    assert set(document["comparison"]) == {"mae", "macro_mae", "qwk"}
    assert len(document["null"]) == 2
    table = out.with_suffix(".md").read_text()
    assert "| speaker: 7 | 15 | 1 |" in table and "| medium | female | -" in table
    assert (
        "| 4 | 100.0 | 50.0 |" in table and "| 500 to 1000 Hz | 4 | 100.0 | 25.0 | 0.0 |" in table
    )


def test_planted_parts_are_where_they_are_said_to_be(tmp_path):
    speech = make_speech_sentiment(2, 9, levels=(-3, 0, 3), out_dir=tmp_path, random_state=0)
    planted, neutral = plant(speech.frame, 1, np.random.default_rng(0))
    assert [p.level for p in planted] == [-3, 3] * 2 and len(neutral) == 2
    for recording in planted:
        part = recording.samples[round(recording.start * 16e3) : round(recording.end * 16e3)]
        files = speech.frame.loc[speech.frame["label"] == recording.level, "file"]
        assert any(np.array_equal(part, _read(file)) for file in files)


def test_hit_rates(tmp_path):
    found = hit_rates(tmp_path, n_train=4, n_test=2, n_utterances=9, weights=None)
    assert found["n"] == 4 and 0.2 < found["chance"] < 0.5
    assert all(0 <= found[name] <= 1 for name in ("heard", "hits", "hits_absolute"))


def test_band_hit_rates(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.planted.BANDS", ((1000, 2000),))
    found = band_hit_rates(tmp_path, n_train=6, n_test=8)
    assert list(found) == ["1000 to 2000 Hz"] and 1 <= found["1000 to 2000 Hz"]["n"] <= 8
