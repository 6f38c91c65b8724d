"""Keys of WeSpeaker's ResNets, and what they tell about the network they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch

#: Arguments of SpeakerResNet, all of which describe an architecture.
ARCHITECTURE = ("n_mels", "widths", "depths", "se_ratio", "embedding_size")

#: Variance that batch normalisation's eps of 1e-5 completes to 1: what folding leaves behind.
FOLDED_VARIANCE = 1 - 1e-5

# Behind the embedding: the classifier over the training speakers, and the second half of
# embeddings of two layers. Nothing here uses them.
_LEFT_OUT = ("projection.", "seg_bn_1.", "seg_2.")

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.conv2\.weight")


def clean_state(state: Any, source: Any) -> dict[str, torch.Tensor]:
    """Copies of the tensors of a network, without those that only training needs.

    Parameters
    ----------
    state : mapping of str to Tensor
        May be mapped from a file: nothing of the result refers to it.
    source : str or Path
        Named in messages.

    Returns
    -------
    dict of str to Tensor
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"{source} holds a {type(state).__name__}, no dict of tensors. {_REMEDY}")
    tensors = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{source} has a {type(value).__name__} under {key!r} where a tensor is expected. "
                f"{_REMEDY}"
            )
        if key.startswith(_LEFT_OUT):
            continue
        # WeSpeaker averages checkpoints and with them these counts, which makes them fractions.
        counts = key.endswith("num_batches_tracked")
        tensors[key] = value.detach().to(torch.int64 if counts else value.dtype, copy=True)
    return tensors


_REMEDY = "Save the state dict alone: torch.save(network.state_dict(), path)."


def block_layout(state: Mapping[str, torch.Tensor]) -> dict[str, Any] | None:
    """``widths``, ``depths`` and ``se_ratio`` of the blocks, or None if these are no such blocks.

    Serves the lower blocks alone as well as a whole network.
    """
    blocks: dict[int, dict[int, int]] = {}
    for key, tensor in state.items():
        if match := _BLOCK.fullmatch(key):
            if tensor.ndim != 4 or not len(tensor):
                return None
            layer, block = map(int, match.groups())
            blocks.setdefault(layer, {})[block] = len(tensor)
    layers = [blocks[i] for i in sorted(blocks)]
    in_order = sorted(blocks) == list(range(1, len(layers) + 1))
    if not layers or not in_order or any(set(b) != set(range(len(b))) for b in layers):
        return None
    # The widest layer tells the ratio most exactly.
    squeeze = state.get(f"layer{len(layers)}.0.se.squeeze.weight")
    if squeeze is not None and (squeeze.ndim != 2 or not len(squeeze)):
        return None
    return {
        "widths": tuple(blocks[0] for blocks in layers),
        "depths": tuple(len(blocks) for blocks in layers),
        "se_ratio": None if squeeze is None else squeeze.shape[1] // squeeze.shape[0],
    }


def infer_architecture(state: Mapping[str, torch.Tensor], source: Any) -> dict[str, Any]:
    """Arguments of :class:`~sklearn_speechsent.nn.SpeakerResNet` from the shapes of tensors.

    Parameters
    ----------
    state : mapping of str to Tensor
        Tensors under WeSpeaker's key names.
    source : str or Path
        Named in messages.

    Returns
    -------
    dict
        With ``n_mels`` a multiple of the network's stride, since the shapes cannot tell 77 mel
        bins from 80.

    Raises
    ------
    ValueError
        If the tensors are not those of such a network.
    """

    def foreign(why: str) -> ValueError:
        return ValueError(
            f"{source} is no ResNet of WeSpeaker's layout: {why}. Pass a checkpoint with the keys "
            "conv1, bn1, layer1.0.conv1, ..., seg_1."
        )

    blocks = block_layout(state)
    for key, ndim in (("conv1.weight", 4), ("seg_1.weight", 2)):
        if key not in state:
            first = next(iter(state), None)
            raise foreign(f"it has no {key!r}" + ("" if first is None else f", but {first!r}"))
        if state[key].ndim != ndim or not state[key].numel():
            raise foreign(f"{key!r} has shape {tuple(state[key].shape)}")
    if blocks is None:
        raise foreign("its residual blocks are not layer1.0, layer1.1, ..., layer2.0, ...")
    embedding_size, n_values = state["seg_1.weight"].shape
    frequencies, rest = divmod(n_values, 2 * blocks["widths"][-1])
    if rest or not frequencies:
        raise foreign(
            f"'seg_1.weight' takes {n_values} values, no multiple of mean and standard deviation "
            f"of {blocks['widths'][-1]} channels"
        )
    n_mels = frequencies * 2 ** (len(blocks["depths"]) - 1)
    return {"n_mels": n_mels, **blocks, "embedding_size": int(embedding_size)}


