"""Conditions that copies of recordings are made under, and what is drawn for each copy."""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from sklearn_speechsent.audio.recording import (
    PERTURBATION_CHOICES,
    PERTURBATION_RANGES,
    Recording,
)
from sklearn_speechsent.audio.validation import find_problems, raise_for_bad_recordings

#: Perturbations of a Recording, by the name of a condition. Two numbers are a range.
CONDITIONS: dict[str, dict[str, Any]] = {
    "telephone": {"codec": "telephone"},
    "mp3": {"codec": "mp3"},
    "ogg": {"codec": "ogg"},
    "band limit": {"band_limit": (3000, 7000)},
    "white noise": {"noise": "white", "snr_db": (5, 15)},
    "pink noise": {"noise": "pink", "snr_db": (5, 15)},
    "babble": {"noise": "babble", "snr_db": (5, 15)},
    "room": {"rt60": (0.2, 0.8)},
    "quiet": {"gain_db": (-30, -10)},
    "clipped": {"gain_db": (5, 25), "clip": True},
    "silence": {"silence_before": (0, 2), "silence_after": (0, 2)},
}
#: Conditions of the default copies, at any level that a recorder may be set to.
MIX = tuple(
    {**CONDITIONS[name], "gain_db": (-20, 10), "clip": True}
    for name in ("telephone", "pink noise", "babble", "room")
)
#: Voices in babble.
_N_VOICES = 4


def check_conditions(conditions: Any) -> None:
    """Raise if these are not conditions.

    Parameters
    ----------
    conditions : sequence of str, dict, or sequence of these
        One copy each: a name of :data:`CONDITIONS`, perturbations of a Recording in which two
        numbers are a range, or a sequence of both of which one is drawn.

    Raises
    ------
    ValueError
        Naming the place of what is wrong.
    """
    if isinstance(conditions, (str, dict)):
        raise ValueError(f"conditions holds one per copy: pass [{conditions!r}].")
    for number, condition in enumerate(conditions):
        alternatives = _alternatives(condition)
        if not alternatives:
            raise ValueError(f"conditions[{number}] is empty: there is nothing to draw from.")
        for alternative in alternatives:
            problem = _problem(alternative)
            if problem:
                raise ValueError(f"conditions[{number}]: {problem}")


def has_babble(conditions: Any) -> bool:
    """Whether one of the conditions is babble.

    Parameters
    ----------
    conditions : see :func:`check_conditions`

    Returns
    -------
    bool
    """
    return any(
        _settings(alternative).get("noise") == "babble"
        for condition in conditions
        for alternative in _alternatives(condition)
    )


def draw_copy(
    recording: Recording, condition: Any, seed: int, voices: Voices | None = None
) -> Recording:
    """Copy of a recording under a condition, the same in every row and on every machine.

    Parameters
    ----------
    recording : Recording
    condition : str, dict, or sequence of these
        See :func:`check_conditions`.
    seed : int
    voices : Voices, optional
        What babble is made of.

    Returns
    -------
    Recording
    """
    generator = np.random.default_rng((recording.own_seed(seed), 3))
    alternatives = _alternatives(condition)
    settings = dict(_settings(alternatives[generator.integers(len(alternatives))]))
    for name in sorted(settings):
        if np.ndim(settings[name]) == 1:
            settings[name] = float(generator.uniform(*settings[name]))
    if settings.get("noise") == "babble":
        assert voices is not None  # see has_babble
        settings["babble"] = voices.of(recording, seed)
    return recording.perturbed(seed=seed, **settings)


