"""Explanations of models of which is known what they listen to, and the display."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.inspection import ExplanationDisplay, explain

RATE = 16_000


class Listener(BaseEstimator):
    """Answers by the energy of one second or of one band, in dB."""

    def __init__(self, second=None, band=None, levels=None):
        self.second = second
        self.band = band
        self.levels = levels
        self.calls_ = []
        if levels is not None:
            self.levels_, self.classes_ = np.array(levels), np.sort(levels)

    def fit(self, X, y=None):
        return self

    def _energy(self, pair):
        rate, samples = pair
        assert rate == RATE and samples.dtype == np.float32
        if self.second is not None:
            samples = samples[self.second * RATE : (self.second + 1) * RATE]
        power = np.abs(np.fft.rfft(samples)) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
        low, high = self.band or (0, RATE)
        return 10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() + 1e-12)

    def predict(self, X):
        self.calls_.append(len(X))
        return np.array([self._energy(pair) for pair in X])


class Classifier(Listener):
    """The same as probabilities of three levels."""

    def predict_proba(self, X):
        high = 1 / (1 + np.exp(-(super().predict(X) - 60) / 5))
        by_level = np.column_stack([1 - high, 0.25 * high, 0.75 * high])
        return by_level[:, np.argsort(self.levels_)]


@pytest.fixture
def samples(rng):
    """Four seconds of noise that is loud in the third."""
    wave = rng.normal(0, 0.02, 4 * RATE)
    wave[2 * RATE : 3 * RATE] *= 10
    return wave.astype(np.float32)


def test_the_window_that_a_model_listens_to(samples):
    model = Listener(second=2)
    found = explain(model, samples, window=1.0)
    time = found.time
    assert time[["start", "end"]].to_numpy().tolist() == [[s, s + 1] for s in np.arange(7) / 2]
    assert time["change"].argmax() == 4 and time["change"][4] > 10
    assert time["change"][:2].abs().max() < 1e-4  # what lies elsewhere stays as it is
    assert model.calls_ == [1 + 7 + 9]  # one call
    assert found.expected == pytest.approx(model.predict([(RATE, samples)])[0])
    assert found.thresholds == [] and found.levels is None


def test_the_band_that_a_model_listens_to(rng):
    """A voice that is there half of the time, so that its band has a background."""
    wave = rng.normal(0, 0.1, 4 * RATE) * (np.arange(4 * RATE) % RATE < RATE / 2)
    found = explain(Listener(band=(2100, 2900)), wave.astype(np.float32))
    change = found.frequency["change"]
    assert found.frequency.loc[change.argmax(), ["low", "high"]].tolist() == [2000, 3000]
    assert change.max() > 10 and change.drop(change.argmax()).abs().max() < 0.5


def test_all_bands_together_are_the_whole_spectrum(samples):
    both = explain(Listener(), samples, bands=(0, 8000)).frequency["change"]
    assert both.iloc[0] > 5


def test_thresholds_are_in_ordinal_order(samples):
    """Levels of text whose alphabetical order is another one."""
    model = Classifier(second=2, levels=["low", "middle", "high"])
    found = explain(model, samples, window=1.0)
    assert found.thresholds == ["p(>low)", "p(>middle)"] and not found.has_numbers
    p = model.predict_proba([(RATE, samples)])[0]  # sorted: high, low, middle
    assert found.expected == pytest.approx(2 * p[0] + p[2])
    row = found.time.loc[4]
    assert row["p(>middle)"] == pytest.approx(0.75 * row["p(>low)"]) and row["p(>low)"] > 0.1
    assert row["change"] == pytest.approx(row["p(>low)"] + row["p(>middle)"])


@pytest.mark.parametrize("kind", ["file", "frame", "pair"])
def test_a_recording_may_come_in_any_way(samples, kind, tmp_path):
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    given = {
        "file": tmp_path / "a.wav",
        "frame": pd.DataFrame({"file": [tmp_path / "a.wav"], "start": [2.0], "end": [4.0]}),
        "pair": (RATE, samples),
    }[kind]
    found = explain(Listener(), given)
    expected = samples[2 * RATE :] if kind == "frame" else samples
    assert np.array_equal(found.samples, expected)
    assert len(found.time) == 9 and found.time["end"].iloc[-1] == pytest.approx(
        len(expected) / RATE
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"window": 2.5}, RecordingError, "lasts 4.00 s, and explain needs two windows of 2.5 s"),
        ({"window": 0.05}, ValueError, "window == 0.05, must be >= 0.1"),
        ({"bands": (0, 500, 500)}, ValueError, "ascending edges from 0 to 8000"),
        ({"bands": (0, 9000)}, ValueError, "ascending edges from 0 to 8000"),
        ({"bands": (0, 20, 500)}, ValueError, "31.25 Hz wide or more, got one of 20"),
        ({"recording": pd.DataFrame({"file": ["a", "b"]})}, ValueError, "one recording, got 2"),
        ({"recording": "missing.wav"}, RecordingError, "no such file"),
        ({"pipeline": make_sentiment_pipeline(weights=None)}, NotFittedError, "not fitted"),
    ],
)
def test_errors_say_what_to_do(samples, change, error, message):
    given = {"pipeline": Listener(), "recording": samples}
    with pytest.raises(error, match=message):
        explain(**{**given, **change})


def test_nothing_predicted_and_parts_without_which_nothing_is(samples):
    class Nothing(Listener):
        def predict(self, X):
            return np.full(len(X), np.nan)

    class Refuses(Listener):
        def predict(self, X):
            raise_for = RecordingError("row 3 (samples in memory): nobody speaks.")
            raise_for.row = 3
            raise raise_for

    with pytest.raises(RecordingError, match=r"row 0 .*nothing to explain"):
        explain(Nothing(), samples)
    with pytest.raises(RecordingError, match=r"row 0 .*without one of its parts.*shorter window="):
        explain(Refuses(), samples)


@pytest.fixture(scope="module")
def fitted(speech):
    return make_sentiment_pipeline(weights=None, levels=speech.levels).fit(
        speech.data, speech.target
    )


def test_display_of_a_pipeline(fitted, speech):
    display = ExplanationDisplay.from_estimator(fitted, speech.data[0], bands=(0, 1000, 8000))
    found = display.explanation
    assert found.thresholds == ["p(>-1)", "p(>0)"]
    bars = [bar.get_height() for bar in display.axes_["time"].patches]
    assert bars == pytest.approx(found.time["change"].tolist())
    bars = [bar.get_width() for bar in display.axes_["frequency"].patches]
    assert bars == pytest.approx(found.frequency["change"].tolist())
    ax = display.axes_["time_thresholds"]
    assert [text.get_text() for text in ax.get_yticklabels()] == [">-1", ">0"]
    drawn = ax.collections[0].get_array()
    assert np.allclose(drawn, found.time[found.thresholds].to_numpy().T)
    plt.close("all")


def test_display_of_a_regressor_has_no_thresholds(samples):
    display = ExplanationDisplay.from_estimator(Listener(second=2), samples)
    assert set(display.axes_) == {"spectrogram", "time", "frequency"}
    plt.close("all")
