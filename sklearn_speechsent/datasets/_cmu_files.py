"""Folder layouts of corpora of clips from videos, and the file that each label belongs to."""

import os
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sklearn_speechsent.audio import Recording, RecordingError, duration

AUDIO = (".wav", ".flac", ".mp3")
#: Containers whose sound not every installation can read.
VIDEO = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4a")
#: Below the folder of the corpus or the folder Raw in it, as the official archives unpack.
PATTERNS = (
    "WAV_16000/{video}",
    "Audio/Full/WAV_16000/{video}",
    "Audio/WAV_16000/Full/{video}",
    "{video}",
    "Segmented/{video}_{clip}",
    "Audio/Segmented/{video}_{clip}",
    "Audio/WAV_16000/Segmented/{video}_{clip}",
    "{video}_{clip}",
    "{video}/{clip}",
)
TRANSCRIPTS = "Transcript/Segmented/Combined"
#: Largest difference in seconds of a time in labels and transcripts, which only rounding makes.
TOLERANCE = 0.02
#: Films that are tried, to see whether their sound can be read.
SAMPLED = 3


@dataclass(frozen=True)
class Layout:
    """Audio of a corpus as it was found.

    Parameters
    ----------
    root : Path
        Folder of the corpus, or its folder Raw.
    pattern : str
        Path below it, without suffix.
    files : dict
        Video, or (video, clip), -> file.
    """

    root: Path
    pattern: str
    files: dict[str | tuple[str, str], str]

    @property
    def whole(self) -> bool:
        """Whether the files are whole videos."""
        return "{clip}" not in self.pattern

    def expected(self, video: str, clip: str) -> str:
        """Path where a file should be.

        Parameters
        ----------
        video, clip : str

        Returns
        -------
        str
        """
        return os.path.join(self.root, self.pattern.format(video=video, clip=clip) + AUDIO[0])

    def numbered(self) -> dict[tuple[str, int], list[str]]:
        """Files of clips by video and number, since 7 is written 007 too.

        Returns
        -------
        dict
        """
        found = defaultdict(list)
        for key, file in self.files.items():
            if not isinstance(key, str) and key[1].isdecimal():
                found[key[0], int(key[1])].append(file)
        return found


def place_clips(table: pd.DataFrame, folder: Path, corpus: str) -> tuple[pd.DataFrame, str]:
    """Add the files to a table of clips.

    Parameters
    ----------
    table : DataFrame
        Columns ``video_id, clip_id``, and ``start, end`` (s) of the clip in its video, which are
        needed for whole videos.
    folder : Path
        Where the audio is looked for.
    corpus : str
        Name for messages.

    Returns
    -------
    table : DataFrame
        With a column ``file``. Where each clip has a file, the times are called ``video_start`` and
        ``video_end``.
    joined : str
        See :func:`assign_files`.

    Raises
    ------
    FileNotFoundError
        As :func:`find_layout` does.
    ValueError
        If whole videos are there and no times.
    """
    named = table["video_id"].notna() & table["clip_id"].notna()
    layout = find_layout(folder, set(table.loc[named, "video_id"]), corpus)
    files, joined = assign_files(table[named], layout)
    if not layout.whole:
        table = table.rename(columns={"start": "video_start", "end": "video_end"})
    elif table.reindex(columns=["start", "end"]).isna().all(axis=None):
        raise ValueError(
            f"{corpus}: no label has times, and {folder} holds whole videos. Fill the columns "
            "start and end of the labels."
        )
    file = pd.Series(None, table.index, dtype=object)
    file[named] = files
    return table.assign(file=file), joined


