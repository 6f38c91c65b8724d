"""Scores of files and streams by exported models."""

import copy

import numpy as np
import pytest
import soundfile

from sklearn_speechsent import WaveformPerturbation, export_onnx, make_sentiment_pipeline
from sklearn_speechsent.runtime import OnnxSentiment

pytestmark = pytest.mark.filterwarnings("ignore::sklearn_speechsent.frames.DomainWarning")


@pytest.fixture(scope="module")
def pipeline(speech):
    """Fitted on three levels."""
    return make_sentiment_pipeline().fit(speech.data[:9], speech.target[:9])


@pytest.fixture(scope="module")
def path(pipeline, tmp_path_factory):
    """Of the exported pipeline."""
    return export_onnx(pipeline, tmp_path_factory.mktemp("models") / "model.onnx")


@pytest.fixture
def scorer(path):
    return OnnxSentiment(path)


@pytest.fixture(scope="module")
def voice(speech):
    """Samples at 16 kHz."""
    return soundfile.read(speech.data[10], dtype="float32")[0]


# -- recordings ------------------------------------------------------------------------------------


def test_files_and_arrays(scorer, pipeline, speech, tmp_path):
    assert scorer.levels == [-1, 0, 1]
    assert scorer.sample_rate == 16000
    files = [*speech.data[9:13]]
    samples, rate = soundfile.read(speech.data[13], dtype="int16")
    stereo = np.stack([samples, samples // 2], axis=1)
    soundfile.write(tmp_path / "fast.ogg", samples, 44100)
    X = [*files, tmp_path / "fast.ogg", (rate, samples), (8000, stereo)]
    np.testing.assert_allclose(scorer.predict_proba(X), pipeline.predict_proba(X), atol=2e-5)
    found = scorer.predict(X)
    np.testing.assert_array_equal(found, pipeline.predict(X))
    assert found.dtype.kind == "i"
    assert len(scorer.predict([])) == 0
    assert scorer.predict_proba([]).shape == (0, 3)


def test_text_and_intensities(speech, voice, tmp_path):
    y = np.array(["low", "middle", "high"])[speech.target + 1]
    levels = ["low", "middle", "high"]
    text = make_sentiment_pipeline(weights=None, levels=levels).fit(speech.data[:9], y[:9])
    scorer = OnnxSentiment(export_onnx(text, tmp_path / "text.onnx"))
    X = [*speech.data[9:12], (16000, np.zeros(16000, np.int16))]
    assert [*scorer.predict(X)] == [*text.predict(X[:3]), None]
    assert [*scorer.predict(X[:3])] == [*text.predict(X[:3])]
    number = make_sentiment_pipeline(weights=None, target="intensity")
    number.fit(speech.data[:9], speech.target[:9] / 2)
    scorer = OnnxSentiment(export_onnx(number, tmp_path / "number.onnx"))
    assert scorer.levels is None
    np.testing.assert_allclose(scorer.predict(X)[:3], number.predict(X[:3]), atol=1e-5)
    assert np.isnan(scorer.predict(X)[3])
    scorer.push(voice)
    score = scorer.finish()
    assert score.level is None and score.probabilities == ()
    assert score.expected == pytest.approx(number.predict([(16000, voice)])[0], abs=1e-5)
    with pytest.raises(AttributeError, match="gives intensities"):
        scorer.predict_proba(X)


def test_nothing_to_say(scorer):
    """Digital silence, and noise in which nobody speaks."""
    noise = np.random.default_rng(0).normal(scale=0.05, size=32000)
    X = [(16000, np.zeros(32000)), (16000, noise)]
    assert np.isnan(scorer.predict_proba(X)).all()
    assert np.isnan(scorer.predict(X)).all()


def test_speeds(speech, tmp_path):
    model = WaveformPerturbation(
        make_sentiment_pipeline(weights=None), speeds=(1.0,), predict_speeds=(0.9, 1.0, 1.1)
    ).fit(speech.data[:9], speech.target[:9])
    scorer = OnnxSentiment(export_onnx(model, tmp_path / "model.onnx"))
    assert scorer.speeds == [0.9, 1.0, 1.1]
    X = [*speech.data[9:12], (17000, soundfile.read(speech.data[12])[0])]
    np.testing.assert_allclose(scorer.predict_proba(X), model.predict_proba(X), atol=2e-5)
    np.testing.assert_array_equal(scorer.predict(X), model.predict(X))


def cut_off(folder, file):
    """A FLAC of which the second half is missing."""
    path = folder / "cut.flac"
    soundfile.write(path, soundfile.read(file)[0], 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_files_that_are_cut_off_or_long(scorer, speech, tmp_path):
    with pytest.raises(
        ValueError, match=r"row 0 \('.*cut.flac'\): it cannot be .* Get the whole file"
    ):
        scorer.predict([cut_off(tmp_path, speech.data[9])])
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 302), 8000)
    with pytest.raises(ValueError, match=r"long.flac'\): it lasts more than max_duration=300 s"):
        scorer.predict([tmp_path / "long.flac"])


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.wav", r"row 1 \('.*none.wav'\): there is no such file"),
        (lambda folder: folder, "it is not a file"),
        (
            lambda folder: written(folder, "a.m4a", b"\0\0\0\x20ftypM4A " * 9),
            "ffmpeg -i a.m4a a.wav",
        ),
        (lambda folder: written(folder, "a.raw", b"\0" * 999), "cannot be opened as audio"),
        (lambda folder: (16000, np.full(9000, np.nan)), "row 1: samples are NaN"),
        (lambda folder: (16000, np.full(9000, 300.0)), "reach 300.*Divide them by the full"),
        (lambda folder: (16000, np.zeros(9000, np.int64)), "full scale of int64"),
        (lambda folder: (16000, np.array(["a", "b"])), "must be numbers of shape"),
        (lambda folder: (16000, np.ones(399, np.int16)), "399 samples at 16000 Hz, fewer than a"),
        (lambda folder: (48000, np.ones(1100, np.int16)), "fewer than a frame of 400"),
        (lambda folder: (8000, np.zeros(8000 * 301, np.int8)), "lasts more than max_duration=300"),
        (
            lambda folder: (16000, np.array([[1, -1]]) * np.sin(np.arange(9000.0))[:, None]),
            "2 channels cancel",
        ),
    ],
)
def test_bad_recordings(path, voice, tmp_path, make, message):
    X = [(16000, voice), make(tmp_path), (16000, voice)]
    with pytest.raises(ValueError, match=message):
        OnnxSentiment(path).predict(X)
    with pytest.warns(UserWarning, match="row 1"):
        found = OnnxSentiment(path, on_error="nan").predict_proba(X)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]


