"""Pre-trained parts of a network: what their weights determine, and what the parts need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.nn import SentimentNetwork
from sklearn_speechsent.nn.stext import stages_of
from sklearn_speechsent.pretrained import SpeakerWeights, check_frame_settings, load_into
from sklearn_speechsent.pretrained.frame_settings import check_maps

#: Blocks of a speaker network below those that the sentiment blocks can begin as.
_BELOW = 2


def _n_blocks(parameters: Mapping[str, Any]) -> int:
    """Speaker blocks in the network."""
    return parameters.get("n_frozen_blocks", 0) + parameters.get("n_tuned_blocks", 0)


def _is_warm(parameters: Mapping[str, Any]) -> bool:
    """Whether the sentiment blocks begin as those of a speaker network."""
    return parameters.get("stext_init") is not None


def check_input(
    weights: SpeakerWeights, parameters: Mapping[str, Any], frames: UtteranceFrames
) -> None:
    """Check that frames are what the lowest pre-trained part of a network was trained on.

    Parameters
    ----------
    weights : SpeakerWeights
    parameters : mapping
        Of the network.
    frames : UtteranceFrames

    Raises
    ------
    ValueError
        If frames were made in another way, or are not maps where the network continues maps.
    """
    if _n_blocks(parameters):
        check_frame_settings(weights, frames)
    elif _is_warm(parameters):
        check_maps(weights, _BELOW, frames)


def determined_parameters(
    weights: SpeakerWeights | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters of the network that its pre-trained weights determine.

    Parameters
    ----------
    weights : SpeakerWeights or None
    parameters : mapping
        Of the network, as far as they are known.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If parts need weights and there are none, weights have no part to go to, or the sentiment
        blocks are not the blocks of the speaker network that follow the second.
    """
    n_blocks, warm = _n_blocks(parameters), _is_warm(parameters)
    if weights is None:
        if parameters.get("n_frozen_blocks", 0):
            raise ValueError(
                f"{parameters['n_frozen_blocks']} frozen block(s) without pre-trained weights "
                "would stay random. Pass weights= or tune the blocks (module__n_tuned_blocks)."
            )
        if warm:
            raise ValueError(
                f"module__stext_init={parameters['stext_init']!r} copies blocks of a pre-trained "
                "network: pass weights=."
            )
        return {}
    # A search may compare stext_init=None with copied blocks.
    if not n_blocks and "stext_init" not in parameters:
        raise ValueError(
            f"weights={weights.name!r} without speaker blocks in the network. Set "
            "module__n_frozen_blocks and module__n_tuned_blocks, or module__stext_init."
        )
    layout = weights.architecture
    found = {name: layout[name] for name in ("widths", "depths")}
    found["srext_se_ratio"] = layout["se_ratio"]
    # Weights with folded statistics need their batch normalisation in eval mode.
    found["freeze_batch_norm"] = parameters.get("freeze_batch_norm", True)
    if warm:
        found["se_ratio"] = layout["se_ratio"]
        if n_blocks not in (0, _BELOW):
            raise ValueError(
                f"The network has {n_blocks} speaker block(s), and module__stext_init="
                f"{parameters['stext_init']!r} continues above the second: let "
                f"module__n_frozen_blocks and module__n_tuned_blocks add up to {_BELOW}, or to 0 "
                "for maps."
            )
        stages = stages_of(parameters.get("stext", 16))
        theirs = tuple(zip(layout["depths"], layout["widths"], strict=True))[_BELOW:]
        if stages != theirs[: len(stages)]:
            raise ValueError(
                f"The sentiment blocks have the stages {stages} (residual blocks, channels), and "
                f"the blocks of {weights.name!r} above the second are {theirs}. Set "
                "module__stext to these or to the first of them, or leave out module__stext_init."
            )
    return found


def load_parts(
    module: SentimentNetwork, weights: SpeakerWeights, parameters: Mapping[str, Any]
) -> None:
    """Copy pre-trained weights into the parts that they are for.

    Parameters
    ----------
    module : SentimentNetwork
    weights : SpeakerWeights
    parameters : mapping
        Of the network.

    Raises
    ------
    ValueError
        If a tensor is missing or has another shape.
    """
    if module.srext is not None:
        load_into(module.srext, weights.state, weights.name)
    if _is_warm(parameters):
        keys = module.stext.speaker_keys(_BELOW)
        state = {own: weights.state[key] for own, key in keys.items() if key in weights.state}
        load_into(module.stext, state, weights.name)
