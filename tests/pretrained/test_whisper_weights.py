"""Encoders of Whisper: taken out of OpenAI's files, read, and refused with a reason."""

import hashlib
import io

import pytest
import torch
from encoders import as_openai, random_encoder
from safetensors.torch import load_file, save_file

from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.pretrained import (
    build_encoder,
    fetch_weights,
    get_weights,
    has_weights,
    load_encoder_weights,
    load_weights,
    registry,
    weights_path,
)

SIZES = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12)}


@pytest.fixture
def whole():
    """Content of a file as OpenAI writes it."""
    file = io.BytesIO()
    torch.save(as_openai(random_encoder()), file)
    return file.getvalue()


@pytest.fixture
def served(server, register, home, whole):
    """Registered encoder, of which the server holds the whole Whisper."""
    server.content = whole
    return register(
        name="whisper-tiniest",
        path="models/whisper-tiniest-encoder.safetensors",
        kind=registry.ENCODER,
        urls=(server.url(),),
        architecture=random_encoder().architecture,
        whole_sha256=hashlib.sha256(whole).hexdigest(),
    )


def assert_same_network(network, expected):
    for name, tensor in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor.half().float()), name


@pytest.mark.parametrize("size", SIZES)
def test_registered_encoders(size):
    entry = get_weights(f"whisper-{size}")
    width, n_blocks = SIZES[size]
    with torch.device("meta"):
        network = WhisperEncoder(**entry.architecture)
    assert (network.width, len(network.blocks)) == (width, n_blocks)
    assert network.architecture == entry.architecture
    # OpenAI's own package names files by their checksums.
    assert len(entry.whole_sha256) == 64 and f"/{entry.whole_sha256}/{size}.pt" in entry.urls[0]
    assert entry.licence == "MIT"


def test_only_the_encoder_stays(server, served, home):
    path = fetch_weights("whisper-tiniest")
    assert path == weights_path(served) and len(server.requests) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert all(key.startswith("encoder.") for key in load_file(path))
    weights = load_encoder_weights("whisper-tiniest")
    assert weights.architecture == served.architecture
    assert_same_network(build_encoder(weights), random_encoder())
    assert len(build_encoder(weights, n_blocks=1).blocks) == 1
    assert fetch_weights("whisper-tiniest") == path and len(server.requests) == 1


def test_a_file_put_there_by_hand_is_used_without_network(server, served, home, whole):
    by_hand = home / "models" / "whisper-tiniest.pt"
    by_hand.parent.mkdir()
    by_hand.write_bytes(whole)
    with pytest.raises(FileNotFoundError) as caught:
        load_encoder_weights("whisper-tiniest")
    assert str(by_hand) in str(caught.value) and served.whole_sha256 in str(caught.value)
    fetch_weights("whisper-tiniest")
    assert not server.requests and by_hand.is_file() and has_weights("whisper-tiniest")
    weights_path(served).unlink()
    by_hand.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=f"expected {served.whole_sha256}.*Delete it"):
        fetch_weights("whisper-tiniest")
    assert not has_weights("whisper-tiniest")


def test_another_architecture_is_not_kept(server, register, home):
    file = io.BytesIO()
    torch.save(as_openai(random_encoder(n_blocks=2)), file)
    server.content = file.getvalue()
    register(
        name="whisper-tiniest",
        path="models/whisper-tiniest-encoder.safetensors",
        kind=registry.ENCODER,
        urls=(server.url(),),
        architecture=random_encoder().architecture,
        whole_sha256=hashlib.sha256(server.content).hexdigest(),
    )
    with pytest.raises(ValueError, match=r"'n_blocks': 2.*and not.*'n_blocks': 4"):
        fetch_weights("whisper-tiniest")
    assert list((home / "models").iterdir()) == []


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_of_ones_own(tmp_path, whole, suffix):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pt":
        path.write_bytes(whole)
    else:
        save_file(as_openai(random_encoder())["model_state_dict"], path)
    weights = load_encoder_weights(path)
    assert weights.name == str(path) and weights.architecture == random_encoder().architecture
    assert_same_network(build_encoder(weights), random_encoder())


class Harmful:
    def __reduce__(self):
        return print, ("this must not be run",)


def test_refused_files(tmp_path, capsys):
    path = tmp_path / "harmful.pt"
    torch.save({"dims": {}, "model_state_dict": {"encoder.conv1.weight": Harmful()}}, path)
    with pytest.raises(ValueError, match="holds other Python objects"):
        load_encoder_weights(path)
    assert not capsys.readouterr().out
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"does not hold an encoder of Whisper.*whisper-base"):
        load_encoder_weights(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="The file is damaged"):
        load_encoder_weights(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_encoder_weights(tmp_path / "absent.pt")
    with pytest.raises(ValueError, match="is a speech encoder and not a speaker network"):
        load_weights("whisper-base")


def test_the_registered_file_comes_out_of_openais_bit_by_bit(data_home, tmp_path, monkeypatch):
    from sklearn_speechsent.pretrained.encoder import encoder_file

    entry = get_weights("whisper-base")
    state = load_file(weights_path(entry))
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 512}
    dims |= {"n_audio_head": 8, "n_audio_layer": 6, "n_vocab": 51865}
    state["decoder.ln.weight"] = torch.ones(512)
    torch.save({"dims": dims, "model_state_dict": state}, tmp_path / "base.pt")
    content = encoder_file(tmp_path / "base.pt", entry)
    assert hashlib.sha256(content).hexdigest() == entry.sha256
