"""What is made of a number, and how it fails."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Mutant:
    """A recording or table that was changed, and what must hold for it.

    Parameters
    ----------
    report : dict
        What it was made from and how: ``format``, ``mutations`` and more.
    suffix : str
        Of its file.
    content : bytes
    check : callable
        Gives the outcome in a few words, or raises `Failed`.
    """

    report: dict[str, Any]
    suffix: str
    content: bytes
    check: Callable[[], str]

    def checked(self) -> dict[str, Any]:
        """Report with the ``outcome``, or with the ``failure``."""
        try:
            return self.report | {"outcome": self.check()}
        except Failed as failure:
            return self.report | {"failure": str(failure)}


class Failed(Exception):
    """What must never happen; the message says what did."""


def guarded(call: Callable[[], Any], *allowed: type[Exception]) -> Any:
    """Result of a call, or the error that it raises if that is one of those allowed.

    Parameters
    ----------
    call : callable
    *allowed : type
        Subclasses count. Warnings of libraries, which users cannot act on, are failures.

    Returns
    -------
    object

    Raises
    ------
    Failed
        If it raises another error.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            return call()
    except allowed as error:
        return error
    except MemoryError as error:
        raise Failed("memory beyond the bound") from error
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {kind_of(str(error))}") from error


def kind_of(message: str) -> str:
    """First sentence of a message, without what is particular to a row.

    Parameters
    ----------
    message : str

    Returns
    -------
    str
        Without row, file, numbers and quotations.

    Examples
    --------
    >>> kind_of("row 1 (/tmp/a.wav): it ends after 12 of 80 samples: it is cut off. Leave it out.")
    'it ends after N of N samples: it is cut off'
    """
    message = re.sub(r"^row \d+ \(.*?\): ", "", message.split("\n")[0], flags=re.IGNORECASE)
    message = re.sub(r"\[.*|b['\"].*|<.*|'[^']*'|\"[^\"]*\"|/\S*/", "…", message)
    message = re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?|\b(nan|inf)\b", "N", message)
    return message.split(". ")[0].rstrip(". ")[:100]


def check_names_row(message: str | None, where: str, row: int = 1) -> None:
    """Raise unless a message names a row.

    Parameters
    ----------
    message : str or None
    where : str
        What gave it.
    row : int, default=1

    Raises
    ------
    Failed
    """
    if not re.search(rf"\brow {row}\b", message or "", re.IGNORECASE):
        raise Failed(f"{where}: the error names no row: {kind_of(message or '')}")
