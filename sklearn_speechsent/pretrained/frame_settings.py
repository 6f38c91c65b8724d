"""Whether frames are of the kind a pre-trained network was trained on."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.pretrained.checkpoint import SpeakerWeights
from sklearn_speechsent.pretrained.registry import RegisteredWeights
from sklearn_speechsent.pretrained.vad import VADWeights


def check_frame_settings(
    weights: RegisteredWeights | SpeakerWeights | VADWeights, frames: UtteranceFrames
) -> None:
    """Compare how frames were made with what a network was trained on.

    Parameters
    ----------
    weights : RegisteredWeights, SpeakerWeights or VADWeights
    frames : UtteranceFrames
        What the record of their making does not mention is taken to fit.

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
    if not frames.frame_settings:
        return
    wrong = {
        name: (frames.frame_settings.get(name), wanted)
        for name, wanted in weights.frame_settings.items()
        if name != "cmn" and frames.frame_settings.get(name, wanted) != wanted
    }
    if wrong:
        listed = ", ".join(
            f"{name}={got!r} (expected {want!r})" for name, (got, want) in wrong.items()
        )
        raise ValueError(
            f"These frames do not fit {weights.name!r}: {listed}. Set MelFilterBank accordingly."
        )
    cmn = frames.frame_settings.get("cmn")
    wanted = weights.frame_settings.get(
        "cmn", cmn
    )  # a verifier may not know how its frames were made
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
