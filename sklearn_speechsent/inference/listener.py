"""Utterances of one signal and the windows of them that have to be scored, as samples come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.inference.detection import (
    BLOCK,
    LENGTH,
    LOOK_AHEAD,
    RATE,
    SHIFT,
    CausalDetector,
    Detection,
    KnownDetection,
)
from sklearn_speechsent.inference.events import SpeechEnd, SpeechStart
from sklearn_speechsent.inference.segmenter import REACH, Change, Segmenter
from sklearn_speechsent.inference.tail import Tail
from sklearn_speechsent.inference.windows import WindowRule

#: Samples that are worked on at a time.
_PIECE = BLOCK * SHIFT


Role = Literal["short", "full", "last", "whole"]


@dataclass(frozen=True)
class Window:
    """Samples to be scored.

    Parameters
    ----------
    utterance : int
    start, stop : int
        In samples.
    speech : int
        Frames of speech.
    samples : ndarray of shape (stop - start,)
    role : {"short", "full", "last", "whole"}
        A provisional window shorter than others; one of full length; one that counts for the final
        score of a long utterance and is not an event; or an utterance as a whole.
    """

    utterance: int
    start: int
    stop: int
    speech: int
    samples: NDArray[np.float32]
    role: Role


@dataclass(frozen=True)
class Final:
    """End of the windows of an utterance, of which the final score is made if it gets one."""

    utterance: int
    start: int
    stop: int
    speech: int
    scored: bool


Item = SpeechStart | Window | Final | SpeechEnd


@dataclass
class _Utterance:
    """An utterance that is open."""

    number: int
    start: int
    stop: int | None
    speech_before: int
    next: int = 1
    #: Windows of full length that were left out, and count if it becomes a long one.
    held: list[tuple[int, int]] = field(default_factory=list)


class Listener:
    """Follow one signal.

    Parameters
    ----------
    detector : CausalDetector
    rule : WindowRule
    utterances : sequence of (int, int or None), optional
        First sample of given utterances and the one after the last, None being the end of the
        signal. By default they are found.
    marks : ndarray of shape (n_blocks * BLOCK,), optional
        Of the detector, where they are known.

    Attributes
    ----------
    n : int
        Number of samples that came in.
    n_left_out : int
        Number of provisional windows that were left out.
    """

    def __init__(
        self,
        detector: CausalDetector,
        rule: WindowRule,
        utterances: Sequence[tuple[int, int | None]] | None = None,
        marks: NDArray[np.uint8] | None = None,
    ) -> None:
        self._rule = rule
        # What a new utterance may reach back, and what is not decided yet.
        lag = (REACH + 2 * detector.hangover + 2 * BLOCK + LOOK_AHEAD) * SHIFT + 2 * _PIECE
        keep = rule.max_window + lag
        detection = Detection(detector) if marks is None else KnownDetection(marks)
        self._segmenter = Segmenter(detection, detector.hangover, -(-keep // SHIFT))
        self._samples = Tail(keep, np.float32)
        self._given: list[tuple[int, int, int | None]] | None = None
        if utterances is not None:
            given = [(start, number, stop) for number, (start, stop) in enumerate(utterances)]
            self._given = sorted(given, key=lambda each: each[:2], reverse=True)
        self._open: list[_Utterance] = []
        self._count = 0
        self.n_left_out = 0

    @property
    def n(self) -> int:
        """Number of samples that came in."""
        return self._samples.n

    def push(self, samples: NDArray[np.float32], *, provisional: bool = True) -> Iterator[Item]:
        """Take the next samples.

        Parameters
        ----------
        samples : ndarray of shape (n,)
            At 16 kHz, full scale being [-1, 1].
        provisional : bool, default=True
            Whether windows are given that do not count for a final score.

        Yields
        ------
        SpeechStart, Window, Final or SpeechEnd
            In the order of the utterances.
        """
        for first in range(0, len(samples), _PIECE):
            piece = samples[first : first + _PIECE]
            self._samples.append(piece)
            changes = self._segmenter.push(piece)
            if self._given is not None:
                yield from self._follow_given(at_end=False)
                continue
            yield from self._change(changes, provisional)
            for utterance in self._open:
                yield from self._windows(utterance, self._segmenter.decided + 1, provisional)

    def finish(self) -> Iterator[Item]:
        """Take the end of the signal.

        Yields
        ------
        SpeechStart, Window, Final or SpeechEnd
        """
        changes = self._segmenter.finish()
        if self._given is not None:
            yield from self._follow_given(at_end=True)
            return
        yield from self._change(changes)

    def _change(self, changes: list[Change], provisional: bool = True) -> Iterator[Item]:
        """Open and close the utterances that were found."""
        for change in changes:
            if change.opens:
                yield from self._opened(change.sample, self._count)
                self._count += 1
            else:
                yield from self._closed(self._open[0], change.sample, provisional)

    def _opened(self, start: int, number: int, stop: int | None = None) -> Iterator[Item]:
        before = self._segmenter.speech_before(start)
        self._open.append(_Utterance(number, start, stop, before))
        yield SpeechStart(number, start, start / RATE)

    def _windows(
        self, utterance: _Utterance, stop: int, provisional: bool = True
    ) -> Iterator[Item]:
        """Windows that have become complete and end before ``stop``."""
        rule = self._rule
        for start, end in rule.provisional(utterance.start, utterance.next, stop).tolist():
            utterance.next = (end - utterance.start) // rule.step + 1
            role: Role = "full" if end - start == rule.window else "short"
            if provisional:
                yield self._window(utterance.number, start, end, role)
                continue
            self.n_left_out += 1
            if role == "full":
                utterance.held.append((start, end))
        if stop - utterance.start > rule.max_window:
            for start, end in utterance.held:
                yield self._window(utterance.number, start, end, "last")
            utterance.held.clear()

    def _closed(self, utterance: _Utterance, stop: int, provisional: bool = True) -> Iterator[Item]:
        self._open.remove(utterance)
        yield from self._windows(utterance, stop, provisional)
        start, rule = utterance.start, self._rule
        speech = self._segmenter.speech_before(stop) - utterance.speech_before
        scored = speech * SHIFT >= rule.min_speech and stop - start >= LENGTH
        if scored and stop - start <= rule.max_window:
            yield self._window(utterance.number, start, stop, "whole")
        elif scored:
            yield self._window(utterance.number, stop - rule.window, stop, "last")
        yield Final(utterance.number, start, stop, speech, scored)
        yield SpeechEnd(utterance.number, stop, stop / RATE)

    def _window(self, number: int, start: int, stop: int, role: Role) -> Window:
        before = self._segmenter.speech_before
        speech = before(stop) - before(start)
        return Window(number, start, stop, speech, self._samples[start:stop], role)

    def _follow_given(self, *, at_end: bool) -> Iterator[Item]:
        """Open and close given utterances, as far as it is known where there is speech."""
        assert self._given is not None
        decided = self._segmenter.decided
        while self._given and self._given[-1][0] < decided:
            start, number, stop = self._given.pop()
            yield from self._opened(start, number, stop)
        for utterance in list(self._open):
            stop = utterance.stop
            if at_end:
                stop = decided if stop is None else min(stop, decided)
            if stop is not None and stop <= decided:
                yield from self._closed(utterance, stop)
            else:
                yield from self._windows(utterance, decided + 1)
