"""Voice activity detectors on far-field meetings that none of them was trained or tuned on here.

    python benchmarks/vad.py --out results/vad.json

Fourteen clips of the AMI corpus, half a minute each, against who-spoke-when of the corpus
(reference.rttm), in steps of 10 ms: the U-net that ships with the package, the energy detector, and
silero-vad at its own defaults, as recorded and under pink noise as strong as the speech. "Constant"
calls everything speech. Prints a table, writes it beside a picture of the ROC curves of the scores
before smoothing, and measures speed on one core. Reads nothing but the shipped weights.
"""

import argparse
import json
import os
import time
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import numpy as np
import pandas as pd
import soundfile
import torch
from _resume import write_text
from sklearn.metrics import roc_auc_score, roc_curve

from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.datasets import get_data_home

RATE, STEP = 16000, 0.01
CONDITIONS = ("as recorded", "pink noise, 0 dB")


def load_clips(skip=()):
    """Waveforms, and for each whether somebody speaks in the middle of every 10 ms."""
    folder = get_data_home() / "ami_excerpts"
    if not folder.is_dir():
        raise SystemExit(f"There are no recordings in {folder}: set SPEECHSENT_DATA.")
    turns = pd.read_csv(
        folder / "reference.rttm", sep=" ", header=None, usecols=[1, 3, 4], names=range(10)
    )
    turns.columns = ["recording", "start", "seconds"]
    files = [file for file in sorted(folder.glob("*.flac")) if file.stem not in skip]
    waves = [soundfile.read(file, dtype="float32")[0] for file in files]
    spoken = [
        rasterise(
            turns.loc[turns["recording"] == file.stem, "start"],
            turns.loc[turns["recording"] == file.stem].eval("start + seconds"),
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
    """Add pink noise that is as strong as the speech is while somebody speaks."""
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
            for turn in self.timestamps(torch.from_numpy(wave), self.network):
                rows.append((row, turn["start"] / RATE, turn["end"] / RATE))
        return pd.DataFrame(rows, columns=["file", "start", "end"])


def score(segments, spoken, waves):
    """Miss, false alarm and accuracy over the steps of all clips."""
    heard = [
        rasterise(*segments.loc[segments.file == row, ["start", "end"]].to_numpy().T, len(wave))
        for row, wave in enumerate(waves)
    ]
    heard, truth = np.concatenate(heard), np.concatenate(spoken)
    return {
        "miss": float((truth & ~heard).sum() / truth.sum()),
        "false alarm": float((heard & ~truth).sum() / (~truth).sum()),
        "accuracy": float((heard == truth).mean()),
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
    """Median seconds of a call, after a first one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def draw(curves, points, path):
    """ROC curves, with the decisions after smoothing as points on or off them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
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
    figure.savefig(path, dpi=120)


def main():
    """Measure, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("vad.json"))
    parser.add_argument("--skip", nargs="*", default=[], help="clips to leave out")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
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
        for name, detector in {**detectors, "silero-vad, its own smoothing": Silero()}.items():
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
    lines = ["| condition | detector | miss | false alarm | accuracy | AUC of frames |"]
    lines.append("|---" * 6 + "|")
    for row in rows:
        figures = f"{row['miss']:.1%} | {row['false alarm']:.1%} | {row['accuracy']:.1%}"
        area = f"{row['auc']:.3f}" if "auc" in row else ""
        lines.append(f"| {row['condition']} | {row['detector']} | {figures} | {area} |")
    lines += ["", "| one core | times real time |", "|---|---|"]
    lines += [f"| {name} | {times:.0f} |" for name, times in speed.items()]
    text = "\n".join(lines) + "\n"
    print(text)
    write_text(options.out, json.dumps({"rows": rows, "speed": speed}, indent=1))
    write_text(options.out.with_suffix(".md"), text)
    draw(curves, points, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
