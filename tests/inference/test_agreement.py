"""Time lines and streams agree, however the samples come."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from followed import RATE, Loudness, chunks, told

from sklearn_speechsent import StreamingSentiment, sentiment_timeline
from sklearn_speechsent.frames.domain import DomainWarning
from sklearn_speechsent.inference import CausalDetector, Score, SpeechEnd, SpeechStart

PROBABILITIES = ["p(-1)", "p(0)", "p(1)"]
COLUMNS = ["start", "end", "level", "expected", *PROBABILITIES, "speech", "final"]


def streamed(pipeline, pieces, **options):
    stream = StreamingSentiment(pipeline, **options)
    return [event for piece in pieces for event in stream.push(piece)] + stream.finish()


def as_rows(events):
    scores = [event for event in events if isinstance(event, Score)]
    return np.array(
        [[s.start, s.end, s.level, s.expected, *s.probabilities, s.speech, s.final] for s in scores]
    )


def assert_agree(events, timeline):
    """The same bounds and speech, and probabilities to 1e-5."""
    rows = as_rows(events)
    assert len(rows) == len(timeline)
    np.testing.assert_allclose(rows, timeline[COLUMNS].to_numpy(float), rtol=0, atol=1e-5)
    exact = ["start", "end", "speech", "final"]
    columns = [COLUMNS.index(name) for name in exact]
    np.testing.assert_array_equal(rows[:, columns], timeline[exact].to_numpy(float))


def assert_in_order(events):
    """Start, provisional scores, final score, end, and then the next utterance."""
    utterance = 0
    kinds = []
    for event in events:
        assert event.utterance == utterance
        final = isinstance(event, Score) and event.final
        kinds.append("final" if final else type(event).__name__)
        if isinstance(event, SpeechEnd):
            assert kinds[0] == "SpeechStart" and kinds[-2:] == ["final", "SpeechEnd"]
            assert set(kinds[1:-2]) <= {"Score"}
            utterance, kinds = utterance + 1, []
        if isinstance(event, (SpeechStart, SpeechEnd)):
            assert event.time == event.sample / RATE
        else:
            assert (event.start, event.end) == (event.start_sample / RATE, event.end_sample / RATE)
    assert not kinds


KINDS = [
    (16000, "int16", "PCM_16"),
    (16000, "float32", "FLOAT"),
    (8000, "int16", "PCM_16"),
    (44100, "float64", "DOUBLE"),
    (48000, "float32", "FLOAT"),
    (22050, "int16", "PCM_16"),
]


@pytest.mark.filterwarnings("ignore:.*reach up to 3:sklearn_speechsent.frames.domain.DomainWarning")
@pytest.mark.parametrize(("rate", "kind", "subtype"), KINDS)
def test_any_chunks_of_any_rate_and_type(pipeline, conversation, tmp_path, rate, kind, subtype):
    samples = conversation[: 9 * RATE].astype(np.float64) / 32768
    if rate != RATE:
        samples = soxr.resample(samples, RATE, rate)
    samples = (32768 * samples).astype(np.int16) if kind == "int16" else samples.astype(kind)
    path = tmp_path / "call.wav"
    soundfile.write(path, samples, rate, subtype=subtype)
    options = {"window": 1.0, "step": 0.5, "min_speech": 0.8, "max_window": 1.5}
    timeline = sentiment_timeline(pipeline, [path], **options)
    assert timeline["final"].sum() >= 2 and timeline["expected"].notna().any()
    assert (timeline["end"] - timeline["start"]).max() > options["max_window"]
    seen = []
    for seed, longest in ((0, 10 * rate), (1, 400)):
        events = streamed(pipeline, chunks(samples, seed, longest), sample_rate=rate, **options)
        assert_agree(events, timeline)
        assert_in_order(events)
        seen.append(len(events))
    assert len(set(seen)) == 1


def test_samples_one_by_one(telling, loudness):
    samples = told(np.repeat([0.1, 0.95, 0.1, 0.95, 0.1], [10, 110, 40, 60, 20]))
    timeline = sentiment_timeline(loudness, [(RATE, samples)], detector=telling())
    events = streamed(loudness, np.split(samples, len(samples)), detector=telling())
    assert_agree(events, timeline)
    assert len(timeline) == 3


@pytest.mark.parametrize("channel", [None, 0, 1])
def test_channels(telling, loudness, channel, rng):
    left = np.repeat([0.1, 0.95, 0.1], [40, 200, 100])
    right = np.roll(left, 60) * 0.99
    samples = np.stack([told(left), told(right)], axis=1)
    events = streamed(
        loudness, chunks(samples, 0, 9000), channel=channel, detector=telling(), min_speech=0.5
    )
    options = {"detector": telling(), "min_speech": 0.5}
    if channel is None:
        timeline = sentiment_timeline(loudness, [(RATE, samples)], **options)
        assert timeline["channel"].isna().all()
    else:
        both = sentiment_timeline(loudness, [(RATE, samples)], channels="separate", **options)
        assert both["channel"].tolist() == sorted(both["channel"])
        timeline = both[both["channel"] == channel]
    assert len(timeline) > 1
    assert_agree(events, timeline)


def test_windows_are_bit_equal_however_they_come(telling, conversation, rng):
    """What reaches the pipeline is the same samples, from a file and from a stream at 44.1 kHz."""
    samples = soxr.resample(conversation[: 4 * RATE].astype(np.float32) / 32768, RATE, 44100)
    asked = []
    given = [[0.2, 1.7], [1.0, 3.9]]
    for cut in ([samples], list(chunks(samples, 3, 5000))):
        pipeline = Loudness().fit()
        streamed(pipeline, cut, sample_rate=44100, min_speech=0.1, step=0.3)
        asked.append(pipeline.asked_)
    pipeline = Loudness().fit()
    sentiment_timeline(pipeline, [(44100, samples)], min_speech=0.1, step=0.3)
    whole = soxr.resample(samples, 44100, RATE)
    assert len(asked[0]) == len(asked[1]) == len(pipeline.asked_) > 3
    for windows in zip(*asked, pipeline.asked_, strict=True):
        for window in windows:
            assert window.dtype == np.float32
            np.testing.assert_array_equal(window, windows[0])
    pipeline = Loudness().fit()
    segments = [{"file": 0, "start": start, "end": end} for start, end in given]
    sentiment_timeline(
        pipeline, [(44100, samples)], segments=pd.DataFrame(segments), min_speech=0, step=5
    )
    for (start, end), window in zip(given, pipeline.asked_, strict=True):
        np.testing.assert_array_equal(window, whole[round(start * RATE) : round(end * RATE)])


def two_streams(pipeline, conversation):
    """Cut signals, and their scores each by itself."""
    signals = [conversation[: 5 * RATE], conversation[4 * RATE : 10 * RATE]]
    pieces = [list(chunks(signal, seed, 8000)) for seed, signal in enumerate(signals)]
    alone = [sentiment_timeline(pipeline, [(RATE, signal)]) for signal in signals]
    assert all(len(timeline) > 2 for timeline in alone)
    return pieces, alone


def test_interleaved_streams(pipeline, conversation):
    pieces, alone = two_streams(pipeline, conversation)
    shared = CausalDetector.of()
    streams = [StreamingSentiment(pipeline, detector=shared) for _ in pieces]
    events = [[], []]
    for turn in range(max(map(len, pieces))):
        for stream, cut, found in zip(streams, pieces, events, strict=True):
            if turn < len(cut):
                found += stream.push(cut[turn])
    for stream, found, timeline in zip(streams, events, alone, strict=True):
        found += stream.finish()
        assert_agree(found, timeline)


def test_streams_in_two_threads(pipeline, conversation):
    pieces, alone = two_streams(pipeline, conversation)
    shared = CausalDetector.of()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda cut: streamed(pipeline, cut, detector=shared), pieces))
    for events, timeline in zip(found, alone, strict=True):
        assert_agree(events, timeline)


def test_telephone_speech_is_warned_of_once(pipeline, conversation):
    samples = soxr.resample(conversation[: 6 * RATE], RATE, 8000)
    with pytest.warns(DomainWarning, match="kHz") as caught:
        timeline = sentiment_timeline(pipeline, [(8000, samples)])
    assert len(timeline) > 1 and len(caught) == 1
    with pytest.warns(DomainWarning, match="kHz") as caught:
        streamed(pipeline, chunks(samples, 0, 8000), sample_rate=8000)
    assert len(caught) == 1
