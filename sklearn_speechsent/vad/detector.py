"""Voice activity detection: the frames, and the seconds, in which somebody speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.features.base import MEMORY_CONSTRAINT, FramesTransformer
from sklearn_speechsent.features.mel import MelFilterBank
from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.frames.audible import audible
from sklearn_speechsent.frames.no_speech import rows_of_nan, warn_without_speech
from sklearn_speechsent.frames.validation import check_frames, holds_recordings, unusable
from sklearn_speechsent.graphs.openvino import (
    BACKEND_CONSTRAINT,
    check_backend,
    uses_openvino,
)
from sklearn_speechsent.nn import folded
from sklearn_speechsent.nn.derived import derived
from sklearn_speechsent.pretrained import (
    build_vad,
    check_frame_settings,
    load_vad_weights,
    save_vad_weights,
)
from sklearn_speechsent.store import digest
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from sklearn_speechsent.utils.threads import torch_threads
from sklearn_speechsent.utils.validation import new_generator
from sklearn_speechsent.vad.fitting import FrameChunks, check_masks, train_on_frames
from sklearn_speechsent.vad.presence import holds_speech
from sklearn_speechsent.vad.rows import AudioRows
from sklearn_speechsent.vad.scores import (
    OpenVINOUNet,
    Scorer,
    energy_scores,
    load_silero,
    silero_scores,
    unet_scores,
)
from sklearn_speechsent.vad.segments import segment_table, smooth

#: Part of every cache key: increased when the same settings give other frames.
_VERSION = 3
#: Seconds of the chunks that the network is trained on.
_CHUNK = 4.0
#: Threshold of each method, and how far speech that reached it may fall below it. That of the U-net
#: was the best of eight on mixtures of held-out speakers (experiments.vad --choose).
THRESHOLDS = {"unet": (0.8, 0.15), "energy": (9.0, 3.0), "silero": (0.5, 0.15)}


class VoiceActivityDetector(FramesTransformer):
    """Drop the frames of an utterance in which nobody speaks.

    Belongs between :class:`~sklearn_speechsent.MelFilterBank` and
    :class:`~sklearn_speechsent.SlidingCMN`: it needs the loudness that CMN takes away. It also
    takes recordings, and gives the times of speech in them (:meth:`speech_segments`).

    X is :class:`~sklearn_speechsent.UtteranceFrames`, a sequence of (n_frames, n_mels), or
    recordings as :class:`~sklearn_speechsent.MelFilterBank` takes them; 2-D tables of numbers are
    frames. ``transform`` keeps the frames of speech; utterances of NaN, for recordings that could
    not be read, stay as they are. Frames after mean normalisation, or other frames than the weights
    expect, are a ValueError.

    With the U-net an utterance in which nobody speaks (noise, hum, tones, clicks) becomes a single
    frame of NaN, and one :class:`~sklearn_speechsent.frames.NoSpeechWarning` counts and names all
    of them. Music and the tones of telephone keys are taken for speech. The other methods make no
    such rows: silero-vad misses shouted voices, and any sound may be speech to ``"energy"``.

    Parameters
    ----------
    method : {"unet", "energy", "silero"}, default="unet"
        How frames are scored. ``"unet"``: probability of speech by a small U-net [1]_, which ships
        with the package. ``"energy"``: energy above the utterance's own noise floor in dB; takes
        any loud sound for speech. ``"silero"``: probability of speech by the optional package
        silero-vad [2]_ (``pip install sklearn-speechsent[silero]``), which needs recordings:
        in a Pipeline it stands in the place of ``MelFilterBank``.
    threshold : float, optional
        Score that speech must reach; None is a probability of 0.8 for ``"unet"``, 0.5 for
        ``"silero"`` and 9 dB for ``"energy"``. Speech that reached it may fall 0.15 (3 dB) below
        it. The hangover makes up for a strict threshold; under loud noise 0.5 finds more.
    hangover : float, default=0.25
        Seconds kept before and after each run of speech, because edges of words are faint.
    min_duration : float, default=1.0
        An utterance with speech that would keep less than this many seconds keeps all its frames
        but digital silence.
    weights : str or path-like, default="speechsent-unet-vad"
        Of the U-net: the name of those that ship with the package, or a file that
        :meth:`save_weights` wrote.
    frontend : transformer, optional
        From recordings to frames, for X that holds recordings. By default the ``MelFilterBank``
        that the weights expect.
    max_epochs : int, default=10
        Epochs of training on ``masks``, see :meth:`fit`.
    lr : float, default=1e-3
        Learning rate of the first step; it falls to zero along half a cosine.
    batch_size : int, default=16
        Chunks of 4 s in a training batch.
    random_state : int, RandomState instance or None, default=None
        Draws the chunks.
    backend : {"torch", "openvino"}, default="torch"
        What computes the U-net. ``"openvino"`` (pip install "sklearn-speechsent[openvino]") takes
        less time for an utterance by itself, with probabilities that are the same up to rounding;
        training, time lines and streams stay with torch. Where a pickle finds no OpenVINO,
        ``transform`` warns and takes torch.
    n_jobs : int, optional
        Threads of torch and of the default front end; -1 uses all cores.
    memory : str, Path or FeatureStore, optional
        Folder in which the frames of each utterance are stored, also by the default front end,
        see :class:`~sklearn_speechsent.FeatureStore`.
    verbose : int, default=0
        Whether to show progress bars.

    Attributes
    ----------
    n_features_in_ : int
        Number of mel bins.
    frontend_ : transformer
        From recordings to frames.
    network_ : SpeechUNet
        Only with ``method="unet"``.
    loss_curve_ : list of float
        Mean loss of each epoch; only after training on masks.
    weights_ : VADWeights
        Name, architecture and frame settings of the weights, without their tensors; only with
        ``method="unet"``.

    See Also
    --------
    MelFilterBank : The frames.
    sentiment_timeline : Sentiment of the speech that is found.

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer and T. Brox, "U-net: convolutional networks for biomedical
       image segmentation", MICCAI 2015.
    .. [2] Silero Team, "Silero VAD: pre-trained enterprise-grade voice activity detector", 2024,
       https://github.com/snakers4/silero-vad.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
    >>> rng = np.random.default_rng(0)
    >>> noise = 1e-4 * rng.standard_normal(5 * 16000)
    >>> noise[16000:48000] *= 300  # two loud seconds, from 1 s to 3 s
    >>> frames = MelFilterBank().fit_transform([noise])
    >>> detector = VoiceActivityDetector("energy")
    >>> len(frames[0]), len(detector.fit_transform(frames)[0])
    (498, 252)
    >>> detector.speech_segments([noise]).round(2)
       file  start   end
    0     0   0.74  3.26

    Probabilities of speech, by the U-net:

    >>> detector = VoiceActivityDetector().fit(frames)
    >>> [scores.shape for scores in detector.frame_scores(frames)]
    [(498,)]
    """

    _step, _label = "vad", "VAD"
    _parameter_constraints: dict[str, list[Any]] = {
        "method": [StrOptions(set(THRESHOLDS))],
        "threshold": [Interval(Real, None, None, closed="neither"), None],
        "hangover": [Interval(Real, 0, None, closed="left")],
        "min_duration": [Interval(Real, 0, None, closed="left")],
        "weights": [str, os.PathLike],
        "frontend": [HasMethods(["fit_transform", "transform"]), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "backend": BACKEND_CONSTRAINT,
        "n_jobs": [Integral, None],
        "memory": MEMORY_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        method: str = "unet",
        *,
        threshold: float | None = None,
        hangover: float = 0.25,
        min_duration: float = 1.0,
        weights: str | os.PathLike[str] = "speechsent-unet-vad",
        frontend: Any = None,
        max_epochs: int = 10,
        lr: float = 1e-3,
        batch_size: int = 16,
        random_state: Any = None,
        backend: str = "torch",
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.method = method
        self.threshold = threshold
        self.hangover = hangover
        self.min_duration = min_duration
        self.weights = weights
        self.frontend = frontend
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state
        self.backend = backend
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "memory" and "frontend_" in vars(self) and self.frontend is None:
            self.frontend_.memory = value

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, masks: Any = None) -> VoiceActivityDetector:
        """Load the weights, and train them further if there are masks.

        Parameters
        ----------
        X : UtteranceFrames, sequence of (n_frames, n_mels), or recordings
        y : array-like of shape (n,), optional
            Labels that a Pipeline passes to all steps; only a ``MelFilterBank`` in front looks at
            them.
        masks : sequence of array-like of shape (n_frames_i,), optional
            Where there is speech, one mask per utterance: zeros and ones, booleans or
            probabilities. The U-net is then trained for ``max_epochs``, starting from the weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If frames are not what the weights were trained on, or masks do not fit the frames.
        """
        self._begin(X, y, masks)
        return self

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None, *, masks: Any = None) -> UtteranceFrames:
        """Equal to ``fit(X, y, masks=masks).transform(X)``, extracting frames once.

        Parameters
        ----------
        X : UtteranceFrames, sequence of (n_frames, n_mels), or recordings
        y : array-like of shape (n,), optional
        masks : sequence of array-like of shape (n_frames_i,), optional
            See :meth:`fit`.

        Returns
        -------
        UtteranceFrames
        """
        return self._transform(self._begin(X, y, masks))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the mel bins.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names that the step before gives; by default ``mel00`` and so on. Ignored where they
            name the columns of recordings.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        if input_features is not None and len(input_features) != self.n_features_in_:
            input_features = None
        return super().get_feature_names_out(input_features)

    def frame_scores(self, X: Any) -> list[NDArray[np.float32]]:
        """Score every frame, before any smoothing.

        Parameters
        ----------
        X : UtteranceFrames, sequence of (n_frames, n_mels), or recordings

        Returns
        -------
        list of ndarray of shape (n_frames_i,), float32
            Probability of speech; for ``method="energy"`` the energy above the noise floor in dB.
            NaN for utterances that are.
        """
        return self._scores(self._rows(X, reset=False))

    def speech_segments(self, X: Any) -> pd.DataFrame:
        """Times at which somebody speaks.

        Parameters
        ----------
        X : UtteranceFrames, sequence of (n_frames, n_mels), or recordings

        Returns
        -------
        DataFrame
            A row per run of speech, in order, with the columns ``file`` (for X without files:
            number of the row in X), ``start`` and ``end`` (seconds in the file, also where X
            held segments of files), and ``channel`` if X had channels. It can be passed to
            :class:`~sklearn_speechsent.MelFilterBank`. Utterances without speech have no rows;
            ``min_duration`` does not apply.

        Notes
        -----
        Frame i looks at ``frame_length`` seconds from ``i * frame_shift``, and stands for the
        ``frame_shift`` seconds around the centre of that. The first frame also stands for what
        comes before, the last one for what is left of the recording, or for all that it looks at
        where X holds frames. With a ``hangover`` of half a frame or more, every segment is long
        enough for a frame of its own.
        """
        rows = self._rows(X, reset=False)
        if rows.recordings is not None:
            rows.check_alignment()
        masks, _ = self._speech(rows)
        return segment_table(masks, rows.frames, rows.recordings)

    def save_weights(self, path: str | os.PathLike[str], **extra: Any) -> Path:
        """Write the U-net to a file that is taken as ``weights=``.

        Parameters
        ----------
        path : str or path-like
            With the suffix ``.safetensors``.
        **extra : dict
            Other records to keep: licence, data, figures.

        Returns
        -------
        pathlib.Path
        """
        if self.method != "unet":
            raise ValueError(f'method={self.method!r} has no weights to save; "unet" has.')
        check_is_fitted(self, "network_")
        return save_vad_weights(
            path,
            self.network_.state_dict(),
            architecture=self.network_.architecture,
            frame_settings=self.weights_.frame_settings,
            extra=extra,
        )

    # -- fitting -------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, masks: Any = None) -> AudioRows:
        self.limits()
        if masks is not None and self.method != "unet":
            raise ValueError(
                f'method={self.method!r} learns nothing from masks. Use method="unet" or leave '
                "masks out."
            )
        for name in ("network_", "weights_", "loss_curve_"):
            self.__dict__.pop(name, None)
        settings: dict[str, Any] = {}
        if self.method == "unet":
            check_backend(self.backend)
            weights = load_vad_weights(self.weights)
            self.network_ = build_vad(weights)
            self.weights_ = replace(weights, state={})
            known = MelFilterBank().get_params()
            settings = {k: v for k, v in weights.frame_settings.items() if k in known}
        elif self.method == "silero":
            load_silero()  # a missing package is an error before anything is decoded
        shared = {"n_jobs": self.n_jobs, "memory": self.memory, "verbose": self.verbose}
        self.frontend_ = (
            MelFilterBank(**settings, **shared) if self.frontend is None else clone(self.frontend)
        )
        for part in (self.frontend_, *self.frontend_.get_params().values()):
            if isinstance(part, MelFilterBank):
                # It works without a fit, and gets none where X holds frames.
                part._find_store()
        rows = self._rows(X, y, reset=True)
        if masks is not None:
            self.loss_curve_ = self._train(rows.frames, list(masks))
        return rows

    def _train(self, frames: UtteranceFrames, masks: list[Any]) -> list[float]:
        targets = check_masks(masks, frames.lengths)
        bad = unusable(frames.with_embeddings(None))
        if bad.any():
            raise ValueError(
                f"X contains NaN or infinity in {int(bad.sum())} utterances, the first in row "
                f"{int(np.flatnonzero(bad)[0])}. Leave these rows out of X and masks before "
                "fitting."
            )
        rng = new_generator(self.random_state)
        chunk = max(1, round(_CHUNK / frames.frame_shift))
        with torch_threads(self.n_jobs):
            return train_on_frames(
                self.network_,
                FrameChunks(frames, targets, chunk, self.batch_size, rng),
                max_epochs=self.max_epochs,
                lr=self.lr,
                random_state=rng,
                verbose=self.verbose,
            )

    # -- scores --------------------------------------------------------------------------------

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> AudioRows:
        """Frames of X, and the recordings that they were made of where X holds these."""
        if not reset:
            check_is_fitted(self, "network_" if self.method == "unet" else "n_features_in_")
        recordings = None
        if holds_recordings(X):
            recordings = as_recordings(X)
            # Labels pass on to the front end, which checks them before it decodes.
            X = self.frontend_.fit_transform(X, y) if reset else self.frontend_.transform(X)
        elif self.method == "silero":
            raise ValueError(
                'method="silero" needs recordings, and X holds frames. Pass recordings: in a '
                "Pipeline it stands in the place of MelFilterBank, make_sentiment_pipeline("
                'mfb="passthrough", vad=VoiceActivityDetector("silero")).'
            )
        frames = check_frames(self, X, reset=reset)
        rows = AudioRows(frames, recordings)
        if self.method == "silero":
            return rows
        if frames.frame_settings.get("cmn") is not None:
            raise ValueError(
                "VoiceActivityDetector needs the loudness of frames, but these come out of "
                "SlidingCMN. Put the detector before it."
            )
        if len(frames.frame_shape) != 1:
            raise ValueError(
                f"Frames must have shape (n_mels,), got {frames.frame_shape}. Pass the output of "
                "MelFilterBank."
            )
        if self.method == "unet":
            check_frame_settings(self.weights_, frames)
        return rows

    def limits(self) -> tuple[float, float]:
        """Threshold and hysteresis in the unit of the scores.

        Returns
        -------
        threshold : float
            Score that speech must reach.
        hysteresis : float
            How far speech that reached it may fall below it.

        Raises
        ------
        ValueError
            If ``threshold`` is not a probability where scores are.
        """
        threshold, hysteresis = THRESHOLDS[self.method]
        if self.threshold is None:
            return threshold, hysteresis
        if self.method == "energy":
            return self.threshold, hysteresis
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold={self.threshold} is not a probability between 0 and 1, which "
                f'method={self.method!r} gives. Correct it, or use method="energy" for dB.'
            )
        # With a low threshold, the lower one must not fall to where everything is speech.
        return self.threshold, min(hysteresis, self.threshold / 2)

    def _scorer(self) -> Scorer:
        """U-net, as the backend computes it."""
        if uses_openvino(self.backend):
            return OpenVINOUNet(self.network_, self.n_jobs)
        return derived(self.network_, "folded", partial(folded, self.network_))

    def _scores(self, rows: AudioRows) -> list[NDArray[np.float32]]:
        frames = rows.frames
        good = np.flatnonzero(~unusable(frames.with_embeddings(None)))
        if self.method == "unet":
            # The network looks far: what zeros part is scored as if it were not.
            sound, heard = self._sound(frames)
            good = good[sound.lengths[good] > 0]
            scores = {}
            for row, found in unet_scores(self._scorer(), sound, good, self.n_jobs).items():
                scores[row] = np.zeros(len(heard[row]), np.float32)
                scores[row][heard[row]] = found
            silent = np.flatnonzero(sound.lengths == 0)
            scores |= {row: np.zeros(len(heard[row]), np.float32) for row in silent.tolist()}
        elif self.method == "energy":
            scores = {row: energy_scores(frames[row]).astype(np.float32) for row in good.tolist()}
        else:
            scores = silero_scores(rows.check_alignment(), frames, good)
        return [
            scores[row] if row in scores else np.full(length, np.nan, np.float32)
            for row, length in enumerate(frames.lengths.tolist())
        ]

    def _speech(self, rows: AudioRows) -> tuple[list[NDArray[np.bool_]], NDArray[np.bool_]]:
        """Mask of speech of each utterance, and in which ones somebody speaks at all.

        Nothing is speech in those of NaN, which are left as they are.
        """
        threshold, hysteresis = self.limits()
        hangover = round(self.hangover / rows.frames.frame_shift)
        scored = self._scores(rows)  # holds the sound of all utterances, so that it comes first
        sound, heard = self._sound(rows.frames)
        found = [scores[chosen] for scores, chosen in zip(scored, heard, strict=True)]
        somebody = sound.lengths > 0
        if self.method == "unet":
            somebody &= holds_speech(self._scorer(), sound, found, self.n_jobs, threshold)
        masks = [np.zeros(len(chosen), dtype=bool) for chosen in heard]
        for mask, chosen, scores, speaks in zip(masks, heard, found, somebody, strict=True):
            if speaks and not np.isnan(scores).any():
                mask[chosen] = smooth(
                    scores, threshold=threshold, hysteresis=hysteresis, hangover=hangover
                )
        return masks, somebody

    @staticmethod
    def _sound(frames: UtteranceFrames) -> tuple[UtteranceFrames, list[NDArray[np.bool_]]]:
        """Frames without digital silence, and which ones these are of each utterance."""
        heard = [audible(utterance, frames) for utterance in frames]
        if all(chosen.all() for chosen in heard):
            return frames, heard
        return frames.masked(heard), heard

    # -- frames of speech ----------------------------------------------------------------------

    def _settings(self, rows: AudioRows) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "version": _VERSION,
            "method": self.method,
            "limits": self.limits(),
            "hangover": float(self.hangover),
            "min_duration": float(self.min_duration),
            "frame": (rows.frames.frame_length, rows.frames.frame_shift),
        }
        if self.method == "unet":
            state = self.network_.state_dict().values()
            settings["network"] = digest(*(tensor.numpy().tobytes() for tensor in state)).hex()
        return settings

    def _function(self, rows: AudioRows) -> Function:
        if self.method == "silero":
            rows.check_alignment()
        return self._speech_frames

    def _speech_frames(self, rows: AudioRows) -> Iterator[NDArray[Any]]:
        minimum = max(round(self.min_duration / rows.frames.frame_shift), 1)
        for utterance, mask, speaks in zip(rows.frames, *self._speech(rows), strict=True):
            if speaks:
                long_enough = mask.sum() >= minimum
                yield utterance[mask if long_enough else audible(utterance, rows.frames)]
            else:
                kind = np.result_type(utterance, np.float16)  # whole numbers have no NaN
                yield np.full((1, *utterance.shape[1:]), np.nan, kind)

    def _finish(self, made: UtteranceFrames, rows: AudioRows) -> UtteranceFrames:
        made = super()._finish(made, rows)
        nothing = rows_of_nan(made)
        found = nothing & ~rows_of_nan(rows.frames)
        warn_without_speech(found, made, "hold no speech")
        share = np.where(nothing, np.nan, made.lengths / rows.frames.lengths)
        made = made.with_metadata(speech=share)
        made.frame_settings["vad"] = self.method
        return made
