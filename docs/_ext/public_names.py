"""Public names of the package: where each is documented, and the pages of rooms made from them."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from types import ModuleType
from typing import Any

import sklearn_speechsent

PACKAGE = "sklearn_speechsent"


def rooms() -> dict[str, list[str]]:
    """Names of each public room; of a module without ``__all__`` the functions it defines."""
    found = {}
    for room in sklearn_speechsent._SUBMODULES:
        module = importlib.import_module(f"{PACKAGE}.{room}")
        functions = [
            name
            for name, item in vars(module).items()
            if inspect.isfunction(item)
            and item.__module__ == module.__name__
            and not name.startswith("_")
        ]
        found[room] = sorted(getattr(module, "__all__", functions))
    return found


def homes() -> dict[tuple[str, str], str]:
    """Dotted name under which each name of each room is documented.

    What the package exports itself has its shortest name, what two rooms export the name of the
    room that defines it.
    """
    found, canonical = {}, {}
    at_top = [name for name in sklearn_speechsent.__all__ if not name.startswith("_")]
    for name in at_top:
        canonical[id(getattr(sklearn_speechsent, name))] = f"{PACKAGE}.{name}"
    for at_home in (True, False):
        for room, names in rooms().items():
            module = importlib.import_module(f"{PACKAGE}.{room}")
            for name in names:
                item = getattr(module, name)
                defined = getattr(item, "__module__", module.__name__)
                if at_home == defined.startswith(module.__name__):
                    found[room, name] = canonical.setdefault(id(item), f"{PACKAGE}.{room}.{name}")
    return found


def kind(item: Any) -> str:
    """Heading under which the page of a room lists something."""
    if inspect.isclass(item):
        return "Errors and warnings" if issubclass(item, Exception) else "Classes"
    return "Functions" if callable(item) else "Constants"


def _comment(name: str, room: str) -> str:
    """What the comment above the assignment of a constant says."""
    for module in [n for n in sys.modules if f"{n}.".startswith(f"{PACKAGE}.{room}.")]:
        found = re.search(rf"((?:^#: .*\n)+){name}\b", inspect.getsource(sys.modules[module]), re.M)
        if found:
            return re.sub(r"^#: ", "", found[1], flags=re.M).replace("\n", " ").strip()
    raise ValueError(f"{PACKAGE}.{room}.{name} has no comment that begins with #: above it.")


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def room_pages() -> dict[str, str]:
    """Text of the page of each room, in reStructuredText, by the room's name."""
    documented, pages = homes(), {}
    for room, names in rooms().items():
        module: ModuleType = importlib.import_module(f"{PACKAGE}.{room}")
        lines = [*_title(module.__name__), f".. module:: {module.__name__}", ""]
        lines += [inspect.getdoc(module) or "", "", f".. currentmodule:: {PACKAGE}", ""]
        for heading in ("Classes", "Functions", "Errors and warnings", "Constants"):
            chosen = [name for name in names if kind(getattr(module, name)) == heading]
            if not chosen:
                continue
            lines += [heading, "-" * len(heading), ""]
            if heading == "Constants":
                for name in chosen:
                    lines += [f".. py:data:: {documented[room, name].partition('.')[2]}", ""]
                    lines += [f"   {_comment(name, room)}", ""]
                continue
            lines += [".. autosummary::", "   :toctree: ../objects", "   :nosignatures:", ""]
            lines += [f"   ~{documented[room, name].partition('.')[2]}" for name in chosen]
            lines += [""]
        pages[room] = "\n".join(lines)
    return pages
