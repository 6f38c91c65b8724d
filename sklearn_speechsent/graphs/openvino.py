"""Networks compiled by OpenVINO, an optional package: once per process."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from sklearn_speechsent.nn.derived import derived
from sklearn_speechsent.utils.devices import is_processor
from sklearn_speechsent.utils.sklearn_compat import StrOptions

#: Types of the parameter ``backend``.
BACKEND_CONSTRAINT = [StrOptions({"torch", "openvino"})]
#: Names of precisions in OpenVINO.
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
#: Compiled networks that this process holds; each has its weights a second time.
_HELD = 8
_LOCK = threading.RLock()
_compiled: OrderedDict[Any, Compiled] = OrderedDict()


def load_openvino() -> Any:
    """Import OpenVINO, which sends nothing home.

    Importing it reports the import to its makers, unless the package of its telemetry is missing.
    So it is missing while OpenVINO is imported.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed.
    """
    if "openvino" not in sys.modules:
        absent: Any = None
        sys.modules.setdefault("openvino_telemetry", absent)
    try:
        import openvino
    except ImportError as exception:
        raise ImportError(
            'backend="openvino" needs the package openvino: pip install '
            '"sklearn-speechsent[openvino]". backend="torch" needs no other package.'
        ) from exception
    finally:
        if "openvino_telemetry" in sys.modules and sys.modules["openvino_telemetry"] is None:
            del sys.modules["openvino_telemetry"]
    return openvino


def _problem(precision: str) -> Exception | None:
    """Why OpenVINO cannot compute here; None if it can."""
    try:
        openvino = load_openvino()
    except ImportError as exception:
        return exception
    if precision == "float32":
        return None
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return ValueError(
            'backend="openvino" computes in bfloat16 only on a processor that has units for it, '
            'and this one has none. Use precision="float32", or backend="torch".'
        )
    return None


def check_backend(backend: str, device: Any = "cpu", precision: str = "float32") -> None:
    """Raise if a backend cannot be used on this machine.

    Parameters
    ----------
    backend : {"torch", "openvino"}
    device : str or torch.device
    precision : {"float32", "bfloat16"}

    Raises
    ------
    ImportError
        If OpenVINO is not installed.
    ValueError
        If the device is not the processor, or the processor has no bfloat16.

    Examples
    --------
    >>> from sklearn_speechsent.graphs.openvino import check_backend
    >>> check_backend("torch")
    >>> check_backend("openvino", "cuda")
    Traceback (most recent call last):
    ValueError: backend="openvino" is for the processor, and device='cuda'. Use one of the two.
    """
    if backend == "torch":
        return
    if torch.device(device).type != "cpu":
        raise ValueError(
            f'backend="openvino" is for the processor, and device={str(device)!r}. Use one of the '
            "two."
        )
    if (problem := _problem(precision)) is not None:
        raise problem


def uses_openvino(backend: str, device: Any = "cpu", precision: str = "float32") -> bool:
    """Whether a fitted estimator computes with OpenVINO; torch takes its place where it cannot.

    Parameters
    ----------
    backend : {"torch", "openvino"}
    device : str or torch.device
    precision : {"float32", "bfloat16"}

    Returns
    -------
    bool

    Warns
    -----
    UserWarning
        If it was asked for, and cannot be used here.
    """
    if backend == "torch" or not is_processor(device):
        return False
    if (problem := _problem(precision)) is None:
        return True
    warnings.warn(
        f"{problem} torch is used instead; set_params(backend='torch') says so for good.",
        stacklevel=2,
    )
    return False


class Compiled:
    """A graph of ONNX that OpenVINO computes on the processor.

    Threads may call it at the same time.

    Parameters
    ----------
    model : onnx.ModelProto
    n_calls : int
        Calls that are computed at a time.
    n_threads : int
        Threads of each.
    precision : {"float32", "bfloat16"}
    """

    def __init__(
        self, model: onnx.ModelProto, n_calls: int, n_threads: int, precision: str
    ) -> None:
        core = load_openvino().Core()
        settings = {
            "INFERENCE_NUM_THREADS": n_calls * n_threads,
            "NUM_STREAMS": n_calls,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Else every process binds its first thread to the same core.
            "ENABLE_CPU_PINNING": False,
        }
        graph = core.read_model(model.SerializeToString())
        # Else something of each length that was met stays, in the end more than a gigabyte.
        frugal = {"CPU_RUNTIME_CACHE_CAPACITY": 0}
        try:
            self._model = core.compile_model(graph, "CPU", settings | frugal)
        except RuntimeError:  # OpenVINO does not list this setting, and may give it up
            self._model = core.compile_model(graph, "CPU", settings)
        self._idle: list[Any] = []

    def __call__(self, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output of the graph, of which it has one."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        found = request.infer(dict(enumerate(inputs)))
        result = np.array(found[0])
        self._idle.append(request)
        return result


def compiled(
    network: torch.nn.Module,
    what: Any,
    make: Callable[[], onnx.ModelProto],
    *,
    n_calls: int | None = None,
    n_threads: int | None = None,
    precision: str = "float32",
) -> Compiled:
    """Compile a graph of a network, or give the one that this process has.

    Parameters
    ----------
    network : Module
        Whose tensors the graph holds. One that is changed is compiled again.
    what : hashable
        Which graph of the network.
    make : callable
        Gives the graph.
    n_calls : int or None
        Calls that are computed at a time; None for one.
    n_threads : int or None
        Threads of each; None for as many as torch is set to.
    precision : {"float32", "bfloat16"}

    Returns
    -------
    Compiled
    """
    n_threads = torch.get_num_threads() if n_threads is None else n_threads
    with _LOCK:
        # Threads of a compiled network do not live on in a forked process.
        content = derived(network, "content", partial(_content, network))
        key = (type(network), content, what, os.getpid(), n_calls or 1, n_threads, precision)
        if key not in _compiled:
            _compiled[key] = Compiled(make(), n_calls or 1, n_threads, precision)
        _compiled.move_to_end(key)
        while len(_compiled) > _HELD:
            _compiled.popitem(last=False)
        return _compiled[key]


def _content(network: torch.nn.Module) -> int:
    """Checksum of the tensors of a network, of which the copy in a pickle has the same."""
    tensors = [*network.parameters(), *network.buffers()]
    flat = (t.detach().cpu().reshape(-1).view(torch.uint8) for t in tensors)
    return hash(tuple(t.numpy().tobytes() for t in flat))
