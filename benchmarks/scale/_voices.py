"""Speech for the videos of the stand-in."""

import os

import numpy as np
import pandas as pd

from sklearn_speechsent.datasets import load_ravdess


def find_voices(data_home, learnable=False):
    """Utterances for the videos.

    Parameters
    ----------
    data_home : Path
    learnable : bool, default=False
        Whether their valence must be known, and each speaker must have all of them.

    Returns
    -------
    DataFrame
        Columns ``file, speaker, valence`` (-1, 0, 1; 0 where it need not be known).

    Raises
    ------
    SystemExit
        If there are none.
    """
    if learnable:
        frame = load_ravdess(data_home=data_home).frame
        voices = frame[["file", "speaker"]].assign(valence=np.sign(frame["label"]))
        voices = voices[voices.groupby("speaker")["valence"].transform("nunique") == 3]
    else:
        folders = [data_home / "librispeech_excerpts", data_home / "ravdess"]
        files = [str(path) for folder in folders for path in sorted(folder.rglob("*.flac"))]
        speakers = [os.path.basename(os.path.dirname(file)) for file in files]
        voices = pd.DataFrame({"file": files, "speaker": speakers, "valence": 0})
    if voices.empty:
        raise SystemExit(f"There are no recordings in {data_home}: set SPEECHSENT_DATA.")
    return voices


def join(utterances, n_samples, rng):
    """Join utterances in random order, again and again until there are enough samples.

    Parameters
    ----------
    utterances : list of ndarray of float32 of shape (n,)
    n_samples : int
    rng : Generator

    Returns
    -------
    ndarray of float32 of shape (n_samples,)
    """
    line = np.concatenate([utterances[i] for i in rng.permutation(len(utterances))])
    return np.resize(np.roll(line, -rng.integers(len(line))), n_samples)


def make_video(utterances, segments, rng):
    """Sound of one video.

    Parameters
    ----------
    utterances : dict of int to list of ndarray
        Of one speaker, by valence (-1, 0, 1); all under 0 if valence does not matter.
    segments : DataFrame
        Columns ``first, last`` (samples), ``length`` (of the video) and ``sentiment``.
    rng : Generator

    Returns
    -------
    ndarray of int16 of shape (n_samples,)
        At a loudness of its own, rounded with dither: no two videos are the same, and none has
        digital silence.
    """
    n_samples = int(segments["length"].iloc[0])
    samples = join(utterances[0], n_samples, rng)
    if len(utterances) > 1:
        for first, last, label in segments[["first", "last", "sentiment"]].itertuples(index=False):
            said = utterances[int(np.sign(label))]
            samples[first:last] = join(said, last - first, rng)
    samples *= rng.uniform(0.5, 0.9) * 2**15
    samples += rng.random(n_samples, dtype=np.float32) - rng.random(n_samples, dtype=np.float32)
    return np.rint(samples).astype(np.int16)
