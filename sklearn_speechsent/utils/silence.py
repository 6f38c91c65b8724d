"""Digital silence: frames of samples that are all zero."""

from typing import Any

import numpy as np
from torch import Tensor

#: No bin of a frame with any signal is as low. The floor of log-mel energies is the logarithm of
#: float32's epsilon, -15.94; in half precision -15.9375.
DIGITAL_FLOOR = -15.93


def digital_silence(frames: Any) -> Any:
    """Tell which log-mel frames hold no signal: all of their bins lie at the floor.

    They are 20 nepers below the noise of any microphone, and would move every mean along.

    Parameters
    ----------
    frames : ndarray or Tensor of shape (..., n_mels)
        Log-mel energies before any mean normalisation.

    Returns
    -------
    ndarray or Tensor of bool of shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.utils.silence import digital_silence
    >>> digital_silence(np.array([[-15.9424, -15.9424], [-15.9424, -3.2]]))
    array([ True, False])
    """
    if isinstance(frames, Tensor):
        # all() of a mask takes six times as long as a maximum.
        return frames.amax(-1) <= DIGITAL_FLOOR
    # Most frames have a first bin above the floor, and a maximum takes thirty times as long.
    silent = np.asarray(frames[..., 0] <= DIGITAL_FLOOR)
    if silent.any():
        silent[silent] = frames[silent].max(-1) <= DIGITAL_FLOOR
    return silent
