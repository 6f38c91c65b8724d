import pytest
import torch

from sklearn_speechsent.nn import EncoderNetwork, SentimentNetwork

SMALL = {"hidden_size": 6, "attention_size": 4}
LENGTHS = torch.tensor([9, 4, 1, 6])


def test_gradient_reaches_every_parameter():
    net = EncoderNetwork(3, 8, embedding_size=5, spe_size=4, dropout=0.0, **SMALL)
    outputs = net(torch.randn(4, 9, 3, 8), LENGTHS, torch.randn(4, 5))
    sum(output.square().sum() for output in outputs.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 1e-6, name


def test_layers_begin_alike_and_their_weights_have_a_sum_of_one():
    net = EncoderNetwork(4, 8, **SMALL)
    torch.testing.assert_close(net.layer_weights, torch.full((4,), 0.25))
    torch.nn.init.normal_(net.layer_logits, std=3)
    assert (net.layer_weights > 0).all() and net.layer_weights.std() > 0.1
    torch.testing.assert_close(net.layer_weights.sum(), torch.tensor(1.0))


def test_the_scale_of_a_layer_does_not_decide():
    net, x = EncoderNetwork(3, 8, dropout=0.0, **SMALL), torch.randn(4, 9, 3, 8)

    def intensities(x):
        return net(x, LENGTHS)["regression"]

    scale, shift = torch.tensor([[1.0, 0.0], [30.0, 7.0], [500.0, -40.0]]).T[..., None]
    torch.testing.assert_close(intensities(scale * x + shift), intensities(x), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(intensities(x.flip(2)), intensities(x))  # while weights are equal
    with torch.no_grad():
        net.layer_logits[0] = 3.0
    assert (intensities(x.flip(2)) - intensities(x)).abs().max() > 0.01


def test_values_are_standardised_with_valid_positions_of_the_training_data():
    net, x = EncoderNetwork(3, 8, **SMALL), 5 * torch.randn(4, 9, 3, 8) + 3
    valid = torch.cat([item[:n] for item, n in zip(x, LENGTHS, strict=True)]).flatten(1)
    net.bn.momentum = 1.0
    net(x, LENGTHS)
    torch.testing.assert_close(net.bn.running_mean, valid.mean(0))
    torch.testing.assert_close(net.bn.running_var, valid.var(0))
    seen = []
    net.projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.eval()(x, LENGTHS)
    standard = ((valid - valid.mean(0)) / valid.std(0)).view(-1, 3, 8).mean(1)
    torch.testing.assert_close(seen[0][0], standard[:9], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_items", [1, 3])
def test_a_single_position_trains_and_predicts(n_items):
    net = EncoderNetwork(2, 8, **SMALL)
    x, lengths = torch.randn(n_items, 1, 2, 8), torch.ones(n_items, dtype=torch.int64)
    for mode in (True, False):
        outputs = net.train(mode)(x, lengths)
        sum(output.sum() for output in outputs.values()).backward()
        assert outputs["regression"].shape == (n_items,) and outputs["ordinal"].shape[1] == 6
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_bfloat16_is_near():
    net, x = EncoderNetwork(2, 64, **SMALL).eval(), torch.randn(4, 9, 2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x, LENGTHS)["ordinal"].float()
    full = net(x, LENGTHS)["ordinal"]
    assert not torch.equal(low, full)
    torch.testing.assert_close(low, full, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("network", [EncoderNetwork, SentimentNetwork])
@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"heads": ()}, "heads"),
        ({"heads": "ordinal"}, "heads"),
        ({"heads": ["level"]}, "heads"),
        ({"ordinal": "probit"}, "ordinal"),
    ],
)
def test_impossible_heads_are_refused(network, parameters, message):
    with pytest.raises(ValueError, match=message):
        network(**parameters)
