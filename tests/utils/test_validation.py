"""Labels and the data home are looked at before long work starts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent.utils.files import get_data_home
from sklearn_speechsent.utils.validation import check_labels


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
        (np.zeros((3, 2)), r"one label per recording, got shape \(3, 2\)"),
        (np.zeros((3, 1, 1)), "dim 3"),
    ],
    ids=str,
)
def test_bad_labels_say_what_is_wrong(y, says):
    with pytest.raises(ValueError, match=says):
        check_labels(y, 3)


def test_a_single_row_has_a_single_level():
    check_labels([2], 1)


def test_data_home_follows_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path / "there"))
    assert get_data_home() == tmp_path / "there"
    assert not (tmp_path / "there").exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", None):
        monkeypatch.setenv("SPEECHSENT_DATA", value or "")
        if value is None:
            monkeypatch.delenv("SPEECHSENT_DATA")
        assert get_data_home() == tmp_path / "speechsent_data"
    monkeypatch.setenv("SPEECHSENT_DATA", "~/speech")
    assert get_data_home() == tmp_path / "speech"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEECHSENT_DATA", "beside")
    assert get_data_home() == Path(tmp_path, "beside")
