"""Frames of an utterance that are neither digital silence nor cut by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.utils.silence import digital_silence


def audible(utterance: NDArray[Any], frames: UtteranceFrames) -> NDArray[np.bool_]:
    """Tell which log-mel frames hold signal from their beginning to their end.

    Frames overlap, so that those next to digital silence hold some zeros. Without them, zeros
    around a recording leave exactly the frames that it has without zeros.

    Parameters
    ----------
    utterance : ndarray of shape (n_frames, n_mels)
    frames : UtteranceFrames
        Says how long frames are.

    Returns
    -------
    ndarray of bool of shape (n_frames,)
        True for frames of NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import UtteranceFrames
    >>> frames = UtteranceFrames.from_arrays([np.r_[np.zeros((4, 2)), np.full((3, 2), -16.0)]])
    >>> audible(frames[0], frames)
    array([ True,  True, False, False, False, False, False])
    """
    silent = digital_silence(utterance)
    n_cut = math.ceil(frames.frame_length / frames.frame_shift - 1e-6) - 1
    heard = ~silent
    if silent.any():
        for distance in range(1, n_cut + 1):
            heard[distance:] &= ~silent[:-distance]
            heard[:-distance] &= ~silent[distance:]
    return heard
