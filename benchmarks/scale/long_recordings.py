"""Long recordings: memory, time, and what computing them in pieces changes.

    python -m benchmarks.scale.long_recordings --out results/long_recordings.json

One recording of an hour next to ten of six minutes of the same speech (LibriSpeech, joined), as
16 kHz mono and as 48 kHz stereo, through fitted small and medium: the most memory beyond the
imports, and the time per second of audio. Each line is a process of its own with one core. Then
the probabilities of small for 20 recordings of 1 to 10 minutes (speakers of RAVDESS that it was not
fitted on, and LibriSpeech), in pieces and with squeeze-excitation over the whole recording. The
same command resumes; writes FILE.json and FILE.md.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._memory import MIB, peak_rss
from benchmarks._timing import on_cores
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of

RATE, HOUR = 16000, 3600
SYSTEMS = ("small", "medium")
#: Number of recordings of the same hour, and kinds of files.
PARTS, KINDS = (10, 1), ("16 kHz mono", "48 kHz stereo")
#: Actors of RAVDESS that the systems are fitted on; each third of their recordings.
FITTED = 9


def read(files, seconds):
    """Join recordings.

    Parameters
    ----------
    files : list of Path
        At 16 kHz; from the beginning again where they do not suffice.
    seconds : float

    Returns
    -------
    ndarray of float32
    """
    import soundfile

    parts, left = [], round(seconds * RATE)
    while left > 0:
        for file in files:
            parts.append(soundfile.read(file, dtype="float32")[0][:left])
            left -= len(parts[-1])
    return np.concatenate(parts)


def librispeech():
    """Recordings of LibriSpeech in the data home."""
    from sklearn_speechsent.datasets import get_data_home

    return sorted((get_data_home() / "librispeech_excerpts").rglob("*.flac"))


def write_hour(folder, kind, n_parts):
    """Write an hour of speech to files of equal length.

    Parameters
    ----------
    folder : Path
    kind : {"16 kHz mono", "48 kHz stereo"}
    n_parts : int

    Returns
    -------
    list of str
    """
    import soundfile
    import soxr

    hour = read(librispeech(), HOUR)
    files = []
    for number, part in enumerate(np.split(hour, n_parts)):
        files.append(str(folder / f"{kind} {n_parts} {number}.wav"))
        if kind == "16 kHz mono":
            soundfile.write(files[-1], part, RATE)
            continue
        with soundfile.SoundFile(files[-1], "w", 3 * RATE, 2) as file:
            up = soxr.ResampleStream(RATE, 3 * RATE, 1, dtype="float32")
            for first in range(0, len(part), RATE):
                block = up.resample_chunk(
                    part[first : first + RATE], last=first + RATE >= len(part)
                )
                file.write(block[:, None].repeat(2, axis=1) * [1.0, 0.9])
    return files


def fit(system, path):
    """Fit a system on some speakers of RAVDESS and write it to a file.

    Parameters
    ----------
    system : {"small", "medium"}
    path : Path
    """
    import joblib

    from sklearn_speechsent import make_sentiment_pipeline
    from sklearn_speechsent.datasets import load_ravdess

    ravdess = load_ravdess()
    rows = np.flatnonzero(np.isin(ravdess.groups, np.unique(ravdess.groups)[:FITTED]))[::3]
    pipeline = make_sentiment_pipeline(system, n_jobs=1)
    pipeline.fit([ravdess.data[row] for row in rows], ravdess.target[rows])
    joblib.dump(pipeline, path)


def measure(path, files):
    """Predict in this process.

    Parameters
    ----------
    path : Path
        Of a fitted pipeline.
    files : list of str
        Of an hour in all.

    Returns
    -------
    dict
        MiB beyond the imports, seconds, and seconds of the processor.
    """
    import joblib
    import torch

    import sklearn_speechsent.pipeline  # noqa: F401

    torch.set_num_threads(1)
    imports = peak_rss()
    pipeline = joblib.load(path)
    started, cpu = time.perf_counter(), time.process_time()
    probabilities = pipeline.predict_proba(files)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert np.isfinite(probabilities).all()
    return {"memory": (peak_rss() - imports) / MIB, "seconds": seconds, "cpu_seconds": cpu}


def compare(path):
    """Probabilities in pieces and of the whole.

    Parameters
    ----------
    path : Path
        Of the fitted pipeline.

    Returns
    -------
    list of dict
        ``minutes``, ``speech`` (minutes that the network sees), ``moved`` (most of any level's
        probability) and ``level`` (of the expected level).
    """
    import joblib

    from sklearn_speechsent.datasets import load_ravdess
    from sklearn_speechsent.features import frozen

    pipeline = joblib.load(path)
    ravdess = load_ravdess()
    others = np.flatnonzero(np.isin(ravdess.groups, np.unique(ravdess.groups)[FITTED:]))
    speakers = [
        others[ravdess.groups[others] == name] for name in np.unique(ravdess.groups[others])
    ]
    rows = []
    for number, minutes in enumerate(np.linspace(1, 10, 10)):
        acted = np.concatenate(speakers[number:] + speakers[:number])
        spoken = np.random.default_rng(number).permutation(librispeech())
        for corpus, files in (("RAVDESS", ravdess.data[acted]), ("LibriSpeech", spoken)):
            frames = pipeline[:-2].transform([read(files, 60 * minutes)])
            found = []
            for longest in (frozen.GATED_WHOLE, 10**9):
                kept, frozen.GATED_WHOLE = frozen.GATED_WHOLE, longest
                found.append(pipeline[-2:].predict_proba(frames)[0])
                frozen.GATED_WHOLE = kept
            moved = np.abs(found[0] - found[1])
            rows.append(
                {
                    "corpus": corpus,
                    "minutes": float(minutes),
                    "speech": len(frames[0]) / 6000,
                    "moved": float(moved.max()),
                    "level": float(abs((found[0] - found[1]) @ pipeline.classes_)),
                }
            )
    return rows


def report(results):
    """Lines of the tables."""
    cells = []
    for name, row in results.items():
        if name == "moved":
            continue
        times = [f"{1000 * row[key] / HOUR:.1f} ms" for key in ("seconds", "cpu_seconds")]
        cells.append([name, f"{row['memory']:.0f} MiB", *times])
    lines = table_of(["", "memory beyond imports", "time per second of audio", "CPU time"], cells)
    moved = results.get("moved", [])
    columns = ["corpus", "minutes", "of speech", "moved", "expected level"]
    lines += table_of(
        columns,
        [
            [
                row["corpus"],
                f"{row['minutes']:.0f}",
                f"{row['speech']:.1f}",
                f"{row['moved']:.4f}",
                f"{row['level']:.4f}",
            ]
            for row in moved
        ],
    )
    if moved:
        lines += [f"Probabilities moved by {max(row['moved'] for row in moved):.4f} at most.", ""]
    return lines


def main():
    """Measure what is missing, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--work", type=Path, help="folder for an hour of sound (that of --out)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of files, separated by commas")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="separated by commas")
    options = parser.parse_args()
    work = options.work or options.out.parent
    work.mkdir(parents=True, exist_ok=True)
    results = json.loads(options.out.read_text()) if options.out.is_file() else {}
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        for system in options.systems.split(","):
            path = folder / f"{system}.joblib"
            on_cores(fit, 1, system, path)
            for kind in options.kinds.split(","):
                for n_parts in PARTS:
                    key = f"{system}, {kind}, {n_parts} x {60 // n_parts} min"
                    if key in results:
                        continue
                    files = on_cores(write_hour, 1, folder, kind, n_parts)
                    results[key] = on_cores(measure, 1, path, files)
                    for file in files:
                        Path(file).unlink()
                    save(options.out, results, report(results))
        if "moved" not in results and "small" in options.systems.split(","):
            results["moved"] = on_cores(compare, 1, folder / "small.joblib")
    save(options.out, results, report(results))


if __name__ == "__main__":
    main()
