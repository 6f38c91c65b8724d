"""Band limit of recordings, measured from their log-mel frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.utils.silence import DIGITAL_FLOOR

#: Part of every cache key: increased when the same frames give another limit.
_VERSION = 1
#: Frames that are looked at, evenly spaced, and dB below the loudest in which they are loud.
_FRAMES, _LOUD = 3000, 20.0
#: dB that a band lies below the strongest band of its frame, at most, in one loud frame of fifty,
#: and the share of loud frames in which it may lie lower.
#: Bands above 4.6 kHz have 0 to 2 in RAVDESS and LibriSpeech, and 38 to 45 after a telephone line.
_DEPTH, _SHARE = 27.0, 0.98


def band_limits(frame_settings: Mapping[str, Any]) -> tuple[dict[str, Any], Function]:
    """Step that finds the highest frequency at which recordings hold sound.

    Parameters
    ----------
    frame_settings : mapping
        Of log-mel frames: ``n_mels``, ``low_freq`` and ``high_freq``.

    Returns
    -------
    settings : dict
        On which results depend, next to the frames.
    function : callable
        Gives an array of shape (1, 1) for each utterance, in Hz; NaN for one of NaN.

    Notes
    -----
    Hissing sounds of speech have most of their energy at the top, and are not much fainter than
    vowels. So a band counts as used if in one of fifty loud frames it lies at most 27 dB below
    the strongest band of that frame. Steady noise above a telephone's band lies lower than that in
    loud frames.
    """
    settings = {name: frame_settings[name] for name in ("n_mels", "low_freq", "high_freq")}
    low, high = (np.log1p(settings[name] / 700.0) for name in ("low_freq", "high_freq"))
    centres = 700.0 * np.expm1(np.linspace(low, high, settings["n_mels"] + 2)[1:-1])
    return {"version": _VERSION, **settings}, partial(_limits, centres=centres)


def _limits(
    utterances: Iterable[NDArray[Any]], centres: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    decibels = 10 / np.log(10)
    for utterance in utterances:
        utterance = utterance[:: -(-len(utterance) // _FRAMES)]
        strongest = utterance.max(axis=1).astype(np.float64)
        heard = np.flatnonzero(strongest > DIGITAL_FLOOR)
        if not np.isfinite(strongest).all() or not len(heard):
            yield np.full((1, 1), np.nan)
            continue
        strongest = decibels * strongest[heard]
        n_loudest = max(1, min(len(strongest) // 20, 100))  # pauses may be long
        limit = np.partition(strongest, -n_loudest)[-n_loudest] - _LOUD
        loud = np.flatnonzero(strongest > limit)
        # Only what is loud is looked at band by band.
        depths = decibels * utterance[heard[loud]].astype(np.float64) - strongest[loud, None]
        # The percentile of a band reaches the limit only if enough frames above its rank do.
        at = _SHARE * (len(depths) - 1)
        enough = (depths >= -_DEPTH).sum(axis=0) >= len(depths) - 1 - int(at)
        used = (
            band
            for band in np.flatnonzero(enough)[::-1]
            if _percentile(depths[:, band], at) >= -_DEPTH
        )
        yield centres[[[next(used)]]]


def _percentile(values: NDArray[np.float64], at: float) -> float:
    """Value at a place of the sorted ones, interpolated: np.percentile takes five times as long."""
    below, above = int(at), min(int(at) + 1, len(values) - 1)
    ordered = np.partition(values, (below, above))
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
