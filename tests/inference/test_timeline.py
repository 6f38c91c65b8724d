"""Time lines: which windows are scored, what a final score is made of, and what X may hold."""

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from followed import RATE, Loudness, told
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_speechsent import (
    FeatureStore,
    OrdinalClassifier,
    VoiceActivityDetector,
    make_sentiment_pipeline,
    sentiment_timeline,
)
from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.inference import CausalDetector
from sklearn_speechsent.inference.detection import Detection
from sklearn_speechsent.store import StoreError

PROBABILITIES = ["p(-1)", "p(0)", "p(1)"]


def scored(timeline):
    return timeline[PROBABILITIES].to_numpy()


def speech_in(probabilities, start, end):
    """Seconds of speech that frames say whose centres lie in a window."""
    frames = np.arange(len(probabilities) - 2)  # the last ones are not whole
    first, stop = round(start * RATE), round(end * RATE)
    inside = (160 * frames + 120 >= first) & (160 * frames + 120 < stop)
    return 0.01 * (inside & (probabilities[:-2] > 0.75)).sum()


@pytest.mark.parametrize(
    ("window", "step", "min_speech", "max_window"),
    [(5.0, 1.0, 1.0, 15.0), (2.0, 0.7, 1.0, 4.0), (1.0, 1.0, 0.0, 1.0), (3.0, 0.5, 2.2, 6.0)],
)
def test_windows_by_the_formula(telling, loudness, window, step, min_speech, max_window):
    """Against an own computation of every row, from the bounds of the utterances alone."""
    rng = np.random.default_rng(1)
    values = np.resize([0.1, 0.95, 0.8, 0.95], 40)
    probabilities = np.repeat(values, rng.choice([30, 90, 200, 700], size=40))
    samples = told(probabilities)
    rule = {
        "window": window,
        "step": step,
        "min_speech": min_speech,
        "max_window": max_window,
    }
    timeline = sentiment_timeline(loudness, [(RATE, samples)], detector=telling(), **rule)
    finals = timeline[timeline["final"]]
    assert len(finals) > 4 and (finals["end"] - finals["start"]).max() > max_window
    window, step, least, longest = (round(RATE * value) for value in rule.values())

    def score(a, b):
        return Loudness().fit().predict_proba([(RATE, samples[a:b])])[0]

    rows = []
    for start, end, speech in finals[["start", "end", "speech"]].itertuples(index=False):
        a, b = round(start * RATE), round(end * RATE)
        full = []
        for k in range(1, (b - a) // step + 2):
            stop = a + k * step
            if k * step >= least and stop < b:
                first = max(a, stop - window)
                rows.append((first, stop, *score(first, stop), False))
                full += [(first, stop)] * (stop - first == window)
        if speech < min_speech:
            rows.append((a, b, np.nan, np.nan, np.nan, True))
        elif b - a <= longest:
            rows.append((a, b, *score(a, b), True))
        else:
            full.append((b - window, b))
            weights = [speech_in(probabilities, x / RATE, y / RATE) for x, y in full]
            cumulative = np.cumsum([score(x, y) for x, y in full], axis=1)
            mean = np.average(cumulative, axis=0, weights=weights)
            rows.append((a, b, *np.diff(mean, prepend=0.0), True))
    rows = np.array(rows)
    bounds = timeline[["start", "end"]].to_numpy()
    wanted = [speech_in(probabilities, *each) for each in bounds]
    np.testing.assert_allclose(timeline["speech"], wanted, atol=1e-9)
    np.testing.assert_array_equal((timeline["start"] * RATE).round(), rows[:, 0])
    np.testing.assert_array_equal((timeline["end"] * RATE).round(), rows[:, 1])
    np.testing.assert_allclose(scored(timeline), rows[:, 2:5], atol=1e-12)
    np.testing.assert_array_equal(timeline["final"], rows[:, 5])
    expected = scored(timeline) @ [-1, 0, 1]
    np.testing.assert_allclose(timeline["expected"], expected, atol=1e-12)
    above = 1 - np.cumsum(scored(timeline), axis=1)[:, :2]
    levels = np.where(np.isnan(expected), np.nan, -1 + (above > 0.5).sum(axis=1))
    np.testing.assert_array_equal(timeline["level"], levels)


def test_too_little_speech_is_a_row_of_nan(telling, loudness):
    samples = told(np.repeat([0.1, 0.95, 0.1, 0.95, 0.1], [50, 99, 80, 101, 50]))
    timeline = sentiment_timeline(loudness, [(RATE, samples)], detector=telling())
    finals = timeline[timeline["final"]]
    np.testing.assert_allclose(finals["speech"], [0.99, 1.01])
    assert finals["expected"].isna().tolist() == [True, False]
    assert finals["level"].isna().tolist() == [True, False]
    assert np.isnan(scored(finals)[0]).all()


def test_whole_recordings(telling, loudness):
    """segments=None: from 0 to the end, windows weighted by speech."""
    probabilities = np.repeat([0.1, 0.95, 0.1], [300, 400, 300])
    samples = told(probabilities)
    timeline = sentiment_timeline(
        loudness,
        [(RATE, samples)],
        segments=None,
        window=2.0,
        step=2.0,
        max_window=4.0,
        detector=telling(),
    )
    assert timeline["start"].tolist() == [0.0, 2.0, 4.0, 6.0, 0.0]
    assert timeline["end"].tolist() == [2.0, 4.0, 6.0, 8.0, 10.0]
    weights = [speech_in(probabilities, t, t + 2) for t in (0, 2, 4, 6, 8)]
    assert weights[0] == 0
    asked = np.stack([np.abs(samples[t * RATE :][: 2 * RATE]).mean() for t in (0, 2, 4, 6, 8)])
    wanted = np.average(1 - asked, weights=weights)
    assert timeline["p(-1)"].iloc[-1] == pytest.approx(wanted, abs=1e-6)


def test_no_speech_gives_no_rows(loudness, pipeline, rng):
    hiss = rng.normal(0, 1e-3, 3 * RATE)
    timeline = sentiment_timeline(pipeline, [hiss, np.zeros(RATE), hiss[:100]])
    assert len(timeline) == 0
    assert list(timeline.columns[:7]) == [
        "file",
        "channel",
        "speaker",
        "start",
        "end",
        "level",
        "expected",
    ]
    assert str(timeline["channel"].dtype) == "Int64" and timeline["final"].dtype == bool


def test_given_and_silent_is_nan(pipeline):
    """The pipeline's own rule for recordings without speech, whose warning would name windows."""
    timeline = sentiment_timeline(
        pipeline, [np.zeros(3 * RATE)], segments=None, min_speech=0.0, step=2.0
    )
    assert timeline["expected"].isna().all() and timeline["final"].tolist() == [False, True]


def test_jobs_and_bars_change_nothing(pipeline, speech, capsys):
    X = list(speech.data[:3])
    alone = sentiment_timeline(pipeline, X)
    assert alone["file"].unique().tolist() == X
    several = sentiment_timeline(pipeline, X, n_jobs=2, verbose=1)
    pd.testing.assert_frame_equal(alone, several)
    sentiment_timeline(pipeline, X[2:], verbose=1)
    bars = capsys.readouterr().err
    assert "speech: 100%" in bars and "scores: 100%" in bars and "row 0" in bars


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_an_interrupted_time_line_resumes(pipeline, speech, tmp_path, monkeypatch, dtype):
    X, store = list(speech.data[:4]), FeatureStore(tmp_path / "store", dtype=dtype)
    plain = sentiment_timeline(pipeline, X)
    followed, finish = [], Detection.finish

    def stopped(self):
        followed.append(self)
        if len(followed) == 3:
            raise KeyboardInterrupt
        return finish(self)

    monkeypatch.setattr(Detection, "finish", stopped)
    with pytest.raises(KeyboardInterrupt):
        sentiment_timeline(pipeline, X, memory=store)
    pd.testing.assert_frame_equal(sentiment_timeline(pipeline, X, memory=store), plain)
    assert len(followed) == 5  # the third again, and the fourth
    louder = VoiceActivityDetector(threshold=0.99)
    sentiment_timeline(pipeline, X[:1], memory=store, detector=louder)
    longer = VoiceActivityDetector(hangover=0.5)
    sentiment_timeline(pipeline, X[:1], memory=store, detector=longer, window=3.0)
    assert len(followed) == 6  # the limits are part of the key, and the rules are not


def test_bad_recordings_are_not_stored(telling, loudness, tmp_path):
    good = told(np.repeat([0.1, 0.95, 0.1], [50, 150, 50]))
    options = {"step": 5.0, "detector": telling(), "memory": tmp_path / "store"}
    X = [good, np.full(RATE, np.nan), good[:100]]
    for _ in range(2):
        with pytest.warns(UserWarning, match="row 1.*Its row is NaN"):
            timeline = sentiment_timeline(loudness, X, on_error="nan", **options)
        assert timeline["file"].tolist() == [0, 1]
    with pytest.raises(RecordingError, match="row 1"):
        sentiment_timeline(loudness, X, **options)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        sentiment_timeline(loudness, X[:1], **{**options, "memory": tmp_path / "file"})


def test_channels_are_jobs(pipeline, conversation):
    X = [(RATE, np.stack([conversation[: 4 * RATE], conversation[4 * RATE : 8 * RATE]], axis=1))]
    alone = sentiment_timeline(pipeline, X, channels="separate")
    with joblib.parallel_config("threading"):
        several = sentiment_timeline(pipeline, X, channels="separate", n_jobs=2)
    pd.testing.assert_frame_equal(alone, several)
    assert alone["channel"].unique().tolist() == [0, 1]


def test_batches_change_nothing(pipeline, conversation, monkeypatch):
    from sklearn_speechsent.inference import scoring

    X = [(RATE, conversation[: 8 * RATE])]
    whole = sentiment_timeline(pipeline, X)
    monkeypatch.setattr(scoring, "_BATCH", 20000)
    np.testing.assert_allclose(scored(sentiment_timeline(pipeline, X)), scored(whole), atol=1e-5)


def test_channels_each_by_itself(telling, loudness, tmp_path):
    left = np.repeat([0.1, 0.95, 0.1, 0.1], [50, 150, 50, 300])
    samples = np.stack([told(left), told(left[::-1])], axis=1)
    path = tmp_path / "call.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    timeline = sentiment_timeline(
        loudness, [path], channels="separate", step=5.0, detector=telling()
    )
    assert timeline["channel"].tolist() == [0, 1]
    assert timeline["start"].is_monotonic_increasing
    table = pd.DataFrame({"file": [str(path)], "channel": [1]})
    one = sentiment_timeline(loudness, table, step=5.0, detector=telling())
    pd.testing.assert_frame_equal(one, timeline.iloc[[1]].reset_index(drop=True))


