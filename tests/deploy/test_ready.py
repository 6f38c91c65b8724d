"""The ready model: found by its name, alone on a machine without network, in no package."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sklearn_speechsent import load_model, make_sentiment_pipeline, save_model
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.deploy import ready

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "valence-acted"
#: Not among the actors that the model was trained on; a man and a woman.
UNHEARD = (23, 24)
#: What a fresh process does: no network, no data home, no torch hub, five files.
CODE = """
import socket, sys

def refuse(event, args):
    if event.startswith("socket."):
        raise RuntimeError(f"this test is offline, but {event} was called")

sys.addaudithook(refuse)
from sklearn_speechsent import load_model
model = load_model("valence-acted")
print(*model.predict(sys.argv[1:]))
"""


def test_the_model_scores_five_recordings_of_actors_that_it_has_not_heard(data_home, tmp_path):
    """In a process without data home and without network."""
    ravdess = load_ravdess(data_home=data_home)
    rows = np.flatnonzero(np.isin(ravdess.groups, UNHEARD))[[0, 20, 40, 60, 100]]
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {
        **os.environ,
        "SPEECHSENT_DATA": str(empty),
        "HOME": str(empty),
        "USERPROFILE": str(empty),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE, *ravdess.data[rows]],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    levels = np.array(done.stdout.split(), dtype=float)
    assert set(levels) <= {-2, -1, 0, 1, 2}
    assert np.abs(levels - ravdess.target[rows]).mean() <= 1
    assert not list(empty.iterdir())


def test_the_model_hears_valence_in_voices_that_are_new_to_it(data_home):
    ravdess = load_ravdess(data_home=data_home)
    unheard = np.flatnonzero(np.isin(ravdess.groups, UNHEARD))[::4]
    y, X = ravdess.target[unheard], ravdess.data[unheard]
    error = np.abs(load_model("valence-acted").predict(X) - y).mean()
    assert error < 0.8 * np.abs(np.median(ravdess.target) - y).mean()


def test_what_the_folder_holds():
    size = sum(file.stat().st_size for file in MODEL.iterdir())
    assert size <= 6e6
    card, licence = (MODEL / name for name in ("README.md", "LICENSE"))
    text = card.read_text(encoding="utf-8")
    assert 'license: "cc-by-nc-sa-4.0"' in text and "[to be filled in" not in text
    for part in ("proxy for sentiment", "Decisions about people", "### By sex", "### By actor"):
        assert part in text
    for part in ("### On degraded speech", "### Calibration", "Other languages were not measured"):
        assert part in text
    assert "Livingstone" in text and "NonCommercial-ShareAlike" in licence.read_text("utf-8")
    # No rows of all 3,840 features: those of the kernel have as many as there are components.
    header = (MODEL / "arrays.safetensors").read_bytes()[:200_000].decode("latin-1")
    shapes = re.findall(r'"shape":\[(\d+),(\d+)\]', header)
    assert max(min(int(a), int(b)) for a, b in shapes) < 400


def test_neither_wheel_nor_source_distribution_holds_models(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("sklearn_speechsent", "models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    code = "from setuptools.build_meta import *; build_sdist('dist'); build_wheel('dist')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,), (source,) = (list((copy / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive, tarfile.open(source) as other:
        names = [*archive.namelist(), *other.getnames()]
    assert any(name.endswith("deploy/ready.py") for name in names)
    assert not [name for name in names if "valence" in name or "/models/" in name]


# -- where it is looked for ------------------------------------------------------------------------


@pytest.fixture
def bundle(speech, tmp_path):
    pipeline = make_sentiment_pipeline(weights=None).fit(speech.data, speech.target)
    return save_model(pipeline, tmp_path / "bundle")


def test_the_data_home_comes_first(home, bundle, speech, monkeypatch):
    monkeypatch.setattr(ready, "_CHECKOUT", home / "nowhere")
    with pytest.raises(FileNotFoundError, match=rf"not in {re.escape(str(home))}/models/valence"):
        load_model("valence-acted")
    shutil.copytree(bundle, home / "models" / "valence-acted")
    expected = load_model(bundle).predict_proba(speech.data)
    np.testing.assert_array_equal(load_model("valence-acted").predict_proba(speech.data), expected)


def test_a_folder_of_the_users_is_meant_where_there_is_one(home, bundle, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    bundle.rename(tmp_path / "valence-acted")
    assert ready.find_ready("valence-acted") is None
    assert load_model("valence-acted").classes_.tolist() == [-1, 0, 1]


def test_other_names_are_paths(home):
    with pytest.raises(FileNotFoundError, match="There is no bundle at"):
        load_model("valence-felt")
