"""Utterances found in long recordings: what it costs that nobody has cut them out.

    python -m experiments.timeline --out results/timeline.json

The recordings of each actor of RAVDESS, one after the other with pauses of 1 to 3 s of their own
room, are one long recording. In each fold of speakers, small is fitted on the files of the others
as they are; a time line then scores the utterances that it finds in the long recordings of the test
actors. A file's score is that of the utterance that overlaps most with it. Files that no utterance
with a score overlaps are missed, and predicted as the constant; files with more than one are split.
The rows of the table have the same files: as they are cut, and found in the long recordings.
"""

import time
from functools import partial

import numpy as np
import soundfile
from joblib import Parallel, delayed

from experiments._harness.command import add_extraction, make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.rooms import room_of
from experiments._harness.sentiment import SCORES
from experiments._harness.tables import save, table_of
from sklearn_speechsent import make_sentiment_pipeline, sentiment_timeline
from sklearn_speechsent.inspection import speaker_interval
from sklearn_speechsent.metrics import ordinal_report

RATE = 16_000
#: Seconds of a pause, from the first to the second, and of overlap from which an utterance counts.
PAUSE, OVERLAP = (1.0, 3.0), 0.3
NAMES = ("constant (median)", "files as they are", "found in long recordings")


def place(files, rng):
    """One long recording of files with pauses.

    Parameters
    ----------
    files : list of str
        At 16 kHz.
    rng : Generator

    Returns
    -------
    samples : ndarray of shape (n_samples,)
    spans : ndarray of shape (n_files, 2)
        Seconds of each file.
    """
    parts, spans, n = [], [], 0
    for file in files:
        sound, rate = soundfile.read(file, dtype="float32")
        if rate != RATE:
            raise ValueError(f"{file} has {rate} Hz, and {RATE} are needed.")
        pause = np.resize(room_of(sound), int(RATE * rng.uniform(*PAUSE)))
        spans.append((n, n + len(sound)))
        parts += [sound, pause]
        n += len(sound) + len(pause)
    return np.concatenate(parts), np.array(spans) / RATE


def match(spans, finals):
    """Final score of the utterance that overlaps most with each file.

    Parameters
    ----------
    spans : ndarray of shape (n_files, 2)
    finals : DataFrame
        Final rows of a time line.

    Returns
    -------
    levels : ndarray of shape (n_files,)
        NaN where there is none.
    n_found : ndarray of shape (n_files,)
        Utterances with a score that overlap.
    """
    known = finals[finals["expected"].notna()]
    start, end = (known[name].to_numpy(float) for name in ("start", "end"))
    overlap = np.minimum(spans[:, 1:], end) - np.maximum(spans[:, :1], start)
    if not len(known):
        return np.full(len(spans), np.nan), np.zeros(len(spans), int)
    levels = known["level"].to_numpy(float)[overlap.argmax(axis=1)]
    enough = overlap > OVERLAP
    return np.where(enough.any(axis=1), levels, np.nan), enough.sum(axis=1)


def actor(pipeline, files, seed):
    """Levels of an actor's files in a long recording, utterances of each, and seconds."""
    samples, spans = place(files, np.random.default_rng(seed))
    started = time.perf_counter()
    timeline = sentiment_timeline(pipeline, [(RATE, samples)], step=5.0)
    levels, n_found = match(spans, timeline[timeline["final"]])
    return levels, n_found, time.perf_counter() - started, len(samples) / RATE


def main():
    """Run all folds, print and write the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--every", type=int, default=1, help="every n-th file of an actor (1)")
    add_extraction(parser)
    args = parser.parse_args()
    corpus = load_corpus("ravdess")
    memory = str((args.memory or args.out.with_suffix(".cache")).resolve())
    files, y, groups = corpus.X["file"].to_numpy(object), corpus.y, corpus.groups
    chosen = np.zeros(len(y), bool)
    for speaker in np.unique(groups):
        chosen[np.flatnonzero(groups == speaker)[:: args.every]] = True
    predicted = {name: np.full(len(y), np.nan) for name in NAMES}
    n_found, seconds, duration = np.zeros(len(y), int), 0.0, 0.0
    for train, test in corpus.folds(args.folds):
        pipeline = make_sentiment_pipeline(levels=corpus.levels, memory=memory, n_jobs=args.jobs)
        pipeline.fit(files[train], y[train])
        test = test[chosen[test]]
        predicted[NAMES[0]][test] = np.median(y[train])
        predicted[NAMES[1]][test] = pipeline.predict(files[test])
        for step in ("mfb", "vad", "cmn", "srext"):
            pipeline.set_params(**{f"{step}__memory": None, f"{step}__n_jobs": 1})
        speakers = [test[groups[test] == speaker] for speaker in np.unique(groups[test])]
        found = Parallel(args.jobs)(
            delayed(actor)(pipeline, list(files[rows]), int(groups[rows[0]])) for rows in speakers
        )
        for rows, (levels, count, took, length) in zip(speakers, found, strict=True):
            predicted[NAMES[2]][rows] = np.where(np.isnan(levels), np.median(y[train]), levels)
            n_found[rows] = count
            seconds, duration = seconds + took, duration + length
    rows, scores = [], {}
    for name, values in predicted.items():
        report = ordinal_report(y[chosen], values[chosen], levels=corpus.levels)
        error = np.abs(values - y)[chosen]
        low, high = speaker_interval(groups[chosen], partial(_mean, error))
        scores[name] = {**report, "mae_interval": [low, high]}
        figures = [f"{report[score]:.3f}" for score in SCORES]
        rows.append([name, *figures, f"{low:.3f} – {high:.3f}"])
    counts = {
        "files": int(chosen.sum()),
        "missed": int((n_found[chosen] == 0).sum()),
        "split": int((n_found[chosen] > 1).sum()),
    }
    lines = [
        *table_of(["", *SCORES.values(), "MAE, interval"], rows),
        f"{counts['files']} files of {len(np.unique(groups))} actors; {counts['missed']} missed, "
        f"{counts['split']} split. Long recordings of {duration / 3600:.2f} h took "
        f"{seconds / 60:.1f} min of {args.jobs} jobs together.",
    ]
    save(args.out, {"scores": scores, "counts": counts, "seconds": seconds}, lines)


def _mean(error, rows):
    return error[rows].mean()


if __name__ == "__main__":
    main()
