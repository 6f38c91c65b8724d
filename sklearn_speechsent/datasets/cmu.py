"""Loaders of CMU-MOSEI and CMU-MOSI, opinions in videos rated segment by segment."""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_speechsent.audio import Recording, duration
from sklearn_speechsent.datasets._audit import audit_items
from sklearn_speechsent.datasets._bunch import make_bunch
from sklearn_speechsent.datasets._cmu_files import place_clips
from sklearn_speechsent.datasets._tables import Table
from sklearn_speechsent.metrics.scale import round_to_levels
from sklearn_speechsent.utils.files import get_data_home

#: Files whose durations are compared with the labels' times, and by how much they may differ (s).
SAMPLED, SLACK = 200, 1.0
SPLITS = ("train", "valid", "test")
LEVEL_NAMES = {
    -3.0: "highly negative",
    -2.0: "negative",
    -1.0: "weakly negative",
    0.0: "neutral",
    1.0: "weakly positive",
    2.0: "positive",
    3.0: "highly positive",
}
JOINS = {
    "video": "whole videos and the times of the labels",
    "time": "one file per segment; its number was looked up in the transcripts by time",
    "clip_id": (
        "one file per segment, taken by clip_id as no transcripts were found: right only if "
        "audio and labels number the clips alike"
    ),
}
DESCR = """\
{name}
{underline}

Segments of monologues from {origin}, who give their opinions.
Each was rated for sentiment by several people from -3 (highly negative) to +3 (highly positive);
the target is their mean, a real number.

:Rows: {n_rows} of {n_videos} videos ({splits})
:Levels and counts (nearest level): {counts}
:Audio: {joined}
:Groups: videos. Who speaks is not known: one person may speak in several videos
:Split: the official folds
:Known traits: {traits}
:Licence: for research; neither audio nor labels may be passed on, and none come with this package
:Source: {source}

.. rubric:: References

{reference}
"""


@dataclass(frozen=True)
class Corpus:
    """Differences between the two corpora.

    Parameters
    ----------
    name : str
    folder : str
        Of the data home.
    origin, traits, source, reference : str
        Parts of the description.
    """

    name: str
    folder: str
    origin: str
    traits: str
    source: str
    reference: str


MOSEI = Corpus(
    name="CMU-MOSEI",
    folder="cmu_mosei",
    origin="about 1000 speakers on YouTube",
    traits=(
        "consecutive segments of a video overlap; 223 start below 0 s (0 is taken); 6 lack times; "
        "two test videos have no labels; one training video is in no official fold; the times of "
        "some videos are known not to fit their sound"
    ),
    source="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    reference=(
        "Zadeh A, Liang PP, Poria S, Cambria E, Morency LP (2018). Multimodal Language Analysis\n"
        "in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph. ACL, 2236-2246.\n"
        "https://doi.org/10.18653/v1/P18-1208"
    ),
)
MOSI = Corpus(
    name="CMU-MOSI",
    folder="cmu_mosi",
    origin="89 speakers in 93 videos on YouTube",
    traits=(
        "one segment has no length; two segments are labelled twice, unlike (whole videos leave "
        "these five rows out)"
    ),
    source="http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/",
    reference=(
        "Zadeh A, Zellers R, Pincus E, Morency LP (2016). Multimodal Sentiment Intensity Analysis\n"
        "in Videos: Facial Gestures and Verbal Messages. IEEE Intelligent Systems 31(6), 82-88.\n"
        "https://doi.org/10.1109/MIS.2016.94"
    ),
)


