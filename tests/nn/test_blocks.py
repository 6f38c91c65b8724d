import copy

import pytest
import torch
from torch import nn

from sklearn_speechsent.nn import (
    MaskedBatchNorm2d,
    ResidualBlock,
    SentimentBlocks,
    SpeakerBlocks,
    SpeakerResNet,
    strided_lengths,
)


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_are_close_to_the_papers():
    assert n_parameters(SpeakerBlocks(2)) == 340_972
    assert n_parameters(SentimentBlocks(64, 40, 16)) == pytest.approx(0.23e6, rel=0.03)
    assert n_parameters(SentimentBlocks(64, 40, 34)) == pytest.approx(5.06e6, rel=0.01)


@pytest.mark.parametrize("variant, channels", [(16, 64), (34, 256)])
def test_sentiment_blocks_state_their_shape(variant, channels):
    net = SentimentBlocks(8, 5, variant).eval()
    maps, lengths = net(torch.rand(1, 8, 5, 9), torch.tensor([9]))
    assert maps.shape == (1, net.out_channels, net.out_frequencies, 3) == (1, channels, 2, 3)
    assert lengths.tolist() == [3]


def test_unknown_variant_is_refused():
    for stages in (18, "34", (), (6, 128), ((6, 128), (3,)), ((6, 0),), ((0.5, 8),)):
        with pytest.raises(ValueError, match="variants"):
            SentimentBlocks(64, 40, stages)


def test_sentiment_blocks_of_a_single_stage():
    net = SentimentBlocks(8, 5, ((1, 6),)).eval()
    maps, lengths = net(torch.rand(1, 8, 5, 9), torch.tensor([9]))
    assert maps.shape == (1, net.out_channels, net.out_frequencies, 5) == (1, 6, 3, 5)
    assert lengths.tolist() == [5]


def test_sentiment_blocks_name_their_tensors_as_the_speaker_network_does():
    whole = SpeakerResNet(n_mels=16, widths=(4, 8, 8, 12), depths=(1, 1, 2, 1))
    keys = SentimentBlocks(8, 8, ((2, 8), (1, 12))).speaker_keys(2)
    upper = {key for key in whole.state_dict() if key.startswith(("layer3", "layer4"))}
    assert set(keys.values()) == upper and len(keys) == len(upper)


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4])
def test_speaker_blocks_state_their_shape(n_blocks):
    net = SpeakerBlocks(n_blocks, n_mels=13, widths=(2, 3, 4, 5), depths=(1, 1, 1, 1)).eval()
    maps, lengths = net(torch.rand(2, 9, 13), torch.tensor([4, 9]))
    expected = strided_lengths(torch.tensor([4, 9]), net.time_stride)
    assert torch.equal(lengths, expected)
    assert maps.shape == (2, net.out_channels, net.out_frequencies, int(expected.max()))


def test_speaker_blocks_refuse_impossible_numbers():
    with pytest.raises(ValueError, match="n_blocks"):
        SpeakerBlocks(5)
    with pytest.raises(ValueError, match="n_frozen_blocks"):
        SpeakerBlocks(1, n_frozen_blocks=2)


def test_lower_blocks_load_from_the_whole_network_by_name():
    whole = SpeakerResNet(n_mels=16, depths=(1, 2, 1, 1))
    lower = SpeakerBlocks(2, n_mels=16, depths=(1, 2, 1, 1))
    result = lower.load_state_dict(whole.state_dict(), strict=False)
    assert not result.missing_keys
    assert all(key.startswith(("layer3", "layer4", "seg_1")) for key in result.unexpected_keys)
    assert torch.equal(lower.layer2[1].conv2.weight, whole.layer2[1].conv2.weight)


def test_keys_without_attention_are_those_of_wespeaker():
    keys = set(SpeakerResNet(se_ratio=None).state_dict())
    bn = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "seg_1.weight", "seg_1.bias"} | {f"bn1.{name}" for name in bn}
    for i, depth in enumerate((3, 4, 6, 3), start=1):
        for j in range(depth):
            block = f"layer{i}.{j}"
            expected |= {f"{block}.conv{k}.weight" for k in (1, 2)}
            expected |= {f"{block}.bn{k}.{name}" for k in (1, 2) for name in bn}
            if i > 1 and j == 0:
                expected |= {f"{block}.shortcut.0.weight"}
                expected |= {f"{block}.shortcut.1.{name}" for name in bn}
    assert keys == expected


