"""Sliding mean normalisation against the definition, written out as a loop."""

import numpy as np
import pytest

from sklearn_speechsent import SlidingCMN, UtteranceFrames


def literal(frames, width):
    """Kaldi's loop: a window of ``width`` frames around each, shifted inward at the edges."""
    frames = np.asarray(frames, dtype=np.float64)
    n = len(frames)
    result = np.empty_like(frames)
    for t in range(n):
        start = max(0, min(t - width // 2, n - width))
        stop = min(n, start + width)
        total = np.zeros(frames.shape[1:])
        for row in range(start, stop):
            total += frames[row]
        result[t] = frames[t] - total / (stop - start)
    return result


@pytest.mark.parametrize("n_frames", [1, 29, 30, 31, 61, 200])
@pytest.mark.parametrize("width", [30, 31, 1])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_agrees_with_the_loop(rng, n_frames, width, shape):
    utterance = (15 + 3 * rng.normal(size=(n_frames, *shape))).astype(np.float32)
    frames = UtteranceFrames.from_arrays([utterance])
    ours = SlidingCMN(window=width / 100).fit_transform(frames)[0]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, literal(utterance, width), atol=1e-5)


def test_precision_survives_long_utterances(rng):
    utterance = (20 + rng.normal(size=(20_000, 2))).astype(np.float32)
    ours = SlidingCMN(window=0.07).fit_transform([utterance])[0]
    np.testing.assert_allclose(ours[-50:], literal(utterance[-100:], 7)[-50:], atol=1e-5)


def test_no_window_subtracts_the_mean_of_each_utterance(rng):
    utterances = [rng.normal(5, 1, (n, 3)) for n in (4, 900)]
    for ours, utterance in zip(SlidingCMN(None).fit_transform(utterances), utterances, strict=True):
        np.testing.assert_allclose(ours, utterance - utterance.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize(("window", "record"), [(3, 3.0), (0.5, 0.5), (None, "utterance")])
def test_frame_settings_record_it(rng, window, record):
    frames = UtteranceFrames.from_arrays([rng.normal(size=(9, 2))], frame_settings={"n_mels": 2})
    assert SlidingCMN(window).fit_transform(frames).frame_settings == {"n_mels": 2, "cmn": record}
    assert frames.frame_settings == {"n_mels": 2}


def test_window_is_in_seconds_of_the_frames(rng):
    utterance = rng.normal(size=(40, 2))
    frames = UtteranceFrames.from_arrays([utterance], frame_settings={"frame_shift": 0.02})
    ours = SlidingCMN(window=0.2).fit_transform(frames)[0]
    np.testing.assert_allclose(ours, literal(utterance, 10), atol=1e-12)


def test_input_is_not_changed_and_batch_does_not_matter(rng):
    utterances = [rng.normal(size=(n, 3)) for n in (5, 40, 12)]
    frames = UtteranceFrames.from_arrays(utterances)
    copy = frames.base.copy()
    together = SlidingCMN(window=0.1).fit_transform(frames)
    np.testing.assert_array_equal(frames.base, copy)
    cmn = SlidingCMN(window=0.1).fit(frames)
    np.testing.assert_array_equal(cmn.transform(frames[[1]])[0], together[1])
    np.testing.assert_array_equal(cmn.transform(frames[::-1])[2], together[0])


def test_a_table_holds_utterances_of_one_bin(rng):
    table = rng.normal(size=(3, 50))
    ours = SlidingCMN(window=0.07).fit_transform(table)
    for row, utterance in enumerate(ours):
        np.testing.assert_allclose(utterance, literal(table[row][:, None], 7), atol=1e-12)


def test_a_window_must_be_positive():
    with pytest.raises(ValueError, match="'window' parameter"):
        SlidingCMN(window=0).fit([np.zeros((3, 2))])
