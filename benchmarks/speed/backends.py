"""Speed of frozen networks by torch and by OpenVINO, on one utterance.

    python -m benchmarks.speed.backends --out results/speed_backends.json

Utterances of 1, 4 and 15 s of speech, through the public transformers: blocks 1 to 3 of the network
that ships and of WeSpeaker's, layers 2 to 4 of Whisper base, scores of the U-net; in float32 and,
where the processor has it, all but the U-net in bfloat16. All take turns; each has seen the length
before. "Off" is the largest difference from torch in float32, relative to the largest value. The
last table is version 1 of the network that ships (4 s, one core, float32), next to version 2.
Writes FILE.json and FILE.md.
"""

import statistics
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone

from benchmarks._timing import on_cores, ratio, take_turns
from experiments._harness.command import make_parser
from experiments._harness.systems import WESPEAKER
from experiments._harness.tables import save, table_of
from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerFeatureExtractor,
    SpeechEncoder,
    VoiceActivityDetector,
)
from sklearn_speechsent.audio import as_recordings, read
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.graphs.openvino import check_backend

OLD = Path(__file__).parents[2] / "models" / "weights" / "speechsent-seresnet-1.safetensors"
RATE = 16_000
EXACT = "torch, float32"
#: Backends and precisions, by the name of their rows.
WAYS = {
    EXACT: ("torch", "float32"),
    "OpenVINO, float32": ("openvino", "float32"),
    "torch, bfloat16": ("torch", "bfloat16"),
    "OpenVINO, bfloat16": ("openvino", "bfloat16"),
}


def waveform(seconds):
    """Speech of RAVDESS, one recording after the other."""
    files = as_recordings([str(file) for file in load_ravdess().data[100:110]])
    # Digital silence at the beginning has no frames.
    samples = np.concatenate([np.trim_zeros(read(file, RATE)) for file in files])
    return np.ascontiguousarray(samples[: int(seconds * RATE)])


def networks(samples):
    """Steps and their inputs, by name."""
    frames = MelFilterBank().fit_transform([samples])
    centred = SlidingCMN(None).fit_transform(frames)
    return {
        "speechsent-seresnet, blocks 1 to 3": (SpeakerFeatureExtractor(), centred, "transform"),
        "WeSpeaker's ResNet34, blocks 1 to 3": (
            SpeakerFeatureExtractor(WESPEAKER),
            centred,
            "transform",
        ),
        "Whisper base, four blocks": (SpeechEncoder(), [samples], "transform"),
        "U-net": (VoiceActivityDetector(), frames, "frame_scores"),
    }


def measure(seconds, rounds, n_cores):
    """Times of both backends on an utterance, in each precision that a network has here.

    Returns
    -------
    list of dict
        One per network.
    """
    torch.set_num_threads(n_cores)
    runs = []
    for name, (step, X, method) in networks(waveform(seconds)).items():
        runners, results = {}, {}
        for way, (backend, precision) in WAYS.items():
            settings = {"backend": backend, "precision": precision}
            if "precision" not in step.get_params():
                if precision != "float32":
                    continue
                del settings["precision"]
            try:
                check_backend(backend, precision=precision)
            except ValueError:  # no bfloat16 here
                continue
            fitted = clone(step).set_params(**settings).fit(X)
            runners[way] = partial(getattr(fitted, method), X)
            results[way] = np.ravel(runners[way]()[0])
        exact = results[EXACT]
        off = {
            way: float(np.abs(result - exact).max() / np.abs(exact).max())
            for way, result in results.items()
        }
        times = take_turns(runners, rounds)
        runs.append({"network": name, "audio": seconds, "off": off, "seconds": times})
    return runs


def versions(rounds):
    """Times of both versions of the network that ships, on 4 s."""
    torch.set_num_threads(1)
    _, X, _ = next(iter(networks(waveform(4)).values()))
    steps = {
        "version 1": SpeakerFeatureExtractor(str(OLD)).fit(X),
        "version 2": SpeakerFeatureExtractor().fit(X),
    }
    return take_turns({name: lambda s=step: s.transform(X) for name, step in steps.items()}, rounds)


def report(runs, n_cores):
    """Lines of one table, and the largest differences below it."""
    rows, off = [], {}
    for run in sorted(runs, key=lambda run: run["network"]):
        cells = []
        for way in WAYS:
            if way not in run["seconds"]:
                cells.append("")
                continue
            median = 1000 * statistics.median(run["seconds"][way])
            cells.append(f"{median:.1f}, {ratio(run['seconds'], way, EXACT):.2f}")
            off[way] = max(off.get(way, 0.0), run["off"][way])
        rows.append([run["network"], f"{run['audio']:g} s", *cells])
    titles = ["ms, to torch in float32", "speech", *WAYS]
    largest = "; ".join(f"{way} {value:.0e}" for way, value in off.items() if way != EXACT)
    return [f"{n_cores} core(s)", "", *table_of(titles, rows), f"Off at most: {largest}.", ""]


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 4, 15], help="(1 4 15)")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each (11)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="(1 2)")
    options = parser.parse_args()
    results, lines = {}, []
    for n_cores in options.cores:
        runs = []
        for seconds in options.seconds:
            runs += on_cores(measure, n_cores, seconds, options.rounds, n_cores)
        results[f"{n_cores} cores"] = runs
        lines += report(runs, n_cores)
    times = results["versions"] = on_cores(versions, 1, 25)
    rows = [
        [name, f"{1000 * statistics.median(t):.1f}", f"{ratio(times, name, 'version 1'):.2f}"]
        for name, t in times.items()
    ]
    lines += table_of(["speechsent-seresnet", "median, ms", "ratio"], rows)
    save(options.out, results, lines)


if __name__ == "__main__":
    main()
