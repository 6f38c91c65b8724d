"""U-net over time: any length, any loudness, no influence of padding."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_speechsent.nn import SpeechUNet, folded, pieces
from sklearn_speechsent.nn.unet import frame_levels, utterance_levels
from sklearn_speechsent.pretrained import build_vad, load_vad_weights
from sklearn_speechsent.vad.fitting import frame_loss

LENGTHS = torch.tensor([1, 2, 37, 64])


def randomised(net):
    """Network whose normalisations have statistics that are not the initial ones."""
    for name, buffer in net.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_()
    return net.eval()


@pytest.fixture
def network():
    return randomised(SpeechUNet(12, widths=(4, 8, 8, 16)))


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


# -- digital silence, and pieces -------------------------------------------------------------------

ZERO = -15.9424


def test_digital_silence_is_like_padding(network, x):
    """It moves no level, and what stands for it is the level itself."""
    frames = x[3:]
    silent = F.pad(frames, (0, 0, 32, 64), value=ZERO)
    alone, among = (
        utterance_levels(*frame_levels(f), torch.tensor([f.shape[1]])) for f in (frames, silent)
    )
    torch.testing.assert_close(alone, among)
    level = F.pad(frames, (0, 0, 32, 64), value=float(alone))
    lengths = torch.tensor([160])
    torch.testing.assert_close(
        network(silent, lengths), network(level, lengths), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_silence_of_every_type(dtype):
    frames = torch.tensor([[[ZERO, ZERO], [ZERO, -3.0], [-15.9, -15.9], [torch.nan, ZERO]]]).to(
        dtype
    )
    assert frame_levels(frames)[1].tolist() == [[True, False, False, False]]


def test_nothing_but_silence_has_its_own_level(network):
    frames = torch.full((1, 50, 12), ZERO)
    level = utterance_levels(*frame_levels(frames), torch.tensor([50]))
    torch.testing.assert_close(level, torch.tensor([ZERO]))
    assert network(frames, torch.tensor([50])).isfinite().all()


def test_levels_leave_padding_out(x):
    x = x.masked_fill((torch.arange(64) >= LENGTHS[:, None])[:, :, None], torch.nan)
    x[3, 10:20] = ZERO
    found = utterance_levels(*frame_levels(x), LENGTHS)
    heard = torch.cat([x[3, :10], x[3, 20:]])
    expected = [x[0, :1].mean(), x[1, :2].mean(), x[2, :37].mean(), heard.mean()]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("widths", [(4,), (4, 8), (4, 8, 8, 16), (8, 8, 8, 8, 8, 8)])
@pytest.mark.parametrize("n_frames", [300, 301, 1003])
def test_pieces_are_the_whole(widths, n_frames):
    network = randomised(SpeechUNet(12, widths=widths))
    frames = 4 * torch.randn(1, n_frames, 12) + 10
    frames[:, 40:70] = ZERO
    whole = network(frames, torch.tensor([n_frames]))
    level = utterance_levels(*frame_levels(frames), torch.tensor([n_frames]))

    def in_pieces(context):
        found = []
        for piece, seen in pieces(n_frames, step=network.time_stride, context=context, longest=150):
            x = frames[:, seen]
            logits = network(x, torch.tensor([x.shape[1]]), level)
            found.append(logits[:, piece.start - seen.start :][:, : piece.stop - piece.start])
        return torch.cat(found, 1)

    bound = 1e-5 * float(whole.detach().abs().max())
    torch.testing.assert_close(in_pieces(network.half_width), whole, rtol=0, atol=bound)
    assert (in_pieces(0) - whole).abs().max() > bound


def test_the_half_width_of_the_shipped_network():
    """Of a logit at a multiple of the stride: less would not do, also in a trained network."""
    network = build_vad(load_vad_weights("speechsent-unet-vad"))
    assert network.time_stride == 32 and network.half_width == 132
    frames = 4 * torch.randn(1, 1000, 80) + 10
    level = frames.mean((1, 2))

    def logit(context):
        x = frames[:, 512 - context : 513 + context]
        return network(x, torch.tensor([x.shape[1]]), level)[0, context]

    expected = network(frames, torch.tensor([1000]))[0, 512]
    torch.testing.assert_close(logit(160), expected, rtol=0, atol=1e-5)
    assert (logit(96) - expected).abs() > 1e-4


@pytest.mark.parametrize("fold", [False, True])
def test_nothing_padded_needs_no_lengths(fold, rng):
    with torch.random.fork_rng():
        network = SpeechUNet(16, widths=(4, 8, 8)).eval()
    network = folded(network) if fold else network
    x = torch.from_numpy(rng.normal(size=(2, 30, 16)).astype(np.float32))
    level = torch.tensor([0.5, -0.5])
    with torch.inference_mode():
        for given in (None, level):
            wanted = network(x, torch.tensor([30, 30]), given)
            torch.testing.assert_close(network(x, None, given), wanted, rtol=0, atol=0)
