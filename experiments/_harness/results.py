"""Results of fits, stored by what they depend on, so that an interrupted run resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import sklearn_speechsent
from experiments._harness.files import write_text
from sklearn_speechsent.pretrained import REGISTRY

#: Parameters that say where, how fast and how verbosely. What comes out is the same, but for what a
#: device rounds in another way: a table that was made on one can be read where there is none.
_IMMATERIAL = ("memory", "n_jobs", "verbose", "resume", "device")
#: Part of every key: raise it when the same settings give other results, or results hold more.
_VERSION = 1


def settings_of(estimator: Any) -> dict[str, str]:
    """All settings on which an estimator's results depend, as text.

    Parameters
    ----------
    estimator : estimator
        Not fitted.

    Returns
    -------
    dict of str to str
        Types of the nested estimators, and parameters that are not estimators themselves.
    """
    settings = {"": _qualified(estimator)}
    for name, value in estimator.get_params(deep=True).items():
        if _leaf(name) in _IMMATERIAL or _leaf(name) == "steps":
            continue
        if _leaf(name) == "estimators":  # they are among the parameters, under these names
            settings[name] = repr([member for member, _ in value])
        elif _leaf(name) == "callbacks":
            settings[name] = joblib.hash(value)  # in their text are addresses
        elif hasattr(value, "get_params") or isinstance(value, type):
            settings[name] = _qualified(value)
        elif isinstance(value, np.ndarray):
            settings[name] = repr(value.tolist())
        elif isinstance(value, str) and value in REGISTRY and REGISTRY[value].shipped:
            # A later version of the weights has the same name.
            settings[name] = f"{value!r} {REGISTRY[value].sha256}"
        else:
            settings[name] = repr(value)
    return settings


def _qualified(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _leaf(name: str) -> str:
    return name.rpartition("__")[2]


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


class Results:
    """Results in a folder, one JSON file each.

    Parameters
    ----------
    folder : Path
        Made when the first result is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.json"))

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result of this key; None if it is missing, incomplete or of another key."""
        try:
            result = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return result if isinstance(result, dict) and result.get("key") == key else None

    def put(self, key: str, result: dict[str, Any]) -> dict[str, Any]:
        """Store a result; return it together with its key."""
        result = {"key": key, **result}
        write_text(self.folder / f"{key}.json", json.dumps(result))
        return result

    @contextmanager
    def resuming(self, key: str, model: Any) -> Iterator[Any]:
        """Let the networks of a model resume a fit of this key that was interrupted.

        Their state lies next to the results until the block ends without an error, in which the
        result should be stored.
        """
        folder = self.folder / key
        model.set_params(**{n: folder for n in model.get_params() if _leaf(n) == "resume"})
        yield model
        shutil.rmtree(folder, ignore_errors=True)


def epoch_seconds(net: Any) -> float:
    """Time of the epochs of a network, including those before an interruption.

    Parameters
    ----------
    net : estimator
        Fitted; 0 for what is not a network.

    Returns
    -------
    float
    """
    return sum(epoch["dur"] for epoch in getattr(net, "history_", []))
