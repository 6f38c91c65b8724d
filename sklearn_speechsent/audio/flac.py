"""Frames of FLAC: where the last one ends, and whether another file begins behind it."""

from __future__ import annotations

import io
from typing import BinaryIO

#: Bytes at the end of a file in which another file is looked for, and in which the last frame has
#: to begin: with 16 bits and one channel it has 8 kB at most, and tags may follow it.
_TAIL, _LAST = 2**16, 2**15
#: Beginning of a file; its first block, STREAMINFO, has 34 bytes.
_MAGIC = b"fLaC\0\0\0\x22"
#: Beginning of a frame, where all but the last one have the same number of samples.
_SYNC = b"\xff\xf8"


def _checksums() -> list[int]:
    """CRC-8 of each byte, polynomial 7."""
    table = list(range(256))
    for _ in range(8):
        table = [(value << 1 ^ (7 if value & 0x80 else 0)) & 0xFF for value in table]
    return table


_CRC = _checksums()


def frame_end(header: bytes, block: int) -> int | None:
    """Sample at which a frame ends, counted from the beginning of its file.

    Parameters
    ----------
    header : bytes
        Its first 16, or more.
    block : int
        Samples of every frame but the last one.

    Returns
    -------
    int or None
        None for anything that is not the header of a frame.

    Examples
    --------
    >>> frame_end(bytes.fromhex("fff8c5080366") + bytes(10), 4096)  # the fourth
    16384
    """
    kind, rate = header[2] >> 4, header[2] & 0xF
    if header[:2] != _SYNC or kind == 0:
        return None
    # Like a character of UTF-8: as many ones at the top of the first byte as there are bytes.
    ones = 8 - (header[4] ^ 0xFF).bit_length()
    number, at = header[4] & 0x7F >> ones, 4 + max(ones, 1)
    for byte in header[5:at]:
        number = number << 6 | byte & 0x3F
    if kind in (6, 7):
        n = int.from_bytes(header[at : at + kind - 5], "big") + 1
        at += kind - 5
    else:
        n = 256 << kind - 8 if kind > 7 else 576 << kind - 2 if kind > 1 else 192
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    checksum = 0
    for byte in header[:at]:
        checksum = _CRC[checksum ^ byte]
    return number * block + n if checksum == header[at] else None


def ends_at(file: BinaryIO, size: int, head: bytes, samples: int) -> bool:
    """Whether the last frame of a file ends at a sample, and no other file begins near its end.

    Parameters
    ----------
    file : binary file
        Its position is moved.
    size : int
        Its bytes.
    head : bytes
        Its first 26, or more.
    samples : int

    Returns
    -------
    bool
        False also if the last frame is not found.
    """
    block = int.from_bytes(head[8:10], "big")
    if block != int.from_bytes(head[10:12], "big"):  # frames count samples, which is rare
        return False
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    at = len(tail)
    while (at := tail.rfind(_SYNC, max(0, len(tail) - _LAST), at)) >= 0:
        end = frame_end(tail[at : at + 16].ljust(16, b"\0"), block)
        if end is not None:
            return end == samples and _MAGIC not in tail[4:]
    return False


def goes_on(file: BinaryIO) -> bool:
    """Whether more lies behind what a decoder has read than can lie behind the last frame.

    Parameters
    ----------
    file : binary file
        That a decoder has read from, up to its last sample.

    Returns
    -------
    bool
        Never false for a file that :func:`ends_at` took for whole and another one behind it.
    """
    at = file.tell()
    rest = file.seek(0, io.SEEK_END) - at
    file.seek(at)
    return rest > _LAST


def has_second_file(file: BinaryIO, start: int) -> bool:
    """Whether a file has another one behind it, which only its content shows.

    Parameters
    ----------
    file : binary file
        Its position is moved.
    start : int
        Where the first one begins.

    Returns
    -------
    bool
    """
    file.seek(start + 4)
    last = b""
    while content := file.read(2**20):
        if _MAGIC in last + content:
            return True
        last = content[-7:]
    return False
