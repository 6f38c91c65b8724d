"""Domain of fit: what is remembered, and when there is a warning about other recordings."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.frames import DomainWarning
from sklearn_speechsent.frames.domain import learn_domain, warn_outside

FITTED = {"band_limit": (7481.0, 7736.0), "duration": (3.0, 5.0), "speech": (0.3, 0.7)}


def frames(n, **columns):
    """Utterances about which this is known."""
    made = UtteranceFrames(np.zeros((n, 2)), np.arange(n), np.arange(n) + 1)
    return made.with_metadata(**columns) if columns else made


def test_ranges_of_what_is_known():
    columns = {
        "duration": [3.0, np.nan, 5.0],
        "speech": [np.nan] * 3,
        "row": [0, 1, 2],
        "x": [1] * 3,
    }
    assert learn_domain(frames(3, **columns)) == {"duration": (3.0, 5.0)}
    assert learn_domain(frames(3)) == {}
    longer = learn_domain(frames(1, duration=[9.0], band_limit=[4e3]), {"duration": (3.0, 5.0)})
    assert longer == {"duration": (3.0, 9.0), "band_limit": (4e3, 4e3)}


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("band_limit", [6000.0, 7000.0, 9600.0], [3860.0, 5500.0, 9700.0]),
        ("duration", [0.76, 4.0, 19.9], [0.7, 21.0, 600.0]),
        ("speech", [0.08, 0.5, 1.0], [0.05, 0.0]),
    ],
)
def test_what_is_outside(name, inside, outside):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_outside(FITTED, frames(len(inside), **{name: inside}))
        warn_outside(FITTED, frames(2, **{name: [np.nan] * 2}))
        warn_outside({}, frames(len(outside), **{name: outside}))
        warn_outside(FITTED, frames(len(outside)))
    for value in outside:
        with pytest.warns(DomainWarning, match=r"^1 of 1 recordings .* as row 0 does\."):
            warn_outside(FITTED, frames(1, **{name: [value]}))


def test_one_warning_counts_rows():
    known = {
        "row": np.arange(40) + 100,
        "band_limit": np.where(np.arange(40) < 37, 3860.0, 7700.0),
        "duration": np.where(np.arange(40) == 39, 600.0, 4.0),
    }
    with pytest.warns(DomainWarning) as caught:
        warn_outside(FITTED, frames(40, **known))
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith("38 of 40 recordings are unlike those that this model was fitted on")
    assert "37 reach up to 3.9 kHz (in fit 7.5 to 7.7), as row 100 does" in message
    assert "1 last 600 s (in fit 3 to 5), as row 139 does" in message


def test_copies_count_once():
    table = pd.DataFrame(
        {"row": [0, 1, 2] * 3, "duration": [4.0, 60.0, 4.0, 4.0, 66.0, 4.0] + [4.0] * 3}
    )
    with pytest.warns(DomainWarning, match=r"^1 of 3 .*: 1 last 60 to 66 s .* as row 1 does"):
        warn_outside(FITTED, frames(9).with_metadata(table))
