"""Recordings in which nobody speaks, told from those with little or unusual speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.vad.scores import Scorer, unet_scores
from sklearn_speechsent.vad.segments import without_clicks

#: Probabilities that speech reaches somewhere, and that leave no doubt; share of the bands by which
#: a voice that is shouted is lowered to where the network knows voices.
REACHED, SURE, LOWERED = 0.5, 0.9, 0.075
#: Frames over which spectra are averaged, and nepers by which those of speech differ from each
#: other, in the mean over the bands. Under pink noise as strong as the speech, recordings of
#: RAVDESS and LibriSpeech have 0.37 and more, in reverberant rooms too; noise, bursts, hum and
#: tones have 0.34 and less.
AVERAGED, MOVED = 9, 0.36
#: Frames of an utterance that are looked at, evenly spaced: enough, and little memory.
LOOKED_AT = 3000


def holds_speech(
    network: Scorer,
    frames: UtteranceFrames,
    scores: list[NDArray[np.float32]],
    n_jobs: int | None,
    threshold: float,
) -> NDArray[np.bool_]:
    """Tell in which utterances somebody speaks.

    Parameters
    ----------
    network : SpeechUNet or OpenVINOUNet
        In eval mode.
    frames : UtteranceFrames
        Log-mel frames.
    scores : list of ndarray of shape (n_frames_i,)
        Probabilities that the network gives them; NaN for utterances of NaN.
    n_jobs : int or None
        Threads of torch.
    threshold : float
        Probability that speech has to reach.

    Returns
    -------
    ndarray of bool of shape (n,)
        True for utterances of NaN, about which there is nothing to find out.

    Notes
    -----
    Somebody speaks if the probability reaches one half (or ``threshold``, if that is lower), and
    if the spectrum of these frames moves: hum and tones sound like a voice to the network, and
    stand still. Shouted voices lie above those that it was trained on: what does not reach 0.9 is
    scored again, lowered by some bands, and the higher probability counts.
    """
    limit = min(REACHED, threshold)
    heard = [without_clicks(values) if len(values) else values for values in scores]
    doubtful = np.array(
        [len(v) > 0 and np.isfinite(v).all() and not (v >= SURE).any() for v in heard], dtype=bool
    ).nonzero()[0]
    if len(doubtful):
        lowered = _lowered(frames[doubtful])
        again = unet_scores(network, lowered, np.arange(len(doubtful)), n_jobs)
        for number, row in enumerate(doubtful.tolist()):
            heard[row] = np.maximum(heard[row], without_clicks(again[number]))
    return np.array(
        [
            np.isnan(values).any() or _moves(utterance, values >= limit)
            for utterance, values in zip(frames, heard, strict=True)
        ]
    )


def lowered_bands(n_bands: int) -> NDArray[np.int64]:
    """Bands of a spectrum that is shifted down, the highest one repeated.

    Parameters
    ----------
    n_bands : int

    Returns
    -------
    ndarray of int of shape (n_bands,)
    """
    return np.minimum(np.arange(n_bands) + max(1, round(LOWERED * n_bands)), n_bands - 1)


def _lowered(frames: UtteranceFrames) -> UtteranceFrames:
    """Frames whose spectra are shifted down, the highest band repeated."""
    bands = lowered_bands(frames.frame_shape[0])
    return frames.with_frames([utterance[:, bands] for utterance in frames])


def _moves(utterance: NDArray[np.floating], speech: NDArray[np.bool_]) -> bool:
    """Whether the spectrum moves, whatever its loudness does, in frames that may be speech."""
    found = np.flatnonzero(speech)
    if not len(found):
        return False
    found = found[:: -(-len(found) // LOOKED_AT)]
    around = found[:, None] + np.arange(AVERAGED) - AVERAGED // 2
    spectra = utterance[around.clip(0, len(utterance) - 1)].mean(axis=1, dtype=np.float32)
    spectra -= spectra.mean(axis=1, keepdims=True)
    return bool(spectra.std(axis=0, dtype=np.float64).mean() >= MOVED)
