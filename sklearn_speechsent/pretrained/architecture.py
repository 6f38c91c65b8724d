"""Architectures of networks: validated, inferred from tensors, and compared with tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, TypeVar

import torch

#: Arguments of SpeakerResNet and of SpeechUNet, all of which describe an architecture.
SPEAKER_ARCHITECTURE = ("n_mels", "widths", "depths", "se_ratio", "embedding_size")
VAD_ARCHITECTURE = ("n_mels", "widths")

#: Variance that batch normalisation's eps of 1e-5 completes to 1: what folding leaves behind.
FOLDED_VARIANCE = 1 - 1e-5

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.conv2\.weight")

_Network = TypeVar("_Network", bound=torch.nn.Module)


# -- arguments -----------------------------------------------------------------------------------


def check_architecture(architecture: Any, names: tuple[str, ...], source: Any) -> dict[str, Any]:
    """Validate the arguments of a network.

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
        In plain types.

    Raises
    ------
    ValueError
        If an argument is missing, unknown or of the wrong kind, or widths and depths differ in
        length.
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
    if "depths" in plain and len(plain["widths"]) != len(plain["depths"]):
        raise ValueError(
            f"{source}: widths {plain['widths']} and depths {plain['depths']} differ in length."
        )
    return plain


# -- keys and shapes of WeSpeaker's ResNets ------------------------------------------------------


def _block_layout(state: Mapping[str, torch.Tensor]) -> dict[str, Any] | None:
    """``widths``, ``depths`` and ``se_ratio`` of a network or its lower blocks, None if foreign."""
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
    # The ratio is most exact in the widest layer.
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
        ``n_mels`` is a multiple of the network's stride: shapes do not tell 77 mel bins from 80.

    Raises
    ------
    ValueError
        If the tensors are not those of such a network.
    """

    def foreign(reason: str) -> ValueError:
        return ValueError(
            f"{source} is not a ResNet of WeSpeaker's layout: {reason}. Pass weights with the keys "
            "conv1, bn1, layer1.0.conv1, ..., seg_1."
        )

    blocks = _block_layout(state)
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
            f"'seg_1.weight' takes {n_values} values, not a multiple of mean and standard "
            f"deviation of {blocks['widths'][-1]} channels"
        )
    n_mels = frequencies * 2 ** (len(blocks["depths"]) - 1)
    return {"n_mels": n_mels, **blocks, "embedding_size": int(embedding_size)}


def is_folded(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether statistics of batch normalisations were folded into the convolutions.

    Parameters
    ----------
    state : mapping of str to Tensor

    Returns
    -------
    bool
        True if all running means are 0 and all running variances are 1 - eps, which no
        training ends with.
    """
    means = [tensor for key, tensor in state.items() if key.endswith(".running_mean")]
    variances = [tensor for key, tensor in state.items() if key.endswith(".running_var")]
    return (
        bool(variances)
        and not any(bool(mean.any()) for mean in means)
        and all(torch.equal(v, torch.full_like(v, FOLDED_VARIANCE)) for v in variances)
    )


# -- networks and tensors ------------------------------------------------------------------------


def empty_network(
    network_class: Callable[..., _Network], architecture: Mapping[str, Any]
) -> _Network:
    """Network of shapes alone, which takes neither memory nor random numbers.

    Parameters
    ----------
    network_class : type
    architecture : mapping
        Its arguments.

    Returns
    -------
    Module
        On the device ``"meta"``.
    """
    with torch.device("meta"):
        return network_class(**architecture)


def build(
    network_class: Callable[..., _Network],
    architecture: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
    source: Any,
) -> _Network:
    """Network with copies of these tensors, in eval mode.

    Parameters
    ----------
    network_class : type
    architecture : mapping
        Its arguments.
    state : mapping of str to Tensor
        All of its tensors, and no others.
    source : str or Path
        Where the tensors come from; named in messages.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        If the tensors are not those of the architecture. Nothing of that size was built then.
    """
    network = empty_network(network_class, architecture)
    load_into(network, state, source, strict=True)
    return network.eval()


def load_into(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    source: Any,
    *,
    strict: bool = False,
) -> None:
    """Copy tensors into a network, or name the first that does not fit.

    Parameters
    ----------
    module : Module
        All of its tensors are replaced. An empty one is moved to the processor.
    state : mapping of str to Tensor
        Tensors under the module's key names; those that the module does not have are ignored, so
        that lower blocks take their part of a whole network.
    source : str or Path
        Where the tensors come from; named in messages.
    strict : bool, default=False
        Whether tensors that the module does not have are an error.

    Raises
    ------
    ValueError
        If a tensor is missing, has another shape or, with ``strict``, is unexpected. Nothing has
        been copied then.

    Examples
    --------
    >>> from sklearn_speechsent.nn import SpeakerBlocks
    >>> from sklearn_speechsent.pretrained import load_into
    >>> narrow, wide = (
    ...     SpeakerBlocks(1, widths=(width,), depths=(1,), se_ratio=None) for width in (4, 8)
    ... )
    >>> load_into(narrow, wide.state_dict(), "wide.pt")
    Traceback (most recent call last):
        ...
    ValueError: wide.pt does not fit the network: 'conv1.weight' has shape (8, 1, 3, 3), expected
    (4, 1, 3, 3). Expected was SpeakerBlocks(n_mels=80, widths=(4,), depths=(1,), se_ratio=None).
    Pass weights of this architecture.
    """
    check_tensors(module, state, source, strict=strict)
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        module.to_empty(device="cpu")
    module.load_state_dict({key: state[key] for key in module.state_dict()})


def check_tensors(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    source: Any,
    *,
    strict: bool,
    remedy: str = "Pass weights of this architecture.",
) -> None:
    """Check that tensors are those of a network.

    Parameters
    ----------
    module : Module
        May be empty.
    state : mapping of str to Tensor
    source : str or Path
        Where the tensors come from; named in messages.
    strict : bool
        Whether tensors that the module does not have are an error.
    remedy : str, optional
        Last sentence of the message.

    Raises
    ------
    ValueError
        If a tensor is missing, has another shape or is unexpected; the message names the first.
    """
    mismatch = _first_mismatch(module.state_dict(), state, strict=strict)
    if mismatch is not None:
        raise ValueError(
            f"{source} does not fit the network: {mismatch}. Expected was {_describe(module)}. "
            f"{remedy}"
        )


def _first_mismatch(
    wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], *, strict: bool
) -> str | None:
    """Clause about the first tensor that does not fit, in the order of the network."""
    for key, tensor in wanted.items():
        shape = tuple(tensor.shape)
        if key not in state:
            return f"{key!r} of shape {shape} is missing"
        if tuple(state[key].shape) != shape:
            return f"{key!r} has shape {tuple(state[key].shape)}, expected {shape}"
    if strict:
        for key, tensor in state.items():
            if key not in wanted:
                return f"{key!r} of shape {tuple(tensor.shape)} is unexpected"
    return None


def _describe(module: torch.nn.Module) -> str:
    settings = getattr(module, "architecture", None)
    if settings is None:  # lower blocks of a speaker network, or something else
        blocks = _block_layout(module.state_dict())
        settings = {} if blocks is None else {"n_mels": getattr(module, "n_mels", None), **blocks}
    listed = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"{type(module).__name__}({listed})"
