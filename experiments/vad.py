"""Voice activity detectors on meetings, acted sentences, and read speech under noise.

    python -m experiments.vad --out results/vad.json
    python -m experiments.vad --out results/vad.json --weights new.safetensors --threshold 0.6
    python -m experiments.vad --out results/choice.json --weights new.safetensors --choose

The U-net that ships with the package, the same as streams have it (causal, in blocks of 0.32 s
with 0.16 s of look-ahead), the energy detector and silero-vad, all with the smoothing of this
package, in steps of 10 ms; "constant" calls everything speech. Fourteen far-field clips of the AMI
corpus are scored against the corpus's reference of who speaks when (reference.rttm). Sentences of
RAVDESS and utterances of LibriSpeech test-other are scored against the energy of the clean
recordings. SEEN says which detector has seen which of them. Writes a table and the ROC curves of
the scores before smoothing, and measures speed on one core.

With --choose, thresholds are compared on mixtures of the 25 speakers of LibriSpeech
train-clean-100 that the training of the U-net leaves out, and on nothing else.
"""

import time

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from experiments import _speech_material as material
from experiments._harness.command import make_parser
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.tables import save, table_of
from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.inference.detection import BLOCK, SHIFT, CausalDetector, Detection
from sklearn_speechsent.inference.segmenter import Segmenter

RATE, STEP = 16000, 0.01
DRAWN = ("AMI, as recorded", "AMI, pink noise, 0 dB")
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: What detectors have seen of the recordings.
SEEN = [
    ["U-net", "AMI", "not trained; the clips were looked at after earlier versions of the recipe"],
    ["U-net", "RAVDESS", "not seen"],
    ["U-net", "LibriSpeech test-other", "other speakers; trained on train-clean-100, same corpus"],
    ["silero-vad", "all", "its training data is not published"],
    ["energy", "all", "not trained; its threshold was set on synthetic speech"],
]


class Silero:
    """silero-vad as its own documentation uses it."""

    def __init__(self):
        from silero_vad import get_speech_timestamps, load_silero_vad

        self.network, self.timestamps = load_silero_vad(), get_speech_timestamps

    def speech_segments(self, waves):
        """Segments of all recordings."""
        rows = []
        for row, wave in enumerate(waves):
            for span in self.timestamps(torch.from_numpy(wave), self.network):
                rows.append((row, span["start"] / RATE, span["end"] / RATE))
        return pd.DataFrame(rows, columns=["file", "start", "end"])


