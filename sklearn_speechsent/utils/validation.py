"""Validation that several rooms need."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_random_state


def new_generator(random_state: Any) -> np.random.RandomState:
    """Generator of a parameter ``random_state``; None is a new seed each time.

    Parameters
    ----------
    random_state : int, RandomState instance or None

    Returns
    -------
    RandomState
        Never NumPy's global one, which only users may advance.
    """
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)
