"""Speed of Whisper's encoder, next to other runtimes and the processor's peak.

    python -m benchmarks.speed.encoders --out results/speed_encoders.json

Whisper base on speech of RAVDESS, cut to 2, 4, 10 and 30 s. First each library as it calls itself,
from samples to the last layer: transformers and faster-whisper pad to 30 s, and `SpeechEncoder`
takes each recording at its own length; also as the large system has it, up to block 4. Then the
same six blocks on the same log-mel frames at their own length: ours, CTranslate2 and onnxruntime on
our export (transformers refuses other lengths than 30 s). bfloat16 is left out on processors that
only imitate it. The peak is a large matrix product or convolution, the fastest of the same rounds.
On one core, then on two. ``--scores`` adds the effect of bfloat16 on sentiment: RAVDESS, eight
folds of speakers, on means of layers 3 and 4, next to the constant predictor. Writes FILE.json,
FILE.md and FILE.png.
"""

import statistics
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from sklearn.pipeline import make_pipeline

from benchmarks._timing import draw_ratios, on_cores, ratio, take_turns
from benchmarks.speed import _encoder_peers as peers
from benchmarks.speed._network_peers import onnxruntime
from benchmarks.speed._peak import Peak
from benchmarks.speed.network import PRECISIONS, deviation
from experiments._harness.command import make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.sentiment import constant_scores, score_table, system_scores
from experiments._harness.systems import WHISPER
from experiments._harness.tables import save, table_of
from sklearn_speechsent import OrdinalClassifier, SpeechEncoder
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.pretrained.encoder import build_encoder, load_encoder_weights
from sklearn_speechsent.speech.log_mel import whisper_log_mel

RATE = 16000
#: Ours, with which others are compared, in the first and in the second table.
SYSTEM, EXACT = "SpeechEncoder, float32", "ours, float32"
AS_THEY_COME, OWN_LENGTH = "as they come", "own length"


def has_bfloat16():
    """Whether the processor computes in bfloat16, rather than imitating it.

    Returns
    -------
    bool
    """
    squares = {dtype: torch.randn(512, 512).to(getattr(torch, dtype)) for dtype in PRECISIONS}
    runs = {dtype: lambda square=square: square @ square for dtype, square in squares.items()}
    seconds = take_turns(runs, rounds=5)
    return min(seconds["bfloat16"]) < min(seconds["float32"])


def utterances(seconds, n):
    """Speech of RAVDESS as samples at 16 kHz, each cut to a length.

    Parameters
    ----------
    seconds : float
    n : int
        Utterances.

    Returns
    -------
    list of ndarray
    """
    size, found, sound = round(RATE * seconds), [], np.empty(0, np.float32)
    for file in load_ravdess().data[::7]:
        if len(found) == n:
            break
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        step = rate // RATE
        if rate != step * RATE:
            raise SystemExit(f"{file}: {rate} Hz. Multiples of 16 kHz are needed.")
        # Every third sample of 48 kHz: times do not depend on what is folded back.
        sound = np.concatenate([sound, np.trim_zeros(samples[::step, 0])])
        if len(sound) >= size:
            found.append(sound[:size])
            sound = np.empty(0, np.float32)
    return found


def as_they_come(network, folder, n_cores):
    """Callables from samples to the last layer, by name; what is not installed is left out.

    Parameters
    ----------
    network : WhisperEncoder
    folder : Path
        Of CTranslate2's file, if it is installed.
    n_cores : int

    Returns
    -------
    dict of str to callable
    """

    def ours(**settings):
        step = SpeechEncoder(WHISPER, pooling=None, **settings)
        step.fit([np.ones(RATE, np.float32)])
        return lambda samples: step.transform([samples])[0][:, 0]

    found = {
        SYSTEM: ours(layers=(6,)),
        "SpeechEncoder, float32, up to block 4": ours(layers=(4,)),
    }
    if has_bfloat16():
        found["SpeechEncoder, bfloat16"] = ours(layers=(6,), precision="bfloat16")
    if not peers.lacks("transformers"):
        model = peers.as_transformers(network)
        for attention in ("sdpa", "eager"):
            found[f"transformers, float32, {attention}"] = peers.transformers_as_it_comes(
                model, attention
            )
    if not peers.lacks("ctranslate2", "faster_whisper"):
        for kind in ("float32", "int8"):
            found[f"faster-whisper, {kind}"] = peers.faster_whisper(
                peers.ctranslate2(folder / "ctranslate2", kind, n_cores)
            )
    return found


