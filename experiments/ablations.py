"""The arguments of the paper for its parts, each measured on the cheap 2/2 systems.

    python -m experiments.ablations --corpus ravdess --out results/ablations.json

Does a fused speaker embedding (SpE) take the speaker's bias out, and does it keep large sentiment
blocks from overfitting? Does the ordinal head (CORAL) beat regression, and is it more robust to
noisy labels? Do pre-trained blocks beat training from scratch, and does weighted sampling help?
Every combination is trained on the same folds of speakers, from several seeds; the frozen blocks
are computed once. Each fit's result is stored in FILE_fits: the same command resumes.
"""

import importlib.util
import itertools
import json
import time

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from experiments._harness.command import add_extraction, choose, make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.pictures import draw_losses
from experiments._harness.results import Results, key_of
from experiments._harness.sentiment import constant_scores
from experiments._harness.tables import save, table_of
from sklearn_speechsent import UtteranceFrames, make_sentiment_pipeline
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.metrics import ordinal_report

#: Share of training labels that are replaced by a level drawn at random, for noisy labels.
NOISE = 0.3
BASE = {"heads": "C", "spe": False, "stext": 16, "frozen": 2, "exponent": 1.0, "noise": 0.0}

#: From one seed, next to the central ones: other sampling, noisy labels, and, at many times the
#: cost, large sentiment blocks and training from scratch.
SINGLE = (
    BASE | {"exponent": 0.0},
    BASE | {"heads": "R", "exponent": 0.0},
    BASE | {"noise": NOISE},
    BASE | {"heads": "R", "noise": NOISE},
    BASE | {"heads": "R", "frozen": 0},
    BASE | {"stext": 34},
    BASE | {"stext": 34, "spe": True},
)
CENTRAL = tuple(
    BASE | {"spe": spe, "heads": heads} for spe in (False, True) for heads in ("C", "R")
)


def combinations(n_seeds, n_folds):
    """Settings, seeds and folds in the order of the fits."""
    for seed, fold, setting in itertools.product(range(n_seeds), range(n_folds), CENTRAL):
        yield setting, seed, fold
    for setting, fold in itertools.product(SINGLE, range(n_folds)):
        yield setting, 0, fold


def prepare(frozen, X, options):
    """Input of the network, speaker embeddings included: computed once for all fits."""
    pipeline = make_sentiment_pipeline(
        f"{frozen}/2SREx-SEResNet-16 + SpE + C",
        n_jobs=options.jobs,
        device=options.device,
        memory=options.memory or options.out.with_suffix(".cache"),
    )
    return pipeline[:-1].fit_transform(X)


def system_name(setting):
    """Name of the system that a setting is a variant of."""
    spe = " + SpE" if setting["spe"] else ""
    return f"{setting['frozen']}/2SREx-SEResNet-{setting['stext']}{spe} + {setting['heads']}"


def make_net(setting, seed, levels, options):
    """Last step of the system of a setting, unfitted."""
    return make_sentiment_pipeline(
        system_name(setting),
        levels=levels,
        max_epochs=options.epochs,
        precision=options.precision,
        chunk_duration=options.chunk,
        sampling_exponent=setting["exponent"],
        random_state=seed,
        n_jobs=options.jobs,
        device=options.device,
    )[-1]


def fit_one(net, setting, seed, frames, y, train, test, levels):
    """Train on one fold: predictions for the others, and the error on the training rows."""
    rng = np.random.default_rng([seed, 1])
    labels = np.rint(y[train])
    wrong = rng.random(len(labels)) < setting["noise"]
    labels[wrong] = rng.choice(levels, wrong.sum())
    started = time.perf_counter()
    net.fit(frames[train], labels)
    seconds = time.perf_counter() - started
    fitted = ordinal_report(y[train], net.predict(frames[train]), levels=levels)
    return {
        "setting": setting,
        "seed": seed,
        "test": test.tolist(),
        "prediction": np.asarray(net.predict(frames[test]), dtype=float).tolist(),
        "train_mae": fitted["mae"],
        "losses": [epoch["train_loss"] for epoch in net.history_],
        "seconds": seconds,
    }


def speaker_bias(y, prediction, groups):
    """Standard deviation over speakers of the mean residual."""
    residual = prediction - y
    return float(np.std([residual[groups == g].mean() for g in np.unique(groups)]))


def summarise(results, n_folds, y, groups, levels):
    """One row per setting: mean and standard deviation over the seeds that have all folds."""
    rows = []
    by_setting = {}
    for result in results:
        key = json.dumps(result["setting"], sort_keys=True)
        by_setting.setdefault(key, {}).setdefault(result["seed"], []).append(result)
    for key, seeds in by_setting.items():
        scores = []
        for folds in seeds.values():
            if len(folds) < n_folds:
                continue
            test = np.concatenate([fold["test"] for fold in folds])
            prediction = np.concatenate([fold["prediction"] for fold in folds])
            report = ordinal_report(y[test], prediction, levels=levels)
            report["bias"] = speaker_bias(y[test], prediction, groups[test])
            report["train_mae"] = float(np.mean([fold["train_mae"] for fold in folds]))
            report["n"] = len(test)
            scores.append(report)
        if not scores:
            continue
        names = ("mae", "spearman", "qwk", "accuracy", "macro_mae", "bias", "train_mae")
        rows.append(
            {
                "setting": json.loads(key),
                "seeds": len(scores),
                "n": scores[0]["n"],
                **{
                    name: [
                        float(np.mean([s[name] for s in scores])),
                        float(np.std([s[name] for s in scores])),
                    ]
                    for name in names
                },
            }
        )
    return rows


