"""Recordings in every format that can be written: the origin of the mutants."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sklearn_speechsent.datasets import get_data_home, make_speech_sentiment

try:
    import av
except ImportError:
    av = None

#: Samples of shape (n_samples,) or (n_samples, 2), and their rate in Hz.
Voice = tuple[NDArray[np.float32], int]

#: Formats that recorders write are drawn this often, the others once.
_OFTEN = dict.fromkeys(("WAV", "WAVEX", "RF64", "AIFF", "CAF", "FLAC", "OGG", "MP3"), 3)
#: Muxer and codec of formats that FFmpeg writes.
_FFMPEG = {
    "m4a": ("ipod", "aac"),
    "mp4": ("mp4", "aac"),
    "webm": ("webm", "libopus"),
    "mka": ("matroska", "libopus"),
}
#: Bytes by which a format is recognised; of those that are not listed the first four.
_MAGIC = {
    **dict.fromkeys(("WAV", "WAVEX", "RF64", "AIFF", "SVX"), (slice(0, 4), slice(8, 12))),
    **dict.fromkeys(("m4a", "mp4"), (slice(4, 8),)),
    "W64": (slice(0, 16), slice(24, 40)),
}
_SECONDS = 0.5


@dataclass(frozen=True)
class Source:
    """A recording in a format.

    Parameters
    ----------
    format : str
        As libsndfile names it, or the suffix of FFmpeg's.
    subtype : str
        How samples are coded.
    content : bytes
    """

    format: str
    subtype: str
    content: bytes

    @property
    def suffix(self) -> str:
        """Suffix of its file."""
        return f".{self.format.lower()}"

    @property
    def magic(self) -> tuple[slice, ...]:
        """Where the bytes are by which the format is recognised."""
        return _MAGIC.get(self.format, (slice(0, 4),))


def load_voices(folder: Path) -> list[Voice]:
    """Half a second of a few recordings: mono and stereo, at 8 to 48 kHz.

    Parameters
    ----------
    folder : Path
        Where a synthetic corpus is written if there is no data home.

    Returns
    -------
    list of (samples, rate)
    """
    home = get_data_home()
    globs = ("ravdess/Actor_01/*.flac", "librispeech_excerpts/test-other/*/*.flac")
    files = [next(iter(sorted(home.glob(pattern))), None) for pattern in globs]
    stereo = (p for p in sorted(home.glob("ravdess_48k/*/*.wav")) if soundfile.info(p).channels > 1)
    files = [file for file in [*files, next(stereo, None)] if file is not None]
    if not files:
        corpus = make_speech_sentiment(2, 2, levels=(-1, 1), out_dir=folder, random_state=0)
        files = [Path(file) for file in corpus.data]
    voices: list[Voice] = []
    for file in files:
        info = soundfile.info(file)
        n = int(_SECONDS * info.samplerate)
        first = max(0, (info.frames - n) // 2)
        voices.append((soundfile.read(file, n, first, dtype="float32")[0], info.samplerate))
    samples, rate = voices[0]
    stereo_samples = np.column_stack([samples, np.roll(samples, len(samples) // 3)])
    return [*voices, (stereo_samples, rate), (samples[::2], rate // 2)]


def format_names() -> list[str]:
    """Names of the formats, those of recorders several times.

    Returns
    -------
    list of str
    """
    # Headerless, and with a second file for the header.
    names = sorted(set(soundfile.available_formats()) - {"RAW", "SD2"})
    names = [name for name in names for _ in range(_OFTEN.get(name, 1))]
    return names + (sorted(_FFMPEG) * 3 if av is not None else [])


def draw_source(format: str, voices: list[Voice], rng: np.random.Generator) -> Source:
    """Encode one of the recordings in one of the codings of a format.

    Parameters
    ----------
    format : str
        See :func:`format_names`.
    voices : list of (samples, rate)
    rng : Generator

    Returns
    -------
    Source
    """
    order = [voices[k] for k in rng.permutation(len(voices))]
    if format in _FFMPEG:
        return Source(format, _FFMPEG[format][1], _encode_with_ffmpeg(format, *order[0]))
    subtypes = rng.permutation(sorted(soundfile.available_subtypes(format)))
    endians = ["BIG", "FILE"] if rng.random() < 0.3 else ["FILE"]
    for subtype, voice, endian in itertools.product(subtypes, order, endians):
        file = io.BytesIO()
        try:
            soundfile.write(file, *voice, str(subtype), endian, format)
        except (soundfile.SoundFileError, ValueError):
            continue  # one channel only, another rate only, or never in this order of bytes
        return Source(format, str(subtype), file.getvalue())
    raise RuntimeError(f"libsndfile cannot write {format}.")


def _encode_with_ffmpeg(format: str, samples: NDArray[Any], rate: int) -> bytes:
    muxer, codec = _FFMPEG[format]
    layout = "mono" if samples.ndim == 1 else "stereo"
    packed = (samples * 32767).astype("<i2").reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
    frame.sample_rate = rate
    content = io.BytesIO()
    with av.open(content, "w", format=muxer) as file:
        stream = file.add_stream(codec, rate=48000 if codec == "libopus" else rate, layout=layout)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return content.getvalue()
