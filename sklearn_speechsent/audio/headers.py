"""Promises of headers: place and size of the samples in a file, and what contradicts them.

Decoders believe headers, or shorten silently what a header promises. Here the same bytes are read
for what a file should hold, so that a file that was cut off, that a recorder left unfinished, or
that several files were written into is told from a whole one.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, NamedTuple, cast

from sklearn_speechsent.audio import flac
from sklearn_speechsent.audio.mpeg import count_frames, counting_frame, frame_length

#: Sizes that recorders and streams write before they know better: 0, or close to the largest.
_UNFINISHED = 2**16
#: First bytes of files.
_MAGIC = [b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b".snd", b"dns."]
_MAGIC += [b"fLaC", b"OggS", b"NIST"]


@dataclass(frozen=True)
class Promise:
    """Samples that the header of a file promises, compared with the bytes that are there.

    Parameters
    ----------
    samples : int or None
        Per channel, where the header counts them.
    size, present : int or None
        Bytes of samples that are promised and that are there. ``size`` is None where the header
        leaves it open.
    exact : bool
        Whether the number of samples that a decoder reports is a promise too, not an estimate.
    flaw : str
        What makes the whole unusable, although a part can be read.
    fixes : dict of int to bytes
        Corrections by position, with which a decoder reads all that is there.
    end : int or None
        Where the file ends for the decoder; None for its last byte.
    start : int
        Where the file begins for the decoder.
    prefix : bytes
        What the decoder has to read before that.
    """

    samples: int | None = None
    size: int | None = None
    present: int | None = None
    exact: bool = True
    flaw: str = ""
    fixes: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None
    start: int = 0
    prefix: bytes = b""

    @property
    def corrects(self) -> bool:
        """Whether a decoder needs :class:`Corrected`."""
        return bool(self.fixes or self.prefix or self.start or self.end is not None)


class Corrected(io.RawIOBase):
    """File with what is corrected in a promise, read only.

    Parameters
    ----------
    file : binary file
        Stays open when this one is closed.
    promise : Promise
    """

    def __init__(self, file: BinaryIO, promise: Promise) -> None:
        self._file = file
        self._prefix = promise.prefix
        self._fixes = promise.fixes
        self._shift = promise.start - len(promise.prefix)
        end = file.seek(0, io.SEEK_END) if promise.end is None else promise.end
        self._end = end - self._shift
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with what comes next, corrected."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        content = self._prefix[self._at : self._at + len(view)]
        if not content:
            self._file.seek(self._at + self._shift)
            content = self._file.read(max(0, min(len(view), self._end - self._at)))
        view[: len(content)] = content
        for at, fix in self._fixes.items():
            for position, byte in enumerate(fix, start=at - self._at):
                if 0 <= position < len(content):
                    view[position] = byte
        self._at += len(content)
        return len(content)


class _Chunks(NamedTuple):
    """How a format names and counts its chunks."""

    first: int  #: Where the first one begins.
    key: int  #: Bytes of a name.
    size: str  #: Type of a size.
    data: bytes  #: Name of the chunk of samples.
    skip: int = 0  #: Bytes in it that are no samples.
    align: int = 2
    counts_itself: bool = False


_RIFF = _Chunks(12, 4, "<I", b"data")
_FORMATS = {
    (b"RIFF", b"WAVE"): _RIFF,
    (b"RF64", b"WAVE"): _RIFF,
    (b"BW64", b"WAVE"): _RIFF,
    (b"RIFX", b"WAVE"): _Chunks(12, 4, ">I", b"data"),
    (b"FORM", b"AIFF"): _Chunks(12, 4, ">I", b"SSND", skip=8),
    (b"FORM", b"AIFC"): _Chunks(12, 4, ">I", b"SSND", skip=8),
    (b"FORM", b"8SVX"): _Chunks(12, 4, ">I", b"BODY"),
    (b"FORM", b"16SV"): _Chunks(12, 4, ">I", b"BODY"),
}
_CAF = _Chunks(8, 4, ">q", b"data", skip=4, align=1)
_W64 = _Chunks(40, 16, "<Q", b"data", align=8, counts_itself=True)


def promise(file: BinaryIO) -> Promise:
    """Read what the header of a file promises.

    Parameters
    ----------
    file : binary file
        Its position is moved.

    Returns
    -------
    Promise
        Empty for formats that promise nothing, or that only their decoder can read.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    chunks = _FORMATS.get((head[:4], head[8:12]))
    if head[:4] == b"caff":
        chunks = _CAF
    elif head[:4] == b"riff" and head[24:28] == b"wave":
        chunks = _W64
    if chunks is not None:
        return _chunked(file, size, chunks)
    if head[:4] in (b".snd", b"dns.") and len(head) >= 12:
        order = ">" if head[:4] == b".snd" else "<"
        start, promised = struct.unpack(order + "II", head[4:12])
        return _sized(file, size, start, promised, _Field(8, order + "I"))
    if head[:4] == b"NIST":
        return _nist(file, size, head)
    if head[:4] == b"fLaC" and len(head) >= 26:
        # 36 bits of STREAMINFO; zero leaves it open, and a decoder then reads all that is there.
        samples = int.from_bytes(head[21:26], "big") & (2**36 - 1)
        fixes = {21: bytes([head[21] & 0xF0, 0, 0, 0, 0])} if samples else {}
        if flac.ends_at(file, size, head, samples):
            fixes = {}
        return Promise(samples=samples or None, fixes=fixes)
    if head[:4] == b"OggS":
        return _ogg(file, size)
    start = _behind_tags(file)
    if 0 < start < size:  # decoders take any file with a tag for an MP3, or miss its count
        behind = promise(cast(BinaryIO, Corrected(file, Promise(start=start))))
        end = None if behind.end is None else start + behind.end
        return replace(behind, start=start + behind.start, end=end)
    return _mpeg(file, size, head)


