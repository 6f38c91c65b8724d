"""Checks of training data, and constraints of the parameters that the networks share."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import skorch.dataset
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import unusable
from sklearn_speechsent.nn import SpecAugment
from sklearn_speechsent.utils.sklearn_compat import (
    Interval,
    Options,
    StrOptions,
    check_sample_weight,
)

TRAINING_CONSTRAINTS: dict[str, list[Any]] = {
    "chunk_duration": [Interval(Real, 0, None, closed="neither"), None],
    "spec_augment": ["boolean", SpecAugment],
    "lr": [Interval(Real, 0, None, closed="neither")],
    "lr_schedule": [StrOptions({"milestones", "plateau", "one-cycle"}), None],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 2, None, closed="left")],
    "precision": [StrOptions({"float32", "bfloat16"})],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
    # Parameters of skorch without any effect here: refused, not silently ignored.
    "dataset": [Options(type, {skorch.dataset.Dataset})],
    "train_split": [None],
    "predict_nonlinearity": [StrOptions({"auto"})],
}


def check_training_data(
    frames: UtteranceFrames, y: NDArray[Any], groups: Any, sample_weight: Any
) -> tuple[NDArray[Any] | None, NDArray[np.float32]]:
    """Groups and weights as arrays, of the lengths and values that training needs.

    Raises
    ------
    ValueError
        If there is only one utterance, lengths differ, or frames are NaN or infinite; the message
        names the row.
    """
    if len(frames) < 2:
        raise ValueError("Training needs at least two utterances, got n_samples=1.")
    weight = check_sample_weight(sample_weight, y, dtype=np.float32, ensure_non_negative=True)
    if groups is not None:
        groups = column_or_1d(groups)
        check_consistent_length(y, groups)
    bad = unusable(frames)
    if bad.any():
        raise ValueError(
            f"X contains NaN or infinity in {int(bad.sum())} utterances, the first in row "
            f"{int(np.flatnonzero(bad)[0])}. Leave these rows out of X and y before fitting."
        )
    return groups, weight
