"""Loader of CREMA-D, emotional speech of many actors as an ordinal scale of valence."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_speechsent.audio import check_recordings
from sklearn_speechsent.datasets._acted import (
    LEVEL_NAMES,
    audit_release,
    corpus_folder,
    frame_of,
    level_counts,
    recordings_in,
    warn_if_incomplete,
)
from sklearn_speechsent.datasets._bunch import make_bunch
from sklearn_speechsent.datasets._tables import Table

N_ACTORS = 91
N_FILES = 7442
# Name and valence.
EMOTIONS = {
    "ANG": ("anger", -1),
    "DIS": ("disgust", -1),
    "FEA": ("fear", -1),
    "HAP": ("happy", 1),
    "NEU": ("neutral", 0),
    "SAD": ("sad", -1),
}
# Name and factor of the valence. One file of the release, 1040_ITH_SAD_X, lacks its last letter.
INTENSITIES = {
    "LO": ("low", 1),
    "MD": ("medium", 1),
    "HI": ("high", 2),
    "XX": ("unspecified", 1),
    "X": ("unspecified", 1),
}
STEM = rf"(10\d\d)_([A-Z]{{3}})_({'|'.join(EMOTIONS)})_({'|'.join(INTENSITIES)})"
#: Without sound in the original release; its header may not show it.
SILENT = "1076_MTI_SAD_XX"
KNOWN_FAULTS = {(problem, SILENT) for problem in ("silent", "unreadable", "too short")}

DESCR = """\
CREMA-D as ordinal valence
==========================

Acted speech of the Crowd-sourced Emotional Multimodal Actors Dataset: 91 actors (1001 to 1091; 48
men, 43 women; 20 to 74 years old) of various origins say twelve sentences of English in six
emotions; one of the sentences in low, medium and high intensity, the others in one that was not
specified.

The labels are a proxy for sentiment, not annotated sentiment: they follow from the emotion that
the actor was asked for, not from what raters of the corpus heard. Happy is +1; neutral is 0;
anger, disgust, fear and sad are -1; high intensity doubles the value, while low, medium and
unspecified intensity count once.

:Number of recordings: {n_recordings} of {n_speakers} actors (7442 of 91 in the original release)
:Levels and counts: {counts}
:Groups: the actors; keep them apart when splitting, random splits flatter every score
:Known traits: 1076_MTI_SAD_XX has no sound and is left out; 1040_ITH_SAD_X lacks a letter of its
    intensity; users report 1064_IEO_DIS_MD to hold several takes, which is not checked here
:Licence: Open Database License 1.0, its contents Database Contents License 1.0
:Source: https://github.com/CheyneyComputerScience/CREMA-D (recordings need Git LFS)

