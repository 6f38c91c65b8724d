"""Voice activity detectors on far-field meetings, on which none of them was trained or tuned here.

    python -m experiments.vad --out results/vad.json

Fourteen clips of the AMI corpus, half a minute each, scored against the corpus's reference of who
speaks when (reference.rttm), in steps of 10 ms: the U-net that ships with the package, the energy
detector, and silero-vad at its own defaults, and the U-net as streams have it (causal, with 0.16 s
of look-ahead), as recorded and under pink noise as strong as the
speech. "Constant" calls everything speech. Writes a table and the ROC curves of the scores before
smoothing, and measures speed on one core. Reads nothing but the shipped weights.
"""

import time

import numpy as np
import pandas as pd
import soundfile
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from experiments._harness.command import make_parser
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.tables import save, table_of
from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.datasets import get_data_home
from sklearn_speechsent.inference.detection import BLOCK, SHIFT, CausalDetector, Detection
from sklearn_speechsent.inference.segmenter import Segmenter

RATE, STEP = 16000, 0.01
CONDITIONS = ("as recorded", "pink noise, 0 dB")


def load_clips(skip=()):
    """Waveforms, and for each whether it holds speech in the middle of every 10 ms."""
    folder = get_data_home() / "ami_excerpts"
    if not folder.is_dir():
        raise SystemExit(f"There are no recordings in {folder}: set SPEECHSENT_DATA.")
    spans = pd.read_csv(
        folder / "reference.rttm", sep=" ", header=None, usecols=[1, 3, 4], names=range(10)
    )
    spans.columns = ["recording", "start", "seconds"]
    files = [file for file in sorted(folder.glob("*.flac")) if file.stem not in skip]
    waves = [soundfile.read(file, dtype="float32")[0] for file in files]
    spoken = [
        rasterise(
            spans.loc[spans["recording"] == file.stem, "start"],
            spans.loc[spans["recording"] == file.stem].eval("start + seconds"),
            len(wave),
        )
        for file, wave in zip(files, waves, strict=True)
    ]
    return files, waves, spoken


def rasterise(starts, ends, n_samples):
    """Steps of 10 ms whose middle lies in one of the segments (s)."""
    middles = (np.arange(int(n_samples / RATE / STEP)) + 0.5) * STEP
    inside = np.zeros(len(middles), bool)
    for start, end in zip(starts, ends, strict=True):
        inside |= (middles >= start) & (middles < end)
    return inside


def with_pink_noise(wave, spoken, seed):
    """Add pink noise that is as strong as the speech is where there is speech."""
    rng = np.random.default_rng(seed)
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE)
    spectrum = np.fft.rfft(rng.standard_normal(len(wave)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, 20.0)), len(wave))
    speech = wave[: len(spoken) * 160][np.repeat(spoken, 160)]
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2))
    return (wave + noise).astype(np.float32)


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

    def speech_segments(self, waves):
        """Segments of all recordings."""
        detector, rows = CausalDetector.of(), []
        for row, wave in enumerate(waves):
            segmenter = Segmenter(Detection(detector), detector.hangover, len(wave) // SHIFT)
            pieces = [wave[i : i + BLOCK * SHIFT] for i in range(0, len(wave), BLOCK * SHIFT)]
            changes = [change for piece in pieces for change in segmenter.push(piece)]
            bounds = [change.sample / RATE for change in changes + segmenter.finish()]
            rows += [(row, *bounds[i : i + 2]) for i in range(0, len(bounds), 2)]
        return pd.DataFrame(rows, columns=["file", "start", "end"])


def score(segments, spoken, waves):
    """Miss, false alarm and accuracy over the steps of all clips."""
    found = [
        rasterise(*segments.loc[segments.file == row, ["start", "end"]].to_numpy().T, len(wave))
        for row, wave in enumerate(waves)
    ]
    found, truth = np.concatenate(found), np.concatenate(spoken)
    return {
        "miss": float((truth & ~found).sum() / truth.sum()),
        "false alarm": float((found & ~truth).sum() / (~truth).sum()),
        "accuracy": float((found == truth).mean()),
    }


def aligned_scores(detector, waves, spoken):
    """Scores before smoothing at the steps of the reference."""
    values = []
    for scores, truth in zip(detector.frame_scores(waves), spoken, strict=True):
        middles = (np.arange(len(truth)) + 0.5) * STEP
        frames = np.rint((middles - 0.0125) / 0.01).clip(0, len(scores) - 1).astype(int)
        values.append(scores[frames])
    return np.concatenate(values)


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
    for axis, condition in zip(axes, CONDITIONS, strict=True):
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


def main():
    """Measure, print, write and draw."""
    parser = make_parser(__doc__)
    parser.add_argument("--skip", nargs="*", default=[], help="clips to leave out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files, clips, spoken = load_clips(options.skip)
    detectors = {
        "U-net": VoiceActivityDetector(),
        "silero-vad": VoiceActivityDetector(method="silero"),
        "energy": VoiceActivityDetector(method="energy"),
    }
    for detector in detectors.values():
        detector.fit(clips[:1])
    rows, curves, points = [], {}, {}
    for condition in CONDITIONS:
        waves = clips
        if condition != CONDITIONS[0]:
            waves = [
                with_pink_noise(*clip, i) for i, clip in enumerate(zip(clips, spoken, strict=True))
            ]
        truth = np.concatenate(spoken)
        everything = {"miss": 0.0, "false alarm": 1.0, "accuracy": float(truth.mean())}
        rows.append({"condition": condition, "detector": "constant", **everything})
        curves[condition], points[condition] = {}, {}
        smoothed = {"U-net, causal": Causal(), "silero-vad, its own smoothing": Silero()}
        for name, detector in {**detectors, **smoothed}.items():
            found = score(detector.speech_segments(waves), spoken, waves)
            rows.append({"condition": condition, "detector": name, **found})
            if name in detectors:
                values = aligned_scores(detector, waves, spoken)
                curve = roc_curve(truth, values)[:2]
                rows[-1]["auc"] = area = float(roc_auc_score(truth, values))
                curves[condition][name], points[condition][name] = (*curve, area), found
    seconds = sum(len(clip) for clip in clips) / RATE
    frames = MelFilterBank().fit_transform(clips)
    paths = [str(file) for file in files]
    speed = {
        "U-net, frames to speech frames": lambda: detectors["U-net"].transform(frames),
        "U-net, files to segments": lambda: detectors["U-net"].speech_segments(paths),
        "energy, frames to speech frames": lambda: detectors["energy"].transform(frames),
        "silero-vad, samples to segments": lambda: Silero().speech_segments(clips),
    }
    speed = {name: seconds / median_time(call) for name, call in speed.items()}
    figures = ("miss", "false alarm", "accuracy")
    cells = [
        [
            *(row["condition"], row["detector"], *(f"{row[name]:.1%}" for name in figures)),
            f"{row['auc']:.3f}" if "auc" in row else "",
        ]
        for row in rows
    ]
    lines = table_of(["condition", "detector", *figures, "AUC of frames"], cells)
    speeds = [[name, f"{times:.0f}"] for name, times in speed.items()]
    lines += table_of(["one core", "times real time"], speeds)
    save(options.out, {"rows": rows, "speed": speed}, lines)
    draw(curves, points, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
