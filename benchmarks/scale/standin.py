"""Stand-in for CMU-MOSEI, filled with other speech: for tests of scale and of file handling.

    python -m benchmarks.scale.standin OUT                      # all 3,225 videos, 67 h, 7.3 GiB
    python -m benchmarks.scale.standin OUT --fraction 0.1       # a tenth of them
    python -m benchmarks.scale.standin OUT --layout segmented   # a file per segment
    python -m benchmarks.scale.standin OUT --learnable          # something to learn from

The sound of CMU-MOSEI may not be passed on; its labels give the least length of every video, and
the times of its segments. Here each video is one speaker of the LibriSpeech excerpts or of RAVDESS,
whose utterances are joined until the video is full; OUT/cmu_mosei/labels.csv has the real times,
folds and labels. Labels are unrelated to the sound, unless --learnable: then segments are RAVDESS
utterances whose valence has the sign of the label. Everything is read from the data home
(SPEECHSENT_DATA). After an interruption the same command resumes; a larger fraction contains the
videos of a smaller one.
"""

import json
import shutil
from io import BytesIO
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from benchmarks.scale._voices import find_voices, make_video
from experiments._harness.command import make_parser
from experiments._harness.files import write_text
from sklearn_speechsent.datasets import get_data_home
from sklearn_speechsent.utils.files import atomic_write

RATE = 16000
LAYOUTS = {
    "wav_16000": "WAV_16000/{video}.{suffix}",
    "segmented": "Segmented/{video}_{clip}.{suffix}",
}
#: Sound after the last segment of a video, and length of one without times (s).
TAIL, UNTIMED = 0.5, 5.0
#: Bytes that a sample takes at most; bytes that must stay free on the disk.
SAMPLE_BYTES, SPARE = {"wav": 2.0, "flac": 1.5}, 2**30


def read_labels(data_home):
    """Labels of CMU-MOSEI.

    Parameters
    ----------
    data_home : Path

    Returns
    -------
    DataFrame
        One row per segment, as in the file.
    """
    path = data_home / "cmu_mosei" / "labels.csv"
    if not path.is_file():
        raise SystemExit(f"There are no labels at {path}: set SPEECHSENT_DATA.")
    return pd.read_csv(path, dtype={"video_id": str, "clip_id": str})


def choose_videos(labels, fraction, seed):
    """Some videos of each fold; more of them include those of fewer.

    Parameters
    ----------
    labels : DataFrame
        Columns ``video_id, split``.
    fraction : float
        Above 0, at most 1.
    seed : int

    Returns
    -------
    list of str
        In the order of the labels.
    """
    if not 0 < fraction <= 1:
        raise SystemExit(f"--fraction={fraction} is not above 0 and at most 1.")
    videos = labels.drop_duplicates("video_id")
    mixed = videos.sample(frac=1, random_state=seed)
    rank = mixed.groupby("split", sort=False).cumcount()
    wanted = np.ceil(fraction * mixed.groupby("split")["video_id"].transform("size"))
    chosen = set(mixed["video_id"][rank < wanted])
    return [video for video in videos["video_id"] if video in chosen]


def write_sound(path, samples):
    """Write a sound file so that it is there in full or not at all.

    Parameters
    ----------
    path : Path
    samples : ndarray of int16 of shape (n_samples,)
    """
    sound = BytesIO()
    soundfile.write(sound, samples, RATE, format=path.suffix[1:], subtype="PCM_16")
    atomic_write(path, sound.getvalue())


def plan(labels, layout, suffix):
    """Segments with their place in videos and files.

    Parameters
    ----------
    labels : DataFrame
    layout : {"wav_16000", "segmented"}
    suffix : {"wav", "flac"}

    Returns
    -------
    DataFrame
        A row per segment: columns ``video_id, sentiment``; ``first, last``, its samples of the
        video; ``length`` of the video; ``file``, relative to the folder of the corpus, and
        ``begin, size``, the samples of the video that it holds.
    """
    times = labels[["start", "end"]].fillna({"start": 0.0, "end": UNTIMED}).clip(lower=0)
    samples = (times * RATE).round().astype(int).set_axis(["first", "last"], axis=1)
    rows = pd.concat([labels[["video_id", "sentiment"]], samples], axis=1)
    rows["length"] = rows.groupby("video_id")["last"].transform("max") + round(TAIL * RATE)
    rows["file"] = [
        LAYOUTS[layout].format(video=video, clip=clip, suffix=suffix)
        for video, clip in zip(labels["video_id"], labels["clip_id"], strict=True)
    ]
    if layout == "wav_16000":
        return rows.assign(begin=0, size=rows["length"])
    return rows.assign(begin=rows["first"], size=rows["last"] - rows["first"])


def is_whole(path, n_samples):
    """Whether a file is there and as long as it should be.

    Parameters
    ----------
    path : Path
    n_samples : int

    Returns
    -------
    bool
    """
    try:
        return soundfile.info(path).frames == n_samples
    except (OSError, soundfile.SoundFileError):
        return False


