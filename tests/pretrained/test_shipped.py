"""Weights that are part of the package: there without a download, and small on disk only."""

import shutil
import tomllib
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import FRAME_SETTINGS, SMALL, embed, network

from sklearn_speechsent import (
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeechSentimentRegressor,
    UtteranceFrames,
)
from sklearn_speechsent.nn import SpeakerBlocks
from sklearn_speechsent.pretrained import (
    REGISTRY,
    build_network,
    build_vad,
    fetch_weights,
    get_weights,
    has_weights,
    load_into,
    load_vad_weights,
    load_weights,
    registry,
    save_weights,
    weights_path,
)

NAME, VAD_NAME = "speechsent-seresnet", "speechsent-unet-vad"


def shipped_files():
    folder = resources.files("sklearn_speechsent") / "pretrained" / "weights"
    return [file for file in folder.iterdir() if file.name.endswith(".safetensors")]


# --- the file


def test_the_package_holds_the_registered_file(home):
    entry = get_weights(NAME)
    assert {name for name in REGISTRY if REGISTRY[name].shipped} == {NAME, VAD_NAME}
    path = fetch_weights(NAME)
    assert has_weights(NAME) and path == weights_path(entry)
    assert path.name in {file.name for file in shipped_files()}
    by_name, by_path = load_weights(NAME), load_weights(path)  # the former verifies it
    assert by_name.sha256 == by_path.sha256 == entry.sha256
    assert by_name.architecture == by_path.architecture
    assert by_name.frame_settings == by_path.frame_settings
    assert by_name.extra["licence"] == by_path.extra["licence"] == "CC BY 4.0"
    assert not by_name.folded
    assert build_network(by_name).architecture == by_name.architecture
    assert not list(home.iterdir())


@pytest.mark.parametrize("name", [NAME, VAD_NAME])
def test_cards_state_the_file(name):
    entry = get_weights(name)
    card = weights_path(entry).with_suffix(".md").read_text(encoding="utf-8")
    for stated in (entry.sha256, f"{name}.safetensors", f"| Licence | {entry.licence} |"):
        assert stated in card


def test_shipped_files_are_small():
    assert sum(len(file.read_bytes()) for file in shipped_files()) < 16e6


