"""Speed of the frozen speaker network, next to other runtimes and the processor's peak.

    python -m benchmarks.speed.network --out results/speed_network.json

WeSpeaker's ResNet34 on recordings of RAVDESS: blocks 1 to 3, which the medium system takes, and the
whole embedder; ours through the public transformers. The peers are plain PyTorch, one utterance
after the other, onnxruntime on the same ONNX file (also in 8 bits), and OpenVINO if it is
installed. The peak is a large matrix product or convolution in the same type, the fastest of the
same rounds. On one core, then on two. ``--scores`` adds the effect of bfloat16 and of OpenVINO on
sentiment: RAVDESS, eight folds of speakers, next to the constant predictor. Writes FILE.json,
FILE.md and FILE.png.
"""

import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._timing import draw_ratios, on_cores, ratio, take_turns
from benchmarks.speed._network_peers import BLOCKS, cut, eager, onnxruntime, openvino, quantize
from benchmarks.speed._peak import Peak
from experiments._harness.command import make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.sentiment import constant_scores, score_table, system_scores
from experiments._harness.systems import WESPEAKER
from experiments._harness.tables import save, table_of
from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    make_sentiment_pipeline,
)
from sklearn_speechsent.datasets import get_data_home, load_ravdess
from sklearn_speechsent.graphs.openvino import check_backend
from sklearn_speechsent.pretrained import load_weights

OURS = "sklearn-speechsent, bfloat16"
EXACT = "PyTorch eager, float32"
PRECISIONS = ("float32", "bfloat16")


