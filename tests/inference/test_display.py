"""Pictures of time lines: panels, bars, bands, waveforms."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.inference import TimelineDisplay
from sklearn_speechsent.inference.display import band, envelope

matplotlib = pytest.importorskip("matplotlib")
pyplot = pytest.importorskip("matplotlib.pyplot")


def timeline(n=5, length=3.0, channels=(None,), speakers=(None,), levels=("-1", "0", "1")):
    """Utterances of equal length with pauses of a second; before each final score another."""
    rng, rows = np.random.default_rng(0), []
    for channel, speaker in zip(channels, speakers, strict=True):
        for number in range(n):
            start = number * (length + 1)
            for end, final in ((start + length / 2, False), (start + length, True)):
                p = rng.dirichlet(np.ones(len(levels)))
                numbers = np.arange(len(levels)) - (levels[0] == "-1")
                row = {"file": "call.wav", "channel": channel, "speaker": speaker}
                row |= {"start": start, "end": end, "expected": p @ numbers, "final": final}
                rows.append(row | {f"p({k})": v for k, v in zip(levels, p, strict=True)})
    table = pd.DataFrame(rows).assign(speech=length, level=0)
    return table.astype({"channel": "Int64"})


@pytest.fixture(autouse=True)
def closed():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def bars(ax):
    """Ends and heights of the bars of final scores."""
    (lines,) = [c for c in ax.collections if type(c).__name__ == "LineCollection"]
    return np.array([(*segment[:, 0], segment[0, 1]) for segment in lines.get_segments()])


def test_bars_bands_and_dots():
    table = timeline()
    (ax,) = TimelineDisplay.from_timeline(table).axes_
    final = table[table["final"]]
    np.testing.assert_allclose(bars(ax), final[["start", "end", "expected"]])
    bands = [(p.get_x(), p.get_y(), p.get_y() + p.get_height()) for p in ax.patches]
    low, high = band(final[["p(-1)", "p(0)", "p(1)"]].to_numpy(), np.array([-1.0, 0, 1]))
    np.testing.assert_allclose(bands, np.stack([final["start"], low, high], 1))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), table[~table["final"]]["expected"])
    assert ax.get_xlim() == (0, table["end"].max()) and ax.get_ylim() == (-1.3, 1.3)
    assert ax.get_xlabel() == "time (min:s)"


def test_a_band_holds_most_of_the_probability():
    levels = np.array([-2.0, -1, 0, 1, 2])
    low, high = band(np.array([[0, 0, 1, 0, 0], [0.5, 0, 0, 0, 0.5]]), levels)
    np.testing.assert_allclose([low[0], high[0]], [-0.4, 0.4])
    assert (low[1], high[1]) == (-2, 2)


def test_long_ones_are_averaged():
    table = timeline(n=200, length=19.0)
    (ax,) = TimelineDisplay.from_timeline(table).axes_
    final = table[table["final"]]
    assert len(bars(ax)) == len(final)
    mean = ax.lines[0].get_ydata()
    assert len(mean) == 90 and mean.std() < 0.8 * final["expected"].std()
    part = ((final["start"] + final["end"]) / 2 // (table["end"].max() / 90)).astype(int)
    np.testing.assert_allclose(mean, final.groupby(part)["expected"].mean())
    assert ax.get_xlabel() == "time (h:min:s)"


def test_panels_are_channels_or_speakers():
    two = timeline(channels=(0, 1), speakers=(None, None))
    first, second = TimelineDisplay.from_timeline(two).axes_
    assert first.get_title(loc="left") == "channel 0"
    assert len(bars(first)) == len(bars(second)) == 5
    named = timeline(channels=(None, None), speakers=("Ann", "Bo"))
    assert [ax.get_title(loc="left") for ax in TimelineDisplay.from_timeline(named).axes_] == [
        "speaker Ann",
        "speaker Bo",
    ]
    axes = pyplot.subplots(1, 3)[1]
    with pytest.raises(ValueError, match="3 Axes, and there are 2 panels"):
        TimelineDisplay.from_timeline(two, axes=axes)
    assert TimelineDisplay.from_timeline(two, axes=axes[:2]).axes_[1] is axes[1]


def test_waveforms_are_those_of_the_channels(tmp_path):
    path, t = tmp_path / "call.wav", np.arange(20 * 8000) / 8000
    quiet, loud = 0.1 * np.sin(2000 * t), np.where(t < 10, 0.5, 0.05) * np.sin(2000 * t)
    soundfile.write(path, np.stack([quiet, loud], 1), 8000)
    display = TimelineDisplay.from_timeline(
        timeline(channels=(0, 1), speakers=(None, None)), audio=path
    )
    found = [one[:, 2].max() for one in display.envelopes]
    np.testing.assert_allclose(found, [0.1, 0.5], rtol=0.05)
    times, low, high = envelope(path, 1).T
    assert times[0] == 0 and 19.9 < times[-1] < 20
    np.testing.assert_allclose(high[times > 10.1], 0.05, rtol=0.05)
    np.testing.assert_allclose(low[times < 9.9], -0.5, rtol=0.05)
    with pytest.raises(RecordingError, match="no such file"):
        TimelineDisplay.from_timeline(timeline(), audio=tmp_path / "gone.wav")


def test_where_nothing_is_known():
    table = timeline()
    table.loc[table["final"], ["expected", "p(-1)", "p(0)", "p(1)"]] = np.nan
    (ax,) = TimelineDisplay.from_timeline(table).axes_
    assert len([patch for patch in ax.patches if patch.get_hatch()]) == 5
    table["expected"] = np.nan
    TimelineDisplay.from_timeline(table).figure_.canvas.draw()


def test_levels_in_words_and_none():
    words = timeline(levels=("bad", "good", "great"))
    (ax,) = TimelineDisplay.from_timeline(words).axes_
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bad", "good", "great"]
    numbers = timeline().drop(columns=["p(-1)", "p(0)", "p(1)"])
    (ax,) = TimelineDisplay.from_timeline(numbers).axes_
    assert len(bars(ax)) == 5 and not ax.patches


def test_what_is_no_time_line():
    table = timeline()
    with pytest.raises(ValueError, match="has the columns expected"):
        TimelineDisplay.from_timeline(table.drop(columns="expected"))
    other = pd.concat([table, table.assign(file="other.wav")])
    with pytest.raises(ValueError, match="of 2 files: choose the rows of one"):
        TimelineDisplay.from_timeline(other)
    with pytest.raises(ValueError, match="of 0 files"):
        TimelineDisplay.from_timeline(table.iloc[:0])
    with pytest.raises(ValueError, match="by='level' must be"):
        TimelineDisplay.from_timeline(table, by="level")
