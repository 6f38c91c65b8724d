"""Rules by which marks of frames become utterances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.inference.detection import (
    BLOCK,
    GOES_ON,
    LENGTH,
    SHIFT,
    SPEECH,
    Detection,
    KnownDetection,
)
from sklearn_speechsent.inference.tail import Tail

#: Frames before the one that reaches the threshold in which an utterance may begin.
REACH = 300
#: Samples from the first one of a frame to those that it stands for.
_CENTRED = (LENGTH - SHIFT) // 2


@dataclass(frozen=True)
class Change:
    """Sample at which an utterance opens or closes."""

    sample: int
    opens: bool


class Segmenter:
    """Utterances of one signal, found while it comes in.

    Parameters
    ----------
    detection : Detection or KnownDetection
        Of this signal.
    hangover : int
        Frames that an utterance has before and after its speech.
    keep : int
        Number of the last frames, of which the speech can be counted.

    Attributes
    ----------
    decided : int
        Sample up to which it is known where there is speech.
    n : int
        Number of samples that came in.

    Notes
    -----
    Speech begins with a frame whose probability is above the threshold, together with the frames
    directly before it that are above the lower limit, 3 s of them at most; it ends with the first
    frame that is not above that. An utterance opens a hangover before its first frame, but not
    before the end of the last one, and closes a hangover after a frame of speech if no speech
    begins within it.
    """

    def __init__(self, detection: Detection | KnownDetection, hangover: int, keep: int) -> None:
        self._detection = detection
        self._hangover = hangover
        self._n_frames = 0  # that are decided
        #: Frames of speech before each frame.
        self._counts = Tail(keep + 2 * BLOCK, np.int64)
        self._counts.append(np.zeros(1, np.int64))
        self._run: int | None = None  # first frame of the run that is not over
        self._reached = False  # whether it is speech
        self._last: int | None = None  # last frame of speech of the utterance that is open
        self._end = 0  # of the last utterance
        self.n = self.decided = 0

    def push(self, samples: NDArray[np.float32]) -> list[Change]:
        """Take the next samples.

        Parameters
        ----------
        samples : ndarray of shape (n,)
            As many as of a block, at most, so that what is found is not forgotten.

        Returns
        -------
        list of Change
        """
        self.n += len(samples)
        return self._decide_all(self._detection.push(samples))

    def finish(self) -> list[Change]:
        """Take the end of the signal.

        Returns
        -------
        list of Change
        """
        changes = self._decide_all(self._detection.finish())
        if self._last is not None:
            changes.append(Change(self._close(self._last), opens=False))
        self.decided = self.n
        return [Change(min(change.sample, self.n), change.opens) for change in changes]

    def speech_before(self, sample: int) -> int:
        """Number of frames of speech before a sample that is decided and not forgotten.

        Parameters
        ----------
        sample : int

        Returns
        -------
        int
        """
        frame = min(max(0, -(-(sample - _CENTRED) // SHIFT)), self._counts.n - 1)
        return int(self._counts[frame : frame + 1][0])

    def _decide_all(self, blocks: list[NDArray[np.uint8]]) -> list[Change]:
        changes: list[Change] = []
        for marks in blocks:
            changes += self._decide(marks)
            self._n_frames += BLOCK
            self.decided = _bound(self._n_frames)
        return changes

    def _decide(self, marks: NDArray[np.uint8]) -> list[Change]:
        """Run from block to block, in each over the runs of frames that go on."""
        hangover, first = self._hangover, self._n_frames
        going_on = marks >= GOES_ON
        above = np.flatnonzero(marks == SPEECH)
        before = int(self._counts[self._counts.n - 1 : self._counts.n][0])
        self._counts.append(before + np.cumsum(going_on))
        edges = np.flatnonzero(np.diff(going_on, prepend=False, append=False))
        changes: list[Change] = []
        if self._run is not None and not going_on[0]:
            self._run, self._reached = None, False
        for start, stop in edges.reshape(-1, 2).tolist():
            if start or self._run is None:
                self._run, self._reached = first + start, False
            reached = above[(above >= start) & (above < stop)]
            if not self._reached and len(reached):
                changes += self._reach(self._run, first + int(reached[0]))
                self._reached = True
            if self._reached:
                self._last = first + stop - 1
        if not going_on[-1]:
            self._run, self._reached = None, False
        last = first + BLOCK - 1
        if self._last is not None and self._last < last and self._last + hangover <= last:
            changes.append(Change(self._close(self._last), opens=False))
        return changes

    def _reach(self, run: int, frame: int) -> list[Change]:
        """Begin with speech: a run of frames reaches the threshold."""
        hangover, changes = self._hangover, []
        if self._last is not None:
            if frame <= self._last + hangover:
                return []
            changes.append(Change(self._close(self._last), opens=False))
        start = _bound(max(run, frame - REACH) - hangover)
        return [*changes, Change(max(start, self._end), opens=True)]

    def _close(self, last: int) -> int:
        self._last = None
        self._end = _bound(last + self._hangover + 1)
        return self._end


def _bound(frame: int) -> int:
    """First sample that a frame stands for; the first frame also stands for what is before."""
    return SHIFT * frame + _CENTRED if frame > 0 else 0