class Voices:
    """Recordings that the babble of others can be made of.

    They stand on a ring, in an order that depends on their names (or samples) alone, and the babble
    of a recording takes those that follow a place on it. So it is the same in every order of rows
    and nearly the same in other folds, whose cached copies are then found again.

    Parameters
    ----------
    recordings : sequence of Recording
        Those with unusable headers are left out.
    groups : sequence of length n, optional
        Speakers: babble is made of other groups; without them of other files.
    """

    def __init__(self, recordings: Sequence[Recording], groups: Any = None) -> None:
        self._recordings = recordings
        self._groups = None if groups is None else np.asarray(groups).tolist()
        self._problems = find_problems(recordings, 16000, 0.0)
        self._index = {recording.row: index for index, recording in enumerate(recordings)}
        self._names: dict[int, bytes] = {}
        times: Counter[bytes] = Counter()
        for index in sorted(self._index.values(), key=lambda i: _place(recordings[i])):
            name = recordings[index].name()
            times[name] += 1  # the same name in several folders
            self._names[index] = name + b" %d" % times[name]
        self._ring = sorted(
            (_position(name), index)
            for index, name in self._names.items()
            if recordings[index].row not in self._problems
        )

    def of(self, recording: Recording, seed: int) -> tuple[Recording, ...]:
        """Voices of the babble of a recording.

        Parameters
        ----------
        recording : Recording
            One of the recordings.
        seed : int

        Returns
        -------
        tuple of Recording
            Without perturbations of their own; four, or as many as there are.

        Raises
        ------
        ValueError
            If there are no others.
        """
        index = self._index[recording.row]
        own = self._group(index)
        start = bisect(self._ring, (_position(self._names[index] + b" %d" % seed), 0))
        voices: list[Recording] = []
        for _, index in self._ring[start:] + self._ring[:start]:
            if len(voices) == _N_VOICES:
                break
            if self._group(index) != own:
                voices.append(self._recordings[index].unperturbed())
        if not voices:
            raise_for_bad_recordings(list(self._problems.values()), len(self._recordings))
            of = "files" if self._groups is None else "groups (speakers)"
            raise recording.error(
                f"its babble is made of recordings of other {of}, and there are none. Fit on more "
                "of them, or leave babble out of the conditions."
            )
        return tuple(voices)

    def _group(self, index: int) -> Any:
        if self._groups is not None:
            return self._groups[index]
        source = self._recordings[index].source
        return source if isinstance(source, (str, bytes)) else id(source)


def _position(name: bytes) -> int:
    """Place on the ring."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def _place(recording: Recording) -> tuple[str, bytes]:
    """Order of recordings of the same name."""
    folder = recording.source if isinstance(recording.source, str) else ""
    return folder, recording.name()


def _alternatives(condition: Any) -> list[Any]:
    if isinstance(condition, (list, tuple, np.ndarray)):
        return list(condition)
    return [condition]


def _settings(condition: Any) -> dict[str, Any]:
    return CONDITIONS[condition] if isinstance(condition, str) else condition


def _problem(condition: Any) -> str:
    """What is wrong with a name or a dict; empty if nothing is."""
    if isinstance(condition, str) and condition in CONDITIONS:
        return ""
    if not isinstance(condition, dict):
        known = ", ".join(map(repr, CONDITIONS))
        return f"{condition!r:.80} is not one of {known}, and not a dict of perturbations."
    for name, value in condition.items():
        if name in PERTURBATION_RANGES:
            low, high = PERTURBATION_RANGES[name]
            values = list(value) if isinstance(value, (list, tuple)) else [value, value]
            numbers = len(values) == 2 and all(isinstance(v, Real) for v in values)
            if not (numbers and low <= float(values[0]) <= float(values[1]) <= high):
                return (
                    f"{name}={value!r:.80} is not a number from {low:g} to {high:g}, or two of "
                    "them, the lower one first."
                )
        elif name in PERTURBATION_CHOICES:
            if not (isinstance(value, str) and value in PERTURBATION_CHOICES[name]):
                choices = ", ".join(map(repr, PERTURBATION_CHOICES[name]))
                return f"{name}={value!r:.80} is not one of {choices}."
        elif name != "clip":
            known = ", ".join([*PERTURBATION_RANGES, *PERTURBATION_CHOICES, "clip"])
            return f"{name!r} is not a perturbation: {known}."
        elif not isinstance(value, (bool, np.bool_)):
            return f"clip={value!r:.80} is neither True nor False."
    if "noise" in condition and "snr_db" not in condition:
        return f"noise={condition['noise']!r} has no snr_db. Say how loud it is, 10 for example."
    return ""
