"""Statistics over time, derived a second time from their definition."""

import numpy as np
import pytest

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.features import FrameStatistics, pool_statistics


def test_pooled_statistics_of_frames(rng):
    utterances = [rng.normal(size=(n, 6)) for n in (9, 4)]
    table = FrameStatistics().fit_transform(UtteranceFrames.from_arrays(utterances))
    for row, utterance in zip(table, utterances, strict=True):
        mean = utterance.sum(axis=0) / len(utterance)
        variance = ((utterance - mean) ** 2).sum(axis=0) / len(utterance)
        np.testing.assert_allclose(row, np.concatenate([mean, variance**0.5]), atol=1e-6)


def test_bands_are_means_of_neighbours():
    frames = np.array([[1.0, 3.0, 10.0, 20.0]])
    assert pool_statistics(frames, n_bands=2).tolist() == [2.0, 15.0, 0.0, 0.0]
    assert pool_statistics(frames, n_bands=1).tolist() == [8.5, 0.0]
    with pytest.raises(ValueError, match="4 frequencies cannot be averaged to 3 bands"):
        pool_statistics(frames, n_bands=3)


def test_statistics_of_float16_do_not_lose_precision(rng):
    """Sums of many half-precision numbers would overflow, their differences would be rounded."""
    frames = (3000 + 100 * rng.normal(size=(5000, 30))).astype(np.float16)
    bands = frames.astype(np.float64).reshape(5000, 2, 15).mean(axis=2)
    thirds = [
        bands[start:stop].mean(axis=0) for start, stop in ((0, 1667), (1667, 3333), (3333, 5000))
    ]
    steps = np.sqrt((np.diff(bands, axis=0) ** 2).mean(axis=0))
    expected = [bands.mean(axis=0), bands.std(axis=0), steps, *thirds]
    np.testing.assert_allclose(
        pool_statistics(frames, n_bands=2, statistics=("mean", "std", "delta", "thirds")),
        np.concatenate(expected),
        rtol=1e-5,
    )
