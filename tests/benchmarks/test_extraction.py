"""Counts of the benchmarks of scale, and the stores that they compare."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from benchmarks.scale import _one_extraction, _stores, extraction

RATE = 16000


@pytest.fixture
def corpus(tmp_path):
    """Segments of four files; two of them end a little beyond their file."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, rng.normal(scale=0.1, size=3 * RATE), RATE)
        rows += [(str(file), 0.0, 1.25), (str(file), 1.0, 3.1 if number < 2 else 2.5)]
    return pd.DataFrame(rows, columns=["file", "start", "end"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not report memory")
def test_every_sample_is_counted_once(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(soundfile.SoundFile, "read", soundfile.SoundFile.read)  # put back after
    corpus.to_csv(tmp_path / "rows.csv", index=False)
    task = {"table": str(tmp_path / "rows.csv"), "store": str(tmp_path / "store"), "workers": 0}
    first = _one_extraction.measure(task | {"dtype": "float16"})
    again = _one_extraction.measure(task | {"dtype": "float16"})
    samples, rate, file_bytes = extraction.wanted_samples(corpus)
    assert (samples, rate) == ((4 * 1.25 + 2 * 2 + 2 * 1.5) * RATE, RATE)
    assert first["samples"] == samples and again["samples"] == 0
    assert first["frames"] == again["frames"] == 4 * 123 + 2 * 198 + 2 * 148
    once = 2 * samples + file_bytes
    assert once <= first["bytes_read"] < 1.2 * once
    assert again["bytes_read"] < file_bytes / 2
    assert 0 < first["memory"]["anonymous"] < first["memory"]["rss"]


def test_parts_hold_whole_videos_and_one_another():
    groups = np.repeat([f"v{number}" for number in range(50)], np.arange(50) % 7 + 1)
    X = pd.DataFrame({"file": groups, "row": np.arange(len(groups))})
    parts = [extraction.part_of(X, groups, fraction) for fraction in (0.1, 0.2, 0.4, 1)]
    for part, fraction in zip(parts, (0.1, 0.2, 0.4, 1), strict=True):
        assert fraction * len(X) <= len(part) < fraction * len(X) + 7
        assert part["file"].value_counts().eq(X["file"].value_counts()[part["file"].unique()]).all()
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller["row"]) < set(larger["row"])
    assert parts[0]["file"].nunique() > 1 and parts[0]["file"].iloc[0] != "v0"


def test_a_straight_line_and_the_deviation_from_it():
    slope, start, deviation = extraction.straight_line([1, 2, 4], [12.0, 22.0, 42.0])
    assert (slope, start, deviation) == pytest.approx((10, 2, 0), abs=1e-9)
    assert extraction.straight_line([1, 2, 4], [12.0, 30.0, 42.0])[2] > 0.1


@pytest.mark.parametrize("name", _stores.STORES)
def test_stores_return_what_was_written(name, tmp_path):
    store_class = _stores.STORES[name]
    pytest.importorskip(store_class.module)
    utterances = _stores.Utterances(5, 3)
    store_class(tmp_path, utterances).write()
    store = store_class(tmp_path, utterances)
    store.find()
    for number, utterance in enumerate(utterances):
        np.testing.assert_array_equal(store[number], utterance)
    numbers, firsts = np.array([4, 0, 4]), utterances.lengths[[4, 0, 4]] - _stores.SHORTEST
    chunks = store.gather(numbers, firsts)
    for chunk, number in zip(chunks, numbers, strict=True):
        np.testing.assert_array_equal(chunk, utterances[number][-_stores.SHORTEST :])


@pytest.mark.parametrize("name", ["FeatureStore", ".npy per utterance", "joblib.Memory"])
def test_missing_utterances_are_not_found(name, tmp_path):
    store = _stores.STORES[name](tmp_path, _stores.Utterances(2, 3))
    with pytest.raises((KeyError, FileNotFoundError)):
        store.find()
