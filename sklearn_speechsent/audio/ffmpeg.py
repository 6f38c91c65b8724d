"""Decoding by FFmpeg, through PyAV: m4a, mp4, webm and what else libsndfile does not know."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.audio.extent import Extent
from sklearn_speechsent.audio.recording import Recording, RecordingError

#: Seconds that are decoded and dropped after a seek: decoders need some frames to begin.
_WARM_UP = 0.5
#: Seconds by which the end of a track exceeds its sound in Matroska: delays of codecs, rounding.
_MATROSKA_DELAY = 0.02


class _Stream:
    """Binary file as FFmpeg has to see it, which asks for whatever damaged headers say.

    It has no name and no ``close``: PyAV would close it with the first container.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.read, self.tell = stream.read, stream.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._stream.seek(offset, whence)
        except (OSError, ValueError):  # no such place: a negative one is an error to FFmpeg
            return -errno.EINVAL


class FFmpegFile:
    """An open file of samples, of a format that only FFmpeg reads.

    Parameters
    ----------
    recording : Recording
    stream : binary file
        Closed with this one.

    Attributes
    ----------
    extent : Extent
        What the header tells.

    Raises
    ------
    ImportError
        If PyAV is not installed.
    av.FFmpegError, OSError, ValueError, MemoryError
        If FFmpeg does not know it either, or cannot decode it.
    RecordingError
        If it has no sound.
    """

    def __init__(self, recording: Recording, stream: BinaryIO) -> None:
        self._recording = recording
        self._stream = stream
        with self._container() as container:
            if not container.streams.audio:
                raise recording.error("it has pictures and no sound. Leave it out.")
            # Headers of AAC may tell half of the rate.
            frame = next(container.decode(audio=0), None)
            if frame is None:
                raise recording.error("it has no samples.")
            self._origin = frame.pts
            promised = _promised(container, frame.sample_rate)
            self.extent = Extent(frame.sample_rate, frame.layout.nb_channels, None, promised)

    def __enter__(self) -> FFmpegFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Samples from ``first`` up to ``last``, or to the end.

        Parameters
        ----------
        first : int
        last : int or None

        Yields
        ------
        ndarray of shape (n_samples, n_channels), float32
            One frame of the codec.

        Raises
        ------
        RecordingError
            After the last block, if there are fewer samples than promised.
        """
        import av

        at, extent = 0, self.extent
        try:
            with self._container() as container:
                resampler = av.AudioResampler(format="fltp", rate=extent.rate)
                for position, frame in self._from(container, first):
                    at = position
                    for part in resampler.resample(frame):
                        block = part.to_ndarray().T
                        yield_from, end = max(0, first - at), None if last is None else last - at
                        if len(block) > yield_from and (end is None or end > yield_from):
                            yield np.ascontiguousarray(block[yield_from:end])
                        at += len(block)
                    if last is not None and at >= last:
                        break
        except (av.FFmpegError, OSError, ValueError, MemoryError) as exception:
            extent.check(self._recording, at, last, exception)
        # Encoders fill up the last frame: more than promised is nothing.
        found = at if extent.promised is None else min(at, extent.promised)
        extent.check_decoded(self._recording, found, last)

    def _container(self) -> Any:
        import av

        self._stream.seek(0)
        # A list of other files or addresses is not opened: it would have to be fetched.
        return av.open(_Stream(self._stream), options={"protocol_whitelist": "none"})

    def _from(self, container: Any, first: int) -> Iterator[tuple[int, Any]]:
        """Frames from ``first`` or before it, each with the place of its first sample."""
        stream = container.streams.audio[0]
        at = 0
        seconds = first / self.extent.rate - _WARM_UP
        if "mp4" in container.format.name and seconds > 0:  # others do not count in samples
            container.seek(int(seconds / stream.time_base), stream=stream)
            frame: Any = next(container.decode(stream), None)
            place = Fraction(-1)
            if frame is not None:
                place = (frame.pts - self._origin) * stream.time_base * self.extent.rate
            if place.denominator == 1 and 0 <= place <= first:
                yield int(place), frame
                at = int(place) + frame.samples
            else:
                container.seek(0)
        for frame in container.decode(stream):
            yield at, frame
            at += frame.samples


def open_ffmpeg(recording: Recording, stream: BinaryIO) -> FFmpegFile | RecordingError | None:
    """Open what libsndfile does not know.

    Parameters
    ----------
    recording : Recording
    stream : binary file

    Returns
    -------
    FFmpegFile, RecordingError or None
        The error if FFmpeg knows the format and cannot use the file; None if it does not know it,
        or PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        return None
    try:
        return FFmpegFile(recording, stream)
    except RecordingError as exception:
        return exception
    except (av.FFmpegError, OSError, ValueError, MemoryError):  # damaged sizes ask for gigabytes
        return None


def _promised(container: Any, rate: int) -> int | None:
    """Samples that the header promises; other formats only estimate."""
    stream = container.streams.audio[0]
    if "mp4" in container.format.name and stream.duration:
        return round(stream.duration * stream.time_base * rate) or None
    if "matroska" in container.format.name:
        seconds = 0.0
        if stream.metadata.get("DURATION"):
            hours, minutes, rest = stream.metadata["DURATION"].split(":")
            seconds = 3600 * int(hours) + 60 * int(minutes) + float(rest)
        elif container.duration and len(container.streams) == 1:
            seconds = container.duration / 1e6
        return max(0, round((seconds - _MATROSKA_DELAY) * rate)) or None
    return None
