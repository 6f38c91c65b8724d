"""Networks with the tensors of a checkpoint, or an error that names the first that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sklearn_speechsent.nn.resnet import SpeakerResNet
from sklearn_speechsent.pretrained.checkpoint import SpeakerWeights
from sklearn_speechsent.pretrained.layout import block_layout


def first_mismatch(
    wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], *, strict: bool
) -> str | None:
    """Say which tensor is the first that is missing, has another shape or is unexpected.

    Parameters
    ----------
    wanted : mapping of str to Tensor
        State of the network, whose order decides what is first.
    state : mapping of str to Tensor
        Tensors at hand.
    strict : bool
        Whether tensors that are not wanted count.

    Returns
    -------
    str or None
        A clause for a message; None if all fits.
    """
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
    blocks = block_layout(module.state_dict())
    settings: dict[str, Any] = {}
    if blocks is not None:
        n_mels = getattr(module, "n_mels", None)
        settings = blocks if n_mels is None else {"n_mels": n_mels, **blocks}
    if isinstance(module, SpeakerResNet):
        settings["embedding_size"] = module.seg_1.out_features
    listed = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"{type(module).__name__}({listed})"


def _check_fit(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], source: Any, *, strict: bool
) -> None:
    mismatch = first_mismatch(module.state_dict(), state, strict=strict)
    if mismatch is not None:
        raise ValueError(
            f"{source} does not fit the network: {mismatch}. Expected was {_describe(module)}. "
            "Pass a checkpoint of this architecture."
        )


def outline(architecture: Mapping[str, Any]) -> SpeakerResNet:
    """Network of shapes alone, which takes neither memory nor random numbers."""
    with torch.device("meta"):
        return SpeakerResNet(**architecture)


def load_into(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    source: Any,
    *,
    strict: bool = False,
) -> None:
    """Copy tensors into a network, or say which is the first that does not fit.

    Parameters
    ----------
    module : Module
        All of its tensors are replaced.
    state : mapping of str to Tensor
        Tensors under the module's key names; what the module does not have is passed over, so
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
    Pass a checkpoint of this architecture.
    """
    _check_fit(module, state, source, strict=strict)
    module.load_state_dict({key: state[key] for key in module.state_dict()})


def build_network(checkpoint: SpeakerWeights) -> SpeakerResNet:
    """Speaker network with the tensors of a checkpoint, in eval mode.

    Parameters
    ----------
    checkpoint : SpeakerWeights
        Result of :func:`load_weights`.

    Returns
    -------
    SpeakerResNet
        With tensors of its own.

    Raises
    ------
    ValueError
        If the tensors are not those of the checkpoint's architecture; the message names the first
        that is missing, has another shape or is unexpected.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> from sklearn_speechsent.pretrained import build_network, load_weights
    >>> network = SpeakerResNet(16, n_mels=24, widths=(4, 8), depths=(1, 2), se_ratio=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(network.state_dict(), f"{folder}/network.pt")
    ...     network = build_network(load_weights(f"{folder}/network.pt"))
    >>> network(torch.rand(2, 9, 24), torch.tensor([3, 9])).shape
    torch.Size([2, 16])
    """
    network = outline(checkpoint.architecture)
    _check_fit(network, checkpoint.state, checkpoint.name, strict=True)
    network.to_empty(device="cpu").load_state_dict(checkpoint.state)
    return network.eval()
