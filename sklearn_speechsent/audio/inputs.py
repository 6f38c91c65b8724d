"""What X may hold: files, samples, and tables of files with segments and perturbations."""

from __future__ import annotations

import os
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from sklearn_speechsent.audio.names import is_name, printable
from sklearn_speechsent.audio.recording import (
    PERTURBATION_CHOICES,
    PERTURBATION_RANGES,
    Recording,
)

_PERTURBATIONS = (*PERTURBATION_RANGES, "seed", "clip", *PERTURBATION_CHOICES, "babble")
_COLUMNS = ("file", "start", "end", "channel", *_PERTURBATIONS)
_NUMBERS = ("start", "end", "channel", "seed", "clip", *PERTURBATION_RANGES)
_SECONDS = ("start", "end", "rt60", "silence_before", "silence_after")
_BYTES = (bytes, bytearray, memoryview)
#: Bytes of the longest path on Linux.
_LONGEST_NAME = 4096


def as_recordings(X: Any) -> list[Recording]:
    """Rows of X as recordings, none of them opened.

    Parameters
    ----------
    X : array-like of str or Path, DataFrame, sequence of arrays, ``(rate, array)``, bytes or files
        A DataFrame has the column ``file`` and may have ``start`` and ``end`` in seconds (a
        missing value is the beginning or the end) and ``channel`` (0, 1, ...; a missing value
        mixes all channels down); a single column holds files whatever its name.
        The columns ``speed``, ``rt60``, ``snr_db``, ``noise``, ``babble``, ``seed``, ``gain_db``,
        ``clip``, ``band_limit``, ``codec``, ``silence_before`` and ``silence_after`` ask for a
        perturbed copy, see :class:`Recording`; a missing value leaves the recording unchanged.
        Bytes are the content of a file; so is what a file opened in binary mode gives, which is
        read at once.
        A list of :class:`Recording` stays as it is, except for the row numbers.
        A 2-D numeric array is a batch of waveforms of equal length. Samples go along the first
        axis. Integer samples are scaled by the range of their type; floats are taken as they are,
        full scale being [-1, 1]. An array without a rate is taken to be at the rate of the pipeline
        (``sample_rate`` of :class:`~sklearn_speechsent.MelFilterBank`, 16 kHz by default), which
        nothing can check: pass ``(rate, array)`` for any other.

    Returns
    -------
    list of Recording

    Raises
    ------
    TypeError
        If a row is none of these, or X is a single path or a single pair.
    ValueError
        If X is a single waveform, a column of a DataFrame is unknown or holds what it cannot, or a
        rate is not positive.

    See Also
    --------
    check_recordings : Which of them can be used.

    Examples
    --------
    >>> from sklearn_speechsent.audio import as_recordings
    >>> [str(recording) for recording in as_recordings(["a.wav", "b.flac"])]
    ['row 0 (a.wav)', 'row 1 (b.flac)']
    """
    if isinstance(X, (str, os.PathLike)):
        path = str(X)  # the repr of an item of an array, or of a Path, names its type as well
        raise TypeError(
            f"X must be a list of recordings, got the single path {path!r}: pass [{path!r}]."
        )
    if isinstance(X, bytes):
        raise TypeError(
            f"X must be a list of recordings, got the contents of a single file, {len(X)} bytes: "
            "pass [contents]."
        )
    if hasattr(X, "read"):
        raise TypeError(
            f"X must be a list of recordings, got the single file {X!r:.80}: pass [file]."
        )
    if isinstance(X, tuple) and len(X) == 2 and np.ndim(X[0]) == 0 and np.ndim(X[1]) >= 1:
        raise TypeError("X must be a list of recordings, got one (rate, array) pair: pass [pair].")
    if isinstance(X, pd.DataFrame):
        return _from_frame(X)
    if isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "iuf":
        raise ValueError(
            "Expected 2D array, got 1D array instead. Reshape your data: a single waveform is "
            "passed as [waveform]."
        )
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1 and X.dtype.kind in "OU":
        X = X[:, 0]
    return [_from_item(row, item) for row, item in enumerate(X)]


def is_waveform_table(X: Any) -> bool:
    """Whether X is a batch of equal-length waveforms, one a row, for scikit-learn to validate.

    Parameters
    ----------
    X : object

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> is_waveform_table(np.zeros((2, 400))), is_waveform_table([(16000, np.zeros(400))])
    (True, False)
    """
    if isinstance(X, pd.DataFrame):
        return "file" not in X.columns and all(dtype.kind in "fiub" for dtype in X.dtypes)
    if isinstance(X, (list, tuple)):
        rows_of_one_length = bool(X) and all(
            isinstance(row, (list, tuple)) and len(row) == len(X[0]) for row in X
        )
        return rows_of_one_length and all(isinstance(value, Real) for value in X[0])
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OU" and X.size:
        return isinstance(X[0, -1], Real)  # not rows of one path, or of a rate and samples
    is_array = hasattr(X, "__array__") and not isinstance(X, str)
    return hasattr(X, "toarray") or (is_array and getattr(X, "ndim", 2) != 1)


