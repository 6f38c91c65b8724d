"""Names of files in tables, and the files on the disk that they mean."""

import os
import unicodedata
from collections.abc import Iterator


def find_file(folder: str | os.PathLike[str], name: str, encoding: str | None = None) -> str:
    """File that a name in a table means.

    Names that another system wrote differ in ways that nobody sees: composed letters, blanks at the
    end, backslashes, the case of the suffix. The name as it is written comes first.

    Parameters
    ----------
    folder : path
        Folder of names that are not absolute.
    name : str
        May begin with ``~``.
    encoding : str, optional
        That of the table, in which names of files were perhaps written too.

    Returns
    -------
    str
        Absolute path. If there is no such file, that of the name as it is written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a.WAV").touch()
    ...     found = find_file(folder, "a.wav ")
    >>> Path(found).name
    'a.WAV'
    """
    paths = [os.path.normpath(os.path.join(folder, form)) for form in _forms(name, encoding)]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _forms(name: str, encoding: str | None) -> Iterator[str]:
    """Ways to write a name, each after those that change less."""
    yield name
    name = name.strip()
    for form in (name, os.path.expanduser(name), name.replace("\\", "/")):
        stem, suffix = os.path.splitext(form)
        for path in (form, stem + suffix.lower(), stem + suffix.upper()):
            yield path
            yield unicodedata.normalize("NFC", path)
            yield unicodedata.normalize("NFD", path)
            if encoding is not None and os.name == "posix":
                yield os.fsdecode(path.encode(encoding, errors="replace"))