def check_settings(folder, settings):
    """Refuse a folder with other content.

    Parameters
    ----------
    folder : Path
    settings : dict

    Raises
    ------
    SystemExit
        If it was built with other settings, or not by this script.
    """
    record = folder / "standin.json"
    if record.is_file():
        if (found := json.loads(record.read_text(encoding="utf-8"))) != settings:
            raise SystemExit(
                f"{folder} was built with {found}, not {settings}: choose another OUT."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty, and not from this script: choose another OUT.")


def check_space(folder, n_bytes):
    """Refuse to fill a disk.

    Parameters
    ----------
    folder : Path
    n_bytes : float
        That will be written.

    Raises
    ------
    SystemExit
        If there is not enough space.
    """
    there = next(path for path in [folder, *folder.parents] if path.exists())
    free = shutil.disk_usage(there).free
    if n_bytes + SPARE > free:
        raise SystemExit(
            f"{folder} will take {n_bytes / 2**30:.1f} GiB, and of {free / 2**30:.1f} GiB that are "
            f"free {SPARE / 2**30:.0f} should stay free. Take a smaller --fraction, --format flac "
            "or another disk."
        )


def write_videos(voices, videos, folder):
    """Write the videos of one speaker, reading each utterance once.

    Parameters
    ----------
    voices : DataFrame
        Utterances of the speaker, see `find_voices`.
    videos : list of (Generator, DataFrame)
        The segments of each video, see `plan`, with a column ``missing``.
    folder : Path

    Returns
    -------
    int
        Files written.
    """
    utterances = {
        int(valence): [soundfile.read(file, dtype="float32")[0] for file in files]
        for valence, files in voices.groupby("valence")["file"]
    }
    written = 0
    for rng, segments in videos:
        samples = make_video(utterances, segments, rng)
        for part in segments[segments["missing"]].drop_duplicates("file").itertuples():
            write_sound(folder / part.file, samples[part.begin : part.begin + part.size])
            written += 1
    return written


def build(
    out,
    *,
    fraction=1.0,
    layout="wav_16000",
    seed=0,
    suffix="wav",
    learnable=False,
    n_jobs=-1,
    data_home=None,
):
    """Build the folder, or the missing files of it.

    Parameters
    ----------
    out : Path
        Data home to be, with the folder ``cmu_mosei``.
    fraction : float, default=1.0
        Of the videos of each fold.
    layout : {"wav_16000", "segmented"}, default="wav_16000"
        Whole videos or a file per segment.
    seed : int, default=0
    suffix : {"wav", "flac"}, default="wav"
    learnable : bool, default=False
        Whether the valence of the speech has the signs of the labels.
    n_jobs : int, default=-1
        Threads.
    data_home : Path, optional
        Of the labels and the speech.

    Returns
    -------
    int
        Files written.

    Raises
    ------
    SystemExit
        If something is missing, there is not enough space, or the folder has other content.
    """
    data_home = get_data_home() if data_home is None else Path(data_home)
    folder = Path(out) / "cmu_mosei"
    labels = read_labels(data_home)
    numbers = {video: number for number, video in enumerate(labels["video_id"].unique())}
    labels = labels[labels["video_id"].isin(choose_videos(labels, fraction, seed))]
    settings = {"layout": layout, "seed": seed, "format": suffix, "learnable": learnable}
    check_settings(folder, settings)
    voices = dict(list(find_voices(data_home, learnable).groupby("speaker")))
    rows = plan(labels, layout, suffix)
    files = rows.drop_duplicates("file")
    missing = files[[not is_whole(folder / f.file, f.size) for f in files.itertuples()]]
    rows["missing"] = rows["file"].isin(missing["file"])
    check_space(folder, SAMPLE_BYTES[suffix] * missing["size"].sum())
    (folder / LAYOUTS[layout]).parent.mkdir(parents=True, exist_ok=True)
    write_text(folder / "standin.json", json.dumps(settings))
    tasks = {speaker: [] for speaker in voices}
    for video, segments in rows.groupby("video_id", sort=False):
        rng = np.random.default_rng([seed, numbers[video]])
        speaker = list(voices)[rng.integers(len(voices))]
        if segments["missing"].any():
            tasks[speaker].append((rng, segments))
    # Threads: nearly all the time goes into arithmetic and writing, which release the GIL.
    workers = joblib.Parallel(n_jobs, prefer="threads", return_as="generator_unordered")
    jobs = (
        joblib.delayed(write_videos)(voices[speaker], videos, folder)
        for speaker, videos in tasks.items()
        if videos
    )
    with tqdm(total=len(missing), unit="file", desc=str(folder)) as bar:
        for written in workers(jobs):
            bar.update(written)
    write_text(folder / "labels.csv", labels.to_csv(index=False))
    return len(missing)


def main():
    """Read the command line and build."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for cmu_mosei")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the videos (1)")
    parser.add_argument("--layout", choices=LAYOUTS, default="wav_16000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=SAMPLE_BYTES, default="wav")
    parser.add_argument("--learnable", action="store_true", help="speech agrees with the labels")
    parser.add_argument("--jobs", type=int, default=-1, help="threads (-1: all cores)")
    options = parser.parse_args()
    written = build(
        options.out,
        fraction=options.fraction,
        layout=options.layout,
        seed=options.seed,
        suffix=options.format,
        learnable=options.learnable,
        n_jobs=options.jobs,
    )
    print(f"{options.out / 'cmu_mosei'}: {written} files written. Use it with data_home or")
    print(f"  export SPEECHSENT_DATA={options.out.resolve()}")


if __name__ == "__main__":
    main()
