"""Going on where a run was stopped: results of folds, and epochs within the fit of a network."""

from __future__ import annotations

import json
import os
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback

import sklearn_speechsent

#: Parameters that say how fast and how loud, not what comes out.
_IMMATERIAL = ("memory", "n_jobs", "verbose", "callbacks")
#: Part of every key: raise it when the same settings give other results.
_VERSION = 1


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either there in full or not at all.

    Parameters
    ----------
    path : Path
    text : str
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def settings_of(estimator: Any) -> dict[str, str]:
    """All that tells an estimator's results from those of another one, as text.

    Parameters
    ----------
    estimator : estimator
        Not fitted.

    Returns
    -------
    dict of str to str
        Types of the nested estimators, and parameters that are no estimators themselves.
    """
    settings = {"": _qualified(estimator)}
    for name, value in estimator.get_params(deep=True).items():
        if name.rpartition("__")[2] in _IMMATERIAL or name.rpartition("__")[2] == "steps":
            continue
        if hasattr(value, "get_params") or isinstance(value, type):
            settings[name] = _qualified(value)
        elif isinstance(value, np.ndarray):
            settings[name] = repr(value.tolist())
        else:
            settings[name] = repr(value)
    return settings


def _qualified(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def key_of(estimator: Any, *data: Any) -> str:
    """Key of a result: of the settings, the data and the version of the package.

    Parameters
    ----------
    estimator : estimator
    *data : object
        What it is fitted on and predicts.

    Returns
    -------
    str
    """
    version = (_VERSION, sklearn_speechsent.__version__)
    return joblib.hash((version, sorted(settings_of(estimator).items()), data))


def load_result(path: Path, key: str) -> dict[str, Any] | None:
    """Result of a fold if it is there, whole and of this key; else None.

    Parameters
    ----------
    path : Path
    key : str

    Returns
    -------
    dict or None
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("key") == key else None


def load_epochs(path: Path) -> dict[str, Any] | None:
    """State of a fit that was stopped, or None if there is none that can be read.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict or None
    """
    try:
        return torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None


class EpochCheckpoint(Callback):
    """Save a fit after each epoch, and start the next one from there, to the same result.

    Module, optimizer and history are saved, and the state of everything that draws at random:
    the order of the data and the chunks (numpy), the masks, dropout (torch). A schedule goes by
    the number of epochs in the history, and so goes on too.

    Parameters
    ----------
    path : Path
        File, which must be of one fit only.

    Notes
    -----
    skorch takes Ctrl-C for "enough epochs"; here it ends the run, or a network that is half
    trained would pass for a result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Take up the state, if there is one, and leave only the remaining epochs to do."""
        state = load_epochs(self.path)
        self.done_, self.earlier_, self.started_ = 0, 0.0, time.perf_counter()
        if state is None:
            return
        try:
            net.module_.load_state_dict(state["module"])
        except RuntimeError as exception:
            exception.add_note(f"The network has changed since {self.path} was written: delete it.")
            raise
        net.optimizer_.load_state_dict(state["optimizer"])
        net.history.extend(state["history"])
        name, keys, *position = state["numpy"]
        X.rng.set_state((name, np.array(keys, dtype=np.uint32), *position))
        if state["augment"] is not None:
            X.augment.keywords["generator"].set_state(state["augment"])
        torch.set_rng_state(state["torch"])
        self.done_, self.earlier_ = len(state["history"]), state["seconds"]
        fit_loop = net.fit_loop

        def remaining(*args: Any, **kwargs: Any) -> Any:
            return fit_loop(*args, **{**kwargs, "epochs": net.max_epochs - self.done_})

        net.fit_loop = remaining

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Write the state under a temporary name, and rename it."""
        self.done_ += 1
        name, keys, *position = dataset_train.rng.get_state()
        augment = getattr(dataset_train.augment, "keywords", {}).get("generator")
        state = {
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "history": json.loads(json.dumps(net.history.to_list(), default=float)),
            "numpy": [name, keys.tolist(), *position],
            "augment": None if augment is None else augment.get_state(),
            "torch": torch.get_rng_state(),
            "seconds": self.earlier_ + time.perf_counter() - self.started_,
        }
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        torch.save(state, temporary)
        os.replace(temporary, self.path)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Let Ctrl-C through, and give the net its own loop back."""
        vars(net).pop("fit_loop", None)
        if self.done_ < net.max_epochs:
            raise KeyboardInterrupt
