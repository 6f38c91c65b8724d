"""Whole Pipelines on recordings that cannot be scored, or not like those of fit."""

import pickle
import warnings

import numpy as np
import pytest
import soundfile
import soxr
from estimators import encoder_file

from sklearn_speechsent import WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.frames import DomainWarning, NoSpeechWarning
from sklearn_speechsent.pretrained import has_weights

RATE = 16000
NET = "2/2SREx-SEResNet-16 + C"


def make(system, **params):
    if system not in ("small", "medium"):
        params |= {"weights": None, "max_epochs": 1, "batch_size": 6, "random_state": 0}
    return make_sentiment_pipeline(system, n_jobs=1, **params)


@pytest.fixture(scope="module", params=["small", NET])
def fitted(request, speech):
    X, y = list(speech.data[::2]), speech.target[::2]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return request.param, make(request.param).fit(X, y), X


def caught_from(function, *args):
    """Result, and the warnings about recordings by category."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args)
    kinds = {DomainWarning: [], NoSpeechWarning: []}
    for warning in caught:
        kinds.get(type(warning.message), []).append(str(warning.message))
    return result, kinds


def noise(seconds, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def test_recordings_without_speech_are_nan_in_their_rows(fitted):
    system, pipeline, X = fitted
    mixed = [X[0], np.zeros(2 * RATE), X[1], noise(2.0), X[2]]
    expected = pipeline.predict_proba(X[:3])
    for kind in ("raise", "nan"):
        pipeline.set_params(mfb__on_error=kind, net__on_error=kind)
        proba, kinds = caught_from(pipeline.predict_proba, mixed)
        nan = np.isnan(proba).all(axis=1)
        # Without a detector noise passes for speech.
        assert nan.tolist() == [False, True, False, system == "small", False]
        np.testing.assert_allclose(proba[::2], expected, atol=1e-6)
        about = kinds[NoSpeechWarning]
        assert len(about) == 1 + (system == "small")
        assert "1 of 5" in about[0] and "row 1 (" in about[0]
        if system == "small":
            assert "1 of 5" in about[1] and about[1].endswith("row 3.")
    assert np.isnan(caught_from(pipeline.predict, mixed)[0][1])


def test_both_halves_of_large_name_a_row_once(speech):
    """Each half makes its own features; a detector is in one of them only."""
    X, y = [*speech.data[:12], np.zeros(2 * RATE)], [*speech.target[:12], 0]
    encoder = {"encoder__model": encoder_file(), "encoder__layers": (1, 2)}
    large = make_sentiment_pipeline(
        "large", weights="speechsent-seresnet", on_error="nan", n_jobs=1, **encoder
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        large.fit(X, y)
    texts = [str(warning.message) for warning in caught]
    assert [text[:20] for text in texts] == ["1 of 13 recordings a", "1 of 13 rows hold Na"]
    mixed = [X[0], np.zeros(2 * RATE), "missing.wav", noise(2.0)]
    for _ in range(2):  # the next call says it again
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            levels = large.predict(mixed)
        assert np.isnan(levels).tolist() == [False, True, True, True]
        bad, silent, nobody = (str(warning.message) for warning in caught)
        assert bad.startswith("1 of 4 recordings were kept as NaN:") and "missing.wav" in bad
        assert "are silent" in silent and "row 1 (" in silent
        assert "hold no speech" in nobody and nobody.endswith("row 3.")
    large.set_params(net__speaker__net__on_error="raise", net__speech__net__on_error="raise")
    large.fit(X[:12], y[:12])
    proba, kinds = caught_from(large.predict_proba, mixed[:2])
    assert np.isnan(proba[1]).all() and len(kinds[NoSpeechWarning]) == 1


def test_nothing_but_silence(fitted):
    _, pipeline, _ = fitted
    proba, kinds = caught_from(pipeline.predict_proba, [np.zeros(RATE)])
    assert proba.shape == (1, 3) and np.isnan(proba).all() and len(kinds[NoSpeechWarning]) == 1


def test_a_bad_file_follows_on_error(fitted):
    _, pipeline, X = fitted
    mixed = [X[0], "missing.wav", X[1]]
    pipeline.set_params(mfb__on_error="raise")
    with pytest.raises(RecordingError, match=r"row 1 \(missing.wav\)"):
        pipeline.predict_proba(mixed)
    pipeline.set_params(mfb__on_error="nan", net__on_error="nan")
    proba, kinds = caught_from(pipeline.predict_proba, mixed)
    assert np.isnan(proba).all(axis=1).tolist() == [False, True, False]
    assert not any(kinds.values())
    assert np.isnan(caught_from(pipeline.predict, mixed)[0]).tolist() == [False, True, False]


def test_zeros_around_a_recording_change_nothing(fitted):
    _, pipeline, X = fitted
    zeros = np.zeros(2 * RATE, np.float32)
    samples = [soundfile.read(x, dtype="float32")[0] for x in X[:4]]
    expected = pipeline.predict_proba(samples)
    for padded in ([np.r_[zeros, x] for x in samples], [np.r_[zeros, x, zeros] for x in samples]):
        proba = caught_from(pipeline.predict_proba, padded)[0]
        assert np.abs(proba - expected).max() < 0.05


def test_the_domain_of_fit(fitted, tmp_path):
    _, pipeline, X = fitted
    pipeline = pickle.loads(pickle.dumps(pipeline))
    assert not any(caught_from(pipeline.predict_proba, X)[1].values())
    samples = [soundfile.read(x, dtype="float32")[0] for x in X[:3]]
    narrow = [(4000, soxr.resample(x, RATE, 4000)) for x in samples]
    long = np.concatenate(samples * 6)
    _, kinds = caught_from(pipeline.predict_proba, [X[3], *narrow, long])
    (message,) = kinds[DomainWarning]
    assert message.startswith("4 of 5 recordings") and "3 reach up to" in message
    assert "1 last" in message and "as row 4 does" in message


def test_copies_of_a_recording_count_once(speech):
    X, y = list(speech.data[::2]), speech.target[::2]
    pipeline = make_sentiment_pipeline(n_jobs=1, weights=None)
    model = WaveformPerturbation(pipeline, conditions=()).fit(X, y)
    samples = soundfile.read(X[0], dtype="float32")[0]
    mixed = [X[1], np.concatenate([samples] * 30), np.zeros(RATE)]
    proba, kinds = caught_from(model.predict_proba, mixed)
    assert np.isnan(proba).all(axis=1).tolist() == [False, False, True]
    assert [len(texts) for texts in kinds.values()] == [1, 1]
    assert all(texts[0].startswith("1 of 3 recordings") for texts in kinds.values())


# -- real speech -----------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("system", ["small", "medium"])
def test_real_speech(data_home, system):
    if system == "medium" and not has_weights("wespeaker-voxceleb-resnet34"):
        pytest.skip("needs WeSpeaker's weights")
    corpus = load_ravdess()
    X, y = list(corpus.data[::96]), corpus.target[::96]
    pipeline = make(system).fit(X, y)
    others = list(corpus.data[5::256])
    samples = [soundfile.read(x, dtype="float32")[0] for x in others]
    expected, kinds = caught_from(pipeline.predict_proba, others)
    assert not any(kinds.values())
    telephone = [(8000, soxr.resample(x, RATE, 8000)) for x in samples]
    (message,) = caught_from(pipeline.predict_proba, telephone)[1][DomainWarning]
    assert message.startswith(f"{len(others)} of {len(others)} recordings")
    zeros = np.zeros(2 * RATE, np.float32)
    proba, kinds = caught_from(pipeline.predict_proba, [np.r_[zeros, x, zeros] for x in samples])
    assert np.abs(proba - expected).max() < 0.05 and not any(kinds.values())
