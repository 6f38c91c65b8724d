"""What must hold for a mutated recording between two good ones."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from experiments.fuzz.mutant import Failed, Mutant, check_names_row, guarded, kind_of
from experiments.fuzz.mutations import has_magic, mutate
from experiments.fuzz.sources import Source, Voice, draw_source, format_names
from sklearn_speechsent import MelFilterBank, UtteranceFrames
from sklearn_speechsent.audio import RecordingError, check_recordings

#: Names that say another format than the content.
_OTHER_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".raw", ".txt", "")


@dataclass
class RecordingChecks:
    """Checks of mutated recordings, by number.

    Parameters
    ----------
    seed : int
    folder : Path
        Where mutants are written.
    voices : list of (samples, rate)
        See :func:`~experiments.fuzz.sources.load_voices`.
    """

    seed: int
    folder: Path
    voices: list[Voice]
    formats: list[str] = field(default_factory=format_names)

    def __post_init__(self) -> None:
        self.good = []
        for k, (samples, rate) in enumerate(self.voices[:2]):
            path = self.folder / f"good{k}.wav"
            soundfile.write(path, samples, rate)
            self.good.append(str(path))
        self.expected = [MelFilterBank().fit_transform([path])[0] for path in self.good]

    def make(self, number: int) -> Mutant:
        """Mutant of a number.

        Parameters
        ----------
        number : int

        Returns
        -------
        Mutant
        """
        rng = np.random.default_rng([self.seed, number])
        source = draw_source(self.formats[number % len(self.formats)], self.voices, rng)
        content, mutations = mutate(source, rng)
        suffix = source.suffix if rng.integers(8) else str(rng.choice(_OTHER_SUFFIXES))
        path = self.folder / f"mutant{suffix}"
        given, X = self._rows(path, content, rng)
        report = {
            "format": source.format,
            "subtype": source.subtype,
            "mutations": mutations,
            "magic": has_magic(content, source),
            "given": given,
        }

        def check() -> str:
            path.write_bytes(content)
            return self._outcome(X, None if given == "segment" else source)

        return Mutant(report, suffix, content, check)

    def _rows(self, path: Path, content: bytes, rng: np.random.Generator) -> tuple[str, Any]:
        """X with the mutant between two good files, in one of the forms that it may have."""
        first, last = self.good
        given = str(rng.choice(["path", "path", "segment", "bytes", "file object"]))
        if given == "segment":
            start, end = np.round(np.sort(rng.uniform(0, 0.6, size=2)), 2)
            rows = [(first, None, None), (str(path), start, end), (last, None, None)]
            return given, pd.DataFrame(rows, columns=["file", "start", "end"])
        row = {"path": str(path), "bytes": content, "file object": io.BytesIO(content)}[given]
        return given, [first, row, last]

    def _outcome(self, X: Any, source: Source | None) -> str:
        """What came of the mutant; same frames are those of the source, if it is given."""
        mask, problems = guarded(lambda: check_recordings(X, return_problems=True))
        if len(mask) != 3 or not (mask[0] and mask[2]):
            raise Failed(f"check_recordings: the mask is {mask.tolist()}")
        if not mask[1]:
            check_names_row(problems[1], "check_recordings")
        frames = guarded(lambda: MelFilterBank(on_error="nan").fit_transform(X))
        self.compare(frames)
        row = frames[1]
        usable = bool(np.isfinite(row).all())
        if not usable and not (row.shape == (1, 80) and np.isnan(row).all()):
            raise Failed("frames with NaN or infinity")
        if usable != bool(mask[1]):
            raise Failed(f"check_recordings says {mask[1]}, on_error='nan' {usable}")
        strict = guarded(lambda: MelFilterBank().fit_transform(X), RecordingError)
        if isinstance(strict, Exception):
            if usable:
                raise Failed(f"on_error='raise' has an error, 'nan' frames: {kind_of(str(strict))}")
            check_names_row(str(strict), "on_error='raise'")
            if strict.row != 1:
                raise Failed(f"on_error='raise': the error's row is {strict.row}")
            return f"error: {kind_of(str(strict))}"
        self.compare(strict)
        if not np.array_equal(strict[1], row, equal_nan=True):
            raise Failed("frames differ from call to call")
        if not usable:  # silence is a row of NaN under either on_error
            return f"NaN: {kind_of(problems[1])}"
        if source is not None:
            path = self.folder / f"original{source.suffix}"
            path.write_bytes(source.content)
            original = MelFilterBank(on_error="nan").fit_transform([self.good[0], str(path)])
            if np.array_equal(original[1], row):
                return "same frames"
        return "other frames"

    def compare(self, frames: UtteranceFrames) -> None:
        """Raise unless there are three rows, and the good ones have the frames they should."""
        if len(frames) != 3:
            raise Failed(f"{len(frames)} rows of 3")
        for row, expected in ((0, self.expected[0]), (2, self.expected[1])):
            if not np.array_equal(frames[row], expected):
                raise Failed(f"frames of the good row {row} changed")
