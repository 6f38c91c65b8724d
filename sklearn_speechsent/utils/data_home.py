"""Where recordings and pre-trained weights are kept on this machine."""

import os
from pathlib import Path


def get_data_home() -> Path:
    """Folder that holds corpora and pre-trained weights.

    The environment variable ``SPEECHSENT_DATA`` names it; without the variable it is
    ``~/speechsent_data``. The folder need not exist: nothing is created or downloaded here.

    Returns
    -------
    pathlib.Path
        Absolute path of the data home.

    Examples
    --------
    >>> from sklearn_speechsent.datasets import get_data_home
    >>> get_data_home().is_absolute()
    True
    """
    home = os.environ.get("SPEECHSENT_DATA") or "~/speechsent_data"
    return Path(home).expanduser().resolve()
