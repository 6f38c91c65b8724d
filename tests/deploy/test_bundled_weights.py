"""Pre-trained weights in bundles: inside or named, their origin, and what must not be believed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from changed_bundle import Bundle

from sklearn_speechsent import load_model, make_sentiment_pipeline, save_model
from sklearn_speechsent.deploy import BundleError
from sklearn_speechsent.deploy.licences import strictest
from sklearn_speechsent.pretrained import REGISTRY, load_weights, save_weights

SREXT, VAD = 4, 1


@pytest.fixture(scope="module")
def small(speech):
    """The small system, whose two networks ship."""
    return make_sentiment_pipeline().fit(speech.data[:6], speech.target[:6])


@pytest.fixture(scope="module")
def saved(small, tmp_path_factory):
    return save_model(small, tmp_path_factory.mktemp("saved") / "named", weights="reference")


@pytest.fixture
def named(saved, tmp_path):
    """Bundle that names its weights, to be changed."""
    return shutil.copytree(saved, tmp_path / "named")


def size(path):
    return sum(file.stat().st_size for file in path.iterdir())


def test_named_weights(small, named, speech, tmp_path):
    inside = save_model(small, tmp_path / "inside")
    assert size(named) < size(inside) - 2e6
    expected = small.predict_proba(speech.data[:3])
    for path in (named, inside):
        np.testing.assert_array_equal(load_model(path).predict_proba(speech.data[:3]), expected)


def test_named_weights_that_are_not_there(named, monkeypatch):
    entry = replace(REGISTRY["speechsent-seresnet"], path="models/none.onnx", shipped=False)
    monkeypatch.setitem(REGISTRY, entry.name, entry)
    with pytest.raises(FileNotFoundError, match="'speechsent-seresnet' are expected at"):
        load_model(named)


def test_named_weights_of_an_earlier_version(home, speech, tmp_path, monkeypatch):
    """Their name has other weights now: what was saved with them is found by the checksum."""
    entry = REGISTRY["speechsent-seresnet-1"]
    model = make_sentiment_pipeline(weights=entry.name, n_jobs=1)
    model.fit(speech.data[::2], speech.target[::2])
    path = save_model(model, tmp_path / "bundle", weights="reference")
    damage(path, 4, "network_", "registered", value="speechsent-seresnet")
    np.testing.assert_array_equal(
        load_model(path).predict_proba(speech.data[:3]), model.predict_proba(speech.data[:3])
    )
    gone = replace(entry, path="models/weights/gone.safetensors")
    monkeypatch.setitem(REGISTRY, entry.name, gone)
    with pytest.raises(FileNotFoundError, match=f"Copy {gone.path} of the package's repository"):
        load_model(path)


def test_weights_that_were_changed_are_inside(small, tmp_path, speech):
    before = small["srext"].network_.conv1.weight.detach().clone()
    try:
        with torch.no_grad():
            small["srext"].network_.conv1.weight.mul_(1.5)
        path = save_model(small, tmp_path / "changed", weights="reference")
        tree = json.loads((path / "pipeline.json").read_text())
        steps = dict(tree["params"]["steps"])
        assert set(steps["srext"]["state"]["network_"]) == {"embedded"}
        assert steps["vad"]["state"]["network_"]["registered"] == "speechsent-unet-vad"
        expected = small.predict_proba(speech.data[:2])
        np.testing.assert_array_equal(load_model(path).predict_proba(speech.data[:2]), expected)
    finally:
        with torch.no_grad():
            small["srext"].network_.conv1.weight.copy_(before)


def test_origin_and_licence(small, tmp_path):
    path = save_model(
        small, tmp_path / "a", corpus="RAVDESS", licence="CC BY-NC-SA 4.0", measures={"MAE": 0.5}
    )
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["licence"] == "CC BY-NC-SA 4.0"
    assert manifest["measures"] == {"MAE": 0.5}
    assert manifest["corpus"] == "RAVDESS" and manifest["sample_rate"] == 16000
    names = {entry["name"]: entry for entry in manifest["weights"]}
    assert set(names) == {"speechsent-seresnet", "speechsent-unet-vad"}
    entry = names["speechsent-seresnet"]
    assert entry["sha256"] == REGISTRY["speechsent-seresnet"].sha256
    assert entry["licence"] == "CC BY 4.0" and "LibriSpeech" in entry["attribution"]
    card = (path / "README.md").read_text()
    assert "CC BY-NC-SA 4.0" in card and "speechsent-seresnet" in card


def test_weights_of_no_known_licence_decide(speech, tmp_path):
    weights = load_weights("speechsent-seresnet")
    path = save_weights(
        tmp_path / "own.safetensors",
        weights.state,
        architecture=weights.architecture,
        frame_settings=weights.frame_settings,
    )
    model = make_sentiment_pipeline(weights=path).fit(speech.data[:6], speech.target[:6])
    saved = save_model(model, tmp_path / "a", licence="CC BY-NC 4.0", weights="reference")
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["licence"] == "not stated"
    assert "own.safetensors" in {entry["name"] for entry in manifest["weights"]}
    assert str(tmp_path).encode() not in b"".join(f.read_bytes() for f in saved.iterdir())
    path.unlink()
    np.testing.assert_array_equal(
        load_model(saved).predict_proba(speech.data[:2]), model.predict_proba(speech.data[:2])
    )


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ([], None),
        (["MIT", "Apache-2.0", "BSD-3-Clause"], "Apache-2.0"),
        (["CC BY 4.0", "CC BY-SA 4.0", "CC-BY-4.0"], "CC BY-SA 4.0"),
        (["cc-by-nc-4.0", "CC BY 4.0 according to its page"], "cc-by-nc-4.0"),
        (["CC BY-NC-SA 4.0", "my own terms", "CC0"], "my own terms"),
    ],
)
def test_the_strictest_licence(licences, expected):
    assert strictest(licences) == expected


def test_half_precision(small, speech, tmp_path):
    exact = save_model(small, tmp_path / "exact")
    half = save_model(small, tmp_path / "half", dtype="float16")
    assert size(half) < size(exact)
    manifest = json.loads((half / "manifest.json").read_text())
    assert manifest["examples"]["tolerance"] == 3e-2
    found = load_model(half).predict_proba(speech.data)
    np.testing.assert_allclose(found, small.predict_proba(speech.data), atol=1e-2)


def damage(path, step, *keys, value):
    """Change what a bundle says of the weights of a step, and its checksums."""

    def change(tree):
        place = tree["params"]["steps"][step][1]["state"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return Bundle(path).change("pipeline.json", change).path


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("network_", "registered"), "/etc/passwd", "not a name in the registry"),
        (("network_", "registered"), "(in the bundle)", "not a name in the registry"),
        (("network_", "registered"), "wespeaker-voxceleb-resnet34", "expected at|sha256|fit"),
        (("network_", "sha256"), "0" * 64, f"have sha256 {REGISTRY['speechsent-seresnet'].sha256}"),
        (("weights_", "architecture", "dict", "widths"), {"tuple": [10**6] * 4}, "architecture"),
        (("weights_", "architecture", "dict", "depths"), {"tuple": [10**6] * 4}, "architecture"),
        (("weights_", "architecture", "dict", "depths"), {"tuple": [2, 2]}, "differ in length"),
        (("weights_", "architecture", "dict", "widths"), {"tuple": [2**17] * 4}, "does not fit"),
        (("weights_", "architecture"), {"dict": {}}, "must state n_mels"),
        (("weights_", "frame_settings"), {"dict": {}}, "n_mels"),
        (("weights_", "folded"), 1, "true or false"),
        (("weights_", "extra"), {"x": "y"}, "extra has"),
        (("weights_", "name"), 3, "are texts"),
        (("domain_",), {"evil": [0, 1]}, "not properties"),
        (("domain_",), {"speech": [1, 0]}, "is empty"),
        (("embedding_size_",), -1, "is not from 0"),
        (("n_features_in_",), 81, "fails|expecting"),
    ],
)
def test_what_is_not_believed(named, keys, value, message):
    with pytest.raises((BundleError, FileNotFoundError), match=message):
        load_model(damage(named, SREXT, *keys, value=value))


def test_tensors_that_are_not_those_of_the_network(small, tmp_path):
    name = "model.steps.srext.network_/conv1.weight"
    for change, message in [
        (lambda t: t.update({name: t[name][:1].clone()}), "has shape"),
        (lambda t: t.update({name: torch.full_like(t[name], torch.nan)}), "NaN or infinity"),
        (lambda t: t.pop(name), "tensors are stored of"),
    ]:
        bundle = Bundle(save_model(small, tmp_path / "a"))
        with pytest.raises(BundleError, match=message):
            load_model(bundle.arrays(change).path)
