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


def _cmn_in_words(window: Any) -> str:
    if window is None:
        return "no CMN"
    if window == "utterance":
        return "CMN over the utterance, SlidingCMN(window=None)"
    return f"CMN over {window} s, SlidingCMN({window})"
