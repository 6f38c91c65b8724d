"""Weights of Whisper's encoder: read from the registry or a file, taken out of the whole, built."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.nn.whisper import WhisperEncoder
from sklearn_speechsent.pretrained.architecture import empty_network, load_into
from sklearn_speechsent.pretrained.hub import ModelFolder
from sklearn_speechsent.pretrained.registry import ENCODER, RegisteredWeights
from sklearn_speechsent.pretrained.tensors import read_tensors

#: Beginning of the keys of the encoder in OpenAI's files.
_PREFIX = "encoder."
#: Parts of keys in transformers' files of Whisper, and ours.
TRANSFORMERS_NAMES = {
    "layers.": "blocks.",
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "self_attn_layer_norm": "attn_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
    "embed_positions.weight": "positional_embedding",
}


@dataclass(frozen=True, eq=False)
class EncoderWeights:
    """Tensors of a speech encoder and all that is needed to use them.

    Parameters
    ----------
    name : str
        Name in the registry or on the Hugging Face hub, or the path as it was given.
    state : dict of str to Tensor
        Tensors of a :class:`~sklearn_speechsent.nn.WhisperEncoder`, in float32 whatever the file
        holds them in. The dict is new, the tensors are shared: they must not be changed in place.
    architecture : mapping
        Arguments of the network: ``n_mels``, ``width``, ``n_blocks``, ``n_positions``. Of encoders
        of waveforms, the configuration of transformers.
    sha256 : str
        Checksum of the file; of encoders of waveforms, of tensors and configuration.
    extra : mapping, default={}
        What else is known: licence and attribution; ``revision``, the commit of the Hugging Face
        hub.
    """

    name: str
    state: dict[str, torch.Tensor] = field(repr=False)
    architecture: Mapping[str, Any]
    sha256: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_encoder_weights(source: str | os.PathLike[str]) -> EncoderWeights:
    """Read an encoder of Whisper by name or from a file.

    Reading never runs code of the file and never downloads anything. A file is read once per
    process, and again when it has changed.

    Parameters
    ----------
    source : str or path-like
        ``"whisper-tiny"``, ``"whisper-base"``, ``"whisper-small"``; or a file: ``.pt`` as OpenAI
        publishes it, or ``.safetensors`` with the same keys.

    Returns
    -------
    EncoderWeights

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says how to get it.
    ValueError
        If the file is damaged, holds something else, or is another one than registered.

    See Also
    --------
    fetch_weights : Download a file of the registry.
    build_encoder : The network of these weights.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import load_encoder_weights
    >>> load_encoder_weights("whisper-base").architecture["n_blocks"]  # doctest: +SKIP
    6
    """
    content = read_tensors(source, ENCODER)
    state = {
        key.removeprefix(_PREFIX): tensor
        for key, tensor in content.state.items()
        if key.startswith(_PREFIX)
    }
    return EncoderWeights(
        name=content.name,
        state=state,
        architecture=_architecture(state, content.path),
        sha256=content.sha256,
        extra=content.extra,
    )


def whisper_weights(folder: ModelFolder) -> EncoderWeights:
    """Encoder of a Whisper in the layout of the Hugging Face hub.

    Parameters
    ----------
    folder : ModelFolder

    Returns
    -------
    EncoderWeights

    Raises
    ------
    ValueError
        If a file is damaged, or holds something else.
    """

    def rename(key: str) -> str | None:
        key = key.removeprefix("model.")
        if not key.startswith(_PREFIX):
            return None
        for theirs, ours in TRANSFORMERS_NAMES.items():
            key = key.replace(theirs, ours)
        return key.removeprefix(_PREFIX)

    state = folder.tensors(rename)
    architecture = _architecture(state, folder.name)
    heads = folder.config.get("encoder_attention_heads")
    if heads != architecture["width"] // 64:
        raise ValueError(
            f"{folder.name} has {heads} heads for {architecture['width']} values of a position. "
            "Heads of 64 values, as in every Whisper of OpenAI's, can be used."
        )
    extra = {} if folder.revision is None else {"revision": folder.revision}
    return EncoderWeights(folder.name, state, architecture, folder.sha256, extra)


def check_layer(name: str, layer: int, n_blocks: int) -> None:
    """Check that an encoder has a layer.

    Parameters
    ----------
    name : str
        Of the encoder, for the message.
    layer : int
    n_blocks : int
        Blocks of the encoder.

    Raises
    ------
    ValueError
        If it does not.
    """
    if layer > n_blocks:
        raise ValueError(
            f"{name!r} has {n_blocks} blocks: layer {layer} does not exist. Layers are 0 to "
            f"{n_blocks}."
        )


def build_encoder(weights: EncoderWeights, n_blocks: int | None = None) -> WhisperEncoder:
    """Encoder with the tensors of its weights, in eval mode.

    Parameters
    ----------
    weights : EncoderWeights
        Result of :func:`load_encoder_weights`.
    n_blocks : int, optional
        Number of blocks from the lowest; all by default.

    Returns
    -------
    WhisperEncoder
        In float32, with tensors of its own.

    Raises
    ------
    ValueError
        If there are fewer blocks, or the tensors are not those of the architecture.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import WhisperEncoder
    >>> from sklearn_speechsent.pretrained import EncoderWeights, build_encoder
    >>> network = WhisperEncoder(n_mels=8, width=64, n_blocks=3, n_positions=10)
    >>> weights = EncoderWeights("mine", network.state_dict(), network.architecture, "")
    >>> len(build_encoder(weights, n_blocks=2).blocks)
    2
    """
    there = weights.architecture["n_blocks"]
    n_blocks = there if n_blocks is None else n_blocks
    check_layer(weights.name, n_blocks, there)
    network = empty_network(WhisperEncoder, {**weights.architecture, "n_blocks": n_blocks})
    load_into(network, weights.state, weights.name)
    return network.eval()


def encoder_file(whole: Path, entry: RegisteredWeights) -> bytes:
    """Content of the file that holds the encoder of a whole Whisper and nothing else.

    Parameters
    ----------
    whole : Path
        File as OpenAI publishes it.
    entry : RegisteredWeights

    Returns
    -------
    bytes
        As safetensors. Equal weights are equal bytes, whose checksum is registered.

    Raises
    ------
    ValueError
        If it is not a Whisper of this architecture.
    """
    from safetensors.torch import save

    try:
        content = torch.load(str(whole), map_location="cpu", weights_only=True, mmap=True)
        state = {
            key: tensor.to(torch.float16).contiguous()
            for key, tensor in content["model_state_dict"].items()
            if key.startswith(_PREFIX)
        }
        dims = content["dims"]
    except Exception as exception:  # torch passes on any error of zip, pickle and tensors
        raise ValueError(
            f"{whole} cannot be read as a Whisper: {exception}. Delete it and call fetch_weights "
            "again."
        ) from exception
    found = _architecture({k.removeprefix(_PREFIX): v for k, v in state.items()}, whole)
    if found != entry.architecture:
        raise ValueError(f"{whole} holds {found}, and not {dict(entry.architecture)}.")
    names = ("n_audio_state", "n_audio_head", "source", "n_audio_ctx", "n_mels", "n_audio_layer")
    size = entry.name.removeprefix("whisper-")
    records = {"source": f"Whisper {size} (OpenAI, MIT licence), encoder only"}
    records |= {name: str(dims[name]) for name in names if name != "source"}
    # The library writes metadata in random order: they go in front of its header here.
    plain = save(state)
    start = 8 + int.from_bytes(plain[:8], "little")
    metadata = json.dumps({name: records[name] for name in names}, separators=(",", ":"))
    header = b'{"__metadata__":' + metadata.encode() + b"," + plain[8:start].rstrip()[1:]
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + plain[start:]


def _architecture(state: Mapping[str, torch.Tensor], source: Any) -> dict[str, int]:
    """Arguments of the network, as the shapes of its tensors tell."""
    try:
        width, n_mels, _ = state["conv1.weight"].shape
        n_positions, _ = state["positional_embedding"].shape
    except (KeyError, ValueError):
        raise ValueError(
            f"{source} does not hold an encoder of Whisper: 'encoder.conv1.weight' or "
            "'encoder.positional_embedding' is missing. Pass a file of OpenAI's, or a name: "
            "whisper-tiny, whisper-base, whisper-small."
        ) from None
    numbers = (re.match(r"blocks\.(\d+)\.", key) for key in state)
    n_blocks = 1 + max((int(number[1]) for number in numbers if number), default=-1)
    return {"n_mels": n_mels, "width": width, "n_blocks": n_blocks, "n_positions": n_positions}
