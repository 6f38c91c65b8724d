import copy

import pytest
import torch

from sklearn_speechsent.nn import SpeakerBlocks, SpeakerResNet, folded


def with_statistics(network):
    """The network in eval mode, with batch normalisations as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for name in ("running_mean", "bias"):
                getattr(module, name).data.normal_(std=0.2, generator=generator)
            for name in ("running_var", "weight"):
                getattr(module, name).data.uniform_(0.5, 2.0, generator=generator)
    return network.eval()


NETWORKS = {
    "blocks": lambda: SpeakerBlocks(2, n_mels=24, widths=(8, 16), depths=(2, 1)),
    "without SE": lambda: SpeakerBlocks(2, n_mels=24, widths=(8, 16), depths=(2, 1), se_ratio=None),
    "embedder": lambda: SpeakerResNet(16, n_mels=24, widths=(8, 16), depths=(1, 2)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return with_statistics(NETWORKS[request.param]())


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 37, 24, generator=generator), torch.tensor([37, 20])


def output(network, batch):
    with torch.inference_mode():
        found = network(*batch)
    return found[0] if isinstance(found, tuple) else found


def test_it_computes_the_same(network, batch):
    with torch.no_grad():
        network.requires_grad_(False)
        expected = network(*batch)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(output(folded(network), batch), expected, rtol=1e-4, atol=1e-5)


def test_the_network_stays_as_it_is(network, batch):
    before = copy.deepcopy(network.state_dict())
    twin = folded(network, torch.bfloat16)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in twin.modules())


def test_only_convolutions_are_in_the_shorter_type(network, batch):
    twin = folded(network, torch.bfloat16)
    for module in twin.modules():
        expected = torch.bfloat16 if isinstance(module, torch.nn.Conv2d) else torch.float32
        for parameter in module.parameters(recurse=False):
            assert parameter.dtype == expected


def test_a_network_in_training_is_refused(network):
    with pytest.raises(ValueError, match="eval"):
        folded(network.train())
