"""Routes of the service."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sklearn_speechsent._version import __version__
from sklearn_speechsent.serve.errors import Refusal
from sklearn_speechsent.serve.metrics import Metrics
from sklearn_speechsent.serve.pool import Pool
from sklearn_speechsent.serve.settings import Settings
from sklearn_speechsent.serve.stream import Conversation
from sklearn_speechsent.serve.uploads import received

#: Sockets that may say hello, next to those with a stream.
_MORE_SOCKETS = 64
#: Seconds for which what still comes is dropped after an answer.
_LINGER = 2.0
_PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
#: Nothing of a page comes from elsewhere, and no other page shows it in a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "permissions-policy": "microphone=(self)",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_RECORDING = {"type": "string", "format": "binary", "description": "wav, flac, ogg, mp3; webm, m4a"}
_OPTIONS = {
    "window": {"type": "number", "default": 5.0, "description": "Seconds of the windows."},
    "step": {"type": "number", "default": 1.0, "description": "Seconds between windows."},
    "channels": {"type": "string", "enum": ["mix", "separate"], "default": "mix"},
}
_ABOUT = """Sentiment from the voice alone. Nothing that is sent is stored.

Live: `WS /v1/stream`. Send a text message
`{"sample_rate": 48000, "format": "s16le" or "f32le", "window": 5, "step": 1, "token": "..."}` (the
last three may be left out), get `{"type": "ready", "levels": [...]}`, send the samples of one
channel in binary messages of any length, and get events: `SpeechStart`, `Score`, `SpeechEnd`. Then
send `{"type": "finish"}`, and get the last events and `{"type": "end"}`. What goes wrong is said as
`{"type": "error", "code": "...", "message": "..."}`.
"""


def make_app(pool: Pool, metrics: Metrics) -> FastAPI:
    """Application of a pool that was started.

    Parameters
    ----------
    pool : Pool
    metrics : Metrics

    Returns
    -------
    FastAPI
    """
    settings = pool.settings
    app = FastAPI(
        title="speechsent",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # FastAPI's own loads its scripts from elsewhere
        redoc_url=None,
    )
    pages = {path.name: path for path in sorted(_PAGE.glob("*")) if path.suffix in _TYPES}

    n_sockets = 0

    def page(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404)
        path = pages[name]
        return Response(path.read_bytes(), media_type=_TYPES[path.suffix])

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return page("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        return page(name)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_docs(app.openapi()))

    @app.get("/v1/model", summary="The model, its card, and the limits of the service")
    async def model() -> dict[str, Any]:
        limits = {
            "max_bytes": settings.max_bytes,
            "max_seconds": settings.max_seconds,
            "max_streams": settings.max_streams,
        }
        return pool.description | {"limits": limits, "token_required": bool(settings.token)}

    @app.post("/v1/score", summary="Score a recording as a whole", openapi_extra=_body({}))
    async def score(request: Request) -> Response:
        _check_allowed(request, settings)
        with pool.place() as jobs:
            content, _ = await received(request, settings.max_bytes)
            answer = await jobs.ask("score", content)
        return Response(answer, media_type="application/json")

    @app.post("/v1/timeline", summary="Follow a recording", openapi_extra=_body(_OPTIONS))
    async def timeline(request: Request) -> Response:
        _check_allowed(request, settings)
        with pool.place() as jobs:
            content, options = await received(request, settings.max_bytes)
            answer = await jobs.ask("timeline", content, options)
        return Response(answer, media_type="application/json")

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        nonlocal n_sockets
        code = "" if _same_site(socket, settings) else "other_site"
        if n_sockets >= settings.max_streams + _MORE_SOCKETS:
            code = "too_many_sockets"
        if code:
            metrics.count("errors_total", code=code)
            await socket.close(1008)  # before it is accepted: status 403
            return
        n_sockets += 1
        try:
            await Conversation(socket, pool, metrics).follow()
        finally:
            n_sockets -= 1

    @app.get("/healthz", summary="Whether the service runs")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether the service takes requests")
    async def readyz() -> Response:
        status = "ready" if pool.ready else "not ready"
        return JSONResponse({"status": status}, 200 if pool.ready else 503)

    @app.get("/metrics", summary="Counters, as Prometheus reads them")
    async def show_metrics(request: Request) -> Response:
        _check_allowed(request, settings)
        gauges = {
            "queue": pool.n_waiting,
            "streams": pool.n_streams,
            "workers_ready": sum(worker.ready for worker in pool.workers),
            "worker_restarts": sum(worker.restarts for worker in pool.workers),
        }
        return PlainTextResponse(metrics.text(gauges) + "\n")

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        metrics.count("errors_total", code=refusal.code)
        headers = {"retry-after": "5"} if refusal.status == 503 else {}
        if refusal.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(refusal.content(), refusal.status, headers)

    @app.exception_handler(HTTPException)
    async def wrong_place(request: Request, error: HTTPException) -> Response:
        messages = {404: ("not_found", "There is nothing here."), 405: ("bad_method", "Not so.")}
        code, message = messages.get(error.status_code, ("bad_request", "That cannot be read."))
        return await refused(request, Refusal(error.status_code, code, message))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return await refused(request, Refusal(500, "failed", "The service failed."))

    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(_Watched, metrics=metrics)
    return app


def _check_allowed(request: Request, settings: Settings) -> None:
    if not _same_site(request, settings):
        raise Refusal(403, "other_site", "Pages of other sites may not ask; --cors allows one.")
    if not settings.token:
        return
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    known = hmac.compare_digest(given.strip().encode(errors="replace"), settings.token.encode())
    if kind.lower() != "bearer" or not known:
        raise Refusal(401, "no_token", "Send the header Authorization: Bearer, and the token.")


def _same_site(asking: HTTPConnection, settings: Settings) -> bool:
    """Whether a page of this service asks, or no page.

    Browsers let any page open a socket, and send a form, anywhere.
    """
    origin = asking.headers.get("origin")
    if origin is None or origin in settings.origins or "*" in settings.origins:
        return True
    try:
        return urlsplit(origin).netloc == asking.headers.get("host")
    except ValueError:
        return False


def _body(options: dict[str, Any]) -> dict[str, Any]:
    """Body of a request, for OpenAPI."""
    form = {"file": _RECORDING, **options}
    text = {"audio": {"type": "string", "contentEncoding": "base64"}, **options}
    kinds = {"multipart/form-data": (form, "file"), "application/json": (text, "audio")}
    content = {
        kind: {"schema": {"type": "object", "properties": fields, "required": [needed]}}
        for kind, (fields, needed) in kinds.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def _docs(schema: dict[str, Any]) -> str:
    """Page of what can be asked."""
    rows = [
        f"<dt><code>{method.upper()} {html.escape(path)}</code><dd>{html.escape(each['summary'])}"
        for path, methods in schema["paths"].items()
        for method, each in methods.items()
    ]
    about = html.escape(schema["info"]["description"])
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>speechsent</title>"
        f"<h1>speechsent {html.escape(schema['info']['version'])}</h1><pre>{about}</pre>"
        f"<dl>{''.join(rows)}</dl><p>All of it: <a href=openapi.json>openapi.json</a></html>"
    )


class _Watched:
    """Middleware that counts requests, and says what browsers may do with answers.

    Where an answer comes before the end of a request, what still comes is dropped for a moment: a
    connection that is closed at once takes the answer with it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, whole = time.monotonic(), 0, False

        async def came() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                more = ((k.encode(), v.encode()) for k, v in _HEADERS.items())
                message["headers"] = [
                    *message["headers"],
                    *(each for each in more if each[0] not in given),
                ]
                if not whole and scope["method"] not in ("GET", "HEAD"):
                    message["headers"].append((b"connection", b"close"))
            elif not whole and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER):
                        while not whole:
                            await came()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self._app(scope, came, sent)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.count("requests_total", path=path, status=str(status or 500))
            self._metrics.took(path, time.monotonic() - start)
