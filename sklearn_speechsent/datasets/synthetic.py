"""Synthetic corpus of wordless voices whose melody, effort and tempo follow the label."""

import io
import tempfile
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from sklearn.utils import Bunch, check_scalar

from sklearn_speechsent.datasets._bunch import check_numbers, make_bunch
from sklearn_speechsent.datasets._voice import Speaker, speak
from sklearn_speechsent.utils.files import atomic_write
from sklearn_speechsent.utils.validation import new_generator

DESCR = """\
Synthetic speech sentiment
==========================

Not speech: {n_recordings} recordings of {n_speakers} made-up voices that say meaningless syllables.
Melody, effort, tempo and voice quality follow the label, differently for each speaker and with
noise, so that methods can be tried and tested without a corpus. Scores on this data say nothing
about real recordings.

:Levels and counts: {counts}
:Groups: the speakers; keep them apart when splitting
:Format: WAV, 16 bit, mono, {sample_rate} Hz
:Licence: none needed, no recording of a person is involved
"""


def make_speech_sentiment(
    n_speakers: int = 12,
    n_utterances: int = 10,
    *,
    levels: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    out_dir: str | Path | None = None,
    sample_rate: int = 16000,
    return_X_y: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch | tuple[Any, Any]:
    """Write a synthetic corpus of speech-like WAV files with ordinal sentiment labels.

    Each speaker has its own pitch, vocal tract, tempo, loudness, voice quality and background
    noise, and expresses feelings more or less strongly. The feeling moves pitch, loudness, tempo
    and brightness, but less than speakers differ, and not all cues depend on its sign. It is
    meant for trying code and does not replace speech.

    Parameters
    ----------
    n_speakers : int, default=12
        Number of speakers.
    n_utterances : int, default=10
        Number of utterances of each speaker, 1.5 to 3.5 s long.
    levels : sequence of numbers, default=(-3, -2, -1, 0, 1, 2, 3)
        The scale: two or more numbers in ascending order. They occur as evenly as possible,
        within each speaker and in total.
    out_dir : str or Path, default=None
        Folder to write to, made if it does not exist. Files of the same names are replaced, others
        are left alone. None makes a new temporary folder, which the caller has to remove.
    sample_rate : int, default=16000
        Hz, 8000 or more.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    random_state : int, RandomState instance or None, default=None
        Seed of everything. An int gives the same files on every call, and the first speakers
        stay the same when `n_speakers` grows. None draws the seed from NumPy's global generator,
        as everywhere in scikit-learn.

    Returns
    -------
    Bunch or tuple of (data, target)
        A Bunch has the fields

        data : ndarray of str of shape (n_speakers * n_utterances,)
            Absolute paths, by speaker, then by utterance.
        target : ndarray of shape (n_speakers * n_utterances,)
            The level of each recording; int if all `levels` are.
        groups : ndarray of int of shape (n_speakers * n_utterances,)
            Number of the speaker, from 0.
        frame : DataFrame
            Columns ``file, label, speaker``.
        levels : ndarray of shape (n_levels,)
            The levels of the scale in ascending order.
        target_names : list of str
            The levels as text.
        out_dir : Path
            The folder written to.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If `levels` are not two or more ascending finite numbers, or a number is out of range.
    TypeError
        If a number is not an integer where one is needed.
    OSError
        If `out_dir` cannot be written to.

    See Also
    --------
    load_manifest : Your own recordings.

    References
    ----------
    .. [1] D. H. Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc.
       Am. 67(3), 971-995, 1980. The idea only; the code is this package's own, and the files
       are free of any licence.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     speech = make_speech_sentiment(2, 3, levels=(-1, 0, 1), out_dir=folder, random_state=0)
    ...     n_files = len(list(speech.out_dir.glob("*/*.wav")))
    >>> n_files, speech.data.shape
    (6, (6,))
    >>> sorted(speech.target.tolist()), speech.groups.tolist()
    ([-1, -1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    """
    check_scalar(n_speakers, "n_speakers", Integral, min_val=1)
    check_scalar(n_utterances, "n_utterances", Integral, min_val=1)
    check_scalar(sample_rate, "sample_rate", Integral, min_val=8000)
    check_numbers(levels)
    scale = np.asarray(levels)
    entropy = new_generator(random_state).randint(2**32, size=4, dtype=np.uint32)
    root = np.random.SeedSequence(entropy.tolist())
    folder = _make_folder(out_dir)

    # Levels are dealt out like cards, so that counts are even in total and within each speaker.
    deck = np.random.default_rng(root).permutation(scale)
    feelings = dict(zip(scale, np.interp(scale, scale[[0, -1]], [-1, 1]), strict=True))
    rows = []
    for number, seed in enumerate(root.spawn(n_speakers)):
        own_seed, *seeds = seed.spawn(1 + n_utterances)
        rng = np.random.default_rng(own_seed)
        speaker = Speaker.draw(rng)
        cards = np.arange(number * n_utterances, (number + 1) * n_utterances) % len(deck)
        labels = rng.permutation(deck[cards])
        for utterance, (label, utterance_seed) in enumerate(zip(labels, seeds, strict=True)):
            name = f"spk{number:02}_utt{utterance:02}_level{label:+g}.wav"
            path = folder / f"speaker_{number:02}" / name
            rng = np.random.default_rng(utterance_seed)
            _write(path, speak(speaker, feelings[label], sample_rate, rng), sample_rate)
            rows.append({"file": str(path), "label": label, "speaker": number})
    frame = pd.DataFrame(rows)
    counts = frame["label"].value_counts().reindex(scale, fill_value=0)
    return make_bunch(
        frame,
        levels=scale,
        target_names=[f"{level:g}" for level in scale],
        descr=DESCR.format(
            n_recordings=len(frame),
            n_speakers=n_speakers,
            counts=", ".join(f"{level:g}: {count}" for level, count in counts.items()),
            sample_rate=sample_rate,
        ),
        return_X_y=return_X_y,
        out_dir=folder,
    )


def _make_folder(out_dir: str | Path | None) -> Path:
    if out_dir is None:
        return Path(tempfile.mkdtemp(prefix="speech_sentiment_")).resolve()
    folder = Path(out_dir).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno,
            f"out_dir must be a folder that can be written to ({error.strerror})",
            str(folder),
        ) from error
    return folder


def _write(path: Path, recording: np.ndarray, sample_rate: int) -> None:
    """Write a WAV file atomically."""
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    soundfile.write(content, recording, sample_rate, subtype="PCM_16", format="WAV")
    atomic_write(path, content.getbuffer())