@pytest.mark.parametrize("source", ["file", "memory"])
def test_the_same_channel_twice_is_scored_once(telling, loudness, tmp_path, source):
    mono = told(np.repeat([0.1, 0.95, 0.1], [50, 150, 50]))
    samples = np.stack([mono, mono], axis=1)
    X = [(RATE, samples)]
    if source == "file":
        X = [tmp_path / "call.wav"]
        soundfile.write(X[0], samples, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="all 2 channels are the same, so that one is scored"):
        timeline = sentiment_timeline(
            loudness, X, channels="separate", step=5.0, detector=telling()
        )
    assert timeline["channel"].tolist() == [0, 1] and len(loudness.asked_) == 1
    np.testing.assert_array_equal(scored(timeline)[0], scored(timeline)[1])


class Mean(RegressorMixin, BaseEstimator):
    def fit(self, X=None, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.array([samples.mean() for _, samples in X])


def test_regressors(telling):
    samples = told(np.repeat([0.1, 0.95, 0.1, 0.95, 0.1], [50, 450, 50, 20, 50]))
    timeline = sentiment_timeline(
        Mean().fit(), [samples], step=2.0, window=2.0, max_window=2.0, detector=telling()
    )
    assert not [name for name in timeline.columns if name.startswith("p(")]
    assert timeline["level"].isna().all()
    assert timeline["expected"].isna().tolist() == [False, False, False, True]
    assert timeline["expected"].iloc[1] == pytest.approx(0.95, abs=0.01)


def test_real_regressor(speech):
    pipeline = make_sentiment_pipeline(target="intensity").fit(speech.data, speech.target)
    timeline = sentiment_timeline(pipeline, speech.data[:1])
    assert timeline["expected"].notna().any() and timeline["level"].isna().all()


def test_levels_of_text(telling, speech):
    names = ["low", "medium", "high"]
    y = pd.Categorical.from_codes(speech.target + 1, names, ordered=True)
    pipeline = make_sentiment_pipeline(weights=None, vad="passthrough").fit(speech.data, y)
    timeline = sentiment_timeline(pipeline, speech.data[:4], segments=None, step=5.0)
    columns = [f"p({name})" for name in names]
    assert [name for name in timeline.columns if name.startswith("p(")] == columns
    proba = pipeline.predict_proba(speech.data[:4])
    wanted = proba[:, [list(pipeline.classes_).index(name) for name in names]]
    np.testing.assert_allclose(timeline[columns], wanted, atol=1e-5)
    assert timeline["level"].tolist() == pipeline.predict(speech.data[:4]).tolist()
    np.testing.assert_allclose(timeline["expected"], wanted @ [0, 1, 2], atol=1e-5)


def test_whole_recordings_are_scored_as_by_the_pipeline(pipeline, speech):
    timeline = sentiment_timeline(pipeline, speech.data[:3], segments=None, step=5.0)
    np.testing.assert_allclose(scored(timeline), pipeline.predict_proba(speech.data[:3]), atol=1e-5)
    assert timeline["level"].tolist() == pipeline.predict(speech.data[:3]).tolist()


def test_a_search_is_a_pipeline_too(speech):
    quick = make_sentiment_pipeline(weights=None, vad="passthrough")
    search = GridSearchCV(quick, {"net__C": [10.0]}, cv=2)
    search.fit(speech.data, speech.target)
    timeline = sentiment_timeline(search, speech.data[:1])
    assert timeline["expected"].notna().any()


# -- what cannot be used ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": np.nan}, "window=nan is not a finite number"),
        ({"step": "1"}, "step='1' is not a finite number"),
        ({"step": 0.0}, "step=0, .*step <= window"),
        ({"step": 6.0}, "step=6, .*step <= window"),
        ({"window": 20.0}, "window <= max_window"),
        ({"min_speech": 5.5}, "min_speech <= window"),
        ({"channels": "left"}, "channels='left' must be 'mix' or 'separate'"),
        ({"on_error": "skip"}, "on_error='skip' must be 'raise' or 'nan'"),
    ],
)
def test_parameters_that_cannot_be(loudness, options, message):
    with pytest.raises(ValueError, match=message):
        sentiment_timeline(loudness, [np.zeros(RATE)], **options)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        sentiment_timeline(make_sentiment_pipeline(), [np.zeros(RATE)])
    with pytest.raises(NotFittedError):
        sentiment_timeline(OrdinalClassifier(), [np.zeros(RATE)])


