"""The documentation: every public name has its place, links and names lead somewhere."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

import sklearn_speechsent

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
PAGES = sorted(
    path
    for path in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    if not {"generated", "gallery"} & set(path.relative_to(ROOT).parts)
)


@pytest.fixture(scope="module")
def public_names():
    """The module of the site that knows the names, without Sphinx."""
    sys.path.insert(0, str(DOCS / "_ext"))
    yield importlib.import_module("public_names")
    sys.path.remove(str(DOCS / "_ext"))


def code(text):
    """What a page has in code font, without blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def test_the_api_page_lists_every_public_name(public_names):
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^##+ ([\w ]+)\n(.*?)(?=^#|\Z)", text, re.M | re.S))
    top = {name for name in sklearn_speechsent.__all__ if not name.startswith("_")}
    assert set(code(sections["sklearn_speechsent"])) == top
    for room, names in public_names.rooms().items():
        listed = [name.removeprefix(f"{room}.") for name in code(sections[room])]
        assert sorted(listed) == sorted([*names, f"sklearn_speechsent.{room}"]), room


def test_every_name_has_one_page(public_names):
    """Pages of rooms refer to the page of each object, and an object has a single one."""
    pages = public_names.room_pages()
    for (room, name), home in public_names.homes().items():
        item = getattr(importlib.import_module(f"sklearn_speechsent.{room}"), name)
        module, _, attribute = home.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) is item
        if public_names.kind(item) == "Constants":
            assert f".. py:data:: {home.partition('.')[2]}\n" in pages[room], home
        else:
            assert f"   ~{home.partition('.')[2]}\n" in pages[room] + "\n"
            assert (inspect.getdoc(item) or "").strip(), home


def test_see_also_names_what_is_there(public_names):
    known = {name for _, name in public_names.homes()}
    for room, name in public_names.homes():
        item = getattr(importlib.import_module(f"sklearn_speechsent.{room}"), name)
        if not (inspect.isclass(item) or inspect.isfunction(item)):
            continue
        for entries, _ in NumpyDocString(inspect.getdoc(item) or "")["See Also"]:
            for entry, _ in entries:
                if entry.split(".")[0] in ("sklearn", "scipy", "numpy", "torch"):
                    continue
                assert entry.rpartition(".")[2] in known, f"{room}.{name}: {entry}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s:]+)\)", text):
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
            assert anchor in anchors, target


def test_every_page_of_a_folder_is_in_its_table():
    for folder in ("guide", "results"):
        index = (DOCS / folder / "index.md").read_text(encoding="utf-8")
        for page in (DOCS / folder).glob("*.md"):
            assert page.name == "index.md" or f"]({page.name})" in index, page


def test_classes_and_tests_of_the_paper_are_there(public_names):
    known = {name for _, name in public_names.homes()}
    for text in code((DOCS / "from_paper_to_code.md").read_text(encoding="utf-8")):
        if "/" in text:
            assert (ROOT / text).exists(), text
        elif re.fullmatch(r"[A-Za-z_]{3,}(\(.*\))?", text):
            assert text.partition("(")[0] in known, text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_have_a_title(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    title, line, empty, *explained = ast.get_docstring(ast.parse(text)).splitlines()
    assert set(line) == {"="} and len(line) == len(title) and not empty and explained
    assert "plt.show()" in text


def test_there_are_enough_examples():
    assert len(EXAMPLES) >= 12