class Causal:
    """Our detector as time lines and streams have it: blocks that look a little ahead."""

    def __init__(self, detector):
        self.detector = CausalDetector.of(detector)

    def speech_segments(self, waves):
        """Segments of all recordings."""
        detector, rows = self.detector, []
        for row, wave in enumerate(waves):
            segmenter = Segmenter(Detection(detector), detector.hangover, len(wave) // SHIFT)
            pieces = [wave[i : i + BLOCK * SHIFT] for i in range(0, len(wave), BLOCK * SHIFT)]
            changes = [change for piece in pieces for change in segmenter.push(piece)]
            bounds = [change.sample / RATE for change in changes + segmenter.finish()]
            rows += [(row, *bounds[i : i + 2]) for i in range(0, len(bounds), 2)]
        return pd.DataFrame(rows, columns=["file", "start", "end"])


def score(segments, data):
    """Miss, false alarm and accuracy over the scored steps of all recordings."""
    found = [
        material.rasterise(
            *segments.loc[segments.file == row, ["start", "end"]].to_numpy().T, len(wave)
        )
        for row, wave in enumerate(data.waves)
    ]
    scored = np.concatenate(data.scored)
    found, truth = np.concatenate(found)[scored], np.concatenate(data.spoken)[scored]
    return {
        "miss": float((truth & ~found).sum() / truth.sum()),
        "false alarm": float((found & ~truth).sum() / (~truth).sum()),
        "accuracy": float((found == truth).mean()),
    }


def aligned_scores(detector, data):
    """Scores before smoothing at the scored steps."""
    values = []
    for scores, truth in zip(detector.frame_scores(data.waves), data.spoken, strict=True):
        middles = (np.arange(len(truth)) + 0.5) * STEP
        frames = np.rint((middles - 0.0125) / 0.01).clip(0, len(scores) - 1).astype(int)
        values.append(scores[frames])
    return np.concatenate(values)[np.concatenate(data.scored)]


def median_time(call, repeats=5):
    """Median seconds of a call, after a first one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def draw(curves, points, path):
    """ROC curves, with the decisions after smoothing as points."""
    figure, axes = pyplot().subplots(1, 2, figsize=(9, 4.2), sharey=True)
    for axis, condition in zip(axes, DRAWN, strict=True):
        for name, (false_alarm, hit, area) in curves[condition].items():
            (line,) = axis.plot(false_alarm, hit, label=f"{name} (AUC {area:.3f})")
            point = points[condition][name]
            axis.plot(point["false alarm"], 1 - point["miss"], "o", color=line.get_color())
        axis.set(title=condition, xlabel="False alarm", xlim=(0, 1), ylim=(0, 1.01))
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right", fontsize="small")
    axes[0].set_ylabel("Speech found")
    figure.suptitle("Frames of far-field AMI clips; dots are the decisions after smoothing")
    figure.tight_layout()
    save_figure(path, figure)


def choose(options):
    """Accuracy of each threshold on mixtures of the speakers left out of the training."""
    rows = []
    noises = [("quiet room", 50), ("pink", 10), ("pink", 0), ("white", 5), ("babble", 10)]
    conditions = list(material.mixtures("train-clean-100", 1, 25, noises))
    for threshold in THRESHOLDS:
        detector = VoiceActivityDetector(weights=options.weights, threshold=threshold)
        detector.fit(conditions[0].waves[:1])
        for name, used in (("U-net", detector), ("U-net, causal", Causal(detector))):
            for data in conditions:
                found = score(used.speech_segments(data.waves), data)
                condition = data.name.split(", ", 1)[1]
                rows.append({"threshold": threshold, "detector": name, "condition": condition})
                rows[-1] |= found
    table = pd.DataFrame(rows)
    quiet = table[table["condition"] == "quiet room"]
    loud = table[table["condition"] == "pink noise, 0 dB"]
    cells = [
        [
            *(f"{threshold}", detector, f"{part['accuracy'].mean():.2%}"),
            f"{part['accuracy'].min():.1%}",
            *(
                f"{row['miss']:.1%} / {row['false alarm']:.1%}"
                for chosen in (quiet, loud)
                for _, row in chosen.loc[chosen.index.intersection(part.index)].iterrows()
            ),
        ]
        for (detector, threshold), part in table.groupby(["detector", "threshold"])
    ]
    heads = ["threshold", "detector", "mean accuracy", "lowest", "quiet: miss / false alarm"]
    save(options.out, {"rows": rows}, table_of([*heads, "pink, 0 dB: the same"], cells))


def report(out, rows, speed):
    """Write what was measured so far, and print it."""
    figures = ("miss", "false alarm", "accuracy")
    cells = [
        [
            *(row["condition"], row["detector"], *(f"{row[name]:.1%}" for name in figures)),
            f"{row['auc']:.3f}" if "auc" in row else "",
        ]
        for row in rows
    ]
    lines = table_of(["condition", "detector", *figures, "AUC of frames"], cells)
    lines += table_of(["detector", "recordings", "has seen"], SEEN)
    speeds = [[name, f"{times:.0f}"] for name, times in speed.items()]
    lines += table_of(["one core", "times real time"], speeds)
    save(out, {"rows": rows, "seen": SEEN, "speed": speed}, lines)


def main():
    """Measure, print, write and draw."""
    parser = make_parser(__doc__)
    parser.add_argument("--skip", nargs="*", default=[], help="AMI clips to leave out")
    parser.add_argument("--weights", default="speechsent-unet-vad", help="of the U-net")
    parser.add_argument("--threshold", type=float, help="of the U-net, default: the package's")
    parser.add_argument("--only", default="", help="recordings whose name begins with this")
    parser.add_argument("--choose", action="store_true", help="compare thresholds instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.choose:
        return choose(options)
    files, conditions = material.meetings(options.skip)
    clips = [material.read(file) for file in files]
    detectors = {
        "U-net": VoiceActivityDetector(weights=options.weights, threshold=options.threshold),
        "silero-vad": VoiceActivityDetector(method="silero"),
        "energy": VoiceActivityDetector(method="energy"),
    }
    for detector in detectors.values():
        detector.fit(clips[:1])
    smoothed = {
        "U-net, causal": Causal(detectors["U-net"]),
        "silero-vad, its own smoothing": Silero(),
    }
    rows, speed, curves, points = [], {}, {}, {}
    every = [*conditions, *material.acted(), *material.mixtures("test-other", 4, 24)]
    for data in every:
        if not data.name.startswith(options.only):
            continue
        truth = np.concatenate(data.spoken)[np.concatenate(data.scored)]
        everything = {"miss": 0.0, "false alarm": 1.0, "accuracy": float(truth.mean())}
        rows.append({"condition": data.name, "detector": "constant", **everything})
        curves[data.name], points[data.name] = {}, {}
        for name, detector in {**detectors, **smoothed}.items():
            found = score(detector.speech_segments(data.waves), data)
            rows.append({"condition": data.name, "detector": name, **found})
            if name in detectors:
                values = aligned_scores(detector, data)
                curve = roc_curve(truth, values)[:2]
                rows[-1]["auc"] = area = float(roc_auc_score(truth, values))
                curves[data.name][name], points[data.name][name] = (*curve, area), found
        report(options.out, rows, speed)
    seconds = sum(len(clip) for clip in clips) / RATE
    frames = MelFilterBank().fit_transform(clips)
    speed = {
        "U-net, frames to speech frames": lambda: detectors["U-net"].transform(frames),
        "U-net, files to segments": lambda: detectors["U-net"].speech_segments(files),
        "U-net, causal, samples to segments": lambda: smoothed["U-net, causal"].speech_segments(
            clips
        ),
        "energy, frames to speech frames": lambda: detectors["energy"].transform(frames),
        "silero-vad, samples to segments": lambda: Silero().speech_segments(clips),
    }
    speed = {name: seconds / median_time(call) for name, call in speed.items()}
    report(options.out, rows, speed)
    if all(name in curves for name in DRAWN):
        draw(curves, points, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
