"""U-net over time: any length, any loudness, no influence of padding."""

import pytest
import torch
from torch.nn import functional as F

from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.vad.fitting import frame_loss

LENGTHS = torch.tensor([1, 2, 37, 64])


@pytest.fixture
def network():
    """Small network whose normalisations have statistics that are not the initial ones."""
    net = SpeechUNet(12, widths=(4, 8, 8, 16))
    for name, buffer in net.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_()
    return net.eval()


@pytest.fixture
def x():
    return 4 * torch.randn(4, 64, 12) + 10


def test_alone_and_padded_agree(network, x):
    together = network(x, LENGTHS)
    assert together.shape == (4, 64)
    for row, n in enumerate(LENGTHS.tolist()):
        alone = network(x[row : row + 1, :n], LENGTHS[row : row + 1])
        torch.testing.assert_close(together[row, :n], alone[0], atol=1e-5, rtol=1e-5)
        assert not together[row, n:].any()
    assert together[3].std() > 1e-3, "the same for every frame would agree as well"


@pytest.mark.parametrize("training", [False, True])
def test_padding_may_hold_anything(network, x, training):
    network.train(training)
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    outputs, means = [], []
    for filling in (0.0, torch.nan, torch.inf):
        network.load_state_dict(state)
        filled = x.clone()
        for row, n in enumerate(LENGTHS.tolist()):
            filled[row, n:] = filling
        outputs.append(network(filled, LENGTHS))
        means.append(network.down[0][0].bn.running_mean.clone())
    assert outputs[0].isfinite().all()
    for output, mean in zip(outputs, means, strict=True):
        assert torch.equal(output, outputs[0]) and torch.equal(mean, means[0])
    assert torch.equal(means[0], state["down.0.0.bn.running_mean"]) != training


def test_loudness_has_no_influence(network, x):
    quiet = network(x - 7, LENGTHS)
    torch.testing.assert_close(quiet, network(x, LENGTHS), atol=1e-4, rtol=1e-4)
    tilted = network(x + torch.linspace(0, 3, 12), LENGTHS)
    assert (tilted - quiet).abs().max() > 1e-3, "spectra do count"


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 31, 32, 33, 100])
def test_any_length(n):
    net = SpeechUNet(12).eval()  # six stages, the coarsest of which has one frame for 32
    logits = net(torch.randn(2, n, 12), torch.tensor([n, max(1, n // 2)]))
    assert logits.shape == (2, n) and logits.isfinite().all()


def test_every_weight_gets_a_gradient(network, x):
    network.train()
    frame_loss(network(x, LENGTHS), LENGTHS, (x[..., 0] > 10).float()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_no_gradient_from_padding(network, x):
    x.requires_grad_()
    network(x, LENGTHS).sum().backward()
    for row, n in enumerate(LENGTHS.tolist()):
        assert not x.grad[row, n:].any()
    assert x.grad[3].any()


def test_the_loss_is_of_valid_frames():
    logits, targets = torch.randn(2, 5), torch.rand(2, 5)
    lengths = torch.tensor([2, 5])
    valid = torch.cat([logits[0, :2], logits[1]]), torch.cat([targets[0, :2], targets[1]])
    expected = F.binary_cross_entropy_with_logits(*valid)
    targets[0, 2:] = torch.nan
    torch.testing.assert_close(frame_loss(logits, lengths, targets), expected)


def test_state_dict_round_trip(network, x):
    again = SpeechUNet(**network.architecture).eval()
    assert again.architecture == {"n_mels": 12, "widths": (4, 8, 8, 16)}
    assert not torch.allclose(again(x, LENGTHS), network(x, LENGTHS))
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x, LENGTHS), network(x, LENGTHS))


def test_a_single_stage(x):
    assert SpeechUNet(12, widths=(4,)).eval()(x, LENGTHS).shape == (4, 64)
