"""Voice activity: loud stretches with their margins, at any loudness."""

import numpy as np
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank, SlidingCMN, UtteranceFrames, VoiceActivityDetector
from sklearn_speechsent.vad import scores
from sklearn_speechsent.vad.scores import energy_scores
from sklearn_speechsent.vad.segments import smooth


def kept_rows(frames, detector):
    """Mask of the rows that the detector keeps; frames are told apart by a row number."""
    utterance = frames[0]
    kept = detector.fit_transform(frames)[0]
    rows = {row.tobytes(): i for i, row in enumerate(utterance)}
    mask = np.zeros(len(utterance), dtype=bool)
    mask[[rows[row.tobytes()] for row in kept]] = True
    assert mask.sum() == len(kept)
    return mask


@pytest.fixture
def samples(rng):
    """Six seconds of faint noise, loud from 1 to 3 s and from 4.5 to 5 s."""
    noise = 1e-3 * rng.standard_normal(6 * 16000)
    noise[16000:48000] *= 100
    noise[72000:80000] *= 100
    return noise


def test_loud_stretches_are_kept_with_a_hangover(samples):
    frames = MelFilterBank().fit_transform([samples])
    for hangover in (0.0, 0.1, 0.25):
        mask = kept_rows(frames, VoiceActivityDetector("energy", hangover=hangover))
        expected = np.zeros(598, dtype=bool)
        margin = round(100 * hangover)
        # Frame t covers 10 t to 10 t + 25 ms, so that the first to reach 1 s is frame 98.
        expected[98 - margin : 300 + margin] = True
        expected[448 - margin : 500 + margin] = True
        assert np.count_nonzero(mask != expected) <= 8  # two frames at each edge
        assert mask[105:295].all() and not mask[:60].any()


@pytest.mark.parametrize("gain", [0.01, 2.0])
def test_the_loudness_does_not_matter(samples, gain):
    detector = VoiceActivityDetector("energy")
    quiet, loud = (MelFilterBank().fit_transform([samples * g]) for g in (gain, 1.0))
    np.testing.assert_array_equal(kept_rows(quiet, detector), kept_rows(loud, detector))


def test_digital_silence_does_not_make_noise_speech(samples):
    """A floor of minus infinity would lift faint noise above the threshold."""
    detector = VoiceActivityDetector("energy")
    without = kept_rows(MelFilterBank().fit_transform([samples]), detector)
    samples[:16000] = 0
    silent = MelFilterBank().fit_transform([samples])[0]
    speech = smooth(energy_scores(silent), threshold=9.0, hysteresis=3.0, hangover=25)
    np.testing.assert_array_equal(speech, without)


@pytest.mark.parametrize("share", [0.3, 3.0])
def test_energy_without_digital_silence(samples, share):
    """More zeros than speech, in blocks: scores of the other frames stay as they are."""
    frames = MelFilterBank().fit_transform([samples])[0]
    n = round(share * len(frames))
    zeros = np.full((n, 80), np.log(np.finfo(np.float32).eps), np.float32)
    expected = energy_scores(frames)
    found = energy_scores(np.concatenate([zeros, frames[:300], zeros, frames[300:], zeros]))
    speech = np.concatenate([found[n : n + 300], found[2 * n + 300 : -n]])
    np.testing.assert_allclose(speech, expected, atol=1e-9)
    assert (found[:n] < expected.min()).all()
    assert np.isfinite(energy_scores(zeros)).all()


def test_energy_of_long_utterances(samples, monkeypatch):
    frames = MelFilterBank().fit_transform([samples])[0]
    expected = energy_scores(frames)
    monkeypatch.setattr(scores, "_MAX_FRAMES", 50)
    np.testing.assert_array_equal(energy_scores(frames), expected)


@pytest.mark.data
@pytest.mark.parametrize("where", ["around", "behind", "within"])
def test_zeros_do_not_move_decisions(data_home, where):
    """1.7 s of digital zeros at either end or a gate of 0.1 s in a pause leave speech as it was."""
    paths = sorted((data_home / "librispeech_excerpts" / "test-other").rglob("*.flac"))[::16]
    paths += sorted((data_home / "ravdess" / "Actor_05").glob("03-01-0*-01-01-01-05.flac"))
    detector, mfb = VoiceActivityDetector(), MelFilterBank()
    detector.fit(mfb.fit_transform(paths[:1]))
    # Without a hangover, which fills a pause as a whole or not at all.
    limits = dict(threshold=0.8, hysteresis=0.15, hangover=0)
    changed = []
    for path in paths:
        samples = soundfile.read(path, dtype="float32")[0]
        before, after = 170 * (where == "around"), 170 * (where != "within")
        longer = np.pad(samples, (160 * before, 160 * after))
        if where == "within":
            energy = np.convolve(samples**2, np.ones(1600), "valid")
            longer = samples.copy()
            longer[energy.argmin() :][:1600] = 0
        plain, found = detector.frame_scores(mfb.transform([samples, longer]))
        plain, found = smooth(plain, **limits), smooth(found, **limits)
        changed.append(np.mean(plain != found[before : before + len(plain)]))
    assert np.mean(changed) < 0.01 and np.max(changed) < 0.05


