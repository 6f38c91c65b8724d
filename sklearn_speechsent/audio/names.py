"""Names of files: under which one exists, and how it is printed."""

from __future__ import annotations

import os
import unicodedata


def located(path: str) -> str:
    """Name under which a file exists.

    Tables are written by people and on other systems: a name that does not exist is tried with
    ``~`` expanded, without blanks around it, and with its accents composed and decomposed.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
        ``path`` itself if it exists, or if nothing else does.

    Examples
    --------
    >>> located("nowhere.wav")
    'nowhere.wav'
    """
    if os.path.exists(path):
        return path
    for name in (path, path.strip()):
        for form in (None, "NFC", "NFD"):
            other = os.path.expanduser(name if form is None else unicodedata.normalize(form, name))
            if other != path and os.path.exists(other):
                return other
    return path


def is_name(content: bytes) -> bool:
    r"""Whether bytes are the name of a file, rather than the content of one.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    bool

    Examples
    --------
    >>> is_name(b"/data/a.wav"), is_name(b"RIFF$\x00\x00\x00WAVE")
    (True, False)
    """
    text = min(content, default=0) >= 32
    # A file that is cut off behind its first word, such as OggS, is not a name.
    return text and (b"/" in content[:-1] or os.path.splitext(content)[1][1:].isalnum())


def printable(text: str) -> str:
    r"""Text that any stream in UTF-8 takes: bytes of a name that are not UTF-8 are escaped.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> printable("caf\udce9.wav")
    'caf\\udce9.wav'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
