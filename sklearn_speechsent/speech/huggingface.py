"""Encoders of waveforms of the library transformers: wav2vec 2.0, HuBERT, WavLM, data2vec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sklearn_speechsent.nn import pieces
from sklearn_speechsent.pretrained.architecture import load_into
from sklearn_speechsent.pretrained.encoder import EncoderWeights, check_layer
from sklearn_speechsent.pretrained.hub import ModelFolder, missing_library
from sklearn_speechsent.speech.layers import LayersFunction
from sklearn_speechsent.speech.log_mel import LENGTH, SAMPLE_RATE

#: Types of models that :func:`load_waveform_encoder` takes, as ``config.json`` names them.
WAVEFORM_TYPES = ("data2vec-audio", "hubert", "wav2vec2", "wavlm")
#: Samples from one position to the next; a position looks at ``LENGTH`` samples.
_SHIFT = 320
#: Most positions of a piece: 30 s.
_LONGEST = (30 * SAMPLE_RATE - LENGTH) // _SHIFT + 1
#: Added to the variance, as transformers does.
_EPS = 1e-7

# Of this thread alone: several may run one encoder at a time.
_layers: ContextVar[list[Tensor]] = ContextVar("layers")


def _note(module: nn.Module, given: Any, made: Any) -> None:
    """Remember what a block makes."""
    _layers.get().append(made[0] if isinstance(made, tuple) else made)


class WaveformEncoder(nn.Module):
    """Encoder of waveforms with 50 positions per second.

    Parameters
    ----------
    model : PreTrainedModel
        Of transformers, with as many blocks as are computed.
    normalize : bool
        Whether it takes recordings of zero mean and unit variance.
    precision : dtype, default=torch.float32
        Of convolutions and products of matrices.
    """

    def __init__(self, model: Any, normalize: bool, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.normalize = normalize
        self.precision = precision
        for module in [*model.modules()]:
            # A norm of weights is for training, and cannot be pickled.
            if parametrize.is_parametrized(module):
                parametrize.remove_parametrizations(module, "weight")
                module._load_state_dict_pre_hooks.clear()
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                module.to(precision)
        model.requires_grad_(False)
        # The dropout of the encoder gives what goes into the first block.
        for module in (model.encoder.dropout, *model.encoder.layers):
            module.register_forward_hook(_note)

    @property
    def width(self) -> int:
        """Values of a position."""
        return self.model.config.hidden_size

    def forward(self, waveforms: Tensor, layers: Sequence[int]) -> Tensor:
        """Chosen layers side by side.

        Parameters
        ----------
        waveforms : Tensor of shape (B, n_samples)
            At 16 kHz, of one length.
        layers : sequence of int
            Layer k is what comes out of block k, layer 0 what goes into the first. In contrast to
            ``hidden_states`` of transformers, none has the norm behind the last block.

        Returns
        -------
        Tensor of shape (B, (n_samples - 400) // 320 + 1, n_layers, width), float32
        """
        token = _layers.set([])
        try:
            low = self.precision == torch.bfloat16
            with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=low):
                self.model(waveforms, output_hidden_states=False, output_attentions=False)
            found = _layers.get()
        finally:
            _layers.reset(token)
        return torch.stack([found[layer] for layer in layers], dim=2).float()


class WaveformFunction(LayersFunction):
    """Layers of a :class:`WaveformEncoder`, normalised over the whole recording."""

    def _inputs(
        self, blocks: Iterable[NDArray[np.float32]]
    ) -> tuple[Iterator[NDArray[np.float32]], int]:
        content = bytearray()  # grows in place: a long recording is never there twice
        for block in blocks:
            content += np.asarray(block, np.float32).tobytes()
        samples = np.frombuffer(content, np.float32)
        mean, scale = _moments(samples) if self.network.normalize else (0.0, 1.0)
        n_positions = (len(samples) - LENGTH) // _SHIFT + 1
        cuts = [piece for piece, _ in pieces(n_positions, step=1, context=0, longest=_LONGEST)]
        # Up to the end: some encoders look at all samples of a piece.
        ends = [_SHIFT * (piece.stop - 1) + LENGTH for piece in cuts[:-1]] + [len(samples)]
        inputs = (
            (samples[_SHIFT * piece.start : end] - np.float32(mean)) / np.float32(scale)
            for piece, end in zip(cuts, ends, strict=True)
        )
        return inputs, n_positions


def _moments(samples: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation, without a copy of the whole in double precision."""
    mean = samples.mean(dtype=np.float64)
    step = 30 * SAMPLE_RATE
    parts = (samples[first : first + step] - mean for first in range(0, len(samples), step))
    return mean, (sum(float(part @ part) for part in parts) / len(samples) + _EPS) ** 0.5


def load_waveform_encoder(
    folder: ModelFolder, n_blocks: int, precision: torch.dtype
) -> tuple[WaveformEncoder, EncoderWeights]:
    """Encoder of a folder, with its lower blocks.

    Parameters
    ----------
    folder : ModelFolder
        Of one of :data:`WAVEFORM_TYPES`.
    n_blocks : int
    precision : dtype

    Returns
    -------
    encoder : WaveformEncoder
    weights : EncoderWeights
        Without tensors.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If there are fewer blocks, the tensors are not those of the configuration, or the encoder
        does not have 50 positions per second at 16 kHz.
    """
    try:
        from transformers import CONFIG_MAPPING, AutoModel
    except ImportError as exception:
        raise missing_library(exception) from exception

    config = CONFIG_MAPPING[folder.config["model_type"]].from_dict(folder.config)
    check_layer(folder.name, n_blocks, config.num_hidden_layers)
    length, shift = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        length, shift = length + (kernel - 1) * shift, shift * stride
    rate = folder.preprocessor.get("sampling_rate", SAMPLE_RATE)
    if (rate, length, shift) != (SAMPLE_RATE, LENGTH, _SHIFT):
        raise ValueError(
            f"{folder.name} has a position each {shift} samples, which looks at {length} samples "
            f"at {rate} Hz. Encoders with one each {_SHIFT}, of {LENGTH} samples at {SAMPLE_RATE} "
            "Hz, can be used."
        )
    # Nothing above the blocks, and nothing that only training needs.
    config.num_hidden_layers = n_blocks
    config.add_adapter = False
    config.mask_time_prob = config.mask_feature_prob = 0.0
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32)
    wanted, prefix = set(model.state_dict()), f"{model.base_model_prefix}."

    def rename(key: str) -> str | None:
        key = key.removeprefix(prefix)
        # Older names of the same tensors.
        key = key.replace("conv.weight_g", "conv.parametrizations.weight.original0")
        key = key.replace("conv.weight_v", "conv.parametrizations.weight.original1")
        return key if key in wanted else None

    load_into(model.to_empty(device="cpu"), folder.tensors(rename), folder.name)
    normalize = bool(folder.preprocessor.get("do_normalize", True))
    content = json.dumps([folder.sha256, folder.config, normalize], sort_keys=True)
    weights = EncoderWeights(
        name=folder.name,
        state={},
        architecture=folder.config,
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        extra={} if folder.revision is None else {"revision": folder.revision},
    )
    return WaveformEncoder(model, normalize, precision), weights
