"""Input of a verifier: recordings, frames, labels, and errors about them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklearn_speechsent import MelFilterBank, SlidingCMN, SpeakerVerifier, UtteranceFrames
from sklearn_speechsent.training.net import UtteranceNet

# -- recordings and frames -------------------------------------------------------------------------


def test_recordings_go_through_a_frontend(recordings, params):
    X, y = recordings
    verifier = SpeakerVerifier(**params).fit(X, y)
    frames = make_pipeline(MelFilterBank(), SlidingCMN(window=None)).fit_transform(X)
    np.testing.assert_allclose(verifier.transform(X), verifier.transform(frames), atol=1e-6)
    assert verifier.n_features_in_ == 80 and verifier.frontend is None
    bank = MelFilterBank(24)
    other = clone(verifier).set_params(frontend=bank).fit(X, y)
    assert other.n_features_in_ == 24 and other.frontend is bank and other.frontend_ is not bank
    assert other.transform(X).shape == (8, 6)  # without CMN, which the settings record
    assert other.to_weights().frame_settings["cmn"] is None


def test_waveforms_as_a_table_and_their_frames(recordings, params):
    X, y = np.array(recordings[0]), recordings[1]
    verifier = SpeakerVerifier(**params).fit(X, y)
    assert verifier.n_features_in_ == 8000
    frames = verifier.frontend_.transform(X)
    np.testing.assert_array_equal(verifier.transform(frames), verifier.transform(X))
    with pytest.raises(ValueError, match="expecting 8000 features"):
        verifier.transform(X[:, :7000])


def test_frames_then_recordings(fitted, recordings):
    with pytest.raises(ValueError, match=r"fitted on frames.*UtteranceFrames, or fit it"):
        fitted.transform(recordings[0])


def test_a_refit_on_frames_has_no_frontend(recordings, voices, params):
    verifier = SpeakerVerifier(**params).fit(*recordings)
    verifier.fit(*voices)
    assert not hasattr(verifier, "frontend_") and verifier.n_features_in_ == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 8000}, r"sample_rate=8000 \(expected 16000\)"),
        ({"frame_shift": 0.02}, "frame_shift=0.02"),
        ({"size": 24}, r"\(24,\).*expecting \(16,\)"),
    ],
)
def test_frames_of_another_kind(fitted, make_voices, settings, message):
    with pytest.raises(ValueError, match=message):
        fitted.transform(make_voices(**settings)[0])


def test_another_cmn_warns(fitted, make_voices):
    with pytest.warns(UserWarning, match=r"CMN over the utterance.*CMN over 3.0 s"):
        fitted.transform(make_voices(cmn=3.0)[0])


def test_frames_without_settings(voices, params):
    X, y = voices
    bare = UtteranceFrames.from_arrays(list(X))
    verifier = SpeakerVerifier(**params).fit(bare, y)
    np.testing.assert_array_equal(verifier.transform(bare), verifier.transform(X))


def test_embeddings_of_the_frames_are_ignored(voices, params):
    X, y = voices
    fused = X.with_embeddings(np.full((12, 3), np.nan))
    verifier = SpeakerVerifier(**params).fit(fused, y)
    np.testing.assert_array_equal(verifier.transform(X), verifier.transform(fused))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_frames_of_any_number_type(voices, params, dtype):
    X, y = voices
    cast = UtteranceFrames.from_arrays([(10 * u).astype(dtype) for u in X])
    exact = UtteranceFrames.from_arrays([u.astype(np.float32) for u in cast])
    verifier = SpeakerVerifier(**params).fit(cast, y)
    np.testing.assert_array_equal(verifier.transform(cast), verifier.transform(exact))
    np.testing.assert_array_equal(
        SpeakerVerifier(**params).fit(exact, y).transform(exact), verifier.transform(exact)
    )


# -- errors before any training --------------------------------------------------------------------


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(UtteranceNet, "_run_training", fail)
    monkeypatch.setattr(MelFilterBank, "_transform", fail)


def test_labels_that_do_not_fit(voices, params, no_training):
    X, y = voices
    verifier = SpeakerVerifier(**params)
    with pytest.raises(ValueError, match="of one speaker, 'ann'"):
        verifier.fit(X, np.array(["ann"] * 12))
    with pytest.raises(ValueError, match=r"of one speaker, 3 "):
        verifier.fit(X, np.full(12, 3))
    with pytest.raises(ValueError, match=r"Holding out 2 of 3 speakers.*validation_fraction=0"):
        verifier.fit(X[:9], y[:9])
    with pytest.raises(ValueError, match="inconsistent"):
        verifier.fit(X, y[:-1])
    with pytest.raises(ValueError, match="target y is None"):
        verifier.fit(X, None)
    for missing in (None, np.nan):
        with pytest.raises(ValueError, match=r"NaN.*row 2\b"):
            verifier.fit(X, [*y[:2], missing, *y[3:]] if missing is None else [0, 1, np.nan] * 4)


def test_recordings_are_not_decoded_before_labels_are_checked(recordings, params, no_training):
    X, y = recordings
    for labels, message in ((y[:-1], "inconsistent"), ([1, 1, 1, 1, 2, 2, 3, 3], "Holding out 2")):
        with pytest.raises(ValueError, match=message):
            SpeakerVerifier(**params).fit(X, labels)


def test_frames_must_be_finite(voices, params, no_training):
    X, y = voices
    arrays = [u.copy() for u in X]
    arrays[5][2, 3] = np.nan
    with pytest.raises(ValueError, match="first in row 5"):
        SpeakerVerifier(**params).fit(UtteranceFrames.from_arrays(arrays), y)


def test_maps_are_refused(params, no_training):
    X = UtteranceFrames.from_arrays([np.zeros((9, 4, 5))] * 4)
    with pytest.raises(ValueError, match=r"shape \(n_mels,\), got \(4, 5\)"):
        SpeakerVerifier(**params).fit(X, list("abcd"))


def test_nan_frames_have_nan_embeddings(fitted, voices):
    X, _ = voices
    arrays = [u.copy() for u in X]
    arrays[4][0, 0] = np.nan
    with pytest.warns(UserWarning, match="row 4"):
        embeddings = fitted.transform(
            UtteranceFrames.from_arrays(arrays, frame_settings=X.frame_settings)
        )
    assert np.isnan(embeddings[4]).all()
    others = np.arange(12) != 4
    np.testing.assert_allclose(embeddings[others], fitted.transform(X)[others], atol=1e-5)
    blank = UtteranceFrames.from_arrays([np.full((5, 16), np.nan)] * 2)
    with pytest.warns(UserWarning, match="2 utterances"):
        assert np.isnan(fitted.transform(blank)).all()
