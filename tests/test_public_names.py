"""Public names load on first use, and what does not need torch starts without it."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_speechsent

#: What a fresh process finds out, step by step: a later import cannot undo an earlier one.
CODE = """
import json, sys
import sklearn_speechsent as package

found = {"listed": dir(package), "rooms at first": "sklearn_speechsent.audio" in sys.modules}
assert package.audio is sys.modules["sklearn_speechsent.audio"]
first = package.WaveformPerturbation
assert vars(package)["WaveformPerturbation"] is first
late = {"torch", "skorch", "onnx", "av", "matplotlib"}
found[""] = sorted(late & set(sys.modules))
for room in ("metrics", "audio", "datasets", "model_selection"):
    __import__(f"sklearn_speechsent.{room}")
    dir(package)
    found[room] = sorted(late & set(sys.modules))
from sklearn_speechsent import *
assert WaveformPerturbation is first and SpeechSentimentRegressor is not None
found["torch in the end"] = "torch" in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    """Report of a fresh process, in which warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_only_some_calls_need_is_not_imported(found):
    for room in ("", "metrics", "audio", "datasets", "model_selection"):
        assert found[room] == [], room


def test_names_load_on_first_use(found):
    assert not found["rooms at first"] and found["torch in the end"]


def test_dir_lists_public_names_and_rooms(found):
    listed = set(found["listed"])
    assert set(sklearn_speechsent.__all__) <= listed
    folder = Path(sklearn_speechsent.__file__).parent
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    rooms |= {path.stem for path in folder.glob("*.py")}
    # The first three serve the others, and the last two are commands.
    hidden = {"graphs", "training", "utils", "cli", "serve"}
    rooms = {name for name in rooms if not name.startswith("_")} - hidden
    assert rooms == set(sklearn_speechsent._SUBMODULES) <= listed


def test_every_name_is_there():
    for name in dir(sklearn_speechsent):
        assert getattr(sklearn_speechsent, name) is not None
    with pytest.raises(AttributeError, match=r"'sklearn_speechsent' has no attribute 'Emotion'"):
        _ = sklearn_speechsent.Emotion
    with pytest.raises(ImportError, match="Emotion"):
        exec("from sklearn_speechsent import Emotion")


def test_names_for_type_checkers_are_the_public_names():
    tree = ast.parse(Path(sklearn_speechsent.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    static = {
        alias.name: node.module.removeprefix("sklearn_speechsent.")
        for node in block.body
        for alias in node.names
    }
    assert static == sklearn_speechsent._MODULES
    assert sorted([*static, "__version__"]) == sorted(sklearn_speechsent.__all__)
    for name, module in static.items():
        room = importlib.import_module(f"sklearn_speechsent.{module}")
        assert getattr(sklearn_speechsent, name) is getattr(room, name)
        assert name in getattr(room, "__all__", [name])
