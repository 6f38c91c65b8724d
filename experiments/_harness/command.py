"""Command lines of the scripts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def make_parser(description: Any, out: str | None = "FILE.json") -> argparse.ArgumentParser:
    """Parser that shows the docstring of a script as it is written.

    Parameters
    ----------
    description : str
        With the command in it, ``python -m ...``.
    out : str or None, default="FILE.json"
        Help of the option ``--out``, which must be given; None leaves it out.

    Returns
    -------
    ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog=" ".join(re.findall(r"python -m [\w.]+", description)[:1]),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if out is not None:
        text = "FILE.json; other files are written next to it" if out == "FILE.json" else out
        parser.add_argument("--out", type=Path, required=True, help=text)
    return parser


def add_extraction(parser: Any, jobs: int = -1) -> None:
    """Add the options of scripts that extract features.

    Parameters
    ----------
    parser : ArgumentParser
    jobs : int, default=-1
        Default of ``--jobs``.
    """
    parser.add_argument("--memory", type=Path, help="folder of features (FILE.cache)")
    parser.add_argument("--jobs", type=int, default=jobs, help=f"threads, -1 for all ({jobs})")


def choose(names: str, available: Sequence[str], kind: str = "system") -> list[str]:
    """Find systems or rows by their names or by parts of them.

    Parameters
    ----------
    names : str
        Separated by commas, or by semicolons where names have commas; in any case, with or without
        spaces; "all" is all of them.
    available : sequence of str
    kind : str, default="system"
        What is chosen, for messages.

    Returns
    -------
    list of str
        In the order of ``available``.

    Raises
    ------
    ValueError
        If there is none of that name.
    """

    def plain(name: str) -> str:
        return re.sub(r"\s", "", name).lower()

    chosen: set[str] = set()
    whole = [name for name in available if plain(name) == plain(names)]
    for part in whole or names.split(";" if ";" in names else ","):
        exact = {name for name in available if plain(part) in (plain(name), "all")}
        found = exact or {name for name in available if plain(part) in plain(name)}
        if not found or not plain(part):
            raise ValueError(f"There is no {kind} {part!r}; there are {'; '.join(available)}.")
        chosen |= found
    return [name for name in available if name in chosen]
