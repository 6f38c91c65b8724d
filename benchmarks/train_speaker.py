"""Train the speaker network that ships with the package, by distillation.

    python benchmarks/train_speaker.py --run results/speaker [--steps 1800]

A small SR-SEResNet learns to do what a large pre-trained one does: on every chunk of speech it is
shown the maps of the teacher's blocks 2 and 3 and its embedding, and it has to tell the training
speakers apart (AAM-softmax). Speech: 251 utterances of LibriSpeech train-clean-100 (CC BY 4.0),
played faster and slower, in rooms, under generated noise, through codecs, at all levels, afresh in
every step. Teacher and student hear the same; the teacher only answers, its training data are
nowhere used. Eleven speakers are held out to watch progress.

The run can be killed at any moment: the same command goes on from the last checkpoint in --run and
ends with the same weights. They are written as float16 to --weights, with what was measured during
training beside them. benchmarks/speaker_weights.py measures the file.

References
----------
L. Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022
(teacher and student see the same, heavily perturbed input, for long).
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import _sounds as sounds
import numpy as np
import soundfile
import torch
from _resume import write_text
from torch import nn
from tqdm.auto import tqdm

from sklearn_speechsent import MelFilterBank, SlidingCMN
from sklearn_speechsent.datasets import get_data_home
from sklearn_speechsent.nn import AAMSoftmax, SpeakerResNet
from sklearn_speechsent.pretrained import build_network, load_checkpoint, save_checkpoint

TEACHER = "wespeaker-voxceleb-resnet34"
ARCHITECTURE = {
    "n_mels": 80,
    "widths": (32, 64, 128, 256),
    "depths": (2, 2, 2, 2),
    "se_ratio": 8,
    "embedding_size": 256,
}
#: Weights of the losses. AAM-softmax counts in nats of some hundred classes: it is to steer, not
#: to lead, for one utterance per speaker teaches the session as much as the voice.
LOSSES = {"block 2": 1.0, "block 3": 1.0, "embedding": 2.0, "speakers": 0.02}
BATCH, SECONDS, EPOCH = 24, 2.5, 60
PEAK, WARM_UP, DECAY = 2e-3, 0.1, 1e-4
HELD_OUT = 11


def load_speech():
    """Waveforms of the training speakers, one each, in a fixed order."""
    folder = get_data_home() / "librispeech_excerpts" / "train-clean-100"
    files = sorted(folder.rglob("*.flac"))
    if not files:
        raise SystemExit(f"There are no recordings in {folder}: set SPEECHSENT_DATA.")
    return [soundfile.read(file, dtype="float32")[0] for file in files]


def perturbed_chunk(speech, speaker, rng):
    """A chunk of one speaker as some microphone may have heard it, and which voice it is.

    A voice played faster or slower by more than a few per cent counts as another speaker.
    """
    n = int(SECONDS * sounds.RATE)
    speed = float(np.exp(rng.uniform(np.log(0.75), np.log(1.4)))) if rng.random() < 0.7 else 1.0
    wave = speech[speaker]
    length = min(len(wave), int(n * speed) + 64)
    start = rng.integers(0, len(wave) - length + 1)
    wave = np.resize(sounds.change_speed(wave[start : start + length], speed), n)
    if rng.random() < 0.3:
        wave = sounds.reverberate(wave, rng)
    if rng.random() < 0.25:  # acted and spontaneous speech alike come with silence around them
        kept = int(n * rng.uniform(0.3, 0.9))
        begin = rng.integers(0, n - kept + 1)
        wave = np.concatenate([np.zeros(begin), wave[:kept], np.zeros(n - kept - begin)])
        wave = (wave + 10 ** rng.uniform(-5, -3) * sounds.coloured_noise(n, rng)).astype("f")
    if rng.random() < 0.5:
        noise = sounds.interference(n, rng, speech)
        wave = wave + noise * np.float32(sounds.level(wave) * 10 ** (-rng.uniform(0, 25) / 20))
    if rng.random() < 0.3:
        wave = sounds.colour(wave, rng)
    voice = 0 if 0.94 < speed < 1.06 else (1 if speed < 1 else 2)
    return sounds.record(wave, rng.uniform(-50, -12), rng), speaker + voice * len(speech)


def make_frames(waves):
    """Frames as the teacher wants them, of shape (n, time, mel)."""
    frames = SlidingCMN(window=None).fit_transform(MelFilterBank().fit_transform(waves))
    return torch.from_numpy(frames.base.reshape(len(waves), -1, frames.frame_shape[0]))


def make_batch(speech, seed, step):
    """Frames and voices of one step; the same for the same seed and step."""
    rng = np.random.default_rng([seed, step])
    speakers = rng.choice(len(speech), BATCH, replace=False)
    waves, voices = zip(*(perturbed_chunk(speech, s, rng) for s in speakers), strict=True)
    return make_frames(waves), torch.tensor(voices)


class Listener:
    """A speaker network that also gives the maps it made on the way."""

    def __init__(self, network):
        self.network = network.to(memory_format=torch.channels_last)
        self.maps = {}
        for number in (2, 3):
            block = getattr(network, f"layer{number}")[-1]
            block.register_forward_hook(
                lambda _, __, output, name=f"block {number}": self.maps.update({name: output[0]})
            )

    def __call__(self, frames):
        """Maps by name, and the embedding, in float32."""
        lengths = torch.full((len(frames),), frames.shape[1])
        embedding = self.network(frames, lengths)
        return {name: maps.float() for name, maps in self.maps.items()} | {
            "embedding": embedding.float()
        }


def distances(student, teacher):
    """Unexplained variance of the maps, and one minus the cosine of the embeddings."""
    result = {}
    for name, wanted in teacher.items():
        if name == "embedding":
            cosine = nn.functional.cosine_similarity(student[name], wanted, dim=1)
            result[name] = (1 - cosine).mean()
        else:  # every channel counts alike, however loud it is
            error = (student[name] - wanted).square().mean(dim=(0, 2, 3))
            variance = wanted.var(dim=(0, 2, 3))
            result[name] = (error / (variance + 1e-3 * variance.mean())).mean()
    return result


def learning_rate(step, n_steps):
    """Warm up linearly, then fall along half a cosine."""
    warm = WARM_UP * n_steps
    if step < warm:
        return PEAK * (step + 1) / warm
    return PEAK * 0.5 * (1 + np.cos(np.pi * (step - warm) / (n_steps - warm)))


def watch(student, teacher, frames, autocast):
    """Distances on chunks of held-out speakers, as they were recorded."""
    student.network.eval()
    with torch.inference_mode(), autocast():
        measured = distances(student(frames), teacher(frames))
    student.network.train()
    return {name: round(float(value), 4) for name, value in measured.items()}


def train(options):
    """All steps that are left; returns the network and the record of the run."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    bf16 = options.precision == "bfloat16"

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=bf16)

    everyone = load_speech()
    unseen, speech = everyone[:HELD_OUT], everyone[HELD_OUT:]
    n = int(SECONDS * sounds.RATE)
    starts = [np.linspace(0, max(len(wave) - n, 0), 3).astype(int) for wave in unseen]
    watched = make_frames(
        [np.resize(w[i : i + n], n) for w, row in zip(unseen, starts, strict=True) for i in row]
    )
    teacher = Listener(build_network(load_checkpoint(TEACHER)))
    student = Listener(SpeakerResNet(**ARCHITECTURE))
    head = AAMSoftmax(ARCHITECTURE["embedding_size"], 3 * len(speech))
    parameters = [*student.network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK, weight_decay=DECAY)
    settings = {"seed": options.seed, "steps": options.steps, "precision": options.precision}
    record = {**settings, "step": 0, "seconds": 0.0, "history": []}
    checkpoint = options.run / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        record = json.loads(saved["record"])
        if any(record[name] != value for name, value in settings.items()):
            raise SystemExit(f"{checkpoint} is of another run: {record}. Choose another --run.")
        student.network.load_state_dict(saved["network"])
        head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
    progress = tqdm(initial=record["step"], total=options.steps, unit="step", mininterval=10)
    started, sums = time.perf_counter() - record["seconds"], dict.fromkeys(LOSSES, 0.0)
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(make_batch, speech, options.seed, record["step"])
        for step in range(record["step"], options.steps):
            frames, voices = upcoming.result()
            upcoming = ahead.submit(make_batch, speech, options.seed, step + 1)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, options.steps)
            with torch.no_grad(), autocast():
                wanted = teacher(frames)
            with autocast():
                heard = student(frames)
            losses = distances(heard, wanted)
            losses["speakers"] = head.loss(heard["embedding"], voices).mean()
            loss = sum(LOSSES[name] * value for name, value in losses.items())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            sums = {name: sums[name] + float(losses[name].detach()) for name in sums}
            progress.update()
            if (step + 1) % EPOCH == 0 or step + 1 == options.steps:
                count = (step % EPOCH) + 1
                entry = {"step": step + 1}
                entry |= {name: round(value / count, 4) for name, value in sums.items()}
                entry["held out"] = watch(student, teacher, watched, autocast)
                progress.write(json.dumps(entry))
                sums = dict.fromkeys(LOSSES, 0.0)
                record["history"].append(entry)
                record |= {"step": step + 1, "seconds": round(time.perf_counter() - started, 1)}
                save(checkpoint, student.network, head, optimizer, record)
    return student.network.eval(), record


