"""Training of the speaker network that ships with the package, by distillation.

    python -m recipes.train_speaker --run results/speaker --device cuda --jobs 16

A small SR-SEResNet learns from a large pre-trained one. On every chunk of speech its targets are
the maps of the teacher's blocks 2 and 3, their statistics over time, in which utterances differ by
less than in their maps, the embedding, and how like the utterances of the batch are to each other
in statistics and in embeddings. Speech: 251 utterances of LibriSpeech train-clean-100 (CC BY 4.0),
perturbed differently in every step (`recipes._perturbation`). Teacher and student have the same
input; the training data of the teacher are not used. Eleven speakers are held out for validation.

The run may be interrupted at any moment: the same command resumes from the last state in --run.
With every state the running mean of the weights is written as float16 to --weights, with the record
of the training next to it. experiments.speaker_weights measures the file.

References
----------
L. Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022
(teacher and student see the same, heavily perturbed input, for long).
W. Park et al., "Relational knowledge distillation", CVPR 2019.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy

import numpy as np
import torch
from torch.nn import functional as F

from experiments._harness.command import make_parser
from experiments._harness.files import write_text
from recipes import _training as training
from recipes import sounds
from recipes._perturbation import Chunks
from recipes._speech import load_speech
from sklearn_speechsent.nn import SpeakerResNet
from sklearn_speechsent.pretrained import build_network, load_weights, save_weights

TEACHER = "wespeaker-voxceleb-resnet34"
#: Depth where affect is read, in block 3; the first block, at full resolution, costs most.
ARCHITECTURE = {
    "n_mels": 80,
    "widths": (32, 64, 128, 208),
    "depths": (1, 3, 4, 2),
    "se_ratio": 8,
    "embedding_size": 256,
}
#: Weights of the losses.
LOSSES = {
    "block 2": 0.5,
    "block 3": 1.0,
    "statistics 2": 0.5,
    "statistics 3": 2.0,
    "alike 3": 0.5,
    "embedding": 2.0,
    "alike": 0.5,
}
PEAK, DECAY = 3e-3, 0.01
#: Seconds of the chunks of a step, in turn. A batch of longer ones has fewer.
SECONDS = (2.0, 2.0, 4.0)
HELD_OUT = 11
NOISES, NOISE_SECONDS = 800, 5


def make_noise(seed):
    """Music, knocks, hums or several of them."""
    return sounds.interference(NOISE_SECONDS * sounds.RATE, np.random.default_rng(seed), [])


class Tapped:
    """Speaker network that returns maps of its blocks 2 and 3, too."""

    def __init__(self, network, device):
        self.network = network.to(device, memory_format=torch.channels_last)
        self.maps = {}
        for number in (2, 3):
            last = getattr(network, f"layer{number}")[-1]
            last.register_forward_hook(
                lambda _, __, out, name=f"block {number}": self.maps.update({name: out[0]})
            )

    def __call__(self, frames):
        """Maps and embeddings of frames of shape (n, time, mel)."""
        # Lengths on the processor: that nothing is padded is known without waiting.
        embedding = self.network(frames, torch.full((len(frames),), frames.shape[1])).float()
        return {**{name: made.float() for name, made in self.maps.items()}, "embedding": embedding}


def pooled(maps):
    """Roots of means, deviations and step sizes over time, in 10 and in 5 bands."""
    found = []
    for n_bands in (10, 5):
        maps = maps.unflatten(2, (n_bands, -1)).mean(dim=3)
        steps = maps.diff(dim=3).square().mean(dim=3)
        # Without the constant the root of a unit that is always zero has no finite gradient.
        found += [maps.mean(dim=3), (maps.var(dim=3) + 1e-6).sqrt(), (steps + 1e-6).sqrt()]
    return (torch.cat(found, dim=2) + 1e-4).sqrt().flatten(1)


def unexplained(found, wanted, axes, floor):
    """Error relative to the variance of what is wanted, over axes; all other entries count alike.

    ``floor``, relative to the mean variance, makes entries of nearly no variance count less.
    """
    variance = wanted.var(dim=axes)
    error = (found - wanted).square().mean(dim=axes)
    return (error / (variance + floor * variance.mean())).mean()


def standardised(wanted, *others):
    """Statistics less their means over the batch, relative to their deviations."""
    mean, variance = wanted.mean(dim=0), wanted.var(dim=0)
    deviation = (variance + 0.1 * variance.mean()).sqrt()
    return [(values - mean) / deviation for values in (wanted, *others)]


def unlike(found, wanted):
    """Unexplained variance of the cosines between the rows of a batch."""
    alike = [F.normalize(rows, dim=1) @ F.normalize(rows, dim=1).T for rows in (found, wanted)]
    pairs = torch.triu_indices(len(found), len(found), 1, device=found.device)
    ours, theirs = (cosines[pairs[0], pairs[1]] for cosines in alike)
    return (ours - theirs).square().mean() / (theirs.var() + 1e-4)


def distances(student, teacher):
    """Losses by name of the maps and embeddings of a batch."""
    losses = {}
    for number in (2, 3):
        found, wanted = (maps[f"block {number}"] for maps in (student, teacher))
        losses[f"block {number}"] = unexplained(found, wanted, (0, 2, 3), 0.03)
        wanted, found = standardised(pooled(wanted), pooled(found))
        losses[f"statistics {number}"] = (found - wanted).square().mean()
    losses["alike 3"] = unlike(found, wanted)
    found, wanted = student["embedding"], teacher["embedding"]
    losses["embedding"] = (1 - F.cosine_similarity(found, wanted, dim=1)).mean()
    return losses | {"alike": unlike(found, wanted)}


def main():
    """Train, and write weights and record."""
    parser = make_parser(__doc__, out=None)
    training.add_options(parser, "results/speaker", 4500)
    parser.add_argument("--batch", type=int, default=256, help="chunks of 2 s in a step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.backends.cudnn.benchmark = True
    with ProcessPoolExecutor(options.jobs) as processes:
        noises = list(processes.map(make_noise, range(NOISES), chunksize=10))
    recordings = load_speech()
    data = {
        name: Chunks(part, noises, options.device, max(SECONDS))
        for name, part in (("new", recordings[:HELD_OUT]), ("known", recordings[HELD_OUT:]))
    }
    pretrained = load_weights(TEACHER)
    teacher = Tapped(build_network(pretrained).requires_grad_(False), options.device)
    network = SpeakerResNet(**ARCHITECTURE)
    average = Tapped(deepcopy(network).eval().requires_grad_(False), options.device)
    student = Tapped(network.train(), options.device)
    mean = average.network.state_dict()
    path = options.weights or options.run / "speechsent-seresnet.safetensors"

    def make_batch(seed, step):
        seconds = SECONDS[step % len(SECONDS)]
        n = max(4, round(options.batch * SECONDS[0] / seconds))
        return data["known"](seed, step, n, seconds)

    def losses_of(frames, student=student):
        with training.autocast(options.precision, options.device):
            with torch.no_grad():
                wanted = teacher(frames)
            found = student(frames)
        return distances(found, wanted)

    @torch.no_grad()
    def validate():
        figures = {}
        for name, clean in (("clean", True), ("perturbed", False)):
            frames = data["new"](0, 0, options.batch, SECONDS[0], clean=clean)
            losses = losses_of(frames, average)
            figures[name] = {name: round(float(value), 4) for name, value in losses.items()}
        return figures

    def write(record):
        state = {name: tensor.cpu() for name, tensor in average.network.state_dict().items()}
        save_weights(
            path,
            training.halved(state),
            architecture=ARCHITECTURE,
            frame_settings=pretrained.frame_settings,
            extra={
                "licence": "CC BY 4.0",
                "data": f"LibriSpeech train-clean-100, one utterance of each of "
                f"{len(recordings) - HELD_OUT} speakers",
                "teacher": TEACHER,
                "seed": options.seed,
                "steps": record["step"],
            },
        )
        write_text(path.with_suffix(".json"), json.dumps({**record, "losses": LOSSES}, indent=1))

    training.train(
        options,
        {"network": student.network, "average": average.network},
        make_batch,
        losses_of,
        LOSSES,
        validate,
        PEAK,
        decay=DECAY,
        after_step=lambda step: training.follow(mean, student.network, step),
        after_save=write,
    )
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