def load_cmu_mosei(
    audio_dir: str | Path | None = None,
    *,
    labels: str | Path | pd.DataFrame | None = None,
    data_home: str | Path | None = None,
    split: str | Sequence[str] | None = None,
    as_frame: bool = False,
    return_X_y: bool = False,
    n_jobs: int | None = None,
) -> Bunch | tuple[Any, Any]:
    """Load CMU-MOSEI: 22,856 rated segments of 3,225 videos, with the official folds.

    Nothing is downloaded. The audio may lie as ``WAV_16000/<video>.wav`` (whole videos, also
    below ``Audio/Full`` as in the official archive), as ``Segmented/<video>_<clip>.wav`` (also
    below ``Audio``) or as ``<video>/<clip>.wav`` (as in MMSA), with or without a folder ``Raw``
    above; wav, flac, mp3, or films such as mp4 where their sound can be read. Whole videos give
    segments of files, the others one file per segment. Clips are numbered in several ways: where
    the official ``Transcript/Segmented/Combined`` lies next to them, files of ``Segmented`` get
    their labels by time, otherwise by clip_id (7, 07 and 0007 are one number).

    Parameters
    ----------
    audio_dir : str or Path, default=None
        Folder of the audio; by default ``<data_home>/cmu_mosei``.
    labels : str, Path or DataFrame, default=None
        Table with the columns ``video_id, clip_id, sentiment, split`` and, for whole videos,
        ``start, end`` (s). MMSA's names ``label`` and ``mode`` are taken for ``sentiment`` and
        ``split``. By default ``labels.csv`` or ``label.csv`` in `audio_dir`, else in
        ``<data_home>/cmu_mosei``. Other columns are kept in ``frame``.
    data_home : str or Path, default=None
        By default that of :func:`get_data_home`.
    split : {"train", "valid", "test"} or sequence of these, default=None
        Official folds to load; by default all rows.
    as_frame : bool, default=False
        Whether ``data`` is a DataFrame and ``target`` a Series. For whole videos ``data`` always
        is.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    n_jobs : int, default=None
        Threads that open the headers of the files.

    Returns
    -------
    Bunch or tuple of (data, target)
        A Bunch has the fields

        data : DataFrame, or ndarray of str of shape (n_segments,)
            Columns ``file, start, end`` for whole videos, absolute paths otherwise.
        target : ndarray of float of shape (n_segments,), or Series
            Mean sentiment, -3 ... 3.
        groups : ndarray of str of shape (n_segments,)
            The videos. Speakers are not known.
        split : ndarray of str of shape (n_segments,)
            Official fold.
        frame : DataFrame
            All columns of the labels; ``start, end`` of files that are segments are called
            ``video_start, video_end``.
        levels : ndarray of float of shape (7,)
            -3 ... 3.
        target_names : list of str
            "highly negative" ... "highly positive".
        report : DataFrame
            Problems by row: columns ``row`` (of the selected labels, from 0),
            ``file, start, end, problem, detail, dropped``.
        DESCR : str
            Description, counts, licence and citation.

    Raises
    ------
    FileNotFoundError
        If labels or audio are not there, or sound has to be extracted from films first.
    ValueError
        If `split` or the labels are not understood, or no segment can be used.

    Warns
    -----
    UserWarning
        If segments are left out or corrected, or files do not last as long as their segments.

    See Also
    --------
    load_cmu_mosi : Its smaller predecessor.

    References
    ----------
    .. [1] A. Zadeh, P. P. Liang, S. Poria, E. Cambria and L.-P. Morency, "Multimodal Language
       Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph", ACL,
       2236-2246, 2018. https://doi.org/10.18653/v1/P18-1208

    Examples
    --------
    With a data home that holds ten seconds of one made-up video:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, pandas as pd, soundfile
    >>> from sklearn_speechsent.datasets import load_cmu_mosei
    >>> labels = pd.DataFrame({"video_id": "abc", "clip_id": [0, 1], "sentiment": [-1, 2 / 3]})
    >>> labels = labels.assign(split="train", start=[0.0, 4.5], end=[5.0, 9.9])
    >>> with tempfile.TemporaryDirectory() as home:
    ...     folder = Path(home, "cmu_mosei", "WAV_16000")
    ...     folder.mkdir(parents=True)
    ...     soundfile.write(folder / "abc.wav", np.ones(160000), 16000)
    ...     labels.to_csv(folder.parent / "labels.csv", index=False)
    ...     mosei = load_cmu_mosei(data_home=home, split="train")
    >>> mosei.data[["start", "end"]].to_numpy().tolist(), mosei.groups.tolist()
    ([[0.0, 5.0], [4.5, 9.9]], ['abc', 'abc'])
    """
    frame, joined = _prepare(MOSEI, audio_dir, labels, data_home, split)
    rows, report = audit_items(frame, corpus=MOSEI.name, n_jobs=n_jobs)
    return _finish(MOSEI, rows, joined, as_frame, return_X_y, report)


