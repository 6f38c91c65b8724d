"""Scores of systems on recordings that suffered: lines, noise, voices, rooms, gain, silence, speed.

    python -m experiments.robustness --perturbed --out results/robustness.json
    python -m experiments.robustness --folds 0,1 --every 2 --systems small --out results/r.json

A system is fitted on the training recordings of each fold as they are and, with --perturbed, once
more by WaveformPerturbation with its defaults: on them and on copies, and predictions are averaged
over three speeds. Both are tested on the other recordings in each condition. Speakers never cross a
split, predictions are pooled over the folds and scored once. Babble is made of the other speakers
of the test fold. Writes FILE.json and FILE.md after each system, and in the end FILE.png. Each
result is stored in FILE_folds as soon as it exists: the same command resumes an interrupted run. A
result counts for the settings, recordings, labels and version of the package that it was made with;
after changing code within a version, delete the folder.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline

import sklearn_speechsent
from experiments._harness.command import choose, make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.egemaps import EGeMAPS, lacks_opensmile
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.results import key_of
from experiments._harness.systems import WESPEAKER, WHISPER, lacks_weights
from experiments._harness.tables import table_of
from sklearn_speechsent import OrdinalClassifier, WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.audio.conditions import Voices, draw_copy
from sklearn_speechsent.inspection import speaker_interval
from sklearn_speechsent.metrics import ordinal_report

#: The recordings as they are, with which all other conditions are compared.
CLEAN = "as recorded"
#: Perturbations of the test recordings, see `Recording`.
CONDITIONS = {
    CLEAN: {},
    "telephone": {"codec": "telephone"},
    "mp3, 32 kbit/s": {"codec": "mp3"},
    "white noise, 10 dB": {"noise": "white", "snr_db": 10},
    "pink noise, 10 dB": {"noise": "pink", "snr_db": 10},
    "babble, 10 dB": {"noise": "babble", "snr_db": 10},
    "room, 0.5 s": {"rt60": 0.5},
    "gain -20 dB": {"gain_db": -20},
    "gain +10 dB, clipped": {"gain_db": 10, "clip": True},
    "2 s of silence at either end": {"silence_before": 2, "silence_after": 2},
    "band limit 4 kHz": {"band_limit": 4000},
    "speed 0.9": {"speed": 0.9},
    "speed 1.1": {"speed": 1.1},
}
CONSTANT = "constant (median)"
#: Trained on recordings as they are, and on perturbed copies too.
PLAIN, PERTURBED = "plain", "perturbed"
#: Of the noise and the rooms of test recordings.
_SEED = 0


@dataclass(frozen=True)
class System:
    """System of the table.

    Parameters
    ----------
    make : callable
        Estimator from levels and the parameters of extraction.
    lacks : callable
        Says why it cannot be computed here, or nothing.
    variants : tuple of str
        Ways of training in which it differs.
    """

    make: Callable
    lacks: Callable = str
    variants: tuple = (PLAIN, PERTURBED)


def _pipeline(name):
    def make(levels, shared):
        # Where a detector finds no speech in the noise there is no prediction: that is counted.
        return make_sentiment_pipeline(
            name, levels=levels, on_error="nan", random_state=0, **shared
        )

    return make


def _egemaps(levels, shared):
    classifier = OrdinalClassifier(levels=levels, n_jobs=shared["n_jobs"])
    return Pipeline([("egemaps", EGeMAPS(shared["memory"])), ("net", classifier)])


def _constant(levels, shared):
    return DummyRegressor(strategy="median")


SYSTEMS = {
    CONSTANT: System(_constant, variants=(PLAIN,)),
    "large": System(_pipeline("large"), lambda: lacks_weights(WESPEAKER, WHISPER)),
    "medium": System(_pipeline("medium"), lambda: lacks_weights(WESPEAKER)),
    "small": System(_pipeline("small")),
    "eGeMAPS": System(_egemaps, lacks_opensmile),
}


class Protocol:
    """Training and test recordings of some folds, the latter in all conditions.

    Parameters
    ----------
    corpus : Corpus
    folds : list of (train, test)
    every : int
        Every how manieth test recording is taken; babble is made of all of them.
    conditions : list of str

    Attributes
    ----------
    rows : list of ndarray
        Test rows of each fold.
    """

    def __init__(self, corpus, folds, every, conditions):
        self.corpus = corpus
        self.train = [train for train, _ in folds]
        self.rows = [test[::every] for _, test in folds]
        self.recordings = as_recordings(corpus.X)
        self._identities = [recording.identity() for recording in self.recordings]
        self._copies = [
            {name: self._in_condition(name, test, rows) for name in conditions}
            for (_, test), rows in zip(folds, self.rows, strict=True)
        ]

    def _in_condition(self, name, test, rows):
        condition, voices = CONDITIONS[name], None
        if condition.get("noise") == "babble":
            voices = Voices([self.recordings[row] for row in test], self.corpus.groups[test])
        return [draw_copy(self.recordings[row], condition, _SEED, voices) for row in rows]

    def results(self, model, number, stored):
        """Results of a model in one fold by condition, read or computed.

        Parameters
        ----------
        model : estimator
            Not fitted.
        number : int
            Of the fold.
        stored : Results

        Returns
        -------
        dict of str to dict
            Keys ``key, predictions`` (None where there is none) and ``median`` of the training
            labels.
        """
        train, y = self.train[number], self.corpus.y[self.train[number]]
        results, fitted = {}, False
        for name, copies in self._copies[number].items():
            key = key_of(
                model,
                [self._identities[row] for row in train],
                y.tolist(),
                [copy.identity() for copy in copies],
            )
            results[name] = stored.get(key)
            if results[name] is None:
                with warnings.catch_warnings():
                    # It is the subject here that recordings differ from those of fit.
                    warnings.simplefilter("ignore", UserWarning)
                    if not fitted:
                        model.fit([self.recordings[row] for row in train], y)
                        fitted = True
                    predicted = np.asarray(model.predict(copies), dtype=float)
                predictions = [None if np.isnan(p) else float(p) for p in predicted]
                result = {"predictions": predictions, "median": float(np.median(y))}
                results[name] = stored.put(key, result)
        return results


def score(protocol, results):
    """Scores of a system in each condition, over all folds.

    A recording without a prediction counts as the median of the training labels.

    Parameters
    ----------
    protocol : Protocol
    results : list of dict
        Of `Protocol.results`, one per fold.

    Returns
    -------
    dict of str to dict
        Figures of `ordinal_report`, ``mae_interval``, ``change`` of the MAE from the recordings as
        they are and its interval, and the number of recordings without a prediction.
    """
    rows = np.concatenate(protocol.rows)
    y, groups = protocol.corpus.y[rows], protocol.corpus.groups[rows]
    scores, errors = {}, {}
    for name in results[0]:
        pairs = [(p, fold[name]["median"]) for fold in results for p in fold[name]["predictions"]]
        predicted = np.array([median if p is None else p for p, median in pairs])
        error = errors[name] = np.abs(predicted - y)
        change = error - errors[CLEAN]
        scores[name] = {
            **ordinal_report(y, predicted, levels=protocol.corpus.levels),
            "mae_interval": speaker_interval(groups, lambda chosen, e=error: e[chosen].mean()),
            "change": float(change.mean()),
            "change_interval": speaker_interval(groups, lambda chosen, c=change: c[chosen].mean()),
            "unanswered": sum(p is None for p, _ in pairs),
        }
    return scores


def _columns(document):
    """System, variant, title and scores of each column of the first table."""
    return [
        (name, variant, f"{name}, {variant}" if len(variants) > 1 else name, scores)
        for name, variants in document["systems"].items()
        for variant, scores in variants.items()
    ]


def as_markdown(document):
    """Lines of the tables and of the text around them, in Markdown."""
    columns = _columns(document)
    if not columns:
        return remarks(document)
    overview = [
        [condition, *(f"{scores[condition]['mae']:.3f}" for *_, scores in columns)]
        for condition in document["conditions"]
    ]
    lines = ["MAE in each condition:", ""]
    lines += table_of(["condition", *(title for _, _, title, _ in columns)], overview)
    for name, variants in document["systems"].items():
        heads, cells = ["condition"], [[condition] for condition in document["conditions"]]
        for variant, scores in variants.items():
            heads += [f"MAE, {variant}", "ρ", "QWK", "MAE more than as recorded"]
            for row in cells:
                row += _cells(scores[row[0]])
        lines += [f"**{name}**", "", *table_of(heads, cells)]
    corpus, folds = document["corpus"], document["folds"]
    note = f" ({corpus['note']})" if corpus["note"] else ""
    lines += [
        f"{corpus['name']}{note}: {document['tested']} recordings tested in each condition, those "
        f"of fold(s) {', '.join(map(str, folds))} of {document['n_folds']} over speakers; "
        f"`{document['command']}`",
        "",
        "In brackets 95 % intervals by bootstrap over speakers; that of a difference is of the "
        "difference itself. MAE and Spearman's ρ on the predictions as they are, QWK on "
        "predictions rounded to levels. Plain systems are trained on recordings as they are, "
        "perturbed ones also on their copies "
        "(`WaveformPerturbation(system)`), and average predictions over three speeds. "
        "Babble is made of the other speakers of the test fold. eGeMAPS are classified as the "
        "features of small are, all of them without principal components.",
    ]
    unanswered = [
        f"- no speech found by {title} ({condition}): {s[condition]['unanswered']} recording(s), "
        "which count as the constant's"
        for _, _, title, s in columns
        for condition in document["conditions"]
        if s[condition]["unanswered"]
    ]
    return [*lines, "", *unanswered, *remarks(document)]


def _cells(scores):
    low, high = scores["mae_interval"]
    least, most = scores["change_interval"]
    return [
        f"{scores['mae']:.3f} [{low:.3f}, {high:.3f}]",
        f"{scores['spearman']:.3f}",
        f"{scores['qwk']:.3f}",
        f"{scores['change']:+.3f} [{least:+.3f}, {most:+.3f}]",
    ]


def draw(path, document):
    """Draw MAE by condition."""
    names, columns = document["conditions"], _columns(document)
    colours = {system: f"C{number}" for number, system in enumerate(document["systems"])}
    figure, axes = pyplot().subplots(figsize=(8, 1 + 0.6 * len(names)))
    for number, (system, variant, title, scores) in enumerate(columns):
        # From the top down, systems of one condition below each other.
        places = np.arange(len(names)) + 0.7 * ((number + 0.5) / len(columns) - 0.5)
        mae = np.array([scores[name]["mae"] for name in names])
        ends = np.array([scores[name]["mae_interval"] for name in names]).T
        axes.errorbar(
            mae,
            places,
            xerr=np.clip([mae - ends[0], ends[1] - mae], 0, None),
            fmt="o" if variant == PERTURBED else "s",
            color=colours[system],
            markerfacecolor=colours[system] if variant == PERTURBED else "white",
            markersize=4,
            linewidth=0.8,
            label=title,
        )
    if columns:
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("MAE, with 95 % intervals over speakers")
    axes.grid(axis="x", alpha=0.3)
    save_figure(path, figure, bbox_inches="tight")


def parse(argv):
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--corpus", default="ravdess", help="ravdess, or a manifest.csv")
    parser.add_argument("--n-folds", type=int, default=8, help="over speakers (8)")
    parser.add_argument("--folds", default="all", help="which of them: 0,1 are the first two (all)")
    parser.add_argument("--every", type=int, default=1, help="every k-th test recording (1)")
    parser.add_argument("--systems", default="all", help=f"{'; '.join(SYSTEMS)} (all)")
    parser.add_argument("--conditions", default="all", help="names or parts of them (all)")
    parser.add_argument("--perturbed", action="store_true", help="with perturbed training, too")
    add_run_options(parser)
    return parser.parse_args(argv)


def chosen_folds(text, folds):
    """Numbers of the folds that a text asks for.

    Raises
    ------
    ValueError
        If there is none of that number.
    """
    if text == "all":
        return list(range(len(folds)))
    numbers = [int(part) if part.strip().isdigit() else -1 for part in text.split(",")]
    if not all(0 <= number < len(folds) for number in numbers):
        raise ValueError(f"--folds {text}: folds are numbers from 0 to {len(folds) - 1}, or all.")
    return sorted(set(numbers))


def prepare(options, stored, shared):
    """Find corpus, systems and conditions of the command line; see `run_experiment`."""
    if options.every < 1:
        raise ValueError(f"--every {options.every}: it must be at least 1.")
    systems = [n for n in SYSTEMS if n in (CONSTANT, *choose(options.systems, list(SYSTEMS)))]
    wanted = choose(options.conditions, list(CONDITIONS), "condition")
    conditions = [name for name in CONDITIONS if name in (CLEAN, *wanted)]
    corpus = load_corpus(options.corpus)
    folds = corpus.folds(options.n_folds)
    numbers = chosen_folds(options.folds, folds)
    protocol = Protocol(corpus, [folds[number] for number in numbers], options.every, conditions)
    document = {
        "version": sklearn_speechsent.__version__,
        "corpus": corpus.describe(),
        "n_folds": len(folds),
        "folds": numbers,
        "tested": sum(map(len, protocol.rows)),
        "conditions": conditions,
        "systems": {},
        "skipped": {name: SYSTEMS[name].lacks() for name in systems if SYSTEMS[name].lacks()},
    }
    variants = (PLAIN, PERTURBED) if options.perturbed else (PLAIN,)
    runs = {
        f"{name}, {variant}": (name, variant)
        for name in systems
        if name not in document["skipped"]
        for variant in variants
        if variant in SYSTEMS[name].variants
    }

    def fold(run, number):
        name, variant = run
        model = SYSTEMS[name].make(corpus.levels, shared)
        if variant == PERTURBED:
            model = WaveformPerturbation(model)
        return protocol.results(model, number, stored)

    def add(document, run, results):
        name, variant = run
        document["systems"].setdefault(name, {})[variant] = score(protocol, results)

    return Experiment(document, runs, len(numbers), fold, add, as_markdown, draw)


def main(argv=None):
    """Run the table; see `run_experiment` for the exit codes."""
    return run_experiment("experiments.robustness", prepare, parse(argv), argv)


if __name__ == "__main__":
    raise SystemExit(main())
