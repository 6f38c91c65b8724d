"""Downloader for pooch that resumes after a connection was cut."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import requests
from tqdm.auto import tqdm

#: Attempts per address and call, and seconds before the second; later pauses are longer.
ATTEMPTS = 4
PAUSE = 0.5

_TIMEOUT = 30.0
_CHUNK = 2**14
# Answers of a server that are worth another attempt.
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class _Incomplete(requests.ConnectionError):
    """The answer ended before the file did, or was not what was asked for."""


class ResumingDownloader:
    """Callable that pooch takes as its ``downloader``.

    What has arrived is in a ``.part`` file next to the target, which outlives the process. The next
    attempt asks the server for the rest of it (HTTP ``Range``) and starts over where the server
    cannot do that. pooch checks whether the bytes are the right ones.

    Parameters
    ----------
    part : Path
        The file of what has arrived. It is removed once the download is complete.
    size : int, optional
        Bytes that the file must have.
    progress : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    resumed : bool
        Whether some of the bytes are from an earlier attempt.
    """

    def __init__(self, part: Path, *, size: int | None = None, progress: bool = False) -> None:
        self.part = part
        self.size = size
        self.progress = progress
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download ``url`` into ``output_file``.

        Parameters
        ----------
        url : str
        output_file : str
            Name of the file that pooch verifies next.
        pooch : object, optional
            Ignored; pooch passes itself.

        Raises
        ------
        requests.RequestException
            If the file is not complete after all attempts, or the server refuses it.
        ValueError
            If the server announces another size; what has arrived is removed.
        """
        for attempt in range(ATTEMPTS):
            try:
                self._advance(url)
                break
            except requests.RequestException as exception:
                if attempt == ATTEMPTS - 1 or not _is_temporary(exception):
                    raise
                time.sleep(PAUSE * (attempt + 1))
        # A copy: another process that still appends to the part cannot reach what is verified.
        # It has the part's permissions, too; those of pooch's temporary file are private.
        shutil.copy(self.part, output_file)
        self.part.unlink(missing_ok=True)

    def _advance(self, url: str) -> None:
        """Append what is missing to the part, in one request."""
        offset = self.part.stat().st_size if self.part.is_file() else 0
        # Compressed, neither offset nor length would be those of the file.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            start, total = _content_range(response)
            if response.status_code == 416 and offset:
                if total == offset:
                    self.resumed = True
                    return  # only the end of the last answer was missing
                self._discard(f"{url} has no byte {offset} and beyond")
            response.raise_for_status()
            if response.status_code == 206:
                if start != offset:
                    self._discard(f"{url} did not answer from byte {offset} on, but from {start}")
                self.resumed = self.resumed or offset > 0
            else:  # the whole file, whether or not a part was asked for
                offset, total = 0, _content_length(response)
                self.resumed = False
            if self.size is not None and total not in (None, self.size):
                self._refuse(f"{url} has {total} bytes, expected {self.size}")
            self._append(response, offset, total)
        size = self.part.stat().st_size
        if self.size is not None and size > self.size:
            self._refuse(f"{url} has more than {self.size} bytes, which were expected")
        total = self.size if total is None else total
        if total is not None and size > total:
            self._discard(f"{url} sent more than the {total} bytes it announced")
        if total is not None and size < total:
            raise _Incomplete(f"{url} sent {size} of {total} bytes")

    def _append(self, response: requests.Response, offset: int, total: int | None) -> None:
        # Otherwise the last bytes of a cut answer are lost; lengths are compared anyway.
        response.raw.enforce_content_length = False
        with (
            self.part.open("ab" if offset else "wb") as file,
            tqdm(
                total=total,
                initial=offset,
                desc=self.part.stem,
                unit="B",
                unit_scale=True,
                disable=not self.progress,
            ) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if self.size is not None and file.tell() > self.size:
                    break  # the answer may have no end

    def _refuse(self, reason: str) -> None:
        """Another file than expected."""
        self.part.unlink(missing_ok=True)
        raise ValueError(reason)

    def _discard(self, reason: str) -> None:
        self.part.unlink(missing_ok=True)
        raise _Incomplete(reason)


def _is_temporary(exception: requests.RequestException) -> bool:
    if isinstance(exception, requests.HTTPError) and exception.response is not None:
        return exception.response.status_code in _TEMPORARY
    temporary = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    )
    return isinstance(exception, temporary)


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the file, as far as the header tells."""
    header = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header.strip())
    if match is None:
        return None, None
    start, total = match.groups()
    return (None if start is None else int(start)), (None if total is None else int(total))


def _content_length(response: requests.Response) -> int | None:
    header = response.headers.get("Content-Length", "")
    return int(header) if header.isdigit() else None
