"""Training of the voice activity detector that ships with the package.

    python -m recipes.train_vad --run results/vad --teacher results/vad [--steps 3500]
    python -m recipes.train_vad --run results/vad --teacher results/vad --device cuda --seconds 150

A small U-net learns to mark speech in the frames of scenes that are composed differently in every
step: excerpts of one or several speakers, far and near, one after the other or at once, with pauses
of up to 10 s, in rooms; under steady noise of -5 to 25 dB, music, clatter, rustling, babble,
laughter, humming and breath, or in quiet rooms; through codecs and telephones, from -62 to -10
dBFS. Speech: 251 utterances of LibriSpeech train-clean-100 (CC BY 4.0). Their speech was marked on
the clean recordings by silero-vad (MIT), run at three offsets; speech that noise drowns for more
than a quarter of a second does not count. Noises and rooms are generated, or come from the pauses
of the recordings. Twenty-five speakers are held out for validation.

Each scene is scored twice: as a whole, and in blocks as streams have it, with a limited context and
look-ahead, so that the same weights serve both. The weights are the mean of those of the last
steps.

Processes make the voices and noises ahead; the device mixes each of them several times. The run
may be interrupted at any moment: the same command resumes from the last state in --run. Weights are
written as float16 to --weights, with the record of the training next to them. experiments.vad
measures the file on other recordings.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments._harness.command import make_parser
from experiments._harness.files import write_text
from recipes import _training as training
from recipes import sounds
from recipes._mixing import Mixer
from recipes._scenes import SHIFT, Speech, Tracks, make_tracks
from recipes._speech import load_speech
from sklearn_speechsent.inference.detection import BLOCK, CONTEXT, LOOK_AHEAD
from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.nn.unet import frame_levels, utterance_levels
from sklearn_speechsent.pretrained import get_weights, save_vad_weights
from sklearn_speechsent.utils.files import atomic_write
from sklearn_speechsent.utils.silence import DIGITAL_FLOOR

#: Seconds of each scene; largest learning rate, and the steps until it is reached.
SECONDS, PEAK, WARM_UP = 8.0, 3e-3, 200
#: Blocks of each mixture that are scored as streams have them.
BLOCKS = 2
WIDTHS = (48, 64, 72, 88, 104, 112)
HELD_OUT = 25
#: Samples of a window of the teacher.
WINDOW = 512


def teach(waves: list[sounds.Wave], folder: Path) -> list[sounds.Wave]:
    """Probability of speech every 10 ms of each clean recording, stored in a file.

    The teacher has windows of 32 ms. With shifted starts, the mean over the windows that contain an
    instant tells where in a window speech began.
    """
    path = folder / "teacher.npz"
    if path.exists():
        with np.load(path) as stored:
            return [stored[str(i)] for i in range(len(waves))]
    from silero_vad import load_silero_vad

    threads = torch.get_num_threads()
    teacher = load_silero_vad()  # sets one thread for the whole process
    torch.set_num_threads(threads)
    labels = []
    for wave in waves:
        centres = np.arange(0, len(wave), SHIFT) + SHIFT // 2
        votes = np.zeros(len(centres))
        for offset in (0, 171, 341):
            padded = np.concatenate([np.zeros(offset, np.float32), wave])
            found = teacher.audio_forward(torch.from_numpy(padded)[None], sounds.RATE)[0].numpy()
            votes += found[np.minimum((centres + offset) // WINDOW, len(found) - 1)] / 3
        labels.append(votes.astype(np.float32))
    content = BytesIO()
    np.savez(content, **{str(i): votes for i, votes in enumerate(labels)})
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content.getvalue())
    return labels


def load_labelled(folder: Path) -> tuple[Speech, Speech]:
    """Speech to train on, and that of the speakers that are held out."""
    waves = load_speech()
    labels = teach(waves, folder)
    unseen = Speech(waves[:HELD_OUT], labels[:HELD_OUT])
    return Speech(waves[HELD_OUT:], labels[HELD_OUT:]), unseen


_speech: Speech  # of a process that makes tracks


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # one that was killed ends no pool
    os._exit(1)


def _begin(folder: Path) -> None:
    global _speech
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _speech, _ = load_labelled(folder)


def _tracks(scenes: int, seed: int, step: int) -> Tracks:
    return make_tracks(scenes, SECONDS, _speech, np.random.default_rng([seed, step]))


def tracks_ahead(options: Any, first: int) -> Iterator[Tracks]:
    """Tracks of every step from the first one, made by processes that work ahead."""
    # A forked process would share the state of torch and CUDA.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.jobs, context, initializer=_begin, initargs=(options.teacher,)
    ) as pool:
        ahead, step = deque(), first
        try:
            while True:
                while len(ahead) < 3 * options.jobs:
                    ahead.append(pool.submit(_tracks, options.scenes, options.seed, step))
                    step += 1
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def level_of(frames: Tensor) -> Tensor:
    """Level of each of some utterances of equal length."""
    lengths = torch.full((len(frames),), frames.shape[1], device=frames.device)
    return utterance_levels(*frame_levels(frames), lengths)


def score(network: nn.Module, frames: Tensor, level: Tensor) -> Tensor:
    """Logit of every frame of utterances of equal length."""
    # Lengths on the processor tell at once that nothing is padded.
    return network(frames, torch.full((len(frames),), frames.shape[1]), level).float()


def score_blocks(network: nn.Module, frames: Tensor, starts: Tensor) -> Tensor:
    """Logits of one block of each utterance, computed as streams have it.

    Parameters
    ----------
    network : SpeechUNet
    frames : Tensor of shape (n, time, mel)
    starts : Tensor of shape (n,), int64
        First frame of each block.

    Returns
    -------
    Tensor of shape (n, BLOCK)
    """
    stride = network.time_stride
    seen = -(-network.half_width // stride) * stride
    padded = F.pad(frames, (0, 0, CONTEXT, BLOCK + LOOK_AHEAD), value=DIGITAL_FLOOR - 1e-3)
    around = starts[:, None] + torch.arange(CONTEXT + BLOCK + LOOK_AHEAD, device=frames.device)
    window = padded.gather(1, around[:, :, None].expand(-1, -1, frames.shape[2]))
    logits = score(network, window[:, CONTEXT - seen :], level_of(window))
    return logits[:, seen : seen + BLOCK]


def at_blocks(truths: Tensor, starts: Tensor) -> Tensor:
    """Truths of one block of each utterance."""
    return truths.gather(1, starts[:, None] + torch.arange(BLOCK, device=truths.device))


def losses_of(
    network: nn.Module, frames: Tensor, truths: Tensor, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Cross-entropy of whole scenes and of blocks of them."""
    # A long recording may have another level than its part.
    moved = torch.from_numpy(rng.normal(0, 0.3, len(frames))).to(frames)
    whole = score(network, frames, level_of(frames) + moved)
    last = frames.shape[1] - BLOCK
    starts = rng.integers(0, last + 1, BLOCKS * len(frames))
    starts = torch.from_numpy(starts).to(frames.device)
    several, wanted = (x.repeat_interleave(BLOCKS, 0) for x in (frames, truths))
    blocks = score_blocks(network, several, starts)
    return {
        "frames": F.binary_cross_entropy_with_logits(whole, truths),
        "blocks": F.binary_cross_entropy_with_logits(blocks, at_blocks(wanted, starts)),
    }


