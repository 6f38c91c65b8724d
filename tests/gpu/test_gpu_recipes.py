"""Batches of the speaker recipe on a CUDA device."""

import numpy as np
import pytest
import torch

from recipes import _perturbation as perturbation
from recipes import train_speaker
from sklearn_speechsent.nn import SpeakerResNet

pytestmark = pytest.mark.gpu


def test_frames_are_those_of_the_processor():
    waves = torch.randn(5, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    found = perturbation.LogMel("cuda")(waves.cuda()).cpu()
    torch.testing.assert_close(found, perturbation.LogMel("cpu")(waves), atol=1e-3, rtol=0)


def test_a_batch_follows_from_seed_and_step_and_trains():
    rng = np.random.default_rng(0)
    speech, noises = ([rng.standard_normal(9000).astype("f") for _ in range(3)] for _ in range(2))
    batches = [perturbation.Chunks(speech, noises, "cuda", 0.5)(0, 3, 6, 0.5) for _ in range(2)]
    assert torch.equal(*batches) and batches[0].isfinite().all()
    with torch.random.fork_rng():
        network = SpeakerResNet(**train_speaker.ARCHITECTURE)
    student = train_speaker.Tapped(network.train(), "cuda")
    teacher = {name: maps.detach() + 0.1 for name, maps in student(batches[0]).items()}
    with torch.autocast("cuda", torch.bfloat16):
        found = student(batches[0])
    losses = train_speaker.distances(found, teacher)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
