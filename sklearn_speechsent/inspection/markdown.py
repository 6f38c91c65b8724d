"""Markdown and YAML of cards, into which text of users goes without becoming markup."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

#: Characters that mean something in Markdown, also inside of tables.
_MARKUP = re.compile(r"([\\`*_{}\[\]()#!|~$])")
#: What GitHub and the hub turn into links by themselves.
_LINKS = re.compile(r"(?i)(?<=www)\.|:(?=//)|@")
#: What a browser may take for the beginning of a tag, a comment or an entity.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
#: Schemes that run in a browser, or hold a page.
_SCHEME = re.compile(r"(?i)\b((?:java|vb)script|data(?=\s*:\s*\w+/))(\s*):")
_LONGEST = 80


def clean(text: str, keep: str = "") -> str:
    r"""Text without control characters, marks of direction and halves of pairs.

    Parameters
    ----------
    text : str
    keep : str, default=""
        Control characters that stay.

    Returns
    -------
    str

    Examples
    --------
    >>> clean("a\tb\x00")
    'a b\ufffd'
    """
    return "".join(
        c if c in keep or unicodedata.category(c)[0] != "C" else " " if c.isspace() else "\ufffd"
        for c in text
    )


def literal(value: Any) -> str:
    r"""Value of a user as Markdown that shows it as it is, on one line.

    Parameters
    ----------
    value : object
        Shown as text, of which at most 80 characters.

    Returns
    -------
    str

    Examples
    --------
    >>> literal("a|b <b>c</b>")
    'a\\|b &lt;b&gt;c&lt;/b&gt;'
    """
    text = clean(" ".join(str(value).split()))
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SCHEME.sub(r"\1\2&#58;", text)
    text = _LINKS.sub(lambda match: f"&#{ord(match[0])};", text)
    return _MARKUP.sub(r"\\\1", text.replace("&#", "\0")).replace("\0", "&#")


def prose(text: str) -> str:
    """Markdown of a user, in which HTML is shown and not taken for markup.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> prose("*Rows* with p < .05 <script>")
    '*Rows* with p < .05 &lt;script>'
    """
    return _TAG.sub("&lt;", clean(str(text), keep="\n").strip())


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequence of str
        Cells; text of users went through :func:`literal`.

    Returns
    -------
    str

    Examples
    --------
    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def yaml(value: Any, indent: int = 0) -> str:
    """YAML of nested dicts and lists, with all text in quotes.

    Parameters
    ----------
    value : dict, list, str, float, int or bool
    indent : int, default=0
        Spaces in front of every line.

    Returns
    -------
    str
        Lines without a line break at the end.

    Examples
    --------
    >>> print(yaml({"tags": ["speech"], "model-index": [{"name": "a: b"}]}))
    tags:
      - "speech"
    model-index:
      - name: "a: b"
    """
    space = " " * indent
    if isinstance(value, Mapping):
        lines = []
        for key, inner in value.items():
            nested = isinstance(inner, (Mapping, list)) and inner
            after = f"\n{yaml(inner, indent + 2)}" if nested else f" {_scalar(inner)}"
            lines.append(f"{space}{key}:{after}")
        return "\n".join(lines)
    # The first key of an item stands next to its dash.
    return "\n".join(f"{space}- {_item(inner, indent + 2)}" for inner in value)


def _item(value: Any, indent: int) -> str:
    return yaml(value, indent).lstrip() if isinstance(value, (Mapping, list)) else _scalar(value)


def _scalar(value: Any) -> str:
    """JSON of a scalar, which YAML reads alike, without anything that looks like HTML."""
    text = json.dumps(clean(value) if isinstance(value, str) else value, ensure_ascii=False)
    return _SCHEME.sub(r"\1\2\\u003a", text.replace("<", r"\u003c"))
