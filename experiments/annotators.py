"""What votes of several annotators buy, on simulated ones.

    python -m experiments.annotators --out results/annotators.json

Five annotators hear the level of every recording with a bias of their own and noise of their own
size, and round it. Thresholds learn from one annotator (another one for each recording), from the
majority vote (of two equally frequent levels the lower), from the median of the votes, or from all
votes. Ranked probability errors are those against the distribution that the annotators were drawn
from, and against the level that they heard. Folds are over speakers; speakers, recordings and
folds are the same for all seeds, which draw the votes.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import sklearn_speechsent
from experiments._harness.command import make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.results import key_of
from experiments._harness.systems import WESPEAKER, lacks_weights
from experiments._harness.tables import table_of
from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.datasets import count_votes
from sklearn_speechsent.metrics import (
    krippendorff_alpha_score,
    quadratic_weighted_kappa_score,
    ranked_probability_error,
)

#: Bias, and deviation of the noise, of each annotator, in levels.
ANNOTATORS = [(-0.5, 1.2), (-0.25, 0.6), (0.0, 0.9), (0.25, 0.7), (0.5, 1.0)]
CONSTANT, ONE, MAJORITY, MEDIAN, VOTES = (
    *("constant", "one annotator", "majority vote", "median of votes", "votes"),
)
#: Learners, each with the parameters of its binary classifier for features of a width.
LEARNERS = {
    "support vectors": lambda n: SVC(C=10, gamma=0.25 / n, class_weight="balanced", random_state=0),
    "logistic": lambda n: LogisticRegression(C=0.003, max_iter=1000),
}
SCORES = {
    "distribution": "RPS, distribution",
    "truth": "RPS, level",
    "qwk": "QWK of medians",
}


def confusions(levels):
    """Probability that each annotator chooses a level, by the level that is heard.

    Parameters
    ----------
    levels : sequence of int

    Returns
    -------
    ndarray of shape (n_annotators, n_levels, n_levels)
    """
    steps = np.asarray(levels, dtype=float)
    edges = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
    below = [norm.cdf(edges, steps[:, None] + bias, deviation) for bias, deviation in ANNOTATORS]
    return np.diff(below, axis=2)


def draw_ratings(index, levels, seed):
    """Levels that the annotators choose.

    Parameters
    ----------
    index : ndarray of int of shape (n,)
        Position of the level that is heard.
    levels : sequence of int
    seed : int

    Returns
    -------
    DataFrame of shape (n, n_annotators)
    """
    rng = np.random.default_rng(seed)
    reached = np.cumsum(confusions(levels), axis=2)[:, index, :-1]
    chosen = (rng.random((len(ANNOTATORS), len(index), 1)) > reached).sum(axis=2)
    return pd.DataFrame(np.asarray(levels)[chosen.T])


def targets(ratings, levels, seed):
    """What is learned, by name.

    Parameters
    ----------
    ratings : DataFrame of shape (n, n_annotators)
    levels : sequence of int
    seed : int

    Returns
    -------
    dict of str to (array or DataFrame)
    """
    votes = count_votes(ratings, levels)
    which = np.random.default_rng(seed).integers(len(ANNOTATORS), size=len(ratings))
    return {
        CONSTANT: votes,
        ONE: ratings.to_numpy()[np.arange(len(ratings)), which],
        MAJORITY: votes.idxmax(axis=1).to_numpy(),
        MEDIAN: ratings.median(axis=1).to_numpy(dtype=int),
        VOTES: votes,
    }


def score(probabilities, index, levels):
    """Scores of probabilities for all recordings.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_levels)
    index : ndarray of int of shape (n,)
    levels : sequence of int

    Returns
    -------
    dict of str to float
    """
    truth = np.asarray(levels)[index]
    drawn_from = confusions(levels).mean(axis=0)[index]
    medians = (np.cumsum(probabilities, axis=1)[:, :-1] < 0.5).sum(axis=1)
    return {
        "distribution": ranked_probability_error(drawn_from, probabilities, levels),
        "truth": ranked_probability_error(truth, probabilities, levels),
        "qwk": quadratic_weighted_kappa_score(truth, np.asarray(levels)[medians], levels),
    }


def as_markdown(document):
    """Lines of the tables and of the text below them, in Markdown."""
    rows = []
    for name, scores in document["rows"].items():
        cells = [f"{np.mean(scores[s]):.3f} ± {np.std(scores[s]):.3f}" for s in SCORES]
        rows.append([name, *cells])
    lines = [*table_of(["learned from", *SCORES.values()], rows)]
    lines += [
        f"Mean ± deviation over {document['seeds']} seeds of the votes; "
        f"{document['corpus']['name']}, {document['corpus']['recordings']} recordings, "
        f"{document['n_folds']} folds over speakers, features of "
        f'`make_sentiment_pipeline("{document["system"]}")`; `{document["command"]}`',
        "",
        f"Krippendorff's alpha of the annotators (ordinal): {document['alpha']:.2f}. The majority "
        f"vote is the level that was heard for {document['majority']:.0%} of the recordings, the "
        f"median for {document['median']:.0%}.",
        "",
    ]
    differences = []
    for learner in LEARNERS:
        rows = document["rows"]
        if f"{learner}, {VOTES}" not in rows:
            continue
        for other in (MAJORITY, MEDIAN):
            pair = [np.array(rows[f"{learner}, {name}"]["distribution"]) for name in (VOTES, other)]
            gap = pair[0] - pair[1]
            share = np.mean(gap) / np.mean(pair[1])
            differences.append(
                [learner, other, f"{gap.mean():+.3f}", f"{gap.min():+.3f} … {gap.max():+.3f}"]
                + [f"{share:+.0%}", f"{(gap < 0).sum()} of {len(gap)}"]
            )
    titles = ["thresholds", "votes against", "RPS, distribution", "over seeds", "", "votes better"]
    return lines + table_of(titles, differences) + remarks(document)


def draw(path, document):
    """Draw the errors against the distribution."""
    figure, axes = pyplot().subplots(figsize=(6, 3))
    for place, scores in enumerate(document["rows"].values()):
        values = scores["distribution"]
        axes.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.6)
    axes.set_yticks(range(len(document["rows"])), document["rows"])
    axes.invert_yaxis()
    axes.set_xlabel("ranked probability error against the distribution of votes")
    save_figure(path, figure, bbox_inches="tight")


def prepare(options, stored, shared):
    """Find corpus, folds and features of the command line; see `run_experiment`."""
    corpus = load_corpus(options.corpus)
    folds = corpus.folds(options.n_folds)
    levels = list(corpus.levels)
    index = np.rint(corpus.y).astype(int) - levels[0]
    missing = lacks_weights(WESPEAKER) if options.system != "small" else ""
    if missing:
        raise ValueError(f"{options.system!r} cannot be used, because {missing}: try small")
    features = make_sentiment_pipeline(options.system, **shared)[:-1].fit_transform(corpus.X)
    ratings = [draw_ratings(index, levels, seed) for seed in range(options.seeds)]
    learned = [targets(table, levels, seed) for seed, table in enumerate(ratings)]
    compressed = {}

    def components(number):
        # Unsupervised, and so the same for all seeds and targets.
        if number not in compressed:
            train, test = folds[number]
            n = min(256, len(train))
            steps = make_pipeline(StandardScaler(), PCA(n, random_state=0)).fit(features[train])
            compressed[number] = steps.transform(features[train]), steps.transform(features[test])
        return compressed[number]

    def fold(run, number):
        learner, name = run
        train, test = folds[number]
        if name == CONSTANT:
            means = [y[name].iloc[train].mean() / len(ANNOTATORS) for y in learned]
            return [np.tile(mean, (len(test), 1)).tolist() for mean in means]
        model = OrdinalClassifier(LEARNERS[learner](features.shape[1]), levels=levels)
        ys = [np.asarray(y[name])[train] for y in learned]
        key = key_of(model, features[train], features[test], ys)
        result = stored.get(key)
        if result is None:
            X, X_test = components(number)
            found = [model.fit(X, y).predict_proba(X_test).tolist() for y in ys]
            result = stored.put(key, {"probabilities": found})
        return result["probabilities"]

    def add(document, run, results):
        learner, name = run
        order = np.concatenate([test for _, test in folds])
        scores = [
            score(np.concatenate([fold[seed] for fold in results]), index[order], levels)
            for seed in range(options.seeds)
        ]
        title = name if name == CONSTANT else f"{learner}, {name}"
        document["rows"][title] = {s: [each[s] for each in scores] for s in SCORES}

    runs = {CONSTANT: ("", CONSTANT)} | {
        f"{learner}, {name}": (learner, name)
        for learner in LEARNERS
        for name in (ONE, MAJORITY, MEDIAN, VOTES)
    }
    truth = np.asarray(levels)[index]
    document = {
        "version": sklearn_speechsent.__version__,
        "corpus": corpus.describe(),
        "system": options.system,
        "n_folds": len(folds),
        "seeds": options.seeds,
        "alpha": np.mean([krippendorff_alpha_score(y[VOTES]) for y in learned]),
        "majority": np.mean([y[MAJORITY] == truth for y in learned]),
        "median": np.mean([y[MEDIAN] == truth for y in learned]),
        "rows": {},
        "skipped": {},
    }
    return Experiment(document, runs, len(folds), fold, add, as_markdown, draw)


def main(argv=None):
    """Run the table; see `run_experiment` for the exit codes."""
    parser = make_parser(__doc__)
    parser.add_argument("--corpus", default="ravdess", help="ravdess, or a manifest.csv")
    parser.add_argument("--system", default="medium", help="whose features are used (medium)")
    parser.add_argument("--n-folds", type=int, default=8, help="over speakers (8)")
    parser.add_argument("--seeds", type=int, default=5, help="of the votes (5)")
    add_run_options(parser)
    return run_experiment("experiments.annotators", prepare, parser.parse_args(argv), argv)


if __name__ == "__main__":
    raise SystemExit(main())