@pytest.mark.parametrize("column", ["start", "end", "speed", "gain_db"])
def test_rows_are_whole_recordings(loudness, speech, column):
    table = pd.DataFrame({"file": speech.data[:2], column: [np.nan, 0.5]})
    with pytest.raises(RecordingError, match=r"row 1 .*a time line is of a whole recording"):
        sentiment_timeline(loudness, table)


def test_recordings_that_cannot_be_used(loudness, telling, tmp_path):
    good = told(np.repeat([0.1, 0.95, 0.1], [50, 150, 50]))
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for path in paths:
        soundfile.write(path, good, RATE, subtype="FLOAT")
    paths[1].write_bytes(paths[1].read_bytes()[:100_000])  # it ends early
    options = {"step": 5.0, "detector": telling()}
    with pytest.raises(RecordingError, match=r"row 1 .*b.wav.*cut off"):
        sentiment_timeline(loudness, paths, **options)
    with pytest.warns(UserWarning, match=r"row 1 .*b.wav.*Its row is NaN"):
        timeline = sentiment_timeline(loudness, paths, on_error="nan", **options)
    assert timeline["file"].tolist() == [str(path) for path in paths]
    assert timeline["expected"].isna().tolist() == [False, True, False]
    assert timeline["final"].all()
    paths[0].unlink()
    with joblib.parallel_config("threading"):
        with pytest.warns(UserWarning, match="Its row is NaN") as caught:
            timeline = sentiment_timeline(
                loudness, paths, on_error="nan", channels="separate", n_jobs=2, **options
            )
    assert len(caught) == 2 and "no such file" in str(caught[0].message)
    assert timeline["channel"].isna().tolist() == [True, True, False]
    with pytest.raises(RecordingError, match="NaN and infinity are not sound"):
        sentiment_timeline(loudness, [np.full(RATE, np.nan)], detector=CausalDetector.of())
