"""Speed of frozen networks by torch and by OpenVINO, on one utterance.

    python -m benchmarks.speed.backends --out results/speed_backends.json

Utterances of 1, 4 and 15 s of speech, through the public transformers, in float32: blocks 1 to 3 of
the network that ships and of WeSpeaker's, layers 2 to 4 of Whisper base, scores of the U-net. All
take turns; each has seen the length before. "Off" is the largest difference of the results,
relative to the largest of them. The last table is version 1 of the network that ships (4 s, one
core), next to version 2. Writes FILE.json and FILE.md.
"""

import statistics
from functools import partial
from pathlib import Path

import numpy as np
import torch

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

OLD = Path(__file__).parents[2] / "models" / "weights" / "speechsent-seresnet-1.safetensors"
RATE = 16_000


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
    """Times of both backends on an utterance.

    Returns
    -------
    list of dict
        One per network.
    """
    torch.set_num_threads(n_cores)
    runs = []
    for name, (step, X, method) in networks(waveform(seconds)).items():
        runners, results = {}, {}
        for backend in ("torch", "openvino"):
            fitted = type(step)(**{**step.get_params(deep=False), "backend": backend}).fit(X)
            runners[backend] = partial(getattr(fitted, method), X)
            results[backend] = np.ravel(runners[backend]()[0])
        off = np.abs(results["openvino"] - results["torch"]).max() / np.abs(results["torch"]).max()
        times = take_turns(runners, rounds)
        runs.append({"network": name, "audio": seconds, "off": float(off), "seconds": times})
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
    """Lines of one table."""
    rows = []
    for run in runs:
        torch_ms, openvino_ms = (1000 * statistics.median(t) for t in run["seconds"].values())
        times = [f"{torch_ms:.1f}", f"{openvino_ms:.1f}"]
        gain = f"{ratio(run['seconds'], 'openvino', 'torch'):.2f}"
        rows.append([run["network"], f"{run['audio']:g} s", *times, gain, f"{run['off']:.0e}"])
    rows.sort(key=lambda row: row[0])
    titles = ["", "speech", "torch, ms", "OpenVINO, ms", "time, torch = 1", "off"]
    return [f"{n_cores} core(s)", "", *table_of(titles, rows)]


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
