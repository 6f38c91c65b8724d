"""Answers of the service are those of the package."""

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from served import Client, assert_same_events, hello, listening, messages
from sklearn.frozen import FrozenEstimator

import sklearn_speechsent.serve
from sklearn_speechsent import StreamingSentiment, save_model, sentiment_timeline
from sklearn_speechsent.inference.events import event_as_dict
from sklearn_speechsent.inspection import ConformalOrdinal, OrdinalCalibrator
from sklearn_speechsent.serve.desk import Desk


@pytest.fixture(scope="module")
def service(pool):
    with listening(pool, max_streams=8) as address:
        yield Client(address)


def encoded(samples, form, rate=16000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


def webm(samples):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def assert_scored(answer, fitted, content):
    assert answer.status_code == 200
    found = answer.json()
    (expected,) = fitted.predict_proba([content])
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-6)
    assert found["levels"] == [-1, 0, 1] and found["note"] is None
    np.testing.assert_allclose(found["expected"], expected @ [-1, 0, 1], atol=1e-6)
    assert type(found["level"]) is int
    return found


def test_a_calibrated_model_is_served(fitted, speech, spoken, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.set_num_threads", lambda n: None)
    model = ConformalOrdinal(OrdinalCalibrator(FrozenEstimator(fitted)))
    with pytest.warns(UserWarning, match="each row counts as a speaker"):
        model.fit(speech.data, speech.target)
    desk = Desk(str(save_model(model, tmp_path / "a.zip")), 60)
    content = encoded(spoken[:48000], "WAV")
    found = json.loads(desk.score(content))
    (expected,) = model.predict_proba([content])
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-12)
    assert found["levels"] == desk.description["levels"] == [-1, 0, 1]
    rows = json.loads(desk.timeline(content, {}))["rows"]
    assert np.isfinite(np.array([row["probabilities"] for row in rows], dtype=float)).any()
    assert desk.open(1, json.loads(hello())) == [-1, 0, 1]


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "webm"])
def test_scores_of_files(service, fitted, spoken, form):
    samples = spoken[: 3 * 16000]
    content = webm(samples) if form == "webm" else encoded(samples, form)
    found = assert_scored(service.post("/v1/score", content), fitted, content)
    assert abs(found["duration"] - 3) < 0.1


def test_scores_of_json(service, fitted, spoken):
    content = encoded(spoken[:32000], "WAV")
    body = {"audio": base64.b64encode(content).decode()}
    assert_scored(service.post("/v1/score", json=body), fitted, content)


@pytest.mark.parametrize("seconds", [0.2, 3])
def test_nobody_speaks(service, seconds):
    answer = service.post("/v1/score", encoded(np.zeros(int(seconds * 16000)), "WAV")).json()
    assert answer["note"] == "nobody speaks in it"
    assert answer["level"] is None and answer["probabilities"] == [None] * 3


@pytest.mark.parametrize(
    ("options", "how"),
    [({}, "fields"), ({"window": 3, "step": 0.5, "channels": "separate"}, "fields"),
     ({"step": 2}, "query"), ({"window": 4.0}, "json")],
)  # fmt: skip
def test_time_lines(service, fitted, spoken, options, how):
    other = np.roll(spoken, 40000)
    content = encoded(np.stack([spoken, other], axis=1), "WAV")
    if how == "fields":
        answer = service.post("/v1/timeline", content, data=options)
    elif how == "query":
        answer = service.post("/v1/timeline", content, params=options)
    else:
        body = {"audio": base64.b64encode(content).decode(), **options}
        answer = service.post("/v1/timeline", json=body)
    found = answer.json()
    table = sentiment_timeline(fitted, [content], **options)
    assert found["levels"] == [-1, 0, 1] and found["channels"] == 2
    assert found["duration"] == len(spoken) / 16000
    assert len(found["rows"]) == len(table) > 5
    for name in ("channel", "start", "end", "level", "expected", "speech", "final"):
        wanted = [None if pd.isna(value) else value for value in table[name]]
        given = [row[name] for row in found["rows"]]
        if name == "expected":
            np.testing.assert_allclose(np.array(given, float), table[name], rtol=0, atol=1e-6)
        else:
            assert given == wanted
    probabilities = np.array([row["probabilities"] for row in found["rows"]], float)
    wanted = table[["p(-1)", "p(0)", "p(1)"]].to_numpy(float)
    np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "rate", "options"),
    [("s16le", 16000, {}), ("f32le", 16000, {"window": 2, "step": 0.5}), ("s16le", 48000, {})],
)
def test_streams(service, fitted, spoken, form, rate, options):
    samples = spoken if rate == 16000 else soxr.resample(spoken, 16000, rate)
    if form == "f32le":
        samples = samples.astype("<f4") / 32768
    stream = StreamingSentiment(fitted, sample_rate=rate, **options)
    expected = [event_as_dict(each) for each in stream.push(samples) + stream.finish()]
    rng = np.random.default_rng(0)
    with service.socket() as socket:
        socket.send(hello(sample_rate=rate, format=form, **options))
        assert json.loads(socket.recv()) == {"type": "ready", "levels": [-1, 0, 1]}
        content = samples.tobytes()
        while content:  # also halves of samples
            n = int(np.exp(rng.uniform(0, np.log(300_000))))
            socket.send(content[:n])
            content = content[n:]
        socket.send('{"type": "finish"}')
        found, code = messages(socket)
    assert found.pop() == {"type": "end"} and code == 1000
    assert_same_events(found, expected)
    assert sum(each.get("final", False) for each in found) >= 8


