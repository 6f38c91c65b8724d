"""State of a running fit: saved now and then, and restored when the same fit is started again.

A fit goes over the data in passes: the training pass of each epoch, and those that estimate batch
normalisation. Each pass begins by drawing the order of the batches. The state is saved at the
beginning of every pass and, in a long one, every minute, always between two batches. It holds the
network, the optimizer, the history, the callbacks and all random generators (numpy's for order and
chunks, SpecAugment's, torch's for dropout), numpy's also as it was when the pass began.

To resume, callbacks are called up to the beginning of the interrupted pass, its order is drawn
again, batches that were done are skipped without being gathered, and everything is set to the state
after the last of them. The rest of the fit then computes the same numbers as without the
interruption.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback, EpochTimer, PrintLog

from sklearn_speechsent.pretrained import load_weights
from sklearn_speechsent.training.data import (
    RandomBatches,
    shared_between_processes,
    torch_generators,
)
from sklearn_speechsent.training.resume_file import (
    ResumeFile,
    fit_key,
    locked_file,
    unwritable,
)
from sklearn_speechsent.utils.validation import new_generator

#: Seconds between two saves within a pass over the data.
SAVE_INTERVAL = 60.0
#: Free space that is needed, in sizes of the first file: optimizer and best state make later files
#: up to four times as large, and the old file stays until the new one is complete.
_ROOM = 8
#: Parameters that do not change the result, and those whose effect is in the key instead (frames,
#: state of the generator).
_NOT_IN_KEY = ("resume", "n_jobs", "verbose", "frontend", "random_state")


@contextmanager
def resumable(
    net: Any, data: list[Any], *, reset: bool
) -> Iterator[tuple[np.random.RandomState, FitProgress | None]]:
    """Generator and progress of a fit, from its parameters ``random_state`` and ``resume``.

    Parameters
    ----------
    net : UtteranceNet
    data : list
        What the fit depends on in addition to the parameters: frames, targets and so on.
    reset : bool
        Whether training starts from the beginning, not from the state of the network.

    Yields
    ------
    rng : RandomState
        Source of all that is random in the fit.
    progress : FitProgress or None
        None without ``resume``.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    ValueError
        If a parameter cannot be pickled, or several processes train the network together.
    """
    if net.resume is None:
        yield shared_between_processes(new_generator(net.random_state)), None
        return
    if getattr(getattr(net, "accelerator", None), "num_processes", 1) > 1:
        raise ValueError(
            f"resume={net.resume!r} saves the state of one process, but several train this "
            "network. Leave it out, or train on one device."
        )
    repeatable = net.random_state is not None
    settings = {k: v for k, v in net.get_params(deep=False).items() if k not in _NOT_IN_KEY}
    settings |= {"class": type(net), "start": None if reset else _start_of(net), "data": data}
    if settings.get("weights") is not None:
        settings["weights"] = load_weights(settings["weights"]).sha256
    if repeatable:
        rng = new_generator(net.random_state)
        settings["random_state"] = list(rng.get_state())
    folder = Path(net.resume).expanduser()
    with locked_file(folder, fit_key(settings), shared=repeatable) as (file, state):
        seed = None
        if not repeatable:
            limit = np.iinfo(np.int32).max
            seed = state["seed"] if state else int(new_generator(None).randint(limit))
            rng = np.random.RandomState(seed)
        yield rng, FitProgress(file, state, seed)
        if not repeatable:  # the next fit draws a new seed
            file.path.unlink(missing_ok=True)


class FitProgress:
    """Progress of a running fit: saves its state, and restores an earlier one.

    Parameters
    ----------
    file : ResumeFile
    state : dict or None
        State to resume from.
    seed : int or None
        Seed that was drawn for a fit with ``random_state=None``, needed to resume it.
    """

    def __init__(self, file: ResumeFile, state: dict[str, Any] | None, seed: int | None) -> None:
        self.file = file
        self.state = state
        self.seed = seed
        self.ended = False
        self._interrupted = False
        self._failed = False

    def attach(self, net: Any, batches: RandomBatches, generator: torch.Generator | None) -> bool:
        """Connect the progress with a network that is ready to be trained, and its generators.

        Parameters
        ----------
        net : UtteranceNet
        batches : RandomBatches
            Its generator also draws the chunks.
        generator : torch.Generator or None
            Source of the masks of SpecAugment.

        Returns
        -------
        bool
            Whether the fit was finished before, so that its result was only read.
        """
        self.net, self.batches, self.generator = net, batches, generator
        self.n_earlier = len(net.history)
        if self.state is not None and (
            _shapes_of(self.state["networks"]) != _shapes_of(_networks_of(net))
        ):
            warnings.warn(
                f"{self.file.path} holds a network of another shape, whose code has changed since. "
                "It is not used and will be overwritten.",
                UserWarning,
                stacklevel=2,
            )
            self.state = None
        state = self.state
        finished = state is not None and state["stage"] == "finished"
        if state is not None and net.verbose:
            where = "the end" if finished else f"epoch {len(state['history'])}"
            print(f"Resuming from {self.file.path}, which has come to {where}.")
        if state is not None and finished:
            net.history.extend(state["history"])
            self._restore("rng")
            net._set_training(False)
        return finished

    def begin(self) -> int:
        """Go to the beginning of the interrupted pass; returns the number of epochs that are left.

        To be called after callbacks were told that training begins.
        """
        if self.state is None:
            return self.net.max_epochs
        done = self.state["history"] if self.state["ended"] else self.state["history"][:-1]
        self.net.history.extend(done)
        self._restore("rng_before")
        return 0 if self.state["ended"] else self.net.max_epochs - len(done)

    def watch(self, stage: str, batches: Any) -> tuple[Iterable[Any], int]:
        """Save the state while a pass is running; resume the one that was interrupted.

        Parameters
        ----------
        stage : {"training", "batch norm"}
        batches : iterable
            Draws the order, and gathers the batches, while it is iterated.

        Returns
        -------
        batches : iterable
            Those that are left.
        n_done : int
            How many were done before.
        """
        state, n_done = self.state, 0
        if state is not None:
            if state["stage"] != stage:  # the pass of training was complete, the one after it not
                return (), len(self.batches)
            n_done = state["n_done"]
        return self._watched(stage, batches, n_done), n_done

    def _watched(self, stage: str, batches: Any, n_done: int) -> Iterator[Any]:
        before = _random_state_data(self.batches.rng)
        if self.state is None:
            self.save(stage, 0, before, first=stage == "training" and not self._n_epochs())
        else:
            self.batches.when_drawn = self._resume_pass
        # Worker processes, and a thread on CUDA, gather ahead: their draws are ahead as well.
        alone = getattr(batches, "num_workers", None) == 0
        saved = time.monotonic()
        for number, batch in enumerate(batches, start=n_done + 1):
            yield batch
            # The loop asks for the next batch when it is done with this one.
            if alone and time.monotonic() - saved >= SAVE_INTERVAL:
                self.save(stage, number, before)
                saved = time.monotonic()

    def _resume_pass(self, batches: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Set everything to the state within the pass; returns the batches that are left."""
        assert self.state is not None
        n_done = self.state["n_done"]
        if not self.state["ended"]:
            self.net.history[-1] = self.state["history"][-1]
        # A state of the beginning was saved before the order was drawn: keep numpy's generator.
        self._restore("rng" if n_done else None)
        self.state = None
        return batches[n_done:]

    def _restore(self, rng: str | None) -> None:
        assert self.state is not None
        _restore_state(self.net, self.generator, self.state)
        if rng is not None:
            _restore_random_state(self.batches.rng, self.state[rng])

    def note_interrupt(self, exception: KeyboardInterrupt) -> None:
        """Tell Ctrl-C from a callback that raises the same exception to end training."""
        frame = [frame for frame, _ in traceback.walk_tb(exception.__traceback__)][-1]
        self._interrupted = not isinstance(frame.f_locals.get("self"), Callback)

    def end(self) -> None:
        """Mark that there are no more epochs.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C ended training: skorch would return the half-trained network.
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
        """Write the present state.

        Parameters
        ----------
        stage : str
        n_done : int
            Batches of the pass that are done.
        before : list, optional
            State of numpy's generator when the pass began.
        first : bool, default=False
            Whether training has not begun, so that it is better to fail than to train without.

        Raises
        ------
        OSError
            If it is the first one, and there is no room for it and later ones.

        Warns
        -----
        UserWarning
            If it is a later one that cannot be written: training continues, and the state that
            was saved before stays.
        """
        folder = self.file.path.parent
        state = {
            **_collect_state(self.net, self.batches.rng, self.generator, self.n_earlier),
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
                    f"({exception.strerror or exception}). Training continues; if it is "
                    "interrupted, it resumes from the state saved before. Make room in the folder.",
                    UserWarning,
                    stacklevel=2,
                )
            self._failed = True

    def _n_epochs(self) -> int:
        """Complete epochs of this fit, while another one is running."""
        return len(self.net.history) - self.n_earlier - 1


def _collect_state(
    net: Any, rng: np.random.RandomState, generator: torch.Generator | None, n_earlier: int
) -> dict[str, Any]:
    """All that changes while a network is trained, without the first ``n_earlier`` epochs.

    Numbers, strings, tensors, and lists and dicts of them; other values in the history or in the
    attributes of callbacks are left out. Tensors are those of the network, not copies.
    """
    return {
        "rng": _random_state_data(rng),
        "augment": None if generator is None else generator.get_state(),
        "torch": [source.get_state() for source in torch_generators(net.device)],
        "history": _as_data(net.history.to_list()[n_earlier:]),
        "networks": _networks_of(net),
        "optimizers": [_as_data(optimizer.state_dict()) for optimizer in _optimizers(net)],
        "tuned": [p.requires_grad for _, p in net.get_all_learnable_params()],
        "callbacks": {name: _callback_state(callback) for name, callback in net.callbacks_},
    }


def _restore_state(net: Any, generator: torch.Generator | None, state: dict[str, Any]) -> None:
    """Restore all but the history and numpy's generator, in an initialized network."""
    for name, tensors in state["networks"].items():
        getattr(net, name).load_state_dict(tensors)
    for optimizer, saved in zip(_optimizers(net), state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    parameters = [parameter for _, parameter in net.get_all_learnable_params()]
    for parameter, tuned in zip(parameters, state["tuned"], strict=True):
        parameter.requires_grad_(tuned)
    for name, callback in net.callbacks_:
        _restore_callback(callback, state["callbacks"].get(name, {}))
    if generator is not None:
        generator.set_state(state["augment"])
    for source, tensor in zip(torch_generators(net.device), state["torch"], strict=True):
        source.set_state(tensor)


def _random_state_data(rng: np.random.RandomState) -> list[Any]:
    """State of a generator of numpy as plain data."""
    name, keys, *position = rng.get_state(legacy=True)
    return [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *position]


def _restore_random_state(rng: np.random.RandomState, state: list[Any]) -> None:
    """Set a generator of numpy to the state of `_random_state_data`."""
    name, keys, *position = state
    rng.set_state((name, keys.numpy().astype(np.uint32), *position))


def _networks_of(net: Any) -> dict[str, dict[str, Any]]:
    """State dicts of the module and of a criterion that has one."""
    names = [f"{name}_" for name in (*net._modules, *net._criteria)]
    found = {name: getattr(net, name) for name in names}
    return {name: item.state_dict() for name, item in found.items() if hasattr(item, "state_dict")}


def _shapes_of(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Shape of each tensor of `_networks_of`."""
    return {
        name: {key: getattr(tensor, "shape", None) for key, tensor in tensors.items()}
        for name, tensors in networks.items()
    }


def _start_of(net: Any) -> list[Any]:
    """State of a network that was trained before, from which training continues."""
    optimizers = [optimizer.state_dict() for optimizer in _optimizers(net)]
    learned = [vars(net).get(name) for name in ("levels_", "prior_ratio_", "held_out_")]
    return [_networks_of(net), optimizers, learned]


def _optimizers(net: Any) -> list[Any]:
    """Optimizers of a network; one that was unpickled has none."""
    found = (vars(net).get(f"{name}_") for name in net._optimizers)
    return [optimizer for optimizer in found if optimizer is not None]


def _callback_state(callback: Any) -> dict[str, Any]:
    """Data among the attributes of a callback that end in ``_``, by convention its state."""
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
    """Copy without objects that are not data; numbers of numpy become those of Python."""
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
