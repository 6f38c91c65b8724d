"""Stand-in for the Hugging Face hub: repositories in memory, over the addresses of the real one."""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class HubServer(ThreadingHTTPServer):
    """Holds ``repositories``: of each name its commits, as pairs of a hash and files by name.

    ``requests`` lists method and path of each request; ``writers`` are the tokens that may write.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {}
        self.requests = []
        self.writers = ("hf_writer",)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, name, files):
        """Add files to a repository; gives the hash of the commit."""
        commits = self.repositories.setdefault(name, [])
        files = {**(commits[-1][1] if commits else {}), **files}
        content = repr((len(commits), sorted(files.items()))).encode()
        commits.append((hashlib.sha1(content).hexdigest(), files))
        return commits[-1][0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self._parts()
        if parts[:2] == ["api", "models"]:
            found = self._found("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
            if found is None:
                return
            sha, files = found
            if parts[4] == "tree":
                entries = [
                    {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                    for name, content in files.items()
                ]
                self._json(entries)
            else:
                self._json({"id": "/".join(parts[2:4]), "sha": sha, "siblings": []})
        else:  # /owner/name/resolve/revision/file
            found = self._found("/".join(parts[:2]), parts[3])
            if found is None:
                return
            sha, files = found
            if parts[4] not in files:
                self._refuse(404, "EntryNotFound", sha)
                return
            content = files[parts[4]]
            headers = {"X-Repo-Commit": sha, "ETag": f'"{_etag(content)}"'}
            self._answer(200, content, "application/octet-stream", headers)

    def do_POST(self):
        parts = self._parts()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in (
            self.server.writers
        ):
            self._refuse(401, "")
        elif parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.server.repositories
            self.server.repositories.setdefault(name, [])
            self._json({"url": f"{self.server.url}/{name}"}, 409 if known else 200)
        elif parts[4] == "preupload":
            asked = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": file["path"], **modes} for file in asked]})
        else:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            name = "/".join(parts[2:4])
            sha = self.server.commit(name, files)
            url = f"{self.server.url}/{name}/commit/{sha}"
            self._json({"success": True, "commitOid": sha, "commitUrl": url})

    def _parts(self):
        path = urlsplit(self.path).path
        self.server.requests.append((self.command, path))
        return [unquote(part) for part in path.strip("/").split("/")]

    def _found(self, name, revision):
        """Commit of a revision, or an answer that there is none."""
        commits = self.server.repositories.get(name)
        if commits is None:
            self._refuse(404, "RepoNotFound")
        elif not commits or revision not in ("main", *dict(commits)):
            self._refuse(404, "RevisionNotFound")
        else:
            return commits[-1] if revision == "main" else (revision, dict(commits)[revision])
        return None

    def _refuse(self, status, code, sha=""):
        self._answer(
            status, b"{}", "application/json", {"X-Error-Code": code, "X-Repo-Commit": sha}
        )

    def _json(self, value, status=200):
        self._answer(status, json.dumps(value).encode(), "application/json", {})

    def _answer(self, status, content, kind, headers):
        self.send_response(status)
        for name, value in {
            **headers,
            "Content-Type": kind,
            "Content-Length": str(len(content)),
        }.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        """Keep the output of tests clean."""


def _etag(content):
    return hashlib.sha1(content).hexdigest()


@contextlib.contextmanager
def serving():
    """Run the server."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
