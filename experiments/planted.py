"""Recordings whose affect is planted in one third, to test explanations on.

Three synthetic utterances of one speaker are put together: two neutral ones, and one of the lowest
or the highest level in a place by chance. A model learns such recordings and single utterances from
other speakers. An explanation points to the planted third if the middle of the window that adds
most lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.inspection import explain

LEVELS = (-3, 0, 3)


@dataclass(frozen=True)
class Planted:
    """A recording with its planted part.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,)
        At 16 kHz.
    level : int
        Of the planted part, and label of the recording.
    start, end : float
        Of the planted part (s).
    """

    samples: NDArray[np.float32]
    level: int
    start: float
    end: float


def plant(
    utterances: pd.DataFrame, per_level: int, rng: np.random.Generator
) -> tuple[list[Planted], list[NDArray[np.float32]]]:
    """Put utterances of each speaker together.

    Parameters
    ----------
    utterances : DataFrame
        Columns ``file, label, speaker``.
    per_level : int
        Recordings for each speaker and level.
    rng : Generator

    Returns
    -------
    planted : list of Planted
    neutral : list of ndarray
        One for each speaker, of three neutral utterances.
    """
    planted, neutral = [], []
    for _, own in utterances.groupby("speaker"):
        plain = own.loc[own["label"] == 0, "file"].to_numpy()
        neutral.append(np.concatenate([_read(f) for f in rng.choice(plain, 3, replace=False)]))
        for level in (LEVELS[0], LEVELS[-1]):
            for file in own.loc[own["label"] == level, "file"].iloc[:per_level]:
                place = int(rng.integers(3))
                files = list(rng.choice(plain, 2, replace=False))
                files.insert(place, file)
                parts = [_read(file) for file in files]
                ends = np.cumsum([0, *map(len, parts)]) / 16_000
                planted.append(Planted(np.concatenate(parts), level, ends[place], ends[place + 1]))
    return planted, neutral


def _read(file: str) -> NDArray[np.float32]:
    return soundfile.read(file, dtype="float32")[0]


def hit_rates(
    folder: Any, n_train: int = 32, n_test: int = 30, n_utterances: int = 12, **system: Any
) -> dict[str, Any]:
    """Fit a model on some speakers, and count explanations of others that point to what is planted.

    Parameters
    ----------
    folder : Path
        For the synthetic corpus.
    n_train, n_test, n_utterances : int
        Speakers, and utterances of each.
    **system
        Of `make_sentiment_pipeline`.

    Returns
    -------
    dict
        ``n, heard`` (share whose level is predicted), ``chance`` (mean share of the time that is
        planted), ``hits`` (the window that adds most towards the planted level lies in the planted
        part), ``hits_heard`` (the same among those heard), ``hits_absolute`` (of the window that
        adds most, whatever its sign).
    """
    speech = make_speech_sentiment(
        n_train + n_test, n_utterances, levels=LEVELS, out_dir=folder, random_state=0
    )
    rng = np.random.default_rng(0)
    frame = speech.frame
    train = frame[frame["speaker"] < n_train]
    planted, neutral = plant(train, 2, rng)
    tested, _ = plant(frame[frame["speaker"] >= n_train], 1, rng)
    X = [p.samples for p in planted] + neutral + [_read(file) for file in train["file"]]
    y = [p.level for p in planted] + [0] * len(neutral) + train["label"].tolist()
    model = make_sentiment_pipeline("small", levels=LEVELS, **system).fit(X, y)
    heard = model.predict([p.samples for p in tested]) == [p.level for p in tested]
    hits, absolute = [], []
    for recording in tested:
        time = explain(model, recording.samples).time
        middles = (time["start"] + time["end"]) / 2
        inside = ((middles >= recording.start) & (middles < recording.end)).to_numpy()
        hits.append(inside[(time["change"] * np.sign(recording.level)).argmax()])
        absolute.append(inside[time["change"].abs().argmax()])
    lengths = [len(p.samples) / 16_000 for p in tested]
    return {
        "n": len(tested),
        "heard": float(np.mean(heard)),
        "chance": float(
            np.mean([(p.end - p.start) / n for p, n in zip(tested, lengths, strict=True)])
        ),
        "hits": float(np.mean(hits)),
        "hits_heard": float(np.mean(np.array(hits)[heard])),
        "hits_absolute": float(np.mean(absolute)),
    }
