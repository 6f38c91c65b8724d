"""Extent of a file: samples that are there and that are promised, and segments of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sklearn_speechsent.audio.recording import Recording

#: Rates (Hz) of recordings; others come from damaged headers, and resampling them takes for ever.
RATES = (1000, 1_000_000)
#: Seconds that may be missing at the end of a file.
MISSING = 0.01
#: Seconds that a segment may end after its recording (rounded times), not more.
END_TOLERANCE = 0.5


@dataclass(frozen=True)
class Extent:
    """Samples of a file.

    Parameters
    ----------
    rate : int
        In Hz.
    channels : int
    there : int or None
        Samples per channel that can be decoded; None where only decoding tells.
    promised : int or None
        Samples per channel that the header promises; None where it leaves them open.
    flaw : str
        What makes the whole unusable, although parts can be read.
    """

    rate: int
    channels: int
    there: int | None
    promised: int | None
    flaw: str = ""

    @property
    def length(self) -> int | None:
        """Samples per channel as the header says; None if only decoding tells."""
        return self.there if self.promised is None else self.promised

    def span(self, recording: Recording) -> tuple[int, int | None]:
        """First and last sample of a segment of the file, which has the channel asked for.

        Parameters
        ----------
        recording : Recording

        Returns
        -------
        first : int
        last : int or None
            None is the end of the file.

        Raises
        ------
        RecordingError
            If the segment is not inside of the file, there is no such channel, the rate is not that
            of a recording, or the header tells that samples are missing.
        """
        given = recording.is_file or recording.rate is not None
        if given and not RATES[0] <= self.rate <= RATES[1]:
            raise recording.error(
                f"its rate is {self.rate} Hz, and recordings have {RATES[0]} to {RATES[1]} Hz. "
                "Is the header damaged, or the rate not in Hz? Correct it, or leave it out."
            )
        if recording.channel is not None and recording.channel >= self.channels:
            has = "channels 0" if self.channels > 1 else "channel 0 only"
            has += f" to {self.channels - 1}" if self.channels > 1 else ""
            raise recording.error(f"it has {has}. Correct the column 'channel', or leave it empty.")
        start, stop, rate = recording.start or 0.0, recording.stop, self.rate
        if start < 0:
            raise recording.error("the segment starts before 0 s. Clip start at 0.")
        if stop is not None and start >= stop:
            raise recording.error("the segment's start is not before its end. Check the columns.")
        if self.length is not None:
            end = self.length / rate
            after = f"after the recording's end at {end:.3f} s."
            if recording.start is not None and start >= max(end, 1e-9):
                raise recording.error(f"the segment starts {after}")
            if stop is not None and stop > end + END_TOLERANCE:
                raise recording.error(f"the segment ends {after}")
        first, last = round(start * rate), None
        if stop is not None:
            last = round(stop * rate)
            last = last if self.length is None else min(last, self.length)
        if self.there is not None:
            self.check(recording, self.there, last)
        return first, last

    def check(
        self, recording: Recording, found: int, last: int | None, why: Exception | None = None
    ) -> None:
        """Compare what was found with what is promised.

        Parameters
        ----------
        recording : Recording
        found : int
            Samples from the beginning of the file that are there.
        last : int or None
            Where the segment ends.
        why : Exception, optional
            Of a decoder that stopped.

        Raises
        ------
        RecordingError
            If more than 10 ms up to ``last`` are missing, or a whole file is flawed.
        """
        seconds = f"{found / self.rate:.3f}"
        repair = "pass the part that you want as a segment, with start and end."
        if self.is_short(found, last) or (why is not None and self.promised is None):
            of = "" if self.promised is None else f" of {self.promised}"
            lasts = "" if self.promised is None else f" of {self.promised / self.rate:.3f}"
            raise recording.error(
                f"it ends after {found}{of} samples ({seconds}{lasts} s): the file is cut off or "
                f"damaged. Get the whole file, or {repair}" + (f" [{why}]" if why else "")
            ) from why
        if last is None and self.flaw:
            raise recording.error(
                f"{self.flaw}, after {found} samples ({seconds} s). Repair or split it, or {repair}"
            )

    def is_short(self, found: int, last: int | None) -> bool:
        """Whether more than 10 ms of the promised samples up to ``last`` are missing."""
        if self.promised is None:
            return False
        wanted = self.promised if last is None else min(last, self.promised)
        return found < wanted - MISSING * self.rate

    def check_decoded(self, recording: Recording, found: int, last: int | None) -> None:
        """Compare the samples up to the end of decoding with what is promised.

        Parameters
        ----------
        recording : Recording
        found : int
            Samples from the beginning of the file up to the last one that was decoded.
        last : int or None
            Where the segment ends.

        Raises
        ------
        RecordingError
            As :meth:`check` does; also if there are more samples than promised, or the segment ends
            after them.
        """
        extent = self
        if last is None and self.promised is not None:
            more = found - self.promised
            if more > MISSING * self.rate and not self.flaw:
                extent = replace(self, flaw=more_than(self.promised, more))
        extent.check(recording, found, last)
        if last is not None and found < last - END_TOLERANCE * self.rate:
            end = found / self.rate
            raise recording.error(f"the segment ends after the recording's end at {end:.3f} s.")


def more_than(promised: int, more: int) -> str:
    """Flaw of a file with more samples than its header promises."""
    return f"its header promises {promised} samples, and {more} more lie behind them"
