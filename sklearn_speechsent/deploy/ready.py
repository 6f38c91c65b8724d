"""Ready models, which are in the repository of the package and not in what is installed."""

from __future__ import annotations

import os
from pathlib import Path

from sklearn_speechsent.utils.files import get_data_home

READY = ("valence-acted",)
#: Of the repository, where the package is run from a checkout; installed, there is no such folder.
_CHECKOUT = Path(__file__).resolve().parents[2]


def find_ready(name: str | os.PathLike[str]) -> Path | None:
    """Bundle of a ready model.

    Parameters
    ----------
    name : str or path-like

    Returns
    -------
    Path or None
        None if this is not the name of a ready model, or something of this name lies in the
        working directory.

    Raises
    ------
    FileNotFoundError
        If the model is neither in the data home nor in the checkout; the message says how to get
        it.
    """
    if os.fspath(name) not in READY or Path(name).exists():
        return None
    places = [folder / "models" / name for folder in (get_data_home(), _CHECKOUT)]
    for place in places:
        if place.is_dir():
            return place
    recipe = "python -m recipes.train_" + os.fspath(name).replace("-", "_")
    raise FileNotFoundError(
        f"The ready model {name!r} has a licence of its own (CC BY-NC-SA 4.0), so that it is not "
        f"installed with the package, and it is not in {places[0]}. Copy the folder models/{name} "
        "of the package's repository there, or pass the folder where it lies to load_model. Or "
        f"make it from RAVDESS, in a checkout: {recipe} --run results/valence."
    )