def save(checkpoint, network, head, optimizer, record):
    """Write a checkpoint in full or not at all."""
    temporary = checkpoint.with_suffix(".tmp")
    state = {"network": network, "head": head, "optimizer": optimizer}
    state = {name: module.state_dict() for name, module in state.items()}
    torch.save({**state, "record": json.dumps(record)}, temporary)
    os.replace(temporary, checkpoint)


def halved(state):
    """Weights in float16; statistics and biases, which take no room, stay as they are."""
    return {name: t.half() if t.ndim > 1 else t for name, t in state.items()}


def main():
    """Train, then write weights and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("results/speaker"), help="checkpoints")
    parser.add_argument("--weights", type=Path, default=None, help="default: in --run")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    network, record = train(options)
    path = options.weights or options.run / "speechsent-seresnet.safetensors"
    frontend = load_checkpoint(TEACHER).frontend
    save_checkpoint(
        path,
        halved(network.state_dict()),
        architecture=ARCHITECTURE,
        frontend=frontend,
        extra={
            "licence": "CC BY 4.0",
            "data": "LibriSpeech train-clean-100, one utterance of each of 240 speakers",
            "teacher": TEACHER,
            "seed": options.seed,
            "steps": options.steps,
        },
    )
    write_text(path.with_suffix(".json"), json.dumps({**record, "losses": LOSSES}, indent=1))
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
