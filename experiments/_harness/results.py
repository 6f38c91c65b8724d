"""Results of folds that are kept, so that a run that was stopped goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import sklearn_speechsent

#: Parameters that say how fast and how loud, not what comes out.
_IMMATERIAL = ("memory", "n_jobs", "verbose", "callbacks", "resume")
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