def arithmetic(network, frames):
    """Floating-point operations of a network on utterances, two per multiplication.

    Parameters
    ----------
    network : SpeakerBlocks
    frames : UtteranceFrames

    Returns
    -------
    int
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for utterance in frames:
            network(torch.tensor(utterance)[None], torch.tensor([len(utterance)]))
    return counter.get_total_flops()


def files(n):
    """Some recordings of RAVDESS, spread over speakers and emotions."""
    corpus = load_ravdess()
    return [str(file) for file in corpus.data[:: len(corpus.data) // n][:n]]


def contestants(n_blocks, n_cores, frames, folder):
    """Callables that compute maps (``n_blocks`` = 3) or embeddings (4), by name.

    Returns
    -------
    dict of str to callable
        Each gives the results of all utterances.
    """
    weights = load_weights(WESPEAKER)
    embeds = n_blocks == len(BLOCKS)
    utterances = [np.array(utterance) for utterance in frames]
    found = {}
    for precision in ("bfloat16", "float32"):
        settings = {"precision": precision, "n_jobs": n_cores}
        if embeds:
            step = SpeakerEmbedder(WESPEAKER, normalize=False, **settings)
        else:
            step = SpeakerFeatureExtractor(WESPEAKER, n_blocks=n_blocks, pooling=None, **settings)
        step.fit(frames)
        found[f"sklearn-speechsent, {precision}"] = lambda step=step: step.transform(frames)
        try:
            step = clone(step).set_params(backend="openvino").fit(frames)
        except (ImportError, ValueError):  # not installed, or no bfloat16 here
            continue
        found[f'backend="openvino", {precision}'] = lambda step=step: step.transform(frames)
    path = get_data_home() / "models" / f"{WESPEAKER}.onnx"
    if not embeds:
        cut(path, n_blocks, folder / "blocks.onnx")
        path = folder / "blocks.onnx"
    quantize(path, utterances[::4], folder / "int8.onnx")
    peers = {
        EXACT: eager(weights.state, n_blocks, embeds),
        "onnxruntime, float32": onnxruntime(path, n_cores),
        "onnxruntime, int8": onnxruntime(folder / "int8.onnx", n_cores),
        "OpenVINO, float32": openvino(path, n_cores, "f32"),
        "OpenVINO, bfloat16": openvino(path, n_cores, "bf16"),
    }
    for name, peer in peers.items():
        if peer is not None:
            found[name] = lambda peer=peer: [peer(utterance) for utterance in utterances]
    return found


def deviation(results, exact, pooled):
    """Distance to the exact results in norm, relative to theirs, over all utterances.

    Parameters
    ----------
    results : sequence of ndarray
        Ours time first, maps of others (channels, frequencies, time).
    exact : sequence of ndarray
    pooled : bool
        Of means and deviations over time instead of maps.

    Returns
    -------
    float
    """
    off = norm = 0.0
    for result, truth in zip(results, exact, strict=True):
        if result.ndim == 3 and result.shape != truth.shape:
            result = np.moveaxis(result, 0, -1)
        if pooled:
            result, truth = (
                np.stack([values.mean(axis=-1), values.std(axis=-1)]) for values in (result, truth)
            )
        off += float(np.square(result - truth).sum(dtype=np.float64))
        norm += float(np.square(truth).sum(dtype=np.float64))
    return (off / norm) ** 0.5


def measure(n_blocks, n_cores, n_files, rounds):
    """Times and deviations of all contestants.

    Returns
    -------
    dict
    """
    torch.set_num_threads(n_cores)
    frames = make_pipeline(MelFilterBank(), SlidingCMN(None)).fit_transform(files(n_files))
    blocks = SpeakerFeatureExtractor(WESPEAKER, n_blocks=n_blocks).fit(frames)
    work = arithmetic(blocks.network_, frames)
    with tempfile.TemporaryDirectory() as folder:
        runners = contestants(n_blocks, n_cores, frames, Path(folder))
        results = {name: list(runner()) for name, runner in runners.items()}
        exact = results[EXACT]
        pools = (False, True) if exact[0].ndim == 3 else (False,)
        off = {
            name: [deviation(result, exact, pooled) for pooled in pools]
            for name, result in results.items()
        }
        peaks = {dtype: Peak(dtype) for dtype in PRECISIONS}
        for peak in peaks.values():
            runners.update(peak.runs)
        seconds = take_turns(runners, rounds)
    return {
        "n_blocks": n_blocks,
        "n_cores": n_cores,
        "audio_seconds": float(frames.lengths.sum()) / 100,
        "operations": work,
        "peaks": {dtype: peak.pop(seconds) for dtype, peak in peaks.items()},
        "off": off,
        "seconds": seconds,
    }


def report(run):
    """Lines of one table."""
    seconds, peaks = run["seconds"], run["peaks"]
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        dtype = name.rpartition(", ")[2]
        speed = run["operations"] / median
        share = f"{speed / peaks[dtype]:.0%}" if dtype in peaks else ""
        figures = [
            f"{1000 * median:.0f}",
            f"{1000 * min(times):.0f} – {1000 * max(times):.0f}",
            f"{run['audio_seconds'] / median:.1f}",
            f"{speed / 1e9:.0f}",
            share,
            f"{ratio(seconds, name, OURS):.2f}",
        ]
        rows.append([name, *figures, *(f"{value:.1e}" for value in run["off"][name])])
    what = "Whole embedder" if run["n_blocks"] == len(BLOCKS) else f"Blocks 1 to {run['n_blocks']}"
    cores = "one core" if run["n_cores"] == 1 else f"{run['n_cores']} cores"
    per_second = run["operations"] / run["audio_seconds"] / 1e9
    lines = [
        f"{what}, {cores}: {run['audio_seconds']:.0f} s of speech, {per_second:.2f} GFLOP per "
        f"second of it. Peak: {peaks['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{peaks['bfloat16'] / 1e9:.0f} in bfloat16.",
        "",
    ]
    titles = ["", "median, ms", "range", "x real time", "GFLOP/s", "of the peak", "time, ours = 1"]
    off = ["off, maps", "off, pooled"] if run["n_blocks"] < len(BLOCKS) else ["off"]
    return lines + table_of([*titles, *off], rows)


def scores(memory):
    """Scores on RAVDESS of both precisions, and of OpenVINO.

    Returns
    -------
    rows : dict of str to dict
    lines : list of str
        Of the table.
    """
    corpus = load_corpus("ravdess")
    folds = corpus.folds(8)
    shared = {"memory": memory, "n_jobs": -1, "verbose": 1}
    rows = {"constant": constant_scores(corpus, folds)}
    for system in ("small", "medium"):
        for backend, precision in (
            ("torch", "float32"),
            ("torch", "bfloat16"),
            ("openvino", "float32"),
            ("openvino", "bfloat16"),
        ):
            try:
                check_backend(backend, precision=precision)
            except (ImportError, ValueError):  # not installed, or no bfloat16 here
                continue
            # A store of its own: in float32 the backends have the same keys.
            pipeline = make_sentiment_pipeline(system, **shared | {"memory": memory / backend})
            pipeline.set_params(srext__precision=precision, srext__backend=backend)
            pipeline.set_params(vad__backend=backend)
            rows[f"{system}, {backend}, {precision}"] = system_scores(corpus, folds, pipeline)
    return rows, score_table("system", rows)


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--files", type=int, default=16, help="recordings (16)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (7)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="(1 2)")
    parser.add_argument(
        "--scores", action="store_true", help="sentiment on RAVDESS as well: minutes"
    )
    parser.add_argument("--memory", type=Path, help="features of --scores (FILE.cache)")
    options = parser.parse_args()
    results, lines = {"runs": []}, []
    for n_cores in options.cores:
        for n_blocks in (3, 4):
            run = on_cores(measure, n_cores, n_blocks, n_cores, options.files, options.rounds)
            results["runs"].append(run)
            lines += report(run)
            save(options.out, results, lines)
    if options.scores:
        memory = options.memory or options.out.with_suffix(".cache")
        results["scores"], table = scores(memory)
        save(options.out, results, lines + table)
    titles = {3: "blocks 1 to 3", 4: "embedder"}
    draw_ratios(
        options.out.with_suffix(".png"),
        {
            f"{titles[run['n_blocks']]}, cores: {run['n_cores']}": {
                name: 1.0 if name == OURS else ratio(run["seconds"], name, OURS)
                for name in run["seconds"]
            }
            for run in results["runs"]
        },
    )


if __name__ == "__main__":
    main()