def at_own_length(network, folder, n_cores):
    """Callables from frames to the last layer, by name; what is not installed is left out.

    Parameters
    ----------
    network : WhisperEncoder
    folder : Path
        Of the files of others.
    n_cores : int

    Returns
    -------
    dict of str to callable
    """

    def ours(precision):
        prepared = build_encoder(load_encoder_weights(WHISPER)).prepare(precision)

        def run(frames):
            with torch.inference_mode():
                return prepared(torch.from_numpy(frames)[None])[0, :, 0].numpy()

        return run

    found = {EXACT: ours(torch.float32)}
    if has_bfloat16():
        found["ours, bfloat16"] = ours(torch.bfloat16)
    if not peers.lacks("ctranslate2"):
        for kind in ("float32", "int8"):
            found[f"CTranslate2, {kind}"] = peers.ctranslate2(folder / "ctranslate2", kind, n_cores)
    if not peers.lacks("onnxruntime", "onnxscript"):
        peers.write_onnx(network, folder / "encoder.onnx")
        found["onnxruntime, float32"] = onnxruntime(folder / "encoder.onnx", n_cores)
    return found


def operations(network, n_frames):
    """Floating-point operations for an utterance, two per multiplication.

    Parameters
    ----------
    network : WhisperEncoder
    n_frames : int

    Returns
    -------
    int
    """
    width, n = network.width, (n_frames + 1) // 2
    convolutions = 3 * network.n_mels * width * n_frames + 3 * width**2 * n
    # Four products with matrices of width x width in attention, eight in the two layers behind it,
    # and two of all positions with all positions.
    return 2 * (convolutions + len(network.blocks) * (12 * width**2 * n + 2 * width * n**2))


def normalised(layer):
    """A layer as the norm behind the last block leaves it, which is part of other libraries."""
    layer = layer - layer.mean(axis=-1, keepdims=True)
    return layer / layer.std(axis=-1, keepdims=True)


