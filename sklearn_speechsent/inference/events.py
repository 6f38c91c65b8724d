"""Events of a stream: speech starts, scores, speech ends."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

#: Samples count from the beginning of the signal at 16 kHz, seconds likewise.


@dataclass(frozen=True)
class SpeechStart:
    """An utterance has begun.

    Parameters
    ----------
    utterance : int
        Its number, from 0.
    sample : int
        First sample of the utterance, in the signal at 16 kHz.
    time : float
        The same in seconds.
    """

    utterance: int
    sample: int
    time: float


@dataclass(frozen=True)
class Score:
    """Sentiment of an utterance, or of a window of one that goes on.

    Parameters
    ----------
    utterance : int
        Its number, from 0.
    start_sample, end_sample : int
        First sample, and the one after the last, in the signal at 16 kHz.
    start, end : float
        The same in seconds.
    level : object
        Level; NaN where nothing can be said (None for levels of text), and of a regressor.
    expected : float
        Expected level; for levels of text their mean position, 0 being the lowest. NaN where
        nothing can be said.
    probabilities : tuple of float
        Of the levels in ordinal order; empty for a regressor.
    speech : float
        Seconds of speech.
    final : bool
        Whether this is the score of the utterance as a whole.
    """

    utterance: int
    start_sample: int
    end_sample: int
    start: float
    end: float
    level: Any
    expected: float
    probabilities: tuple[float, ...]
    speech: float
    final: bool


@dataclass(frozen=True)
class SpeechEnd:
    """An utterance has ended.

    Parameters
    ----------
    utterance : int
        Its number, from 0.
    sample : int
        First sample after the utterance, in the signal at 16 kHz.
    time : float
        The same in seconds.
    """

    utterance: int
    sample: int
    time: float


Event = SpeechStart | Score | SpeechEnd


def event_as_dict(event: Event) -> dict[str, Any]:
    """Event as JSON has it: its type and its fields, null for NaN.

    Parameters
    ----------
    event : SpeechStart, Score or SpeechEnd

    Returns
    -------
    dict

    Examples
    --------
    >>> from sklearn_speechsent.inference.events import SpeechStart, event_as_dict
    >>> event_as_dict(SpeechStart(0, 1600, 0.1))
    {'type': 'SpeechStart', 'utterance': 0, 'sample': 1600, 'time': 0.1}
    """
    fields = {name: _finite(value) for name, value in asdict(event).items()}
    return {"type": type(event).__name__, **fields}


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