def _walk(file: BinaryIO, size: int, chunks: _Chunks, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and promised size of the content of each chunk from ``at``."""
    header = chunks.key + struct.calcsize(chunks.size)
    while at + header <= size:
        file.seek(at)
        content = file.read(header)
        name, (length,) = content[:4], struct.unpack(chunks.size, content[chunks.key :])
        if name in _MAGIC or not all(32 <= byte < 127 for byte in name):
            return
        yield name, at + header, max(0, length - header * chunks.counts_itself)
        at += max(length, header) if chunks.counts_itself else header + max(length, 0)
        at += -at % chunks.align


def _chunked(file: BinaryIO, size: int, chunks: _Chunks) -> Promise:
    header = chunks.key + struct.calcsize(chunks.size)
    wide: tuple[int, int] | None = None
    for name, at, length in _walk(file, size, chunks, chunks.first):
        if name == b"ds64":  # sizes of RF64, for which 32 bits are not enough
            file.seek(at + 8)
            wide = at + 8, int.from_bytes(file.read(8), "little")
        if name != chunks.data:
            continue
        extra = chunks.skip + header * chunks.counts_itself
        where = _Field(at - header + chunks.key, chunks.size, extra)
        if wide is not None and length == 2**32 - 1:
            where, length = _Field(wide[0], "<Q"), wide[1]
        return _sized(file, size, at + chunks.skip, length - chunks.skip, where, chunks)
    return Promise()


class _Field(NamedTuple):
    """Number of bytes in a header."""

    at: int
    kind: str  #: Type of the number; empty if it is text.
    extra: int = 0  #: Bytes that it counts next to those of samples.

    def unfinished(self, promised: int) -> bool:
        """Whether a recorder or a stream has put this before it knew better."""
        limit = 2 ** (8 * struct.calcsize(self.kind)) if self.kind else 2**32
        return any(abs(promised - top) <= _UNFINISHED for top in (limit // 2, limit))

    def fix(self, present: int) -> dict[int, bytes]:
        """Correction to what is there, or to the largest number."""
        if not self.kind:
            return {}
        limit = 2 ** (8 * struct.calcsize(self.kind) - self.kind.islower())
        return {self.at: struct.pack(self.kind, min(present + self.extra, limit - 1))}


def _sized(
    file: BinaryIO,
    size: int,
    start: int,
    promised: int,
    where: _Field,
    chunks: _Chunks | None = None,
) -> Promise:
    """Promise of a number of bytes, from ``start``."""
    present = max(0, size - start)
    if promised <= 0 and _is_end(file, size, start, chunks):
        return Promise(size=0, present=0)
    if promised <= 0 or (promised > present and where.unfinished(promised)):
        return Promise(present=present, fixes=where.fix(present))
    if promised >= present:
        return Promise(
            size=promised, present=present, fixes=where.fix(present) if chunks is _CAF else {}
        )
    end = start + promised
    behind = end if chunks is None else _behind(file, size, end, chunks)
    if chunks is not None and chunks is not _W64:  # chunks may come behind the samples
        end = behind
    if not _is_harmless(file, size, behind):
        file.seek(behind)
        if file.read(4) not in _MAGIC:
            return Promise(size=promised, present=present, end=end)
        flaw = f"another file begins behind it, at byte {behind}"
        return Promise(size=promised, present=promised, flaw=flaw, end=end)
    return Promise(size=promised, present=promised, end=end if end < size else None)


def _behind(file: BinaryIO, size: int, at: int, chunks: _Chunks) -> int:
    """End of the last chunk from ``at``."""
    at += -at % chunks.align
    for _, content, length in _walk(file, size, chunks, at):
        at = content + length
        at += -at % chunks.align
    return at


def _is_end(file: BinaryIO, size: int, at: int, chunks: _Chunks | None) -> bool:
    """Whether nothing comes any more but whole chunks."""
    if chunks is not None:
        at = _behind(file, size, at, chunks)
    return size <= at <= size + 1


def _is_harmless(file: BinaryIO, size: int, at: int) -> bool:
    """Whether what is left is nothing, zeros or a tag."""
    file.seek(min(at, size))
    first = file.read(4096)
    if first[:3] in (b"TAG", b"ID3") or first[:8] == b"APETAGEX":
        return True
    while first and not any(first):
        first = file.read(2**20)
    return not first


def _nist(file: BinaryIO, size: int, head: bytes) -> Promise:
    fields = dict(re.findall(rb"(\w+) -\w+ (\S+)", head))
    try:
        start = int(head[8:16])
        width = int(fields[b"sample_n_bytes"]) * int(fields.get(b"channel_count", 1))
        promised = int(fields[b"sample_count"]) * width
    except (KeyError, ValueError):
        return Promise()
    if start < 0:
        return Promise()
    return _sized(file, size, start, promised, _Field(0, ""))


def _ogg(file: BinaryIO, size: int) -> Promise:
    """Pages of OGG: no total, but each page says how long it is."""
    at, begun = 0, False
    while at < size:
        file.seek(at)
        page = file.read(27 + 255)
        if page[:4] != b"OggS":
            break  # a tag, or damage that decoding shows
        if len(page) > 27 and page[5] & 2 and begun:
            return Promise(flaw=f"another stream begins behind it, at byte {at}")
        begun = begun or not (len(page) > 5 and page[5] & 2)
        n_segments = page[26] if len(page) > 26 else 255
        at += 27 + n_segments + sum(page[27 : 27 + n_segments])
    if at > size:
        return Promise(flaw="its last page is cut off")
    return Promise()


def _behind_tags(file: BinaryIO) -> int:
    """Place behind the tags ID3 at the beginning of a file."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return at
        shifts = (21, 14, 7, 0)
        at += 10 + sum(byte << shift for byte, shift in zip(head[6:], shifts, strict=True))


def _mpeg(file: BinaryIO, size: int, head: bytes) -> Promise:
    """Frames of MP3: only the header of Xing counts them, otherwise decoders estimate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return Promise()
    found = re.search(rb"Xing|Info", head[:48])
    counts = head[found.end() : found.end() + 12] if found else b""
    counted = len(counts) == 12 and counts[3] & 1
    promised = int.from_bytes(counts[4:8], "big") if counted else 0
    if not promised:
        # Encoders that were killed leave the count 0; a decoder would take it for an empty file.
        start = frame_length(head)[0] if counted else 0
        return Promise(exact=False, start=start, prefix=counting_frame(file, start))
    end = int.from_bytes(counts[8:12], "big") if counts[3] & 2 else size
    file.seek(min(end, size))
    tag = file.read(3)
    if size - end > 2 * 1441 and (tag == b"ID3" or tag > b"\xff\xe0"):
        return Promise(flaw=f"another file begins behind it, at byte {end}")
    # Encoders differ on whether the frame of the header counts.
    there = count_frames(file)
    if promised < there - 1:
        return Promise(flaw=f"its header promises {promised} of the {there} frames that are there")
    return Promise()
