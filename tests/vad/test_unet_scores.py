"""The U-net behind the detector: scores, frames of speech, and input."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from small_vad import FRAME_SETTINGS, loud_stretches, trainee, weights

from sklearn_speechsent import MelFilterBank, UtteranceFrames, VoiceActivityDetector, audio
from sklearn_speechsent.nn import SpeakerResNet, SpeechUNet
from sklearn_speechsent.pretrained import save_weights
from sklearn_speechsent.vad import scores as vad_scores

LENGTHS = (300, 1, 57, 450, 12)

#: The frames are noise.
pytestmark = pytest.mark.usefixtures("somebody_speaks")


@pytest.fixture
def path(tmp_path):
    return weights(tmp_path / "small.safetensors")


@pytest.fixture
def frames(rng):
    arrays = [rng.normal(size=(n, 12)).astype(np.float32) for n in LENGTHS]
    return UtteranceFrames.from_arrays(arrays, frame_settings=FRAME_SETTINGS)


# -- scores ----------------------------------------------------------------------------------------


def test_scores_are_the_network_s_probabilities(path, frames):
    detector = VoiceActivityDetector(weights=path).fit(frames)
    scores = detector.frame_scores(frames)
    assert [len(s) for s in scores] == list(LENGTHS) and {s.dtype for s in scores} == {
        np.dtype("float32")
    }
    assert scores[0].std() > 1e-3
    for utterance, found in zip(frames, scores, strict=True):
        with torch.inference_mode():
            logits = detector.network_(
                torch.from_numpy(utterance.copy())[None], torch.tensor([len(utterance)])
            )
        np.testing.assert_allclose(found, logits.sigmoid()[0].numpy(), atol=1e-5)


def test_batches_do_not_change_scores(path, frames, monkeypatch):
    detector = VoiceActivityDetector(weights=path).fit(frames)
    together = detector.frame_scores(frames)
    sizes = []
    forward = SpeechUNet.forward
    monkeypatch.setattr(
        SpeechUNet,
        "forward",
        lambda net, x, *rest: sizes.append(x.shape[:2]) or forward(net, x, *rest),
    )
    monkeypatch.setattr(vad_scores, "_MAX_FRAMES", 320)
    assert len(detector.frame_scores(frames)) == 5
    assert sizes == [(3, 57), (1, 300), (1, 244), (1, 246)]  # the longest in two pieces
    for one, other in zip(detector.frame_scores(frames), together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_scores_of_long_utterances(path, rng, monkeypatch):
    """Piece by piece they are those of the whole, also between digital zeros, in any batch."""
    arrays = [5 + 3 * rng.normal(size=(n, 12)).astype(np.float16) for n in (1003, 200, 321)]
    arrays[0][700:] = arrays[2][100:110] = -15.9424
    frames = UtteranceFrames.from_arrays(arrays, frame_settings=FRAME_SETTINGS)
    detector = VoiceActivityDetector(weights=path).fit(frames)
    whole = detector.frame_scores(frames)
    assert not whole[0][700:].any() and not whole[2][100:110].any()
    assert (whole[0][:698] > 0).all()  # the frames before are cut by zeros
    monkeypatch.setattr(vad_scores, "_MAX_FRAMES", 320)
    for rows in ([0, 1, 2], [2, 0], [0]):
        for row, found in zip(rows, detector.frame_scores(frames[rows]), strict=True):
            np.testing.assert_allclose(found, whole[row], rtol=0, atol=1e-5)


def test_nothing_but_digital_zeros_is_no_speech(path):
    frames = UtteranceFrames.from_arrays(
        [np.full((400, 12), -15.9424, np.float32)], frame_settings=FRAME_SETTINGS
    )
    detector = VoiceActivityDetector(weights=path, threshold=0.01).fit(frames)
    assert not detector.frame_scores(frames)[0].any() and detector.speech_segments(frames).empty


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16])
def test_frames_of_other_types(path, frames, dtype):
    detector = VoiceActivityDetector(weights=path).fit(frames)
    arrays = [(10 * array).astype(dtype) for array in frames]
    other = UtteranceFrames.from_arrays(arrays, frame_settings=FRAME_SETTINGS)
    plain = [array.astype(np.float32) for array in arrays]
    for one, two in zip(detector.frame_scores(other), detector.frame_scores(plain), strict=True):
        np.testing.assert_array_equal(one, two)
    assert detector.transform(other).dtype == dtype


def test_rows_of_nan_are_kept_as_they_are(path):
    frames, masks = loud_stretches()
    detector = trainee(path, min_duration=0.1).fit(frames, masks=masks)
    arrays = [np.full((1, 12), np.nan, np.float32), frames[0], np.full((9, 12), np.nan)]
    together = UtteranceFrames.from_arrays(arrays, dtype=np.float32, frame_settings=FRAME_SETTINGS)
    kept = detector.transform(together)
    assert kept.lengths.tolist() == [1, len(detector.transform(frames[:1])[0]), 9]
    assert 0 < kept.lengths[1] < len(frames[0])
    assert np.isnan(kept[0]).all() and np.isnan(kept[2]).all()
    assert np.isnan(detector.frame_scores(together)[2]).all()
    assert set(detector.speech_segments(together)["file"]) == {1}
    nothing = together[[0, 2]]
    assert detector.transform(nothing).lengths.tolist() == [1, 9]
    assert len(detector.speech_segments(nothing)) == 0


def test_threshold_and_hysteresis_are_probabilities(frames, path, monkeypatch):
    """0.4 is speech next to frames that reached 0.5, but not by itself."""
    scores = np.zeros(300, np.float32)
    scores[50:80], scores[80:110], scores[200:230] = 0.6, 0.4, 0.4
    monkeypatch.setattr(VoiceActivityDetector, "_scores", lambda *args: [scores])
    detector = VoiceActivityDetector(weights=path, hangover=0.0, min_duration=0.1).fit(frames[:1])
    # At 0.1, an absolute 0.15 below would take all frames for speech.
    for threshold, kept in [(0.5, 60), (0.56, 30), (0.3, 90), (0.1, 90), (0.7, 300)]:
        detector.set_params(threshold=threshold)
        assert detector.transform(frames[:1]).lengths[0] == kept, threshold
    scores[50:80], scores[80:110], scores[200:230] = 0.95, 0.8, 0.8
    assert detector.set_params(threshold=None).transform(frames[:1]).lengths[0] == 60


def test_min_duration(frames, path, monkeypatch):
    scores = np.zeros(300, np.float32)
    scores[100:180] = 1
    monkeypatch.setattr(VoiceActivityDetector, "_scores", lambda *args: [scores])
    detector = VoiceActivityDetector(weights=path, hangover=0.1).fit(frames[:1])
    kept = detector.transform(frames[:1])
    np.testing.assert_array_equal(kept[0], frames[0][90:190])
    assert kept.frame_settings == {**FRAME_SETTINGS, "vad": "unet"}
    assert detector.set_params(min_duration=1.01).transform(frames[:1]).lengths[0] == 300
    scores[:] = 0
    assert detector.set_params(min_duration=0.0).transform(frames[:1]).lengths[0] == 300


# -- input -----------------------------------------------------------------------------------------


def test_the_shipped_network_takes_recordings_of_every_kind(tmp_path, rng):
    wave = 0.1 * rng.standard_normal(24000)
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    file = str(tmp_path / "a.wav")
    detector = VoiceActivityDetector().fit([file])
    assert detector.n_features_in_ == 80
    (expected,) = detector.frame_scores(MelFilterBank().fit_transform([wave]))
    for X in (
        [file],
        [tmp_path / "a.wav"],
        np.array([file]),
        np.array([[file]], dtype=object),
        pd.Series([file]),
        pd.DataFrame({"path": [file]}),
        pd.DataFrame({"file": [file], "start": [np.nan], "end": [1.5]}),
        [wave],
        [(16000, wave)],
        (wave,),
    ):
        (found,) = detector.frame_scores(X)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        (again,) = VoiceActivityDetector().fit(X).frame_scores(X)
        np.testing.assert_array_equal(again, found)
    frames = MelFilterBank().fit_transform([wave])
    for X in (frames, [frames[0]], np.asarray(frames[0])[None], (frames[0],)):
        np.testing.assert_array_equal(detector.frame_scores(X)[0], expected)


def test_fit_transform_extracts_once(path, rng, decoded):
    waves = [0.1 * rng.standard_normal(16000), 0.1 * rng.standard_normal(8000)]
    made = VoiceActivityDetector(weights=path).fit_transform(waves)
    assert decoded == [0, 1]
    again = VoiceActivityDetector(weights=path).fit(waves).transform(waves)
    np.testing.assert_array_equal(again.base, made.base)


def test_fitted_on_frames_it_takes_recordings_and_copies_of_them(path, frames, rng):
    wave = 0.1 * rng.standard_normal(16000)
    detector = VoiceActivityDetector(weights=path).fit(frames)
    (plain,) = detector.frame_scores([wave])
    assert len(plain) == 98
    fast = [recording.perturbed(speed=2.0) for recording in audio.as_recordings([wave])]
    assert len(detector.frame_scores(fast)[0]) == 48


def test_one_recording_is_not_a_list(rng):
    detector = VoiceActivityDetector()
    for X in ("a.wav", (16000, 0.1 * rng.standard_normal(16000))):
        with pytest.raises(TypeError, match="must be a list of recordings"):
            detector.fit(X)


def test_missing_files_are_named(rng, path, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(16000), 16000)
    detector = VoiceActivityDetector(weights=path).fit([tmp_path / "a.wav"])
    for method in (detector.fit, detector.transform, detector.speech_segments):
        with pytest.raises(FileNotFoundError, match=r"row 1 .*nowhere.wav"):
            method([tmp_path / "a.wav", "nowhere.wav"])


def test_the_default_front_end_is_what_the_weights_expect(path, rng):
    wave = 0.1 * rng.standard_normal(16000)
    detector = VoiceActivityDetector(weights=path, n_jobs=2).fit([wave])
    assert detector.frontend_.n_mels == 12 and detector.frontend_.n_jobs == 2
    assert detector.transform([wave]).frame_shape == (12,)
    slow = weights(path.with_name("slow.safetensors"), frame_shift=0.02)
    assert len(VoiceActivityDetector(weights=slow).fit([wave]).frame_scores([wave])[0]) == 49


def test_a_front_end_of_ones_own(path, rng, tmp_path):
    waves = [0.1 * rng.standard_normal(16000), 0.1 * rng.standard_normal(8000)]
    bank = MelFilterBank(12, memory=str(tmp_path / "cache"))
    detector = VoiceActivityDetector(weights=path, frontend=bank)
    found = detector.fit_transform(waves)
    assert detector.frontend_ is not bank and not hasattr(bank, "n_features_in_")
    assert found.frame_settings["n_mels"] == 12 and (tmp_path / "cache").exists()
    np.testing.assert_array_equal(detector.transform(waves).base, found.base)
    detector.set_params(frontend__n_mels=13)
    with pytest.raises(ValueError, match=r"small\.safetensors.* expects frames of 12 mel bins"):
        detector.fit(waves)


def test_unreadable_recordings(path, rng, tmp_path):
    X = [0.1 * rng.standard_normal(16000), np.full(16000, np.nan)]
    with pytest.raises(ValueError, match=r"row 1 .*nan"):
        VoiceActivityDetector(weights=path).fit_transform(X)
    bank = MelFilterBank(12, on_error="nan")
    detector = VoiceActivityDetector(weights=path, frontend=bank)
    with pytest.warns(UserWarning, match="kept as NaN"):
        kept = detector.fit_transform(X)
    assert np.isnan(kept[1]).all() and kept.lengths.tolist()[1] == 1
    with pytest.warns(UserWarning, match="kept as NaN"):
        assert (detector.speech_segments(X)["file"] == 0).all()
    skipping = VoiceActivityDetector(weights=path, frontend=MelFilterBank(12, on_error="skip"))
    with pytest.warns(UserWarning, match="left out"):
        assert len(skipping.fit_transform(X)) == 1
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="1 utterances of 2 record"):
        skipping.speech_segments(X)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sample_rate": 8000}, r"do not fit .*sample_rate=8000 \(expected 16000\)"),
        ({"frame_shift": 0.02}, "frame_shift=0.02"),
        ({"cmn": "utterance"}, "needs the loudness.*before it"),
        ({"cmn": 3.0}, "needs the loudness"),
    ],
)
def test_frames_that_were_made_otherwise(path, frames, changes, says):
    other = UtteranceFrames(
        frames.base, frames.starts, frames.stops, frame_settings={**FRAME_SETTINGS, **changes}
    )
    with pytest.raises(ValueError, match=says):
        VoiceActivityDetector(weights=path).fit(other)
    with pytest.raises(ValueError, match=says):
        VoiceActivityDetector(weights=path).fit(frames).transform(other)
    unrecorded = UtteranceFrames(frames.base, frames.starts, frames.stops)
    assert len(VoiceActivityDetector(weights=path).fit_transform(unrecorded)) == 5


def test_maps_are_not_frames():
    for method in ("unet", "energy"):
        with pytest.raises(ValueError, match=r"must have shape \(n_mels,\), got \(4, 20\)"):
            VoiceActivityDetector(method).fit([np.zeros((9, 4, 20))])


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        ({"method": "mute"}, ValueError, "'method' parameter"),
        ({"threshold": "high"}, ValueError, "'threshold' parameter"),
        ({"threshold": 9.0}, ValueError, r'threshold=9.0 is not a probability.*"energy"'),
        ({"threshold": 0.0}, ValueError, "not a probability"),
        ({"hangover": -1}, ValueError, "'hangover' parameter"),
        ({"min_duration": -1}, ValueError, "'min_duration' parameter"),
        ({"weights": None}, ValueError, "'weights' parameter"),
        ({"weights": "other"}, ValueError, "no pre-trained weights named 'other'"),
        ({"weights": "other.safetensors"}, FileNotFoundError, "does not exist"),
        ({"frontend": "mfb"}, ValueError, "'frontend' parameter"),
        ({"max_epochs": 0}, ValueError, "'max_epochs' parameter"),
        ({"lr": 0}, ValueError, "'lr' parameter"),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter"),
        ({"random_state": "x"}, ValueError, "'random_state' parameter"),
        ({"n_jobs": 1.5}, ValueError, "'n_jobs' parameter"),
        ({"memory": 3}, ValueError, "'memory' parameter"),
        ({"verbose": "x"}, ValueError, "'verbose' parameter"),
    ],
)
def test_parameters_are_checked(params, error, says):
    with pytest.raises(error, match=says):
        VoiceActivityDetector(**params).fit(np.zeros((2, 5, 80)))


def test_a_speaker_network_is_not_a_detector(tmp_path, frames):
    settings = dict(n_mels=12, widths=(4,), depths=(1,), se_ratio=None, embedding_size=4)
    with torch.random.fork_rng(devices=[]):
        net = SpeakerResNet(**settings)
    path = save_weights(
        tmp_path / "speaker.safetensors",
        net.state_dict(),
        architecture=settings,
        frame_settings={"n_mels": 12, "cmn": None},
    )
    with pytest.raises(ValueError, match="it may be a speaker network"):
        VoiceActivityDetector(weights=path).fit(frames)
