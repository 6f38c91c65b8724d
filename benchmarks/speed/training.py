"""Chunks per second of the public estimators in training, next to a loop written by hand.

    python -m benchmarks.speed.training --out results/speed_training.json

Networks ``1/2`` and ``2/2SREx-SEResNet-16 + C + R`` on chunks of at most 4 s of RAVDESS and
LibriSpeech, mel frames computed beforehand for all. The loop by hand is standard PyTorch: a loader
with one chunk per item, SpecAugment, padding, NCHW, float32, Adam; and the same channels-last under
autocast. It runs the frozen blocks on every chunk; ours caches those of ``2/2`` in a store. Before
the clock starts both networks are given the same weights, and their outputs are compared. Labels
are random, as nothing here depends on them. Contestants take turns of a few steps; ours is timed by
its own history, and the work after the last epoch of a fit (the statistics of batch normalisation,
one forward pass) is a line of its own.

``--scores`` trains ``2/2`` on every second recording of 21 actors of RAVDESS instead, ours in both
precisions and the loop by hand in float32, each with three seeds, and scores the levels of the
other three actors, next to the constant predictor. All draw levels as they are, at one learning
rate, and begin with the shares of the levels in the heads. The network by hand is scored twice, as
the loop leaves it and with statistics of batch normalisation that were estimated again, as ours
are.
"""

import copy
import itertools
import statistics
import tempfile

import numpy as np
import torch
from sklearn.model_selection import GroupKFold

from benchmarks._timing import draw_ratios, on_cores, ratio, take_turns
from benchmarks.speed._plain import REACH, Chunks, Network, endless, pad_collate, trainer
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.datasets import get_data_home, load_ravdess
from sklearn_speechsent.metrics import ordinal_report
from sklearn_speechsent.training.batch_norm import average_statistics

SYSTEMS = {name: f"{name}SREx-SEResNet-16 + C + R" for name in ("1/2", "2/2")}
OURS = {"bfloat16": "ours, bfloat16", "float32": "ours, float32"}
PLAIN, FAST = "PyTorch by hand", "PyTorch by hand, channels-last, autocast"
COLUMNS = ("contestant", "chunks/s", "range", "times as fast as by hand")
LEVELS = (-2, -1, 0, 1, 2)
CHUNK = 400
#: Chunks per step of --scores.
BATCH = 32


