import pytest
import torch


@pytest.fixture(autouse=True)
def scoped_generator(global_generators_untouched):
    """Initialising a module draws from torch's global generator: seed it, and only here."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