def load_cmu_mosi(
    audio_dir: str | Path | None = None,
    *,
    labels: str | Path | pd.DataFrame | None = None,
    data_home: str | Path | None = None,
    split: str | Sequence[str] | None = None,
    as_frame: bool = False,
    return_X_y: bool = False,
    n_jobs: int | None = None,
) -> Bunch | tuple[Any, Any]:
    """Load CMU-MOSI: 2,199 rated segments of 93 videos, with the official folds.

    Everything is as in :func:`load_cmu_mosei`, in the folder ``<data_home>/cmu_mosi``.

    Parameters
    ----------
    audio_dir : str or Path, default=None
        Folder of the audio; by default ``<data_home>/cmu_mosi``.
    labels : str, Path or DataFrame, default=None
        Table of the labels; by default ``labels.csv`` or ``label.csv`` in `audio_dir`, else in
        ``<data_home>/cmu_mosi``.
    data_home : str or Path, default=None
        By default that of :func:`get_data_home`.
    split : {"train", "valid", "test"} or sequence of these, default=None
        Official folds to load; by default all rows.
    as_frame : bool, default=False
        Whether ``data`` is a DataFrame and ``target`` a Series. For whole videos ``data`` always
        is.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    n_jobs : int, default=None
        Threads that open the headers of the files.

    Returns
    -------
    Bunch or tuple of (data, target)
        With the fields of :func:`load_cmu_mosei`.

    Raises
    ------
    FileNotFoundError
        If labels or audio are not there, or sound has to be extracted from films first.
    ValueError
        If `split` or the labels are not understood, or no segment can be used.

    Warns
    -----
    UserWarning
        If segments are left out or corrected, or files do not last as long as their segments.

    See Also
    --------
    load_cmu_mosei : Its larger successor.

    References
    ----------
    .. [1] A. Zadeh, R. Zellers, E. Pincus and L.-P. Morency, "Multimodal Sentiment Intensity
       Analysis in Videos: Facial Gestures and Verbal Messages", IEEE Intelligent Systems 31(6),
       82-88, 2016. https://doi.org/10.1109/MIS.2016.94

    Examples
    --------
    With a folder that holds one made-up segment:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, pandas as pd, soundfile
    >>> from sklearn_speechsent.datasets import load_cmu_mosi
    >>> labels = pd.DataFrame({"video_id": ["abc"], "clip_id": [1], "sentiment": [2.4]})
    >>> labels = labels.assign(split="test", start=3.0, end=4.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "Segmented").mkdir()
    ...     soundfile.write(Path(folder, "Segmented", "abc_1.wav"), np.ones(16000), 16000)
    ...     labels.to_csv(Path(folder, "labels.csv"), index=False)
    ...     mosi = load_cmu_mosi(folder, labels=Path(folder, "labels.csv"))
    >>> mosi.target.tolist(), mosi.split.tolist(), Path(mosi.data[0]).name
    ([2.4], ['test'], 'abc_1.wav')
    """
    frame, joined = _prepare(MOSI, audio_dir, labels, data_home, split)
    rows, report = audit_items(frame, corpus=MOSI.name, n_jobs=n_jobs)
    return _finish(MOSI, rows, joined, as_frame, return_X_y, report)


def _prepare(
    corpus: Corpus,
    audio_dir: str | Path | None,
    labels: str | Path | pd.DataFrame | None,
    data_home: str | Path | None,
    split: str | Sequence[str] | None,
) -> tuple[pd.DataFrame, str]:
    """Rows of the selected folds with their files, and what labels and files were joined on."""
    wanted = SPLITS if split is None else (split,) if isinstance(split, str) else tuple(split)
    if not wanted or not set(wanted) <= set(SPLITS):
        raise ValueError(f"split must be one or several of {SPLITS}, or None; got {split!r}.")
    home = get_data_home() if data_home is None else Path(data_home)
    home = home.expanduser().resolve() / corpus.folder
    folder = home if audio_dir is None else Path(audio_dir).expanduser().resolve()
    if labels is None:
        labels = _find_labels((folder, home))
    table = _read_labels(labels, corpus)
    if split is not None:
        table = table[table["split"].isin(wanted)].reset_index(drop=True)
    if table.empty:
        raise ValueError(f"{corpus.name}: no label is in the split {split!r}. Check the column.")
    table, joined = place_clips(table, folder, corpus.name)
    table = table.rename(columns={"sentiment": "label"}).assign(speaker=table["video_id"])
    first = ["file", "label", "speaker", "split"]
    return table[[*first, *table.columns.drop(first)]], joined


def _find_labels(folders: Sequence[Path]) -> Path:
    for folder in folders:
        for name in ("labels.csv", "label.csv", "Raw/label.csv"):
            if (folder / name).is_file():
                return folder / name
    return folders[-1] / "labels.csv"


