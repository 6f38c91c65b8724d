"""The arguments of the paper, each measured on the cheap 2/2 route.

    python benchmarks/claims.py --corpus ravdess --out results/claims.json

Does a fused speaker embedding (SpE) take the speaker's bias out, and does it keep large sentiment
blocks from overfitting? Does the ordinal head (CORAL) beat regression, and stand noisy labels
better? Do pre-trained blocks beat training from scratch, and does weighted sampling help? Every
combination is trained on the same folds of speakers, from several seeds; the frozen blocks are
computed once. Results are kept per fit beside FILE.json: run it again and it goes on.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import numpy as np
from _corpus import load_corpus
from _resume import write_text
from tqdm.auto import tqdm

from sklearn_speechsent import UtteranceFrames, make_sentiment_pipeline
from sklearn_speechsent.metrics import ordinal_report

WESPEAKER = "wespeaker-voxceleb-resnet34"
#: Share of training labels that are replaced by a level drawn at random, for noisy labels.
NOISE = 0.3
BASE = {"heads": "C", "spe": False, "stext": 16, "frozen": 2, "exponent": 1.0, "noise": 0.0}


#: On one fold and from one seed, beside the central ones: other sampling, noisy labels, and, ten
#: times as dear, large sentiment blocks and training from scratch.
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
    """Settings, seeds and folds in the order in which they are run."""
    for seed, fold, setting in itertools.product(range(n_seeds), range(n_folds), CENTRAL):
        yield setting, seed, fold
    for setting in SINGLE:
        yield setting, 0, 0


class Fits:
    """Results of single fits, one line of JSON each, so that a run can go on where it stopped."""

    def __init__(self, path, run):
        self.path, self.run, self.results = path, run, []
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                result = json.loads(line)
            except json.JSONDecodeError:  # the process was killed while it wrote this line
                continue
            if result["run"] == run:
                self.results.append(result)

    def has(self, *key):
        """Whether this fit was done before."""
        return any([r["setting"], r["seed"], r["fold"]] == list(key) for r in self.results)

    def add(self, setting, seed, fold, result):
        """Keep the result of a fit."""
        result = {"run": self.run, "setting": setting, "seed": seed, "fold": fold, **result}
        with self.path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        self.results.append(result)


def prepare(frozen, X, options):
    """What goes into the network, speaker embeddings included: computed once for all fits."""
    pipeline = make_sentiment_pipeline(
        f"{frozen}/2SREx-SEResNet-16 + SpE + C",
        weights=WESPEAKER,
        n_jobs=options.jobs,
        verbose=1,
        memory=options.out.with_suffix(".cache"),
    )
    frames = X
    for name in ("mfb", "cmn", "spe", "srext"):
        if pipeline[name] != "passthrough":
            frames = pipeline[name].fit_transform(frames)
    return frames


def system_name(setting):
    """Name of the system that a setting is a variant of."""
    spe = " + SpE" if setting["spe"] else ""
    return f"{setting['frozen']}/2SREx-SEResNet-{setting['stext']}{spe} + {setting['heads']}"


def fit_one(setting, seed, frames, y, train, test, levels, options):
    """Train on one fold; scores on what was trained on, predictions for the rest."""
    pipeline = make_sentiment_pipeline(
        system_name(setting),
        weights=WESPEAKER,
        levels=levels,
        max_epochs=options.epochs,
        precision=options.precision,
        chunk_duration=options.chunk,
        sampling_exponent=setting["exponent"],
        random_state=seed,
        n_jobs=options.jobs,
    )
    rng = np.random.default_rng([seed, 1])
    labels = np.rint(y[train])
    wrong = rng.random(len(labels)) < setting["noise"]
    labels[wrong] = rng.choice(levels, wrong.sum())
    started = time.perf_counter()
    net = pipeline["net"].fit(frames[train], labels)
    seconds = time.perf_counter() - started
    fitted = ordinal_report(y[train], net.predict(frames[train]), levels=levels)
    return {
        "test": test.tolist(),
        "prediction": np.asarray(net.predict(frames[test]), dtype=float).tolist(),
        "train_mae": fitted["mae"],
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


def as_markdown(title, rows):
    """Table of the rows."""
    columns = ["mae", "train_mae", "spearman", "qwk", "macro_mae", "bias"]
    text = [
        f"**{title}**",
        "",
        "| system | sampling | labels | seeds | n | MAE | train MAE | ρ | QWK | macro MAE | bias |",
    ]
    text.append("|" + "---|" * 11)
    for row in rows:
        s = row["setting"]
        cells = [
            f"{row[c][0]:.3f}" + (f" ± {row[c][1]:.3f}" if row["seeds"] > 1 else "")
            for c in columns
        ]
        sampling = "levels alike" if s["exponent"] else "as they are"
        labels = f"{s['noise']:.0%} wrong" if s["noise"] else "clean"
        text.append(
            "| "
            + " | ".join(
                [system_name(s), sampling, labels, str(row["seeds"]), str(row["n"]), *cells]
            )
            + " |"
        )
    return "\n".join(text) + "\n"


def main():
    """Fit what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", default="ravdess", help="ravdess, or a manifest.csv")
    parser.add_argument("--out", type=Path, default=Path("claims.json"))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--chunk", type=float, default=2.0, help="seconds of speech per draw (2)")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--jobs", type=int, default=-1, help="threads")
    parser.add_argument("--report", action="store_true", help="fit nothing, show what is there")
    options = parser.parse_args()

    corpus = load_corpus(options.corpus)
    X, y, groups, levels = corpus.X, corpus.y, corpus.groups, corpus.levels
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run = {name: getattr(options, name) for name in ("folds", "epochs", "chunk", "precision")}
    fits = Fits(options.out.with_suffix(".jsonl"), {**run, "corpus": corpus.name, "n": len(y)})
    folds = corpus.folds(options.folds)
    keys = combinations(options.seeds, len(folds))
    todo = [] if options.report else [key for key in keys if not fits.has(*key)]
    prepared = {}
    for setting, seed, fold in tqdm(todo, unit="fit"):
        frozen = setting["frozen"]
        if frozen not in prepared:
            prepared[frozen] = prepare(frozen, X, options)
        frames = prepared[frozen]
        if not setting["spe"]:
            frames = UtteranceFrames(
                frames.base, frames.starts, frames.stops, frame_settings=frames.frame_settings
            )
        result = fit_one(setting, seed, frames, y, *folds[fold], levels, options)
        fits.add(setting, seed, fold, result)
    everywhere = [fit for fit in fits.results if fit["setting"] in CENTRAL]
    one = [fit for fit in fits.results if (fit["seed"], fit["fold"]) == (0, 0)]
    tables = {
        "All folds, all seeds": summarise(everywhere, len(folds), y, groups, levels),
        "One fold, one seed": summarise(one, 1, y, groups, levels),
    }
    line = (
        f"{corpus.name}: {len(y)} recordings, {len(np.unique(groups))} speakers, GroupKFold"
        f"({options.folds}), {options.epochs} epochs of {options.chunk:g} s chunks, "
        f"{options.precision}; ± is the standard "
        "deviation over seeds, bias the standard deviation over speakers of the mean residual."
    )
    text = "\n".join([line, "", *(as_markdown(title, rows) for title, rows in tables.items())])
    write_text(options.out, json.dumps({**run, "tables": tables}, indent=1))
    write_text(options.out.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
