"""Registered weights on a web server of this machine."""

import hashlib

import pytest
from faulty_server import serving

from sklearn_speechsent.pretrained import REGISTRY, RegisteredWeights, get_weights


@pytest.fixture
def server(monkeypatch):
    """Web server on this machine whose content is 100,000 bytes."""
    with serving(bytes(i * i % 251 for i in range(100_000)), monkeypatch) as server:
        yield server


@pytest.fixture
def register(monkeypatch):
    """Function that registers weights during a test."""

    def add(name="test-weights", **settings):
        like = get_weights("wespeaker-voxceleb-resnet34")
        defaults = {
            "path": f"models/{name}.onnx",
            "sha256": None,
            "licence": "CC BY 4.0",
            "attribution": "an author",
            "frame_settings": like.frame_settings,
            "architecture": like.architecture,
        }
        entry = RegisteredWeights(name=name, **{**defaults, **settings})
        monkeypatch.setitem(REGISTRY, name, entry)
        return entry

    return add


@pytest.fixture
def served(server, register, home):
    """Registered weights that the server holds."""
    sha256 = hashlib.sha256(server.content).hexdigest()
    return register(sha256=sha256, urls=(server.url(),))