def measure(table, n_cores, seconds, n, rounds):
    """Times and deviations of all contestants of a table.

    Parameters
    ----------
    table : {"as they come", "own length"}
    n_cores : int
    seconds : float
        Length of an utterance.
    n : int
        Utterances.
    rounds : int

    Returns
    -------
    dict
    """
    torch.set_num_threads(n_cores)
    network = build_encoder(load_encoder_weights(WHISPER))
    inputs = utterances(seconds, n)
    if table == OWN_LENGTH:
        inputs = [whisper_log_mel([samples], network.n_mels) for samples in inputs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not peers.lacks("ctranslate2", "transformers"):
            peers.write_ctranslate2(peers.as_transformers(network), folder / "ctranslate2")
        found = {AS_THEY_COME: as_they_come, OWN_LENGTH: at_own_length}[table](
            network, folder, n_cores
        )
        off = {}
        if table == OWN_LENGTH:
            exact = [normalised(found[EXACT](given)) for given in inputs]
            for name, run in found.items():
                off[name] = deviation([normalised(run(given)) for given in inputs], exact, False)
        runners = {
            name: lambda run=run: [run(given) for given in inputs] for name, run in found.items()
        }
        peaks = {
            dtype: Peak(dtype)
            for dtype in PRECISIONS
            if any(name.endswith(f", {dtype}") for name in found)
        }
        for peak in peaks.values():
            runners.update(peak.runs)
        times = take_turns(runners, rounds)
    return {
        "table": table,
        "n_cores": n_cores,
        "utterance_seconds": seconds,
        "n": len(inputs),
        "operations": operations(network, round(100 * seconds)),
        "peaks": {dtype: peak.pop(times) for dtype, peak in peaks.items()},
        "off": off,
        "seconds": times,
    }


def report(runs):
    """Lines of the tables."""
    lines = []
    for table, ours in ((AS_THEY_COME, SYSTEM), (OWN_LENGTH, EXACT)):
        for n_cores in sorted({run["n_cores"] for run in runs}):
            chosen = [r for r in runs if r["table"] == table and r["n_cores"] == n_cores]
            if chosen:
                cores = "one core" if n_cores == 1 else f"{n_cores} cores"
                title = {
                    AS_THEY_COME: "Each as it calls itself, from samples",
                    OWN_LENGTH: "Six blocks on frames at their own length",
                }[table]
                lines += [f"### {title}, {cores}", "", *_table(chosen, ours)]
    return lines


def _table(runs, ours):
    """One table: a row for each contestant, a column for each length."""
    rows = []
    for name in runs[0]["seconds"]:
        cells = [_cell(run, name, ours) for run in runs]
        off = [run["off"][name] for run in runs if run["off"]]
        rows.append([name, *cells, *([f"{max(off):.1e}"] if off else [])])
    at_peak = runs[0]["off"]
    what = "ms, to ours, of the peak" if at_peak else "ms, to ours"
    titles = ["", *(f"{run['utterance_seconds']:g} s: {what}" for run in runs)]
    lines = table_of([*titles, "off"] if at_peak else titles, rows)
    if at_peak:
        peaks = {
            dtype: max(run["peaks"][dtype] for run in runs) / 1e9 for dtype in runs[0]["peaks"]
        }
        rates = ", ".join(f"{peak:.0f} GFLOP/s in {dtype}" for dtype, peak in peaks.items())
        work = ", ".join(
            f"{run['operations'] / 1e9:.1f} GFLOP for {run['utterance_seconds']:g} s"
            for run in runs
        )
        lines += [f"Peak: {rates}. Work: {work}.", ""]
    return lines


def _cell(run, name, ours):
    """Milliseconds per utterance, ratio to ours, and share of the peak."""
    median = statistics.median(run["seconds"][name]) / run["n"]
    figures = [f"{1000 * median:.0f}", f"{ratio(run['seconds'], name, ours):.2f}"]
    dtype = name.rpartition(", ")[2]
    if run["off"] and dtype in run["peaks"]:
        figures.append(f"{run['operations'] / median / run['peaks'][dtype]:.0%}")
    return ", ".join(figures)


def panels(runs):
    """What is drawn: the shortest and the longest utterances, on the fewest cores.

    Parameters
    ----------
    runs : list of dict
        Of :func:`measure`.

    Returns
    -------
    dict of str to dict of str to float
        See :func:`~benchmarks._timing.draw_ratios`.
    """
    lengths = [run["utterance_seconds"] for run in runs]
    fewest = min(run["n_cores"] for run in runs)
    found = {}
    for run in runs:
        if run["n_cores"] == fewest and run["utterance_seconds"] in (min(lengths), max(lengths)):
            ours = SYSTEM if run["table"] == AS_THEY_COME else EXACT
            title = f"{run['table']}, {run['utterance_seconds']:g} s, cores: {fewest}"
            times = run["seconds"]
            found[title] = {name: ratio(times, name, ours) for name in times}
    return found


def scores(memory):
    """Scores on RAVDESS of both precisions.

    Parameters
    ----------
    memory : Path
        Folder of features.

    Returns
    -------
    rows : dict of str to dict
    lines : list of str
        Of the table.
    """
    corpus = load_corpus("ravdess")
    folds = corpus.folds(8)
    rows = {"constant": constant_scores(corpus, folds)}
    for precision in ("float32", "bfloat16"):
        encoder = SpeechEncoder(
            WHISPER, layers=(3, 4), precision=precision, memory=memory, n_jobs=-1, verbose=1
        )
        pipeline = make_pipeline(encoder, OrdinalClassifier())
        rows[f"layers 3 and 4, {precision}"] = system_scores(corpus, folds, pipeline)
    return rows, score_table("system", rows)


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--lengths", type=float, nargs="+", default=[2, 4, 10, 30], metavar="S")
    parser.add_argument("--total", type=float, default=40, help="seconds of speech in a turn (40)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (7)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="(1 2)")
    parser.add_argument(
        "--scores", action="store_true", help="sentiment on RAVDESS as well: minutes"
    )
    parser.add_argument("--memory", type=Path, help="features of --scores (FILE.cache)")
    options = parser.parse_args()
    results = {"missing": peers.lacks("ctranslate2", "faster_whisper", "onnxscript"), "runs": []}
    lines = []
    for n_cores in options.cores:
        for table in (OWN_LENGTH, AS_THEY_COME):
            for seconds in options.lengths:
                # Padded contestants take as long for 2 s as for 30 s.
                n = max(1, round(options.total / (30 if table == AS_THEY_COME else seconds)))
                run = on_cores(measure, n_cores, table, n_cores, seconds, n, options.rounds)
                results["runs"].append(run)
                lines = report(results["runs"])
                save(options.out, results, lines)
    if options.scores:
        memory = options.memory or options.out.with_suffix(".cache")
        results["scores"], table = scores(memory)
        save(options.out, results, lines + table)
    draw_ratios(options.out.with_suffix(".png"), panels(results["runs"]))


if __name__ == "__main__":
    main()
