"""Links of the built pages: each must lead somewhere, and nothing may be loaded from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import SphinxError


class Page(HTMLParser):
    """Places of a page that links can lead to, its links, and what a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one tag."""
        values = {name: value for name, value in attrs if value}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("img", "script", "source", "audio", "video", "iframe") and "src" in values:
            self.loaded.append(values["src"])
        elif tag == "link" and "href" in values:
            self.loaded.append(values["href"])


def problems(folder: Path) -> list[str]:
    """Links of the pages of a folder that lead nowhere, one line each."""
    # The theme has a template there.
    paths = set(folder.rglob("*.html")) - set((folder / "_static").rglob("*.html"))
    pages = {path: Page(path) for path in sorted(paths)}
    found = []
    for path, page in pages.items():
        where = path.relative_to(folder)
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    found.append(f"{where} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{where} links to {link}, which is not there")
            elif parts.fragment and target in pages and link != "#":
                if unquote(parts.fragment) not in pages[target].places:
                    found.append(f"{where} links to {link}, a place that its page does not have")
    return found


def check(app: Sphinx, exception: Exception | None) -> None:
    """Fail the build if a link leads nowhere."""
    if exception is None and app.builder.name == "html":
        found = problems(Path(app.outdir).resolve())
        if found:
            raise SphinxError("\n".join([f"{len(found)} links lead nowhere:", *found[:50]]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the check, after all that writes pages."""
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