.. rubric:: References

Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional
Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377-390.
https://doi.org/10.1109/TAFFC.2014.2336244
"""


def load_crema_d(
    *,
    data_home: str | Path | None = None,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Load the recordings of CREMA-D with ordinal valence labels.

    7441 recordings of 91 actors, all of the original release but one without sound. Happy is +1;
    neutral is 0; anger, disgust, fear and sad are -1; high intensity doubles the value, while low,
    medium and unspecified intensity count once. That is a proxy for sentiment, see ``DESCR``.
    Nothing is downloaded: the files are expected under their official names as
    ``<data_home>/crema_d/AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav`` or ``.flac`` (FLAC
    wins where both are there). Other files are ignored; files that cannot be used are left out.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that holds the folder ``crema_d``; by default that of :func:`get_data_home`.
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
            Number of the actor, 1001 ... 1091.
        frame : DataFrame
            Columns ``file, label, speaker, emotion, intensity, sentence``, and ``sex, age`` if
            the official ``VideoDemographics.csv`` lies in the folder ``crema_d``.
        levels : ndarray of int of shape (5,)
            The levels of the scale in ascending order.
        target_names : list of str
            A readable name of each level.
        report : DataFrame
            What was found out about single files: columns ``row, file, start, end, problem,
            detail, dropped``. Of the complete corpus it has the one recording without sound.
        DESCR : str
            Description, licence and citation.

    Raises
    ------
    FileNotFoundError
        If none of the recordings is there.
    ValueError
        If none of those that are there can be used, or ``VideoDemographics.csv`` lacks a column.

    Warns
    -----
    UserWarning
        If the corpus is incomplete, or files are left out because they cannot be opened, are
        empty or shorter than 25 ms; the others are returned.

    References
    ----------
    .. [1] H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova and R. Verma, "CREMA-D:
       Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Trans. Affective Computing 5(4),
       377-390, 2014. https://github.com/CheyneyComputerScience/CREMA-D, Open Database License.

    Examples
    --------
    With a data home that holds a single recording:

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> import numpy as np, soundfile
    >>> from sklearn_speechsent.datasets import load_crema_d
    >>> with tempfile.TemporaryDirectory() as home, warnings.catch_warnings(action="ignore"):
    ...     path = Path(home, "crema_d", "AudioWAV", "1012_IEO_HAP_HI.wav")
    ...     path.parent.mkdir(parents=True)
    ...     soundfile.write(path, np.sin(np.arange(16000) / 10), 16000)
    ...     crema_d = load_crema_d(data_home=home)
    >>> crema_d.frame.loc[0, ["emotion", "intensity", "sentence"]].tolist()
    ['happy', 'high', 'IEO']
    >>> crema_d.target.tolist(), crema_d.groups.tolist()
    ([2], [1012])
    """
    folder = corpus_folder(data_home, "crema_d")
    frame = _frame(folder / "AudioWAV")
    if frame.empty:
        raise FileNotFoundError(
            f"No recordings of CREMA-D were found in {folder / 'AudioWAV'}. Get them from "
            "https://github.com/CheyneyComputerScience/CREMA-D with Git LFS (without it, the files "
            "are small texts) and put them there under their names, such as "
            f"{folder / 'AudioWAV' / '1001_DFA_ANG_XX.wav'}, or name another data home by "
            "data_home or the environment variable SPEECHSENT_DATA."
        )
    demographics = _demographics(folder / "VideoDemographics.csv")
    warn_if_incomplete(
        frame,
        folder,
        corpus="CREMA-D",
        n_files=N_FILES,
        detail=f"{frame['speaker'].nunique()} of {N_ACTORS} actors have some",
    )
    given = frame["file"].tolist()
    frame, report = audit_release(frame, corpus="CREMA-D", known=KNOWN_FAULTS)
    frame, report = _without_silence(frame, report, given)
    if demographics is not None:
        frame = frame.join(demographics, on="speaker")
    levels = np.array(list(LEVEL_NAMES))
    return make_bunch(
        frame,
        levels=levels,
        target_names=list(LEVEL_NAMES.values()),
        descr=DESCR.format(
            n_recordings=len(frame),
            n_speakers=frame["speaker"].nunique(),
            counts=level_counts(frame, levels),
        ),
        as_frame=as_frame,
        return_X_y=return_X_y,
        report=report,
    )


def _frame(folder: Path) -> pd.DataFrame:
    rows = []
    for path, match in recordings_in(folder, STEM):
        actor, sentence, emotion, intensity = match.groups()
        if not 1 <= int(actor) - 1000 <= N_ACTORS:
            continue
        emotion, valence = EMOTIONS[emotion]
        intensity, factor = INTENSITIES[intensity]
        rows.append(
            {
                "file": str(path),
                "label": valence * factor,
                "speaker": int(actor),
                "emotion": emotion,
                "intensity": intensity,
                "sentence": sentence,
            }
        )
    return frame_of(rows)


def _without_silence(
    frame: pd.DataFrame, report: pd.DataFrame, given: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out the one recording that is known to have no sound, if that is so."""
    is_suspect = frame["file"].map(lambda file: Path(file).stem == SILENT)
    for file in frame.loc[is_suspect, "file"]:
        _, [problem] = check_recordings([file], return_problems=True)
        if problem is not None:
            silence = {"row": given.index(file), "file": file, "start": np.nan, "end": np.nan}
            silence |= {"problem": "silent", "detail": problem.partition(": ")[2], "dropped": True}
            report = pd.DataFrame([*report.to_dict("records"), silence]).astype(report.dtypes)
            report = report.sort_values("row", kind="stable", ignore_index=True)
            frame = frame[~is_suspect].reset_index(drop=True)
    return frame, report


def _demographics(path: Path) -> pd.DataFrame | None:
    """Sex and age by actor, if the table is there."""
    if not path.is_file():
        return None
    read = Table(path)
    table = read.select(
        required=("ActorID", "Age", "Sex"), numbers=("ActorID", "Age"), text=("Sex",)
    )
    actors = table["ActorID"]
    bad = np.flatnonzero(actors.isna() | actors.duplicated())
    read.refuse(bad, "ActorID", "is no actor or one that was listed before. Get the table again")
    return pd.DataFrame(
        {"sex": table["Sex"].str.lower().to_numpy(), "age": table["Age"].to_numpy()}, index=actors
    )
