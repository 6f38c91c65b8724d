"""Models on the hub: uploaded to a stand-in server, and loaded without running code."""

import sys

import numpy as np
import pytest
from hub_server import serving

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.deploy import BundleError, from_hub, push_to_hub, save_model
from sklearn_speechsent.inspection import ModelCard

constants = pytest.importorskip("huggingface_hub.constants")
FILES = {"README.md", "arrays.safetensors", "manifest.json", "pipeline.json"}
TOKEN = "hf_writer"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub of its own, with an empty cache and nobody logged in."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template)
        yield server


@pytest.fixture(scope="module")
def fitted(speech):
    pipeline = make_sentiment_pipeline(weights=None, n_components=4)
    return pipeline.fit(speech.data, speech.target)


def test_a_model_comes_back_as_it_was(server, fitted, speech):
    card = ModelCard.from_pipeline(fitted, speech.data[:6], speech.target[:6], title="Synthetic")
    commit = push_to_hub(fitted, "owner/name", card=card, token=TOKEN)
    ((sha, files),) = server.repositories["owner/name"]
    assert sha == commit and set(files) == FILES
    assert b"# Synthetic" in files["README.md"]
    loaded = from_hub("owner/name")
    np.testing.assert_array_equal(
        loaded.predict_proba(speech.data), fitted.predict_proba(speech.data)
    )


def test_a_bundle_is_uploaded_from_a_folder_and_from_a_zip_file(server, fitted, tmp_path):
    for path in (tmp_path / "folder", tmp_path / "file.zip"):
        save_model(fitted, path)
        push_to_hub(path, f"owner/{path.stem}", token=TOKEN)
    (tmp_path / "folder" / "private.txt").write_text("not for others")
    push_to_hub(tmp_path / "folder", "owner/again", token=TOKEN)
    found = [server.repositories[f"owner/{name}"][-1][1] for name in ("folder", "file", "again")]
    assert set(found[0]) == FILES and found[0] == found[1] == found[2]
    with pytest.raises(TypeError, match="card: for pipelines only"):
        push_to_hub(tmp_path / "folder", "owner/name", card="x", token=TOKEN)


def test_what_does_not_load_is_not_uploaded(server, fitted, tmp_path):
    save_model(fitted, tmp_path / "model")
    (tmp_path / "model" / "pipeline.json").write_text("{}")
    with pytest.raises(BundleError):
        push_to_hub(tmp_path / "model", "owner/name", token=TOKEN)
    assert not server.requests


def test_a_commit_stays_what_it_was(server, fitted, speech):
    first = push_to_hub(fitted, "owner/name", token=TOKEN)
    other = make_sentiment_pipeline(weights=None).fit(speech.data[:12], speech.target[:12])
    push_to_hub(other, "owner/name", token=TOKEN)
    expected = [fitted.predict_proba(speech.data), other.predict_proba(speech.data)]
    for revision, proba in zip((first, None), expected, strict=True):
        loaded = from_hub("owner/name", revision=revision)
        np.testing.assert_array_equal(loaded.predict_proba(speech.data), proba)


def test_what_was_downloaded_needs_no_hub(server, fitted, speech, monkeypatch):
    push_to_hub(fitted, "owner/name", token=TOKEN)
    from_hub("owner/name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    server.requests.clear()
    assert from_hub("owner/name").predict(speech.data[:1]) in fitted.classes_
    assert not server.requests


def test_no_file_but_those_of_a_bundle_is_downloaded_and_no_code_run(server, fitted, tmp_path):
    push_to_hub(fitted, "owner/name", token=TOKEN)
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    extra = ("pipeline.py", "__init__.py", "model.pkl", "config.json", "sub/manifest.json")
    server.commit("owner/name", dict.fromkeys(extra, trap))
    server.requests.clear()
    from_hub("owner/name")
    asked = {path.rpartition("/")[2] for _, path in server.requests if "/resolve/" in path}
    assert asked == FILES
    assert not (tmp_path / "ran").exists() and "pipeline" not in sys.modules


def test_a_repository_without_a_bundle(server):
    server.commit("owner/other", {"README.md": b"# Other", "model.safetensors": b"x"})
    with pytest.raises(BundleError, match=r"manifest\.json"):
        from_hub("owner/other")


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("owner/absent", None, "neither a folder owner/absent nor a public model"),
        ("owner/name", "v9", "owner/name has no revision 'v9'"),
        ("not a name", None, "Check the spelling"),
    ],
)
def test_what_the_hub_does_not_have(server, name, revision, message):
    server.commit("owner/name", {"README.md": b"# Name"})
    with pytest.raises(ValueError, match=message):
        from_hub(name, revision=revision)


def test_nobody_writes_without_a_token(server, fitted):
    with pytest.raises((ValueError, ConnectionError), match="hf auth login"):
        push_to_hub(fitted, "owner/name", token="hf_reader")
    assert not server.repositories


def test_a_hub_that_cannot_be_reached(server, fitted, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="pass the folder to load_model"):
        from_hub("owner/name")
    with pytest.raises(ConnectionError, match="owner/name could not be uploaded"):
        push_to_hub(fitted, "owner/name", token=TOKEN)


def test_without_the_library(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: from_hub("owner/name"), lambda: push_to_hub(fitted, "owner/name")):
        with pytest.raises(ImportError, match=r"sklearn-speechsent\[hub\]"):
            call()
