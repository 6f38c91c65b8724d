"""Ends: of the service, of its processes, and of streams that are behind."""

import json
import signal
import socket as sockets
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from served import assert_same_events, hello, messages, running, wait_for

from sklearn_speechsent import StreamingSentiment
from sklearn_speechsent.inference.events import event_as_dict


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    with running(bundle, tmp_path_factory.mktemp("served"), "--timeout", "6") as service:
        yield service


@contextmanager
def begun(service, samples=b""):
    with service.socket() as socket:
        socket.send(hello())
        assert json.loads(socket.recv())["type"] == "ready"
        socket.send(samples)
        yield socket


def test_processes_that_end_or_hang(service, speech):
    """They are started again; streams of the one that ended are told, those of others continue."""
    content = Path(speech.data[0]).read_bytes()
    expected = service.post("/v1/score", content).json()
    (scorer,), (follower,) = service.processes(5), service.processes(0)
    with begun(service) as socket:
        scorer.send_signal(signal.SIGSTOP)
        answer = service.post("/v1/score", content)
        assert answer.status_code == 503 and answer.json()["error"]["code"] in (
            "timeout",
            "worker_ended",
        )

        def started_again():
            socket.send(bytes(320))  # on a busy machine it takes longer than a stream may be idle
            if scorer.is_running():
                return False
            return service.get("/readyz").status_code == 200 and service.processes(5)

        wait_for(started_again)
        assert service.post("/v1/score", content).json() == expected
        follower.kill()
        found, code = messages(socket)
        assert found[-1]["code"] == "worker_ended" and code == 1011
    wait_for(lambda: service.get("/readyz").status_code == 200)
    with begun(service) as socket:
        socket.send('{"type": "finish"}')
        assert messages(socket) == ([{"type": "end"}], 1000)


def test_streams_that_are_behind(service, fitted, spoken):
    """A live client hears no provisional scores while its process is behind, and all final ones."""
    (follower,) = service.processes(0)
    stream = StreamingSentiment(fitted)
    expected = [event_as_dict(each) for each in stream.push(spoken) + stream.finish()]
    content = spoken.tobytes()
    live = 32000 * 4
    with begun(service, content[:32000]) as socket:
        follower.suspend()
        for first in range(32000, 32000 + live, 3200):  # 4 s as they are spoken
            socket.send(content[first : first + 3200])
            time.sleep(0.1)
        follower.resume()
        for first in range(32000 + live, len(content), 64000):
            socket.send(content[first : first + 64000])
        socket.send('{"type": "finish"}')
        found, code = messages(socket)
    assert found.pop() == {"type": "end"} and code == 1000
    assert_same_events(found, expected, finals_only=True)
    assert 0 < len(found) < len(expected)
    left_out = len(expected) - len(found)
    assert f"speechsent_left_out_total {left_out}" in service.get("/metrics").text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "which then needs a token: set SPEECHSENT_TOKEN"),
        (["--host", "example.org"], "which then needs a token"),
        (["--max-mb", "0"], "max_mb=0.0 must be more than 0"),
        (["--queue", "-1"], "queue=-1 must not be negative"),
        (["--port", "taken"], "Choose another --port"),
        ([], "There is no bundle"),
    ],
)
def test_services_that_cannot_start(tmp_path, arguments, message):
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = [port if each == "taken" else each for each in arguments]
        if "--port" not in arguments:
            arguments += ["--port", "0"]
        result = subprocess.run(
            [sys.executable, "-m", "sklearn_speechsent.cli", "serve", tmp_path / "no.zip"]
            + [*arguments, "--workers", "1"],
            capture_output=True,
            timeout=120,
        )
    said = result.stderr.decode()
    assert result.returncode == 2 and message in said and "Traceback" not in said


def test_the_end_of_the_service(service, spoken):
    """Streams are told, processes end, and nothing was left on disk. Nothing comes after it."""
    content = spoken[: 16000 * 5].tobytes()
    with ExitStack() as stack:
        streams = [stack.enter_context(begun(service, content)) for _ in range(4)]
        everything = [service.process, *service.process.children()]
        service.process.terminate()
        for socket in streams:
            found, code = messages(socket)
            assert code == 1012 and found[-1]["code"] == "closing"
        assert not psutil.wait_procs(everything, timeout=30)[1]
        assert service.written() == []
