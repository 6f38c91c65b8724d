"""Services, whole or of a pool that others use too, and clients of them."""

import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from copy import copy
from dataclasses import replace

import httpx
import numpy as np
import psutil
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sklearn_speechsent.serve.app import make_app
from sklearn_speechsent.serve.metrics import Metrics

#: Without certificates, which take longer to read than most answers take.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Client:
    """Asks the service at an address."""

    def __init__(self, address):
        self.address = address

    def get(self, path, **options):
        url = f"http://{self.address}{path}"
        return httpx.get(url, timeout=60, verify=NO_TLS, **options)

    def post(self, path, content=None, *, headers=None, **options):
        """Answer to an upload of the content of a file, or to what else httpx sends."""
        if content is not None:
            options["files"] = {"file": ("any name.wav", content)}
        url = f"http://{self.address}{path}"
        return httpx.post(url, timeout=60, headers=headers, verify=NO_TLS, **options)

    def socket(self, path="/v1/stream", **options):
        return connect(f"ws://{self.address}{path}", open_timeout=60, **options)


class Service(Client):
    """A service that runs, in a folder where it should write nothing."""

    def __init__(self, process, address, folder):
        super().__init__(address)
        self.process = psutil.Process(process.pid)
        self.folder = folder

    def processes(self, niceness=None):
        """The processes that hold the model; those of uploads have another niceness."""
        mine = self.process.nice()
        found = [p for p in self.process.children() if p.memory_info().rss > 2**27]
        return [p for p in found if niceness is None or p.nice() - mine == niceness]

    def written(self):
        """Files in the only folders that it knows."""
        return sorted(p.name for p in self.folder.rglob("*") if p.is_file())


@contextmanager
def running(bundle, folder, *options, log=None):
    """A service with one process of each kind."""
    environment = os.environ | {"TMPDIR": str(folder), "HOME": str(folder)}
    environment.pop("SPEECHSENT_TOKEN", None)
    command = [sys.executable, "-m", "sklearn_speechsent.cli", "serve", str(bundle)]
    command += ["--port", "0", "--workers", "1", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=folder, env=environment)
    try:
        line = process.stderr.readline().decode()
        found = re.search(r"at http://(\S+);", line)
        assert found, line + process.stderr.read().decode()
        yield Service(process, found[1], folder)
    finally:
        process.terminate()
        said = process.communicate(timeout=60)[1].decode()
        if log is not None:
            log.append(said)


@contextmanager
def listening(pool, **settings):
    """Address of a service in a thread, with other settings, of a pool that others use too."""
    pool = copy(pool)
    pool.settings = replace(pool.settings, **settings)
    config = uvicorn.Config(make_app(pool, Metrics()), port=0, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.02)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def wait_for(condition):
    """Wait until something holds, on a busy machine too."""
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def hello(**options):
    return json.dumps({"sample_rate": 16000, "format": "s16le", **options})


def messages(socket):
    """All messages up to the end, and the code with which the socket is closed."""
    found = []
    try:
        while True:
            found.append(json.loads(socket.recv(timeout=60)))
    except ConnectionClosed as closed:
        return found, closed.rcvd.code if closed.rcvd else None


def assert_same_events(found, expected, *, finals_only=False):
    """The same events: numbers of networks to 1e-5, all others exactly."""
    if finals_only:
        found, expected = (
            [each for each in events if each.get("final", True)] for events in (found, expected)
        )
    assert [each["type"] for each in found] == [each["type"] for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if name in ("expected", "probabilities") and value is not None:
                wanted = np.array(other[name], float)
                np.testing.assert_allclose(np.array(value, float), wanted, rtol=0, atol=1e-5)
            else:
                assert value == other[name], name
