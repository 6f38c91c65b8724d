"""Warnings about rows that several estimators find out alike in one call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Rows that were warned about in this call, by kind; None where warnings may repeat each other.
_NAMED: ContextVar[dict[Hashable, set[Hashable]] | None] = ContextVar("named", default=None)
#: Kinds of warnings that are not given.
_MUTED: ContextVar[frozenset[Hashable]] = ContextVar("muted", default=frozenset())


@contextmanager
def without_warnings(kinds: Iterable[Hashable]) -> Iterator[None]:
    """Give no warnings of some kinds, in this thread only.

    Examples
    --------
    >>> with without_warnings(["silent"]):
    ...     is_news("silent", [1]), is_news("short", [1])
    (False, True)
    """
    token = _MUTED.set(_MUTED.get() | frozenset(kinds))
    try:
        yield
    finally:
        _MUTED.reset(token)


@contextmanager
def without_repeats() -> Iterator[None]:
    """Let warnings of one kind name other rows each time, such as those of several members.

    Examples
    --------
    >>> [is_news("silent", [1]) for _ in range(2)]
    [True, True]
    >>> with without_repeats():
    ...     [is_news("silent", rows) for rows in ([1], [1], [1, 4], [4])]
    [True, False, True, False]
    """
    named = _NAMED.get()
    token = _NAMED.set({} if named is None else named)
    try:
        yield
    finally:
        _NAMED.reset(token)


def is_news(kind: Hashable, rows: Iterable[Hashable]) -> bool:
    """Whether a warning that is about to be given names a row that none of its kind has named.

    Parameters
    ----------
    kind : hashable
    rows : iterable of hashable

    Returns
    -------
    bool
        Outside of :func:`without_repeats` always True, but for kinds that are muted.
    """
    if kind in _MUTED.get():
        return False
    named = _NAMED.get()
    if named is None:
        return True
    before = named.setdefault(kind, set())
    new = set(rows) - before
    before |= new
    return bool(new)
