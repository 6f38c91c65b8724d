"""Files of the CMU-MOSEI experiment: there in full or not at all, and found again."""

import json
import os
from contextlib import contextmanager

import joblib

import sklearn_speechsent

#: Parameters that say where features are kept, how fast and how loud, not what comes out.
IMMATERIAL = ("memory", "n_jobs", "verbose", "resume", "steps")


@contextmanager
def whole_file(path):
    """Give a temporary name; the file gets its own when all of it is written.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        Beside it, with the same suffix.
    """
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path, text):
    """Write a file that is there in full or not at all.

    Parameters
    ----------
    path : Path
    text : str
    """
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def key_of(system, *data):
    """Key of a result: of all settings of a system that matter, the data and the version.

    Parameters
    ----------
    system : Pipeline
        Not fitted.
    *data : object

    Returns
    -------
    str
    """
    settings = []
    for name, value in sorted(system.get_params().items()):
        if name.rpartition("__")[2] not in IMMATERIAL:
            # The parameters of a step are listed themselves; of the step the type is enough.
            value = type(value) if hasattr(value, "get_params") else value
            settings.append((name, repr(value)))
    return joblib.hash((sklearn_speechsent.__version__, settings, data))


def read_row(path):
    """Result of a system, if it is there and whole.

    Parameters
    ----------
    path : Path
        Named by the key of what the result depends on.

    Returns
    -------
    dict or None
    """
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and row.get("key") == path.stem else None


def write_row(path, row):
    """Keep the result of a system.

    Parameters
    ----------
    path : Path
        Named by the key of what the result depends on.
    row : dict
    """
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps({"key": path.stem, **row}))
