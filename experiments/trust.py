"""Calibration of probabilities, and coverage of sets and intervals, on speakers that are held out.

    python -m experiments.trust --out results/trust.json

Calibration: expected calibration error over thresholds, of the system and after OrdinalCalibrator,
compared with what labels drawn from the probabilities themselves would have. Sets: ConformalOrdinal
at 90 %, with 3, 6 and 12 calibration speakers drawn from those of the training part, which the
system is not fitted on, and with folds over all of them, drawn again each time. The constant
answers with the frequencies of the training labels. Everything is pooled over the folds. Each
fold's result is stored in FILE_folds: the same command resumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline

from experiments._harness.command import choose, make_parser
from experiments._harness.corpus import Corpus, load_corpus
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.results import Results, key_of
from experiments._harness.systems import SHIPPED, WESPEAKER, WHISPER, lacks_weights
from experiments._harness.tables import table_of
from sklearn_speechsent import OrdinalClassifier, OrdinalVotingClassifier, make_sentiment_pipeline
from sklearn_speechsent.inspection import (
    CalibrationDisplay,
    ConformalOrdinal,
    OrdinalCalibrator,
    threshold_calibration,
)
from sklearn_speechsent.metrics import ordinal_report
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

CONSTANT = "constant"
#: Weights that each system needs.
SYSTEMS = {
    CONSTANT: (),
    "small": (SHIPPED,),
    "medium": (WESPEAKER,),
    "large": (WESPEAKER, WHISPER),
}
ALPHA = 0.1
#: Calibrated in these ways; the first is not.
METHODS = ("as it is", "sigmoid", "isotonic")
BASE, PLUS = "folds", "folds, CV+"


class Remembered(OrdinalClassifier):
    """Classifier that is fitted once on the same rows: half of large is what medium is."""

    def fit(self, X: Any, y: Any) -> Remembered:
        """Fit, or take over what was learned from these rows."""
        key = joblib.hash((self.get_params(), X, y))
        if key not in _LEARNED:
            while len(_LEARNED) >= _MOST:
                del _LEARNED[next(iter(_LEARNED))]
            _LEARNED[key] = vars(OrdinalClassifier(**self.get_params()).fit(X, y))
        vars(self).update(_LEARNED[key])
        return self


#: What was learned, by classifier and rows: all of a run, 10 MB each.
_LEARNED: dict[str, dict[str, Any]] = {}
_MOST = 96


@dataclass(frozen=True)
class Run:
    """A system, and what is measured of it.

    Parameters
    ----------
    system : str
    kind : str or int
        "calibration", `BASE`, `PLUS`, or a number of calibration speakers.
    draw : int, default=0
    """

    system: str
    kind: str | int
    draw: int = 0


def tabled(pipeline: Pipeline, X: Any) -> tuple[NDArray[Any], Any]:
    """Features that learn nothing from a corpus, and the rest of a Pipeline, which takes them.

    Parameters
    ----------
    pipeline : Pipeline
    X : DataFrame
        Recordings.

    Returns
    -------
    table : ndarray of shape (n, n_features)
    rest : estimator
    """
    last = pipeline[-1]
    if not isinstance(last, OrdinalVotingClassifier):
        return np.asarray(pipeline[:-1].fit_transform(X)), Remembered(**last.get_params())
    tables, members, start = [], [], 0
    for name, member in last.estimators:
        tables.append(np.asarray(member[:-1].fit_transform(X)))
        stop = start + tables[-1].shape[1]
        own = ColumnTransformer([("own", "passthrough", slice(start, stop))])
        net = Remembered(**member[-1].get_params())
        members.append((name, Pipeline([("own", own), ("net", net)])))
        start = stop
    return np.hstack(tables), clone(last).set_params(estimators=members)


class Protocol:
    """Corpus, folds, and results so far.

    Parameters
    ----------
    corpus : Corpus
    n_folds : int
    stored : Results
    shared : dict
        Parameters of extraction.
    """

    def __init__(
        self, corpus: Corpus, n_folds: int, stored: Results, shared: dict[str, Any]
    ) -> None:
        self.corpus, self.stored, self.shared = corpus, stored, shared
        self.folds = corpus.folds(n_folds)
        self._tabled: dict[str, tuple[NDArray[Any], Any]] = {}

    def system(self, name: str) -> tuple[NDArray[Any], Any]:
        """Table and estimator of a system, made when they are first asked for."""
        if name not in self._tabled:
            if name == CONSTANT:
                found = np.zeros((len(self.corpus.y), 1)), DummyClassifier(strategy="prior")
            else:
                pipeline = make_sentiment_pipeline(name, levels=self.corpus.levels, **self.shared)
                found = tabled(pipeline, self.corpus.X)
            self._tabled[name] = found
        return self._tabled[name]

    def fold(self, run: Run, number: int) -> dict[str, Any]:
        """Result of a fold, read or computed; see `_calibration` and `_sets`."""
        train, test = self.folds[number]
        table, estimator = self.system(run.system)
        data = (train.tolist(), test.tolist(), self.corpus.y.tolist(), self.corpus.groups.tolist())
        parts = (run.system, str(run.kind), run.draw)
        key = key_of(estimator, data, parts, [float(v) for v in table.sum(axis=0)[:64]])
        result = self.stored.get(key)
        if result is None:
            make = self._calibration if run.kind == "calibration" else self._sets
            found = make(run, estimator, table, train, test)
            result = self.stored.put(key, {"run": list(map(str, parts)), **found})
        return result

    def _calibration(self, run: Run, estimator: Any, table: Any, train: Any, test: Any) -> Any:
        """Probabilities by `METHODS`."""
        y, speakers, found = self.corpus.y, self.corpus.groups, {}
        for method in METHODS[1:]:
            model = OrdinalCalibrator(estimator, method=method)
            model.fit(table[train], y[train], groups=speakers[train])
            found[method] = model.predict_proba(table[test]).tolist()
            found[METHODS[0]] = model.estimator_.predict_proba(table[test]).tolist()
        return {"probabilities": found}

    def _sets(self, run: Run, estimator: Any, table: Any, train: Any, test: Any) -> Any:
        """Lowest and highest level of each set, and ends of intervals."""
        y, speakers = self.corpus.y, self.corpus.groups
        generator = np.random.default_rng(run.draw)
        params: dict[str, Any] = {"method": "plus" if run.kind == PLUS else "base"}
        if isinstance(run.kind, int):
            drawn = generator.choice(np.unique(speakers[train]), run.kind, replace=False)
            params["calibration"] = drawn.tolist()
        else:
            params["cv"] = StratifiedSpeakerKFold(
                min(5, len(np.unique(speakers[train]))),
                levels=self.corpus.levels,
                shuffle=True,
                random_state=run.draw,
            )
        model = ConformalOrdinal(estimator, ALPHA, **params)
        model.fit(table[train], y[train], groups=speakers[train])
        found = {"sets": _ends(model.predict_set(table[test]))}
        if not isinstance(run.kind, int):
            found["intervals"] = np.round(model.predict_interval(table[test]), 4).tolist()
        model.set_params(guarantee=True)
        return {**found, "guaranteed": _ends(model.predict_set(table[test]))}

    def add(self, document: dict[str, Any], run: Run, results: list[dict[str, Any]]) -> None:
        """Score the folds of a run, and put them into a document."""
        if run.kind == "calibration":
            pooled = {m: self._pooled([r["probabilities"][m] for r in results]) for m in METHODS}
            document["probabilities"][run.system] = {m: p.tolist() for m, p in pooled.items()}
            for method, proba in pooled.items():
                document["calibration"].append(
                    {"system": run.system, "method": method, **self._calibrated(proba)}
                )
            return
        row = {"system": run.system, "kind": run.kind, "draw": run.draw}
        index = np.searchsorted(self.corpus.levels, self.corpus.y)
        names = ["sets", "guaranteed", "intervals"]
        for name in names[:2] if isinstance(run.kind, int) else names:
            low, high = self._pooled([result[name] for result in results]).T
            truth = self.corpus.y if name == "intervals" else index
            hit = (low <= truth) & (truth <= high)
            row[name] = {
                "coverage": float(hit.mean()),
                "size": float((high - low).mean() + (name != "intervals")),
                "by_speaker": [
                    float(hit[self.corpus.groups == speaker].mean())
                    for speaker in np.unique(self.corpus.groups)
                ],
                "by_level": [float(hit[index == k].mean()) for k in range(index.max() + 1)],
            }
        document["sets"].append(row)

    def _pooled(self, parts: list[Any]) -> NDArray[np.float64]:
        pooled = np.empty((len(self.corpus.y), len(parts[0][0])))
        for (_, test), part in zip(self.folds, parts, strict=True):
            pooled[test] = part
        return pooled

    def _calibrated(self, proba: NDArray[np.float64]) -> dict[str, float]:
        y, levels = self.corpus.y, np.asarray(self.corpus.levels)
        found = threshold_calibration(y, proba, levels)
        places = (np.cumsum(proba, axis=1)[:, :-1] < 0.5).sum(axis=1)
        report = ordinal_report(y, levels[places], levels)
        return {
            "error": found.error,
            "perfect": found.perfect,
            "rps": found.ranked_probability_error,
            **{name: report[name] for name in ("mae", "macro_mae", "qwk")},
        }


def _ends(sets: NDArray[np.bool_]) -> list[list[int]]:
    """Places of the lowest and the highest level of each set."""
    last = sets.shape[1] - 1
    return np.stack([sets.argmax(axis=1), last - sets[:, ::-1].argmax(axis=1)], axis=1).tolist()


def as_markdown(document: dict[str, Any]) -> list[str]:
    """Lines of both tables, in Markdown."""
    figures = ("error", "perfect", "excess", "rps", "mae", "macro_mae", "qwk")
    headings = ("error", "perfect", "excess", "RPS", "MAE", "macro MAE", "QWK")
    calibration = []
    for row in document["calibration"]:
        found = {**row, "excess": row["error"] - row["perfect"]}
        cells = [f"{found[name]:.3f}" for name in figures]
        calibration.append([row["system"], row["method"], *cells])
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in document["sets"]:
        kinds.setdefault((row["system"], str(row["kind"])), []).append(row)
    sets = [[system, kind, *_cells(rows)] for (system, kind), rows in kinds.items()]
    columns = [
        "system",
        "calibration speakers",
        "draws",
        "coverage",
        "levels",
        "speakers",
        "true levels",
        "guaranteed: coverage",
        "levels",
        "intervals: coverage",
        "width",
    ]
    corpus = document["corpus"]
    return [
        "**Calibration over thresholds**",
        "",
        *table_of(["system", "probabilities", *headings], calibration),
        f"**Sets and intervals of {1 - ALPHA:.0%}**",
        "",
        *table_of(columns, sets),
        f"{corpus['name']}, {corpus['recordings']} recordings, {corpus['speakers']} speakers, "
        f"{document['folds']} folds over speakers; `{document['command']}`",
        "",
        "Excess: expected calibration error less that of a perfect forecaster. Coverage: mean and "
        "standard deviation over draws. Speakers, true levels: lowest and highest coverage of a "
        "speaker, and of the recordings of a level, from the lowest level; means over draws.",
        "",
        *remarks(document),
    ]


def _cells(rows: list[dict[str, Any]]) -> list[str]:
    """Cells of the draws of a way to calibrate."""

    def mean(kind: str, name: str) -> Any:
        return np.mean([row[kind][name] for row in rows], axis=0)

    spread = np.std([row["sets"]["coverage"] for row in rows])
    speakers, intervals = mean("sets", "by_speaker"), ["", ""]
    if "intervals" in rows[0]:
        intervals = [f"{mean('intervals', name):.3f}" for name in ("coverage", "size")]
    return [
        str(len(rows)),
        f"{mean('sets', 'coverage'):.3f}" + (f" ± {spread:.3f}" if len(rows) > 1 else ""),
        f"{mean('sets', 'size'):.2f}",
        f"{speakers.min():.2f} – {speakers.max():.2f}",
        ", ".join(f"{value:.2f}" for value in mean("sets", "by_level")),
        f"{mean('guaranteed', 'coverage'):.3f}",
        f"{mean('guaranteed', 'size'):.2f}",
        *intervals,
    ]


def draw(path: Any, document: dict[str, Any]) -> None:
    """Draw the calibration of each system, as it is and calibrated."""
    systems = [name for name in document["probabilities"] if name != CONSTANT]
    if not systems:
        return
    size = (5 * len(systems), 5)
    figure, axes = pyplot().subplots(
        1, len(systems), figsize=size, squeeze=False, constrained_layout=True
    )
    levels = document["corpus"]["levels"]
    for axis, name in zip(axes[0], systems, strict=True):
        for method in METHODS[:2]:
            proba = document["probabilities"][name][method]
            CalibrationDisplay.from_predictions(
                document["truth"], proba, levels=levels, name=method, ax=axis
            )
        axis.set_title(name)
    save_figure(path, figure, bbox_inches="tight")


def prepare(args: Any, stored: Results, shared: dict[str, Any]) -> Experiment:
    """Find corpus and systems of the command line; see `run_experiment`."""
    corpus = load_corpus(args.corpus)
    if not np.isin(corpus.y, corpus.levels).all():
        raise ValueError(f"{corpus.name} has labels between levels, whose coverage is not defined.")
    protocol = Protocol(corpus, args.n_folds, stored, shared)
    lacking = {name: lacks_weights(*SYSTEMS[name]) for name in choose(args.systems, list(SYSTEMS))}
    kinds = [("calibration", 1), *((int(n), args.draws) for n in args.speakers.split(",") if n)]
    kinds += [(BASE, args.draws if args.folds_drawn is None else args.folds_drawn)]
    kinds += [(PLUS, args.plus)]
    runs = {
        f"{system}, {kind}, draw {draw}": Run(system, kind, draw)
        for kind, draws in kinds
        for draw in range(draws)
        for system, lacks in lacking.items()
        if not lacks
    }
    document = {
        "corpus": corpus.describe(),
        "folds": len(protocol.folds),
        "calibration": [],
        "sets": [],
        "probabilities": {},
        "truth": corpus.y.tolist(),
        "skipped": {name: lacks for name, lacks in lacking.items() if lacks},
    }
    return Experiment(
        document, runs, len(protocol.folds), protocol.fold, protocol.add, as_markdown, draw
    )


def main(argv: Any = None) -> int:
    """Run the tables; see `run_experiment` for the exit codes."""
    parser = make_parser(__doc__)
    parser.add_argument("--corpus", default="ravdess", help="ravdess, or a manifest.csv")
    parser.add_argument("--n-folds", type=int, default=8, help="over speakers (8)")
    parser.add_argument("--draws", type=int, default=20, help="of calibration speakers (20)")
    parser.add_argument("--folds-drawn", type=int, help="draws of folds (as --draws)")
    parser.add_argument("--plus", type=int, default=1, help="draws of folds for CV+ (1)")
    parser.add_argument("--speakers", default="3,6,12", help="calibration speakers (3,6,12)")
    parser.add_argument("--systems", default="constant,medium,large", help="names, or all")
    add_run_options(parser)
    return run_experiment("experiments.trust", prepare, parser.parse_args(argv), argv)


if __name__ == "__main__":
    raise SystemExit(main())
