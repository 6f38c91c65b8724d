"""Last training of the voice activity detector that ships, on what its teacher hears in rooms.

    python -m recipes.tune_vad --start results/vad/speechsent-unet-vad.safetensors

The labels of recipes.train_vad are those of clean recordings: the network learns to find every
voice, also one that next to nothing is left of in the mixture, and takes sounds of real rooms for
such voices. Here silero-vad (MIT) also hears the mixtures, scenes as there under noise and sounds
of 3 dB less than the speech at most: speech is what it marks both in the clean recording and in the
mixture. A third of the mixtures have noise of all strengths and the labels of train_vad, so that
speech in noise, which the teacher misses, is not lost. The 226 speakers are the same.

Processes make the mixtures and store them in --run: the same command resumes from those that are
there. Then come some passes over all of them, each from other starts and in other blocks. The
weights are the mean of those of the last steps. They are written as float16, with the record of the
training next to them; experiments.vad measures the file and, with --choose, its thresholds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments._harness.command import make_parser
from experiments._harness.files import write_text
from recipes import _training as training
from recipes import sounds, train_vad
from recipes._mixing import ROOMS, Mixer
from recipes._scenes import LENGTH, SHIFT, make_tracks
from sklearn_speechsent.pretrained import build_vad, load_vad_weights, save_vad_weights
from sklearn_speechsent.utils.files import atomic_write

#: Scenes of a part of the mixtures, and mixtures of each: a part is a batch, about.
SCENES, TIMES = 16, 2
#: Largest learning rate, steps until it is reached, and steps that the mean reaches back, about.
PEAK, WARM_UP, MEMORY = 5e-4, 30, 100
#: Frames that a batch may start later, and deviation of the gain of each band (nepers).
LATER, COLOURED = 96, 0.05


def heard(teacher: Any, wave: Tensor) -> NDArray[np.float64]:
    """Probability of speech in each frame of a mixture, of any level."""
    wave = 0.05 * wave / wave.square().mean().sqrt()
    found = teacher.audio_forward(wave[None], sounds.RATE)[0].numpy()
    windows = (np.arange(len(found)) + 0.5) * train_vad.WINDOW
    frames = np.arange(1 + (len(wave) - LENGTH) // SHIFT) * SHIFT + LENGTH / 2
    return np.interp(frames, windows, found)


def make_part(number: int, options: Any) -> None:
    """Make and store some mixtures with their labels: two parts of rooms, one of any noise."""
    path = options.run / f"part{number:03d}.npz"
    if path.exists():
        return
    from silero_vad import load_silero_vad

    teacher = load_silero_vad()
    torch.set_num_threads(1)
    speech, _ = train_vad.load_labelled(options.teacher)
    rng = np.random.default_rng([options.seed, number])
    tracks = make_tracks(SCENES, train_vad.SECONDS, speech, rng)
    mixer = Mixer("cpu")
    if number % 3 == 0:
        frames, labels = mixer.mix(tracks, TIMES, [options.seed, number, 1])
    else:
        waves, truths = mixer.waves(tracks, TIMES, rng, ROOMS)
        frames, found = mixer.log_mel(waves), [heard(teacher, wave) for wave in waves]
        labels = torch.minimum(truths, torch.from_numpy(np.stack(found)).float())
    content = BytesIO()
    np.savez(content, frames=frames.half().numpy(), labels=labels.half().numpy())
    atomic_write(path, content.getvalue())


def load_parts(options: Any) -> tuple[Tensor, Tensor]:
    """Frames (n, time, mel) and labels (n, time) of all mixtures, made as far as they are not."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context) as pool:
        numbers = range(options.parts)
        for _ in pool.map(make_part, numbers, [options] * options.parts):
            pass
    parts = [np.load(options.run / f"part{number:03d}.npz") for number in range(options.parts)]
    frames, labels = (np.concatenate([part[k] for part in parts]) for k in ("frames", "labels"))
    return torch.from_numpy(frames), torch.from_numpy(labels)


def train(network: nn.Module, frames: Tensor, labels: Tensor, options: Any) -> dict[str, Tensor]:
    """Train a network for some passes; returns the mean of its last weights."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=training.DECAY)
    rng = np.random.default_rng(options.seed)
    size = SCENES * TIMES
    n_steps, step = options.passes * (len(frames) // size), 0
    mean = {name: value.detach().clone() for name, value in network.state_dict().items()}
    network.train()
    for _ in range(options.passes):
        batches = torch.from_numpy(rng.permutation(len(frames))).split(size)
        for rows in batches[: len(frames) // size]:
            start = int(rng.integers(LATER))
            colour = torch.from_numpy(rng.normal(0, COLOURED, (size, 1, frames.shape[2]))).float()
            x, wanted = frames[rows, start:].float() + colour, labels[rows, start:].float()
            rate = PEAK * min(1.0, (step + 1) / WARM_UP)
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * step / n_steps))
            losses = train_vad.losses_of(network, x, wanted, rng)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), training.CLIP)
            optimizer.step()
            training.follow(mean, network, step, MEMORY)
            step += 1
            if step % 25 == 0:
                values = {name: round(float(value.detach()), 4) for name, value in losses.items()}
                print(f"{step} of {n_steps}", json.dumps(values), flush=True)
    return mean


def main() -> None:
    """Make mixtures, train, write the weights."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--run", type=Path, default=Path("results/tuned"))
    parser.add_argument("--start", type=Path, required=True, help="weights of recipes.train_vad")
    parser.add_argument("--teacher", type=Path, default=Path("results/vad"), help="its --run")
    parser.add_argument("--parts", type=int, default=75, help="of 32 mixtures of 8 s each")
    parser.add_argument("--passes", type=int, default=5, help="over all mixtures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes for mixtures")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    _, unseen = train_vad.load_labelled(options.teacher)
    started = time.perf_counter()
    frames, labels = load_parts(options)
    weights = load_vad_weights(options.start)
    network = build_vad(weights)
    mean = train(network, frames, labels, options)
    network.load_state_dict(mean)
    tracks = make_tracks(32, train_vad.SECONDS, unseen, np.random.default_rng(options.seed))
    held_out = Mixer("cpu").mix(tracks, 2, [options.seed, 2])
    record = {name: getattr(options, name) for name in ("parts", "passes", "seed")}
    record |= {"start": weights.sha256, "seconds": round(time.perf_counter() - started, 1)}
    record["held out"] = train_vad.validate(network.eval(), *held_out)
    path = save_vad_weights(
        options.run / "speechsent-unet-vad.safetensors",
        training.halved(mean),
        architecture=weights.architecture,
        frame_settings=weights.frame_settings,
        extra={**weights.extra, "tuned": record},
    )
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1))
    print(json.dumps(record), path)


if __name__ == "__main__":
    main()
