"""Loader of Emo-DB, acted emotional speech in German as an ordinal scale of valence."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_speechsent.datasets._acted import (
    LEVEL_NAMES,
    audit_release,
    corpus_folder,
    frame_of,
    level_counts,
    recordings_in,
    warn_if_incomplete,
)
from sklearn_speechsent.datasets._archives import Archive, fetch_archive
from sklearn_speechsent.datasets._bunch import make_bunch

# Sex and age.
SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
# First letter of the German word (Wut, Langeweile, Ekel, Angst, Freude, Trauer) -> name, valence.
EMOTIONS = {
    "W": ("anger", -1),
    "L": ("boredom", -1),
    "E": ("disgust", -1),
    "A": ("fear", -1),
    "F": ("happiness", 1),
    "T": ("sadness", -1),
    "N": ("neutral", 0),
}
STEM = rf"({'|'.join(SPEAKERS)})([ab]\d\d)([{''.join(EMOTIONS)}])([a-z])"
LEVELS = np.array([-1, 0, 1])
ARCHIVE = Archive(
    corpus="Emo-DB",
    file="emodb.zip",
    urls=("http://emodb.bilderbar.info/download/download.zip",),
    marker="wav",
    n_files=535,
    licence="free for research, with the paper cited",
    lookup="Its site states none: take that of a copy of download.zip that you trust.",
)

DESCR = """\
Emo-DB as ordinal valence
=========================

Acted speech of the Berlin Database of Emotional Speech: ten actors (five women, five men) say ten
everyday sentences of German in seven emotions, some more than once. The published recordings are
those whose emotion most listeners recognised and found natural.

The labels are a proxy for sentiment, not annotated sentiment: they follow from the emotion that
the actor was asked for. Happiness is +1; neutral is 0; anger, boredom, disgust, fear and sadness
are -1. No intensities were recorded, so that there are three levels only.

:Number of recordings: {n_recordings} of {n_speakers} speakers (535 of 10 in the published release)
:Levels and counts: {counts}
:Groups: the speakers; keep them apart when splitting, random splits flatter every score
:Licence: free for research; cite the paper
:Source: http://emodb.bilderbar.info

.. rubric:: References

Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A database of German emotional
speech. Proc. Interspeech 2005, 1517-1520. https://doi.org/10.21437/Interspeech.2005-446
"""


def load_emodb(
    *,
    data_home: str | Path | None = None,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Load the recordings of Emo-DB with ordinal valence labels.

    535 recordings of ten speakers of German. Happiness is +1; neutral is 0; anger, boredom,
    disgust, fear and sadness are -1. That is a proxy for sentiment, see ``DESCR``. Nothing is
    downloaded: the files are expected under their official names as
    ``<data_home>/emodb/wav/<speaker><text><emotion><version>.wav`` or ``.flac`` (FLAC wins where
    both are there). Other files are ignored; files that cannot be used are left out.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that holds the folder ``emodb``; by default that of :func:`get_data_home`.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether ``data`` is a DataFrame with the one column ``file`` and ``target`` a Series.

    Returns
    -------
    Bunch or tuple of (data, target)
        A Bunch has the fields

        data : ndarray of str of shape (n_recordings,), or DataFrame
            Absolute paths, by speaker, then by file name.
        target : ndarray of int of shape (n_recordings,), or Series
            Ordinal valence, -1, 0 or 1.
        groups : ndarray of int of shape (n_recordings,)
            Number of the speaker: 3, 8, 9, ..., 16.
        frame : DataFrame
            Columns ``file, label, speaker, emotion, text, version, sex, age``.
        levels : ndarray of int of shape (3,)
            The levels of the scale in ascending order.
        target_names : list of str
            A readable name of each level.
        report : DataFrame
            What was found out about single files: columns ``row, file, start, end, problem,
            detail, dropped``.
        DESCR : str
            Description, licence and citation.

    Raises
    ------
    FileNotFoundError
        If none of the recordings is there.
    ValueError
        If none of those that are there can be used.

    Warns
    -----
    UserWarning
        If the corpus is incomplete, or files are left out because they cannot be opened, are
        empty or shorter than 25 ms; the others are returned.

    See Also
    --------
    fetch_emodb : Download the corpus.

    References
    ----------
    .. [1] F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier and B. Weiss, "A database of
       German emotional speech", Proc. Interspeech 2005, 1517-1520.
       http://emodb.bilderbar.info, free for research.

    Examples
    --------
    With a data home that holds a single recording:

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> import numpy as np, soundfile
    >>> from sklearn_speechsent.datasets import load_emodb
    >>> with tempfile.TemporaryDirectory() as home, warnings.catch_warnings(action="ignore"):
    ...     path = Path(home, "emodb", "wav", "03a01Fa.wav")
    ...     path.parent.mkdir(parents=True)
    ...     soundfile.write(path, np.sin(np.arange(16000) / 10), 16000)
    ...     emodb = load_emodb(data_home=home)
    >>> emodb.frame.loc[0, ["emotion", "text", "version", "sex"]].tolist()
    ['happiness', 'a01', 'a', 'male']
    >>> emodb.target.tolist(), emodb.groups.tolist()
    ([1], [3])
    """
    folder = corpus_folder(data_home, "emodb")
    frame = _frame(folder)
    if frame.empty:
        raise FileNotFoundError(
            f"No recordings of Emo-DB were found in {folder / 'wav'}. Get {ARCHIVE.urls[0]} and "
            f"unpack it so that the files are {folder / 'wav' / '03a01Fa.wav'} and so on; or, with "
            "the md5 of a copy that you trust, call sklearn_speechsent.datasets."
            "fetch_emodb(checksum='md5:...'); or name another data home by data_home or the "
            "environment variable SPEECHSENT_DATA."
        )
    warn_if_incomplete(
        frame,
        folder,
        corpus="Emo-DB",
        n_files=ARCHIVE.n_files,
        detail=f"{frame['speaker'].nunique()} of {len(SPEAKERS)} speakers have some",
    )
    frame, report = audit_release(frame, corpus="Emo-DB")
    return make_bunch(
        frame,
        levels=LEVELS,
        target_names=[LEVEL_NAMES[level] for level in LEVELS.tolist()],
        descr=DESCR.format(
            n_recordings=len(frame),
            n_speakers=frame["speaker"].nunique(),
            counts=level_counts(frame, LEVELS),
        ),
        as_frame=as_frame,
        return_X_y=return_X_y,
        report=report,
    )


