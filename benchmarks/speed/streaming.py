"""A live stream on one core: delay, computing time, streams that a core sustains, memory.

    python -m benchmarks.speed.streaming --out results/speed_streaming.json

Utterances of RAVDESS of about 4 s, each followed by a pause of its own room, are pushed in chunks
of 20 ms. Delay has two parts. What the definition makes everyone wait for is counted in samples:
from the end of an utterance (with its hangover) to the last sample that had to come before
its final score. What is computed is measured: time of a push, of the push in which a final score
comes, and seconds of audio per second. Pipelines are fitted on every fourth recording of RAVDESS;
none averages over speeds. Memory is what 50 more streams over one pipeline take, each of which has
heard 20 s. ``--precisions bfloat16`` is for processors that have it.

    python -m benchmarks.speed.streaming --out results/speed_long_stream.json --hours 8

pushes so many hours through one stream of small instead: in each hour as many utterances, and
between them the noise of the room. Time and memory by hour.
"""

import pickle
import statistics
import time
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from benchmarks._memory import MIB, Memory
from benchmarks._timing import on_cores
from experiments._harness.command import make_parser
from experiments._harness.rooms import room_of
from experiments._harness.tables import save, table_of

RATE, CHUNK = 16_000, 320
SYSTEMS = ("small", "medium", "large")
STEPS = (1.0, 5.0)
#: Streams whose memory is compared with that of one, and seconds that each of them has heard.
STREAMS, HEARD = 50, 20


