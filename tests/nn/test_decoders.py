import numpy as np
import pytest
import torch

from sklearn_speechsent.features import pool_statistics
from sklearn_speechsent.nn import DECODERS, AttentiveDecoder, CGDDecoder, StatisticsDecoder

LENGTHS = torch.tensor([4, 9, 1])


@pytest.mark.parametrize("frequencies, in_features", [(None, 6), (4, 24)])
def test_decoder_shapes(frequencies, in_features):
    decoder = CGDDecoder(6, frequencies)
    assert decoder.gem_branch.linear.in_features == in_features
    assert decoder(torch.rand(3, 6, 4, 9), LENGTHS).shape == (3, decoder.out_features) == (3, 12)


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_trains_on_a_batch_of_one(name):
    decoder = DECODERS[name](6, 4)
    x, length = torch.rand(1, 6, 4, 9), torch.tensor([9])
    trained = decoder(x, length)
    torch.testing.assert_close(trained, decoder.eval()(x, length))


@pytest.mark.parametrize("frequencies", [20, 10, 4])
def test_statistics_are_the_features_of_the_frozen_route(frequencies):
    x = torch.randn(3, 6, frequencies, 9).relu()
    decoder = StatisticsDecoder(6, frequencies)
    found = decoder.statistics(x, LENGTHS)
    assert decoder.descriptor.linear.in_features == found.shape[1] == 2 * 6 * min(frequencies, 10)
    for item, length, row in zip(x, LENGTHS.tolist(), found, strict=True):
        maps = item[..., :length].permute(2, 0, 1).numpy()
        means, deviations = np.split(pool_statistics(maps, n_bands=min(frequencies, 10)), 2)
        deviations = np.sqrt(deviations**2 + 1e-7)  # as the pooling of speaker networks has it
        expected = np.sqrt(np.append(means, deviations) + 1e-4)
        np.testing.assert_allclose(row, expected, rtol=1e-4)


def test_statistics_are_standardised_with_those_of_the_training_data():
    decoder = StatisticsDecoder(6, 4, dropout=0.5)
    x = 3 * torch.rand(200, 6, 4, 9)
    lengths = torch.full((200,), 9)
    decoder.descriptor.bn.momentum = 1.0
    decoder(x, lengths)
    seen = []
    decoder.descriptor.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    decoder.eval()(x, lengths)
    plain = decoder.statistics(x, lengths)
    expected = (plain - plain.mean(0)) / (plain.var(0) + 1e-3).sqrt()
    torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-3, 1.0, 1e4])
def test_gradients_of_statistics_stay_small(scale):
    """Also those of channels that are almost silent, where roots are steep."""
    x = (scale * torch.rand(3, 6, 4, 9)).requires_grad_()
    StatisticsDecoder(6, 4).statistics(x, LENGTHS).sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() < 50


def test_attention_of_each_band_is_its_own():
    decoder = AttentiveDecoder(6, 20, hidden_size=7)
    assert decoder.pooling.hidden.in_features == 60
    weights = decoder.pooling.weights(torch.randn(3, 60, 9), LENGTHS)
    assert weights.shape == (3, 60, 9) and weights[1].std(0).min() > 1e-4
    assert decoder(torch.rand(3, 6, 20, 9), LENGTHS).shape == (3, decoder.out_features) == (3, 7)
