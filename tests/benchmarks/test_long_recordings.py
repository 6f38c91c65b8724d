"""Files of the benchmark of long recordings."""

import numpy as np
import pytest
import soundfile

from benchmarks.scale import long_recordings


@pytest.mark.parametrize(
    ("kind", "rate", "n_channels"), [("16 kHz mono", 16000, 1), ("48 kHz stereo", 48000, 2)]
)
@pytest.mark.parametrize("n_parts", [1, 2])
def test_an_hour_of_sound(kind, rate, n_channels, n_parts, tmp_path, rng, monkeypatch):
    short = tmp_path / "short.wav"
    soundfile.write(short, np.sin(np.arange(16000) / 20) / 4, 16000)
    monkeypatch.setattr(long_recordings, "HOUR", 4)
    monkeypatch.setattr(long_recordings, "librispeech", lambda: [short, short, short])
    files = long_recordings.write_hour(tmp_path, kind, n_parts)
    whole = []
    for file in files:
        info = soundfile.info(file)
        assert (info.samplerate, info.channels) == (rate, n_channels)
        assert info.duration == pytest.approx(4 / n_parts, abs=1e-3)
        whole.append(soundfile.read(file, always_2d=True)[0][:: rate // 16000, 0])
    expected = np.tile(soundfile.read(short)[0], 4)
    inner = slice(2000, 14000)  # of the first second: filters ring at cuts
    np.testing.assert_allclose(np.concatenate(whole)[inner], expected[inner], atol=2e-3)