def learning_rate(step: int, n_steps: int) -> float:
    """Warm up linearly, for a number of steps that is known before theirs is; then fall."""
    if step < WARM_UP:
        return PEAK * (step + 1) / WARM_UP
    share = (step - WARM_UP) / max(1, n_steps - WARM_UP)
    return PEAK * 0.5 * (1 + np.cos(np.pi * min(1.0, share)))


def validate(network: nn.Module, frames: Tensor, truths: Tensor) -> dict[str, float]:
    """Figures of whole scenes and of their blocks, at a threshold of one half."""
    spoken = truths > 0.5
    firsts = range(0, frames.shape[1] - BLOCK + 1, 4 * BLOCK)
    starts = [torch.full((len(frames),), first, device=frames.device) for first in firsts]
    with torch.inference_mode():
        whole = score(network, frames, level_of(frames)) > 0
        blocks = torch.cat([score_blocks(network, frames, start) for start in starts], 1) > 0
    causal = blocks == torch.cat([at_blocks(spoken, start) for start in starts], 1)
    figures = {
        "miss": (spoken & ~whole).sum() / spoken.sum(),
        "false alarm": (whole & ~spoken).sum() / (~spoken).sum(),
        "accuracy": (whole == spoken).float().mean(),
        "accuracy of blocks": causal.float().mean(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


class Run:
    """Training from the state that is stored in a folder, if there is one."""

    def __init__(self, options: Any) -> None:
        self.options, self.path = options, options.run / training.STATE
        torch.manual_seed(options.seed)
        torch.backends.cudnn.benchmark = True  # shapes are always the same
        self.network = SpeechUNet(widths=WIDTHS).to(options.device).train()
        self.mixer = Mixer(options.device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=PEAK, weight_decay=training.DECAY
        )
        names = ("steps", "seconds", "scenes", "times", "seed", "precision")
        asked = {name: getattr(options, name) for name in names}
        self.record: dict[str, Any] = {"asked": asked, "step": 0, "elapsed": 0.0, "history": []}
        self.record["steps"] = options.steps if options.seconds is None else None
        if self.path.exists():
            saved = torch.load(self.path, map_location=options.device, weights_only=True)
            self.record = json.loads(saved["record"])
            if self.record["asked"] != asked:
                raise SystemExit(f"{self.path}: {self.record['asked']}. Choose another --run.")
            self.network.load_state_dict(saved["network"])
            self.average = saved["average"]
            self.optimizer.load_state_dict(saved["optimizer"])

    def train(self, validation: tuple[Tensor, Tensor]) -> None:
        """Take the steps that are left."""
        options, record = self.options, self.record
        first, tracks = record["step"], tracks_ahead(options, record["step"])
        upcoming = next(tracks)
        begun = stored = time.perf_counter()
        before, sums, count, rate_from = record["elapsed"], {}, 0, begun
        while record["step"] != record["steps"]:
            step = record["step"]
            losses = self._step(upcoming, step)
            record["step"] = step + 1
            now = time.perf_counter()
            if step + 1 == WARM_UP // 2:
                rate_from = now
            if step + 1 == WARM_UP and record["steps"] is None:
                rate = (WARM_UP - WARM_UP // 2) / (now - rate_from)
                left = options.seconds - (now - begun)
                record["steps"] = WARM_UP + max(1, int(rate * left))
                print(f"{rate:.1f} steps a second: {record['steps']} steps", flush=True)
            sums = {k: sums.get(k, 0.0) + v.detach().double() for k, v in losses.items()}
            count += 1
            done = record["step"] == record["steps"]
            if done or now - stored > training.SAVE_EVERY:
                record["elapsed"] = round(before + now - begun, 1)
                entry = {"step": step + 1, "seconds": record["elapsed"]}
                entry |= {name: round(float(value) / count, 4) for name, value in sums.items()}
                entry["held out"] = validate(self.averaged(), *validation)
                record["history"].append(entry)
                rate = (step + 1 - first) / (now - begun)
                made = options.scenes * options.times
                print(
                    json.dumps(entry),
                    f"{rate:.1f} steps, {rate * made:.0f} mixtures a second",
                    flush=True,
                )
                self.store()
                stored, sums, count = time.perf_counter(), {}, 0
            if not done:
                upcoming = next(tracks)
        tracks.close()

    def _step(self, tracks: Tracks, step: int) -> dict[str, Tensor]:
        options = self.options
        with torch.no_grad():
            mixed = self.mixer.mix(tracks, options.times, [options.seed, step, 1])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.record["steps"] or 10**9)
        rng = np.random.default_rng([options.seed, step, 2])
        with torch.autocast(
            self.mixer.device.type, torch.bfloat16, enabled=options.precision == "bfloat16"
        ):
            losses = losses_of(self.network, *mixed, rng)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), training.CLIP)
        self.optimizer.step()
        training.follow(self.average, self.network, step)
        return losses

    def averaged(self) -> SpeechUNet:
        """Network of the mean weights."""
        network = SpeechUNet(widths=WIDTHS).to(self.options.device)
        network.load_state_dict(self.average)
        return network.eval()

    def store(self) -> None:
        """Write the state to resume from, and the weights as they are now."""
        content = BytesIO()
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "record": json.dumps(self.record),
            },
            content,
        )
        atomic_write(self.path, content.getvalue())
        path = self.options.weights or self.options.run / "speechsent-unet-vad.safetensors"
        save_vad_weights(
            path,
            training.halved({k: v.cpu() for k, v in self.average.items()}),
            architecture=self.network.architecture,
            frame_settings=get_weights("speechsent-unet-vad").frame_settings,
            extra={
                "licence": "CC BY 4.0",
                "data": "LibriSpeech train-clean-100, one utterance of each of 226 speakers",
                "teacher": "silero-vad",
                "seed": self.options.seed,
                "steps": self.record["step"],
            },
        )
        write_text(path.with_suffix(".json"), json.dumps(self.record, indent=1))


def main() -> None:
    """Train, storing weights and record on the way."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--run", type=Path, default=Path("results/vad"), help="folder to resume")
    parser.add_argument("--teacher", type=Path, help="folder of teacher.npz (--run)")
    parser.add_argument("--weights", type=Path, default=None, help="default: in --run")
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--seconds", type=float, help="instead of --steps: as many as fit in")
    parser.add_argument("--scenes", type=int, default=16, help="of a step")
    parser.add_argument("--times", type=int, default=4, help="mixtures of each scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes for scenes")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    options.teacher = options.teacher or options.run
    options.run.mkdir(parents=True, exist_ok=True)
    _, unseen = load_labelled(options.teacher)
    run = Run(options)
    tracks = make_tracks(32, SECONDS, unseen, np.random.default_rng([options.seed, 2**32 - 1]))
    run.train(run.mixer.mix(tracks, 2, [options.seed, 2**32 - 1]))


if __name__ == "__main__":
    main()
