"""The template of the steps that take recordings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent import audio
from sklearn_speechsent.audio.inputs import is_waveform_table, validated_waveforms
from sklearn_speechsent.features.base import UtteranceTransformer
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.frames.no_speech import rows_of_nan, warn_without_speech
from sklearn_speechsent.metrics.scale import check_labels
from sklearn_speechsent.store import RecordingRows
from sklearn_speechsent.utils.repeats import is_news


class RecordingTransformer(UtteranceTransformer):
    """Transformer that decodes recordings, and says which of them cannot be used.

    A subclass says what it needs of a recording (:meth:`_needs`) and what stands for one that
    cannot be used (:meth:`_blank`). Its function gives an exception for such a recording, and an
    array of NaN for a silent one.
    """

    on_error: str

    def _needs(self) -> tuple[int, float]:
        """Rate in Hz, and shortest duration in s, of a recording that can be used."""
        raise NotImplementedError

    def _blank(self) -> NDArray[Any]:
        """Result for a recording that cannot be used, all NaN."""
        raise NotImplementedError

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> RecordingRows:
        sample_rate, shortest = self._needs()
        n_features = None
        index = X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None
        if is_waveform_table(X):
            X = validated_waveforms(self, X, reset=reset)
            n_features = X.shape[1]
        recordings = audio.as_recordings(X)
        if not recordings:
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
        if y is not None:
            check_labels(y, len(recordings))
        problems = audio.find_problems(recordings, sample_rate, shortest)
        if problems and n_features is not None:
            raise ValueError(
                f"Waveforms of {n_features} feature(s) (n_features={n_features} samples) are "
                f"shorter than one frame of {round(sample_rate * shortest)} samples."
            )
        if self.on_error == "raise":
            audio.raise_for_bad_recordings(list(problems.values()), len(recordings))
        return RecordingRows(recordings, self.n_jobs, problems, index)

    def _transform(self, rows: RecordingRows) -> Any:
        blank = self._blank() if self.on_error == "nan" else None
        made, failed = self._compute(rows, replacement=blank)
        # A header tells more about what is wrong than the error of decoding.
        bad = [rows.problems.get(row) or failed[row] for row in sorted(failed)]
        if made is None or (bad and self.on_error == "raise"):
            bad[0].add_note(audio.CHECK_HINT)
            audio.raise_for_bad_recordings(bad, len(rows))
        if bad and is_news("bad", [problem.row for problem in bad]):
            done = "left out" if self.on_error == "skip" else "kept as NaN"
            # Copies of one recording share its row.
            first = list({problem.row: problem for problem in reversed(bad)}.values())[::-1]
            shown = "\n  ".join(map(str, first[:5]))
            n = rows.metadata()["row"].nunique()
            warnings.warn(f"{len(first)} of {n} recordings were {done}:\n  {shown}", stacklevel=4)
        assert made is not None
        there = np.arange(len(rows))
        if len(made) < len(rows):
            there = np.setdiff1d(there, sorted(failed))
        made = made.with_metadata(rows.metadata().iloc[there])
        silent = rows_of_nan(made) & ~np.isin(there, sorted(failed))
        names = [str(recording) for recording in rows.take(there.tolist())]
        warn_without_speech(silent, made, "are silent from beginning to end", names)
        return self._finish(made, rows)

    def _finish(self, made: UtteranceFrames, rows: RecordingRows) -> Any:
        """Output of the step."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags
