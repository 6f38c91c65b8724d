"""Two systems: the level under the null, differences that are there, and what cannot be said."""

import numpy as np
import pytest

from sklearn_speechsent.inspection import bootstrap, compare, speaker_interval
from sklearn_speechsent.metrics import ordinal_report

LEVELS = [-2, -1, 0, 1, 2]


def two_systems(rng, n_speakers=24, better=0.0):
    """Truth and predictions of two systems that err alike, each differently for each speaker."""
    speakers = np.repeat(np.arange(n_speakers), 20)
    y = np.tile(LEVELS, 4 * n_speakers)
    shared = rng.normal(0, 0.5, len(y)) + rng.normal(0, 0.4, n_speakers)[speakers]
    systems = []
    for noise in (1.0 - better, 1.0):
        own = rng.normal(0, 0.4, n_speakers)[speakers] + rng.normal(0, 0.6, len(y))
        systems.append(np.clip(np.rint(y + shared + noise * own), -2, 2))
    return *systems, y, speakers


def test_equal_systems_are_not_called_different_more_often_than_agreed(rng, monkeypatch):
    """At most 5 of 100 are wanted: of 120 simulations, 13 are 3 standard deviations more."""
    monkeypatch.setattr(bootstrap, "_DRAWS", 200)
    called = np.zeros(2)
    for _ in range(120):
        a, b, y, speakers = two_systems(rng)
        found = compare(a, b, y, groups=speakers, levels=LEVELS, measures=["mae", "qwk"])
        called += found["p_value"] < 0.05
    assert (called <= 13).all() and (called > 0).all()


def test_a_better_system_is_called_better(rng):
    a, b, y, speakers = two_systems(rng, better=0.8)
    found = compare(a, b, y, groups=speakers, levels=LEVELS)
    assert list(found.index) == ["mae", "macro_mae", "qwk"]
    for prediction, column in ((a, "a"), (b, "b")):
        report = ordinal_report(y, prediction, LEVELS)
        assert found[column].tolist() == pytest.approx([report[name] for name in found.index])
    assert (found["p_value"] <= 0.05).all() and (found["share"] > 0.95).all()
    assert found.loc["mae", "high"] < 0 < found.loc["qwk", "low"]
    back = compare(b, a, y, groups=speakers, levels=LEVELS)
    assert np.allclose(back["difference"], -found["difference"])
    assert np.allclose(back[["low", "high"]], -found[["high", "low"]])
    assert np.allclose(back["share"], 1 - found["share"])
    assert np.allclose(back["p_value"], found["p_value"])


def test_intervals_are_wider_than_plain_quantiles_of_the_same_draws(rng):
    a, b, y, speakers = two_systems(rng, n_speakers=8)
    row = compare(a, b, y, groups=speakers, measures=["mae"]).loc["mae"]
    change = np.abs(a - y) - np.abs(b - y)
    low, high = speaker_interval(speakers, lambda rows: change[rows].mean())
    assert row["low"] <= low and high <= row["high"]


def test_the_same_predictions_do_not_differ(rng):
    a, _, y, speakers = two_systems(rng)
    found = compare(a, a, y, groups=speakers, measures=["mae"]).loc["mae"]
    assert found["difference"] == found["low"] == found["high"] == 0
    assert found["share"] == 0.5 and found["p_value"] == 1


def test_what_is_not_defined_is_neither_better_nor_different():
    """Text has no negative and no positive."""
    found = compare(
        ["low", "high"] * 2,
        ["high"] * 4,
        ["low", "high"] * 2,
        groups=[0, 0, 1, 1],
        levels=["low", "high"],
        measures=["mae", "polarity_accuracy"],
    )
    assert found.loc["polarity_accuracy"].isna().all() and found.loc["mae", "p_value"] == 0.5


def test_all_exchanges_of_few_speakers_are_counted():
    """Four speakers, always better: 2 of 16 exchanges differ as much."""
    y, speakers = np.array([-1, 0, 1] * 4), np.repeat(range(4), 3)
    found = compare(y, np.zeros(12), y, groups=speakers, measures=["mae"])
    assert found.loc["mae", "p_value"] == 2 / 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [0, 1]}, "inconsistent"),
        ({"groups": [0, 0, 0, 0]}, "one speaker"),
        ({"groups": [0, None, 1, 1]}, "not known in row 1"),
        ({"measures": ["bias"]}, "got \\['bias'\\]"),
        ({"b": [np.nan] * 4}, "Nothing was predicted"),
    ],
)
def test_errors_say_what_to_do(change, message):
    given = {"a": [0, 1, 0, 1], "b": [0] * 4, "y": [0, 1, 1, 0], "groups": [0, 0, 1, 1]}
    with pytest.raises(ValueError, match=message):
        compare(**{**given, **change})
