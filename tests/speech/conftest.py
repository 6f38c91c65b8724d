"""A small random encoder in a file."""

import pytest
import torch
from encoders import as_openai, random_encoder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """File of a small encoder: four blocks, positions for two seconds."""
    path = tmp_path_factory.mktemp("encoder") / "small.pt"
    torch.save(as_openai(random_encoder()), path)
    return path
