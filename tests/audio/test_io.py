"""Reading recordings: containers, sample types, rates and kinds of input."""

import numpy as np
import pandas as pd
import pytest
import scipy.io.wavfile
import soundfile
from tones import RATE, peak, tone

from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.audio import RecordingError, as_recordings, read


def read_only(X, rate=RATE):
    (recording,) = as_recordings(X)
    return read(recording, rate)


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    return path


# --- what can be read


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_containers(tmp_path, suffix):
    if suffix.upper() not in soundfile.available_formats():
        pytest.skip(f"this build of libsndfile cannot write {suffix}")
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), RATE)
    samples = read_only([path])
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert peak(samples) == (pytest.approx(440, abs=0.5), pytest.approx(0.5, rel=0.03))


@pytest.mark.filterwarnings("ignore::scipy.io.wavfile.WavFileWarning")  # of its PEAK chunk
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_types_of_files_and_of_scipy(tmp_path, subtype):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), RATE, subtype=subtype)
    step = 2 / 2 ** {"PCM_U8": 8, "PCM_16": 16}.get(subtype, 22)
    np.testing.assert_allclose(read_only([path]), tone(), atol=step)
    from_scipy = scipy.io.wavfile.read(path)
    np.testing.assert_allclose(read_only([from_scipy]), read_only([path]), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float16])
def test_sample_types_in_memory(dtype):
    samples = tone()
    if np.dtype(dtype).kind != "f":
        half = 2 ** (8 * np.dtype(dtype).itemsize - 1)
        samples = samples * half + (half if np.dtype(dtype).kind == "u" else 0)
    np.testing.assert_allclose(read_only([samples.astype(dtype)]), tone(), atol=1 / 100)


def test_the_scale_of_64_bit_integers_is_not_guessed():
    with pytest.raises(RecordingError, match=r"row 0 .*int64.*int16"):
        read_only([(tone() * 32767).astype(np.int64)])


@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_channels_are_averaged(tmp_path, n_channels):
    path = tmp_path / "tone.wav"
    gains = np.linspace(0.1, 1.0, n_channels)
    soundfile.write(path, tone()[:, None] * gains, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_only([path]), tone() * gains.mean(), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_frequency_and_loudness(tmp_path, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1000, rate=rate), rate, subtype="FLOAT")
    samples = read_only([path])
    assert abs(len(samples) - RATE) <= 1
    assert peak(samples) == (pytest.approx(1000, abs=0.3), pytest.approx(0.5, rel=1e-3))
    in_memory = read_only([(rate, tone(1000, rate=rate).astype(np.float32))])
    np.testing.assert_allclose(in_memory, samples, atol=1e-6)


def test_resampling_does_not_alias(tmp_path):
    """A tone above the new Nyquist frequency vanishes instead of folding back."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(11000, rate=48000), 48000, subtype="FLOAT")
    assert np.abs(read_only([path])[1600:-1600]).max() < 1e-3


# --- kinds of input


def test_all_kinds_of_lists_of_paths(wav):
    expected = read_only([str(wav)])
    objects = np.array([wav], dtype=object)
    for X in (
        [wav],
        (str(wav),),
        np.array([str(wav)]),
        objects,
        objects[:, None],
        np.array([[str(wav)]]),
        pd.Series([str(wav)], index=[7]),
        pd.DataFrame({"file": [wav]}, index=[7]),
        pd.DataFrame({"path": [wav]}),
    ):
        np.testing.assert_array_equal(read_only(X), expected)
        assert MelFilterBank().fit_transform(X)[0].shape == (98, 80)


def test_segments_are_slices_of_the_whole(wav):
    whole = read_only([wav])
    X = pd.DataFrame(
        {"file": wav, "start": [0.25, np.nan, 0.5, None], "end": [0.75, 0.1, np.nan, 1.3]},
        index=[3, 3, 9, -1],
    )
    segments = [read(recording, RATE) for recording in as_recordings(X)]
    slices = [whole[4000:12000], whole[:1600], whole[8000:], whole]
    for segment, expected in zip(segments, slices, strict=True):
        np.testing.assert_array_equal(segment, expected)


def test_segments_may_be_time_deltas_or_any_numbers(wav):
    seconds = pd.DataFrame({"file": [wav], "start": [0.25], "end": [0.75]})
    deltas = seconds.assign(
        start=pd.to_timedelta(seconds.start, unit="s"), end=pd.to_timedelta(seconds.end, unit="s")
    )
    np.testing.assert_array_equal(read_only(deltas), read_only(seconds))
    np.testing.assert_array_equal(
        read_only(seconds.astype({"start": object, "end": "float32"})), read_only(seconds)
    )


def test_arrays_in_memory():
    batch = np.stack([tone(), tone(880)])
    ragged = [tone(), tone(880)[:8000]]
    from_batch = MelFilterBank().fit_transform(batch)
    from_ragged = MelFilterBank().fit_transform(ragged)
    np.testing.assert_array_equal(from_batch[0], from_ragged[0])
    np.testing.assert_array_equal(from_batch[1][:48], from_ragged[1])
    objects = np.empty(2, dtype=object)
    objects[:] = ragged
    np.testing.assert_array_equal(MelFilterBank().fit_transform(objects).base, from_ragged.base)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
def test_a_batch_of_integers_is_scaled_like_its_rows(dtype):
    half = 2 ** (8 * np.dtype(dtype).itemsize - 1)
    batch = np.stack([tone(), tone(880)]) * half + (half if dtype == np.uint8 else 0)
    batch = batch.astype(dtype)
    one_by_one = MelFilterBank().fit_transform(list(batch))
    np.testing.assert_array_equal(MelFilterBank().fit_transform(batch).base, one_by_one.base)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (5, 2), (2, 5)])
def test_pairs_with_two_samples_or_rows_are_pairs(shape):
    samples = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    (recording,) = as_recordings([(RATE, samples)])
    assert recording.rate == RATE and np.shape(recording.source) == shape
    assert len(read(recording, RATE)) == shape[0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_many_pairs_and_object_arrays_of_pairs(n):
    pairs = [(8000, (tone(rate=8000) * 32767).astype(np.int16)[: 4000 + i]) for i in range(n)]
    frames = MelFilterBank().fit_transform(pairs)
    assert frames.lengths.tolist() == [48] * n
    table = np.empty((n, 2), dtype=object)
    for row, pair in enumerate(pairs):
        table[row] = pair
    np.testing.assert_array_equal(MelFilterBank().fit_transform(table).base, frames.base)


@pytest.mark.data
def test_originals_and_their_16_khz_copies(data_home):
    """48 kHz originals, some stereo, give the frames of the FLAC made from them elsewhere."""
    originals = sorted((data_home / "ravdess_48k").rglob("*.wav"))
    channels = {path: soundfile.info(path).channels for path in originals}
    chosen = [p for p in originals if channels[p] == 2][:2]
    chosen += [p for p in originals if channels[p] == 1][:2]
    assert {channels[path] for path in chosen} == {1, 2}
    copies = [data_home / "ravdess" / p.parent.name / f"{p.stem}.flac" for p in chosen]
    for ours, theirs in zip(*map(MelFilterBank().fit_transform, (chosen, copies)), strict=True):
        assert abs(len(ours) - len(theirs)) <= 1
        n = min(len(ours), len(theirs))
        loud = theirs[:n] > np.median(theirs)
        loud[:, -4:] = False  # the resamplers' filters differ next to the Nyquist frequency
        assert np.abs(ours[:n] - theirs[:n])[loud].mean() < 0.1
