"""Streams: what cannot be pushed, what cannot happen, and memory."""

import tracemalloc

import joblib
import numpy as np
import pytest
from followed import RATE, Loudness, told
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from sklearn_speechsent import StreamingSentiment, VoiceActivityDetector, make_sentiment_pipeline
from sklearn_speechsent.inference import Score, SpeechEnd, SpeechStart

SPOKEN = told(np.repeat([0.1, 0.95, 0.1], [50, 150, 120]))


@pytest.fixture
def stream(telling, loudness):
    return StreamingSentiment(loudness, detector=telling(), step=5.0)


def test_events_come_as_early_as_they_can(telling, loudness):
    """Start and end are known one block and the look-ahead later, a score of 1 s after 1 s."""
    stream = StreamingSentiment(loudness, detector=telling())
    came = {}
    for first in range(0, len(SPOKEN), 160):
        for event in stream.push(SPOKEN[first : first + 160]):
            kind = type(event).__name__ + str(getattr(event, "final", ""))
            came[kind] = first + 160
    assert not stream.finish()
    latest = 160 * (32 + 16) + 400
    assert came["SpeechStart"] <= 50 * 160 + latest
    assert came["ScoreFalse"] <= (50 - 25) * 160 + RATE + latest
    assert came["ScoreTrue"] == came["SpeechEnd"] <= (200 + 25) * 160 + latest


def test_zeros_say_nothing(pipeline):
    stream = StreamingSentiment(pipeline)
    assert stream.push(np.zeros(5 * RATE, np.int16)) == []
    assert stream.push(np.zeros(0)) == []
    assert stream.finish() == []
    assert StreamingSentiment(pipeline, sample_rate=8000).finish() == []


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (np.array([0.0, np.nan]), ValueError, "sample 51201 of the stream is nan"),
        (np.array([0.0, 0.0, -np.inf], np.float32), ValueError, "sample 51202 .* is -inf"),
        (np.array([1e300]), ValueError, "sample 51200 .* is 1e.300"),
        (np.array([300.0]), ValueError, "samples reach 300, and full scale is 1"),
        (np.array([1, 2]), TypeError, "samples are int64, and a stream takes int16"),
        (np.array([1], np.uint8), TypeError, "samples are uint8"),
        (b"\0\0", TypeError, "bytes of 16-bit PCM by numpy.frombuffer"),
        (["a"], TypeError, "samples are <U1"),
        (np.zeros((2, 2)), ValueError, "samples have 2 channels, and those before had 1"),
        (np.zeros((2, 1, 1)), ValueError, r"samples have the shape \(2, 1, 1\)"),
        (0.5, ValueError, r"samples have the shape \(\)"),
    ],
)
def test_samples_that_cannot_be_pushed(stream, samples, error, message):
    """The stream is as it was before, and goes on."""
    before = stream.push(SPOKEN)
    with pytest.raises(error, match=message):
        stream.push(samples)
    events = before + stream.push(SPOKEN[:1000]) + stream.finish()
    assert [type(event) for event in events] == [SpeechStart, Score, SpeechEnd]


def test_channels_that_are_not_there(telling, loudness):
    stream = StreamingSentiment(loudness, channel=1, detector=telling())
    with pytest.raises(ValueError, match=r"samples have 1 channels, .* no channel 1"):
        stream.push(SPOKEN)
    with pytest.raises(ValueError, match="samples have 0 channels"):
        stream.push(np.zeros((5, 0)))
    assert stream.push(np.stack([0 * SPOKEN, SPOKEN], axis=1))


def test_after_the_end(stream):
    events = stream.push(SPOKEN) + stream.finish()
    for call in (stream.finish, lambda: stream.push(SPOKEN)):
        with pytest.raises(RuntimeError, match=r"it is finished. Call reset\(\) first"):
            call()
    stream.reset()
    assert stream.push(SPOKEN) + stream.finish() == events


class Failing(ClassifierMixin, BaseEstimator):
    def fit(self):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        raise MemoryError("no more")


