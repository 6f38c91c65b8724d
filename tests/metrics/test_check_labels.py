"""Labels are validated before long work starts."""

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.metrics.scale import check_labels


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 2],
        [0.5, -1.0, 2.0],
        ["a", "b", "a"],
        np.array([[1], [2], [1]]),
        pd.Series([1.0, 2.0, 2.0], index=[5, 6, 7]),
        pd.Series([1, 2, 2], dtype="Int64"),
    ],
    ids=str,
)
def test_good_labels_pass(y):
    check_labels(y, 3)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        ([0, 1], r"inconsistent numbers of samples: \[2, 3\]"),
        ([0.0, 1.0, np.nan], "row 2 .nan"),
        (pd.Series([0.0, np.nan, np.nan], index=[7, 8, 9]), r"2 label\(s\), the first in row 1"),
        (pd.Series([1, None, 2], dtype="Int64"), "row 1"),
        (["a", None, "b"], "row 1"),
        ([-np.inf, 0.0, 1.0], "row 0 .-inf"),
        ([1, 1, 1], "All 3 labels are 1"),
        (np.zeros((3, 2)), "rows 0, 1, 2 .3 of 3. has none"),
        ([[1, 0], [0, -1], [1, 1]], "negative number: -1 in row 1, column 1"),
        (np.eye(3)[:, :2][[0, 0, 0]], "one level"),
        (np.zeros((3, 1, 1)), "dim 3"),
    ],
    ids=str,
)
def test_bad_labels_say_what_is_wrong(y, says):
    with pytest.raises(ValueError, match=says):
        check_labels(y, 3)


def test_a_single_row_has_a_single_level():
    check_labels([2], 1)
