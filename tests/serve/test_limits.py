"""Limits, refusals, and what hostile clients send: the service answers the next one."""

import base64
import contextlib
import io
import json
import random
import re
import socket as sockets
import time

import httpx
import numpy as np
import pytest
import soundfile
from served import hello, messages, running, wait_for
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import Opcode

TOKEN = "a secret of this test"
KNOWN = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    """1 MB, 30 s, 2 streams, 3 requests at a time; and nothing was lost when all is over."""
    folder, log = tmp_path_factory.mktemp("served"), []
    options = ["--max-mb", 1, "--max-seconds", 30, "--max-streams", 2, "--queue", 2]
    with running(bundle, folder, *options, "--token", TOKEN, log=log) as service:
        yield service
        assert service.written() == []
    assert "Traceback" not in log[0], log[0]


@pytest.fixture(scope="module")
def wav(spoken):
    file = io.BytesIO()
    soundfile.write(file, spoken[:32000], 16000, format="WAV")
    return file.getvalue()


@pytest.fixture(autouse=True)
def answers_the_next_one(request):
    """After each test the service answers as before."""
    service, wav = map(request.getfixturevalue, ("service", "wav"))
    yield
    assert service.get("/readyz").status_code == 200
    assert service.post("/v1/score", wav, headers=KNOWN).json()["level"] in (-1, 0, 1)


def assert_refused(answer, status, code):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code and error["message"]
    assert not re.search(r"/\w+/|\.py|Traceback|0x[0-9a-f]{6}|File \"", answer.text)


def test_token(service, wav):
    assert service.get("/v1/model").json()["token_required"] is True
    wrong = [None, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}]
    for headers in [*wrong, {"authorization": "Bearer \xe9".encode("latin-1")}]:
        answer = service.post("/v1/score", wav, headers=headers)
        assert_refused(answer, 401, "no_token")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert service.get("/metrics").status_code == 401
    assert service.get("/metrics", headers=KNOWN).status_code == 200


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": b"no sound"}, 415, "not_audio"),
        ({"content": b"RIFF\0\0\0\0WAVE"}, 415, "not_audio"),
        ({"content": b""}, 422, "empty"),
        ({"data": {"file": "text"}}, 415, "bad_type"),
        ({"files": {"other": b"x"}}, 400, "no_file"),
        ({"files": [("file", b"x"), ("file", b"y")]}, 400, "bad_form"),
        ({"headers": {"content-type": "multipart/form-data"}, "data": b"x"}, 400, "bad_form"),
        ({"json": {"audio": "%%%"}}, 400, "bad_json"),
        ({"json": {"audio": 5}}, 400, "bad_json"),
        ({"json": ["audio"]}, 400, "bad_json"),
        ({"headers": {"content-type": "application/json"}, "data": b"[" * 99999}, 400, "bad_json"),
        ({"headers": {"content-type": "text/plain"}, "data": b"x"}, 415, "bad_type"),
        ({"json": {"audio": base64.b64encode(bytes(1_000_001)).decode()}}, 413, "too_large"),
        ({"content": bytes(1_000_001)}, 413, "too_large"),
        ({"content": bytes(3_000_000)}, 413, "too_large"),
    ],
)
def test_uploads_that_are_refused(service, options, status, code):
    content = options.pop("content", None)
    headers = KNOWN | options.pop("headers", {})
    if isinstance(options.get("data"), bytes):
        options["content"] = options.pop("data")
        answer = httpx.post(
            f"http://{service.address}/v1/score", headers=headers, timeout=60, **options
        )
    else:
        answer = service.post("/v1/score", content, headers=headers, **options)
    assert_refused(answer, status, code)


def test_recordings_that_cannot_be_used(service, wav):
    cut = wav[:-20000]
    answer = service.post("/v1/score", cut, headers=KNOWN)
    assert_refused(answer, 422, "unusable")
    assert "cut off" in answer.json()["error"]["message"]
    for options, part in (
        ({"step": "x"}, "step must be a number"),
        ({"step": "nan"}, "step=nan"),
        ({"step": 0.01}, "at least 0.25"),
        ({"window": 99}, "window=99"),
        ({"channels": "left"}, "channels='left'"),
    ):
        answer = service.post("/v1/timeline", wav, headers=KNOWN, data=options)
        assert_refused(answer, 422, "bad_option")
        assert part in answer.json()["error"]["message"]
    assert_refused(service.get("/v1/score"), 405, "bad_method")
    assert_refused(service.get("/v2"), 404, "not_found")


def test_a_recording_that_is_too_long(service):
    for form in ("FLAC", "OGG", "MP3"):
        file = io.BytesIO()
        soundfile.write(
            file, np.random.default_rng(0).normal(0, 1e-3, 31 * 8000), 8000, format=form
        )
        answer = service.post("/v1/score", file.getvalue(), headers=KNOWN)
        assert_refused(answer, 413, "too_long")


