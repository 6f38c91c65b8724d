"""Formulas as MathML, which browsers show by themselves: nothing is loaded from elsewhere."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def convert(node: nodes.Element, as_block: bool = False) -> str:
    """Formula in MathML: brackets grow by themselves, indices go to the right of accents."""
    text = re.sub(r"\\[bB]igg?[lrm]?(?![a-z])", "", node.astext())
    text = re.sub(r"(\\(?:bar|hat|tilde) *\w)(?=[_^])", r"\1{}", text)
    try:
        # Fonts without a table for formulas set an accent onto its letter.
        return tex2mathml(text, as_block=as_block).replace(' accent="true"', "")
    except MathError as error:
        logger.warning("formula cannot be shown: %s", error, location=node)
        return f"<code>{text}</code>"


def inline(writer, node: nodes.math) -> None:
    """Write a formula in a line."""
    writer.body.append(convert(node))
    raise nodes.SkipNode


def block(writer, node: nodes.math_block) -> None:
    """Write a formula of its own."""
    writer.body.append(f'<div class="formula">{convert(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; ``html_math_renderer`` names it."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
