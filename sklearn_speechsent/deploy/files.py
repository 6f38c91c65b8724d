"""The four files of a bundle, in a folder or a zip file: read within bounds, and written."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn_speechsent.deploy.errors import BundleError
from sklearn_speechsent.utils.files import atomic_write, replace_folder

MANIFEST, PIPELINE, ARRAYS, CARD = (
    "manifest.json",
    "pipeline.json",
    "arrays.safetensors",
    "README.md",
)
#: Files of a bundle, in their order in a zip file, and the largest size of each in bytes.
LIMITS = {MANIFEST: 2**20, PIPELINE: 2**23, ARRAYS: 2**32 - 2**25, CARD: 2**21}
#: What is larger is no directory of four files.
_LARGEST_DIRECTORY = 4096
#: End of a zip file without a comment: signature, four numbers of two bytes, size, place, comment.
_END_SIZE, _END_SIGNATURE = 22, b"PK\x05\x06"
#: The first moment that a zip file can name.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX, _READABLE = 3, 0o100644
#: A tag or a comment of HTML; addresses in angle brackets are Markdown.
_HTML = re.compile(r"<(?!https?://|mailto:)[A-Za-z/!?]")
_SCRIPT = re.compile(r"\b(java|vb)script\s*:|\bdata\s*:\s*(?!image/(png|jpeg);)\w+/", re.IGNORECASE)


# -- reading -------------------------------------------------------------------------------------


def read_files(path: Path) -> dict[str, bytes]:
    """Content of the files of a bundle.

    Parameters
    ----------
    path : Path
        Folder or zip file.

    Returns
    -------
    dict of str to bytes
        By name, one for each of `LIMITS`.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    BundleError
        If a file is missing, too large, a link or stored in another way than bundles are.
    """
    if path.is_dir():
        return {name: _read_member(path / name) for name in LIMITS}
    if not path.exists():
        raise FileNotFoundError(
            f"There is no bundle at {path}. Pass the folder or the zip file that save_model wrote."
        )
    if not path.is_file():
        raise BundleError(f"{path} is neither a folder nor a file.")
    try:
        with path.open("rb") as file:
            return _read_zip(file, path)
    except BundleError:
        raise
    except Exception as error:  # zipfile passes on any error of numbers, names and sizes
        raise BundleError(f"{path} cannot be read as a zip file: {error}. Get it again.") from error


def _read_member(path: Path) -> bytes:
    """Content of a file of a folder, which must not lead elsewhere."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise BundleError(f"{path} is a link. A bundle holds files: copy what it links to.")
        descriptor = os.open(path, flags)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}. A bundle has the files {', '.join(LIMITS)}."
        ) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is not a file.")
        _check_size(path.name, status.st_size)
        # Not without a size, should it grow; nor up to the limit, which would be set aside.
        return file.read(status.st_size)


def _check_size(name: str, size: int) -> None:
    if size > LIMITS[name]:
        raise BundleError(f"{name} has {size} bytes, and {LIMITS[name]} at most are read.")


def _read_zip(file: Any, path: Path) -> dict[str, bytes]:
    """Members of a zip file that holds the four files as they are, and nothing else."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(size - _END_SIZE, 0))
    end = file.read(_END_SIZE)
    directory = int.from_bytes(end[12:16], "little")
    # Before zipfile builds an object for each entry.
    if end[:4] != _END_SIGNATURE or directory > _LARGEST_DIRECTORY:
        raise BundleError(
            f"{path} is not a zip file that save_model wrote: its end is another one. Get it again."
        )
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.orig_filename for member in members]
        if sorted(names) != sorted(LIMITS):
            listed = ", ".join(repr(name[:60]) for name in names[:8])
            raise BundleError(
                f"{path} holds {listed}. A bundle has the files {', '.join(LIMITS)}, each once."
            )
        if sum(member.file_size for member in members) > size:
            raise BundleError(f"{path} promises more bytes than the {size} it has.")
        for member in members:
            _check_zip_member(member)
        contents = {member.filename: archive.read(member) for member in members}
    for member in members:
        if len(contents[member.filename]) != member.file_size:
            raise BundleError(f"{member.filename} has another size than {path} says.")
    return {name: contents[name] for name in LIMITS}


def _check_zip_member(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    _check_size(name, member.file_size)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or member.external_attr & 0x10:
        raise BundleError(f"{name} is a link or a folder in the zip file. A bundle holds files.")
    plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 0x41
    if not plain or member.compress_size != member.file_size:
        raise BundleError(
            f"{name} is compressed or encrypted. A bundle is stored as it is: unpack it and load "
            "the folder, or save it again."
        )


# -- writing -------------------------------------------------------------------------------------


def write_files(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a bundle completely or not at all; equal contents are equal bytes.

    Parameters
    ----------
    path : Path
        With the suffix ``.zip`` a zip file, else a folder. A bundle that is there is replaced.
    contents : mapping of str to bytes
        One for each of `LIMITS`.

    Raises
    ------
    FileExistsError
        If there is a folder with other content.
    BundleError
        If a file is too large.
    """
    for name, content in contents.items():
        _check_size(name, len(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() != ".zip":
        if path.exists() and (not path.is_dir() or {p.name for p in path.iterdir()} - set(LIMITS)):
            raise FileExistsError(
                f"{path} is there and holds other files than those of a bundle. Choose another "
                "name, or remove it."
            )
        replace_folder(path, {name: contents[name] for name in LIMITS})
        return
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in LIMITS:
            member = zipfile.ZipInfo(name, _NO_TIME)
            member.create_system, member.external_attr = _UNIX, _READABLE << 16
            archive.writestr(member, contents[name])
    atomic_write(path, buffer.getbuffer())


# -- JSON and cards ------------------------------------------------------------------------------


def read_json(content: bytes, name: str) -> Any:
    """Value of a JSON file without the liberties that parsers take.

    Parameters
    ----------
    content : bytes
    name : str
        In messages.

    Returns
    -------
    object

    Raises
    ------
    BundleError
        If it is not JSON in UTF-8, names a key twice, or holds NaN or infinity.

    Examples
    --------
    >>> read_json(b'{"a": [1, null]}', "a.json")
    {'a': [1, None]}
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"a key is there twice among {sorted(found)[:5]}")
        return found

    def finite(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"{text[:20]} is no number")
        return value

    def refused(text: str) -> Any:
        raise ValueError(f"{text} is no number")

    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=once,
            parse_float=finite,
            parse_constant=refused,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} cannot be read: {error}. Get the bundle again.") from error


def write_json(value: Any) -> bytes:
    """JSON of a value; equal values are equal bytes.

    Parameters
    ----------
    value : object

    Returns
    -------
    bytes
    """
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def check_card(text: str) -> None:
    r"""Refuse a card that is more than Markdown, which pages that show it would run.

    Parameters
    ----------
    text : str

    Raises
    ------
    BundleError

    Examples
    --------
    >>> check_card("# A model\n\nSee <https://example.org>; p < .05.")
    >>> check_card("<script>alert(1)</script>")
    Traceback (most recent call last):
        ...
    sklearn_speechsent.deploy.errors.BundleError: The card holds HTML ('<script>alert(1)</sc'): ...
    """
    found = _HTML.search(text) or _SCRIPT.search(text)
    if found:
        part = text[found.start() : found.start() + 20]
        raise BundleError(
            f"The card holds HTML ({part!r}): a bundle has Markdown only. Write it in Markdown, or "
            "with &lt; for <."
        )
