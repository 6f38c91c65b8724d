"""Whisper's encoder in transformers, CTranslate2, faster-whisper and onnxruntime."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.pretrained.encoder import TRANSFORMERS_NAMES

#: Last layer (n_positions, width) for samples (n,) at 16 kHz, or for log-mel frames (T, n_mels).
Peer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def lacks(*modules: str) -> str:
    """Say which modules are not installed; empty if all are.

    Parameters
    ----------
    *modules : str

    Returns
    -------
    str
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def as_transformers(network: WhisperEncoder) -> Any:
    """The network as a Whisper of transformers, whose decoder is random and as small as can be.

    Parameters
    ----------
    network : WhisperEncoder
        Not prepared.

    Returns
    -------
    WhisperForConditionalGeneration
        Its norm behind the last block neither scales nor shifts.
    """
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    heads = network.width // 64
    config = WhisperConfig(
        vocab_size=51865,
        num_mel_bins=network.n_mels,
        d_model=network.width,
        encoder_layers=len(network.blocks),
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * network.width,
        decoder_layers=1,
        decoder_attention_heads=heads,
        decoder_ffn_dim=network.width,
        max_source_positions=network.n_positions,
        max_target_positions=4,
    )
    with torch.random.fork_rng():
        model = WhisperForConditionalGeneration(config).eval()
    state = {}
    for key, value in network.state_dict().items():
        for theirs, ours in TRANSFORMERS_NAMES.items():
            key = key.replace(ours, theirs)
        state[key] = value
    missing = model.model.encoder.load_state_dict(state, strict=False)
    # Keys have no bias in Whisper, and the last norm is the identity.
    if missing.unexpected_keys or len(missing.missing_keys) > 2:
        raise ValueError(f"transformers names tensors in another way: {missing}.")
    return model


def transformers_as_it_comes(model: Any, attention: str) -> Peer:
    """Feature extractor and encoder of transformers, which pads to 30 s.

    Parameters
    ----------
    model : WhisperForConditionalGeneration
    attention : {"sdpa", "eager"}

    Returns
    -------
    callable
        From samples.
    """
    from transformers import WhisperFeatureExtractor

    extract = WhisperFeatureExtractor(model.config.num_mel_bins)
    encoder = model.model.encoder

    def run(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        encoder.set_attn_implementation(attention)
        inputs = extract(samples, sampling_rate=16000, return_tensors="pt")
        with torch.inference_mode():
            return encoder(inputs.input_features).last_hidden_state[0].numpy()

    return run


def write_ctranslate2(model: Any, folder: Path) -> None:
    """Write a model in CTranslate2's format, as its converter of transformers does.

    Parameters
    ----------
    model : WhisperForConditionalGeneration
    folder : Path
        Made here.
    """
    from ctranslate2.converters.transformers import WhisperLoader

    spec = WhisperLoader().get_model_spec(model)
    # The decoder is not run: it needs words, but no right ones.
    spec.register_vocabulary([f"word{number}" for number in range(model.config.vocab_size)])
    for name in ("suppress_ids", "suppress_ids_begin", "alignment_heads", "lang_ids"):
        setattr(spec.config, name, [])
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))


def ctranslate2(folder: Path, kind: str, n_threads: int) -> Peer:
    """CTranslate2 on frames at their own length.

    Parameters
    ----------
    folder : Path
        Of :func:`write_ctranslate2`.
    kind : str
        Type that it computes in.
    n_threads : int

    Returns
    -------
    callable
        From frames.
    """
    from ctranslate2 import StorageView
    from ctranslate2.models import Whisper

    model = Whisper(str(folder), device="cpu", compute_type=kind, intra_threads=n_threads)

    def run(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        given = StorageView.from_array(np.ascontiguousarray(frames.T[None]))
        return np.array(model.encode(given))[0]

    return run


def faster_whisper(encode: Peer) -> Peer:
    """Feature extractor of faster-whisper, which pads to 30 s, and CTranslate2's encoder.

    Parameters
    ----------
    encode : callable
        Of :func:`ctranslate2`.

    Returns
    -------
    callable
        From samples.
    """
    from faster_whisper.audio import pad_or_trim
    from faster_whisper.feature_extractor import FeatureExtractor

    extract = FeatureExtractor()
    return lambda samples: encode(pad_or_trim(extract(samples)).T)


class _LastLayer(nn.Module):
    """What comes out of the highest block."""

    def __init__(self, network: WhisperEncoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        return self.network(frames)[:, :, 0]


def write_onnx(network: WhisperEncoder, path: Path) -> None:
    """Export the network for utterances of any length.

    Parameters
    ----------
    network : WhisperEncoder
        Prepared or not.
    path : Path
    """
    frames = torch.zeros(1, 200, network.n_mels)
    length = torch.export.Dim("length", min=2, max=2 * network.n_positions)
    torch.onnx.export(
        _LastLayer(network).eval(),
        (frames,),
        path,
        dynamic_shapes=({1: length},),
        dynamo=True,
        verbose=False,
    )
