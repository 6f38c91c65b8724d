"""Web server on this machine with the faults of real ones."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sklearn_speechsent.utils import resuming


class FaultyServer(ThreadingHTTPServer):
    """Serves ``content`` under every path; ``fault`` names what goes wrong.

    ``requests`` lists the path and the Range header of each request.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.fault = None
        self.requests = []

    def url(self, path="/weights"):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def ranges(self):
        return [header for _, header in self.requests]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, content = self.server, self.server.content
        header = self.headers.get("Range")
        server.requests.append((self.path, header))
        assert self.headers.get("Accept-Encoding") == "identity"
        fault = server.fault
        if self.path.strip("/").isdigit():
            fault = int(self.path.strip("/"))
        if isinstance(fault, int):
            self.send_response(fault)
            self.end_headers()
            return
        start = int(header[6:-1]) if header and fault != "no ranges" else 0
        if start >= len(content):
            self.send_response(416)
            if fault != "mute 416":
                self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        shift = 1 if fault == "another range" else 0
        body = content[start - shift if start else 0 :]
        if header and fault != "no ranges":
            self.send_response(206)
            value = f"bytes {start - shift}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", value)
        else:
            self.send_response(200)
        excess = {"too long": 7, "too short": -7}.get(fault, 0)
        if fault != "no length":
            self.send_header("Content-Length", str(len(body) + excess))
        self.end_headers()
        if fault in ("cut once", "always cut"):
            body = body[: len(body) // 2]
            if fault == "cut once":
                server.fault = None
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep the output of tests clean."""


@contextlib.contextmanager
def serving(content, monkeypatch):
    """Run the server; attempts to download from it follow each other without pauses."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(resuming, "PAUSE", 0)
    server = FaultyServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