def test_little_speech_keeps_everything(samples):
    frames = MelFilterBank().fit_transform([samples])
    detector = VoiceActivityDetector("energy", min_duration=10.0)
    np.testing.assert_array_equal(detector.fit_transform(frames)[0], frames[0])
    short = MelFilterBank().fit_transform([samples[12000:20000]])
    np.testing.assert_array_equal(VoiceActivityDetector("energy").fit_transform(short)[0], short[0])


def test_steady_noise_keeps_everything(rng):
    frames = MelFilterBank().fit_transform([rng.standard_normal(48000) * 0.01])
    np.testing.assert_array_equal(
        VoiceActivityDetector("energy").fit_transform(frames)[0], frames[0]
    )


@pytest.mark.parametrize("n_frames", [1, 2, 10])
def test_very_short_utterances(rng, n_frames):
    frames = UtteranceFrames.from_arrays([rng.normal(size=(n_frames, 8))])
    assert len(VoiceActivityDetector("energy").fit_transform(frames)[0]) == n_frames
    assert len(VoiceActivityDetector("energy", min_duration=0.0).fit_transform(frames)[0]) >= 1


def test_rows_of_nan_are_kept(samples):
    frames = MelFilterBank().fit_transform([samples])
    together = UtteranceFrames.from_arrays([np.full((1, 80), np.nan, np.float32), frames[0]])
    kept = VoiceActivityDetector("energy").fit_transform(together)
    assert kept.lengths[0] == 1 and kept.lengths[1] < 500


def test_durations_are_in_seconds_of_the_frames(samples):
    frames = MelFilterBank(frame_shift=0.02).fit_transform([samples])
    n_kept = len(VoiceActivityDetector("energy", hangover=0.2).fit_transform(frames)[0])
    assert n_kept * 0.02 == pytest.approx(2.5 + 4 * 0.2, abs=0.15)


def test_median_filter_and_hysteresis():
    scores = np.full(60, -20.0)
    scores[5:8] = 30  # a click
    scores[20:34] = 7  # reaches only the lower threshold
    scores[40:52] = [7, 7, 7, 7, 7, 7, 10, 10, 10, 10, 10, 10]
    speech = smooth(scores, threshold=9.0, hysteresis=3.0, hangover=0)
    assert not speech[:38].any()
    assert speech[40:52].all() and speech.sum() == 12


def test_the_record_and_the_type(samples):
    frames = MelFilterBank().fit_transform([samples])
    kept = VoiceActivityDetector("energy").fit_transform(frames)
    assert (
        kept.frame_settings == {**frames.frame_settings, "vad": "energy"}
        and kept.dtype == np.float32
    )


def test_normalised_frames_are_refused(samples):
    frames = SlidingCMN().fit_transform(MelFilterBank().fit_transform([samples]))
    with pytest.raises(ValueError, match="before it"):
        VoiceActivityDetector("energy").fit_transform(frames)


@pytest.mark.data
@pytest.mark.parametrize(
    ("method", "accuracy", "miss", "false_alarm"),
    [("energy", 0.63, 0.15, 0.75), ("unet", 0.89, 0.15, 0.15)],
)
def test_meetings(data_home, method, accuracy, miss, false_alarm):
    """Far-field meetings with a reference by hand; 61 % of the frames are speech."""
    folder = data_home / "ami_excerpts"
    truth, ours = [], []
    spoken = [line.split() for line in (folder / "reference.rttm").read_text().splitlines()]
    for path in sorted(folder.glob("*.flac")):
        frames = MelFilterBank().fit_transform([soundfile.read(path)[0]])
        centres = 0.01 * np.arange(len(frames[0])) + 0.0125
        speech = np.zeros(len(centres), dtype=bool)
        for fields in spoken:
            if fields[1] == path.stem:
                start, duration = float(fields[3]), float(fields[4])
                speech |= (centres >= start) & (centres < start + duration)
        truth.append(speech)
        ours.append(kept_rows(frames, VoiceActivityDetector(method)))
    truth, ours = np.concatenate(truth), np.concatenate(ours)
    assert np.mean(truth == ours) >= accuracy
    assert np.mean(~ours[truth]) <= miss
    assert np.mean(ours[~truth]) <= false_alarm


@pytest.mark.data
def test_actors(data_home):
    """Acted sentences at -40 dBFS lie between a second of silence on either side."""
    paths = sorted((data_home / "ravdess").glob("Actor_0[12]/03-01-01-01-*.flac"))
    frames = MelFilterBank().fit_transform(paths)
    kept = VoiceActivityDetector(hangover=0.0).fit_transform(frames).lengths / frames.lengths
    assert len(kept) >= 2 and (kept > 0.3).all() and (kept < 0.7).all()
