"""Level normalisation against copies at other gains, for Whisper's layers.

    python -m experiments.gain --out results/gain.json

The log-mel frames of Whisper are clipped relative to the maximum of the recording and are not free
of its gain. Two remedies: `SpeechEncoder(normalize="level")`, and training also on a copy of each
recording at a gain from -20 to 10 dB that is clipped. Each is tested on recordings as they are,
20 dB quieter, and 10 dB louder and clipped, next to no remedy and the constant predictor. Folds,
scores, files and resuming are those of experiments.robustness.
"""

from sklearn.pipeline import Pipeline

import sklearn_speechsent
from experiments._harness.command import make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.systems import WHISPER, lacks_weights
from experiments._harness.tables import table_of
from experiments.robustness import CLEAN, CONSTANT, SYSTEMS, Protocol, score
from sklearn_speechsent import OrdinalClassifier, SpeechEncoder, WaveformPerturbation

CONDITIONS = [CLEAN, "gain -20 dB", "gain +10 dB, clipped"]
GAINS = {"gain_db": (-20, 10), "clip": True}
NONE, LEVEL, COPIES, BOTH = "none", "level normalisation", "gain copies", "both"


def make_model(remedy, levels, shared):
    """Classifier on means of Whisper's layers 3 and 4.

    Parameters
    ----------
    remedy : str
    levels : sequence
    shared : dict
        Parameters of extraction.

    Returns
    -------
    estimator
    """
    if remedy == CONSTANT:
        return SYSTEMS[CONSTANT].make(levels, shared)
    normalize = "level" if remedy in (LEVEL, BOTH) else None
    encoder = SpeechEncoder(WHISPER, layers=(3, 4), normalize=normalize, **shared)
    model = Pipeline([("encoder", encoder), ("net", OrdinalClassifier(levels=levels))])
    if remedy not in (COPIES, BOTH):
        return model
    return WaveformPerturbation(
        model, speeds=(), conditions=(GAINS,), predict_speeds=(1.0,), random_state=0
    )


def as_markdown(document):
    """Lines of the table and of the text below it, in Markdown."""
    titles = ["remedy", *(f"{name}: MAE" for name in document["conditions"]), "ρ", "QWK"]
    rows = []
    for remedy, scores in document["remedies"].items():
        rows.append([remedy])
        for name in document["conditions"]:
            low, high = scores[name]["mae_interval"]
            rows[-1].append(f"{scores[name]['mae']:.3f} [{low:.3f}, {high:.3f}]")
        rows[-1] += [f"{scores[CLEAN]['spearman']:.3f}", f"{scores[CLEAN]['qwk']:.3f}"]
    lines = table_of(titles, rows)
    lines += [
        f"Means of Whisper base, layers 3 and 4, under an `OrdinalClassifier`; "
        f"{document['corpus']['name']}, {document['tested']} recordings tested in each condition, "
        f"{document['n_folds']} folds over speakers; `{document['command']}`",
        "",
        "In brackets 95 % intervals by bootstrap over speakers. ρ and QWK on recordings as they "
        "are.",
        "",
    ]
    return lines + remarks(document)


def draw(path, document):
    """Draw MAE by condition."""
    figure, axes = pyplot().subplots(figsize=(7, 3))
    for name, scores in document["remedies"].items():
        axes.plot([scores[c]["mae"] for c in document["conditions"]], "o-", label=name)
    axes.set_xticks(range(len(document["conditions"])), document["conditions"])
    axes.set_ylabel("MAE")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(path, figure, bbox_inches="tight")


def prepare(options, stored, shared):
    """Find corpus and folds of the command line; see `run_experiment`."""
    corpus = load_corpus(options.corpus)
    folds = corpus.folds(options.n_folds)
    protocol = Protocol(corpus, folds, options.every, CONDITIONS)
    missing = lacks_weights(WHISPER)
    runs = {name: name for name in (CONSTANT, *([] if missing else (NONE, LEVEL, COPIES, BOTH)))}

    def fold(remedy, number):
        return protocol.results(make_model(remedy, corpus.levels, shared), number, stored)

    def add(document, remedy, results):
        document["remedies"][remedy] = score(protocol, results)

    document = {
        "version": sklearn_speechsent.__version__,
        "corpus": corpus.describe(),
        "n_folds": len(folds),
        "tested": sum(map(len, protocol.rows)),
        "conditions": CONDITIONS,
        "remedies": {},
        "skipped": {"Whisper": missing} if missing else {},
    }
    return Experiment(document, runs, len(folds), fold, add, as_markdown, draw)


def main(argv=None):
    """Run the table; see `run_experiment` for the exit codes."""
    parser = make_parser(__doc__)
    parser.add_argument("--corpus", default="ravdess", help="ravdess, or a manifest.csv")
    parser.add_argument("--n-folds", type=int, default=8, help="over speakers (8)")
    parser.add_argument("--every", type=int, default=1, help="every k-th test recording (1)")
    add_run_options(parser)
    return run_experiment("experiments.gain", prepare, parser.parse_args(argv), argv)


if __name__ == "__main__":
    raise SystemExit(main())
