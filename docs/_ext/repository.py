"""Links that work on a repository host and on the site: files outside docs, names in code.

- A file of the repository that the pages link to, such as the changelog, is copied into the site.
- A link to anything else outside ``docs`` becomes its text.
- A public name in code font becomes a link to its page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from docutils import nodes
from public_names import PACKAGE, homes, room_pages, rooms
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
#: Files outside of docs that have a page on the site.
COPIED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    # Without the folders that tools hide in a checkout.
    "[a-z]*/README.md",
    "models/*/README.md",
    "sklearn_speechsent/pretrained/weights/*.md",
)
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s:#]+)()\)")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def site_pages() -> dict[Path, Path]:
    """File of docs that shows each file, or folder, of the rest of the repository."""
    pages = {ROOT / "README.md": DOCS / "index.md", ROOT / "examples": DOCS / "gallery/index.rst"}
    for pattern in COPIED:
        for path in sorted(ROOT.glob(pattern)):
            pages[path] = DOCS / "generated/repository" / path.relative_to(ROOT)
            if path.name == "README.md":
                pages[path.parent] = pages[path]
    for path in (ROOT / "examples").glob("plot_*.py"):
        pages[path] = DOCS / "gallery" / path.with_suffix(".rst").name
    return pages


def relink(text: str, source: Path, page: Path, pages: dict[Path, Path]) -> str:
    """Text of the file `source` as it must read in `page`."""

    def target(match: re.Match[str]) -> str:
        label, path, anchor = match[1], match[2], match[3] or ""
        file = (source.parent / path).resolve()
        if file in pages:
            file = pages[file]
        elif not file.exists() or not file.is_relative_to(DOCS):
            return match[0] if not file.exists() else label
        mark = "!" if match[0].startswith("!") else ""
        return f"{mark}[{label}]({os.path.relpath(file, page.parent)}{anchor})"

    parts = FENCE.split(text)
    parts[::2] = [IMAGE.sub(target, LINK.sub(target, part)) for part in parts[::2]]
    return "".join(parts)


def write(path: Path, text: str) -> None:
    """Write a file unless it holds the text already, so that Sphinx reads only what changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_pages(app: Sphinx, config: object) -> None:
    """Copy the files of the repository, and write the page of each room."""
    pages = site_pages()
    for source, page in pages.items():
        if source.suffix == ".md" and page.is_relative_to(DOCS / "generated"):
            write(page, relink(source.read_text(encoding="utf-8"), source, page, pages))
    for room, text in room_pages().items():
        write(DOCS / "generated/rooms" / f"{room}.rst", text)


def relink_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """Turn the links of a page that lead out of docs."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".md" and not path.is_relative_to(DOCS / "generated"):
        content[0] = relink(content[0], path, path, site_pages())


def known_names() -> dict[str, str]:
    """Page of each public name, by every dotted name that is clear: with and without its room."""
    documented = homes()
    found: dict[str, str] = {}
    short: dict[str, set[str]] = {}
    for (room, name), home in documented.items():
        found[f"{PACKAGE}.{room}.{name}"] = found[f"{room}.{name}"] = found[home] = home
        short.setdefault(name, set()).add(home)
    found |= {f"{PACKAGE}.{room}": f"{PACKAGE}.{room}" for room in rooms()}
    for name, pages in short.items():
        # Plain words such as "read" are mostly no names.
        if len(pages) == 1 and not (name.islower() and "_" not in name):
            found[name] = pages.pop()
    return found


def link_names(app: Sphinx, tree: nodes.document) -> None:
    """Let public names in code font refer to their pages, in text that is Markdown."""
    if not app.env.doc2path(app.env.docname).suffix == ".md":
        return
    names = app.config.speechsent_names
    for literal in list(tree.findall(nodes.literal)):
        name = re.match(r"([\w.]*)(\(.*\))?$", literal.astext(), re.DOTALL)
        parents = (nodes.reference, nodes.title, addnodes.pending_xref)
        if not name or name[1] not in names or isinstance(literal.parent, parents):
            continue
        target = names[name[1]]
        reference = addnodes.pending_xref(
            "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=True
        )
        reference["refdoc"] = app.env.docname
        literal.replace_self(reference)
        reference += literal


def page_of(target: str, names: dict[str, str]) -> str | None:
    """Documented name of something that a docstring names shortly, or where it is defined."""
    first, _, last = target.rpartition(".")
    if target in names:
        return names[target]
    if first in names:  # a method of a class
        return f"{names[first]}.{last}"
    return names.get(last) if first.startswith(PACKAGE) else None


def find_name(app: Sphinx, env: object, node: addnodes.pending_xref, content: nodes.Element):
    """Resolve references to public names that Sphinx does not find as they are written."""
    objects = app.env.domains["py"].objects
    found = objects.get(page_of(node["reftarget"].lstrip("~"), app.config.speechsent_names))
    if node.get("refdomain") != "py" or found is None:
        return None
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the hooks."""
    app.add_config_value("speechsent_names", known_names(), "")
    app.connect("config-inited", write_pages, priority=100)
    app.connect("source-read", relink_page)
    app.connect("doctree-read", link_names)
    app.connect("missing-reference", find_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