def test_wheels_hold_the_files():
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["sklearn_speechsent"]
    for file in shipped_files():
        assert any(fnmatch(f"pretrained/weights/{file.name}", pattern) for pattern in patterns)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Place of the file in an installation that lacks it."""
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path / "package")
    path = weights_path(get_weights(NAME))
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("ask", [fetch_weights, load_weights])
def test_an_incomplete_installation(installed, home, ask):
    assert not has_weights(NAME)
    with pytest.raises(FileNotFoundError, match="Please reinstall the package") as caught:
        ask(NAME)
    assert str(installed) in str(caught.value) and "SPEECHSENT_DATA" not in str(caught.value)


@pytest.mark.parametrize("ask", [fetch_weights, load_weights])
def test_a_damaged_installation(installed, home, ask):
    installed.write_bytes(b"no network at all")
    with pytest.raises(ValueError, match=r"sha256 .*Please reinstall the package") as caught:
        ask(NAME)
    assert "fetch_weights" not in str(caught.value)


def test_another_checksum_contradicts_the_registry(home):
    assert fetch_weights(NAME, sha256=get_weights(NAME).sha256).is_file()
    with pytest.raises(ValueError, match="Leave sha256 out"):
        fetch_weights(NAME, sha256="0" * 64)


# --- weights that shipped with an earlier version


REPOSITORY = Path(__file__).parents[2]
FORMER = sorted(name for name, entry in REGISTRY.items() if entry.former)


def of_kind(name):
    """Functions that load and build networks of this kind."""
    detects = get_weights(name).kind == registry.VAD
    return (load_vad_weights, build_vad) if detects else (load_weights, build_network)


def load_any(name):
    return of_kind(name)[0](name)


@pytest.mark.parametrize("name", FORMER)
def test_former_weights_are_found_in_a_checkout(home, name):
    assert has_weights(name) and fetch_weights(name) == REPOSITORY / get_weights(name).path
    assert load_any(name).sha256 == get_weights(name).sha256
    assert not list(home.iterdir())


@pytest.mark.parametrize("name", FORMER)
@pytest.mark.parametrize("ask", [fetch_weights, load_any])
def test_former_weights_are_copied_from_the_repository(home, monkeypatch, tmp_path, ask, name):
    package = tmp_path / "site-packages" / "sklearn_speechsent"
    shutil.copytree(weights_path(get_weights(NAME)).parent, package / "pretrained" / "weights")
    monkeypatch.setattr(registry, "_PACKAGE", package)
    entry = get_weights(name)
    assert not has_weights(name) and not entry.shipped
    says = f"[Cc]opy models/weights/{name}.safetensors of the package's repository to {home}/"
    with pytest.raises(FileNotFoundError, match=says):
        ask(name)
    path = weights_path(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another network")
    with pytest.raises(ValueError, match=f"expected {entry.sha256}"):
        ask(name)
    path.write_bytes((REPOSITORY / entry.path).read_bytes())
    ask(name)
    former, latest = load_any(name), load_any(name.removesuffix("-1"))
    assert former.sha256 == entry.sha256 and former.architecture == entry.architecture
    assert of_kind(name)[1](former).architecture != latest.architecture


@pytest.mark.parametrize("name", FORMER)
def test_former_weights_have_cards(name):
    path = REPOSITORY / get_weights(name).path
    assert get_weights(name).sha256 in path.with_suffix(".md").read_text(encoding="utf-8")


# --- float16 in a file, float32 in use


@pytest.fixture(params=["safetensors", "pt"])
def pair(request, tmp_path):
    """Files of the same numbers, in float16 as far as they are weights, and in float32."""
    layout = {**SMALL, "se_ratio": 2}
    state = network(**layout).state_dict()
    halved = {key: t.half() if t.ndim > 1 else t for key, t in state.items()}
    whole = {key: t.float() if t.is_floating_point() else t for key, t in halved.items()}
    paths = []
    for name, tensors in (("half", halved), ("whole", whole)):
        path = tmp_path / f"{name}.{request.param}"
        if request.param == "pt":
            torch.save(tensors, path)
        else:
            save_weights(path, tensors, architecture=layout, frame_settings=FRAME_SETTINGS)
        paths.append(path)
    assert paths[0].stat().st_size < paths[1].stat().st_size
    return paths


@pytest.fixture
def frames(rng):
    utterances = [rng.normal(size=(n, 24)).astype(np.float32) for n in (30, 17, 22, 40)]
    return UtteranceFrames.from_arrays(utterances)


def test_halves_load_as_float32(pair, rng):
    half, whole = map(load_weights, pair)
    assert half.architecture == whole.architecture and half.folded == whole.folded
    for key, tensor in whole.state.items():
        assert half.state[key].dtype == tensor.dtype and torch.equal(half.state[key], tensor), key
    networks = [build_network(weights) for weights in (half, whole)]
    assert all(p.dtype == torch.float32 for p in networks[0].parameters())
    x = torch.from_numpy(rng.normal(size=(2, 17, 24))).float()
    assert torch.equal(*(embed(net, x) for net in networks))


def test_halves_are_copied_into_float32(rng):
    source = network(se_ratio=2).half().state_dict()
    layout = {name: value for name, value in SMALL.items() if name != "embedding_size"}
    with torch.random.fork_rng(devices=[]):
        blocks = SpeakerBlocks(2, **{**layout, "se_ratio": 2})
    load_into(blocks, source, "half")
    for key, tensor in blocks.state_dict().items():
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float32 and torch.equal(tensor, source[key].float()), key


def test_halves_give_the_same_features(pair, frames):
    def embeddings(path):
        return SpeakerEmbedder(path).fit_transform(frames)

    def statistics(path):
        return SpeakerFeatureExtractor(path, n_blocks=2, n_bands=4).fit_transform(frames)

    def intensities(path):
        net = SpeechSentimentRegressor(
            weights=path,
            module__n_frozen_blocks=1,
            module__n_tuned_blocks=1,
            max_epochs=1,
            batch_size=4,
            n_jobs=1,
            random_state=0,
        )
        net.fit(frames, [-1.0, 0.0, 1.0, 2.0])
        assert all(p.dtype == torch.float32 for p in net.module_.parameters())
        return net.predict(frames)

    for extract in (embeddings, statistics, intensities):
        half, whole = map(extract, pair)
        assert half.dtype == np.float32
        np.testing.assert_array_equal(half, whole)