@pytest.mark.parametrize("lengths", [[2, 7, 5], [7, 7, 7], [1, 1, 7]])
def test_batch_norm_trains_as_on_unpadded_utterances(lengths):
    masked, plain = MaskedBatchNorm2d(4).double(), nn.BatchNorm2d(4).double()
    with torch.no_grad():
        masked.weight.uniform_(0.5, 2)
        masked.bias.normal_()
    plain.load_state_dict(masked.state_dict())
    lengths = torch.tensor(lengths)
    for _ in range(2):
        x = 5 + 2 * torch.randn(3, 4, 6, 7, dtype=torch.float64)
        x.requires_grad_()
        weights = torch.randn_like(x)

        def end_to_end(maps, lengths=lengths):
            parts = [m[..., :n] for m, n in zip(maps, lengths.tolist(), strict=True)]
            return torch.cat(parts, dim=-1)[None]

        ours = end_to_end(masked(x, lengths))
        theirs = plain(end_to_end(x))
        torch.testing.assert_close(ours, theirs)
        gradients = [
            torch.autograd.grad((y * end_to_end(weights)).sum(), [x, bn.weight, bn.bias])
            for y, bn in ((ours, masked), (theirs, plain))
        ]
        for got, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(got, expected)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(masked.state_dict()[name], value)


def test_batch_norm_of_a_single_value_uses_the_running_statistics():
    bn = MaskedBatchNorm2d(2)
    before = copy.deepcopy(bn.state_dict())
    x = torch.randn(1, 2, 1, 3)
    torch.testing.assert_close(bn(x, torch.tensor([1])), copy.deepcopy(bn).eval()(x))
    assert all(torch.equal(before[k], v) for k, v in bn.state_dict().items())


def test_block_is_the_formula():
    block = ResidualBlock(3, 8, 2).eval()
    for bn in (block.bn1, block.bn2, block.shortcut[1]):
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2)
    x, lengths = torch.randn(2, 3, 5, 7), torch.tensor([7, 7])
    h = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    s = block.se.excite(block.se.squeeze(h.mean((2, 3))).relu()).sigmoid()
    expected = (h * s[:, :, None, None] + block.shortcut[1](block.shortcut[0](x))).relu()
    torch.testing.assert_close(block(x, lengths)[0], expected)
    with torch.no_grad():  # Folded into the convolutions.
        torch.testing.assert_close(block(x, lengths)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 8, 12, 15, 16])
def test_gradients_of_narrow_strided_shortcuts(channels):
    """In float32, where oneDNN's own kernel writes past its workspace with 4 to 15 channels."""
    block = ResidualBlock(channels, 16, 2, se_ratio=None)
    exact = copy.deepcopy(block).double()
    x = torch.randn(16, channels, 24, 100).contiguous(memory_format=torch.channels_last)
    lengths = torch.full((16,), 100)
    for net, maps in ((block, x), (exact, x.double())):
        net(maps, lengths)[0].square().sum().backward()
    found = block.shortcut[0].weight.grad.double()
    expected = exact.shortcut[0].weight.grad
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.abs().max()), rtol=0)


def step(net, x, lengths):
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net.train()
    net(x, lengths)[0].square().sum().backward()
    optimizer.step()


def changed_keys(net, before):
    return {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}


def test_frozen_blocks_stay_as_they_are():
    net = SpeakerBlocks(2, n_mels=8, depths=(1, 1, 1, 1), n_frozen_blocks=1)
    before = copy.deepcopy(net.state_dict())
    step(net, torch.randn(3, 9, 8), torch.tensor([9, 5, 7]))
    changed = changed_keys(net, before)
    assert changed and all(key.startswith("layer2") for key in changed)
    assert "layer2.0.bn1.running_mean" in changed
    assert all(p.grad is None for p in [*net.conv1.parameters(), *net.layer1.parameters()])


def test_frozen_batch_norm_learns_its_affine_parameters_only():
    net = SpeakerBlocks(1, n_mels=8, depths=(1, 1, 1, 1), freeze_batch_norm=True)
    before = copy.deepcopy(net.state_dict())
    step(net, torch.randn(3, 9, 8), torch.tensor([9, 5, 7]))
    changed = changed_keys(net, before)
    assert {"conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.bn2.weight"} <= changed
    assert not any("running" in key or "tracked" in key for key in changed)
