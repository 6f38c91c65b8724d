"""``speechsent fetch``: weights and corpora into the data home."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Weights or corpora; by default those that are known are listed."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Checksum, where the registry knows none.")
    ] = None,
) -> None:
    """Download weights and corpora, verified by their checksums."""
    from sklearn_speechsent.datasets import fetch_emodb, fetch_ravdess, get_data_home
    from sklearn_speechsent.pretrained import REGISTRY, fetch_weights, has_weights

    corpora = {"ravdess": fetch_ravdess, "emodb": fetch_emodb}
    if not names:
        print(f"Data home: {get_data_home()}")
        for name, entry in sorted(REGISTRY.items()):
            there = "there" if has_weights(name) else "not there"
            print(f"{name:32} {entry.kind}, {entry.licence}; {there}")
        for name in corpora:
            print(f"{name:32} corpus")
        return
    if unknown := [name for name in names if name not in REGISTRY and name not in corpora]:
        raise ValueError(
            f"There is no {', '.join(unknown)}; known: {', '.join([*sorted(REGISTRY), *corpora])}."
        )
    progress = sys.stderr.isatty()
    for name in names:
        if name in corpora:
            path = corpora[name](checksum=sha256, progress=progress)
        else:
            path = fetch_weights(name, sha256=sha256, progress=progress)
        print(path)
