"""Log-mel filter bank energies of recordings (MFB)."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent import audio
from sklearn_speechsent.audio import Recording
from sklearn_speechsent.features._kaldi import (
    LOG_FLOOR,
    LogMel,
    mel_banks,
    window_function,
)
from sklearn_speechsent.features.band_limit import band_limits
from sklearn_speechsent.features.base import MEMORY_CONSTRAINT, FramesOutputMixin, bin_names
from sklearn_speechsent.features.recordings import RecordingTransformer
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.store import FrameRows, RecordingRows
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.utils.sklearn_compat import Interval, StrOptions
from sklearn_speechsent.utils.threads import torch_threads

#: Part of every cache key: increased when the same settings give other frames.
_VERSION = 4


class _Extractor:
    """Log-mel frames of each recording of a batch, or what is wrong with it.

    Parameters
    ----------
    arguments : dict
        Of :class:`LogMel`, whose buffers go from batch to batch.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self._idle: list[LogMel] = []

    def __call__(self, recordings: list[Recording]) -> Iterator[NDArray[np.floating] | Exception]:
        rate = self.arguments["sample_rate"]
        shortest = self.arguments["frame_length"] / rate
        signals = (
            audio.read_blocks(recording, rate, min_duration=shortest) for recording in recordings
        )
        try:
            log_mel = self._idle.pop()
        except IndexError:
            log_mel = LogMel(**self.arguments)
        for result in log_mel.each(signals, (audio.RecordingError,)):
            if isinstance(result, audio.SilentRecordingError):
                kind = self.arguments["dtype"]
                yield np.full((1, self.arguments["n_mels"]), np.nan, kind)
            else:
                yield result
        self._idle.append(log_mel)

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self.arguments, "_idle": []}


class LogMelDesign(NamedTuple):
    """Numbers that log-mel frames are made with, for other implementations.

    Parameters
    ----------
    frame : tuple of int
        Length and shift in samples.
    window : ndarray of shape (frame_length,)
        Times the scale of the samples.
    n_fft : int
    preemphasis : float
        Applied within a frame, whose mean was removed; the first sample is its own predecessor.
    banks : ndarray of shape (n_mels, n_fft // 2 + 1)
        Weights of the bins of the power spectrum.
    floor : float
        Of energies.
    """

    frame: tuple[int, int]
    window: NDArray[np.float64]
    n_fft: int
    preemphasis: float
    banks: NDArray[np.float32]
    floor: float


