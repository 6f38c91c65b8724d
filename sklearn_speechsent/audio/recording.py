"""Recordings as rows of X: their files or samples, segments and perturbations, unopened."""

from __future__ import annotations

import operator
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.audio.names import located, printable

#: Values outside of these ranges are more likely typing errors than perturbed speech.
PERTURBATION_RANGES = {
    "speed": (0.25, 4.0),
    "rt60": (0.05, 10.0),
    "snr_db": (-100.0, 100.0),
    "gain_db": (-100.0, 100.0),
    "band_limit": (100.0, 100_000.0),
    "silence_before": (0.0, 60.0),
    "silence_after": (0.0, 60.0),
}
PERTURBATION_CHOICES = {
    "noise": ("white", "pink", "babble"),
    "codec": ("telephone", "mp3", "ogg"),
}
#: Part of the keys of recordings with an effect: increased when one sounds different.
_EFFECTS_VERSION = 1


class RecordingError(ValueError):
    """A recording that cannot be used; the message names the row, the file and the remedy."""

    #: Row of X that is to blame; None where several are.
    row: int | None = None


class MissingRecordingError(RecordingError, FileNotFoundError):
    """A recording whose file does not exist."""


class SilentRecordingError(RecordingError):
    """A recording without any sound: not a bad file, but nothing can be said about it."""


