"""Means of time lines, and time lines in the formats of other programs."""

import numpy as np
import pandas as pd
import pytest
from followed import RATE, Loudness, told

from sklearn_speechsent import aggregate_timeline, sentiment_timeline
from sklearn_speechsent.inference import (
    read_rttm,
    timeline_to_audacity,
    timeline_to_elan,
    timeline_to_rttm,
)
from sklearn_speechsent.inference.aggregate import timeline_levels

EXPORTS = [timeline_to_rttm, timeline_to_audacity, timeline_to_elan]


@pytest.fixture
def timeline(telling):
    calm = told(np.repeat([0.1, 0.95, 0.1, 0.95, 0.1, 0.95], [50, 150, 50, 400, 50, 50]))
    loud = told(np.repeat([0.1, 0.99, 0.1], [50, 300, 350]))
    loud = np.pad(loud, (0, len(calm) - len(loud)))
    X = [(RATE, np.stack([calm, loud], axis=1)), (RATE, calm)]
    return sentiment_timeline(Loudness().fit(), X, channels="separate", detector=telling())


def test_means_are_weighted_by_speech(timeline):
    found = aggregate_timeline(timeline, by="channel")
    assert found[["file", "channel"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]
    rows = timeline[timeline["final"] & (timeline["file"] == 0) & (timeline["channel"] == 0)]
    assert len(rows) == 3 and rows["expected"].isna().sum() == 1
    good = rows.dropna(subset="expected")
    mean = np.average(good["expected"], weights=good["speech"])
    first = found.iloc[0]
    assert first["expected"] == pytest.approx(mean)
    assert first["p(-1)"] == pytest.approx(np.average(good["p(-1)"], weights=good["speech"]))
    assert first["speech"] == pytest.approx(rows["speech"].sum()) and first["utterances"] == 2
    whole = aggregate_timeline(timeline)
    assert list(whole.columns)[:2] == ["file", "level"] and len(whole) == 2
    assert whole["utterances"].tolist() == [3, 2]


def test_means_by_speaker(timeline):
    timeline["speaker"] = np.where(timeline["file"] == 1, "agent", "customer")
    found = aggregate_timeline(timeline, by="speaker")
    assert found["speaker"].tolist() == ["customer", "agent"]


def test_means_of_nothing(timeline):
    nothing = timeline[timeline["expected"].isna()]
    found = aggregate_timeline(nothing)
    assert found["expected"].isna().all() and (found["utterances"] == 0).all()
    assert found["speech"].gt(0).all()
    empty = aggregate_timeline(timeline.iloc[:0])
    assert len(empty) == 0 and list(empty.columns) == list(found.columns)


def test_means_of_intensities(timeline):
    table = timeline.drop(columns=[c for c in timeline.columns if c.startswith("p(")])
    table["level"] = np.nan
    found = aggregate_timeline(table)
    wanted = aggregate_timeline(timeline)["expected"]
    assert found["level"].isna().all()
    np.testing.assert_allclose(found["expected"], wanted)


def test_levels_are_in_the_names_of_columns():
    for levels in ([-1, 0, 1], [-0.5, 0.5], ["low", "high"]):
        columns = ["file", *[f"p({level})" for level in levels]]
        assert timeline_levels(pd.DataFrame(columns=columns)).tolist() == levels


def test_means_that_cannot_be_made(timeline):
    with pytest.raises(ValueError, match="by='day' must be"):
        aggregate_timeline(timeline, by="day")
    with pytest.raises(ValueError, match="does not say the speaker of its rows"):
        aggregate_timeline(timeline, by="speaker")


def test_rttm_is_read_back(timeline, tmp_path):
    timeline["speaker"] = np.where(timeline["channel"] == 1, "the customer", "agent")
    timeline["file"] = timeline["file"].map({0: "calls/my call.wav", 1: "b.wav"})
    timeline_to_rttm(timeline, tmp_path / "x.rttm", label="speaker")
    finals = timeline[timeline["final"]]
    found = read_rttm(tmp_path / "x.rttm")
    assert len(found) == len(finals)
    np.testing.assert_allclose(found["start"], finals["start"], atol=0.0006)
    np.testing.assert_allclose(found["end"], finals["end"], atol=0.0011)
    assert found["channel"].tolist() == finals["channel"].tolist()
    assert set(found["speaker"]) == {"the_customer", "agent"}
    assert set(found["file"]) == {"my_call", "b"}
    timeline_to_rttm(timeline, tmp_path / "x.rttm")
    assert len(read_rttm(tmp_path / "x.rttm")) == finals["expected"].notna().sum()


def test_audacity(timeline, tmp_path):
    one = timeline[(timeline["file"] == 1)]
    timeline_to_audacity(one, tmp_path / "labels.txt", label="expected")
    found = pd.read_csv(tmp_path / "labels.txt", sep="\t", header=None)
    wanted = one[one["final"] & one["expected"].notna()]
    np.testing.assert_allclose(found, wanted[["start", "end", "expected"]], atol=0.005)
    with pytest.raises(ValueError, match="several files or channels"):
        timeline_to_audacity(timeline, tmp_path / "labels.txt")


def test_elan(timeline, tmp_path):
    timeline_to_elan(timeline, tmp_path / "table.txt")
    found = pd.read_csv(tmp_path / "table.txt", sep="\t")
    assert list(found.columns) == ["Tier", "Begin Time", "End Time", "Annotation", "File"]
    wanted = timeline[timeline["final"] & timeline["expected"].notna()]
    np.testing.assert_allclose(found["Begin Time"], 1000 * wanted["start"], atol=0.5)
    assert found["Annotation"].tolist() == wanted["level"].tolist()
    assert found["Tier"].tolist() == [f"channel {c}" for c in wanted["channel"]]


@pytest.mark.parametrize("export", EXPORTS)
def test_labels_that_are_not_there(timeline, tmp_path, export):
    one = timeline[timeline["file"] == 1]
    with pytest.raises(ValueError, match="label='mood' must be"):
        export(one, tmp_path / "x.txt", label="mood")
    with pytest.raises(ValueError, match="has no speaker"):
        export(one, tmp_path / "x.txt", label="speaker")
    assert not list(tmp_path.iterdir())
