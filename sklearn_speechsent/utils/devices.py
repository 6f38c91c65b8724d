"""Devices of torch: whether one can be used here, and arithmetic that is the processor's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

#: Types of the parameter ``device``.
DEVICE_CONSTRAINT = [str, torch.device]


def check_device(device: Any) -> None:
    """Raise if a device cannot be used on this machine.

    Parameters
    ----------
    device : str, torch.device or None
        None is left to whoever moves the network.

    Raises
    ------
    ValueError
        If torch does not know it, or sees no such device.

    Examples
    --------
    >>> from sklearn_speechsent.utils.devices import check_device
    >>> check_device("cpu")
    >>> check_device("gpu")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ValueError: device='gpu' cannot be used: ...
    """
    problem = _problem(device)
    if problem is not None:
        raise ValueError(
            f"device={str(device)!r} cannot be used: {problem}. Use device='cpu', or the name of a "
            "device that torch sees, such as 'cuda'."
        )


def usable_device(device: Any) -> torch.device:
    """Device on which a fitted estimator computes: the one that is asked for, or the processor.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    torch.device

    Warns
    -----
    DeviceWarning
        Of skorch, if there is no such device here and the processor takes its place.
    """
    problem = _problem(device)
    if problem is None:
        return torch.device(device)
    from skorch.exceptions import DeviceWarning

    warnings.warn(
        f"device={str(device)!r} cannot be used: {problem}. The processor is used instead; "
        "set_params(device='cpu') says so for good.",
        DeviceWarning,
        stacklevel=2,
    )
    return torch.device("cpu")


def is_processor(device: Any) -> bool:
    """Whether :func:`usable_device` is the processor.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    bool
    """
    return _problem(device) is not None or torch.device(device).type == "cpu"


def _problem(device: Any) -> str | None:
    """Why a device cannot be used; None if it can."""
    try:
        found = torch.device("cpu" if device is None else device)
    except RuntimeError:
        return "torch has no device of this name"
    if found.type == "cpu":
        return None
    # Counting does not start CUDA, so that processes can still be forked.
    count = getattr(getattr(torch, found.type, None), "device_count", int)
    n_devices = count()
    if (found.index or 0) < n_devices:
        return None
    return f"torch sees {n_devices or 'no'} devices of the type {found.type!r} on this machine"


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute products in float32 on a device, as on the processor.

    For convolutions CUDA takes TF32 by default, which has ten bits instead of 23.

    Parameters
    ----------
    device : torch.device
        Nothing changes for the processor.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.utils.devices import exact_float32
    >>> with exact_float32(torch.device("cpu")):
    ...     product = torch.ones(2, 2) @ torch.ones(2, 2)
    """
    if device.type == "cpu":
        yield
        return
    # The older switch, which is the only one up to torch 2.8, warns in later versions.
    if hasattr(torch.backends.cudnn, "conv"):
        name, on, off = "fp32_precision", "tf32", "ieee"
        places: list[Any] = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]
    else:
        name, on, off = "allow_tf32", True, False  # type: ignore[assignment]
        places = [torch.backends.cudnn, torch.backends.cuda.matmul]
    changed = [place for place in places if getattr(place, name) == on]
    for place in changed:
        setattr(place, name, off)
    try:
        yield
    finally:
        for place in changed:
            setattr(place, name, on)
