"""Loader of RAVDESS, acted emotional speech as an ordinal scale of valence."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_speechsent.datasets._acted import (
    LEVEL_NAMES,
    SUFFIXES,
    audit_release,
    corpus_folder,
    frame_of,
    warn_if_incomplete,
)
from sklearn_speechsent.datasets._archives import Archive, fetch_archive
from sklearn_speechsent.datasets._bunch import make_bunch

N_ACTORS = 24
FILES_PER_ACTOR = 52
INTENSITIES = ("normal", "strong")
# Code in the file name -> name and valence. Surprise (08) is left out: it has no clear valence.
EMOTIONS = {
    1: ("neutral", 0),
    2: ("calm", 0),
    3: ("happy", 1),
    4: ("sad", -1),
    5: ("angry", -1),
    6: ("fearful", -1),
    7: ("disgust", -1),
}
#: Repetitions 1 and 2 of Actor_07, happy, second statement, are the same recording.
KNOWN_FAULTS = {("same content", "03-01-03-01-02-02-07")}
ARCHIVE = Archive(
    corpus="RAVDESS",
    file="Audio_Speech_Actors_01-24.zip",
    urls=("https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",),
    marker="Actor_01",
    n_files=N_ACTORS * FILES_PER_ACTOR,
    licence="CC BY-NC-SA 4.0",
    lookup="Zenodo shows an md5 next to the file's name at https://zenodo.org/records/1188976.",
    checksum="md5:bc696df654c87fed845eb13823edef8a",
    size=208_468_073,
)

DESCR = """\
RAVDESS speech as ordinal valence
=================================

Acted speech of the Ryerson Audio-Visual Database of Emotional Speech and Song: 24 professional
actors (12 female, 12 male; odd numbers are male) say two sentences of North American English
in several emotions, mostly in normal and in strong intensity, each twice.

The labels are a proxy for sentiment, not annotated sentiment: they follow from the emotion that
the actor was asked for. Happy is +1; neutral and calm are 0; sad, angry, fearful and disgust are
-1; strong intensity doubles the value. Surprise is left out.

:Number of recordings: 1248 (52 of each actor; the complete corpus)
:Levels and counts: -2: 384, -1: 384, 0: 288, +1: 96, +2: 96
:Groups: the actors; keep them apart when splitting, random splits flatter every score
:Known trait: Actor_07, happy, repetitions 1 and 2 are the same recording
:Licence: CC BY-NC-SA 4.0 (non-commercial use)
:Source: https://zenodo.org/records/1188976

.. rubric:: References

Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song
(RAVDESS): A dynamic, multimodal set of facial and vocal expressions in North American English.
PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391
"""


def load_ravdess(
    *,
    data_home: str | Path | None = None,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Load the speech recordings of RAVDESS with ordinal valence labels.

    All audio-only speech files except surprise: 1248 recordings of 24 actors. Happy is +1;
    neutral and calm are 0; sad, angry, fearful and disgust are -1; strong intensity doubles the
    value. That is a proxy for sentiment, see ``DESCR``. Nothing is downloaded: the files are
    expected as ``<data_home>/ravdess/Actor_NN/<official stem>.flac`` or ``.wav`` (FLAC wins
    where both are there). Other files are ignored; files that cannot be used are left out.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that holds the folder ``ravdess``; by default that of :func:`get_data_home`.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether ``data`` is a DataFrame with the one column ``file`` and ``target`` a Series.

    Returns
    -------
    Bunch or tuple of (data, target)
        A Bunch has the fields

        data : ndarray of str of shape (n_recordings,), or DataFrame
            Absolute paths, by actor, then by file name.
        target : ndarray of int of shape (n_recordings,), or Series
            Ordinal valence, -2 ... 2.
        groups : ndarray of int of shape (n_recordings,)
            Number of the actor, 1 ... 24.
        frame : DataFrame
            Columns ``file, label, speaker, emotion, intensity, statement, repetition, sex``.
        levels : ndarray of int of shape (5,)
            The levels of the scale in ascending order.
        target_names : list of str
            A readable name of each level.
        report : DataFrame
            What was found out about single files: columns ``row, file, start, end, problem,
            detail, dropped``. Of the complete corpus it has one row, the known duplicate.
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
    fetch_ravdess : Download the corpus.

    References
    ----------
    .. [1] S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional
       Speech and Song (RAVDESS)", PLoS ONE 13(5), e0196391, 2018.
       https://zenodo.org/records/1188976, CC BY-NC-SA 4.0.

    Examples
    --------
    With a data home that holds a single recording:

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> import numpy as np, soundfile
    >>> from sklearn_speechsent.datasets import load_ravdess
    >>> with tempfile.TemporaryDirectory() as home, warnings.catch_warnings(action="ignore"):
    ...     path = Path(home, "ravdess", "Actor_12", "03-01-06-02-01-01-12.wav")
    ...     path.parent.mkdir(parents=True)
    ...     soundfile.write(path, np.sin(np.arange(16000) / 10), 16000)
    ...     ravdess = load_ravdess(data_home=home)
    >>> ravdess.frame.loc[0, ["emotion", "intensity", "sex"]].tolist()
    ['fearful', 'strong', 'female']
    >>> ravdess.target.tolist(), ravdess.groups.tolist()
    ([-2], [12])
    """
    folder = corpus_folder(data_home, "ravdess")
    frame = _frame(folder)
    if frame.empty:
        raise FileNotFoundError(
            f"No RAVDESS speech was found in {folder}. Call sklearn_speechsent.datasets."
            f"fetch_ravdess(), or get {ARCHIVE.file} from https://zenodo.org/records/1188976 and "
            f"unpack it so that the files are "
            f"{folder / 'Actor_01' / '03-01-01-01-01-01-01.wav'} (or .flac) and so on, or name "
            "another data home by data_home or the environment variable SPEECHSENT_DATA."
        )
    warn_if_incomplete(
        frame, folder, corpus="RAVDESS", n_files=ARCHIVE.n_files, detail=_lacking(frame)
    )
    frame, report = audit_release(frame, corpus="RAVDESS", known=KNOWN_FAULTS)
    return make_bunch(
        frame,
        levels=np.array(list(LEVEL_NAMES)),
        target_names=list(LEVEL_NAMES.values()),
        descr=DESCR,
        as_frame=as_frame,
        return_X_y=return_X_y,
        report=report,
    )


