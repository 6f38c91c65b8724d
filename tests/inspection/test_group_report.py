"""Scores by groups: those of the report, intervals that cover, differences that are found."""

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.inspection import bootstrap, group_report
from sklearn_speechsent.inspection.tallies import MEASURES, measure, tallies
from sklearn_speechsent.metrics import ordinal_report

LEVELS = [-2, -1, 0, 1, 2]


@pytest.fixture
def predictions(rng):
    speakers = np.repeat(np.arange(12), 20)
    y = np.tile(LEVELS, 48)
    own = rng.normal(0, 0.3, 12)[speakers]
    return y, y + own + rng.normal(0, 0.8, 240), speakers


@pytest.mark.parametrize("levels", [LEVELS, [-2, -1, 1, 2.5], [0, 1]])
@pytest.mark.parametrize("continuous", [True, False])
def test_measures_from_sums_are_those_of_the_report(rng, levels, continuous):
    y = rng.choice(levels, 60)
    predicted = y + rng.normal(0, 1, 60) if continuous else rng.choice(levels, 60)
    names = list(MEASURES)
    found = measure(tallies(y, predicted, np.array(levels)).sum().to_frame().T, names)[0]
    expected = {**ordinal_report(y, predicted, levels), "bias": np.mean(predicted - y)}
    assert found == pytest.approx([expected[name] for name in names])


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_correlations_of_a_constant_are_0_and_nothing_is_nan(constant):
    y = np.array([-1, 0, 1] * 20)
    summands = tallies(y, np.full(60, constant), np.array([-1, 0, 1]))
    sums = pd.concat([summands.sum().to_frame().T, 0 * summands.iloc[:1]])
    found = measure(sums, ["ccc", "qwk", "mae", "macro_mae"])
    assert found[0, :2].tolist() == [0, 0]
    assert np.isnan(found[1]).all()


def test_rows_are_scores_of_their_recordings(predictions):
    y, predicted, speakers = predictions
    sex = np.where(speakers % 2, "male", "female").astype(object)
    sex[:5] = None
    names = ["mae", "bias", "qwk", "within_one"]
    report = group_report(
        y, predicted, {"sex": sex, "speaker": speakers}, levels=LEVELS, measures=names
    )
    index = [("all", ""), *(("sex", v) for v in ("female", "male", "(missing)"))]
    assert list(report.index) == index + [("speaker", s) for s in range(12)]
    male = sex == "male"
    expected = {**ordinal_report(y[male], predicted[male], LEVELS)}
    expected["bias"] = (predicted - y)[male].mean()
    rest = ordinal_report(y[~male], predicted[~male], LEVELS)
    row = report.loc[("sex", "male")]
    assert row[names].tolist() == pytest.approx([expected[name] for name in names])
    assert row["qwk_difference"] == pytest.approx(expected["qwk"] - rest["qwk"])
    assert row[["n", "speakers"]].tolist() == [120, 6]
    assert (report["mae_low"] <= report["mae"])[:3].all()
    assert (report["mae"] <= report["mae_high"])[:3].all()


def test_one_speaker_has_scores_and_no_interval(predictions):
    y, predicted, speakers = predictions
    report = group_report(y, predicted, {"speaker": speakers}).loc["speaker"]
    assert report["mae"].notna().all() and (report["speakers"] == 1).all()
    intervals = report.filter(regex="_(low|high)$")
    assert intervals.shape[1] == 16 and intervals.isna().all().all()
    assert report["mae_difference"].notna().all()


def test_a_planted_bias_is_found_and_nothing_else(rng, monkeypatch):
    """One sex's labels are shifted by a level; a grouping at random is not."""
    monkeypatch.setattr(bootstrap, "_DRAWS", 200)
    found, chance = [], []
    for _ in range(20):
        speakers = np.repeat(np.arange(24), 20)
        y = np.tile(LEVELS, 96)
        predicted = y + rng.normal(0, 0.3, 24)[speakers] + rng.normal(0, 1, 480)
        sex = speakers % 2
        groups = {"sex": sex, "chance": rng.permutation(24)[speakers] % 2}
        report = group_report(
            np.clip(y + sex, -2, 3), predicted, groups, speakers=speakers, measures=["bias"]
        )
        row = report.loc[("sex", 1)]
        true = np.mean(y - np.clip(y + sex, -2, 3), where=sex == 1)
        found.append(row["bias_difference_low"] < true < row["bias_difference_high"] < 0)
        row = report.loc[("chance", 1)]
        true = 0  # in expectation
        chance.append(row["bias_difference_low"] < true < row["bias_difference_high"])
    assert np.mean(found) >= 0.85
    assert np.mean(chance) >= 0.85


def test_text_and_missing_predictions():
    levels = ["low", "middle", "high"]
    y = ["low", "high", "middle", "high"] * 2
    predicted = np.array(["low", "middle", "high", np.nan] * 2, dtype=object)
    report = group_report(y, predicted, {"speaker": [0] * 4 + [1] * 4}, levels=levels)
    assert report.loc[("all", ""), ["mae", "unanswered"]].tolist() == [0.75, 2]
    assert report["unanswered"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": {"sex": [0, 1]}, "speakers": [0, 1]}, "inconsistent"),
        ({"groups": {"sex": [0] * 6}}, "pass speakers="),
        ({"groups": {"speaker": [0] * 6}}, "one speaker"),
        ({"groups": {"speaker": [0, None, 0, 1, 1, 1]}}, "not known in row 1"),
        ({"measures": ["mae", "spearman"]}, r"some of mae, bias.*got \['spearman'\]"),
        ({"measures": []}, r"got \[\]"),
        ({"y_pred": [np.nan] * 6}, "Nothing was predicted"),
        ({"y": [0, 1, 5, 0, 0, 0]}, "Label 5.0 in row 2"),
    ],
)
def test_errors_say_what_to_do(change, message):
    given = {"y": [-1, 0, 1] * 2, "y_pred": [0] * 6, "groups": {"speaker": [0, 1] * 3}}
    with pytest.raises(ValueError, match=message):
        group_report(**{**given, "levels": [-1, 0, 1], **change})
