"""The structure of the package: no circles between modules, private parts used at home only."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sklearn_speechsent"
#: Folders of the project that hold its own text.
TEXT = ("sklearn_speechsent", "tests", "benchmarks", "experiments", "examples", "recipes", "docs")
#: These two may set SPEECHSENT_DATA to a folder next to the checkout.
MAY_LOOK_OUTSIDE = ("Makefile", ".ci/run")


def module_name(path, root):
    """Dotted name of a file of the package below ``root``."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(package):
    """Syntax tree of every module of a package, by name."""
    return {
        module_name(path, package.parent): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


def imports(tree):
    """Module and name of each import, wherever it stands; the name of a whole module is None."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


def import_graph(trees):
    """Modules of the package that each of its modules imports."""
    graph = {}
    for name, tree in trees.items():
        found = set()
        for module, item in imports(tree):
            whole = f"{module}.{item}"
            found.add(whole if whole in trees else module)
        graph[name] = sorted((found & set(trees)) - {name})
    return graph


def find_cycle(graph):
    """Modules along a circle, the first one again at the end; None if there is none."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        for imported in graph[module]:
            if cycle := visit(imported):
                return cycle
        path.pop()
        done.add(module)
        return None

    for module in graph:
        if cycle := visit(module):
            return cycle
    return None


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def room_of(name, packages):
    """Dotted name of the folder that holds a module; that of a folder is the folder itself."""
    return name if name in packages else name.rpartition(".")[0]


def trespasses(trees, packages):
    """Imports of private modules and names from outside of the folder that holds them."""
    found = []
    for importer, tree in trees.items():
        for module, item in imports(tree):
            if module.partition(".")[0] not in trees:
                continue
            name = module if item is None else f"{module}.{item}"
            parts = name.split(".")
            for k, part in enumerate(parts):
                if not is_private(part):
                    continue
                holder = ".".join(parts[:k])
                # The folder of a private name is that of its module.
                room = room_of(holder, packages)
                home = room_of(importer, packages)
                if home != room and not home.startswith(f"{room}."):
                    found.append(f"{importer} imports {name}")
    return found


def private_imports_of_scikit_learn(trees):
    """Modules that take what scikit-learn does not promise, and what they take."""
    return {
        (importer, f"{module}.{item or ''}")
        for importer, tree in trees.items()
        for module, item in imports(tree)
        if module.partition(".")[0] == "sklearn"
        and any(map(is_private, [*module.split("."), item or ""]))
    }


@pytest.fixture(scope="module")
def trees():
    return sources(PACKAGE)


@pytest.fixture(scope="module")
def packages(trees):
    return {module_name(path, ROOT) for path in PACKAGE.rglob("__init__.py")}


def test_no_circle_between_modules(trees):
    """Function-level imports and those for type checkers count."""
    graph = import_graph(trees)
    # The names of the package load on first use; what it lists for type checkers is no import.
    del graph["sklearn_speechsent"]
    graph = {name: [m for m in found if m in graph] for name, found in graph.items()}
    cycle = find_cycle(graph)
    assert cycle is None, " -> ".join(cycle)


def test_no_module_imports_the_names_of_the_package(trees):
    """They lie above all modules: such an import would be a circle."""
    above = {
        importer
        for importer, tree in trees.items()
        for module, item in imports(tree)
        if module == "sklearn_speechsent" and f"{module}.{item}" not in trees
    }
    assert not above


def test_private_parts_are_used_at_home_only(trees, packages):
    assert not trespasses(trees, packages)


def test_one_module_imports_private_parts_of_scikit_learn(trees):
    importers = {importer for importer, _ in private_imports_of_scikit_learn(trees)}
    assert importers == {"sklearn_speechsent.utils.sklearn_compat"}


def test_every_private_module_has_a_contract(trees):
    """import-linter takes no pattern like ``_*``: each private module is named in pyproject."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    protected = {}
    for contract in contracts:
        if contract["type"] == "protected":
            assert "ignore_imports" not in contract
            protected |= dict.fromkeys(contract["protected_modules"], contract["allowed_importers"])
    # Those at the top are open to the whole package.
    private = {name for name in trees if name.count(".") > 1 and is_private(name.split(".")[-1])}
    assert set(protected) == private
    for name, allowed in protected.items():
        assert allowed == [name.rpartition(".")[0]]


def test_nothing_looks_for_data_outside_of_the_project():
    outside = "../" + "shared"
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in (".ci", *TEXT):
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    found = set()
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if name in MAY_LOOK_OUTSIDE or "__pycache__" in name:
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        if outside in text or '/ "' + 'shared"' in text:
            found.add(name)
    assert not found


# -- the checks themselves find what they name -----------------------------------------------------


def planted(tmp_path, **files):
    """A package with the text of some modules; ``__`` in a name stands for a folder."""
    package = tmp_path / "sklearn_speechsent"
    for name, text in files.items():
        path = package.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    (package / "__init__.py").touch()
    trees = sources(package)
    return trees, {module_name(path, tmp_path) for path in package.rglob("__init__.py")}


@pytest.mark.parametrize(
    "back",
    [
        "from sklearn_speechsent.a.one import f",
        "import sklearn_speechsent.a.one",
        "from sklearn_speechsent.a import one",
        "def g():\n    from sklearn_speechsent.a.one import f",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sklearn_speechsent.a.one",
    ],
)
def test_circles_are_found(tmp_path, back):
    trees, _ = planted(
        tmp_path,
        a__one="from sklearn_speechsent.b.two import f",
        b__two="from sklearn_speechsent.c import f",
        c=back,
    )
    cycle = find_cycle(import_graph(trees))
    assert set(cycle) == {f"sklearn_speechsent.{name}" for name in ("a.one", "b.two", "c")}
    assert cycle[0] == cycle[-1]


@pytest.mark.parametrize(
    "text",
    [
        "from sklearn_speechsent.a._two import f",
        "from sklearn_speechsent.a import _two",
        "import sklearn_speechsent.a._two",
        "from sklearn_speechsent.a.one import _f",
    ],
)
def test_private_imports_are_found(tmp_path, text):
    trees, packages = planted(
        tmp_path, a__one="", a___two="", b__three=text, a__four=text, a__c__five=text
    )
    (found,) = trespasses(trees, packages)
    assert found.startswith("sklearn_speechsent.b.three imports sklearn_speechsent.a.")


@pytest.mark.parametrize(
    "text",
    [
        "from sklearn.base import _fit_context",
        "from sklearn.utils._tags import Tags",
        "from sklearn.utils import _tags",
        "import sklearn.utils._tags",
    ],
)
def test_private_imports_of_scikit_learn_are_found(tmp_path, text):
    trees, _ = planted(tmp_path, a__one=text)
    assert len(private_imports_of_scikit_learn(trees)) == 1
