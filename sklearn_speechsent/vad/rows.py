"""Rows of a detector: frames, and the recordings that they were made of."""

from __future__ import annotations

from sklearn_speechsent.audio import Recording
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.store import FrameRows


class AudioRows(FrameRows):
    """Utterances whose frames exist, with their recordings where these are known.

    Parameters
    ----------
    frames : UtteranceFrames
    recordings : list of Recording or None
    """

    def __init__(self, frames: UtteranceFrames, recordings: list[Recording] | None) -> None:
        super().__init__(frames)
        self.recordings = recordings

    def take(self, rows: list[int]) -> AudioRows:
        """Frames and recordings of some rows."""
        recordings = self.recordings and [self.recordings[row] for row in rows]
        return AudioRows(self.frames[rows], recordings)

    def check_alignment(self) -> list[Recording]:
        """Recordings of the frames; a ValueError if a front end has left some out."""
        n = len(self.recordings or ())
        if self.recordings is None or n != len(self.frames):
            raise ValueError(
                f"The front end made {len(self.frames)} utterances of {n} recordings, and which "
                'belongs to which is not known. Use MelFilterBank(on_error="nan").'
            )
        return self.recordings
