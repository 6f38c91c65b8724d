"""Closed table of the classes in a bundle."""

from __future__ import annotations

from collections.abc import Mapping

from sklearn_speechsent.deploy.entries_of_calibration import CALIBRATION_STEPS
from sklearn_speechsent.deploy.entries_of_networks import TRAINED_NETWORKS
from sklearn_speechsent.deploy.entries_of_recordings import RECORDING_STEPS
from sklearn_speechsent.deploy.entries_of_sentiment import SENTIMENT_STEPS
from sklearn_speechsent.deploy.entries_of_tables import TABLE_STEPS
from sklearn_speechsent.deploy.entry import Entry

_ALL = [
    *TABLE_STEPS,
    *SENTIMENT_STEPS,
    *RECORDING_STEPS,
    *TRAINED_NETWORKS,
    *CALIBRATION_STEPS,
]
#: Entries by the name of their class.
TABLE: Mapping[str, Entry] = {entry.kind.__name__: entry for entry in _ALL}
