"""Frames of MP3: how many there are, for files that do not say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

#: Kilobits per second by index, of MPEG 1 and of MPEG 2 and 2.5.
_BITRATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
#: Rates in Hz by index, of MPEG 1.
_RATES = (44100, 48000, 32000, 0)
#: Frames of one bit rate at the beginning, after which a decoder's estimate holds.
_ENOUGH = 500


def frame_length(header: bytes) -> tuple[int, int]:
    """Bytes of a frame of layer III, and its kilobits per second.

    Parameters
    ----------
    header : bytes
        Its first four.

    Returns
    -------
    tuple of int
        Zeros for anything else.

    Examples
    --------
    >>> frame_length(bytes.fromhex("fffb9064"))  # 44.1 kHz, 128 kbit/s
    (417, 128)
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0, 0
    version = header[1] >> 3 & 3  # 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
    bitrate = _BITRATES[version != 3][header[2] >> 4]
    rate = _RATES[header[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}.get(version, 0)
    if not bitrate or not rate or version == 1:
        return 0, 0
    return (144 if version == 3 else 72) * bitrate * 1000 // rate + (header[2] >> 1 & 1), bitrate


def _frames(file: BinaryIO, at: int) -> Iterator[int]:
    """Kilobits per second of each frame from ``at``, up to what is not one."""
    while True:
        file.seek(at)
        length, bitrate = frame_length(file.read(4))
        if not length:
            return
        yield bitrate
        at += length


def count_frames(file: BinaryIO) -> int:
    """Count the frames of a file.

    Parameters
    ----------
    file : binary file
        Its position is moved.

    Returns
    -------
    int
        Up to the first bytes that are not a frame.
    """
    return sum(1 for _ in _frames(file, 0))


def counting_frame(file: BinaryIO, at: int) -> bytes:
    """Frame that tells how many follow, where a decoder would estimate it wrongly.

    Decoders take the number of samples of a file from the bit rate of its first frame, and stop
    there. In files of variable bit rate a frame of Xing tells it; this makes one.

    Parameters
    ----------
    file : binary file
        Its position is moved.
    at : int
        Where the first frame begins.

    Returns
    -------
    bytes
        Empty if the bit rate is constant.
    """
    n, bitrates = 0, set[int]()
    for bitrate in _frames(file, at):
        if n == _ENOUGH and len(bitrates) == 1:
            break
        n += 1
        bitrates.add(bitrate)
    if len(bitrates) < 2:
        return b""
    file.seek(at)
    first = file.read(4)
    # A frame without a checksum and at a bit rate that has room for the number.
    first = bytes([first[0], first[1] | 1, 0x80 | first[2] & 0x0D, first[3]])
    side = (17, 32) if first[1] & 8 else (9, 17)
    mono = first[3] >> 6 == 3
    frame = first + bytes(side[0] if mono else side[1]) + b"Xing" + (1).to_bytes(4, "big")
    return (frame + n.to_bytes(4, "big")).ljust(frame_length(first)[0], b"\0")
