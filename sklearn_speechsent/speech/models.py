"""Speech encoders by name, file or folder, of either kind."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.pretrained.encoder import (
    EncoderWeights,
    build_encoder,
    load_encoder_weights,
    whisper_weights,
)
from sklearn_speechsent.pretrained.hub import find_model, is_model_folder
from sklearn_speechsent.speech.huggingface import (
    WAVEFORM_TYPES,
    WaveformEncoder,
    WaveformFunction,
    load_waveform_encoder,
)
from sklearn_speechsent.speech.layers import LayersFunction
from sklearn_speechsent.speech.whisper import WhisperFunction


class LoadedModel(NamedTuple):
    """A frozen encoder and how it is run.

    Parameters
    ----------
    network : WhisperEncoder or WaveformEncoder
    weights : EncoderWeights
    function : type
        Class of the function that runs it on recordings.
    """

    network: WhisperEncoder | WaveformEncoder
    weights: EncoderWeights
    function: type[LayersFunction]


def load_model(
    model: str | os.PathLike[str], revision: str | None, n_blocks: int, precision: torch.dtype
) -> LoadedModel:
    """Read a speech encoder.

    Parameters
    ----------
    model : str or path-like
        See :class:`~sklearn_speechsent.SpeechEncoder`.
    revision : str or None
    n_blocks : int
        Number of blocks from the lowest.
    precision : dtype
        Of convolutions and products of matrices.

    Returns
    -------
    LoadedModel
    """
    if is_model_folder(model):
        folder = find_model(model, revision, ("whisper", *WAVEFORM_TYPES))
        if folder.config["model_type"] in WAVEFORM_TYPES:
            return LoadedModel(
                *load_waveform_encoder(folder, n_blocks, precision), WaveformFunction
            )
        weights = whisper_weights(folder)
    elif revision is None:
        weights = load_encoder_weights(model)
    else:
        raise ValueError(
            f"revision={revision!r} is for models on the Hugging Face hub, and {model!r} is not "
            "one. Leave revision out."
        )
    network = build_encoder(weights, n_blocks).prepare(precision)
    return LoadedModel(network, weights, WhisperFunction)
