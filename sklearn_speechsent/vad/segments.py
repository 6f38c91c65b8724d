"""Runs of speech: from scores per frame to runs, and from runs to seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from sklearn_speechsent import audio
from sklearn_speechsent.frames.container import UtteranceFrames

#: Frames over which scores are median-filtered: clicks shorter than half of it vanish.
MEDIAN = 11


def without_clicks(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Median-filtered scores.

    Parameters
    ----------
    scores : ndarray of shape (n_frames,)

    Returns
    -------
    ndarray of shape (n_frames,)
    """
    return ndimage.median_filter(scores, size=MEDIAN, mode="nearest")


def smooth(
    scores: NDArray[np.floating], *, threshold: float, hysteresis: float, hangover: int
) -> NDArray[np.bool_]:
    """Turn scores per frame into runs of speech.

    Median filter, then hysteresis (a run must reach ``threshold`` somewhere and may fall
    ``hysteresis`` below it), then ``hangover`` frames more on both sides.

    Parameters
    ----------
    scores : ndarray of shape (n_frames,)
    threshold, hysteresis : float
        In the unit of the scores.
    hangover : int
        In frames.

    Returns
    -------
    ndarray of bool of shape (n_frames,)
    """
    filtered = without_clicks(scores)
    runs, n_runs = ndimage.label(filtered > threshold - hysteresis)
    reached = np.zeros(n_runs + 1, dtype=bool)
    reached[runs[filtered > threshold]] = True
    speech = reached[runs] & (runs > 0)
    if hangover and speech.any():
        speech = ndimage.binary_dilation(speech, np.ones(2 * hangover + 1, dtype=bool))
    return speech


def run_times(
    speech: NDArray[np.bool_], length: float, shift: float, duration: float | None = None
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Start and end of runs of frames.

    Parameters
    ----------
    speech : ndarray of bool of shape (n_frames,)
    length, shift : float
        Of the frames, in seconds.
    duration : float, optional
        Of the recording in seconds; None is the end of the last frame.

    Returns
    -------
    starts, ends : ndarray of shape (n_runs,)
        In seconds. Frame i stands for the ``shift`` around its centre; the first one also for
        what is before, the last one for what is left of the recording.

    Examples
    --------
    >>> import numpy as np
    >>> starts, ends = run_times(np.array([False, True, True, False]), 0.025, 0.01)
    >>> starts.round(4), ends.round(4)
    (array([0.0175]), array([0.0375]))
    """
    bounds = np.arange(len(speech) + 1, dtype=np.float64) * shift + (length - shift) / 2
    bounds[0] = 0.0
    # Headers of compressed files estimate their duration: never less than what was decoded.
    bounds[-1] = max(duration or 0.0, (len(speech) - 1) * shift + length)
    edges = np.flatnonzero(np.diff(speech, prepend=False, append=False))
    return bounds[edges[::2]], bounds[edges[1::2]]


def segment_table(
    speech: list[NDArray[np.bool_]],
    frames: UtteranceFrames,
    recordings: list[audio.Recording] | None,
) -> pd.DataFrame:
    """Runs of speech as rows of ``file``, ``start``, ``end`` and, where asked for, ``channel``.

    Parameters
    ----------
    speech : list of ndarray of bool of shape (n_frames_i,)
    frames : UtteranceFrames
    recordings : list of Recording or None
        Recordings of the frames, where they are known.

    Returns
    -------
    DataFrame
    """
    length, shift = frames.frame_length, frames.frame_shift
    rate = frames.frame_settings.get("sample_rate", 16000)
    files: list[Any] = []
    channels: list[int | None] = []
    starts: list[NDArray[np.floating]] = [np.empty(0)]
    ends: list[NDArray[np.floating]] = [np.empty(0)]
    for row, mask in enumerate(speech):
        file: Any = row
        channel = None
        begin, duration, speed = 0.0, None, 1.0
        if recordings is not None:
            recording = recordings[row]
            if isinstance(recording.source, str):
                file = recording.source
            channel = recording.channel
            begin, speed = recording.start or 0.0, recording.speed
            duration = audio.probe(recording, rate, 0.0) if mask.any() else None
        first, last = run_times(mask, length, shift, duration)
        files += [file] * len(first)
        channels += [channel] * len(first)
        # Sped-up audio is longer in its file.
        starts.append(begin + speed * first)
        ends.append(begin + speed * last)
    table = pd.DataFrame(
        {
            "file": _column(files),
            "start": np.concatenate(starts),
            "end": np.concatenate(ends),
        }
    )
    if any(recording.channel is not None for recording in recordings or ()):
        table["channel"] = pd.array(channels, dtype="Int64")
    return table


def _column(files: list[Any]) -> pd.Series:
    try:
        return pd.Series(files, dtype=None if files else object)
    except UnicodeEncodeError:  # strings of pandas are UTF-8, names of files are bytes
        return pd.Series(files, dtype=object)