def validated_waveforms(estimator: Any, X: Any, *, reset: bool) -> NDArray[Any]:
    """Batch of equal-length waveforms, validated like any table of scikit-learn.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_``, the samples of a waveform, when ``reset`` is true.
    X : array-like of shape (n, n_samples)
    reset : bool

    Returns
    -------
    ndarray of shape (n, n_samples)
    """
    X = validate_data(estimator, X, reset=reset)
    if X.dtype.kind not in "iuf" or X.dtype.itemsize == 8:
        X = X.astype(np.float64, copy=False)  # no recorder writes 64-bit integers
    return X


def _from_frame(X: pd.DataFrame) -> list[Recording]:
    if X.shape[1] == 1:
        X = X.set_axis(["file"], axis=1)
    # An unknown column may be a misspelt 'start', and whole files would be read.
    if "file" not in X.columns or not set(X.columns) <= set(_COLUMNS):
        raise ValueError(
            "A DataFrame of recordings has the column 'file' and may have 'start' and 'end' (s), "
            f"'channel', and for perturbed copies {', '.join(map(repr, _PERTURBATIONS))}; got "
            f"{list(X.columns)}. Rename columns or select these."
        )
    columns = {column: _numbers(X, column) for column in _NUMBERS if column in X.columns}
    columns |= {name: _texts(X, name) for name in PERTURBATION_CHOICES if name in X.columns}
    if "babble" in X.columns:
        columns["babble"] = _voices(X)
    if "end" in columns:
        columns["stop"] = columns.pop("end")
    recordings = []
    for row, file in enumerate(X["file"]):
        paths_and_more = (str, os.PathLike, tuple, np.ndarray, *_BYTES)
        if not (isinstance(file, paths_and_more) or hasattr(file, "read")):
            raise TypeError(
                f"Row {row} of X holds {file!r:.80} where the path of a file should be."
            )
        given = {name: values[row] for name, values in columns.items() if values[row] is not None}
        recordings.append(_checked(replace(_from_item(row, file), **given)))
    return recordings


def _checked(recording: Recording) -> Recording:
    """Recording with a valid channel and perturbations; an error if they are out of range."""
    for name, (low, high) in PERTURBATION_RANGES.items():
        value = getattr(recording, name)
        if value is not None and not low <= value <= high:
            raise recording.error(
                f"{name}={value:g} is not between {low:g} and {high:g}. Correct it, or leave it "
                "empty for none."
            )
    for name, choices in PERTURBATION_CHOICES.items():
        value = getattr(recording, name)
        if value is not None and not (isinstance(value, str) and value in choices):
            raise recording.error(
                f"{name}={value!r:.80} is not one of {', '.join(choices)}. Correct it, or leave "
                "it empty for none."
            )
    noise, voices = recording.noise, recording.babble
    if noise != "white" and recording.snr_db is None:
        raise recording.error(f"noise={noise!r} has no snr_db. Say how loud it is, 10 for example.")
    if (noise == "babble") != (len(voices) > 0):
        raise recording.error(
            f"it has noise={noise!r} and {len(voices)} recordings as its 'babble'. Pass both "
            "noise='babble' and a list of recordings, or none of them."
        )
    if any(voice.babble for voice in voices):
        raise recording.error("a recording of its babble has babble itself. Take that away.")
    whole: dict[str, Any] = {}
    for name in ("channel", "seed", "clip"):
        value = getattr(recording, name)
        if value is None:
            continue
        if not (value >= 0 and float(value).is_integer()):
            recording = replace(recording, channel=None)
            raise recording.error(f"{name}={value:g} is not a whole number from 0. Correct it.")
        whole[name] = int(value)
    if whole["clip"] > 1:
        raise recording.error(f"clip={whole['clip']} is neither 0 nor 1. Correct it.")
    return replace(recording, **whole | {"clip": bool(whole["clip"])})


def _texts(X: pd.DataFrame, column: str) -> list[str | None]:
    """Values of a column, None where they are missing."""
    return [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in X[column]]


