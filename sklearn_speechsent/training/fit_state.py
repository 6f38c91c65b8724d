"""The state of a network in training as plain data, and back."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.callbacks import EpochTimer, PrintLog

from sklearn_speechsent.training.data import UtteranceDataset


def collect_state(net: Any, dataset: UtteranceDataset, n_earlier: int) -> dict[str, Any]:
    """All that changes while a network is trained.

    Parameters
    ----------
    net : UtteranceNet
    dataset : UtteranceDataset
        The training data, whose generators draw order, chunks and masks.
    n_earlier : int
        Epochs at the beginning of the history to leave out.

    Returns
    -------
    dict
        Numbers, strings, tensors, and lists and dicts of them. What else is in the history or in
        the attributes of callbacks is left out. Tensors are those of the network, not copies.
    """
    assert dataset.rng is not None
    return {
        "rng": random_state_data(dataset.rng),
        "augment": None if dataset.generator is None else dataset.generator.get_state(),
        "torch": [get() for get, _ in _torch_generators(net.device)],
        "history": _as_data(net.history.to_list()[n_earlier:]),
        "networks": networks_of(net),
        "optimizers": [_as_data(optimizer.state_dict()) for optimizer in _optimizers(net)],
        "tuned": [p.requires_grad for _, p in net.get_all_learnable_params()],
        "callbacks": {name: _callback_state(callback) for name, callback in net.callbacks_},
    }


def restore_state(net: Any, dataset: UtteranceDataset, state: dict[str, Any]) -> None:
    """Set everything back but the history and numpy's generator.

    Parameters
    ----------
    net : UtteranceNet
        Initialized; callbacks have been told that training begins.
    dataset : UtteranceDataset
    state : dict
        Of :func:`collect_state`.
    """
    for name, tensors in state["networks"].items():
        getattr(net, name).load_state_dict(tensors)
    for optimizer, saved in zip(_optimizers(net), state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    parameters = [parameter for _, parameter in net.get_all_learnable_params()]
    for parameter, tuned in zip(parameters, state["tuned"], strict=True):
        parameter.requires_grad_(tuned)
    for name, callback in net.callbacks_:
        _restore_callback(callback, state["callbacks"].get(name, {}))
    if dataset.generator is not None:
        dataset.generator.set_state(state["augment"])
    for (_, put), tensor in zip(_torch_generators(net.device), state["torch"], strict=True):
        put(tensor)


def random_state_data(rng: np.random.RandomState) -> list[Any]:
    """State of a generator of numpy as plain data."""
    name, keys, *position = rng.get_state(legacy=True)
    return [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *position]


def restore_random_state(rng: np.random.RandomState, state: list[Any]) -> None:
    """Set a generator of numpy to the state of :func:`random_state_data`."""
    name, keys, *position = state
    rng.set_state((name, keys.numpy().astype(np.uint32), *position))


def networks_of(net: Any) -> dict[str, dict[str, Any]]:
    """State dicts of the module and of a criterion that has one."""
    names = [f"{name}_" for name in (*net._modules, *net._criteria)]
    found = {name: getattr(net, name) for name in names}
    return {name: item.state_dict() for name, item in found.items() if hasattr(item, "state_dict")}


def shapes_of(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Shape of each tensor of :func:`networks_of`."""
    return {
        name: {key: getattr(tensor, "shape", None) for key, tensor in tensors.items()}
        for name, tensors in networks.items()
    }


def start_of(net: Any) -> list[Any]:
    """What a network that was trained before goes on from."""
    optimizers = [optimizer.state_dict() for optimizer in _optimizers(net)]
    learned = [vars(net).get(name) for name in ("levels_", "prior_ratio_", "held_out_")]
    return [networks_of(net), optimizers, learned]


def _optimizers(net: Any) -> list[Any]:
    """Optimizers that are there: a network that comes out of a pickle has none."""
    found = (vars(net).get(f"{name}_") for name in net._optimizers)
    return [optimizer for optimizer in found if optimizer is not None]


def _torch_generators(device: Any) -> list[tuple[Any, Any]]:
    """Functions that get and set torch's own generators, of the processor and of a device."""
    generators: list[tuple[Any, Any]] = [(torch.get_rng_state, torch.set_rng_state)]
    device = torch.device(device or "cpu")
    if device.type != "cpu":
        functions = getattr(torch, device.type)
        kwargs = {"device": device} if device.type == "cuda" else {}
        generators.append(
            (
                partial(functions.get_rng_state, **kwargs),
                partial(functions.set_rng_state, **kwargs),
            )
        )
    return generators


def _callback_state(callback: Any) -> dict[str, Any]:
    """Data among the attributes in which a callback keeps its state: those that end in ``_``."""
    if isinstance(callback, PrintLog):  # prints its header once per process
        return {}
    if isinstance(callback, EpochTimer):
        now = time.time()
        return {"elapsed": now - (callback.epoch_start_time_ or now)}
    state = {name: value for name, value in vars(callback).items() if name.endswith("_")}
    for name, value in state.items():
        if hasattr(value, "load_state_dict") and not isinstance(value, type):  # a schedule
            state[name] = value.state_dict()
    return _as_data(state)


def _restore_callback(callback: Any, state: dict[str, Any]) -> None:
    if isinstance(callback, EpochTimer):
        callback.epoch_start_time_ = time.time() - state.get("elapsed", 0.0)
        return
    for name, value in state.items():
        current: Any = getattr(callback, name, None)
        if hasattr(current, "load_state_dict"):
            current.load_state_dict(value)
        else:
            setattr(callback, name, value)


def _as_data(value: Any) -> Any:
    """Copy without what is no data; numbers of numpy become those of Python."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _as_data(item) for key, item in value.items() if _is_data(item)}
    if isinstance(value, (list, tuple)):
        return type(value)([_as_data(item) for item in value])
    return value


def _is_data(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(_is_data, value))
    kinds = (bool, int, float, str, torch.Tensor, np.generic, dict)
    return value is None or isinstance(value, kinds)