def recordings(n):
    """Half of RAVDESS, where most are shorter than a chunk, half of LibriSpeech.

    Parameters
    ----------
    n : int

    Returns
    -------
    list of str
    """
    home = get_data_home()
    acted = sorted(map(str, home.glob("ravdess/Actor_0*/*.flac")))
    read = sorted(map(str, home.glob("librispeech_excerpts/train-clean-100/**/*.flac")))
    if min(len(acted), len(read)) < n // 2:
        raise SystemExit(f"{home} needs {n // 2} recordings each of RAVDESS and LibriSpeech.")
    return [*acted[:: len(acted) // (n // 2)][: n // 2], *read[: n - n // 2]]


def epochs_of(net, X, y):
    """Further epochs of a fitted network, and their seconds by its history.

    Parameters
    ----------
    net : SpeechSentimentClassifier
    X : UtteranceFrames
    y : ndarray

    Returns
    -------
    epochs : callable
    seconds : callable
        Seconds of each call so far.
    """

    def seconds():
        durations = np.reshape(net.history_[:, "dur"][1:], (-1, net.max_epochs))
        return durations.sum(1).tolist()

    return (lambda: net.partial_fit(X, y)), seconds


def difference(network, pipeline, frames):
    """Largest difference between the outputs of the two networks, after copying the weights.

    Parameters
    ----------
    network : Network
        Gets the weights of ours.
    pipeline : Pipeline
        Fitted.
    frames : UtteranceFrames
        Mel frames.

    Returns
    -------
    float
    """
    ours, state = pipeline["net"].module_, pipeline["net"].module_.state_dict()
    if pipeline["srext"] != "passthrough":
        blocks = pipeline["srext"].network_.state_dict()
        state = state | {f"srext.{name}": tensor for name, tensor in blocks.items()}
    network.load_state_dict(state)
    x, lengths, *_ = pad_collate([(torch.tensor(f), 0.0, 0) for f in frames])
    with torch.no_grad():
        theirs = network.eval()(x, lengths)
        if pipeline["srext"] != "passthrough":
            maps, short = pipeline["srext"].network_(x, lengths)
            outputs = ours.eval()(maps.permute(0, 3, 1, 2), short)
        else:
            outputs = ours.eval()(x, lengths)
    return max(float((outputs[name] - theirs[name]).abs().max()) for name in theirs)


def measure(system, folder, options):
    """Chunks per second of each contestant on the cores of this process.

    Parameters
    ----------
    system : {"1/2", "2/2"}
    folder : str
        Store of features.
    options : dict
        Of the command line.

    Returns
    -------
    dict
    """
    files = recordings(options["batch_size"] * options["steps"])
    rng = np.random.default_rng(0)
    y = rng.integers(len(LEVELS), size=len(files))
    contestants, ours, fits = {}, {}, {}
    for precision, name in OURS.items():
        pipeline = make_sentiment_pipeline(
            SYSTEMS[system],
            memory=folder,
            levels=range(len(LEVELS)),
            precision=precision,
            batch_size=options["batch_size"],
            max_epochs=1,
            sampling_exponent=0.0,
            random_state=0,
        ).fit(files, y)
        contestants[name], ours[name] = epochs_of(
            pipeline["net"], pipeline[:-1].transform(files), y
        )
    frames = pipeline[:3].transform(files)
    network = Network(int(system[0]), len(LEVELS))
    apart = difference(network, pipeline, frames[:4])
    dataset = Chunks([np.array(f) for f in frames], y, CHUNK, augment=system == "1/2")
    for name, fast in ((PLAIN, False), (FAST, True)):
        batches = endless(dataset, options["batch_size"])
        contestants[name] = trainer(
            copy.deepcopy(network), batches, options["steps"], 1e-3, fast=fast
        )
    seconds = take_turns(contestants, options["rounds"])
    for name, of_history in ours.items():
        fits[name] = seconds[name]
        seconds[name] = of_history()[-options["rounds"] :]
    re_estimation = statistics.median(
        (whole - epoch) / epoch
        for name in ours
        for whole, epoch in zip(fits[name], seconds[name], strict=True)
    )
    return {
        "chunks": len(files),
        "seconds": seconds,
        "re_estimation": re_estimation,
        "difference": apart,
        "full": float(np.mean(np.minimum(frames.lengths, CHUNK) == CHUNK)),
    }


def report(results):
    """Lines of the report.

    Parameters
    ----------
    results : dict
        By number of cores and system.

    Returns
    -------
    list of str
    """
    lines = []
    for title, result in results.items():
        rows = []
        for name, seconds in result["seconds"].items():
            low, middle, high = (
                result["chunks"] / f(seconds) for f in (max, statistics.median, min)
            )
            times = ratio(result["seconds"], name, PLAIN)
            rows.append([name, f"{middle:.3g}", f"{low:.3g} – {high:.3g}", f"{1 / times:.2f}"])
        lines += [f"## {title}", "", *table_of(COLUMNS, rows)]
        lines += [
            f"Outputs of the two networks differ by {result['difference']:.1e} at most; "
            f"{result['full']:.0%} of the chunks are full. After the last epoch of a fit ours "
            f"takes {result['re_estimation']:.0%} of the time of one epoch for the statistics of "
            "batch normalisation.",
            "",
        ]
    return lines


def by_hand(pipeline, frames, y, n_levels, epochs, seed):
    """Train the network by hand, and predict with it.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with the speaker blocks.
    frames : sequence of two UtteranceFrames
        Mel frames to train on, and to predict for.
    y : ndarray of int
        Places of the levels to train on.
    n_levels : int
    epochs : int
    seed : int

    Yields
    ------
    name : str
    levels : list of int
        Places of the levels that are predicted.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(2, n_levels)
        network.srext.load_state_dict(pipeline["srext"].network_.state_dict(), strict=False)
        start_from_shares(network.heads, torch.tensor(y))
        dataset = Chunks([np.array(f) for f in frames[0]], y, CHUNK, augment=False)
        batches, n_steps = endless(dataset, BATCH), len(dataset) // BATCH
        trainer(network, batches, epochs * n_steps, 1e-3)()
        yield PLAIN, predicted(network, frames[1])
        average_statistics(
            network.train(),
            itertools.islice(batches, n_steps),
            lambda batch: network(*batch[:2]),
        )
    yield f"{PLAIN}, statistics again", predicted(network, frames[1])


def start_from_shares(heads, y):
    """Let the heads begin where they predict the median and the shares of the levels, as ours do.

    Parameters
    ----------
    heads : ModuleDict
        Of the network by hand; their biases are set.
    y : Tensor of int
        Places of the levels to train on, all of which occur.
    """
    bias = heads["ordinal"].small_bias
    above = torch.stack([(y > level).float().mean() for level in range(len(bias))])
    with torch.no_grad():
        bias.copy_(above.logit() / REACH)
        heads["regression"].linear.bias.fill_(y.median())


def predicted(network, frames):
    """Places of the levels that a network predicts for whole recordings.

    Parameters
    ----------
    network : Network
    frames : UtteranceFrames
        Mel frames.

    Returns
    -------
    list of int
    """
    network.eval()
    with torch.inference_mode():
        outputs = (network(torch.tensor(f)[None], torch.tensor([len(f)])) for f in frames)
        return [int((output["ordinal"] > 0).sum()) for output in outputs]


def scores(folder, epochs, seeds=(0, 1, 2)):
    """Train ours and the loop by hand, and score on speakers that were not trained on.

    Parameters
    ----------
    folder : str
        Store of features.
    epochs : int
    seeds : sequence of int

    Yields
    ------
    name : str
    scores : list of float
        MAE and QWK of the levels.
    """
    corpus = load_ravdess()
    train, test = next(GroupKFold(8).split(corpus.data, groups=corpus.groups))
    train = train[::2]
    y, truth = corpus.target[train], corpus.target[test]
    levels, places = np.unique(corpus.target, return_inverse=True)

    def scored(prediction):
        found = ordinal_report(truth, prediction, levels=levels)
        return [found["mae"], found["qwk"]]

    yield "constant (median)", scored(np.full(len(truth), np.median(y)))
    for seed in seeds:
        for precision, name in OURS.items():
            pipeline = make_sentiment_pipeline(
                SYSTEMS["2/2"],
                memory=folder,
                levels=levels,
                precision=precision,
                batch_size=BATCH,
                max_epochs=epochs,
                lr_schedule=None,
                sampling_exponent=0.0,
                n_jobs=-1,
                random_state=seed,
            ).fit(corpus.data[train], y)
            yield f"{name}, seed {seed}", scored(pipeline.predict(corpus.data[test]))
        frames = [pipeline[:3].transform(corpus.data[rows]) for rows in (train, test)]
        for name, found in by_hand(pipeline, frames, places[train], len(levels), epochs, seed):
            yield f"{name}, seed {seed}", scored(levels[found])


def main():
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="of a turn (4)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--memory", help="folder of features (a temporary one)")
    parser.add_argument("--scores", action="store_true", help="scores instead of speed")
    parser.add_argument("--epochs", type=int, default=10, help="of --scores (10)")
    args = parser.parse_args()
    options = {"batch_size": args.batch_size, "steps": args.steps, "rounds": args.rounds}
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.memory or temporary
        if args.scores:
            found = {}
            for name, row in scores(folder, args.epochs):
                found[name] = row
                rows = [[name, *(f"{score:.3f}" for score in row)] for name, row in found.items()]
                save(args.out, found, table_of(("", "MAE", "QWK"), rows))
            return
        for n_cores in args.cores:
            for system in args.systems:
                title = f"{SYSTEMS[system]}, {n_cores} core{'s' * (n_cores > 1)}"
                results[title] = on_cores(measure, n_cores, system, folder, options)
    save(args.out, {"options": options, "results": results}, report(results))
    groups = {
        title: {
            name: ratio(result["seconds"], name, OURS["bfloat16"]) for name in result["seconds"]
        }
        for title, result in results.items()
    }
    draw_ratios(args.out.with_suffix(".png"), groups)


if __name__ == "__main__":
    main()
