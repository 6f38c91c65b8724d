"""Training of the speaker network that ships with the package, by distillation.

    python -m recipes.train_speaker --run first
    python -m recipes.train_speaker --run then --refine first/state.pt --steps 600 --seed 1

A small SR-SEResNet learns from a large pre-trained one: on every chunk of speech its targets are
the maps of the teacher's blocks 2 and 3 and its embedding, and it has to tell the training speakers
apart (AAM-softmax). The second command continues from there, with pooled statistics of block 3 as a
further target, in which utterances differ by less than in their maps. Speech: 251 utterances of
LibriSpeech train-clean-100 (CC BY 4.0), played faster and slower, in rooms, under generated noise,
through codecs, at all loudnesses, differently in every step. Teacher and student have the same
input; the training data of the teacher are not used. Eleven speakers are held out for validation.

The run may be interrupted at any moment: the same command resumes from the last state in --run and
ends with the same weights. They are written as float16 to --weights, with the record of the
training next to them. experiments.speaker_weights measures the file.

References
----------
L. Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022
(teacher and student see the same, heavily perturbed input, for long).
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from experiments._harness.command import make_parser
from experiments._harness.files import write_text
from recipes import _training as training
from recipes import sounds
from recipes._speech import load_speech
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
#: Weights of the losses. That of AAM-softmax, in nats of some hundred classes, is small: from one
#: utterance per speaker a network learns the recording as much as the voice.
LOSSES = {"block 2": 1.0, "block 3": 1.0, "embedding": 2.0, "speakers": 0.02}
REFINING = {**LOSSES, "block 2": 0.5, "statistics": 2.0}
BATCH, SECONDS, PEAK, REFINING_PEAK = 16, 2.0, 2e-3, 8e-4
#: Part of the steps in which each block gets the teacher's maps as input, so that all blocks learn
#: at once instead of each after those below.
APART = 0.3
HELD_OUT = 11


def perturbed_chunk(speech, speaker, rng):
    """Chunk of one speaker as recorded in some room and channel, and the number of its voice.

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
    if rng.random() < 0.25:  # recordings have silence around the speech
        length = int(n * rng.uniform(0.3, 0.9))
        begin = rng.integers(0, n - length + 1)
        wave = np.concatenate([np.zeros(begin), wave[:length], np.zeros(n - length - begin)])
        wave = (wave + 10 ** rng.uniform(-5, -3) * sounds.coloured_noise(n, rng)).astype("f")
    if rng.random() < 0.5:
        noise = sounds.interference(n, rng, speech)
        wave = wave + noise * np.float32(sounds.loudness(wave) * 10 ** (-rng.uniform(0, 25) / 20))
    if rng.random() < 0.3:
        wave = sounds.colour(wave, rng)
    voice = 0 if 0.94 < speed < 1.06 else (1 if speed < 1 else 2)
    return sounds.record(wave, rng.uniform(-50, -12), rng), speaker + voice * len(speech)


def make_frames(waves):
    """Frames for the teacher, of shape (n, time, mel)."""
    frames = SlidingCMN(window=None).fit_transform(MelFilterBank().fit_transform(waves))
    return torch.from_numpy(frames.base.reshape(len(waves), -1, frames.frame_shape[0]))


def chunks(speech, rng):
    """Frames of chunks of ``BATCH`` speakers, and their voices."""
    speakers = rng.choice(len(speech), BATCH, replace=False)
    waves, voices = zip(*(perturbed_chunk(speech, s, rng) for s in speakers), strict=True)
    return make_frames(waves), torch.tensor(voices)


class Tapped:
    """Speaker network that returns maps of its blocks too, or computes blocks from given maps."""

    def __init__(self, network):
        self.network = network.to(memory_format=torch.channels_last)
        self.maps, self.given = {}, None
        for number in (2, 3):
            name = f"block {number}"
            last = getattr(network, f"layer{number}")[-1]
            last.register_forward_hook(lambda _, __, out, n=name: self.maps.update({n: out[0]}))
            following = getattr(network, f"layer{number + 1}")[0]
            following.register_forward_pre_hook(lambda _, inputs, n=name: self._replace(n, inputs))

    def _replace(self, name, inputs):
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
        else:  # every channel counts alike, except for those of nearly no variance
            error = (student[name] - wanted).square().mean(dim=(0, 2, 3))
            variance = wanted.var(dim=(0, 2, 3))
            result[name] = (error / (variance + 0.03 * variance.mean())).mean()
    return result


def pooled(maps, n_bands=10):
    """Roots of means and deviations over time in bands, as in SpeakerFeatureExtractor."""
    n, channels, frequencies, time = maps.shape
    bands = maps.reshape(n, channels, n_bands, frequencies // n_bands, time).mean(dim=3)
    # Without the constants the deviation of a unit that is always zero has no finite gradient.
    deviation = (bands.var(dim=3) + 1e-6).sqrt()
    return (torch.cat([bands.mean(dim=3), deviation], dim=1) + 1e-4).sqrt().flatten(1)


def unlike(student, teacher):
    """Unexplained variance, between the utterances of a batch, of statistics of block 3."""
    found, wanted = pooled(student["block 3"]), pooled(teacher["block 3"])
    variance = wanted.var(dim=0)
    return ((found - wanted).square().mean(dim=0) / (variance + 0.1 * variance.mean())).mean()


def main():
    """Train, then write weights and record."""
    parser = make_parser(__doc__, out=None)
    training.add_options(parser, "first", 2200)
    parser.add_argument("--refine", type=Path, help="state of another --run to continue from")
    options = parser.parse_args()
    weights, peak, apart = LOSSES, PEAK, APART
    if options.refine:
        weights, peak, apart = REFINING, REFINING_PEAK, 0.0
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    recordings = load_speech()
    unseen, speech = recordings[:HELD_OUT], recordings[HELD_OUT:]
    n = int(SECONDS * sounds.RATE)
    starts = [np.linspace(0, max(len(wave) - n, 0), 3).astype(int) for wave in unseen]
    held_out = make_frames(
        [np.resize(w[i : i + n], n) for w, row in zip(unseen, starts, strict=True) for i in row]
    )
    pretrained = load_weights(TEACHER)
    teacher = Tapped(build_network(pretrained))
    student = Tapped(SpeakerResNet(**ARCHITECTURE).train())
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
            found = student(frames, wanted if step < apart * options.steps else None)
        losses = distances(found, wanted)
        if options.refine:
            losses["statistics"] = unlike(found, wanted)
        return losses | {"speakers": head.loss(found["embedding"], voices).mean()}

    def validate():
        student.network.eval()
        with torch.inference_mode(), training.autocast(options.precision):
            found, wanted = student(held_out), teacher(held_out)
            measured = distances(found, wanted) | {"statistics": unlike(found, wanted)}
        student.network.train()
        return {name: round(float(value), 4) for name, value in measured.items()}

    modules = {"network": student.network, "head": head}
    record = training.train(options, modules, make_batch, losses_of, weights, validate, peak)
    path = options.weights or options.run / "speechsent-seresnet.safetensors"
    save_weights(
        path,
        training.halved(student.network.state_dict()),
        architecture=ARCHITECTURE,
        frame_settings=pretrained.frame_settings,
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
