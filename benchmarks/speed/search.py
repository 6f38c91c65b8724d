"""Grid search over recordings: features cached by us, by scikit-learn, and not at all.

    python -m benchmarks.speed.search --out results/speed_search.json

``GridSearchCV`` over two parameters of the classifier of the medium system, with the statistics of
ten bands and no detector: 4 candidates, 3 folds by speaker and the last fit, from the paths of some
recordings of RAVDESS. All contestants are the same Pipeline. Without memory it computes features in
every fit and prediction. ``Pipeline(memory=...)`` caches those of training folds, not of held-out
ones. Ours caches each recording's (``make_sentiment_pipeline(memory=...)``). Each of the latter two
begins with an empty folder and is then run again. All of that has one core; then two workers search
on two cores, against one that has both. Workers are started before the clock is. Every search has
to give the same scores. Writes FILE.json, FILE.md and FILE.png.
"""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks._timing import draw_ratios, on_cores, ratio, rows_of
from experiments._harness.command import make_parser
from experiments._harness.systems import PLAIN
from experiments._harness.tables import save, table_of
from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.datasets import load_ravdess

GRID = {"net__estimator__svc__C": [1.0, 10.0], "net__estimator__svc__gamma": [1e-4, 4e-4]}
EMPTY, CACHED = "ours, empty store", "ours, all cached"
NAIVE = "no memory"
JOBLIB_EMPTY, JOBLIB_CACHED = "Pipeline(memory), empty", "Pipeline(memory), all cached"
ONE, TWO = "1 worker", "2 workers"


def load(n_speakers, n_each):
    """Take the same share of the recordings of the first speakers.

    Parameters
    ----------
    n_speakers, n_each : int

    Returns
    -------
    files : ndarray of str of shape (n,)
    levels, speakers : ndarray of int of shape (n,)
    """
    bunch = load_ravdess()
    rows = [
        actor_rows[np.linspace(0, len(actor_rows) - 1, n_each).round().astype(int)]
        for actor in np.unique(bunch.groups)[:n_speakers]
        for actor_rows in [np.flatnonzero(bunch.groups == actor)]
    ]
    chosen = np.concatenate(rows)
    return bunch.data[chosen], bunch.target[chosen], bunch.groups[chosen]


def search(corpus, *, memory=None, joblib_memory=None, n_jobs=None):
    """Search from paths to scores.

    Parameters
    ----------
    corpus : tuple of ndarray
        Of `load`.
    memory, joblib_memory : Path, optional
        Folder of our steps, or of the Pipeline.
    n_jobs : int, optional
        Workers of the search.

    Returns
    -------
    ndarray of shape (4, 3)
        Score of each candidate in each fold.
    """
    files, levels, speakers = corpus
    classifier = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    net = OrdinalClassifier(classifier, levels=[-2, -1, 0, 1, 2])
    pipeline = make_sentiment_pipeline("medium", memory=memory, net=net, **PLAIN)
    pipeline.set_params(memory=None if joblib_memory is None else str(joblib_memory))
    found = GridSearchCV(
        pipeline, GRID, scoring="neg_mean_absolute_error", cv=GroupKFold(3), n_jobs=n_jobs
    ).fit(files, levels, groups=speakers)
    return np.stack([found.cv_results_[f"split{fold}_test_score"] for fold in range(3)], axis=1)


def run(contestants, rounds):
    """Run contestants in turns and compare their scores.

    Parameters
    ----------
    contestants : dict of str to callable
        In the order in which they have to run in each round.
    rounds : int

    Returns
    -------
    seconds : dict of str to list of float
    scores : list of list of float
    """
    seconds = {name: [] for name in contestants}
    scores = None
    for _ in range(rounds):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            found = contestant()
            seconds[name].append(time.perf_counter() - started)
            scores = found if scores is None else scores
            if not np.array_equal(found, scores):
                raise AssertionError(f"{name} has other scores: {found} instead of {scores}")
            print(f"{name}: {seconds[name][-1]:.2f} s", flush=True)
    return seconds, scores.tolist()