def _voices(X: pd.DataFrame) -> list[tuple[Recording, ...] | None]:
    """Recordings that the babble of each row is made of, None where there are none."""
    voices: list[tuple[Recording, ...] | None] = []
    for row, (file, items) in enumerate(zip(X["file"], X["babble"], strict=True)):
        if pd.api.types.is_scalar(items) and pd.isna(items):
            voices.append(None)
        elif isinstance(items, (list, tuple)):
            try:
                voices.append(tuple(_from_item(row, item) for item in items))
            except (TypeError, ValueError) as exception:
                raise type(exception)(
                    f"Column 'babble' of row {row} ({printable(str(file))}): {exception}"
                ) from exception
        else:
            raise ValueError(
                f"Column 'babble' must hold lists of recordings: row {row} "
                f"({printable(str(file))}) has {items!r:.80}. Pass [{items!r:.80}], or leave it "
                "empty for none."
            )
    return voices


def _numbers(X: pd.DataFrame, column: str) -> list[Any]:
    """Numbers of a column, None where they are missing."""
    values = X[column]
    if values.dtype.kind == "m":
        values = values.dt.total_seconds()
    numbers = []
    for row, value in enumerate(values):
        try:
            number = None if pd.isna(value) else float(value)
        except (TypeError, ValueError):
            number = np.nan
        if number is not None and np.isnan(number):
            unit = "seconds" if column in _SECONDS else "numbers"
            file = printable(str(X["file"].iloc[row]))
            raise ValueError(
                f"Column {column!r} must hold {unit}: row {row} ({file}) has {value!r:.80}. "
                "Correct it, or leave it empty for none."
            )
        numbers.append(number)
    return numbers


def _from_item(row: int, item: Any) -> Recording:
    if isinstance(item, Recording):
        return _checked(replace(item, row=row))
    if isinstance(item, (str, os.PathLike)):
        return Recording(row, os.fspath(item))
    if isinstance(item, _BYTES) or hasattr(item, "read"):
        return _from_content(row, item)
    if isinstance(item, np.ndarray) and item.dtype == object:
        item = tuple(item)  # a row of an object array of pairs
    if isinstance(item, (tuple, list)) and len(item) == 2:
        rate, samples = item[0], _as_samples(item[1])
        if isinstance(rate, Real) and samples is not None and samples.ndim in (1, 2):
            if not (float(rate).is_integer() and float(rate) > 0):
                raise ValueError(f"Row {row} of X: {rate!r} is not a sample rate in Hz.")
            return Recording(row, samples, rate=int(float(rate)))
        if isinstance(item[1], Real) and not isinstance(rate, (str, Real)):
            raise TypeError(f"Row {row} of X is (array, rate); write it as (rate, array).")
    samples = _as_samples(item)
    if samples is not None and samples.ndim == 1:
        return Recording(row, samples)
    raise TypeError(
        f"Row {row} of X is {type(item).__name__}: {item!r:.80}. A recording is a path, a 1-D "
        "array of samples, or a (rate, array) pair; segments of files come as a DataFrame with the "
        "columns file, start and end."
    )


def _from_content(row: int, item: Any) -> Recording:
    """Recording of the content of a file."""
    if hasattr(item, "read"):
        try:
            if item.seekable():
                at = item.tell()
                item.seek(0)
                content = item.read()
                item.seek(at)  # the next call finds it as this one did
            else:
                content = item.read()
        except (AttributeError, OSError, ValueError) as exception:
            raise Recording(row, b"").error(f"it cannot be read: {exception}.") from exception
        if not isinstance(content, _BYTES):
            raise TypeError(
                f"Row {row} of X: read() of {item!r:.80} gives {type(content).__name__}, not "
                'bytes. Open the file in binary mode, "rb".'
            )
    else:
        content = item
    if isinstance(content, np.bytes_):
        raise TypeError(
            f"Row {row} of X is bytes in an array of NumPy, which drops zeros at their end. Pass "
            "content as a list of bytes, and names as os.fsdecode(name)."
        )
    content = bytes(content)
    # No audio file begins like a name, or is so short.
    if not hasattr(item, "read") and 0 < len(content) <= _LONGEST_NAME and is_name(content):
        name = os.fsdecode(content)
        raise TypeError(
            f"Row {row} of X is bytes that name a file: {content!r:.80}. Bytes are the content of "
            f"a file; pass names as text, os.fsdecode(name). A recording is a path: {name!r:.80}."
        )
    return Recording(row, content)


def _as_samples(value: Any) -> NDArray[Any] | None:
    """Array of numbers, or None where ``value`` is something else."""
    try:
        samples = np.asarray(value)
    except ValueError:  # lists of unequal length
        return None
    return samples if samples.dtype.kind in "iuf" else None
