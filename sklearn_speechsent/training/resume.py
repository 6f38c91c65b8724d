"""Going on with a fit that was stopped, to the result that it would have had.

A fit goes over the data in passes: the training pass of each epoch, and those that settle batch
normalisation. Each begins by drawing the order of the batches. The state is saved at the beginning
of every pass and, in a long one, every minute, always between two batches. It holds the network,
the optimizer, the history, the callbacks and everything that draws at random (numpy for order and
chunks, SpecAugment's generator, torch for dropout); numpy's generator also as it was when the pass
began.

To resume, callbacks are called up to the beginning of the interrupted pass, its order is drawn
again, the batches that were done are left out without being gathered, and everything is set to
where it was after the last of them. What is left to do then meets the same numbers as if nothing
had happened.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_random_state
from skorch.callbacks import Callback, EpochTimer, PrintLog

from sklearn_speechsent.pretrained import load_weights
from sklearn_speechsent.training.data import UtteranceDataset, agreed
from sklearn_speechsent.training.resume_file import (
    CheckpointFile,
    claimed,
    fit_key,
    unwritable,
)

#: Seconds between two saves within a pass over the data.
SAVE_INTERVAL = 60.0
#: Optimizer and best state make a file up to four times as large as the first one, and the new one
#: lies beside the old one until it is complete.
_ROOM = 8
#: Parameters that say how fast, how loud or where, not what comes out; and those that count by
#: what they lead to, frames and draws.
_NOT_IN_KEY = ("resume", "n_jobs", "verbose", "frontend", "random_state")


@contextmanager
def resumable(
    net: Any, data: list[Any], *, reset: bool
) -> Iterator[tuple[np.random.RandomState, FitCheckpoint | None]]:
    """Surround a fit, that its parameter ``resume`` may let go on from an earlier one.

    Parameters
    ----------
    net : UtteranceNet
    data : list
        What the fit depends on besides the parameters: frames, targets and so on.
    reset : bool
        Whether training starts from the beginning, not from the state of the network.

    Yields
    ------
    rng : RandomState
        For all that the fit draws.
    checkpoint : FitCheckpoint or None

    Raises
    ------
    OSError
        If the folder cannot be written to.
    ValueError
        If a parameter cannot be pickled, or several processes train the network together.
    """
    if net.resume is None:
        yield agreed(check_random_state(net.random_state)), None
        return
    if getattr(getattr(net, "accelerator", None), "num_processes", 1) > 1:
        raise ValueError(
            f"resume={net.resume!r} is of one process, and several train this network. "
            "Leave it out, or train on one device."
        )
    repeatable = net.random_state is not None
    settings = {k: v for k, v in net.get_params(deep=False).items() if k not in _NOT_IN_KEY}
    settings |= {"class": type(net), "start": None if reset else start_of(net), "data": data}
    if settings.get("weights") is not None:
        settings["weights"] = load_weights(settings["weights"]).sha256
    if repeatable:
        rng = check_random_state(net.random_state)
        settings["random_state"] = list(rng.get_state())
    with claimed(Path(net.resume).expanduser(), fit_key(settings), shared=repeatable) as (
        file,
        state,
    ):
        seed = None
        if not repeatable:
            limit = np.iinfo(np.int32).max
            seed = state["seed"] if state else int(check_random_state(None).randint(limit))
            rng = np.random.RandomState(seed)
        yield rng, FitCheckpoint(file, state, seed)
        if not repeatable:  # the next fit is meant to draw anew
            file.path.unlink(missing_ok=True)


class FitCheckpoint:
    """The state of a running fit: when it is saved, and how it is put back.

    Parameters
    ----------
    file : CheckpointFile
    state : dict or None
        Where to go on from.
    seed : int or None
        Of a fit without a seed of its own, for the next attempt.
    """

    def __init__(
        self, file: CheckpointFile, state: dict[str, Any] | None, seed: int | None
    ) -> None:
        self.file = file
        self.state = state
        self.seed = seed
        self.ended = False
        self._interrupted = False
        self._failed = False

    def attach(self, net: Any, dataset: UtteranceDataset) -> bool:
        """Take over a network that is ready to be trained.

        Returns
        -------
        bool
            Whether it was trained before and only had to be read.
        """
        self.net, self.dataset = net, dataset
        self.n_earlier = len(net.history)
        if self.state is not None and (
            shapes_of(self.state["networks"]) != shapes_of(networks_of(net))
        ):
            warnings.warn(
                f"{self.file.path} is of a network of another shape, whose code has changed since. "
                "It is not used and will be overwritten.",
                UserWarning,
                stacklevel=2,
            )
            self.state = None
        state = self.state
        finished = state is not None and state["stage"] == "finished"
        if state is not None and net.verbose:
            where = "the end" if finished else f"epoch {len(state['history'])}"
            print(f"Going on from {self.file.path}, which has come to {where}.")
        if state is not None and finished:
            net.history.extend(state["history"])
            self._restore("rng")
            net._set_training(False)
        return finished

    def begin(self) -> int:
        """Go to the beginning of the pass that was interrupted, and say how many epochs are left.

        To be called when callbacks know that training begins.
        """
        if self.state is None:
            return self.net.max_epochs
        done = self.state["history"] if self.state["ended"] else self.state["history"][:-1]
        self.net.history.extend(done)
        self._restore("rng_before")
        return 0 if self.state["ended"] else self.net.max_epochs - len(done)

    def watch(self, stage: str, batches: Any) -> tuple[Iterable[Any], int]:
        """Save while a pass goes on; take up the one that was interrupted.

        Parameters
        ----------
        stage : {"training", "settling"}
        batches : iterable
            Draws the order, and gathers the batches, as it is gone through.

        Returns
        -------
        batches : iterable
            Those that are left.
        n_done : int
            How many were done before.
        """
        state, n_done = self.state, 0
        if state is not None:
            if state["stage"] != stage:  # training was complete, its settling was not
                return (), len(self.dataset.batches or ())
            n_done = state["n_done"]
        return self._watched(stage, batches, n_done), n_done

    def _watched(self, stage: str, batches: Any, n_done: int) -> Iterator[Any]:
        drawn = self.dataset.batches
        assert drawn is not None and self.dataset.rng is not None
        before = random_state_data(self.dataset.rng)
        if self.state is None:
            self.save(stage, 0, before, first=stage == "training" and not self._n_epochs())
        else:
            drawn.when_drawn = self._resume_pass
        # Worker processes gather ahead, with generators of their own.
        alone = getattr(batches, "num_workers", None) == 0
        saved = time.monotonic()
        for number, batch in enumerate(batches, start=n_done + 1):
            yield batch
            # Asked for the next batch, the loop is done with this one.
            if alone and time.monotonic() - saved >= SAVE_INTERVAL:
                self.save(stage, number, before)
                saved = time.monotonic()

    def _resume_pass(self, batches: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Set everything to where it was within the pass; gives the batches that are left."""
        assert self.state is not None
        n_done = self.state["n_done"]
        if not self.state["ended"]:
            self.net.history[-1] = self.state["history"][-1]
        # Saved before the order was drawn, numpy's generator has moved on in the meantime.
        self._restore("rng" if n_done else None)
        self.state = None
        return batches[n_done:]

    def _restore(self, rng: str | None) -> None:
        assert self.state is not None and self.dataset.rng is not None
        restore_state(self.net, self.dataset, self.state)
        if rng is not None:
            restore_random_state(self.dataset.rng, self.state[rng])

    def note_interrupt(self, exception: KeyboardInterrupt) -> None:
        """Tell Ctrl-C from a callback that raises the same to end training, as skorch has it."""
        frame = [frame for frame, _ in traceback.walk_tb(exception.__traceback__)][-1]
        self._interrupted = not isinstance(frame.f_locals.get("self"), Callback)

    def end(self) -> None:
        """Mark that there are no more epochs.

        Raises
        ------
        KeyboardInterrupt
            If it was Ctrl-C that ended them: skorch would return the half-trained network.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        self.ended = True

    def finish(self) -> None:
        """Save the result."""
        self.save("finished", 0)

    # -- the state -------------------------------------------------------------------------------

    def save(
        self, stage: str, n_done: int, before: list[Any] | None = None, *, first: bool = False
    ) -> None:
        """Write the state as it is now.

        Parameters
        ----------
        stage : str
        n_done : int
            Batches of the pass that are done.
        before : list, optional
            State of numpy's generator when the pass began.
        first : bool, default=False
            Whether nothing is lost yet, so that it is better to fail than to train without.

        Raises
        ------
        OSError
            If it is the first one, and there is no room for it and those to come.

        Warns
        -----
        UserWarning
            If it is a later one that cannot be written: training goes on, and what was saved
            before stays.
        """
        folder = self.file.path.parent
        state = {
            **collect_state(self.net, self.dataset, self.n_earlier),
            "seed": self.seed,
            "stage": stage,
            "ended": self.ended,
            "n_done": n_done,
            "rng_before": before,
        }
        try:
            size = self.file.write(state)
            if first and shutil.disk_usage(folder).free < _ROOM * size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._failed = False
        except OSError as exception:
            if first:
                raise unwritable(folder, exception) from exception
            if not self._failed:
                warnings.warn(
                    f"The state of the fit cannot be saved in {folder} "
                    f"({exception.strerror or exception}). Training goes on; if it is stopped, it "
                    "goes on from the state saved before. Make room in the folder.",
                    UserWarning,
                    stacklevel=2,
                )
            self._failed = True

    def _n_epochs(self) -> int:
        """Epochs of this fit that are complete, while one is going on."""
        return len(self.net.history) - self.n_earlier - 1


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
