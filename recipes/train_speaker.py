"""Train the speaker network that ships with the package, by distillation.

    python benchmarks/train_speaker.py --run first
    python benchmarks/train_speaker.py --run then --refine first/checkpoint.pt --steps 600 --seed 1

A small SR-SEResNet learns to do what a large pre-trained one does: on every chunk of speech it is
shown the maps of the teacher's blocks 2 and 3 and its embedding, and it has to tell the training
speakers apart (AAM-softmax). The second command goes on from there, and also looks at what pooling
makes of block 3, in which utterances differ by less than in their maps. Speech: 251 utterances of
LibriSpeech train-clean-100 (CC BY 4.0), played faster and slower, in rooms, under generated noise,
through codecs, at all levels, afresh in every step. Teacher and student hear the same; the teacher
only answers, its training data are nowhere used. Eleven speakers are held out to watch progress.

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
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import _sounds as sounds
import _training as training
import numpy as np
import torch
from _resume import write_text
from _speech import load_speech
from torch.nn import functional as F

from sklearn_speechsent import MelFilterBank, SlidingCMN
from sklearn_speechsent.nn import AAMSoftmax, SpeakerResNet
from sklearn_speechsent.pretrained import build_network, load_weights, save_weights

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
REFINING = {**LOSSES, "block 2": 0.5, "statistics": 2.0}
BATCH, SECONDS, PEAK, REFINING_PEAK = 16, 2.0, 2e-3, 8e-4
#: Part of the steps in which each block is given the teacher's maps to go on from: all blocks learn
#: at once then, instead of each waiting for those below.
APART = 0.3
HELD_OUT = 11


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


def chunks(speech, rng):
    """Frames of chunks of ``BATCH`` speakers, and their voices."""
    speakers = rng.choice(len(speech), BATCH, replace=False)
    waves, voices = zip(*(perturbed_chunk(speech, s, rng) for s in speakers), strict=True)
    return make_frames(waves), torch.tensor(voices)


class Listener:
    """A speaker network that also gives the maps it made on the way, or goes on from others."""

    def __init__(self, network):
        self.network = network.to(memory_format=torch.channels_last)
        self.maps, self.given = {}, None
        for number in (2, 3):
            name = f"block {number}"
            last = getattr(network, f"layer{number}")[-1]
            last.register_forward_hook(lambda _, __, out, n=name: self.maps.update({n: out[0]}))
            following = getattr(network, f"layer{number + 1}")[0]
            following.register_forward_pre_hook(lambda _, inputs, n=name: self._go_on(n, inputs))

    def _go_on(self, name, inputs):
        return inputs if self.given is None else (self.given[name], inputs[1])

    def __call__(self, frames, given=None):
        """Maps of blocks 2 and 3 and the embedding; with ``given`` maps, block by block."""
        self.given = given
        embedding = self.network(frames, torch.full((len(frames),), frames.shape[1])).float()
        maps = {name: made.float() for name, made in self.maps.items()}
        return {**maps, "embedding": embedding}


def distances(student, teacher):
    """Unexplained variance of the maps, and one minus the cosine of the embeddings."""
    result = {}
    for name, wanted in teacher.items():
        if name == "embedding":
            result[name] = (1 - F.cosine_similarity(student[name], wanted, dim=1)).mean()
        else:  # every channel counts alike, however loud it is, unless it is nearly dead
            error = (student[name] - wanted).square().mean(dim=(0, 2, 3))
            variance = wanted.var(dim=(0, 2, 3))
            result[name] = (error / (variance + 0.03 * variance.mean())).mean()
    return result


def pooled(maps, n_bands=10):
    """Roots of means and deviations over time in bands, as the light route has them."""
    n, channels, frequencies, time = maps.shape
    bands = maps.reshape(n, channels, n_bands, frequencies // n_bands, time).mean(dim=3)
    # A unit that is silent all along has no gradient of its deviation without the constants.
    deviation = (bands.var(dim=3) + 1e-6).sqrt()
    return (torch.cat([bands.mean(dim=3), deviation], dim=1) + 1e-4).sqrt().flatten(1)


def unlike(student, teacher):
    """Unexplained variance, between the utterances of a batch, of statistics of block 3."""
    heard, wanted = pooled(student["block 3"]), pooled(teacher["block 3"])
    variance = wanted.var(dim=0)
    return ((heard - wanted).square().mean(dim=0) / (variance + 0.1 * variance.mean())).mean()


def main():
    """Train, then write weights and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    training.add_options(parser, "first", 2200)
    parser.add_argument("--refine", type=Path, help="checkpoint to go on from, in another --run")
    options = parser.parse_args()
    weights, peak, apart = LOSSES, PEAK, APART
    if options.refine:
        weights, peak, apart = REFINING, REFINING_PEAK, 0.0
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    everyone = load_speech()
    unseen, speech = everyone[:HELD_OUT], everyone[HELD_OUT:]
    n = int(SECONDS * sounds.RATE)
    starts = [np.linspace(0, max(len(wave) - n, 0), 3).astype(int) for wave in unseen]
    watched = make_frames(
        [np.resize(w[i : i + n], n) for w, row in zip(unseen, starts, strict=True) for i in row]
    )
    checkpoint = load_weights(TEACHER)
    teacher = Listener(build_network(checkpoint))
    student = Listener(SpeakerResNet(**ARCHITECTURE).train())
    head = AAMSoftmax(ARCHITECTURE["embedding_size"], 3 * len(speech))

    if options.refine:
        saved = torch.load(options.refine, weights_only=True)
        student.network.load_state_dict(saved["network"])
        head.load_state_dict(saved["head"])

    def make_batch(seed, step):
        return step, *chunks(speech, np.random.default_rng([seed, step]))

    def losses_of(batch):
        step, frames, voices = batch
        with training.autocast(options.precision):
            with torch.no_grad():
                wanted = teacher(frames)
            heard = student(frames, wanted if step < apart * options.steps else None)
        losses = distances(heard, wanted)
        if options.refine:
            losses["statistics"] = unlike(heard, wanted)
        return losses | {"speakers": head.loss(heard["embedding"], voices).mean()}

    def watch():
        student.network.eval()
        with torch.inference_mode(), training.autocast(options.precision):
            heard, wanted = student(watched), teacher(watched)
            measured = distances(heard, wanted) | {"statistics": unlike(heard, wanted)}
        student.network.train()
        return {name: round(float(value), 4) for name, value in measured.items()}

    modules = {"network": student.network, "head": head}
    record = training.train(options, modules, make_batch, losses_of, weights, watch, peak)
    path = options.weights or options.run / "speechsent-seresnet.safetensors"
    save_weights(
        path,
        training.halved(student.network.state_dict()),
        architecture=ARCHITECTURE,
        frame_settings=checkpoint.frame_settings,
        extra={
            "licence": "CC BY 4.0",
            "data": f"LibriSpeech train-clean-100, one utterance of each of {len(speech)} speakers",
            "teacher": TEACHER,
            "seed": options.seed,
            "steps": options.steps,
            "refined": bool(options.refine),
        },
    )
    write_text(path.with_suffix(".json"), json.dumps({**record, "losses": weights}, indent=1))
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
