"""From recordings to samples, and what to say of those that are of no use."""

from sklearn_speechsent.audio.checks import (
    CHECK_HINT,
    check_recordings,
    find_problems,
    raise_for_bad_recordings,
)
from sklearn_speechsent.audio.reading import duration, probe, read
from sklearn_speechsent.recordings import (
    MissingRecordingError,
    Recording,
    RecordingError,
    as_recordings,
)

__all__ = [
    "CHECK_HINT",
    "MissingRecordingError",
    "Recording",
    "RecordingError",
    "as_recordings",
    "check_recordings",
    "duration",
    "find_problems",
    "probe",
    "raise_for_bad_recordings",
    "read",
]
