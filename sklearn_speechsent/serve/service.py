"""The service from its start to its end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sklearn_speechsent.serve.app import make_app
from sklearn_speechsent.serve.metrics import Metrics
from sklearn_speechsent.serve.pool import Pool
from sklearn_speechsent.serve.settings import Settings

#: Largest message of a stream, in bytes.
_MESSAGE = 2**20
#: Seconds that clients get to close their streams, and requests to be answered, at the end.
_CLOSING, _ANSWERING = 3.0, 10
#: Connections next to those that do something.
_MORE = 64


class _Server(uvicorn.Server):
    """Server that closes streams before connections, so that their clients are told."""

    def __init__(self, config: uvicorn.Config, pool: Pool) -> None:
        super().__init__(config)
        self._pool = pool

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        name = self._pool.description["name"]
        print(f"Serving {name} at http://{address}; Ctrl-C ends.", file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._pool.close()
        for _ in range(round(_CLOSING / 0.05)):
            there = self.server_state.connections
            if not any(isinstance(each, WebSocketsSansIOProtocol) for each in there):
                break
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        # Before the signal that ends the service is raised again, which ends this process.
        await asyncio.to_thread(self._pool.end)


def _bound(settings: Settings) -> socket.socket:
    """Socket that nobody can connect to before the model is loaded."""
    family, kind, _, _, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM
    )[0]
    bound = socket.socket(family, kind)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise OSError(
            f"{settings.host}:{settings.port} cannot be listened at: {error.strerror}. Choose "
            "another --port."
        ) from error
    return bound


def run(model: str, settings: Settings) -> None:
    """Serve a model until a signal ends it.

    Parameters
    ----------
    model : str
        Bundle by path or name.
    settings : Settings

    Raises
    ------
    OSError
        If its address is taken.
    ValueError
        If the model cannot be loaded.
    """
    pool, metrics = Pool(model, settings), Metrics()
    bound = _bound(settings)
    try:
        pool.start()
        connections = settings.max_streams + settings.queue + settings.workers + _MORE
        config = uvicorn.Config(
            make_app(pool, metrics),
            http="h11",
            ws=WebSocketsSansIOProtocol,
            ws_max_size=_MESSAGE,
            ws_ping_timeout=60.0,  # an answer comes behind the samples that wait
            ws_per_message_deflate=False,  # a small message could be a large one
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=connections,
            timeout_graceful_shutdown=_ANSWERING,
        )
        _Server(config, pool).run(sockets=[bound])
    finally:
        bound.close()
        pool.end()