@dataclass(frozen=True)
class Recording:
    """One row of X.

    A perturbed recording is made in this order, that of the way of a sound: speed; room; noise;
    gain and clipping of the recorder; band limit; codec; silence at the ends.

    Parameters
    ----------
    row : int
        Position in X.
    source : str, bytes or ndarray of shape (n_samples,) or (n_samples, n_channels)
        File, content of a file, or samples.
    rate : int or None
        Sample rate (Hz) of samples in memory; None if they are already at the wanted rate.
    start, stop : float or None
        Segment in seconds; None for the beginning and end of the file or the samples.
    channel : int or None
        Channel that is taken, the first one being 0; None mixes them down.
    speed : float
        Factor of speed, which changes the pitch too.
    rt60 : float or None
        Reverberation time (s) of a room in which the voice sounds, a made-up one; None for none.
    snr_db : float or None
        Noise is added this many dB below the recording's own power; None for none.
    noise : {"white", "pink", "babble"}
        Which noise: equal power in every Hz, in every octave, or other voices.
    babble : tuple of Recording
        The other voices; of each, half a minute is repeated as long as needed, all equally loud.
    seed : int
        Of the noise and the room.
    gain_db : float
        Gain in dB.
    clip : bool
        Whether samples beyond full scale are clipped after the gain.
    band_limit : float or None
        Frequency (Hz) above which nothing remains; None for all.
    codec : {"telephone", "mp3", "ogg"} or None
        Way that the recording took: a telephone line (8 kHz, mu-law), MP3 or Ogg Vorbis at 32
        kbit/s; None for none.
    silence_before, silence_after : float
        Digital silence (s) in front and behind.
    origin : int or None
        Row that messages name, of the X that this is a copy from; None for ``row``.
    """

    row: int
    source: str | bytes | NDArray[Any]
    rate: int | None = None
    start: float | None = None
    stop: float | None = None
    channel: int | None = None
    speed: float = 1.0
    gain_db: float = 0.0
    snr_db: float | None = None
    seed: int = 0
    origin: int | None = None
    noise: str = "white"
    babble: tuple[Recording, ...] = ()
    rt60: float | None = None
    clip: bool = False
    band_limit: float | None = None
    codec: str | None = None
    silence_before: float = 0.0
    silence_after: float = 0.0

    def __str__(self) -> str:
        row = self.row if self.origin is None else self.origin
        if isinstance(self.source, str):
            parts = [printable(self.source)]
        else:
            parts = ["bytes" if self.is_file else "samples in memory"]
        if self.channel is not None:
            parts.append(f"channel {self.channel}")
        if self.start is not None or self.stop is not None:
            stop = "end" if self.stop is None else f"{self.stop:g}"
            parts.append(f"{self.start or 0:g} to {stop} s")
        return f"row {row} ({', '.join(parts)})"

    @property
    def is_file(self) -> bool:
        """Whether this is a file or its content, rather than samples."""
        return isinstance(self.source, (str, bytes))

    def error(self, problem: str, kind: type[RecordingError] = RecordingError) -> RecordingError:
        """Make an error that names this recording.

        Parameters
        ----------
        problem : str
            What is wrong, and what to do.
        kind : type, default=RecordingError

        Returns
        -------
        RecordingError
        """
        error = kind(printable(f"{self}: {problem}"))
        error.row = self.row if self.origin is None else self.origin
        return error

    def identity(self) -> tuple[Any, ...]:
        """Values that tell this row from others, as long as the file does not change.

        Returns
        -------
        tuple
            Path, size and time of change, the content, or the samples and their rate; then
            :meth:`variant`.
        """
        voices = tuple(voice.identity() for voice in self.babble)
        if not isinstance(self.source, str):
            return (self.rate, self.source, *self.variant(), *voices)
        path = os.path.realpath(located(self.source))
        status = os.stat(path)
        return (path, status.st_size, status.st_mtime_ns, *self.variant(), *voices)

    def variant(self) -> tuple[Any, ...]:
        """Values of the segment, the channel and the perturbation, without the voices of babble.

        Returns
        -------
        tuple
            Of plain floats: 1, 1.0 and NumPy's numbers have different representations.
        """
        noise = None if self.snr_db is None else (float(self.snr_db), int(self.seed))
        perturbed: tuple[Any, ...] = (float(self.speed), float(self.gain_db), noise)
        if perturbed == (1.0, 0.0, None):
            perturbed = ()
        start = None if self.start is None else float(self.start)
        stop = None if self.stop is None else float(self.stop)
        return (start, stop, *self._channel(), *perturbed, *self._effects())

    def _effects(self) -> tuple[Any, ...]:
        """Values of what is younger than the first perturbations, whose keys stay as they are."""
        room = None if self.rt60 is None else (float(self.rt60), int(self.seed))
        effects = {
            "noise": None if self.noise == "white" else str(self.noise),
            "rt60": room,
            "clip": bool(self.clip),
            "band_limit": None if self.band_limit is None else float(self.band_limit),
            "codec": None if self.codec is None else str(self.codec),
            "silence_before": float(self.silence_before),
            "silence_after": float(self.silence_after),
        }
        given = tuple((name, value) for name, value in effects.items() if value)
        return (("effects", _EFFECTS_VERSION), *given) if given else ()

    def _channel(self) -> tuple[str, ...]:
        """Channel in keys and seeds; those of mixed recordings are older than channels."""
        return () if self.channel is None else (f"channel {int(self.channel)}",)

    def perturbed(self, *, seed: int = 0, **settings: Any) -> Recording:
        """Copy with a perturbation on top of its own.

        Parameters
        ----------
        seed : int
            Varies the noise and the room. They also differ between files (by their names),
            segments, channels and arrays of samples, and are the same in every row and on every
            machine.
        **settings
            Perturbations as in the parameters of this class. Speeds are multiplied, gains and
            silences add up; of ``snr_db``, ``band_limit`` and ``rt60`` the one that takes more
            away counts; others replace its own.

        Returns
        -------
        Recording
        """
        combined = dict(settings)
        for name, combine in _COMBINED.items():
            own, new = getattr(self, name), settings.get(name)
            if new is None:
                combined.pop(name, None)
            elif own is not None:
                combined[name] = combine(own, new)
        if combined.get("snr_db") == settings.get("snr_db") is not None:
            combined = {"noise": "white", "babble": (), **combined}
        else:  # there is no new noise, or its own is louder
            combined = {k: v for k, v in combined.items() if k not in ("noise", "babble")}
        copy = replace(self, **combined)
        if settings.get("snr_db") is None and settings.get("rt60") is None:
            return copy
        return replace(copy, seed=self.own_seed(seed))

    def unperturbed(self) -> Recording:
        """Copy without any perturbation.

        Returns
        -------
        Recording
        """
        place = (self.row, self.source, self.rate, self.start, self.stop, self.channel)
        return Recording(*place, origin=self.origin)

    def own_seed(self, seed: int) -> int:
        """Seed that differs between recordings, see :meth:`name`.

        Parameters
        ----------
        seed : int

        Returns
        -------
        int
        """
        return (zlib.crc32(self.name()) + seed) % 2**31

    def name(self) -> bytes:
        """Bytes that tell recordings apart on every machine.

        Returns
        -------
        bytes
            Name of the file without its folders, segment and channel; or the content.
        """
        if isinstance(self.source, str):
            place = (os.path.basename(self.source), self.start, self.stop, *self._channel())
            return repr(place).encode()
        given = self.source
        name = given if isinstance(given, bytes) else np.ascontiguousarray(given).tobytes()
        return name + "".join(self._channel()).encode()


#: How a perturbation goes on top of another.
_COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "speed": operator.mul,
    "gain_db": operator.add,
    "snr_db": min,
    "rt60": max,
    "clip": operator.or_,
    "band_limit": min,
    "silence_before": operator.add,
    "silence_after": operator.add,
}
