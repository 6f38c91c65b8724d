"""Causal detection of speech in frames, the same for files and for streams.

Frames are those of the detector's weights: frame i looks at 25 ms from sample ``160 * i`` of the
16 kHz signal, and stands for the 160 samples around the centre of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.features import MelFilterBank
from sklearn_speechsent.nn import SpeechUNet, folded
from sklearn_speechsent.nn.unet import frame_levels, utterance_levels
from sklearn_speechsent.pretrained import build_vad, load_vad_weights
from sklearn_speechsent.store import digest
from sklearn_speechsent.utils.silence import DIGITAL_FLOOR, digital_silence
from sklearn_speechsent.utils.threads import torch_threads
from sklearn_speechsent.vad import VoiceActivityDetector
from sklearn_speechsent.vad.scores import speech_probability
from sklearn_speechsent.vad.segments import without_clicks

#: Rate (Hz) of the signal, and samples of a frame and between frames.
RATE, LENGTH, SHIFT = 16000, 400, 160
#: Frames that are scored at a time, and those before and after them that scores are computed from:
#: 4.16 s of context and 160 ms of look-ahead. Blocks and contexts are multiples of 32, the coarsest
#: stride of the U-net.
BLOCK, CONTEXT, LOOK_AHEAD = 32, 416, 16
#: Marks of frames, of which 0 is neither.
GOES_ON, SPEECH = 1, 2
#: Frames on either side of a block that its median filter sees.
_MARGIN = 8
#: Frames before a block that its scores depend on, once the level of the whole context is known.
_SEEN = 160
#: Version of what is computed, for stores.
_VERSION = 1
#: Parameters of the front end that its frames do not depend on.
_NOT_OF_FRAMES = ("on_error", "n_jobs", "memory", "verbose")


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

    See Also
    --------
    VoiceActivityDetector : The same network on whole recordings.
    StreamingSentiment : Uses it.
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

    def marks(self, frames: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Which limits the probabilities of a block exceed.

        Parameters
        ----------
        frames : ndarray of shape (CONTEXT + BLOCK + LOOK_AHEAD, n_mels)
            See :meth:`probabilities`.

        Returns
        -------
        ndarray of shape (BLOCK,)
            0 for none, `GOES_ON` for the lower one, `SPEECH` for both.
        """
        found = self.probabilities(frames)
        return np.where(found > self.threshold, SPEECH, found > self.low).astype(np.uint8)

    def settings(self) -> dict[str, Any]:
        """All that marks depend on next to the samples, for a store.

        Returns
        -------
        dict
        """
        state = self.network.state_dict().values()
        return {
            "version": _VERSION,
            "network": digest(*(tensor.numpy().tobytes() for tensor in state)).hex(),
            "mel": {k: v for k, v in self.mel.get_params().items() if k not in _NOT_OF_FRAMES},
            "limits": (self.threshold, self.low),
            "blocks": (BLOCK, CONTEXT, LOOK_AHEAD),
        }


def frames_in(n_samples: int) -> int:
    """Number of whole frames in a signal.

    Parameters
    ----------
    n_samples : int

    Returns
    -------
    int

    Examples
    --------
    >>> frames_in(LENGTH - 1), frames_in(LENGTH + SHIFT)
    (0, 2)
    """
    return max(0, (n_samples - LENGTH) // SHIFT + 1)


class Detection:
    """Marks of one signal, block by block, while it comes in.

    Frames before the first and after the last whole one are digital silence.

    Parameters
    ----------
    detector : CausalDetector
    """

    def __init__(self, detector: CausalDetector) -> None:
        self._detector = detector
        self._frames = np.full(
            (CONTEXT + BLOCK + LOOK_AHEAD, detector.mel.n_mels), DIGITAL_FLOOR, dtype=np.float32
        )
        self._pending = np.empty(0, np.float32)
        self._n = self._n_frames = 0

    def push(self, samples: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
        """Take the next samples.

        Parameters
        ----------
        samples : ndarray of shape (n,)

        Returns
        -------
        list of ndarray of shape (BLOCK,)
            Marks of the blocks whose look-ahead is there now, see :meth:`CausalDetector.marks`.
        """
        self._n += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        blocks: list[NDArray[np.uint8]] = []
        while len(self._pending) >= self._group_length:
            blocks += self._take_group()
        return blocks

    def finish(self) -> list[NDArray[np.uint8]]:
        """Take the end of the signal.

        Returns
        -------
        list of ndarray of shape (BLOCK,)
            Marks of the other blocks.
        """
        n_frames = frames_in(self._n)
        blocks: list[NDArray[np.uint8]] = []
        while self._n_frames - LOOK_AHEAD < n_frames:
            missing = max(0, self._group_length - len(self._pending))
            self._pending = np.pad(self._pending, (0, missing))
            blocks += self._take_group(n_frames)
        return blocks

    @property
    def _group(self) -> int:
        """Number of the next mel frames, which are the same groups however samples come.

        First come those that the first block looks ahead to, and then a block at a time.
        """
        return BLOCK if self._n_frames else LOOK_AHEAD

    @property
    def _group_length(self) -> int:
        return (self._group - 1) * SHIFT + LENGTH

    def _take_group(self, n_frames: int | None = None) -> list[NDArray[np.uint8]]:
        """Take the next mel frames, of all ``n_frames`` of the signal where it has ended.

        With them all is there that a block needs, but for the first ones.
        """
        frames = self._detector.frames(self._pending[: self._group_length])
        if n_frames is not None:
            frames[max(0, n_frames - self._n_frames) :] = DIGITAL_FLOOR
        self._pending = self._pending[len(frames) * SHIFT :]
        self._frames = np.concatenate([self._frames[len(frames) :], frames])
        self._n_frames += len(frames)
        return [] if self._n_frames == LOOK_AHEAD else [self._detector.marks(self._frames)]


class KnownDetection:
    """Marks of one signal that were found before, given when :class:`Detection` would give them.

    Parameters
    ----------
    marks : ndarray of shape (n_blocks * BLOCK,)
    """

    def __init__(self, marks: NDArray[np.uint8]) -> None:
        self._blocks = marks.reshape(-1, BLOCK)
        self._n = self._given = 0

    def push(self, samples: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
        """Take the next samples, see :meth:`Detection.push`."""
        self._n += len(samples)
        return self._up_to(max(0, frames_in(self._n) - LOOK_AHEAD) // BLOCK)

    def finish(self) -> list[NDArray[np.uint8]]:
        """Take the end of the signal, see :meth:`Detection.finish`."""
        return self._up_to(-(-frames_in(self._n) // BLOCK))

    def _up_to(self, n_blocks: int) -> list[NDArray[np.uint8]]:
        first, self._given = self._given, n_blocks
        return list(self._blocks[first:n_blocks])
