"""Small random encoders of Whisper, and the same in transformers."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.pretrained.encoder import TRANSFORMERS_NAMES

SMALL = {"n_mels": 80, "width": 64, "n_blocks": 4, "n_positions": 100}


def random_encoder(seed=0, **changes):
    """Encoder with random weights that make all parts matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        network = WhisperEncoder(**{**SMALL, **changes})
    network.to_empty(device="cpu")
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            scale = 0.02 if "positional" in name else 1.5 / tensor[0].numel() ** 0.5
            tensor.normal_(std=scale, generator=generator)
            if "ln" in name and name.endswith("weight"):
                tensor.add_(1.0)
    return network.eval()


def as_openai(network):
    """Content of a file as OpenAI writes it, with the beginning of a decoder."""
    state = {f"encoder.{key}": value for key, value in network.state_dict().items()}
    width = network.width
    state |= {f"encoder.ln_post.{name}": torch.ones(width) for name in ("weight", "bias")}
    state["decoder.token_embedding.weight"] = torch.zeros(7, width)
    dims = {
        "n_mels": network.n_mels,
        "n_audio_ctx": network.n_positions,
        "n_audio_state": width,
        "n_audio_head": width // 64,
        "n_audio_layer": len(network.blocks),
        "n_vocab": 7,
    }
    return {"dims": dims, "model_state_dict": {k: v.half() for k, v in state.items()}}


def peer(network):
    """The same encoder in transformers, and a function that gives its layers behind each block."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Peer

    config = transformers.WhisperConfig(
        num_mel_bins=network.n_mels,
        d_model=network.width,
        encoder_layers=len(network.blocks),
        encoder_attention_heads=network.width // 64,
        encoder_ffn_dim=4 * network.width,
        max_source_positions=network.n_positions,
    )
    with torch.random.fork_rng():
        other = Peer(config).eval()
    state = {}
    for key, value in network.state_dict().items():
        for theirs, ours in TRANSFORMERS_NAMES.items():
            key = key.replace(ours, theirs)
        state[key] = value
    missing = other.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) == {
        "layer_norm.weight",
        "layer_norm.bias",
    }

    def layers(frames):
        found = []

        def note(module, given, made):
            found.append(made[0] if isinstance(made, tuple) else made)

        hooks = [layer.register_forward_hook(note) for layer in other.layers]
        with torch.inference_mode():
            other(frames.transpose(1, 2))
        for hook in hooks:
            hook.remove()
        return [layer.reshape(len(frames), -1, network.width) for layer in found]

    return layers


def assert_same_layers(network, frames, tolerance=1e-5):
    expected = peer(network)(frames)
    with torch.inference_mode():
        found = list(network.layers(frames))[1:]
    assert len(found) == len(expected) == len(network.blocks)
    for layer, other in zip(found, expected, strict=True):
        assert (layer - other).abs().max() <= tolerance * other.abs().max()


def assert_the_same_however_asked(encoder, sounds, folder):
    """Alone, shuffled on threads, computed into a store and read from it."""

    def rows(encoder, X):
        made = encoder.fit_transform(X)
        return [np.asarray(made[row]) for row in range(len(X))]

    expected = rows(encoder, sounds)
    alone = [rows(encoder, [sound])[0] for sound in sounds]
    shuffled = rows(clone(encoder).set_params(n_jobs=2), sounds[::-1])[::-1]
    stored = [rows(clone(encoder).set_params(memory=folder), sounds) for _ in range(2)]
    for found in (alone, shuffled, *stored):
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