def test_bad_arguments(path, fitted_frames):
    for X, remedy in (("a.wav", "'a.wav'"), (np.array(["a.wav"])[0], "'a.wav'"), (b"", "contents")):
        with pytest.raises(ValueError, match=rf"Pass a list of recordings: \[{remedy}\]"):
            OnnxSentiment(path).predict(X)
    with pytest.raises(ValueError, match="on_error='skip' must be"):
        OnnxSentiment(path, on_error="skip")
    with pytest.raises(ValueError, match="positive numbers of seconds"):
        OnnxSentiment(path, step=0.0)
    with pytest.raises(FileNotFoundError, match=r"There is no model 'none\.onnx'"):
        OnnxSentiment("none.onnx")
    with pytest.raises(ValueError, match=r'kind frames, and.*kind="waveform"'):
        OnnxSentiment(fitted_frames)


@pytest.fixture
def fitted_frames(pipeline, tmp_path):
    return export_onnx(pipeline, tmp_path / "frames.onnx", kind="frames")


# -- streams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("size", [160, 4801, 10**6])
def test_a_stream_has_the_score_of_the_file(scorer, voice, rate, size):
    samples = (32767 * voice).astype(np.int16)
    for _ in range(2):  # the second stream knows nothing of the first
        for first in range(0, len(samples), size):
            buffer = samples[first : first + size].copy()
            assert scorer.push(buffer, rate) == []
            buffer[:] = 0
        score = scorer.finish()
        assert score.final and score.start == 0
        assert score.end == pytest.approx(len(samples) / rate, abs=1e-3)
        expected = scorer.predict_proba([(rate, samples)])[0]
        np.testing.assert_array_equal(score.probabilities, expected)
        assert score.level == scorer.predict([(rate, samples)])[0]
        assert score.expected == pytest.approx(expected @ [-1, 0, 1])


@pytest.mark.parametrize("size", [999, 16000, 10**6])
def test_provisional_scores_are_those_of_windows(path, voice, size):
    scorer = OnnxSentiment(path, window=1.5, step=0.5)
    samples = np.concatenate([voice, voice])[:40001]
    scores = []
    for first in range(0, len(samples), size):
        scores += scorer.push(samples[first : first + size])
    assert [(s.start, s.end) for s in scores] == [(0, 0.5), (0, 1), (0, 1.5), (0.5, 2), (1, 2.5)]
    for score in scores:
        window = samples[round(16000 * score.start) : round(16000 * score.end)]
        expected = scorer.predict_proba([(16000, window)])[0]
        np.testing.assert_array_equal(score.probabilities, expected)
        assert not score.final
    assert scorer.finish().final


def test_streams_side_by_side(scorer, voice):
    """A copy shares the model, and nothing of the stream."""
    scorer.push(voice[:8000])
    other = copy.copy(scorer)
    assert other._session is scorer._session
    other.push(voice[8000:])
    scorer.push(voice[8000:])
    found = [s.finish().probabilities for s in (scorer, other)]
    expected = scorer.predict_proba([(16000, voice), (16000, voice[8000:])])
    np.testing.assert_array_equal(found, expected)


def test_bad_streams(path, voice):
    scorer = OnnxSentiment(path, max_duration=2.0)
    with pytest.raises(ValueError, match="rate=0 is not from"):
        scorer.push(voice, 0)
    scorer.push(voice[:16000])
    with pytest.raises(ValueError, match="began with 16000 Hz, and goes on with 8000 Hz"):
        scorer.push(voice[:160], 8000)
    with pytest.raises(ValueError, match=r"lasts more than max_duration=2 s\. Call finish"):
        scorer.push(np.zeros(16001))
    scorer.reset()
    with pytest.raises(ValueError, match="0 samples at 16000 Hz"):
        scorer.finish()
    # One channel may be the other's opposite for a while.
    half = voice[:9000, None]
    scorer.push(np.concatenate([half * [1.0, -1.0], half * [1.0, 1.0]]))
    assert scorer.finish().end == 18000 / 16000
