"""Folder layouts of CMU-MOSEI and CMU-MOSI, and the file that each label belongs to."""

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

AUDIO = (".wav", ".flac", ".mp3")
#: Containers whose sound has to be extracted first.
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
        If none of the layouts is there, or only films whose sound is not extracted.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{corpus}: there is no folder {folder}. Put the audio there, or name the folder that "
            "holds it by audio_dir, data_home or the environment variable SPEECHSENT_DATA."
        )
    roots = [root for root in (folder, folder / "Raw") if root.is_dir()]
    for suffixes in (AUDIO, VIDEO):
        layouts = [
            Layout(root, pattern, _files(root, pattern, videos, suffixes))
            for root in roots
            for pattern in PATTERNS
        ]
        best = max(layouts, key=lambda layout: len(_videos(layout)))
        if best.files and suffixes is AUDIO:
            return best
    if best.files:
        suffix = os.path.splitext(next(iter(best.files.values())))[1]
        stars = os.path.join(
            best.root, best.pattern.format(video="*", clip="*").replace("*_*", "*")
        )
        raise FileNotFoundError(
            f"{corpus}: {folder} holds {len(best.files)} {suffix} files and no audio; sound cannot "
            f"be read from {suffix}. Extract it next to them:\n"
            f'  for f in {stars}{suffix}; do ffmpeg -i "$f" -vn -ac 1 -ar 16000 '
            f'"${{f%{suffix}}}.wav"; done'
        )
    looked_for = "\n  ".join(PATTERNS).format(video="<video>", clip="<clip>")
    raise FileNotFoundError(
        f"{corpus}: none of the {len(videos)} videos with labels has audio in {folder}. Looked "
        f"there and in its folder Raw for files ({', '.join(AUDIO)}) like\n  {looked_for}\nName "
        "the folder by audio_dir."
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
        Columns ``video_id, clip_id, start, end``.
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
    transcripts = _transcripts(layout)
    if transcripts is None:
        keys = zip(labels["video_id"], labels["clip_id"], strict=True)
        return [layout.files.get(key) or layout.expected(*key) for key in keys], "clip_id"
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
