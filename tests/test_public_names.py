"""Public names load on first use, and what does not need torch starts without it."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_speechsent


def in_a_fresh_process(code):
    """Output of a program, in which warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_only_some_calls_need_is_not_imported():
    """One process for all rooms, as a later import cannot undo an earlier one."""
    code = (
        "import sys\n"
        "late = {'torch', 'skorch', 'onnx', 'av', 'matplotlib'}\n"
        "for module in ('', '.metrics', '.audio', '.datasets', '.model_selection'):\n"
        "    __import__(f'sklearn_speechsent{module}')\n"
        "    dir(sys.modules['sklearn_speechsent'])\n"
        "    print(module, sorted(late & set(sys.modules)))"
    )
    lines = in_a_fresh_process(code).splitlines()
    assert len(lines) == 5 and all(line.endswith("[]") for line in lines), lines


def test_names_load_on_first_use():
    code = (
        "import sys, sklearn_speechsent as package\n"
        "assert 'sklearn_speechsent.audio' not in sys.modules\n"
        "assert package.audio is sys.modules['sklearn_speechsent.audio']\n"
        "first = package.WaveformPerturbation\n"
        "assert vars(package)['WaveformPerturbation'] is first\n"
        "assert 'torch' not in sys.modules\n"
        "from sklearn_speechsent import *\n"
        "assert WaveformPerturbation is first and SpeechSentimentRegressor is not None\n"
        "print('torch' in sys.modules)"
    )
    assert in_a_fresh_process(code) == "True"


def test_dir_lists_public_names_and_rooms():
    code = "import sklearn_speechsent; print(*dir(sklearn_speechsent))"
    listed = set(in_a_fresh_process(code).split())
    assert set(sklearn_speechsent.__all__) <= listed
    folder = Path(sklearn_speechsent.__file__).parent
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    rooms |= {path.stem for path in folder.glob("*.py")}
    # These two serve the others.
    rooms = {name for name in rooms if not name.startswith("_")} - {"training", "utils"}
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
