"""Records of how frames were made: validated, and compared between a network and its input."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from sklearn_speechsent.frames.container import UtteranceFrames


class _Pretrained(Protocol):
    """A network by name, with the frames it was trained on."""

    @property
    def name(self) -> str: ...

    @property
    def frame_settings(self) -> Mapping[str, Any]: ...

    @property
    def architecture(self) -> Mapping[str, Any]: ...


def check_record(frame_settings: Any, source: Any) -> dict[str, Any]:
    """Validate a record of how frames were made.

    Parameters
    ----------
    frame_settings : mapping
        As ``UtteranceFrames.frame_settings``.
    source : str or Path
        Named in messages.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If ``n_mels`` or ``cmn`` is missing, which every comparison needs.
    """
    if not isinstance(frame_settings, Mapping) or not {"n_mels", "cmn"} <= set(frame_settings):
        raise ValueError(
            f"{source}: frame_settings must state n_mels and cmn (None for no mean "
            f"normalisation), got {frame_settings!r}."
        )
    return dict(frame_settings)


def check_frame_settings(weights: _Pretrained, frames: UtteranceFrames) -> None:
    """Compare how frames were made with what a network was trained on.

    Parameters
    ----------
    weights : RegisteredWeights, SpeakerWeights or VADWeights
    frames : UtteranceFrames
        What its ``frame_settings`` do not mention is taken to fit.

    Raises
    ------
    ValueError
        If rate, frames, bins, window or scale differ: the features would be meaningless.

    Warns
    -----
    UserWarning
        If the mean normalisation is another one, which costs little.
    """
    n_mels = weights.frame_settings["n_mels"]
    if frames.frame_shape != (n_mels,):
        raise ValueError(
            f"{weights.name!r} expects frames of {n_mels} mel bins, got frames of shape "
            f"{frames.frame_shape}."
        )
    found = frames.frame_settings
    if not found:
        return
    wrong = [
        f"{name}={found[name]!r} (expected {wanted!r})"
        for name, wanted in weights.frame_settings.items()
        if name != "cmn" and found.get(name, wanted) != wanted
    ]
    if wrong:
        raise ValueError(
            f"These frames do not fit {weights.name!r}: {', '.join(wrong)}. Set MelFilterBank "
            "accordingly."
        )
    cmn = found.get("cmn")
    wanted = weights.frame_settings.get("cmn", cmn)  # a SpeakerVerifier may not know its frames
    if cmn != wanted:
        warnings.warn(
            f"{weights.name!r} was trained on frames with {_cmn_in_words(wanted)}, these have "
            f"{_cmn_in_words(cmn)}.",
            UserWarning,
            stacklevel=4,
        )


def map_record(weights: _Pretrained, n_blocks: int) -> str:
    """Record of a network and its lower blocks, as ``frame_settings["srext"]`` of their maps.

    Parameters
    ----------
    weights : RegisteredWeights or SpeakerWeights
    n_blocks : int

    Returns
    -------
    str
    """
    return f"{weights.name}, {n_blocks} blocks"


def check_maps(weights: _Pretrained, n_blocks: int, frames: UtteranceFrames) -> None:
    """Check that frames are maps of the lower blocks of a speaker network.

    Parameters
    ----------
    weights : RegisteredWeights or SpeakerWeights
    n_blocks : int
    frames : UtteranceFrames
        Without a record of a network, any maps of the right shape are taken to be its own.

    Raises
    ------
    ValueError
        If they have another shape, or are recorded as those of another network or of other blocks.
    """
    layout = weights.architecture
    shape = layout["widths"][n_blocks - 1], -(-layout["n_mels"] // 2 ** (n_blocks - 1))
    wanted = map_record(weights, n_blocks)
    found = frames.frame_settings.get("srext", wanted)
    if frames.frame_shape != shape or found != wanted:
        made = "" if "srext" not in frames.frame_settings else f" ({found})"
        raise ValueError(
            f"Maps of {wanted}, of shape {shape}, are needed, got frames of shape "
            f"{frames.frame_shape}{made}. Make them with SpeakerFeatureExtractor({weights.name!r}, "
            f"n_blocks={n_blocks}, pooling=None), or let the network hold these blocks, with "
            "module__n_frozen_blocks and module__n_tuned_blocks."
        )


def _cmn_in_words(window: Any) -> str:
    if window is None:
        return "no CMN"
    if window == "utterance":
        return "CMN over the utterance, SlidingCMN(window=None)"
    return f"CMN over {window} s, SlidingCMN({window})"