def fetch_emodb(
    *,
    data_home: str | Path | None = None,
    checksum: str | None = None,
    progress: bool = False,
    keep_archive: bool = False,
) -> Path:
    """Download Emo-DB into the data home, unless it is there.

    The archive comes from the site of its authors and is free for research, with the paper cited.
    The corpus appears under its name only once it is verified and unpacked completely; one that is
    there is never overwritten. If the connection fails, the next call resumes the download.
    An archive that lies in the data home already, as ``emodb.zip``, is verified and unpacked
    without network.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that is to hold the folder ``emodb``; by default that of :func:`get_data_home`.
    checksum : str, default=None
        Checksum of the archive: ``"sha256:..."`` or ``"md5:..."``, in hexadecimal. Required,
        since none could be verified for this package, and the site offers no encryption.
    progress : bool, default=False
        Whether to show a progress bar.
    keep_archive : bool, default=False
        Whether the archive stays in the data home after unpacking; one put there by hand does.

    Returns
    -------
    pathlib.Path
        Folder of the corpus, ``<data_home>/emodb``.

    Raises
    ------
    ValueError
        If no checksum is given, the archive has another one, or it is not safe to unpack.
    FileExistsError
        If the folder is there but does not hold the complete corpus.
    ConnectionError
        If the site could not be reached; the message says what to do by hand.
    OSError
        If the disk is full or cannot be written to.

    See Also
    --------
    load_emodb : Load what has been downloaded.

    References
    ----------
    .. [1] F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier and B. Weiss, "A database of
       German emotional speech", Proc. Interspeech 2005, 1517-1520.
       http://emodb.bilderbar.info, free for research.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent.datasets import fetch_emodb
    >>> folder = fetch_emodb(checksum="sha256:...", progress=True)  # doctest: +SKIP
    >>> with tempfile.TemporaryDirectory() as home:
    ...     fetch_emodb(data_home=home)
    Traceback (most recent call last):
    ValueError: No checksum is known for the archive of Emo-DB, ...
    """
    return fetch_archive(
        ARCHIVE,
        corpus_folder(data_home, "emodb"),
        count=lambda folder: len(_frame(folder)),
        checksum=checksum,
        progress=progress,
        keep_archive=keep_archive,
    )


def _frame(folder: Path) -> pd.DataFrame:
    rows = []
    for path, match in recordings_in(folder / "wav", STEM):
        speaker, text, letter, version = match.groups()
        emotion, valence = EMOTIONS[letter]
        sex, age = SPEAKERS[speaker]
        rows.append(
            {
                "file": str(path),
                "label": valence,
                "speaker": int(speaker),
                "emotion": emotion,
                "text": text,
                "version": version,
                "sex": sex,
                "age": age,
            }
        )
    return frame_of(rows)
