"""Download of a file from one of several addresses: resumed, verified, complete or not there."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

#: Hexadecimal digits of the checksums per algorithm.
_DIGITS = {"md5": 32, "sha256": 64}


def check_checksum(checksum: str) -> str:
    """Bring a checksum into the form ``algorithm:digits``.

    Parameters
    ----------
    checksum : str
        ``"sha256:..."`` or ``"md5:..."``, in hexadecimal.

    Returns
    -------
    str
        The same in lower case.

    Raises
    ------
    ValueError
        If it is another one.

    Examples
    --------
    >>> check_checksum(" MD5:D41D8CD98F00B204E9800998ECF8427E")
    'md5:d41d8cd98f00b204e9800998ecf8427e'
    """
    algorithm, _, digits = str(checksum).strip().lower().partition(":")
    if len(digits) != _DIGITS.get(algorithm) or not re.fullmatch("[0-9a-f]+", digits):
        raise ValueError(
            "A checksum is written 'sha256:' and 64 hexadecimal digits, or 'md5:' and 32, got "
            f"{checksum!r}."
        )
    return f"{algorithm}:{digits}"


def download(
    urls: Sequence[str],
    path: Path,
    checksum: str,
    *,
    name: str,
    by_hand: str,
    size: int | None = None,
    progress: bool = False,
) -> None:
    """Download a file that is not there yet.

    It appears under its name only once it is complete and its checksum is right. If the
    connection fails, what has arrived stays next to it as ``.part``, from which the next attempt or
    call resumes if the server allows.

    Parameters
    ----------
    urls : sequence of str
        Addresses of this very file, tried one after the other.
    path : Path
        Where to put it; folders are made.
    checksum : str
        Checksum that the file must have, as :func:`check_checksum` returns it.
    name : str
        What messages call it.
    by_hand : str
        Clause of messages that says how to get the file without a download.
    size : int, optional
        Bytes that the file must have; another file is not downloaded to its end.
    progress : bool, default=False
        Whether to show a progress bar.

    Raises
    ------
    ConnectionError
        If no address could be reached.
    ValueError
        If what arrived has another checksum or size; it is removed.
    OSError
        If the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _try_addresses(urls, path, part, checksum, name, by_hand, size, progress)
    except ConnectionError:
        raise
    except OSError as exception:
        remedy = f"{by_hand}.{_resumable(part)}"
        raise writing_error(exception, name, path, remedy) from exception


def writing_error(exception: OSError, name: str, path: Path, remedy: str) -> OSError:
    """Error of the file system with what could not be written and what to do.

    Parameters
    ----------
    exception : OSError
    name : str
        What could not be written.
    path : Path
        Where.
    remedy : str
        What else to do: the rest of a sentence, and further sentences.

    Returns
    -------
    OSError
        A PermissionError if that was the cause; to be raised from ``exception``.
    """
    denied = exception.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    kind = PermissionError if denied or isinstance(exception, PermissionError) else OSError
    full = exception.errno in (errno.ENOSPC, errno.EDQUOT)
    first = "Make room on the disk" if full else "Make the folder writable"
    return kind(f"{name!r} cannot be written to {path}: {exception}. {first}, or {remedy}")


def _resumable(part: Path) -> str:
    if not part.is_file():
        return ""
    return f" What has arrived is in {part}, from which the next call resumes."


def _try_addresses(
    urls: Sequence[str],
    path: Path,
    part: Path,
    checksum: str,
    name: str,
    by_hand: str,
    size: int | None,
    progress: bool,
) -> None:
    """Download from the first address that works; errors of the file system are passed on."""
    # Imported here, since only a download needs them.
    import pooch
    import requests

    from sklearn_speechsent.utils.resuming import ResumingDownloader

    failures, altered = [], False
    for url in urls:
        for from_scratch in (False, True):
            downloader = ResumingDownloader(part, size=size, progress=progress)
            try:
                pooch.retrieve(
                    url,
                    known_hash=checksum,
                    fname=path.name,
                    path=path.parent,
                    downloader=downloader,
                )
                return
            except requests.RequestException as exception:
                failures.append(f"{url}: {exception}")
                break
            except ValueError as exception:  # a wrong checksum or size
                # The bytes of an earlier attempt may be wrong: once more without them.
                if downloader.resumed and not from_scratch:
                    continue
                failures.append(f"{url}: {exception}")
                altered = True
                break
    remedy = f"Try again later, or {by_hand}.{_resumable(part)}"
    listed = "\n  ".join(failures)
    if altered:
        raise ValueError(
            f"{name!r} has been removed, since it is another file than expected:\n  "
            f"{listed}\n{remedy}"
        )
    raise ConnectionError(
        f"{name!r} could not be downloaded; is this machine online?\n  {listed}\n{remedy}"
    )
