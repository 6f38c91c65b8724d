"""Domain of fit: what recordings were like in fit, and which are unlike them later."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import row_numbers
from sklearn_speechsent.utils.repeats import is_news

#: Range of each property in fit: its lowest and highest value.
Domain = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class _Property:
    """Property of a recording that moves the answers of a model."""

    #: Factor by which a value may lie outside of the range of fit.
    factor: float
    #: What is said about recordings, with a place for one value or a range.
    text: str
    #: Multiplies values into the unit of the text.
    scale: float = 1.0


#: By the column of ``metadata`` that holds it. Telephone speech ends at half of what wide-band
#: speech does; durations, and shares of speech, move answers only by much more than that.
_PROPERTIES = {
    "band_limit": _Property(1.25, "reach up to {} kHz", 1e-3),
    "duration": _Property(4.0, "last {} s"),
    "speech": _Property(4.0, "are speech to {} %", 100.0),
}


class DomainWarning(UserWarning):
    """Some recordings are unlike those that a model was fitted on: it may err on them."""


def learn_domain(frames: UtteranceFrames, known: Domain | None = None) -> Domain:
    """Find the range of each property of the recordings that a model is fitted on.

    Parameters
    ----------
    frames : UtteranceFrames
        Their ``metadata`` holds the properties; without it there are none.
    known : dict, optional
        Ranges of an earlier fit that is continued: they are extended.

    Returns
    -------
    dict of str to (float, float)
        Lowest and highest ``band_limit`` (Hz), ``duration`` (s) and ``speech`` (share of the
        frames that a detector keeps).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import UtteranceFrames
    >>> frames = UtteranceFrames.from_arrays([np.zeros((3, 2)), np.ones((5, 2))])
    >>> learn_domain(frames), learn_domain(frames.with_metadata(duration=[3.0, 4.5]))
    ({}, {'duration': (3.0, 4.5)})
    """
    domain = dict(known or {})
    for name, values in _values(frames).items():
        values = [*values[np.isfinite(values)].tolist(), *domain.get(name, ())]
        if values:
            domain[name] = min(values), max(values)
    return domain


def warn_outside(domain: Domain, frames: UtteranceFrames) -> None:
    """Warn once if recordings lie outside of the domain of fit.

    A band limit may be 1.25 times below or above the range of fit, a duration or a share of speech
    4 times. Loudness is free: features after mean normalisation do not see it.

    Parameters
    ----------
    domain : dict
        Of :func:`learn_domain`.
    frames : UtteranceFrames

    Warns
    -----
    DomainWarning
        It counts rows of X, copies of one recording once.
    """
    rows = row_numbers(frames)
    outside: set[int] = set()
    findings = []
    for name, values in _values(frames).items():
        if name not in domain:
            continue
        prop, (low, high) = _PROPERTIES[name], domain[name]
        # NaN, of recordings that could not be used, is on neither side.
        found = (values < low / prop.factor) | (values > high * prop.factor)
        if found.any():
            chosen = np.unique(rows[found])
            outside |= set(chosen.tolist())
            there = _span(values[found].min(), values[found].max(), prop.scale)
            findings.append(
                f"{len(chosen)} {prop.text.format(there)} (in fit {_span(low, high, prop.scale)}), "
                f"as row {chosen[0]} does"
            )
    if outside and is_news(DomainWarning, outside):
        warnings.warn(
            f"{len(outside)} of {len(np.unique(rows))} recordings are unlike those that this model "
            f"was fitted on, and what it says about them may be wrong: {'; '.join(findings)}. Fit "
            "with such recordings too, or leave them out.",
            DomainWarning,
            stacklevel=4,
        )


def _values(frames: UtteranceFrames) -> dict[str, Any]:
    """Values of each property that is known, one per utterance."""
    if frames.metadata is None:
        return {}
    columns = frames.metadata.columns.intersection(list(_PROPERTIES), sort=False)
    return {name: frames.metadata[name].to_numpy(dtype=np.float64) for name in columns}


def _span(low: float, high: float, scale: float) -> str:
    values = (scale * low, scale * high)
    texts = [f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in values]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)