def find_layout(folder: Path, videos: set[str], corpus: str) -> Layout:
    """Find the audio below a folder: the layout that has most of the videos.

    Parameters
    ----------
    folder : Path
    videos : set of str
        Those that have labels.
    corpus : str
        Name for messages.

    Returns
    -------
    Layout

    Raises
    ------
    FileNotFoundError
        If none of the layouts is there, or only films whose sound cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{corpus}: there is no folder {folder}. Put the audio there, or name the folder that "
            "holds it by audio_dir, data_home or the environment variable SPEECHSENT_DATA."
        )
    roots = [root for name in ("", "Raw", "raw") if (root := folder / name).is_dir()]
    for suffixes in (AUDIO, VIDEO):
        layouts = [
            Layout(root, pattern, _files(root, pattern, videos, suffixes))
            for root in roots
            for pattern in PATTERNS
        ]
        best = max(layouts, key=lambda layout: len(_videos(layout)))
        if best.files and suffixes is AUDIO:
            films = _files(best.root, best.pattern, videos, VIDEO)
            return replace(best, files={**films, **best.files})
    if best.files:
        _raise_if_unreadable(best, folder, corpus)
        return best
    looked_for = "\n  ".join(PATTERNS).format(video="<video>", clip="<clip>")
    raise FileNotFoundError(
        f"{corpus}: none of the {len(videos)} videos with labels has audio in {folder}. Looked "
        f"there and in its folder Raw for files ({', '.join(AUDIO)}) like\n  {looked_for}\nName "
        "the folder by audio_dir."
    )


def _raise_if_unreadable(films: Layout, folder: Path, corpus: str) -> None:
    """Raise one error for all films if this installation cannot read their sound."""
    for file in list(films.files.values())[:SAMPLED]:
        try:
            duration(Recording(0, file))
            return
        except RecordingError as error:
            reason = str(error).partition(": ")[2]
    suffix = os.path.splitext(file)[1]
    stars = films.pattern.format(video="*", clip="*").replace("*_*", "*")
    raise FileNotFoundError(
        f"{corpus}: {folder} holds {len(films.files)} {suffix} files and no audio; sound cannot "
        f"be read from {file}: {reason} Or extract the sound next to all of them:\n"
        f'  for f in {os.path.join(films.root, stars)}{suffix}; do ffmpeg -i "$f" -vn -ac 1 '
        f'-ar 16000 "${{f%{suffix}}}.wav"; done'
    )


def _videos(layout: Layout) -> set[str]:
    return {key if isinstance(key, str) else key[0] for key in layout.files}


def _files(
    root: Path, pattern: str, videos: set[str], suffixes: tuple[str, ...]
) -> dict[str | tuple[str, str], str]:
    """Files of known videos by video, or by video and clip; earlier suffixes are preferred."""
    parent, _, name = pattern.rpartition("/")
    if parent == "{video}":
        folders = {video: root / video for video in _entries(root) if video in videos}
    else:
        folders = {"": root / parent}
    found: dict[str | tuple[str, str], tuple[int, str]] = {}
    for video, folder in folders.items():
        for entry in _entries(folder):
            stem, suffix = os.path.splitext(entry)
            if suffix.lower() not in suffixes:
                continue
            key: str | tuple[str, str] = stem
            if name == "{clip}":
                key = (video, stem)
            elif "{clip}" in name:
                key = (stem.rpartition("_")[0], stem.rpartition("_")[2])
            if (key if isinstance(key, str) else key[0]) in videos:
                file = (suffixes.index(suffix.lower()), os.path.join(folder, entry))
                found[key] = min(found.get(key, file), file)
    return {key: file for key, (_, file) in found.items()}


def _entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def assign_files(labels: pd.DataFrame, layout: Layout) -> tuple[list[str], str]:
    """Name the file of every label.

    Clips are numbered in more than one way. Where transcripts give their times, these decide.

    Parameters
    ----------
    labels : DataFrame
        Columns ``video_id, clip_id``, and ``start, end`` where they are known.
    layout : Layout

    Returns
    -------
    files : list of str
        For a label without a file, the path that was looked for.
    joined : str
        What labels and files were joined on: ``"video"``, ``"time"`` or ``"clip_id"``.
    """
    if layout.whole:
        files = [
            layout.files.get(video) or layout.expected(video, "") for video in labels["video_id"]
        ]
        return files, "video"
    timed = {"start", "end"} <= set(labels.columns)
    transcripts = _transcripts(layout) if timed else None
    if transcripts is None:
        return _by_number(labels, layout), "clip_id"
    by_row: dict[Hashable, str] = {}
    for video, group in labels.groupby("video_id", sort=False):
        clips, times = _read_transcript(transcripts / f"{video}.txt")
        for row, start, end in group[["start", "end"]].itertuples():
            apart = np.abs(times - [start, end]).max(axis=1)
            nearest = int(np.argmin(apart)) if len(apart) else 0
            if len(apart) and apart[nearest] <= TOLERANCE:  # false for NaN
                clip = clips[nearest]
            else:
                clip = f"(no clip at {start:.2f}-{end:.2f} s)"
            key = (str(video), clip)
            by_row[row] = layout.files.get(key) or layout.expected(*key)
    return [by_row[row] for row in labels.index], "time"


def _by_number(labels: pd.DataFrame, layout: Layout) -> list[str]:
    numbered = layout.numbered()
    files = []
    for key in zip(labels["video_id"], labels["clip_id"], strict=True):
        file = layout.files.get(key)
        number = key[1].removesuffix(".0")  # of tables that took numbers for measurements
        if file is None and number.isdecimal():
            # Of 7.wav and 07.wav neither is the file of 007.
            [file] = found if len(found := numbered[key[0], int(number)]) == 1 else [None]
        files.append(file or layout.expected(*key))
    return files


def _transcripts(layout: Layout) -> Path | None:
    """Folder of the transcripts that number clips as the files do."""
    if layout.pattern == "{video}/{clip}":
        return None  # cut by other people, numbered as their labels are
    for root in (layout.root, layout.root.parent):
        if (root / TRANSCRIPTS).is_dir():
            return root / TRANSCRIPTS
    return None


def _read_transcript(path: Path) -> tuple[list[str], np.ndarray]:
    """Numbers of the clips and their starts and ends in seconds; empty without a transcript."""
    clips, times = [], []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            parts = line.split("___")
            try:
                clip, start, end = parts[1], float(parts[2]), float(parts[3])
            except (IndexError, ValueError):
                continue  # a text may continue on further lines
            clips.append(clip)
            times.append((start, end))
    return clips, np.array(times).reshape(-1, 2)