def fetch_ravdess(
    *,
    data_home: str | Path | None = None,
    checksum: str | None = None,
    progress: bool = False,
    keep_archive: bool = False,
) -> Path:
    """Download the speech recordings of RAVDESS into the data home, unless they are there.

    The archive (208 MB) comes from Zenodo under CC BY-NC-SA 4.0, which asks for attribution
    and excludes commercial use. The corpus appears under its name only once it is verified and
    unpacked completely; one that is there is never overwritten. If the connection fails, the next
    call resumes the download. An archive that lies in the data home already, under its
    official name ``Audio_Speech_Actors_01-24.zip``, is verified and unpacked without network.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that is to hold the folder ``ravdess``; by default that of :func:`get_data_home`.
    checksum : str, default=None
        Checksum of another edition of the archive: ``"md5:..."`` or ``"sha256:..."``, in
        hexadecimal. By default that of version 1.0.0 at Zenodo, whose size is known too.
    progress : bool, default=False
        Whether to show a progress bar.
    keep_archive : bool, default=False
        Whether the archive stays in the data home after unpacking; one put there by hand does.

    Returns
    -------
    pathlib.Path
        Folder of the corpus, ``<data_home>/ravdess``.

    Raises
    ------
    ValueError
        If the archive has another checksum or size (what arrived is removed), or it is not safe to
        unpack.
    FileExistsError
        If the folder is there but does not hold the complete corpus.
    ConnectionError
        If Zenodo could not be reached; the message says what to do by hand.
    OSError
        If the disk has no room or cannot be written to.

    See Also
    --------
    load_ravdess : Load what has been downloaded.

    References
    ----------
    .. [1] S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional
       Speech and Song (RAVDESS)", PLoS ONE 13(5), e0196391, 2018.
       https://zenodo.org/records/1188976, CC BY-NC-SA 4.0.

    Examples
    --------
    >>> from sklearn_speechsent.datasets import fetch_ravdess
    >>> folder = fetch_ravdess(progress=True)  # doctest: +SKIP
    """
    return fetch_archive(
        ARCHIVE,
        corpus_folder(data_home, "ravdess"),
        count=lambda folder: len(_frame(folder)),
        checksum=checksum,
        progress=progress,
        keep_archive=keep_archive,
    )


def _frame(folder: Path) -> pd.DataFrame:
    return frame_of([row for actor in range(1, N_ACTORS + 1) for row in _rows(folder, actor)])


def _rows(folder: Path, actor: int) -> list[dict[str, Any]]:
    """Rows of the recordings of one actor that are there, in the order of their names."""
    rows = []
    for emotion, intensity, statement, repetition in itertools.product(
        EMOTIONS, (1, 2), (1, 2), (1, 2)
    ):
        name, valence = EMOTIONS[emotion]
        if name == "neutral" and intensity == 2:
            continue  # recorded in normal intensity only
        stem = f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}"
        paths = [folder / f"Actor_{actor:02}" / (stem + suffix) for suffix in SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            continue
        rows.append(
            {
                "file": str(path),
                "label": valence * intensity,
                "speaker": actor,
                "emotion": name,
                "intensity": INTENSITIES[intensity - 1],
                "statement": statement,
                "repetition": repetition,
                "sex": "male" if actor % 2 else "female",
            }
        )
    return rows


def _lacking(frame: pd.DataFrame) -> str:
    counts = frame["speaker"].value_counts()
    lacking = {actor: FILES_PER_ACTOR - counts.get(actor, 0) for actor in range(1, N_ACTORS + 1)}
    detail = ", ".join(f"actor {actor} lacks {n}" for actor, n in lacking.items() if n)
    return f"{detail} of {FILES_PER_ACTOR}"