@pytest.fixture(scope="module")
def bomb():
    """Six hours of silence in less than 1 MB."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(6):
            sound.write(np.zeros(3600 * 8000, np.int16))
    assert len(file.getvalue()) < 1_000_000
    return file.getvalue()


@pytest.mark.parametrize("promised", ["all", "nothing", "a second"])
def test_flac_bomb(service, bomb, promised):
    """It is refused whatever its header promises, and takes no memory."""
    content = bytearray(bomb)
    if promised != "all":
        content[21] &= 0xF0
        content[22:26] = (0 if promised == "nothing" else 8000).to_bytes(4, "big")
    (scorer,) = service.processes(5)
    before = scorer.memory_info().rss
    answer = service.post("/v1/score", bytes(content), headers=KNOWN)
    assert_refused(answer, 413, "too_long")
    assert scorer.memory_info().rss - before < 64e6


@pytest.mark.parametrize("promises", [True, False])
def test_an_upload_of_a_gigabyte(service, promises):
    """It is refused while it comes, and its sender reads why."""
    memory = service.process.memory_info().rss
    sent, answer = 0, b""
    with sockets.create_connection(service.address.split(":")) as client:
        length = "content-length: 1000000000" if promises else "transfer-encoding: chunked"
        head = f"POST /v1/score HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
        head += f"content-type: multipart/form-data; boundary=b\r\n{length}\r\n\r\n"
        client.sendall(head.encode())
        part = b"--b\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\n"
        part += bytes(2**16 - len(part))
        chunk = part if promises else b"%x\r\n%s\r\n" % (len(part), part)
        client.setblocking(False)
        end = time.monotonic() + 60
        with contextlib.suppress(ConnectionError):
            while sent < 1e9 and not answer and time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    sent += client.send(chunk[sent % len(chunk) :])
                with contextlib.suppress(BlockingIOError):
                    answer = client.recv(4096)
            client.settimeout(60)
            while b"}" not in answer and (more := client.recv(4096)):
                answer += more
    assert sent < 1e9
    assert b"HTTP/1.1 413" in answer and b'"too_large"' in answer
    assert service.process.memory_info().rss - memory < 16e6


def test_slow_senders_hold_places_and_no_more(service, wav):
    """All places are taken by uploads that do not come; those who vanish give theirs back."""
    head = f"POST /v1/score HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
    head += "content-type: application/json\r\ncontent-length: 500\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(sockets.create_connection(service.address.split(":")))
            for _ in range(3)
        ]
        for client in slow:
            client.sendall(head.encode())
        wait_for(lambda: "speechsent_queue 3" in service.get("/metrics", headers=KNOWN).text)
        answer = service.post("/v1/score", wav, headers=KNOWN)
        assert_refused(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) > 0
        assert service.get("/healthz").status_code == 200
        slow[0].sendall(b'"audio": ')
    wait_for(lambda: "speechsent_queue 0" in service.get("/metrics", headers=KNOWN).text)


def ended(service, *sent, **options):
    """Last message and code of a stream to which this was sent."""
    with service.socket(**options) as socket:
        with contextlib.suppress(WebSocketException):
            for each in sent:
                socket.send(each)
        found, code = messages(socket)
    return (found[-1].get("code") if found else None), code


KNOWN_HELLO = hello(token=TOKEN)


@pytest.mark.parametrize(
    ("sent", "code", "close"),
    [
        (["no JSON"], "bad_message", 1003),
        (["[1]"], "bad_message", 1003),
        (["[" * 9999], "bad_message", 1003),
        ([b"\0\0"], "bad_message", 1003),
        ([hello()], "no_token", 1008),
        ([hello(token="\ud800")], "no_token", 1008),
        ([hello(token=5)], "no_token", 1008),
        ([hello(token=TOKEN, format="mp3")], "bad_hello", 1008),
        ([hello(token=TOKEN, format=[])], "bad_hello", 1008),
        ([hello(token=TOKEN, sample_rate="16000")], "bad_hello", 1008),
        ([hello(token=TOKEN, sample_rate=10)], "bad_hello", 1008),
        ([hello(token=TOKEN, window="long")], "bad_hello", 1008),
        ([hello(token=TOKEN, step=0.01)], "bad_hello", 1008),
        ([KNOWN_HELLO, "{}"], "bad_message", 1003),
        ([hello(token=TOKEN, format="f32le"), b"\xff" * 400], "bad_samples", 1003),
    ],
)
def test_streams_that_are_refused(service, sent, code, close):
    assert ended(service, *sent) == (code, close)


def test_message_that_is_too_long(service):
    """It is refused by its announced length. With its payload on the way the close may be lost."""
    head = bytes([0x80 | Opcode.BINARY, 0x80 | 127]) + (2**21).to_bytes(8) + bytes(4)
    with service.socket() as socket:
        socket.send(KNOWN_HELLO)
        assert json.loads(socket.recv())["type"] == "ready"
        socket.socket.sendall(head)
        assert messages(socket) == ([], 1009)


def test_samples_after_finish(service):
    """They are refused, unless the end comes first."""
    found = ended(service, KNOWN_HELLO, '{"type": "finish"}', b"\0\0")
    assert found in [("bad_message", 1003), (None, 1000)]


def test_too_many_streams(service):
    with service.socket() as one, service.socket() as other:
        for each in (one, other):
            each.send(KNOWN_HELLO)
            assert json.loads(each.recv())["type"] == "ready"
        assert ended(service, KNOWN_HELLO) == ("too_many_streams", 1013)
    wait_for(lambda: "speechsent_streams 0" in service.get("/metrics", headers=KNOWN).text)
    with service.socket() as again:
        again.send(KNOWN_HELLO)
        assert json.loads(again.recv())["type"] == "ready"


def test_pages_of_other_sites(service, wav):
    for origin in ("https://evil.example", "null", "http://[::1", f"https://{service.address}.x"):
        with pytest.raises(InvalidStatus, match="403"), service.socket(origin=origin):
            pass
    with service.socket(origin=f"http://{service.address}") as socket:
        socket.send(KNOWN_HELLO)
        assert json.loads(socket.recv())["type"] == "ready"
    evil = {"origin": "https://evil.example"}
    assert "access-control-allow-origin" not in service.get("/v1/model", headers=evil).headers
    assert_refused(service.post("/v1/score", wav, headers=KNOWN | evil), 403, "other_site")


def malformed(rng):
    """A request as nobody should write it."""
    line = rng.choice([b"GET", b"POST", b"PUT", b"\0", b"POST " * 99]) + b" "
    line += rng.choice([b"/v1/score", b"/v1/timeline", b"/v1/stream", b"/%ff", b"", b"/" * 9999])
    line += rng.choice([b" HTTP/1.1\r\n", b" HTTP/9\r\n", b"\r\n", b"\n\n"])
    kinds = [
        b"multipart/form-data; boundary=b",
        b"multipart/form-data; boundary=" + b"x" * 300,
        b"multipart/form-data",
        b"application/json",
        b"\xff",
    ]
    known = f"host: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: ".encode()
    part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="\xff../x"\r\n\r\nx\r\n'
    body = rng.choice(
        [b"", part, part + b"--b--\r\n", b"--b\r\n\r\n", b'{"audio": "', b"{}", rng.randbytes(300)]
    )
    length = rng.choice([len(body), len(body) + 9, -1, "x", 10**30])
    rest = known + rng.choice(kinds) + f"\r\ncontent-length: {length}\r\n".encode()
    rest += rng.choice([b"\r\n", b"expect: 100-continue\r\n\r\n", b"a" * 70000, b": \r\n\r\n"])
    request = bytearray(line + rest + body)
    for _ in range(rng.choice([0, 0, 1, 5])):
        request[rng.randrange(len(request))] = rng.randrange(256)
    return bytes(request)


def used(service):
    """Open files of all processes, and bytes of memory of the one that talks to clients."""
    processes = [service.process, *service.processes()]
    return [each.num_fds() for each in processes], service.process.memory_info().rss


def test_a_thousand_malformed_requests(service):
    rng = random.Random(0)
    host, port = service.address.split(":")

    def send(request):
        with contextlib.suppress(ConnectionError):
            with sockets.create_connection((host, port), timeout=60) as client:
                client.sendall(request)
                client.shutdown(sockets.SHUT_WR)
                answer = b""
                while part := client.recv(2**16):
                    answer += part
                assert not re.search(rb"/work|\.py|Traceback", answer)
                return re.search(rb"^HTTP/1.1 (\d+)", answer)
        return None

    for _ in range(100):  # what is imported and allocated once
        send(malformed(rng))
    files, memory = used(service)
    statuses = {found[1] for _ in range(1000) if (found := send(malformed(rng)))}
    assert {b"400", b"404", b"415"} <= statuses and not statuses & {b"200", b"500"}
    wait_for(lambda: used(service)[0] == files)
    assert used(service)[1] - memory < 16e6
    assert "speechsent_queue 0" in service.get("/metrics", headers=KNOWN).text


def test_garbage_on_sockets_and_clients_that_vanish(service):
    rng = random.Random(0)
    files, _ = used(service)
    for k in range(60):
        garbage = rng.randbytes(rng.randrange(1, 3000))
        with service.socket() as socket, contextlib.suppress(WebSocketException, OSError):
            if k % 2:
                socket.send(KNOWN_HELLO)
            if k % 3 == 0:
                socket.socket.sendall(garbage)  # no frames
            else:
                socket.send(garbage)
            # No close, as where the network breaks.
            socket.socket.shutdown(sockets.SHUT_RDWR)
    wait_for(lambda: "speechsent_streams 0" in service.get("/metrics", headers=KNOWN).text)
    wait_for(lambda: used(service)[0] == files)
