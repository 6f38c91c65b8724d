"""Small fitted models, and bundles of them that can be changed."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline, save_model
from sklearn_speechsent.datasets import make_speech_sentiment

FILES = ("manifest.json", "pipeline.json", "arrays.safetensors", "README.md")


@pytest.fixture(scope="session")
def speech():
    """Recordings of three levels."""
    return make_speech_sentiment(3, 4, levels=(-1, 0, 1), random_state=0)


@pytest.fixture(scope="session")
def table():
    """Rows of six features and their levels."""
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, 40)
    return (y[:, None] + rng.normal(size=(40, 6))).astype(np.float32), y


@pytest.fixture(scope="session")
def tiny(table):
    """Fitted classifier of a table."""
    return OrdinalClassifier(n_components=4).fit(*table)


@pytest.fixture(scope="session")
def pooled(speech):
    """Fitted Pipeline from recordings, without a network."""
    pipeline = make_sentiment_pipeline(weights=None, vad="passthrough")
    return pipeline.fit(speech.data, speech.target)


class Bundle:
    """Bundle in a folder whose files can be changed and sealed with new checksums."""

    def __init__(self, path):
        self.path = path

    def __getitem__(self, name):
        return (self.path / name).read_bytes()

    def __setitem__(self, name, content):
        (self.path / name).write_bytes(content)

    def change(self, name, function):
        """Change the JSON of a file by a function in place."""
        value = json.loads(self[name])
        function(value)
        self[name] = json.dumps(value).encode()
        return self.seal()

    def arrays(self, function, metadata=None):
        """Change the tensors by a function in place."""
        header = self["arrays.safetensors"]
        size = int.from_bytes(header[:8], "little")
        own = json.loads(header[8 : 8 + size])["__metadata__"]
        tensors = load(header)
        function(tensors)
        self["arrays.safetensors"] = save(tensors, own if metadata is None else metadata)
        return self.seal()

    def seal(self):
        """Let the manifest state the checksums of the files as they are."""
        manifest = json.loads(self["manifest.json"])
        for name in FILES[1:]:
            content = self[name]
            digest = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            manifest["files"][name] = digest
        self["manifest.json"] = json.dumps(manifest).encode()
        return self

    def zipped(self, path, names=FILES, compress=zipfile.ZIP_STORED, **attributes):
        """The same as a zip file."""
        with zipfile.ZipFile(path, "w", compress) as archive:
            for name in names:
                member = zipfile.ZipInfo(name)
                member.compress_type = compress
                for key, value in attributes.items():
                    setattr(member, key, value)
                archive.writestr(member, self[name])
        return path


@pytest.fixture
def bundle(tiny, tmp_path):
    """Bundle of the classifier of a table."""
    return Bundle(save_model(tiny, tmp_path / "bundle"))


@pytest.fixture
def speech_bundle(pooled, tmp_path):
    """Bundle of the Pipeline from recordings."""
    return Bundle(save_model(pooled, tmp_path / "speech"))


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Nothing here draws from torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state())