def on_one_core(corpus, work, rounds):
    """Ours, scikit-learn's and no memory.

    Parameters
    ----------
    corpus : tuple of ndarray
    work : Path
        Folder for features.
    rounds : int

    Returns
    -------
    seconds : dict of str to list of float
    scores : list of list of float
    """
    ours, theirs = work / "ours", work / "theirs"

    def on_empty(folder, **memory):
        shutil.rmtree(folder, ignore_errors=True)
        return search(corpus, **memory)

    on_empty(ours, memory=ours)  # imports and loads networks
    contestants = {
        EMPTY: lambda: on_empty(ours, memory=ours),
        CACHED: lambda: search(corpus, memory=ours),
        NAIVE: lambda: search(corpus),
        JOBLIB_EMPTY: lambda: on_empty(theirs, joblib_memory=theirs),
        JOBLIB_CACHED: lambda: search(corpus, joblib_memory=theirs),
    }
    return run(contestants, rounds)


def by_workers(corpus, work, rounds):
    """Ours with one worker and with two, on an empty store and with everything cached.

    Parameters
    ----------
    corpus : tuple of ndarray
    work : Path
    rounds : int

    Returns
    -------
    seconds : dict of str to dict of str to list of float
        By content of the store, and by workers.
    scores : list of list of float
    """
    folder = work / "workers"

    def on_empty(n_jobs):
        shutil.rmtree(folder, ignore_errors=True)
        return search(corpus, memory=folder, n_jobs=n_jobs)

    on_empty(2)  # starts the workers
    empty, scores = run({ONE: lambda: on_empty(1), TWO: lambda: on_empty(2)}, rounds)
    cached, again = run(
        {
            ONE: lambda: search(corpus, memory=folder, n_jobs=1),
            TWO: lambda: search(corpus, memory=folder, n_jobs=2),
        },
        max(3, rounds),
    )
    get_reusable_executor().shutdown()  # or this process waits until idle workers end
    if scores != again:
        raise AssertionError(f"Other scores with everything cached: {again} instead of {scores}")
    return {EMPTY: empty, CACHED: cached}, scores


def main():
    """Measure, print, save and draw."""
    parser = make_parser(__doc__)
    parser.add_argument("--speakers", type=int, default=6, help="actors of RAVDESS (6)")
    parser.add_argument("--each", type=int, default=20, help="recordings of each (20)")
    parser.add_argument("--rounds", type=int, default=1, help="searches of each kind (1)")
    parser.add_argument("--one-core", action="store_true", help="leave out the workers")
    options = parser.parse_args()
    corpus = load(options.speakers, options.each)
    size = f"{len(corpus[0])} recordings of {options.speakers} speakers"
    columns = ["search", "ms", "range", "time, ours being 1"]
    with tempfile.TemporaryDirectory() as folder:
        seconds, scores = on_cores(on_one_core, 1, corpus, Path(folder), options.rounds)
        workers = {}
        if not options.one_core:
            workers, shared = on_cores(by_workers, 2, corpus, Path(folder), options.rounds)
            if scores != shared:
                raise AssertionError(f"Other scores on two cores: {shared} instead of {scores}")
    lines = [f"# 4 candidates, 3 folds and a last fit over {size}", "", "One core:", ""]
    lines += table_of(columns, rows_of(seconds, CACHED))
    for name, times in workers.items():
        lines += [f"Two cores, {name}:", ""]
        lines += table_of(columns[:3] + ["time, one worker being 1"], rows_of(times, ONE))
    best = np.max(np.mean(scores, axis=1))
    lines += [f"All have the same {np.size(scores)} scores; the best mean is {best:.4f}.", ""]
    results = {"recordings": len(corpus[0]), "one_core": seconds, "workers": workers}
    save(options.out, results | {"scores": scores}, lines)
    bars = {name: ratio(seconds, name, CACHED) for name in seconds}
    draw_ratios(options.out.with_suffix(".png"), {f"A search over {size}": bars})


if __name__ == "__main__":
    main()