def check_architecture(architecture: Any, source: Any) -> dict[str, Any]:
    """Architecture in plain types, once it is complete.

    Parameters
    ----------
    architecture : mapping
        Arguments of :class:`~sklearn_speechsent.nn.SpeakerResNet`, all of them.
    source : str or Path
        Named in messages.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If an argument is missing, unknown or of the wrong kind.
    """
    plain = check_counts(architecture, ARCHITECTURE, source)
    if len(plain["widths"]) != len(plain["depths"]):
        raise ValueError(
            f"{source}: widths {plain['widths']} and depths {plain['depths']} differ in length."
        )
    return plain


def check_counts(architecture: Any, names: tuple[str, ...], source: Any) -> dict[str, Any]:
    """Architecture in plain types, once it states these arguments and no others.

    Parameters
    ----------
    architecture : mapping
    names : tuple of str
        ``widths`` and ``depths`` are tuples of positive integers, ``se_ratio`` may be None, and
        all others are positive integers.
    source : str or Path
        Named in messages.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If an argument is missing, unknown or of the wrong kind.
    """
    if not isinstance(architecture, Mapping) or set(architecture) != set(names):
        raise ValueError(
            f"{source}: the architecture must state {', '.join(names)}, and nothing else; "
            f"got {architecture!r}."
        )
    plain: dict[str, Any] = {}
    for name in names:
        value = architecture[name]
        many = name in ("widths", "depths")
        optional = name == "se_ratio" and value is None
        values = list(value) if many and isinstance(value, (list, tuple)) else [value]
        whole = all(
            isinstance(v, Integral) and not isinstance(v, bool) and int(v) > 0 for v in values
        )
        if not optional and (not whole or not values or many != isinstance(value, (list, tuple))):
            wanted = "positive integers" if many else "a positive integer"
            raise ValueError(f"{source}: {name} must be {wanted}, got {value!r}.")
        plain[name] = tuple(map(int, values)) if many else None if optional else int(value)
    return plain


def check_frame_settings_record(frame_settings: Any, source: Any) -> dict[str, Any]:
    """Record of a front end, once it says what every comparison needs.

    Parameters
    ----------
    frame_settings : mapping
        Settings of the frames, in the words of ``UtteranceFrames.frame_settings``.
    source : str or Path
        Named in messages.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If ``n_mels`` or ``cmn`` is missing.
    """
    if not isinstance(frame_settings, Mapping) or not {"n_mels", "cmn"} <= set(frame_settings):
        raise ValueError(
            f"{source}: the front end must state n_mels and cmn (None for no mean normalisation), "
            f"got {frame_settings!r}."
        )
    return dict(frame_settings)


def is_folded(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether statistics of batch normalisations were folded into the convolutions.

    Parameters
    ----------
    state : mapping of str to Tensor

    Returns
    -------
    bool
        True if all running means are 0 and all running variances are 1 - eps, which no training
        ends with.
    """
    means = [tensor for key, tensor in state.items() if key.endswith(".running_mean")]
    variances = [tensor for key, tensor in state.items() if key.endswith(".running_var")]
    return (
        bool(variances)
        and not any(bool(mean.any()) for mean in means)
        and all(torch.equal(v, torch.full_like(v, FOLDED_VARIANCE)) for v in variances)
    )
