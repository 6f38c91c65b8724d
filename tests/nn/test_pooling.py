import pytest
import torch

from sklearn_speechsent.nn import (
    AttentiveStatisticsPooling,
    GeM,
    SpeakerResNet,
    average_bands,
    masked_mean,
    statistics_pooling,
)

LENGTHS = torch.tensor([4, 9, 1])


def garbage_beyond(x):
    x = x.clone()
    for item, length in zip(x, LENGTHS, strict=True):
        item[..., length:] = torch.nan
    return x


@pytest.mark.parametrize("p", [1.0, 3.0, 9.0])
@pytest.mark.parametrize("keep_frequency", [False, True])
def test_gem_is_the_direct_formula(p, keep_frequency):
    x = torch.rand(3, 5, 4, 9) * 3 - 1
    expected = []
    for item, length in zip(x.double(), LENGTHS, strict=True):
        powers = item[..., :length].clamp(min=1e-6) ** p
        expected.append(powers.mean(-1 if keep_frequency else (-2, -1)) ** (1 / p))
    pooled = GeM(p, keep_frequency=keep_frequency)(garbage_beyond(x), LENGTHS)
    torch.testing.assert_close(pooled.double(), torch.stack(expected), rtol=1e-5, atol=1e-7)


def test_gem_of_a_dead_channel_has_finite_gradients():
    x = torch.zeros(3, 2, 4, 9, requires_grad=True)
    gem = GeM(9.0)
    gem(x, LENGTHS).sum().backward()
    assert x.grad.isfinite().all() and gem.p.grad.isfinite()


def test_gem_keeps_its_power_in_range_and_can_come_back():
    x = torch.rand(3, 2, 4, 9)
    too_high, highest = GeM(12.0), GeM(10.0)
    pooled = too_high(x, LENGTHS)
    torch.testing.assert_close(pooled, highest(x, LENGTHS))
    pooled.sum().backward()
    assert too_high.p.grad != 0
    torch.testing.assert_close(GeM(0.1)(x, LENGTHS), masked_mean(x, LENGTHS))


@pytest.mark.parametrize("keep_frequency", [False, True])
def test_masked_mean_sees_valid_frames_only(keep_frequency):
    x = torch.randn(3, 5, 4, 9)
    axes = -1 if keep_frequency else (-2, -1)
    expected = [item[..., :n].mean(axes) for item, n in zip(x, LENGTHS, strict=True)]
    mean = masked_mean(garbage_beyond(x), LENGTHS, keep_frequency=keep_frequency)
    torch.testing.assert_close(mean, torch.stack(expected))


def test_statistics_are_means_then_deviations():
    x = torch.randn(3, 5, 4, 9)
    pooled = statistics_pooling(garbage_beyond(x), LENGTHS)
    valid = x[1].flatten(0, 1)
    deviation = (valid.var(-1) + 1e-7).sqrt()
    torch.testing.assert_close(pooled[1], torch.cat([valid.mean(-1), deviation]))
    torch.testing.assert_close(pooled[2, 20:], torch.full((20,), 1e-7).sqrt())


def test_attentive_statistics_are_the_direct_formula():
    x = torch.randn(3, 5, 9) + 2
    pooling = AttentiveStatisticsPooling(5, 4)
    torch.nn.init.normal_(pooling.score.weight, std=2)
    weights = pooling.weights(x, LENGTHS)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5))
    assert (weights >= 0).all() and (weights[0, :, 4:] == 0).all()
    pooled = pooling(garbage_beyond(x), LENGTHS)
    for item, row, length in zip(x, pooled, LENGTHS, strict=True):
        frames = item[:, :length].T
        scores = (frames @ pooling.hidden.weight.T + pooling.hidden.bias).tanh()
        share = (scores @ pooling.score.weight.T).double().softmax(0)
        mean = (share * frames).sum(0)
        deviation = ((share * (frames - mean) ** 2).sum(0) + 1e-7).sqrt()
        torch.testing.assert_close(row.double(), torch.cat([mean, deviation]), rtol=1e-5, atol=1e-6)


def test_attentive_statistics_without_scores_are_plain_ones():
    x = torch.randn(3, 5, 9)
    pooling = AttentiveStatisticsPooling(5)
    torch.nn.init.zeros_(pooling.score.weight)
    frames = x[1]
    deviation = (frames.var(-1, correction=0) + 1e-7).sqrt()
    torch.testing.assert_close(pooling(x, LENGTHS)[1], torch.cat([frames.mean(-1), deviation]))


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
def test_attentive_statistics_are_safe(scale):
    """Also for constant values, where a variance of differences would be below zero, and one."""
    x = (scale * torch.randn(3, 5, 1).expand(3, 5, 9)).clone().requires_grad_()
    pooling = AttentiveStatisticsPooling(5, 4)
    pooled = pooling(x, LENGTHS)
    pooled.sum().backward()
    assert pooled.isfinite().all() and x.grad.isfinite().all()
    torch.testing.assert_close(pooled[:, :5], x[..., 0].detach(), rtol=1e-5, atol=1e-9)
    with torch.autocast("cpu", torch.bfloat16):
        low = pooling(x, LENGTHS)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low[:, :5], pooled[:, :5], rtol=1e-5, atol=1e-9)


def test_bands_average_neighbouring_frequencies():
    x = torch.randn(3, 5, 12, 9)
    torch.testing.assert_close(average_bands(x, 4), x.unflatten(2, (4, 3)).mean(3))
    assert average_bands(x, 12) is x
    five = torch.arange(5.0).view(1, 1, 5, 1)
    assert average_bands(five, 2).flatten().tolist() == [1.0, 3.0]  # 0 1 2, 2 3 4


def test_lengths_on_the_processor_serve_maps_on_another_device():
    """There they can be looked at without waiting for the device."""
    network = SpeakerResNet(8, widths=(4, 8), depths=(1, 1)).to("meta")
    assert network(torch.empty(3, 40, 80, device="meta"), torch.full((3,), 40)).shape == (3, 8)
