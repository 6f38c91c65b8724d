"""Mutations of the bytes of a recording: of fields, chunks, sizes, and of anything."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import numpy as np

from experiments.fuzz.sources import Source

#: Values at which arithmetic with sizes goes wrong.
_EXTREME = (
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
_HEADER = 128  # bytes
#: One mutant in this many may lose the bytes by which its format is recognised.
_WITHOUT_MAGIC = 4


@dataclass(frozen=True)
class Chunk:
    """Part of a file that says how long it is.

    Parameters
    ----------
    start, stop : int
        Place in the file.
    size_at : int
        Place of its size.
    size_format : str
        Of `struct`.
    """

    start: int
    stop: int
    size_at: int
    size_format: str


def find_chunks(content: bytes) -> list[Chunk]:
    """Chunks, pages, boxes or blocks of a file, as far as its sizes are right.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    list of Chunk
        Empty for formats without any.
    """
    chunks: list[Chunk] = []

    def add(start: int, size_at: int, size_format: str, extra: int, align: int = 1) -> int:
        """Add a chunk of ``extra`` bytes more than its size says; return where it ends."""
        (size,) = struct.unpack_from(size_format, content, size_at)
        if size_format == ">I" and content[:4] == b"fLaC":
            size &= 0xFFFFFF
        stop = min(len(content), start + -(-(size + extra) // align) * align)
        chunks.append(Chunk(start, stop, size_at, size_format))
        return max(stop, start + 1)

    position = {b"RIFF": 12, b"RF64": 12, b"RIFX": 12, b"FORM": 12, b"caff": 8, b"fLaC": 4}.get(
        content[:4], 0
    )
    if content[:4] == b"riff":
        position = 40
    try:
        while position < len(content):
            if content[:4] in (b"RIFF", b"RF64"):
                position = add(position, position + 4, "<I", 8, 2)
            elif content[:4] in (b"RIFX", b"FORM"):
                position = add(position, position + 4, ">I", 8, 2)
            elif content[:4] == b"riff":
                position = add(position, position + 16, "<Q", 0, 8)
            elif content[:4] == b"caff":
                position = add(position, position + 4, ">Q", 12)
            elif content[4:8] == b"ftyp":
                position = add(position, position, ">I", 0)
            elif content[:4] == b"fLaC":
                last = content[position] & 0x80
                position = add(position, position, ">I", 4)
                if last:
                    break
            elif content[:4] == b"OggS":
                n_segments = content[position + 26]
                size = sum(content[position + 27 : position + 27 + n_segments])
                stop = position + 27 + n_segments + size
                chunks.append(Chunk(position, stop, position + 26, "B"))
                position = stop
            else:
                break
    except (struct.error, IndexError):
        pass
    return chunks


def mutate(source: Source, rng: np.random.Generator) -> tuple[bytes, list[str]]:
    """Change a recording in one to three ways.

    Parameters
    ----------
    source : Source
    rng : Generator

    Returns
    -------
    content : bytes
    names : list of str
        What was done, in order.
    """
    content, names = source.content, []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = str(rng.choice(list(_MUTATIONS)))
        content = _MUTATIONS[name](content, rng)
        names.append(name)
    if rng.integers(_WITHOUT_MAGIC):
        repaired = bytearray(content)
        for part in source.magic:
            repaired[part] = source.content[part]
        content = bytes(repaired)
    return content, names


def has_magic(content: bytes, source: Source) -> bool:
    """Whether a mutant has the bytes by which its format is recognised.

    Parameters
    ----------
    content : bytes
    source : Source

    Returns
    -------
    bool
    """
    return all(content[part] == source.content[part] for part in source.magic)


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """First and last byte of a stretch, in every second draw in the header."""
    bound = min(_HEADER, len(content)) if rng.random() < 0.5 else len(content)
    first = int(rng.integers(bound + 1))
    return first, first + int(rng.geometric(1 / 64))


def _cut_off(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: _span(content, rng)[0]]


def _flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytearray(content)
    bound = min(_HEADER, len(content)) if rng.random() < 0.5 else len(content)
    for position in rng.integers(bound, size=rng.integers(1, 20) if bound else 0):
        flipped[position] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def _set_field(content: bytes, rng: np.random.Generator) -> bytes:
    size = int(rng.choice([1, 2, 4, 4, 8]))
    position = 2 * int(rng.integers(_HEADER // 2))
    field = content[position : position + size]
    return _replaced(content, position, _other_number(field, rng))


def _other_number(field: bytes, rng: np.random.Generator) -> bytes:
    order = "little" if rng.random() < 0.5 else "big"
    old = int.from_bytes(field, order)
    choices = [*_EXTREME, old + 1, max(0, old - 1), 2 * old, old // 2, int(rng.integers(2**31))]
    value = choices[int(rng.integers(len(choices)))]
    return (value % 256 ** len(field)).to_bytes(len(field), order)


def _replaced(content: bytes, position: int, new: bytes) -> bytes:
    return content[:position] + new + content[position + len(new) :]


def _set_chunk_size(content: bytes, rng: np.random.Generator) -> bytes:
    chunks = find_chunks(content)
    if not chunks:
        return _set_field(content, rng)
    chunk = chunks[rng.integers(len(chunks))]
    end = chunk.size_at + struct.calcsize(chunk.size_format)
    return _replaced(content, chunk.size_at, _other_number(content[chunk.size_at : end], rng))


def _parts(content: bytes, rng: np.random.Generator) -> list[bytes]:
    """File in pieces: what comes before the chunks, and each of them; or ten stretches."""
    chunks = find_chunks(content)
    edges = [chunk.start for chunk in chunks]
    if len(chunks) < 2:
        edges = sorted(rng.integers(len(content) + 1, size=9).tolist())
    edges = [0, *edges, len(content)]
    return [content[a:b] for a, b in itertools.pairwise(edges)]


def _duplicate_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    parts = _parts(content, rng)
    parts.insert(int(rng.integers(1, len(parts) + 1)), parts[rng.integers(1, len(parts))])
    return b"".join(parts)


def _remove_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    parts = _parts(content, rng)
    del parts[rng.integers(1, len(parts))]
    return b"".join(parts)


def _swap_chunks(content: bytes, rng: np.random.Generator) -> bytes:
    head, *parts = _parts(content, rng)
    return head + b"".join(parts[k] for k in rng.permutation(len(parts)))


def _remove_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = _span(content, rng)
    return content[:first] + content[last:]


def _insert_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = _span(content, rng)
    return content[:first] + rng.bytes(last - first) + content[first:]


def _zero(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = _span(content, rng)
    last = len(content) if rng.random() < 0.5 else min(last, len(content))
    return content[:first] + bytes(last - first) + content[last:]


def _concatenate(content: bytes, rng: np.random.Generator) -> bytes:
    return content + content[int(rng.integers(len(content) + 1)) * int(rng.integers(2)) :]


def _add_tail(content: bytes, rng: np.random.Generator) -> bytes:
    tail = rng.bytes if rng.random() < 0.5 else bytes
    return content + tail(int(rng.integers(1, 5000)))


_MUTATIONS = {
    "cut off": _cut_off,
    "bits flipped": _flip_bits,
    "field set": _set_field,
    "chunk size set": _set_chunk_size,
    "chunk duplicated": _duplicate_chunk,
    "chunk removed": _remove_chunk,
    "chunks swapped": _swap_chunks,
    "bytes removed": _remove_bytes,
    "bytes inserted": _insert_bytes,
    "zeros": _zero,
    "concatenated": _concatenate,
    "tail added": _add_tail,
}
