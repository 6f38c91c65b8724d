"""Opening and decoding of audio, the only place that does.

A file is decoded in blocks of bounded size, whatever its header promises.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO, FileIO
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sklearn_speechsent.audio import flac
from sklearn_speechsent.audio.extent import MISSING, Extent, more_than
from sklearn_speechsent.audio.ffmpeg import FFmpegFile, open_ffmpeg
from sklearn_speechsent.audio.headers import Corrected, Promise, promise
from sklearn_speechsent.audio.names import located
from sklearn_speechsent.audio.recording import (
    MissingRecordingError,
    Recording,
    RecordingError,
)

#: Values of all channels that are decoded at a time.
BLOCK = 2**20
#: Containers that libsndfile cannot open and FFmpeg can.
_NEEDS_FFMPEG = {".m4a", ".aac", ".mp4", ".wma", ".webm", ".mkv", ".mov", ".avi", ".amr", ".3gp"}
_MATROSKA = b"\x1a\x45\xdf\xa3"
#: Bytes of one sample, for the formats in which it is constant.
_WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
_WIDTHS |= {"FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
#: Number of samples that libsndfile gives if it does not know it.
_OPEN = 2**63 - 1
#: Flaw of a file with more behind its samples.
_ANOTHER = "another file begins behind it"
#: Samples that are decoded and dropped after a seek, where frames depend on those before them.
_WARM_UP = {"MP3": 16 * 1152}


class _Sequential(soundfile.SoundFile):
    """Sound file that is read forwards.

    soundfile seeks after every read of a file that can seek, and some codecs cannot do that well.
    """

    def seekable(self) -> bool:
        return False


def open_audio(recording: Recording) -> AudioFile | FFmpegFile:
    """Open a recording of a file, or of the content of one.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    AudioFile or FFmpegFile
        To be closed; has an ``extent`` and gives ``blocks``.

    Raises
    ------
    RecordingError
        If it cannot be opened as audio.
    """
    stream, header = _open(recording), Promise()
    try:
        header = promise(stream)
        return AudioFile(recording, stream, header)
    except (soundfile.SoundFileError, TypeError, OSError) as exception:
        # soundfile asks for more arguments (TypeError) where a suffix means: no header.
        error = _not_audio(recording, stream, exception, header)
        if not header.flaw and (header.size or 0) <= (header.present or 0):
            file = open_ffmpeg(recording, stream)
            if isinstance(file, FFmpegFile):
                return file
            error = file or error
        stream.close()
        raise error from exception


class AudioFile:
    """An open file of samples.

    Parameters
    ----------
    recording : Recording
    stream : binary file
        Closed with this one.
    header : Promise

    Attributes
    ----------
    extent : Extent
        What the header tells.
    """

    def __init__(self, recording: Recording, stream: BinaryIO, header: Promise) -> None:
        self._recording = recording
        self._stream = stream
        self._start = header.start
        stream.seek(0)
        if header.samples is not None and (recording.start or recording.stop is not None):
            # A decoder that does not know the number of samples cannot seek well.
            header = replace(header, fixes={})
        self._corrected = header.corrects
        file: Any = Corrected(stream, header) if header.corrects else stream
        if isinstance(file, FileIO):  # libsndfile reads it itself, faster than through Python
            file = file.fileno()
        self._file = _Sequential(file, closefd=False)
        self.extent = self._measure(header)

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()

    def _measure(self, header: Promise) -> Extent:
        """Samples that are there and that are promised."""
        file, flaw = self._file, header.flaw
        there: int | None = file.frames if file.frames < _OPEN else None
        promised = there
        if file.format == "FLAC":  # a decoder repeats the promise
            there, promised = None, header.samples
        elif there is None:
            pass
        elif header.size is not None and header.present is not None:
            if width := file.channels * _WIDTHS.get(file.subtype, 0):
                promised = header.size // width
                more = header.present // width - promised
            else:  # blocks of compressed samples
                each = file.frames / max(1, min(header.size, header.present))
                more = round((header.present - header.size) * each)
                promised = max(file.frames, file.frames - more)
            if more > MISSING * file.samplerate:
                flaw = flaw or more_than(promised, more)
        elif not header.exact:
            promised = None
        elif header == Promise():  # of formats that are rare, libsndfile's log tells more
            told = re.search(r"^\s*Frames\s*: (\d+)", file.extra_info, re.MULTILINE)
            promised = max(file.frames, int(told[1])) if told else file.frames
            if re.search("trunc|should be", file.extra_info):
                flaw = "its header promises more than there is: the file is cut off"
        return Extent(file.samplerate, file.channels, there, promised, flaw)

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Samples from ``first`` up to ``last``, or to the end.

        Parameters
        ----------
        first : int
        last : int or None

        Yields
        ------
        ndarray of shape (n_samples, n_channels), float32
            At most :data:`BLOCK` values.

        Raises
        ------
        RecordingError
            After the last block, if there are fewer samples than promised, or others behind them.
        """
        at, ended, extent = self._seek(first), False, self.extent
        while not ended and (last is None or at < last):
            n = self._next(at, last)
            # Decoders that fail have filled what comes before.
            block = np.full((n, extent.channels), np.nan, dtype=np.float32)
            try:
                block = self._file.read(n, dtype="float32", always_2d=True, out=block)
                ended = len(block) < n
            except soundfile.SoundFileError as exception:
                block = block[: np.isfinite(block[:, 0]).sum()]
                extent.check(self._recording, at + len(block), last, exception)
                ended = True  # at a tag, or the like
                if self._file.format == "FLAC" and flac.has_second_file(self._stream, self._start):
                    extent = replace(extent, flaw=_ANOTHER)
            if len(block) and at + len(block) > first:
                yield block[max(0, first - at) :]
            at += len(block)
        if last is None and self._file.format == "FLAC" and not self._corrected:
            if flac.goes_on(self._stream):
                extent = replace(extent, flaw=_ANOTHER)
        extent.check_decoded(self._recording, at, last)

    def _next(self, at: int, last: int | None) -> int:
        """Number of samples to decode next; one more than are left shows the end."""
        most = max(1, BLOCK // self.extent.channels)
        if last is not None:
            return min(most, last - at)
        if self.extent.length is None:
            return most
        return min(most, max(1024, self.extent.length + 1 - at))

    def _seek(self, first: int) -> int:
        """Go to ``first`` or before it; gives where that is."""
        at = max(0, first - _WARM_UP.get(self._file.format, 0))
        if at:
            try:
                self._file.seek(at)
            except soundfile.SoundFileError:  # the codec cannot: decode from the beginning
                return 0
        return at


def _open(recording: Recording) -> BinaryIO:
    """Open the file of a recording."""
    if isinstance(recording.source, bytes):
        return BytesIO(recording.source)
    path = located(str(recording.source))
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        mode = stat.S_IFREG  # opening it says what is wrong
    if stat.S_ISDIR(mode):
        raise recording.error("it is a directory. Pass the files in it.")
    if not stat.S_ISREG(mode):
        raise recording.error("it is not a file. Pass its content, or a file.")
    try:
        file = open(path, "rb", buffering=0)
    except FileNotFoundError as exception:
        raise recording.error("there is no such file.", MissingRecordingError) from exception
    except PermissionError as exception:
        raise recording.error(
            "reading it is not permitted. Change the permissions of the file or of its folders."
        ) from exception
    except (OSError, ValueError) as exception:  # a name that no file can have
        why = exception.strerror if isinstance(exception, OSError) else exception
        raise recording.error(f"it cannot be opened: {why}. Correct its name.") from exception
    return file


def _not_audio(
    recording: Recording, stream: BinaryIO, exception: Exception, header: Promise
) -> RecordingError:
    """Error that says why libsndfile refuses a file."""
    stream.seek(0)
    head = stream.read(12)
    if not head:
        return recording.error("the file is empty (0 bytes).")
    name = os.path.basename(recording.source) if isinstance(recording.source, str) else "recording"
    stem, suffix = os.path.splitext(name)
    if header.flaw:
        remedy = f"{header.flaw}. Get the whole file."
    elif (header.size or 0) > (header.present or 0):
        remedy = f"it holds {header.present} of {header.size} bytes. Get the whole file."
    elif suffix.lower() in _NEEDS_FFMPEG or head[4:8] == b"ftyp" or head[:4] == _MATROSKA:
        remedy = f"convert it first: ffmpeg -i {stem}{suffix} {stem}.wav"
        if find_spec("av") is None:
            remedy += ", or have it read: pip install sklearn-speechsent[av]"
        else:
            remedy = f"is it cut off or damaged? Get the whole file, or {remedy}"
    else:
        remedy = "wav, flac, ogg and mp3 files can be read; is it damaged or mislabelled?"
    why = getattr(exception, "error_string", exception)
    return recording.error(f"cannot open as audio: {remedy} [{why}]")
