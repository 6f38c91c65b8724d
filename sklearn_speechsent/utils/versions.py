"""Versions of this package, of Python, and of what both work with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from sklearn_speechsent._version import __version__


def installed_versions(names: Iterable[str], *, absent: str = "unknown") -> dict[str, str]:
    """Versions by package, this one and Python first.

    Parameters
    ----------
    names : iterable of str
        Of distributions.
    absent : str, default="unknown"
        Of one that is not installed, or was built by hand, without metadata.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> from sklearn_speechsent.utils.versions import installed_versions
    >>> list(installed_versions(["numpy", "nothing"])), installed_versions(["nothing"])["nothing"]
    (['sklearn-speechsent', 'python', 'numpy', 'nothing'], 'unknown')
    """
    found = {"sklearn-speechsent": __version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = absent
    return found
