"""Recordings, frames and a small encoder for the tests on a CUDA device."""

import numpy as np
import pytest
import torch
from encoders import as_openai, random_encoder
from sklearn.pipeline import make_pipeline

from sklearn_speechsent import MelFilterBank, SlidingCMN, UtteranceFrames


@pytest.fixture(autouse=True)
def device_generator_untouched():
    """No test may find that the package has seeded, or drawn from, the generator of CUDA."""
    before = torch.cuda.get_rng_state()
    yield
    assert torch.equal(before, torch.cuda.get_rng_state()), "CUDA's global generator moved"


@pytest.fixture(scope="session")
def spoken(speech):
    """Mel frames of a few recordings of unequal length, and one of more than a minute."""
    front_end = make_pipeline(MelFilterBank(), SlidingCMN(window=None))
    frames = front_end.fit_transform(speech.data[:8])
    arrays = [frame[: len(frame) - 11 * row] for row, frame in enumerate(frames)]
    arrays.insert(3, np.resize(frames.base, (7000, 80)))  # more than one piece
    return UtteranceFrames.from_arrays(arrays, frame_settings=frames.frame_settings)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """File of a small encoder: four blocks, positions for two seconds."""
    path = tmp_path_factory.mktemp("encoder") / "small.pt"
    torch.save(as_openai(random_encoder()), path)
    return path
