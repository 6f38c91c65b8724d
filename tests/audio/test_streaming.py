"""Recordings in blocks: what comes out does not depend on the blocks."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.audio import Recording, RecordingError, as_recordings, io, read, read_blocks
from sklearn_speechsent.features import _kaldi

RATE = 16000


def noise(n, channels=1, seed=0):
    samples = np.random.default_rng(seed).normal(0, 0.1, (n, channels)).astype(np.float32)
    return samples[:, 0] if channels == 1 else samples


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(150000, channels=2), 44100)
    return str(path)


@pytest.mark.parametrize("block", [257, 5000, 50000])
@pytest.mark.parametrize(
    "how",
    [{}, {"start": 0.5, "stop": 2.5}, {"speed": 1.1, "gain_db": 3.0}, {"start": 1.0}],
    ids=str,
)
@pytest.mark.parametrize("source", ["file", "memory"])
def test_blocks_make_the_whole(path, monkeypatch, block, how, source):
    if source == "file":
        recording = Recording(0, path, **how)
    else:
        how = {name: value for name, value in how.items() if name not in ("start", "stop")}
        recording = Recording(0, noise(150000, channels=2), rate=44100, **how)
    whole = read(recording, RATE)
    monkeypatch.setattr(io, "BLOCK", block)
    blocks = list(read_blocks(recording, RATE))
    assert all(len(b) == block for b in blocks[:-1]) and 0 < len(blocks[-1]) <= block
    assert all(b.dtype == np.float32 and b.ndim == 1 for b in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    np.testing.assert_array_equal(read(recording, RATE), whole)


def test_noise_is_drawn_as_if_there_were_no_blocks(path, monkeypatch):
    clean = read(Recording(0, path), RATE)
    recording = Recording(0, path, snr_db=10.0, seed=7)
    drawn = np.random.default_rng(7).standard_normal(len(clean), dtype=np.float32)
    amplitude = np.float32(np.sqrt(np.dot(clean, clean) / len(clean) * 10.0 ** (-1)))
    np.testing.assert_array_equal(read(recording, RATE), drawn * amplitude + clean)
    monkeypatch.setattr(io, "BLOCK", 4001)  # the power of the whole is summed in another order
    np.testing.assert_allclose(read(recording, RATE), drawn * amplitude + clean, atol=1e-6)


@pytest.mark.parametrize("block", [1000, 16001, 82000])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"dtype": "float64", "n_mels": 23},
        {"frame_length": 0.01, "frame_shift": 0.025},  # samples between frames belong to none
        {"frame_length": 0.05, "frame_shift": 0.05, "window": "povey"},
    ],
    ids=str,
)
def test_frames_do_not_depend_on_blocks(path, monkeypatch, block, params):
    bank = MelFilterBank(**params)
    X = [path, noise((_kaldi._BLOCK + 100) * 160), noise(399 + 160 * _kaldi._BLOCK)]
    whole = bank.fit_transform(X)
    monkeypatch.setattr(io, "BLOCK", block)
    blocks = bank.fit_transform(X)
    assert blocks.lengths.tolist() == whole.lengths.tolist()
    np.testing.assert_array_equal(blocks.base, whole.base)


@pytest.mark.parametrize("n", [400, 559, 560, 400 + 1023 * 160, 400 + 1024 * 160, 2000 * 160])
def test_the_number_of_frames_at_the_edges_of_blocks(monkeypatch, n):
    monkeypatch.setattr(io, "BLOCK", 160)
    assert MelFilterBank().fit_transform([noise(n)]).lengths.tolist() == [1 + (n - 400) // 160]


def test_faults_are_found_in_later_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "BLOCK", 1000)
    samples = noise(5000)
    samples[4321] = np.nan
    with pytest.raises(RecordingError, match="sample 4321 is nan"):
        read(Recording(0, samples), RATE)
    with pytest.raises(RecordingError, match="silent from beginning to end"):
        read(Recording(0, np.zeros(5000)), RATE)
    assert len(read(Recording(0, np.r_[np.zeros(4000), noise(10)]), RATE)) == 4010


@pytest.mark.parametrize("subtype", ["PCM_16", "FLAC", "OGG", "MP3"])
def test_a_segment_of_a_long_file_is_read_from_its_place(tmp_path, monkeypatch, subtype):
    n = 120 * RATE
    path = tmp_path / "long"
    format = "WAV" if subtype == "PCM_16" else subtype
    soundfile.write(path, noise(n), RATE, format=format)
    whole = read(Recording(0, str(path)), RATE)
    decoded = []
    file_read = io._Sequential.read

    def counting(self, frames, **options):
        block = file_read(self, frames, **options)
        decoded.append(len(block))
        return block

    monkeypatch.setattr(io._Sequential, "read", counting)
    part = read(Recording(0, str(path), start=100.0, stop=101.5), RATE)
    assert sum(decoded) < 3 * RATE
    np.testing.assert_allclose(part, whole[100 * RATE : 101 * RATE + 8000], atol=1e-6)


@pytest.mark.data
def test_segments_of_real_speech_in_mp3(data_home, tmp_path):
    paths = sorted((data_home / "librispeech_excerpts" / "test-other").rglob("*.flac"))[:8]
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in paths])
    path = str(tmp_path / "speech.mp3")
    soundfile.write(path, speech, RATE)
    whole = read(Recording(0, path), RATE)
    for start in np.arange(0.5, len(speech) / RATE - 2, 5.3):
        (part,) = as_recordings(pd.DataFrame({"file": [path], "start": start, "end": start + 1}))
        first = round(start * RATE)
        np.testing.assert_allclose(read(part, RATE), whole[first : first + RATE], atol=1e-6)


def test_memory_does_not_grow_with_the_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "BLOCK", 2**14)
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 32000, 2, "PCM_16") as file:
        for seed in range(60):
            file.write(noise(3 * 32000, channels=2, seed=seed))
    (recording,) = as_recordings([path])
    next(read_blocks(recording, RATE))  # imports and tables
    tracemalloc.start()
    n = sum(map(len, read_blocks(recording, RATE)))
    peak = tracemalloc.get_traced_memory()[1]
    log_mel = _kaldi.LogMel(**MelFilterBank()._arguments())
    (frames,) = log_mel.each([read_blocks(recording, RATE)])
    with_frames = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 180 * RATE
    assert peak < 2**20 < n
    buffers = 4 * _kaldi._BLOCK * (512 + 2 * 160)  # padded frames, and the samples twice
    assert with_frames < 1.3 * frames.nbytes + buffers + 2**20