def constant(corpus, folds):
    """Cells of the constant predictor, the median of the training labels."""
    scores = constant_scores(corpus, folds)
    return ["", f"{scores['mae']:.3f}", f"{scores['macro_mae']:.3f}"]


def rows_of(rows):
    """Lines of the table of the rows."""
    names = ("mae", "train_mae", "spearman", "qwk", "macro_mae", "bias")
    cells = []
    for row in rows:
        setting = row["setting"]
        sampling = "levels alike" if setting["exponent"] else "as they are"
        labels = f"{setting['noise']:.0%} wrong" if setting["noise"] else "clean"
        figures = [
            f"{row[name][0]:.3f}" + (f" ± {row[name][1]:.3f}" if row["seeds"] > 1 else "")
            for name in names
        ]
        size = str(row["seeds"]), str(row["n"])
        cells.append([system_name(setting), sampling, labels, *size, *figures])
    heads = ("MAE", "train MAE", "ρ", "QWK", "macro MAE", "bias")
    return table_of(("system", "sampling", "labels", "seeds", "n", *heads), cells)


class Fits:
    """Results of fits, read or computed.

    Parameters
    ----------
    corpus : Corpus
    folds : list of (train, test)
    options : Namespace
        Of the command line.
    """

    def __init__(self, corpus, folds, options):
        self.corpus = corpus
        self.folds = folds
        self.options = options
        self.stored = Results(options.out.with_name(f"{options.out.stem}_fits"))
        self.identities = [recording.identity() for recording in as_recordings(corpus.X)]
        self.prepared = {}

    def get(self, setting, seed, fold):
        """Stored result of a fit, or None; and its network and key."""
        net = make_net(setting, seed, self.corpus.levels, self.options)
        train, test = self.folds[fold]
        data = self.identities, self.corpus.y.tolist(), train.tolist(), test.tolist()
        key = key_of(net, system_name(setting), setting["noise"], data)
        return self.stored.get(key), net, key

    def compute(self, setting, seed, fold):
        """Result of a fit, which is stored."""
        result, net, key = self.get(setting, seed, fold)
        if result is not None:
            return result
        frozen = setting["frozen"]
        if frozen not in self.prepared:
            self.prepared[frozen] = prepare(frozen, self.corpus.X, self.options)
        frames = self.prepared[frozen]
        if not setting["spe"]:
            frames = UtteranceFrames(
                frames.base, frames.starts, frames.stops, frame_settings=frames.frame_settings
            )
        train, test = self.folds[fold]
        y, levels = self.corpus.y, self.corpus.levels
        with self.stored.resuming(key, net):
            fitted = fit_one(net, setting, seed, frames, y, train, test, levels)
            return self.stored.put(key, fitted)


def draw(path, results):
    """Draw the losses of the first seed, by system and sampling."""
    losses = {}
    for result in results:
        setting = result["setting"]
        if result["seed"] == 0 and not setting["noise"]:
            drawn = "alike" if setting["exponent"] else "as they are"
            losses.setdefault(f"{system_name(setting)}, {drawn}", []).append(result["losses"])
    draw_losses(path, losses)


def main():
    """Fit what is missing, then print and write the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--corpus", default="ravdess", help="ravdess, or a manifest.csv")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--systems", default="all", help="names or parts of them (all)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--chunk", type=float, default=2.0, help="seconds of speech per draw (2)")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", help="of networks and frozen parts (cpu)")
    parser.add_argument("--processes", type=int, default=1, help="fits at the same time (1)")
    parser.add_argument("--report", action="store_true", help="only show the results so far")
    add_extraction(parser)
    options = parser.parse_args()
    names = list(dict.fromkeys(system_name(setting) for setting in (*CENTRAL, *SINGLE)))
    try:
        chosen = choose(options.systems, names)
    except ValueError as error:
        parser.error(str(error))

    corpus = load_corpus(options.corpus)
    y, groups, levels = corpus.y, corpus.groups, corpus.levels
    folds = corpus.folds(options.folds)
    fits = Fits(corpus, folds, options)
    tasks = [
        task for task in combinations(options.seeds, len(folds)) if system_name(task[0]) in chosen
    ]
    if not options.report:
        found = Parallel(options.processes, return_as="generator_unordered", batch_size=1)(
            delayed(fits.compute)(*task) for task in tasks
        )
        for _ in tqdm(found, total=len(tasks), unit="fit"):
            pass
    results = [(task, fits.get(*task)[0]) for task in tasks]
    central = [result for (setting, *_), result in results if result and setting in CENTRAL]
    single = [result for (_, seed, _), result in results if result and seed == 0]
    tables = {
        "All seeds": summarise(central, len(folds), y, groups, levels),
        "One seed": summarise(single, len(folds), y, groups, levels),
    }
    lines = [
        f"{corpus.name}: {len(y)} recordings, {len(np.unique(groups))} speakers, GroupKFold"
        f"({options.folds}), {options.epochs} epochs of {options.chunk:g} s chunks, "
        f"{options.precision}, {options.device}; ± is the standard "
        "deviation over seeds, bias the standard deviation over speakers of the mean residual.",
        "",
        *table_of(("constant (median)", "MAE", "macro MAE"), [constant(corpus, folds)]),
    ]
    for title, rows in tables.items():
        lines += [f"**{title}**", "", *rows_of(rows)]
    run = {name: getattr(options, name) for name in ("folds", "epochs", "chunk", "precision")}
    save(options.out, {**run, "corpus": corpus.describe(), "tables": tables}, lines)
    if importlib.util.find_spec("matplotlib") is not None:
        draw(options.out.with_suffix(".png"), single)


if __name__ == "__main__":
    main()
