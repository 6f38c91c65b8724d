"""What a voice activity detector does behind its methods: fitting, listening, deciding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, check_random_state

from sklearn_speechsent.audio import Recording
from sklearn_speechsent.audio.recording import as_recordings
from sklearn_speechsent.features.base import FramesTransformer
from sklearn_speechsent.features.mel import MelFilterBank
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.inputs import holds_recordings
from sklearn_speechsent.frames.validation import check_frames
from sklearn_speechsent.pretrained import build_vad, check_frontend, load_vad
from sklearn_speechsent.store import as_store, digest
from sklearn_speechsent.store.kept import kept
from sklearn_speechsent.training.checks import unusable
from sklearn_speechsent.training.frames import FrameChunks, train_on_frames
from sklearn_speechsent.utils.threads import torch_threads
from sklearn_speechsent.vad.fitting import check_masks, frame_masks
from sklearn_speechsent.vad.scores import (
    energy_scores,
    load_silero,
    silero_scores,
    unet_scores,
)
from sklearn_speechsent.vad.segments import frame_seconds, smooth

#: Part of every key: raise it when the same settings keep other frames.
_VERSION = 1
#: Threshold of each method, and how far speech that reached it may fall below it. That of the U-net
#: was the best of seven on scenes of held-out speakers, with the default hangover (train_vad.py).
THRESHOLDS = {"unet": (0.9, 0.15), "energy": (9.0, 3.0), "silero": (0.5, 0.15)}
#: Seconds of the chunks that the network is trained on.
_CHUNK = 4.0
#: What X holds: frames, and the recordings they were made of where it held these.
Heard = tuple[UtteranceFrames, list[Recording] | None]


class Detector(FramesTransformer):
    """Base of :class:`~sklearn_speechsent.VoiceActivityDetector`, which has the parameters."""

    method: str
    threshold: float | None
    hangover: float
    min_duration: float
    weights: Any
    frontend: Any
    max_epochs: int
    lr: float
    batch_size: int
    random_state: Any
    n_jobs: int | None
    memory: Any
    verbose: int

    # -- fitting ---------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any) -> Heard:
        self._limits()
        masks = frame_masks(y)
        if masks is not None and self.method != "unet":
            raise ValueError(
                f"y holds masks of frames, from which method={self.method!r} learns nothing. Use "
                'method="unet" or leave y out.'
            )
        for name in ("network_", "record_", "loss_curve_"):
            self.__dict__.pop(name, None)
        settings: dict[str, Any] = {}
        if self.method == "unet":
            checkpoint = load_vad(self.weights)
            self.network_ = build_vad(checkpoint)
            self.record_ = replace(checkpoint, state={})
            known = MelFilterBank().get_params()
            settings = {k: v for k, v in checkpoint.frontend.items() if k in known}
        elif self.method == "silero":
            load_silero()  # a missing package is an error before anything is decoded
        shared = {"n_jobs": self.n_jobs, "memory": self.memory, "verbose": self.verbose}
        self.frontend_ = (
            MelFilterBank(**settings, **shared) if self.frontend is None else clone(self.frontend)
        )
        # Labels pass on to the front end, which looks at them before it decodes.
        frames, recordings = self._listen(X, y if masks is None else None, reset=True)
        if masks is not None:
            self._train(frames, masks)
        return frames, recordings

    def _train(self, frames: UtteranceFrames, masks: list[Any]) -> None:
        targets = check_masks(masks, frames.lengths)
        bad = unusable(frames.with_embeddings(None))
        if bad.any():
            raise ValueError(
                f"X contains NaN or infinity in {int(bad.sum())} utterances, the first in row "
                f"{int(np.flatnonzero(bad)[0])}. Leave these rows out of X and y before fitting."
            )
        rng = check_random_state(self.random_state)
        _, shift = frame_seconds(frames.frontend)
        chunk = max(1, round(_CHUNK / shift))
        with torch_threads(self.n_jobs):
            self.loss_curve_ = train_on_frames(
                self.network_,
                FrameChunks(frames, targets, chunk, self.batch_size, rng),
                max_epochs=self.max_epochs,
                lr=self.lr,
                random_state=rng,
                verbose=self.verbose,
            )

    # -- listening -------------------------------------------------------------------------------

    def _listen(self, X: Any, y: Any = None, *, reset: bool = False) -> Heard:
        """Frames of X, and the recordings they were made of where X holds these."""
        if not reset:
            check_is_fitted(self, "network_" if self.method == "unet" else "n_features_in_")
        recordings = None
        if holds_recordings(X):
            recordings = as_recordings(X)
            door = self.frontend_
            X = door.fit_transform(X, y) if reset else door.transform(X)
        elif self.method == "silero":
            raise ValueError(
                'method="silero" listens to recordings, and X holds frames. Pass recordings: in a '
                "Pipeline it stands in the place of MelFilterBank, make_sentiment_pipeline("
                'mfb="passthrough", vad=VoiceActivityDetector("silero")).'
            )
        frames = check_frames(self, X, reset=reset)
        if self.method == "silero":
            return frames, recordings
        if frames.frontend.get("cmn") is not None:
            raise ValueError(
                "VoiceActivityDetector needs levels, but the frames come out of SlidingCMN. Put "
                "the detector before it."
            )
        if len(frames.frame_shape) != 1:
            raise ValueError(
                f"Frames must have shape (n_mels,), got {frames.frame_shape}. Pass the output of "
                "MelFilterBank."
            )
        if self.method == "unet":
            check_frontend(self.record_, frames)
        return frames, recordings

    def _limits(self) -> tuple[float, float]:
        """Threshold and hysteresis in the unit of the scores."""
        threshold, hysteresis = THRESHOLDS[self.method]
        if self.threshold is None:
            return threshold, hysteresis
        if self.method == "energy":
            return self.threshold, hysteresis
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold={self.threshold} is no probability between 0 and 1, which "
                f'method={self.method!r} gives. Correct it, or use method="energy" for dB.'
            )
        # A low threshold must not let the lower one fall to where everything is speech.
        return self.threshold, min(hysteresis, self.threshold / 2)

    def _scores(
        self, frames: UtteranceFrames, recordings: list[Recording] | None
    ) -> list[NDArray[np.float32]]:
        rows = np.flatnonzero(~unusable(frames.with_embeddings(None)))
        if self.method == "unet":
            scores = unet_scores(self.network_, frames, rows, self.n_jobs)
        elif self.method == "energy":
            scores = {row: energy_scores(frames[row]).astype(np.float32) for row in rows.tolist()}
        else:
            scores = silero_scores(aligned(frames, recordings), frames, rows)
        return [
            scores[row] if row in scores else np.full(length, np.nan, np.float32)
            for row, length in enumerate(frames.lengths.tolist())
        ]

    def _speech(
        self, frames: UtteranceFrames, recordings: list[Recording] | None
    ) -> list[NDArray[np.bool_]]:
        """Mask of speech of each utterance; nothing is speech in those of NaN."""
        threshold, hysteresis = self._limits()
        _, shift = frame_seconds(frames.frontend)
        hangover = round(self.hangover / shift)
        return [
            np.zeros(len(scores), dtype=bool)
            if np.isnan(scores).any()
            else smooth(scores, threshold=threshold, hysteresis=hysteresis, hangover=hangover)
            for scores in self._scores(frames, recordings)
        ]

    def _keep(self, frames: UtteranceFrames, recordings: list[Recording] | None) -> UtteranceFrames:
        if self.method == "silero":
            recordings = aligned(frames, recordings)
        if self.memory is None:
            arrays = list(self._kept_frames((frames, recordings)))
            made = frames.with_frames(arrays, dtype=frames.dtype)
        else:
            made = kept(
                as_store(self.memory).shelf("vad", self._settings(frames)),
                frames,
                self._kept_frames,
                take=lambda rows: (frames[rows], recordings and [recordings[row] for row in rows]),
                verbose=self.verbose,
                description="VAD",
            )
        made.frontend["vad"] = self.method
        return made

    def _kept_frames(self, heard: Heard) -> Iterator[NDArray[Any]]:
        frames, recordings = heard
        _, shift = frame_seconds(frames.frontend)
        minimum = max(round(self.min_duration / shift), 1)
        for utterance, mask in zip(frames, self._speech(frames, recordings), strict=True):
            yield utterance[mask] if mask.sum() >= minimum else utterance

    def _settings(self, frames: UtteranceFrames) -> dict[str, Any]:
        """All that what is kept depends on beside the frames."""
        settings: dict[str, Any] = {
            "version": _VERSION,
            "method": self.method,
            "limits": self._limits(),
            "hangover": float(self.hangover),
            "min_duration": float(self.min_duration),
            "frame": frame_seconds(frames.frontend),
        }
        if self.method == "unet":
            state = self.network_.state_dict().values()
            settings["network"] = digest(*(tensor.numpy().tobytes() for tensor in state)).hex()
        return settings


def aligned(frames: UtteranceFrames, recordings: list[Recording] | None) -> list[Recording]:
    """Recordings of the frames, none of which a front end may have left out."""
    n = len(recordings or ())
    if recordings is None or n != len(frames):
        raise ValueError(
            f"The front end made {len(frames)} utterances of {n} recordings, so that nobody knows "
            'which is which. Use MelFilterBank(on_error="nan").'
        )
    return recordings