def audio(n_utterances):
    """Utterances with pauses of their own room, as one signal of 16-bit samples.

    Parameters
    ----------
    n_utterances : int

    Returns
    -------
    ndarray of shape (n_samples,), int16
    """
    import soundfile

    from sklearn_speechsent.datasets import load_ravdess

    files = load_ravdess().data
    parts = []
    for file in files[:: len(files) // n_utterances][:n_utterances]:
        sound, _ = soundfile.read(file, dtype="int16")
        parts += [sound, np.tile(room_of(sound), 8)]
    return np.concatenate(parts)


def fitted(name, precision, memory):
    """Fitted pipeline that stores nothing."""
    from sklearn_speechsent import make_sentiment_pipeline
    from sklearn_speechsent.datasets import load_ravdess

    corpus = load_ravdess()
    precisions = {"srext__precision": precision}
    if name == "large":
        precisions["encoder__precision"] = precision
    pipeline = make_sentiment_pipeline(name, memory=memory, **precisions)
    pipeline.fit(corpus.data[::4], corpus.target[::4])
    # As it is deployed: a copy of a fitted pipeline has no store.
    return pickle.loads(pickle.dumps(pipeline))


def measure(name, precision, memory, n_utterances):
    """Seconds of pushes, samples waited for, and bytes of a stream.

    Parameters
    ----------
    name : str
    precision : {"float32", "bfloat16"}
    memory : str
        Folder of the features of the fit.
    n_utterances : int

    Returns
    -------
    dict
    """
    import torch

    from sklearn_speechsent import StreamingSentiment
    from sklearn_speechsent.inference import Score

    torch.set_num_threads(1)
    pipeline, signal = fitted(name, precision, memory), audio(n_utterances)
    result = {"seconds": len(signal) / RATE, "steps": {}}
    for step in STEPS:
        stream = StreamingSentiment(pipeline, step=step)
        stream.push(signal[: 10 * RATE]), stream.finish(), stream.reset()
        pushes, finals, delays = [], [], []
        started = time.process_time()
        for first in range(0, len(signal), CHUNK):
            before = time.perf_counter()
            events = stream.push(signal[first : first + CHUNK])
            pushes.append(time.perf_counter() - before)
            for event in events:
                if isinstance(event, Score) and event.final:
                    finals.append(pushes[-1])
                    delays.append((first + CHUNK - event.end_sample) / RATE)
        stream.finish()
        result["steps"][str(step)] = {
            "pushes": pushes,
            "finals": finals,
            "delays": delays,
            "processor": time.process_time() - started,
        }
    heard = signal[: HEARD * RATE]
    before = Memory.now()
    streams = [StreamingSentiment(pipeline) for _ in range(STREAMS)]
    for stream in streams:
        stream.push(heard)
    result["bytes"] = (Memory.now() - before) / STREAMS
    return result


def endure(hours, memory, n_utterances):
    """Seconds of a push and bytes of the process after each hour of one stream.

    Parameters
    ----------
    hours : int
    memory : str
        Folder of the features of the fit.
    n_utterances : int
        In each hour.

    Returns
    -------
    list of dict
    """
    import torch

    from sklearn_speechsent import StreamingSentiment
    from sklearn_speechsent.inference import Score

    torch.set_num_threads(1)
    stream = StreamingSentiment(fitted("small", "float32", memory), step=STEPS[-1])
    signal, found = audio(n_utterances), []
    n_chunks = 3600 * RATE // CHUNK
    noise = np.resize(signal[-RATE // 10 :], 3600 * RATE - len(signal))
    signal = np.concatenate([signal, noise])
    for hour in tqdm(range(hours), unit="h"):
        pushes, scores = np.empty(n_chunks), 0
        for k in range(n_chunks):
            before = time.perf_counter()
            events = stream.push(signal[k * CHUNK : (k + 1) * CHUNK])
            pushes[k] = time.perf_counter() - before
            scores += sum(isinstance(event, Score) and event.final for event in events)
        found.append(
            {
                "hour": hour + 1,
                "median": float(np.median(pushes)),
                "late": float(np.quantile(pushes, 0.95)),
                "scores": scores,
                "bytes": Memory.now(),
            }
        )
    return found


def report_hours(found):
    """Lines of the table of a long stream."""
    rows = [
        [
            str(each["hour"]),
            f"{1000 * each['median']:.2f} / {1000 * each['late']:.1f} ms",
            str(each["scores"]),
            f"{each['bytes'] / MIB:.1f} MiB",
        ]
        for each in found
    ]
    return table_of(["hour", "push, median / 95 %", "final scores", "memory of the process"], rows)


def report(results):
    """Lines of the table."""
    rows = []
    for name, result in results.items():
        for step, found in result["steps"].items():
            pushes, finals = (1000 * np.array(found[key]) for key in ("pushes", "finals"))
            rows.append(
                [
                    name,
                    f"{float(step):g} s",
                    f"{1000 * statistics.median(found['delays']):.0f} ms",
                    f"{np.median(pushes):.2f} / {np.quantile(pushes, 0.95):.1f} ms",
                    f"{np.median(finals):.0f} / {np.quantile(finals, 0.95):.0f} ms",
                    str(len(finals)),
                    f"{result['seconds'] / found['processor']:.1f}",
                    f"{result['bytes'] / MIB:.2f} MiB",
                ]
            )
    heads = ["", "step", "waited for", "push, median / 95 %", "final score, median / 95 %"]
    return table_of([*heads, "scores", "streams per core", "memory of a stream"], rows)


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--utterances", type=int, default=40, help="in the stream (40)")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--precisions", nargs="+", default=["float32"], help="(float32)")
    parser.add_argument("--memory", type=Path, help="features of the fits (FILE.cache)")
    parser.add_argument("--hours", type=int, help="of one stream of small, instead of the rest")
    args = parser.parse_args()
    memory = str((args.memory or args.out.with_suffix(".cache")).resolve())
    if args.hours:
        found = on_cores(endure, 1, args.hours, memory, args.utterances)
        save(args.out, found, report_hours(found))
        return
    results = {}
    for name in args.systems:
        for precision in args.precisions:
            found = on_cores(measure, 1, name, precision, memory, args.utterances)
            results[f"{name}, {precision}"] = found
            save(args.out, results, report(results))


if __name__ == "__main__":
    main()
