"""Recordings in one part of which the label is planted, to test explanations on.

In time: three synthetic utterances of one speaker are put together, two neutral ones, and one of
the lowest or the highest level in a place by chance. A model learns such recordings and single
utterances from other speakers. An explanation points to the planted third if the middle of the
window that adds most lies in it.

In frequency: the label of a neutral utterance is the gain of one of four bands, by chance.
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
#: Bands (Hz) whose gain is the label, and decibels from one level to the next.
BANDS, _STEP = ((500, 1000), (1000, 2000), (2000, 4000), (4000, 8000)), 8.0
#: Edges of the bands that are taken away.
_EDGES = (0, 250, 500, 1000, 2000, 4000, 8000)


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


def band_hit_rates(folder: Any, n_train: int = 32, n_test: int = 16) -> dict[str, dict[str, float]]:
    """Fit models on the gains of bands, and count explanations that point to the band.

    Parameters
    ----------
    folder : Path
        For the synthetic corpus.
    n_train, n_test : int
        Speakers, with four utterances each; of those tested, one with a gain is explained.

    Returns
    -------
    dict of str to dict
        By band: ``n, heard``, see `hit_rates`, and ``louder, quieter``: of the recordings in which
        it is so, the share in which the band that adds most towards the label lies in it.
    """
    speech = make_speech_sentiment(
        n_train + n_test, 4, levels=(-1, 0), out_dir=folder, random_state=0
    )
    neutral = speech.frame[speech.frame["label"] == 0]
    found = {}
    for low, high in BANDS:
        rng = np.random.default_rng(0)
        y = rng.integers(-1, 2, len(neutral))
        X = [
            _with_gain(_read(file), low, high, _STEP * level)
            for file, level in zip(neutral["file"], y, strict=True)
        ]
        train = np.flatnonzero(neutral["speaker"] < n_train)
        model = make_sentiment_pipeline("small", weights=None, levels=(-1, 0, 1))
        model.fit([X[i] for i in train], y[train])
        rows = neutral.assign(row=range(len(y)), y=y)[(neutral["speaker"] >= n_train) & (y != 0)]
        tested = rows.groupby("speaker")["row"].first().tolist()
        hits = []
        for i in tested:
            bands = explain(model, X[i], bands=_EDGES).frequency
            best = bands.loc[(bands["change"] * y[i]).argmax()]
            hits.append(low <= best["low"] and best["high"] <= high)
        heard = model.predict([X[i] for i in tested]) == y[tested]
        louder = y[tested] > 0
        found[f"{low} to {high} Hz"] = {
            "n": len(tested),
            "heard": float(np.mean(heard)),
            "louder": float(np.mean(np.array(hits)[louder])),
            "quieter": float(np.mean(np.array(hits)[~louder])),
        }
    return found


def _with_gain(
    samples: NDArray[np.float32], low: float, high: float, decibels: float
) -> NDArray[np.float32]:
    """Samples with a gain of one band."""
    hertz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    gain = np.where((hertz >= low) & (hertz < high), 10 ** (decibels / 20), 1.0)
    return np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)).astype(np.float32)
