"""Container of the frames between the steps: many utterances in one flat array."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sklearn_speechsent.frames.mapped import FrameFiles


class UtteranceFrames:
    """Frames of many utterances of unequal length, stored end to end.

    One flat ``base`` array holds the frames of all utterances, time first; ``starts`` and
    ``stops`` say which rows belong to which utterance. A subset is a new pair of row arrays over
    the same base, so that cross-validation copies nothing. To scikit-learn the container is a
    one-dimensional array of ``n`` objects: it can be split, masked, shuffled and pickled like one.

    Parameters
    ----------
    base : ndarray or FrameFiles of shape (n_rows, ...)
        Frames of all utterances, for instance ``(n_rows, 80)`` for MFB or
        ``(n_rows, channels, frequencies)`` for maps. May be a :class:`numpy.memmap`, or the files
        of a :class:`~sklearn_speechsent.FeatureStore` seen as one array.
    starts, stops : array-like of int of shape (n,)
        Utterance ``i`` is ``base[starts[i]:stops[i]]``.
    frame_settings : mapping, optional
        How the frames were made (sample rate, mel bins, CMN, ...). Steps add what they did and
        pre-trained networks compare it with what they were trained on.
    embeddings : array-like of shape (n, n_values), optional
        One vector per utterance, for instance of its speaker.
    keys : ndarray of uint8 of shape (n, 16), optional
        Cache keys of the frames of each utterance; frames that come out of a store have them.
    metadata : DataFrame of n rows, optional
        What is known about each utterance: its index is that of X, and steps add columns.

    Raises
    ------
    ValueError
        If a row range lies outside of ``base`` or ends before it starts, or there is not one
        embedding, or one row of metadata, per utterance.

    See Also
    --------
    MelFilterBank : Makes them of recordings.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import UtteranceFrames
    >>> frames = UtteranceFrames.from_arrays([np.zeros((3, 2)), np.ones((5, 2))])
    >>> frames
    UtteranceFrames(2 utterances, 8 frames of shape (2,), float64)
    >>> frames[1].shape, frames[[1, 0]].lengths, frames.shape
    ((5, 2), array([5, 3]), (2,))
    """

    def __init__(
        self,
        base: NDArray[Any] | FrameFiles,
        starts: ArrayLike,
        stops: ArrayLike,
        *,
        frame_settings: Mapping[str, Any] | None = None,
        embeddings: ArrayLike | None = None,
        keys: NDArray[np.uint8] | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> None:
        self.base = base if isinstance(base, (np.ndarray, FrameFiles)) else np.asarray(base)
        self.starts = np.asarray(starts, dtype=np.int64)
        self.stops = np.asarray(stops, dtype=np.int64)
        self.frame_settings: dict[str, Any] = dict(frame_settings or {})
        self.embeddings = None if embeddings is None else np.asarray(embeddings)
        self.keys = keys
        self.metadata = metadata
        if self.base.ndim < 1:
            raise ValueError("base must have at least one axis, time first.")
        if self.starts.shape != self.stops.shape or self.starts.ndim != 1:
            raise ValueError(
                f"starts and stops must be 1-D and of one length, got shapes {self.starts.shape} "
                f"and {self.stops.shape}."
            )
        wrong = (self.starts < 0) | (self.stops < self.starts) | (self.stops > len(self.base))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"Utterance {row} has rows {self.starts[row]}:{self.stops[row]}, but base has "
                f"{len(self.base)} rows."
            )
        if self.embeddings is not None and (
            self.embeddings.ndim != 2 or len(self.embeddings) != len(self.starts)
        ):
            raise ValueError(
                f"embeddings must have shape ({len(self.starts)}, n_values), one row per "
                f"utterance, got {self.embeddings.shape}."
            )
        if self.metadata is not None and len(self.metadata) != len(self.starts):
            raise ValueError(
                f"metadata must have {len(self.starts)} rows, one per utterance, got "
                f"{len(self.metadata)}."
            )

    @classmethod
    def from_arrays(
        cls,
        arrays: Sequence[ArrayLike],
        *,
        dtype: DTypeLike | None = None,
        frame_settings: Mapping[str, Any] | None = None,
        embeddings: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> UtteranceFrames:
        """Copy one array per utterance into a flat base.

        Parameters
        ----------
        arrays : sequence of array-like of shape (n_frames_i, ...)
            All trailing shapes must agree.
        dtype : dtype, optional
            Type of the base; by default the common type of the arrays.
        frame_settings, embeddings, metadata
            See :class:`UtteranceFrames`.

        Returns
        -------
        UtteranceFrames

        Raises
        ------
        ValueError
            If there is no array, or trailing shapes differ; the message names the utterance.
        """
        matrices = [np.asarray(array) for array in arrays]
        if not matrices:
            raise ValueError("At least one utterance is required, got none.")
        trailing = matrices[0].shape[1:]
        for row, matrix in enumerate(matrices):
            if matrix.ndim < 1 or matrix.shape[1:] != trailing:
                raise ValueError(
                    f"Utterance {row} has shape {matrix.shape}, expected (n_frames, "
                    f"{', '.join(map(str, trailing))}) as utterance 0 has it."
                )
        lengths = [len(matrix) for matrix in matrices]
        stops = np.cumsum(lengths)
        base = np.empty((int(stops[-1]), *trailing), dtype or np.result_type(*matrices))
        np.concatenate(matrices, out=base, casting="same_kind")
        return cls(
            base,
            stops - lengths,
            stops,
            frame_settings=frame_settings,
            embeddings=embeddings,
            metadata=metadata,
        )

    @property
    def shape(self) -> tuple[int]:
        """``(n,)``: the container is one-dimensional to scikit-learn."""
        return (len(self.starts),)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of frames of each utterance, shape (n,)."""
        return self.stops - self.starts

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a single frame."""
        return self.base.shape[1:]

    @property
    def frame_length(self) -> float:
        """Seconds that a frame looks at: of ``frame_settings``, or 0.025."""
        return self.frame_settings.get("frame_length", 0.025)

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next: of ``frame_settings``, or 0.01."""
        return self.frame_settings.get("frame_shift", 0.01)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the frames."""
        return self.base.dtype

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for start, stop in zip(self.starts, self.stops, strict=True):
            yield self.base[start:stop]

    def __getitem__(self, key: Any) -> Any:
        """One utterance as an array for an integer, a subset sharing the base otherwise."""
        if isinstance(key, tuple):  # scikit-learn indexes arrays as X[rows, ...]
            if len(key) != 2 or key[1] is not Ellipsis:
                raise IndexError("UtteranceFrames has one axis: index utterances only.")
            key = key[0]
        if isinstance(key, (int, np.integer)):
            return self.base[self.starts[key] : self.stops[key]]
        if not isinstance(key, slice):
            key = np.asarray(key)
            if key.size == 0:
                key = key.astype(np.int64)
        return UtteranceFrames(
            self.base,
            self.starts[key],
            self.stops[key],
            frame_settings=self.frame_settings,
            embeddings=None if self.embeddings is None else self.embeddings[key],
            keys=None if self.keys is None else self.keys[key],
            metadata=None if self.metadata is None else self.metadata.iloc[key],
        )

    def __repr__(self) -> str:
        return (
            f"UtteranceFrames({len(self)} utterances, {int(self.lengths.sum())} frames of shape "
            f"{self.frame_shape}, {self.dtype})"
        )

    def with_frames(
        self, arrays: Sequence[ArrayLike], *, dtype: DTypeLike | None = None, **settings: Any
    ) -> UtteranceFrames:
        """Same utterances with other frames.

        Parameters
        ----------
        arrays : sequence of array-like of shape (n_frames_i, ...)
            One per utterance, in order.
        dtype : dtype, optional
            Type of the new base; by default the common type of the arrays.
        **settings : dict
            Entries to add to ``frame_settings``.

        Returns
        -------
        UtteranceFrames
        """
        frame_settings = {**self.frame_settings, **settings}
        return UtteranceFrames.from_arrays(
            arrays,
            dtype=dtype,
            frame_settings=frame_settings,
            embeddings=self.embeddings,
            metadata=self.metadata,
        )

    def masked(self, masks: Sequence[NDArray[np.bool_]]) -> UtteranceFrames:
        """Same utterances with some of their frames, which are copied.

        Parameters
        ----------
        masks : sequence of ndarray of bool of shape (n_frames_i,)
            True for the frames that stay.

        Returns
        -------
        UtteranceFrames
        """
        rows = [start + np.flatnonzero(m) for start, m in zip(self.starts, masks, strict=True)]
        stops = np.cumsum([len(part) for part in rows])
        return UtteranceFrames(
            self.base[np.concatenate(rows)],
            [0, *stops[:-1]],
            stops,
            frame_settings=self.frame_settings,
            embeddings=self.embeddings,
            metadata=self.metadata,
        )

    def with_embeddings(self, embeddings: ArrayLike | None) -> UtteranceFrames:
        """Same frames with one vector per utterance.

        Parameters
        ----------
        embeddings : array-like of shape (n, n_values) or None
            None removes them.

        Returns
        -------
        UtteranceFrames
            The same frames over the same base.
        """
        return UtteranceFrames(
            self.base,
            self.starts,
            self.stops,
            frame_settings=self.frame_settings,
            embeddings=embeddings,
            keys=self.keys,
            metadata=self.metadata,
        )

    def with_metadata(
        self, metadata: pd.DataFrame | None = None, **columns: Any
    ) -> UtteranceFrames:
        """Same frames with what is known about each utterance.

        Parameters
        ----------
        metadata : DataFrame of n rows, optional
            Takes the place of the present one; None extends that.
        **columns : array-like of shape (n,)
            Columns to add or replace.

        Returns
        -------
        UtteranceFrames
            The same frames over the same base.
        """
        if metadata is None:
            metadata = self.metadata
        if columns:
            metadata = pd.DataFrame(index=range(len(self))) if metadata is None else metadata
            metadata = metadata.assign(**columns)
        return UtteranceFrames(
            self.base,
            self.starts,
            self.stops,
            frame_settings=self.frame_settings,
            embeddings=self.embeddings,
            keys=self.keys,
            metadata=metadata,
        )

    def compact(self) -> UtteranceFrames:
        """Copy these utterances without the rest of the base.

        Returns
        -------
        UtteranceFrames
            Its base holds the rows of these utterances and no others, in order.
        """
        lengths = self.lengths
        stops = np.cumsum(lengths)
        rows = np.arange(int(lengths.sum())) + np.repeat(self.starts - (stops - lengths), lengths)
        return UtteranceFrames(
            self.base[rows],
            stops - lengths,
            stops,
            frame_settings=self.frame_settings,
            embeddings=self.embeddings,
            keys=self.keys,
            metadata=self.metadata,
        )

    def __getstate__(self) -> dict[str, Any]:
        # A small subset is pickled without the rest of the corpus; a nearly whole one is not
        # copied, so that joblib recognises the base in every task and memory-maps it once.
        frames, file = self, _backing_file(self.base)
        in_memory = file is None and isinstance(self.base, np.ndarray)
        if in_memory and 2 * self.lengths.sum() < len(self.base):
            frames = self.compact()
        stored = {"base": frames.base} if file is None else {"memmap": file}
        names = ("starts", "stops", "frame_settings", "embeddings", "keys", "metadata")
        return {name: getattr(frames, name) for name in names} | stored

    def __setstate__(self, state: dict[str, Any]) -> None:
        memmap = state.pop("memmap", None)
        if memmap is not None:
            state["base"] = np.memmap(mode="r", **memmap)
        self.__dict__.update(state)


def _backing_file(base: NDArray[Any] | FrameFiles) -> dict[str, Any] | None:
    """Arguments of the memory map that ``base`` is, or None if it is anything else.

    A view of a memory map does not know where in the file it begins, and a private one (mode
    "c") may differ from its file: both are plain data.
    """
    if not isinstance(base, np.memmap) or not isinstance(base.base, mmap.mmap):
        return None
    if base.mode == "c" or base.filename is None:
        return None
    return {
        "filename": str(base.filename),
        "offset": base.offset,
        "shape": base.shape,
        "dtype": base.dtype,
        "order": "C" if base.flags.c_contiguous else "F",
    }
