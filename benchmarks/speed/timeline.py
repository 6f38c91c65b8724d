"""Time line of a telephone call of half an hour: times as fast as it lasts, and its picture.

    python -m benchmarks.speed.timeline --out results/speed_timeline.json

The call is stereo, 8 kHz, mu-law, with one speaker on each channel who take turns: utterances of
RAVDESS with pauses of their own room. Small, fitted on the other actors as they were recorded and
as a telephone sends them, follows both channels, with a score every second and every five. Writes
FILE.json, FILE.md and FILE.png, the time lines of both channels.
"""

import os
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._timing import on_cores
from experiments._harness.command import make_parser
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.rooms import room_of
from experiments._harness.tables import save, table_of

#: Actors on the two channels.
ACTORS = (23, 24)
WINDOW, STEPS = 5.0, (1.0, 5.0)


def call(path, minutes):
    """Write a call, and return its seconds.

    Parameters
    ----------
    path : Path
    minutes : float

    Returns
    -------
    float
    """
    import soundfile
    import soxr

    from sklearn_speechsent.datasets import load_ravdess

    corpus, rng = load_ravdess(), np.random.default_rng(0)
    files = [np.array(corpus.data, object)[corpus.groups == actor] for actor in ACTORS]
    channels, rooms, seconds, turn = ([], []), [None, None], 0.0, 0
    while seconds < 60 * minutes:
        sound, rate = soundfile.read(rng.choice(files[turn % 2]), dtype="float32")
        rooms[turn % 2] = room_of(sound)
        sound = np.concatenate([sound, np.resize(room_of(sound), rng.integers(rate // 2, rate))])
        channels[turn % 2].append(sound)
        other = rooms[1 - turn % 2]
        silent = np.zeros(1, np.float32) if other is None else other
        channels[1 - turn % 2].append(np.resize(silent, len(sound)))
        seconds += len(sound) / rate
        turn += 1
    both = np.stack([np.concatenate(channel) for channel in channels], 1)
    soundfile.write(path, soxr.resample(both, rate, 8000), 8000, subtype="ULAW")
    return seconds


def measure(path, memory):
    """Time lines and their seconds, by step.

    Parameters
    ----------
    path : Path
    memory : str
        Folder of the features of the fit.

    Returns
    -------
    dict
    """
    from sklearn_speechsent import (
        WaveformPerturbation,
        make_sentiment_pipeline,
        sentiment_timeline,
    )
    from sklearn_speechsent.datasets import load_ravdess

    corpus = load_ravdess()
    train = ~np.isin(corpus.groups, ACTORS)
    model = WaveformPerturbation(
        make_sentiment_pipeline(memory=memory, n_jobs=-1),
        speeds=(),
        conditions=["telephone"],
        predict_speeds=(1.0,),
    )
    model.fit(np.array(corpus.data, object)[train], corpus.target[train])
    # As it is deployed: a copy of a fitted pipeline has no store.
    pipeline = pickle.loads(pickle.dumps(model.estimator_))
    found = {}
    for step in STEPS:
        started = time.perf_counter()
        timeline = sentiment_timeline(
            pipeline, [str(path)], window=WINDOW, step=step, channels="separate", n_jobs=-1
        )
        found[step] = time.perf_counter() - started, timeline
    return found


def main():
    """Measure, draw and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", type=Path, help="features of the fit (FILE.cache)")
    args = parser.parse_args()
    memory = str((args.memory or args.out.with_suffix(".cache")).resolve())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "call.wav"
        length = call(path, args.minutes)
        found = on_cores(measure, args.cores, path, memory)
        rows, results = [], {"minutes": length / 60, "cores": args.cores, "steps": {}}
        for step, (seconds, timeline) in found.items():
            finals = timeline[timeline["final"]]
            results["steps"][str(step)] = {"seconds": seconds, "finals": len(finals)}
            rows.append(
                [
                    f"{step:g} s",
                    f"{seconds:.0f} s",
                    f"{length / seconds:.1f}",
                    f"{2 * length / seconds:.1f}",
                    str(len(finals)),
                    str(len(timeline) - len(finals)),
                ]
            )
        heads = ["step", "time", "times as fast as the call", "as its channels"]
        lines = table_of([*heads, "final scores", "provisional"], rows)
        save(args.out, results, lines)
        draw(args.out.with_suffix(".png"), path, timeline)


def draw(picture, path, timeline):
    """Draw the time line of the call."""
    from sklearn_speechsent.inference import TimelineDisplay

    pyplot()
    display = TimelineDisplay.from_timeline(timeline, audio=str(path))
    save_figure(picture, display.figure_)


if __name__ == "__main__":
    main()
