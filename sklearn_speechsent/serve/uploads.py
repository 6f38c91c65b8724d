"""Recordings that clients send: received up to a limit, and never written to disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sklearn_speechsent.serve.errors import Refusal

#: Bytes of a body next to those of its recording.
_AROUND = 2**16
#: Seconds in which a body comes; one that is slower holds a place that others wait for.
_SECONDS = 60.0
_OPTIONS = ("window", "step", "channels")


async def received(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    """Recording and options of a request.

    Parameters
    ----------
    request : Request
        ``multipart/form-data`` with the field ``file``, or JSON with ``audio``, in base64. Options
        are in the query, in fields or in JSON.
    max_bytes : int
        Of the recording.

    Returns
    -------
    content : bytes
    options : dict
        ``window``, ``step`` and ``channels``, as far as they are given.

    Raises
    ------
    Refusal
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    readers = {"multipart/form-data": _form, "application/json": _json}
    if kind not in readers:
        raise Refusal(
            415,
            "bad_type",
            "Send multipart/form-data with the field file, or application/json with audio, the "
            "recording in base64.",
        )
    try:
        async with asyncio.timeout(_SECONDS):
            content, given = await readers[kind](request, max_bytes)
    except TimeoutError:
        raise Refusal(408, "slow_upload", f"The upload took more than {_SECONDS:g} s.") from None
    except ClientDisconnect:
        raise Refusal(400, "gone", "The client has gone.") from None
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    if not content:
        raise Refusal(422, "empty", "The recording is empty.")
    return content, _options({**request.query_params, **given})


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(
        413, "too_large", f"A recording may have {max_bytes / 1e6:g} MB, and this one has more."
    )


async def _body(request: Request, most: int, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Parts of a body, as long as they are not too many."""
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised) > most:
        raise _too_large(max_bytes)
    n = 0
    async for part in request.stream():
        n += len(part)
        if n > most:
            raise _too_large(max_bytes)
        yield part


async def _form(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    body = _body(request, max_bytes + _AROUND, max_bytes)
    parser = MultiPartParser(request.headers, body, max_files=1, max_fields=8, max_part_size=1024)
    parser.spool_max_size = max_bytes + _AROUND  # it would write what is larger to a file
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError) as error:
        what = getattr(error, "message", "it cannot be read")
        raise Refusal(400, "bad_form", f"The form is not as it should be: {what}") from None
    file = form.get("file")
    try:
        if not isinstance(file, UploadFile):
            raise Refusal(400, "no_file", "The form has no field file with a recording.")
        content = await file.read()
    finally:
        await form.close()
    return content, {key: value for key, value in form.items() if key in _OPTIONS}


async def _json(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    body = bytearray()
    async for part in _body(request, max_bytes * 4 // 3 + _AROUND, max_bytes):
        body += part
    try:
        value = json.loads(body)
        content = base64.b64decode(value["audio"], validate=True)
    except (ValueError, RecursionError, KeyError, TypeError, binascii.Error):
        raise Refusal(
            400, "bad_json", 'The body must be JSON: {"audio": "the recording in base64"}.'
        ) from None
    return content, value


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Numbers and words that ``sentiment_timeline`` takes."""
    options: dict[str, Any] = {}
    for name in ("window", "step"):
        if given.get(name) is None:
            continue
        try:
            options[name] = float(given[name])
        except (ValueError, TypeError, OverflowError):
            raise Refusal(422, "bad_option", f"{name} must be a number of seconds.") from None
    if given.get("channels") is not None:
        options["channels"] = str(given["channels"])[:20]
    return options