def test_after_a_failure_of_the_pipeline(telling):
    stream = StreamingSentiment(Failing().fit(), detector=telling())
    with pytest.raises(MemoryError, match="no more"):
        stream.push(SPOKEN)
    with pytest.raises(RuntimeError, match="its pipeline has failed"):
        stream.push(SPOKEN)
    stream.reset()
    assert stream.push(SPOKEN[:1000]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 44100.5}, "sample_rate=44100.5 is not a whole number"),
        ({"sample_rate": 0}, "sample_rate=0 is not a whole number of Hz from 1000"),
        ({"channel": -1}, "channel=-1 is neither None"),
        ({"window": 0.5}, "step <= window"),
        ({"detector": VoiceActivityDetector("energy")}, "cannot follow a stream"),
        ({"detector": VoiceActivityDetector(threshold=2.0)}, "threshold=2.0 is not a probability"),
    ],
)
def test_parameters_that_cannot_be(loudness, options, message):
    with pytest.raises(ValueError, match=message):
        StreamingSentiment(loudness, **options)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        StreamingSentiment(make_sentiment_pipeline())


def test_the_pipeline_is_only_read(pipeline, conversation):
    before = joblib.hash(pipeline)
    stream = StreamingSentiment(pipeline)
    stream.push(conversation[: 4 * RATE])
    stream.finish()
    assert joblib.hash(pipeline) == before


class Deaf(Loudness):
    """Remembers nothing."""

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


@pytest.mark.parametrize("spoken", [0.95, 0.8, 0.1], ids=["always", "nearly", "never"])
def test_memory_is_flat(telling, spoken):
    """A quarter of an hour, in which somebody speaks without an end, might speak, or does not."""
    stream = StreamingSentiment(
        Deaf().fit(), sample_rate=RATE, detector=telling(), step=1.0, window=2.0, max_window=3.0
    )
    minute = told(np.full(6000, spoken))
    sizes = []
    tracemalloc.start()
    try:
        for _ in range(15):
            for first in range(0, len(minute), 8000):
                stream.push(minute[first : first + 8000])
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes[3:]) <= min(sizes[1:3]) + 20_000
    events = stream.finish()
    assert len(events) == (2 if spoken > 0.9 else 0)


def test_a_day_pushed_at_once_is_worked_on_in_pieces(telling):
    """What is scored at a time is bounded, however much is pushed."""
    sizes = []

    class Counting(Deaf):
        def predict_proba(self, X):
            sizes.append(sum(len(samples) for _, samples in X))
            return super().predict_proba(X)

    stream = StreamingSentiment(Counting().fit(), detector=telling(), step=5.0, window=5.0)
    scores = [e for e in stream.push(told(np.full(90_000, 0.95))) if isinstance(e, Score)]
    assert len(scores) == 179 and len(sizes) > 2
    assert max(sizes) <= 65 * RATE


@pytest.mark.parametrize("provisional", ["never", "now and then", "at the end"])
def test_final_scores_without_provisional_ones(telling, loudness, provisional):
    """Utterances of 4 s, 9.6 s and 25 s; those of more than max_window=8 s are means of windows."""
    rng = np.random.default_rng(0)
    parts = [rng.uniform(0.9, 1, n) for n in (400, 960, 2500)]
    samples = told(np.concatenate([np.append(part, np.full(150, 0.1)) for part in parts]))
    options = {"detector": telling(), "max_window": 8.0, "step": 0.5}
    whole = StreamingSentiment(loudness, **options)
    all_events = whole.push(samples) + whole.finish()
    n_asked, loudness.asked_ = len(loudness.asked_), []
    stream, events = StreamingSentiment(loudness, **options), []
    for first in range(0, len(samples), 1600):
        wanted = {"never": False, "now and then": first % 14400 < 3200, "at the end": first > 4e5}
        events += stream.push(samples[first : first + 1600], provisional=wanted[provisional])
    events += stream.finish()
    finals = [each for each in events if getattr(each, "final", True)]
    for found, expected in zip(
        finals, [each for each in all_events if getattr(each, "final", True)], strict=True
    ):
        if isinstance(expected, Score):
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-12)
            assert (found.start, found.end) == (expected.start, expected.end)
            assert (found.level, found.speech) == (expected.level, expected.speech)
        else:
            assert found == expected
    assert len(finals) == 9 and whole.n_left_out == 0
    assert stream.n_left_out == len(all_events) - len(events) > 0
    assert {s.end for s in events if isinstance(s, Score)} <= {
        s.end for s in all_events if isinstance(s, Score)
    }
    assert len(loudness.asked_) < n_asked
