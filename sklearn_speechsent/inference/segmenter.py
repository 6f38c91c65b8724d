"""Causal segmentation into utterances, the same for files and for streams.

Frames are those of the detector's weights: frame i looks at 25 ms from sample ``160 * i`` of the
16 kHz signal, and stands for the 160 samples around the centre of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features import MelFilterBank
from sklearn_speechsent.inference.tail import Tail
from sklearn_speechsent.nn import SpeechUNet, folded
from sklearn_speechsent.nn.unet import frame_levels, utterance_levels
from sklearn_speechsent.pretrained import build_vad, load_vad_weights
from sklearn_speechsent.utils.silence import DIGITAL_FLOOR, digital_silence
from sklearn_speechsent.utils.threads import torch_threads
from sklearn_speechsent.vad import VoiceActivityDetector
from sklearn_speechsent.vad.scores import speech_probability
from sklearn_speechsent.vad.segments import without_clicks

#: Rate (Hz) of the signal, and samples of a frame and between frames.
RATE, LENGTH, SHIFT = 16000, 400, 160
#: Samples from the first one of a frame to those that it stands for.
_CENTRED = (LENGTH - SHIFT) // 2
#: Frames that are scored at a time, and those before and after them that scores are computed from:
#: 4.16 s of context and 160 ms of look-ahead. Blocks and contexts are multiples of 32, the coarsest
#: stride of the U-net.
BLOCK, CONTEXT, LOOK_AHEAD = 32, 416, 16
#: Frames before the one that reaches the threshold in which an utterance may begin.
REACH = 300
#: Frames on either side of a block that its median filter sees.
_MARGIN = 8
#: Frames before a block that its scores depend on, once the level of the whole context is known.
_SEEN = 160


@dataclass(frozen=True)
class CausalDetector:
    """Speech in blocks of frames, each computed from a stated context in always the same shape.

    It is only read: streams may share it.

    Parameters
    ----------
    network : SpeechUNet
        For inference.
    mel : MelFilterBank
        Makes the frames of the network.
    threshold : float
        Probability that a run of speech reaches.
    low : float
        Probability above which it goes on.
    hangover : int
        Frames that an utterance has before and after its speech.
    """

    network: SpeechUNet
    mel: MelFilterBank
    threshold: float
    low: float
    hangover: int

    @classmethod
    def of(cls, detector: VoiceActivityDetector | CausalDetector | None = None) -> CausalDetector:
        """Causal form of a detector.

        Parameters
        ----------
        detector : VoiceActivityDetector or CausalDetector, optional
            Fitted or not; of its parameters ``weights``, ``threshold`` and ``hangover`` count.

        Returns
        -------
        CausalDetector
            A new one, unless it is one.

        Raises
        ------
        ValueError
            If its method is not ``"unet"``, or its frames are not of 25 ms every 10 ms at 16 kHz.
        """
        if isinstance(detector, CausalDetector):
            return detector
        detector = VoiceActivityDetector() if detector is None else detector
        if detector.method != "unet":
            raise ValueError(
                f"method={detector.method!r} cannot follow a stream. Pass a VoiceActivityDetector "
                'with method="unet".'
            )
        if hasattr(detector, "network_"):
            weights, network = detector.weights_, detector.network_
        else:
            weights = load_vad_weights(detector.weights)
            network = build_vad(weights)
        settings = weights.frame_settings
        frames = settings["sample_rate"], settings["frame_length"], settings["frame_shift"]
        if frames != (RATE, LENGTH / RATE, SHIFT / RATE):
            raise ValueError(
                f"{weights.name}: its frames of {frames[1]} s every {frames[2]} s at {frames[0]} "
                f"Hz are not those of {LENGTH / RATE} s every {SHIFT / RATE} s at {RATE} Hz that "
                "utterances are cut at."
            )
        threshold, hysteresis = detector.limits()
        known = MelFilterBank().get_params()
        return cls(
            network=folded(network),
            mel=MelFilterBank(**{k: v for k, v in settings.items() if k in known}),
            threshold=threshold,
            low=threshold - hysteresis,
            hangover=round(detector.hangover * RATE / SHIFT),
        )

    def frames(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel frames.

        Parameters
        ----------
        samples : ndarray of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_frames, n_mels)
        """
        with torch_threads(1):
            return self.mel.log_mel(samples)

    def probabilities(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Median-filtered probabilities of speech in a block.

        Parameters
        ----------
        frames : ndarray of shape (CONTEXT + BLOCK + LOOK_AHEAD, n_mels)
            The block, and what comes before and after it; digital silence where there is nothing.
            Their level is subtracted.

        Returns
        -------
        ndarray of shape (BLOCK,)
        """
        near = slice(CONTEXT - _MARGIN, CONTEXT + BLOCK + _MARGIN)
        if digital_silence(frames[near]).all():
            return np.zeros(BLOCK, np.float32)
        x = torch.from_numpy(frames)[None]
        with torch_threads(1), torch.inference_mode():
            level = utterance_levels(*frame_levels(x), torch.tensor([len(frames)]))
            x = x[:, CONTEXT - _SEEN :]
            found = speech_probability(self.network, x, None, level)[0]
        found = without_clicks(found[_SEEN - _MARGIN : _SEEN + BLOCK + _MARGIN])
        return found[_MARGIN:-_MARGIN]


@dataclass(frozen=True)
class Change:
    """Sample at which an utterance opens or closes."""

    sample: int
    opens: bool


class Segmenter:
    """Utterances of one signal, found while it comes in.

    Parameters
    ----------
    detector : CausalDetector
    keep : int
        Number of the last frames, of which the speech can be counted.

    Attributes
    ----------
    decided : int
        Sample up to which it is known where there is speech.
    n : int
        Number of samples that came in.

    Notes
    -----
    Speech begins with a frame whose probability is above the threshold, together with the frames
    directly before it that are above ``low``, 3 s of them at most; it ends with the first frame
    that is not above ``low``. An utterance opens a hangover before its first frame, but not before
    the end of the last one, and closes a hangover after a frame of speech if no speech begins
    within it. Frames before the first and after the last whole one are digital silence.
    """

    def __init__(self, detector: CausalDetector, keep: int) -> None:
        self._detector = detector
        n_mels = detector.mel.n_mels
        self._frames = np.full(
            (CONTEXT + BLOCK + LOOK_AHEAD, n_mels), DIGITAL_FLOOR, dtype=np.float32
        )
        self._pending = np.empty(0, np.float32)
        self._n_frames = self._blocks = 0
        #: Frames of speech before each frame.
        self._counts = Tail(keep + 2 * BLOCK, np.int64)
        self._counts.append(np.zeros(1, np.int64))
        self._run: int | None = None  # first frame of the run that is not over
        self._reached = False  # whether it is speech
        self._last: int | None = None  # last frame of speech of the utterance that is open
        self._end = 0  # of the last utterance
        self.n = self.decided = 0

    def push(self, samples: NDArray[np.float32]) -> list[Change]:
        """Take the next samples.

        Parameters
        ----------
        samples : ndarray of shape (n,)
            As many as of a block, at most, so that what is found is not forgotten.

        Returns
        -------
        list of Change
        """
        self.n += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        changes: list[Change] = []
        while len(self._pending) >= self._group_length:
            changes += self._take_group()
        return changes

    def finish(self) -> list[Change]:
        """Take the end of the signal.

        Returns
        -------
        list of Change
        """
        n_frames = max(0, (self.n - LENGTH) // SHIFT + 1)
        n_blocks = -(-n_frames // BLOCK)
        changes: list[Change] = []
        while self._blocks < n_blocks:
            missing = max(0, self._group_length - len(self._pending))
            self._pending = np.pad(self._pending, (0, missing))
            changes += self._take_group(n_frames)
        if self._last is not None:
            changes.append(Change(self._close(self._last), opens=False))
        self.decided = self.n
        return [Change(min(change.sample, self.n), change.opens) for change in changes]

    def speech_before(self, sample: int) -> int:
        """Number of frames of speech before a sample that is decided and not forgotten.

        Parameters
        ----------
        sample : int

        Returns
        -------
        int
        """
        frame = min(max(0, -(-(sample - _CENTRED) // SHIFT)), self._counts.n - 1)
        return int(self._counts[frame : frame + 1][0])

    @property
    def _group(self) -> int:
        """Number of the next mel frames, which are the same groups however samples come.

        First come those that the first block looks ahead to, and then a block at a time.
        """
        return BLOCK if self._n_frames else LOOK_AHEAD

    @property
    def _group_length(self) -> int:
        return (self._group - 1) * SHIFT + LENGTH

    def _take_group(self, n_frames: int | None = None) -> list[Change]:
        """Take the next mel frames, of all ``n_frames`` of the signal where it has ended.

        A block is decided as soon as the frames after it are there.
        """
        frames = self._detector.frames(self._pending[: self._group_length])
        if n_frames is not None:
            frames[max(0, n_frames - self._n_frames) :] = DIGITAL_FLOOR
        self._pending = self._pending[len(frames) * SHIFT :]
        self._frames = np.concatenate([self._frames[len(frames) :], frames])
        self._n_frames += len(frames)
        if self._n_frames == LOOK_AHEAD:
            return []
        changes = self._decide(self._detector.probabilities(self._frames))
        self._blocks += 1
        self.decided = _bound(self._blocks * BLOCK)
        return changes

    def _decide(self, probabilities: NDArray[np.float32]) -> list[Change]:
        """Run from block to block, in each over the runs of frames above ``low``."""
        detector, first = self._detector, self._blocks * BLOCK
        going_on = probabilities > detector.low
        above = np.flatnonzero(probabilities > detector.threshold)
        before = int(self._counts[self._counts.n - 1 : self._counts.n][0])
        self._counts.append(before + np.cumsum(going_on))
        edges = np.flatnonzero(np.diff(going_on, prepend=False, append=False))
        changes: list[Change] = []
        if self._run is not None and not going_on[0]:
            self._run, self._reached = None, False
        for start, stop in edges.reshape(-1, 2).tolist():
            if start or self._run is None:
                self._run, self._reached = first + start, False
            reached = above[(above >= start) & (above < stop)]
            if not self._reached and len(reached):
                changes += self._reach(self._run, first + int(reached[0]))
                self._reached = True
            if self._reached:
                self._last = first + stop - 1
        if not going_on[-1]:
            self._run, self._reached = None, False
        last = first + BLOCK - 1
        if self._last is not None and self._last < last and self._last + detector.hangover <= last:
            changes.append(Change(self._close(self._last), opens=False))
        return changes

    def _reach(self, run: int, frame: int) -> list[Change]:
        """Begin with speech: a run of frames reaches the threshold."""
        hangover, changes = self._detector.hangover, []
        if self._last is not None:
            if frame <= self._last + hangover:
                return []
            changes.append(Change(self._close(self._last), opens=False))
        start = _bound(max(run, frame - REACH) - hangover)
        return [*changes, Change(max(start, self._end), opens=True)]

    def _close(self, last: int) -> int:
        self._last = None
        self._end = _bound(last + self._detector.hangover + 1)
        return self._end


def _bound(frame: int) -> int:
    """First sample that a frame stands for; the first frame also stands for what is before."""
    return SHIFT * frame + _CENTRED if frame > 0 else 0
