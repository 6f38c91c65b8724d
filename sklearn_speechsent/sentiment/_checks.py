"""What the sentiment networks ask of their parameters before they start."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

from sklearn_speechsent.training.checks import TRAINING_CONSTRAINTS
from sklearn_speechsent.utils.sklearn_compat import HasMethods, Interval, StrOptions

NET_CONSTRAINTS: dict[str, list[Any]] = {
    **TRAINING_CONSTRAINTS,
    "ordinal": [StrOptions({"coral", "corn", "condor", "clm", "ce"})],
    "two_headed": ["boolean"],
    "prior_correction": ["boolean"],
    "levels": ["array-like", None],
    "weights": [str, os.PathLike, HasMethods(["to_checkpoint"]), None],
    "sampling_exponent": [Interval(Real, 0, None, closed="left")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "checkpoint": [str, os.PathLike, None],
}
