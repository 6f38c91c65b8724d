"""Live sources: each is replayed what a file holds, and says the same as the stream itself."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import joblib
import numpy as np
import pytest
import soundfile

from sklearn_speechsent import StreamingSentiment, make_sentiment_pipeline
from sklearn_speechsent.inference import Score, SpeechEnd, SpeechStart

#: Of short windows of synthetic voices.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn_speechsent.frames.DomainWarning")
FOLDER = Path(__file__).parents[1] / "examples" / "live"
RATE = 16000


@pytest.fixture(scope="module")
def pipeline(speech):
    return make_sentiment_pipeline(weights=None, n_jobs=1).fit(list(speech.data), speech.target)


@pytest.fixture(scope="module")
def samples(speech):
    """A voice, a pause and the voice again, as 16-bit samples."""
    sounds = [soundfile.read(path, dtype="int16") for path in speech.data[:3]]
    assert {rate for _, rate in sounds} == {RATE}
    voice = np.concatenate([sound for sound, _ in sounds])
    return np.concatenate([voice, np.zeros(RATE, np.int16), voice])


@pytest.fixture(scope="module")
def expected(pipeline, samples):
    stream = StreamingSentiment(pipeline)
    return stream.push(samples) + stream.finish()


def example(name, monkeypatch, **modules):
    """Example as a module, with stand-ins for the packages that it needs."""
    for package, contents in modules.items():
        module = ModuleType(package)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, package.replace("__", "."), module)
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_same(found, expected):
    """Equal events; scores but for what the size of a batch rounds."""
    assert [type(event) for event in found] == [type(event) for event in expected]
    for one, other in zip(found, expected, strict=True):
        values, wanted = vars(one), vars(other)
        for name in values:
            if name in ("level", "expected", "probabilities"):
                np.testing.assert_allclose(values[name], wanted[name], atol=1e-5)
            else:
                assert values[name] == wanted[name]


def printed(capsys):
    """Events of what was printed."""
    names = {kind.__name__: kind for kind in (Score, SpeechStart, SpeechEnd)}
    lines = capsys.readouterr().out.splitlines()
    return [eval(line, {**names, "nan": np.nan, "np": np}) for line in lines]


def test_there_is_something_to_hear(expected):
    kinds = [type(event) for event in expected]
    assert kinds.count(SpeechStart) == kinds.count(SpeechEnd) >= 1
    finals = [event for event in expected if isinstance(event, Score) and event.final]
    known = [not np.isnan(score.expected) for score in finals]
    assert any(known) and not all(known)


def test_a_recording_is_replayed(pipeline, samples, expected, tmp_path, monkeypatch, capsys):
    joblib.dump(pipeline, tmp_path / "model")
    soundfile.write(tmp_path / "call.wav", samples, RATE)
    example("wav", monkeypatch).main(tmp_path / "model", tmp_path / "call.wav", pace=0)
    assert_same(printed(capsys), expected)


def test_the_microphone(pipeline, samples, expected, tmp_path, monkeypatch, capsys):
    class InputStream:
        samplerate = float(RATE)

        def __init__(self, channels, dtype, callback):
            assert (channels, dtype) == (1, "int16")
            self.callback = callback

        def __enter__(self):
            for first in range(0, len(samples), 800):
                chunk = samples[first : first + 800, None]
                self.callback(chunk, len(chunk), None, "")
            return self

        def __exit__(self, *error):
            pass

    module = example("microphone", monkeypatch, sounddevice={"InputStream": InputStream})

    class Queue(module.queue.Queue):
        def get(self):
            if self.empty():
                raise KeyboardInterrupt
            return super().get()

    monkeypatch.setattr(module.queue, "Queue", Queue)
    joblib.dump(pipeline, tmp_path / "model")
    module.main(tmp_path / "model")
    assert_same(printed(capsys), expected)


def test_a_websocket(pipeline, samples, expected, monkeypatch):
    module = example("websocket", monkeypatch, websockets__asyncio__server={"serve": None})

    class Connection:
        request = SimpleNamespace(path="/16000")
        sent: list[str] = []

        async def __aiter__(self):
            for first in range(0, len(samples), 1600):
                yield samples[first : first + 1600].tobytes()
            yield "end"
            raise AssertionError("nothing is read after the end")

        async def send(self, text):
            self.sent.append(text)

    asyncio.run(module.handler(pipeline)(Connection()))
    found = [json.loads(text) for text in Connection.sent]
    assert [event["event"] for event in found] == [type(event).__name__ for event in expected]
    scores = [event for event in expected if isinstance(event, Score)]
    for one, other in zip([e for e in found if e["event"] == "Score"], scores, strict=True):
        if np.isnan(other.expected):
            assert one["expected"] is None
        else:
            assert one["expected"] == pytest.approx(other.expected, abs=1e-5)
        assert one["end_sample"] == other.end_sample and one["final"] is other.final
    nothing = Score(0, 0, 1, 0.0, 1.0, np.nan, np.nan, (np.nan, np.nan), 0.5, True)
    text = json.loads(module.as_json(nothing))
    assert text["level"] is None and text["probabilities"] == [None, None]


def test_a_livekit_track(pipeline, samples, expected, monkeypatch):
    class AudioStream:
        def __init__(self, track, sample_rate, num_channels):
            assert (track, sample_rate, num_channels) == ("track", RATE, 1)

        async def __aiter__(self):
            for first in range(0, len(samples), 160):
                data = memoryview(samples[first : first + 160].tobytes())
                yield SimpleNamespace(frame=SimpleNamespace(data=data))

    module = example(
        "livekit_track", monkeypatch, livekit={"rtc": SimpleNamespace(AudioStream=AudioStream)}
    )
    found = []
    asyncio.run(module.follow("track", pipeline, found.append))
    assert_same(found, expected)


def test_a_pipecat_processor(pipeline, samples, expected, monkeypatch):
    class FrameProcessor:
        def __init__(self):
            self.passed = []

        async def process_frame(self, frame, direction):
            pass

        async def push_frame(self, frame, direction):
            self.passed.append(frame)

    class InputAudioRawFrame(SimpleNamespace):
        sample_rate, num_channels = RATE, 1

    module = example(
        "pipecat_processor",
        monkeypatch,
        pipecat__frames__frames={"InputAudioRawFrame": InputAudioRawFrame},
        pipecat__processors__frame_processor={"FrameProcessor": FrameProcessor},
    )
    found, frames = [], ["another frame"]
    processor = module.SentimentProcessor(pipeline, found.append)
    for first in range(0, len(samples), 320):
        frames.append(InputAudioRawFrame(audio=samples[first : first + 320].tobytes()))

    async def run():
        for frame in frames:
            await processor.process_frame(frame, "down")

    asyncio.run(run())
    assert processor.passed == frames
    # Nobody says when the user's audio ends: what the end of the file would have closed stays open.
    assert_same(found, expected[: len(found)])
    assert len(found) > 1
