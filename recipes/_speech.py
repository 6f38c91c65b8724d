"""Speech of the training recipes."""

from __future__ import annotations

import numpy as np
import soundfile
from numpy.typing import NDArray

from sklearn_speechsent.datasets import get_data_home


def load_speech() -> list[NDArray[np.float32]]:
    """One utterance of each of the 251 speakers of the LibriSpeech excerpts, in a fixed order.

    Returns
    -------
    list of ndarray of float32 of shape (n_samples,)
        At 16 kHz.
    """
    folder = get_data_home() / "librispeech_excerpts" / "train-clean-100"
    files = sorted(folder.rglob("*.flac"))
    if not files:
        raise SystemExit(f"There are no recordings in {folder}: set SPEECHSENT_DATA.")
    return [soundfile.read(file, dtype="float32")[0] for file in files]
