"""What is made of a network once, and again when its tensors change."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

Made = TypeVar("Made")

#: Stamp of the tensors of each network, and what was made of them.
_made: WeakKeyDictionary[nn.Module, tuple[Any, dict[Hashable, Any]]] = WeakKeyDictionary()


def derived(network: nn.Module, what: Hashable, make: Callable[[], Made]) -> Made:
    """Give what was made of a network, or make it.

    It is held in memory as long as the network is, and is in neither its copies nor its pickles.

    Parameters
    ----------
    network : Module
        Tensors that are changed in place, or replaced, are noticed; what is written through
        ``tensor.data`` or a view in NumPy is not.
    what : hashable
        Name of the thing.
    make : callable
        Makes it; it must not refer to the network.

    Returns
    -------
    object

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.derived import derived
    >>> layer = torch.nn.Linear(2, 2)
    >>> first = derived(layer, "sum", lambda: layer.weight.sum().item())
    >>> with torch.no_grad():
    ...     _ = layer.weight.fill_(3.0)
    >>> derived(layer, "sum", lambda: layer.weight.sum().item())
    12.0
    """
    tensors = [*network.parameters(), *network.buffers()]
    # Counted up where a tensor is changed in place.
    stamp = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]
    known = _made.get(network)
    if known is None or known[0] != stamp:
        known = _made[network] = (stamp, {})
    if what not in known[1]:
        known[1][what] = make()
    return known[1][what]
