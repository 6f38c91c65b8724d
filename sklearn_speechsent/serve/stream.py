"""Conversation with a client that sends samples while somebody speaks."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sklearn_speechsent.serve.desk import FORMATS
from sklearn_speechsent.serve.errors import Refusal
from sklearn_speechsent.serve.metrics import Metrics
from sklearn_speechsent.serve.pool import Pool

#: Seconds in which the hello comes, and in which something comes afterwards.
_HELLO, _IDLE = 10.0, 60.0
#: Seconds of samples that are scored at a time: other streams of the process have their turn then.
_TURN = 1.0
#: Seconds that a stream may be behind before provisional scores are left out.
_LATE = 2.0
#: Bytes that wait before no more are received.
_WAITING = 2**21


class Backlog:
    """Samples that came and were not scored yet.

    How late they are counts from when they were spoken: who sends a file at once, faster than
    anybody speaks, waits for nothing.

    Parameters
    ----------
    rate : int
        Samples per second.
    width : int
        Bytes of a sample.

    Examples
    --------
    >>> backlog = Backlog(rate=10, width=2)
    >>> backlog.add(bytes(41), now=5.0)  # two seconds, and a half of a sample
    >>> backlog.late(now=5.5), backlog.late(now=10.0)
    (0.0, 4.0)
    >>> len(backlog.take()), len(backlog.take()), len(backlog.take())
    (20, 20, 0)
    """

    def __init__(self, rate: int, width: int) -> None:
        self._rate = rate * width
        self._width = width
        self._turn = max(1, int(rate * _TURN)) * width
        self._bytes = bytearray()
        self._spoken: float | None = None

    def __len__(self) -> int:
        return len(self._bytes)

    def add(self, content: bytes, now: float) -> None:
        """Take what came.

        Parameters
        ----------
        content : bytes
        now : float
            Time in seconds.
        """
        self._bytes += content
        # The last of it was spoken now, or will be: nobody speaks faster than the clock.
        spoken = now if self._spoken is None else self._spoken
        self._spoken = max(now, spoken + len(content) / self._rate)

    def late(self, now: float) -> float:
        """Seconds since the end of what :meth:`take` gives next was spoken.

        Parameters
        ----------
        now : float

        Returns
        -------
        float
        """
        if self._spoken is None:
            return 0.0
        after = max(0, len(self._bytes) - self._turn)
        return round(max(0.0, now - self._spoken + after / self._rate), 6)

    def take(self) -> bytes:
        """Whole samples of a turn.

        Returns
        -------
        bytes
        """
        n = min(self._turn, len(self._bytes) // self._width * self._width)
        content = bytes(self._bytes[:n])
        del self._bytes[:n]
        return content


class Conversation:
    """One client.

    Parameters
    ----------
    socket : WebSocket
    pool : Pool
    metrics : Metrics
    """

    def __init__(self, socket: WebSocket, pool: Pool, metrics: Metrics) -> None:
        self._socket = socket
        self._pool = pool
        self._metrics = metrics
        self._change = asyncio.Event()
        self._finish = False

    async def follow(self) -> None:
        """Say hello, answer samples with events, and close."""
        await self._socket.accept()
        try:
            await self._converse()
            code = 1000
        except WebSocketDisconnect:
            return
        except Refusal as refusal:
            self._metrics.count("errors_total", code=refusal.code)
            await self._send({"type": "error"} | refusal.content()["error"])
            code = refusal.close
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code)

    async def _converse(self) -> None:
        hello = await self._hello()
        with self._pool.stream() as (jobs, number, lost):
            levels = await jobs.ask("open", number, hello)
            await self._send({"type": "ready", "levels": levels})
            backlog = Backlog(hello["sample_rate"], int(FORMATS[hello["format"]][-1]))
            tasks = [
                asyncio.ensure_future(each)
                for each in (self._listen(backlog), self._answer(backlog, jobs, number), lost)
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
            await self._send({"type": "end"})

    async def _hello(self) -> dict[str, Any]:
        """The first message, once it is sound and has the token."""
        text = (await self._message(_HELLO)).get("text")
        hello = _object(text)
        token = self._pool.settings.token
        given = str(hello.get("token", "")).encode(errors="replace")
        if token and not hmac.compare_digest(given, token.encode()):
            raise Refusal(401, "no_token", "The token is missing or wrong.")
        rate = hello.get("sample_rate")
        if type(rate) is not int or not 1000 <= rate <= 1_000_000:
            raise Refusal(422, "bad_hello", "sample_rate must be a whole number of Hz, as 48000.")
        if hello.get("format") not in [*FORMATS]:
            raise Refusal(422, "bad_hello", f"format must be one of {', '.join(FORMATS)}.")
        return hello

    async def _message(self, seconds: float | None) -> Any:
        try:
            async with asyncio.timeout(seconds):
                message = await self._socket.receive()
        except TimeoutError:
            raise Refusal(408, "idle", f"Nothing came for {seconds:g} s.") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return message

    async def _listen(self, backlog: Backlog) -> None:
        """Receive samples, and the word that they are over; ends when the client has gone."""
        while True:
            message = await self._message(None if self._finish else _IDLE)
            content = message.get("bytes")
            if content is None:
                if _object(message.get("text")).get("type") != "finish":
                    raise Refusal(400, "bad_message", 'Send samples, or {"type": "finish"}.', 1003)
                self._finish = True
            elif self._finish:
                raise Refusal(400, "bad_message", "Samples came after finish.", 1003)
            else:
                backlog.add(content, time.monotonic())
            self._change.set()
            while len(backlog) > _WAITING:  # the client's own buffers fill up
                await asyncio.sleep(0.05)

    async def _answer(self, backlog: Backlog, jobs: Any, number: int) -> None:
        """Send events of what came, until it is over."""
        left_out = 0
        while True:
            provisional = backlog.late(time.monotonic()) <= _LATE
            if content := backlog.take():
                events, n = await jobs.ask("push", number, content, provisional)
                self._metrics.count("left_out_total", n - left_out)
                left_out = n
            elif self._finish:
                events = await jobs.ask("finish", number)
            else:
                self._change.clear()
                await self._change.wait()
                continue
            for event in events:
                await self._socket.send_text(event)
            if not content:
                return

    async def _send(self, value: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            if self._socket.application_state is WebSocketState.CONNECTED:
                await self._socket.send_text(json.dumps(value, ensure_ascii=False))


def _object(text: str | None) -> dict[str, Any]:
    """JSON object of a message."""
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal(400, "bad_message", "A text message must be a JSON object.", 1003)
    return value
