"""Licences of what a bundle holds, and the strictest of them."""

from __future__ import annotations

from collections.abc import Iterable

#: From the freest to the strictest; a text counts as the last that it begins with.
_ORDER = (
    ("CC0", "PUBLIC DOMAIN"),
    ("MIT", "BSD", "ISC"),
    ("APACHE",),
    ("CC BY",),
    ("CC BY-SA",),
    ("CC BY-ND",),
    ("CC BY-NC",),
    ("CC BY-NC-SA",),
    ("CC BY-NC-ND",),
)


def strictest(licences: Iterable[str]) -> str | None:
    """Strictest of some licences.

    Parameters
    ----------
    licences : iterable of str
        One that is not known counts as stricter than all others.

    Returns
    -------
    str or None
        As it was given; None if there are none.

    Examples
    --------
    >>> strictest(["MIT", "CC BY-NC-SA 4.0", "CC BY 4.0"])
    'CC BY-NC-SA 4.0'
    """
    return max(licences, key=_strictness, default=None)


def _strictness(licence: str) -> int:
    text = " ".join(licence.upper().split())
    text = text.replace("CC-", "CC ", 1) if text.startswith("CC-") else text
    places = [place for place, names in enumerate(_ORDER) if text.startswith(names)]
    return max(places, default=len(_ORDER))
