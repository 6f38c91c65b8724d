"""Statistics over time, derived a second time from their definition."""

from itertools import pairwise

import numpy as np
import pytest

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.features import FrameStatistics, pool_statistics, statistics
from sklearn_speechsent.features.statistics import average_bands, divisions, pool_pieces


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


STATISTICS = ("mean", "std", "delta", "thirds")


def of_all(frames):
    """Statistics of frames from their definition, in float64."""
    frames = frames.astype(np.float64)
    n = len(frames)
    edges = [round(n * k / 3) for k in range(4)]
    thirds = [frames[min(a, n - 1) : max(b, min(a, n - 1) + 1)] for a, b in pairwise(edges)]
    steps = (frames[1:] - frames[:-1]) ** 2
    return [
        frames.mean(axis=0),
        np.sqrt(((frames - frames.mean(axis=0)) ** 2).mean(axis=0)),
        np.sqrt(steps.mean(axis=0)) if n > 1 else np.zeros(frames.shape[1:]),
        *(third.mean(axis=0) for third in thirds),
    ]


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 10, 257])
@pytest.mark.parametrize("block", [1, 2, 7, 1000])
def test_statistics_accumulate_over_pieces(n_frames, block, rng, monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", block)
    frames = rng.normal(size=(n_frames, 3, 4)).astype(np.float32)
    cuts = np.sort(rng.integers(1, n_frames + 1, 3))
    parts = [part for part in np.split(frames, cuts) if len(part)]
    for pieces in (parts, [frames], list(frames[:, None])):
        found = pool_pieces(pieces, n_frames, STATISTICS)
        for one, other in zip(found, of_all(frames), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_deviations_far_from_zero_do_not_cancel(rng):
    """Sums of squares, or of a mean that moves from piece to piece, would lose all digits."""
    frames = (1e4 + rng.normal(size=(30_000, 2)) + np.arange(30_000)[:, None] / 3e4).astype("f4")
    found = pool_statistics(frames, statistics=STATISTICS)
    np.testing.assert_allclose(found, np.ravel(of_all(frames)), rtol=1e-6)


def test_one_band_of_many_is_that_of_any_others(rng):
    maps = rng.normal(size=(5, 3, 12)).astype(np.float32)
    for n_bands in divisions(12):
        expected = maps.reshape(5, 3, n_bands, -1).astype(np.float64).mean(axis=3)
        np.testing.assert_allclose(average_bands(maps, n_bands), expected, atol=1e-6)
    assert divisions(12) == [1, 2, 3, 4, 6, 12]