def _read_labels(labels: str | Path | pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    if not isinstance(labels, pd.DataFrame):
        labels = Path(labels).expanduser().resolve()
        if not labels.exists():
            raise FileNotFoundError(
                f"{corpus.name}: there are no labels at {labels}. Make them from the official SDK "
                f"({corpus.source}) as a CSV with the columns video_id, clip_id, sentiment, split, "
                "start and end (s), take the label.csv of MMSA, or name them by labels."
            )
    read = Table(labels, call=partial(_call, corpus, labels))
    table = read.select(
        required=("video_id", "clip_id", "sentiment", "split"),
        optional=("start", "end"),
        numbers=("sentiment", "start", "end"),
        text=("clip_id", "split"),
        synonyms={"label": "sentiment", "mode": "split"},
    )
    read.refuse(
        np.flatnonzero(table["sentiment"].abs() > 3),
        "sentiment",
        "is not between -3 and 3. Correct it; load_manifest takes other scales",
    )
    read.refuse(
        np.flatnonzero(table["split"].notna() & ~table["split"].isin(SPLITS)),
        "split",
        f"is none of {', '.join(SPLITS)}. Correct it, or leave it empty for none",
    )
    return table.drop(columns=["label", "file", "speaker"], errors="ignore")


def _call(corpus: Corpus, labels: Path | pd.DataFrame, options: Mapping[str, Any]) -> str:
    """Text of a call that reads the labels with pandas."""
    columns = options.get("columns", {})
    own = {target: name for name, target in columns.items()}
    names = {own.get(name, name): "str" for name in ("video_id", "clip_id")}
    place = "..." if isinstance(labels, pd.DataFrame) else str(labels)
    how = [f"{name}={value!r}" for name, value in options.items() if name != "columns"]
    table = f"pd.read_csv({', '.join([repr(place), *how, f'dtype={names}'])})"
    rename = f".rename(columns={columns})" if columns else ""
    return f"load_{corpus.folder}(labels={table}{rename})"


def _finish(
    corpus: Corpus,
    rows: pd.DataFrame,
    joined: str,
    as_frame: bool,
    return_X_y: bool,
    report: pd.DataFrame,
) -> Bunch | tuple[Any, Any]:
    if joined == "clip_id":
        _warn_if_misnumbered(rows, corpus)
    return make_bunch(
        rows,
        levels=np.array(list(LEVEL_NAMES)),
        target_names=list(LEVEL_NAMES.values()),
        descr=describe(corpus, rows, joined),
        as_frame=as_frame,
        return_X_y=return_X_y,
        report=report,
    )


def _warn_if_misnumbered(rows: pd.DataFrame, corpus: Corpus) -> None:
    """Warn if the durations of some files do not fit the times of their labels."""
    if "video_start" not in rows.columns:
        return
    sample = rows.dropna(subset=["video_start", "video_end"])
    sample = sample.iloc[:: max(1, len(sample) // SAMPLED)]
    lasting = np.array([duration(Recording(0, file)) for file in sample["file"]])
    wanted = (sample["video_end"] - sample["video_start"].clip(lower=0)).to_numpy()
    apart = np.abs(lasting - wanted)
    if len(apart) and np.median(apart) > SLACK:
        warnings.warn(
            f"{corpus.name}: files were taken by clip_id, and half of {len(apart)} compared last "
            f"more than {np.median(apart):.1f} s longer or shorter than their labels' times. Audio "
            "and labels seem to number the clips differently, and labels would go to the wrong "
            "files. Put the folder Transcript/Segmented/Combined next to the audio, or use "
            "whole videos.",
            UserWarning,
            stacklevel=4,
        )


def describe(corpus: Corpus, rows: pd.DataFrame, joined: str) -> str:
    """Description of the loaded part of a corpus.

    Parameters
    ----------
    corpus : Corpus
    rows : DataFrame
        Columns ``label, split, video_id``.
    joined : str
        What labels and files were joined on: a key of ``JOINS``.

    Returns
    -------
    str
    """
    levels = pd.Series(round_to_levels(rows["label"], list(LEVEL_NAMES)))
    counts = levels.value_counts().reindex(list(LEVEL_NAMES), fill_value=0)
    splits = rows["split"].value_counts().reindex(SPLITS, fill_value=0)
    text = DESCR.format(
        **vars(corpus),
        underline="=" * len(corpus.name),
        n_rows=len(rows),
        n_videos=rows["video_id"].nunique(),
        splits=", ".join(f"{name}: {n}" for name, n in splits.items()),
        counts=", ".join(f"{level:g}: {n}" for level, n in counts.items()),
        joined=JOINS[joined],
    )
    lines = [textwrap.fill(line, 100, subsequent_indent="    ") for line in text.splitlines()]
    return "\n".join(lines) + "\n"
