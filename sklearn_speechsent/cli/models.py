"""Fitted models of the command: loaded, and set up for a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def load(name: str, jobs: int = 1) -> Any:
    """Load a bundle by path or name.

    Parameters
    ----------
    name : str
    jobs : int, default=1
        Threads of every step.

    Returns
    -------
    estimator
        It raises an error for recordings that cannot be used.

    Raises
    ------
    FileNotFoundError
        If there is no such bundle.
    ValueError
        If it is damaged, or a pickle.
    """
    if name.endswith((".joblib", ".pkl", ".pickle")):
        raise ValueError(
            f"{name} is a pickle, which runs code when it is loaded. Load it in Python and save it "
            "with sklearn_speechsent.save_model(model, 'model.zip')."
        )
    from sklearn_speechsent.deploy import load_model
    from sklearn_speechsent.utils.estimators import set_everywhere

    return set_everywhere(load_model(name), n_jobs=jobs, on_error="raise")


def one_by_one(function: Callable[[list[Any]], list[Any]], rows: list[Any]) -> list[Any]:
    """Results of a batch; where it fails, of each row by itself.

    Parameters
    ----------
    function : callable
        Gives a result for each of some rows.
    rows : list

    Returns
    -------
    list
        A RecordingError stands for a row that cannot be used.
    """
    from sklearn_speechsent.audio import RecordingError

    try:
        return function(rows)
    except RecordingError as error:
        if len(rows) == 1:
            return [error]
    return [result for row in rows for result in one_by_one(function, [row])]


def problem(error: Exception, name: str) -> str:
    """What is wrong with a recording, in one line without its name.

    Parameters
    ----------
    error : RecordingError
        Of a row by itself.
    name : str
        Its file.

    Returns
    -------
    str
    """
    return " ".join(str(error).removeprefix(f"row 0 ({name}): ").split())
