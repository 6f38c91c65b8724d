"""Small detectors, and utterances that are easy to learn."""

import numpy as np
import torch

from sklearn_speechsent import UtteranceFrames, VoiceActivityDetector
from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.pretrained import save_vad_weights

FRAME_SETTINGS = {"n_mels": 12, "sample_rate": 16000, "frame_length": 0.025, "frame_shift": 0.01}


def weights(path, seed=0, **frame_settings):
    """File of a small network that answers differently from frame to frame."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SpeechUNet(12, widths=(8, 8, 8))
    return save_vad_weights(
        path,
        net.state_dict(),
        architecture=net.architecture,
        frame_settings={**FRAME_SETTINGS, **frame_settings},
    )


def loud_stretches(seed=0):
    """Utterances with loud stretches, and where they are."""
    rng = np.random.default_rng(seed)
    arrays, masks = [], []
    for length in (260, 90, 430, 600, 75, 333):
        mask = np.repeat(rng.random(length // 30 + 1) < 0.5, 30)[:length]
        arrays.append((rng.normal(size=(length, 12)) + 8 * mask[:, None]).astype(np.float32))
        masks.append(mask)
    return UtteranceFrames.from_arrays(arrays, frame_settings=FRAME_SETTINGS), masks


def trainee(path, **params):
    """Detector that learns in a moment."""
    settings = dict(max_epochs=25, batch_size=2, lr=1e-2, hangover=0.0, random_state=0)
    return VoiceActivityDetector(weights=path, **{**settings, **params})
