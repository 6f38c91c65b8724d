"""Recordings: reading, validation and perturbation."""

from sklearn_speechsent.audio.inputs import as_recordings
from sklearn_speechsent.audio.perturbation import WaveformPerturbation
from sklearn_speechsent.audio.recording import (
    MissingRecordingError,
    Recording,
    RecordingError,
    SilentRecordingError,
)
from sklearn_speechsent.audio.samples import duration, probe, read, read_blocks
from sklearn_speechsent.audio.validation import (
    CHECK_HINT,
    check_recordings,
    find_problems,
    raise_for_bad_recordings,
)

__all__ = [
    "CHECK_HINT",
    "MissingRecordingError",
    "Recording",
    "RecordingError",
    "SilentRecordingError",
    "WaveformPerturbation",
    "as_recordings",
    "check_recordings",
    "duration",
    "find_problems",
    "probe",
    "raise_for_bad_recordings",
    "read",
    "read_blocks",
]