def test_a_half_of_a_sample_at_the_end(service):
    with service.socket() as socket:
        socket.send(hello())
        socket.send(bytes(3201))
        socket.send('{"type": "finish"}')
        assert messages(socket)[0][1:] == [{"type": "end"}]


def test_model_and_documents(service, bundle):
    model = service.get("/v1/model").json()
    assert model["name"] == "quick" and model["predicts"] == "level"
    assert model["levels"] == [-1, 0, 1] and model["sample_rate"] == 16000
    assert "# A model of sklearn-speechsent" in model["card"]
    limits = {"max_bytes": 25_000_000, "max_seconds": 600.0, "max_streams": 8}
    assert model["limits"] == limits and model["token_required"] is False
    assert service.get("/healthz").status_code == service.get("/readyz").status_code == 200
    schema = service.get("/openapi.json").json()
    assert set(schema["paths"]["/v1/score"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
    }
    docs = service.get("/docs").text
    assert "WS /v1/stream" in docs and "/v1/timeline" in docs
    assert not re.search("https?://", docs)  # nothing is loaded from elsewhere


def test_page(service):
    """Files of the page, and no others, with a policy that lets nothing in from elsewhere."""
    folder = Path(sklearn_speechsent.serve.__file__).parent / "page"
    for path in folder.glob("*"):
        answer = service.get(f"/page/{path.name}")
        assert answer.status_code == 200 and answer.content == path.read_bytes()
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["content-type"].split(";")[0] in (
            "text/html",
            "text/css",
            "text/javascript",
            "image/svg+xml",
        )
    for name in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "app.py", ".", "a\0"):
        answer = service.get(f"/page/{name}".replace("\0", "%00"))
        assert answer.status_code == 404 and "import" not in answer.text


def test_metrics(service, spoken):
    for _ in range(2):
        service.post("/v1/score", b"no sound")
    with service.socket() as socket:
        socket.send(hello())
        socket.recv()
        text = service.get("/metrics").text
    assert 'speechsent_requests_total{path="/v1/score",status="415"} 2' in text
    assert 'speechsent_errors_total{code="not_audio"} 2' in text
    assert "speechsent_streams 1" in text and "speechsent_workers_ready 2" in text
    assert re.search(r'request_seconds_bucket\{path="/v1/score",le="\+Inf"\} [1-9]', text)
    for line in text.splitlines():  # the grammar of Prometheus
        pattern = r'# TYPE \w+ \w+|\w+(\{\w+="[^"\\]*"(,\w+="[^"\\]*")*\})? [0-9.e+-]+'
        assert re.fullmatch(pattern, line), line


def test_nothing_of_it_is_needed_elsewhere():
    code = (
        "import sys, sklearn_speechsent, sklearn_speechsent.cli.app;"
        "found = {'fastapi', 'uvicorn', 'starlette', 'websockets', 'torch'} & set(sys.modules);"
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
