import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from experiments import timeline
from experiments._harness.corpus import load_corpus

pytestmark = pytest.mark.filterwarnings("ignore::sklearn_speechsent.frames.DomainWarning")


def test_files_and_pauses_of_their_room(tmp_path):
    rng, files = np.random.default_rng(0), []
    for number, loudness in enumerate((0.1, 0.2)):
        sound = rng.normal(scale=loudness, size=16000)
        sound[3200:6400] = loudness / 100
        files.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(files[-1], sound, 16000, subtype="FLOAT")
    samples, spans = timeline.place(files, rng)
    for number, (start, end) in enumerate(np.rint(spans * 16000).astype(int)):
        sound, _ = soundfile.read(files[number], dtype="float32")
        np.testing.assert_array_equal(samples[start:end], sound)
        assert np.abs(samples[end : end + 16000]).max() < 0.01
    assert 1 <= spans[1, 0] - spans[0, 1] <= 3


def test_a_file_has_the_score_of_the_utterance_that_overlaps_most():
    finals = pd.DataFrame(
        {
            "start": [0.0, 4.0, 5.5, 20.0],
            "end": [2.0, 5.4, 9.0, 21.0],
            "level": [1.0, -1.0, 2.0, np.nan],
            "expected": [0.8, -0.9, 1.9, np.nan],
        }
    )
    spans = np.array([[0.5, 2.5], [4.0, 8.0], [12.0, 14.0], [19.5, 22.0]])
    levels, n_found = timeline.match(spans, finals)
    np.testing.assert_array_equal(levels, [1, 2, np.nan, np.nan])
    assert n_found.tolist() == [1, 2, 0, 0]
    levels, n_found = timeline.match(spans, finals.iloc[:0])
    assert np.isnan(levels).all() and not n_found.any()


def test_end_to_end(manifest, tmp_path, monkeypatch):
    found = load_corpus(str(manifest))
    numbers = np.unique(found.groups, return_inverse=True)[1]
    corpus = replace(found, groups=numbers, y=np.rint(found.y))
    monkeypatch.setattr(timeline, "load_corpus", lambda name: corpus)
    out = tmp_path / "t.json"
    arguments = ["--out", str(out), "--folds", "2", "--jobs", "1", "--every", "2"]
    monkeypatch.setattr(sys, "argv", ["timeline", *arguments])
    timeline.main()
    document = json.loads(out.read_text())
    assert list(document["scores"]) == list(timeline.NAMES)
    assert document["counts"]["files"] == 12
    assert "12 files of 4 actors" in out.with_suffix(".md").read_text()