class MelFilterBank(FramesOutputMixin, RecordingTransformer):
    """Log-mel filter bank energies (MFB) of speech recordings.

    Recordings are decoded, mixed down to one channel, resampled and cut into overlapping frames;
    each frame becomes the logarithms of the energies in ``n_mels`` bands, after Kaldi's
    conventions. Files are streamed: each thread holds a minute of one recording's waveform at most.

    X is an array-like of paths, a DataFrame of files and segments, a sequence of arrays, or of
    ``(rate, array)`` pairs, see :func:`~sklearn_speechsent.audio.as_recordings`. ``fit`` reads
    their headers and the labels without decoding anything, so that a file that cannot be opened, a
    wrong number of labels, a missing value or a single level is an error before the long work.

    Parameters
    ----------
    n_mels : int, default=80
        Number of mel bands.
    sample_rate : int, default=16000
        Rate in Hz that recordings are resampled to. Arrays that come without a rate are taken to be
        at it, which nothing can check: pass ``(rate, array)`` for any other.
    frame_length, frame_shift : float, default=0.025, 0.01
        In seconds.
    window : {"hamming", "povey"}, default="hamming"
        Analysis window.
    low_freq : float, default=20.0
        Lower edge of the lowest band in Hz.
    high_freq : float, optional
        Upper edge of the highest band in Hz; None is the Nyquist frequency.
    preemphasis : float, default=0.97
        Coefficient of the first-order high-pass.
    scale : float, default=32768.0
        Samples in [-1, 1] are multiplied by it. Kaldi counts in 16-bit steps; at unit scale quiet
        recordings lie on the floor of the logarithm.
    dtype : {"float32", "float64"}, default="float32"
        Working precision and type of the frames.
    on_error : {"raise", "skip", "nan"}, default="raise"
        What to do with a recording that cannot be used. ``"nan"`` keeps its row as a single frame
        of NaN. ``"skip"`` leaves it out and is refused as soon as there is a y, which a
        transformer cannot cut; use :func:`~sklearn_speechsent.audio.check_recordings` there. Both
        warn and name what was wrong.
    n_jobs : int, optional
        Threads over recordings; -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which frames are stored per recording, by the content of the file, the segment
        and the parameters, see :class:`~sklearn_speechsent.FeatureStore`. Cross-validation and grid
        search then decode each recording once, an interrupted extraction resumes, and frames stay
        in their files, whatever the size of the corpus.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Only if X was a 2-D array: samples per waveform.

    See Also
    --------
    SlidingCMN : The usual next step.

    References
    ----------
    .. [1] D. Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import MelFilterBank
    >>> second = np.sin(np.arange(16000) / 10.0)
    >>> MelFilterBank().fit_transform([second, second[:8000]])
    UtteranceFrames(2 utterances, 146 frames of shape (80,), float32)
    """

    _step, _label = "mfb", "MFB"
    _parameter_constraints: dict[str, list[Any]] = {
        "n_mels": [Interval(Integral, 1, None, closed="left")],
        "sample_rate": [Interval(Integral, 1, None, closed="left")],
        "frame_length": [Interval(Real, 0, None, closed="neither")],
        "frame_shift": [Interval(Real, 0, None, closed="neither")],
        "window": [StrOptions({"hamming", "povey"})],
        "low_freq": [Interval(Real, 0, None, closed="left")],
        "high_freq": [Interval(Real, 0, None, closed="neither"), None],
        "preemphasis": [Interval(Real, 0, 1, closed="both")],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "dtype": [StrOptions({"float32", "float64"})],
        "on_error": [StrOptions({"raise", "skip", "nan"})],
        "n_jobs": [Integral, None],
        "memory": MEMORY_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_mels: int = 80,
        *,
        sample_rate: int = 16000,
        frame_length: float = 0.025,
        frame_shift: float = 0.01,
        window: str = "hamming",
        low_freq: float = 20.0,
        high_freq: float | None = None,
        preemphasis: float = 0.97,
        scale: float = 32768.0,
        dtype: str = "float32",
        on_error: str = "raise",
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_mels = n_mels
        self.sample_rate = sample_rate
        self.frame_length = frame_length
        self.frame_shift = frame_shift
        self.window = window
        self.low_freq = low_freq
        self.high_freq = high_freq
        self.preemphasis = preemphasis
        self.scale = scale
        self.dtype = dtype
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _needs(self) -> tuple[int, float]:
        self._arguments()  # parameters that do not fit each other are an error before anything else
        return self.sample_rate, self.frame_length

    def _blank(self) -> NDArray[np.floating]:
        return np.full((1, self.n_mels), np.nan, dtype=self.dtype)

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> RecordingRows:
        if reset:
            self._with_labels_ = y is not None
        if self.on_error == "skip" and getattr(self, "_with_labels_", False):
            raise ValueError(
                'on_error="skip" would leave rows out of X and not out of y. Cut both with the '
                "mask of sklearn_speechsent.audio.check_recordings(X) before fitting, or keep the "
                'rows with on_error="nan".'
            )
        return super()._rows(X, y, reset=reset)

    def _function(self, rows: RecordingRows) -> Function:
        return _Extractor(self._arguments())

    def _compute(self, rows: Any, **options: Any) -> Computed:
        with torch_threads(1):  # or torch's threads contend with those of n_jobs
            return super()._compute(rows, **options)

    def _finish(self, made: UtteranceFrames, rows: RecordingRows) -> UtteranceFrames:
        made.frame_settings.update(self._frame_settings())
        return self._measured(made)

    def _measured(self, frames: UtteranceFrames) -> UtteranceFrames:
        """Frames with the duration (s) and the band limit (Hz) of each recording."""
        settings, function = band_limits(frames.frame_settings)
        rows = FrameRows(frames)
        options: dict[str, Any] = {"n_jobs": self.n_jobs, "prefer": "neither"}
        made, _ = self._store.compute("band", settings, rows, function, frames=False, **options)
        assert made is not None
        band_limit = made.base[made.starts][:, 0]
        duration = np.where(np.isnan(band_limit), np.nan, frames.lengths * frames.frame_shift)
        return frames.with_metadata(duration=duration, band_limit=band_limit)

    def log_mel(self, samples: NDArray[np.floating]) -> NDArray[np.floating]:
        """Log-mel frames of samples, for callers that cut a signal into blocks themselves.

        Parameters
        ----------
        samples : ndarray of shape (n_samples,)
            At ``sample_rate``, full scale being [-1, 1]; nothing checks them.

        Returns
        -------
        ndarray of shape (n_frames, n_mels)
            Empty for fewer samples than a frame has.
        """
        return next(LogMel(**self._arguments()).each([[samples]]))

    def design(self) -> LogMelDesign:
        """Numbers that the frames are made with.

        Returns
        -------
        LogMelDesign
        """
        given = self._arguments()
        length, rate = given["frame_length"], given["sample_rate"]
        n_fft = 1 << (length - 1).bit_length()
        return LogMelDesign(
            frame=(length, given["frame_shift"]),
            window=window_function(given["window"], length) * given["scale"],
            n_fft=n_fft,
            preemphasis=given["preemphasis"],
            banks=mel_banks(given["n_mels"], n_fft, rate, given["low_freq"], given["high_freq"]),
            floor=LOG_FLOOR,
        )

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the mel bins: ``mel00`` and so on.

        Parameters
        ----------
        input_features : object
            Ignored: recordings have no features.

        Returns
        -------
        ndarray of str
        """
        return bin_names(self.n_mels)

    def _samples(self, seconds: float) -> int:
        return max(1, int(self.sample_rate * seconds + 1e-6))

    def _settings(self, rows: RecordingRows) -> dict[str, Any]:
        return {"version": _VERSION, **self._arguments()}

    def _arguments(self) -> dict[str, Any]:
        """Arguments of the extraction, each in one type."""
        nyquist = self.sample_rate / 2
        high_freq = nyquist if self.high_freq is None else float(self.high_freq)
        if not self.low_freq < high_freq <= nyquist:
            raise ValueError(
                f"low_freq={self.low_freq} must be below high_freq={self.high_freq}, which must "
                f"not exceed {nyquist:g} Hz, half of sample_rate={self.sample_rate}."
            )
        return {
            "sample_rate": int(self.sample_rate),
            "n_mels": int(self.n_mels),
            "frame_length": self._samples(self.frame_length),
            "frame_shift": self._samples(self.frame_shift),
            "window": self.window,
            "low_freq": float(self.low_freq),
            "high_freq": high_freq,
            "preemphasis": float(self.preemphasis),
            "scale": float(self.scale),
            "dtype": self.dtype,
        }

    def _frame_settings(self) -> dict[str, Any]:
        settings = self._arguments()
        del settings["dtype"]
        settings["frame_length"] = float(self.frame_length)
        settings["frame_shift"] = float(self.frame_shift)
        return settings

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
