import pickle
from functools import partial

import pytest
import torch
from torch import nn

from sklearn_speechsent.nn import (
    DECODERS,
    ORDINAL_HEADS,
    EncoderNetwork,
    SentimentNetwork,
    SpeakerResNet,
)

LENGTHS = torch.tensor([23, 1, 40, 8])
SMALL = {"widths": (4, 8, 8, 8), "depths": (1, 1, 1, 1)}
BLOCKS = {"n_frozen_blocks": 1, "n_tuned_blocks": 1}
INPUTS = {
    "frames": ((20,), partial(SentimentNetwork, in_frequencies=20, **BLOCKS, **SMALL)),
    "bare frames": ((20,), partial(SentimentNetwork, in_frequencies=20)),
    "maps": ((6, 5), partial(SentimentNetwork, 6, 5)),
    "flattened": ((6, 5), partial(SentimentNetwork, 6, 5, flatten_frequency=True)),
    "statistics": ((6, 5), partial(SentimentNetwork, 6, 5, decoder="stats", hidden_size=7)),
    "attentive": ((6, 70), partial(SentimentNetwork, 6, 70, decoder="attentive", hidden_size=7)),
    "layers": ((3, 8), partial(EncoderNetwork, 3, 8, hidden_size=6, attention_size=4)),
    "one layer": ((8,), partial(EncoderNetwork, 1, 8, hidden_size=6, attention_size=4)),
}


def with_statistics(net):
    """The network in eval mode, whose normalisation layers have random statistics and weights."""
    for module in net.modules():
        if hasattr(module, "running_var"):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                torch.nn.init.uniform_(module.weight, 0.5, 2)
                torch.nn.init.normal_(module.bias, std=0.5)
    return net.eval()


def assert_same(got, expected, rows=slice(None)):
    for name, output in expected.items():
        torch.testing.assert_close(got[name], output[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ordinal", ORDINAL_HEADS)
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("grad", [False, True])
def test_padding_batch_and_order_change_nothing(kind, ordinal, grad):
    shape, make = INPUTS[kind]
    net = with_statistics(make(ordinal=ordinal))
    x = torch.randn(4, 40, *shape)
    with torch.set_grad_enabled(grad):
        batch = net(x, LENGTHS)
        assert batch["regression"].std() > 1e-3
        for i, length in enumerate(LENGTHS.tolist()):
            alone = net(x[i : i + 1, :length], LENGTHS[i : i + 1])
            assert_same(alone, batch, slice(i, i + 1))
        order = torch.tensor([2, 0, 3, 1])
        assert_same(net(x[order], LENGTHS[order]), batch, order)
        padded = torch.full((4, 53, *shape), torch.nan)
        for i, length in enumerate(LENGTHS.tolist()):
            padded[i, :length] = x[i, :length]
        assert_same(net(padded, LENGTHS), batch)


def test_padding_does_not_reach_a_speaker_embedding():
    net = with_statistics(SpeakerResNet(8, n_mels=20, **SMALL))
    x = torch.randn(2, 40, 20)
    x[0, 23:] = torch.nan
    with torch.no_grad():
        batch = net(x, torch.tensor([23, 40]))
        alone = net(x[:1, :23], torch.tensor([23]))
    torch.testing.assert_close(alone, batch[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "shape, make",
    [
        ((6,), partial(SentimentNetwork, in_frequencies=6, n_tuned_blocks=1, **SMALL)),
        ((3, 6), partial(SentimentNetwork, 3, 6, decoder="stats", hidden_size=6)),
        ((3, 6), partial(SentimentNetwork, 3, 6, decoder="attentive", hidden_size=6)),
        ((3, 6), partial(EncoderNetwork, 3, 6, hidden_size=6, attention_size=4, dropout=0.0)),
    ],
    ids=["frames", "statistics", "attentive", "layers"],
)
def test_padding_changes_no_training_step(shape, make):
    x, lengths = torch.randn(4, 20, *shape), torch.tensor([20, 3, 7, 12])
    states = []
    for n_padding in (0, 9):
        torch.manual_seed(1)
        net = make()
        padded = torch.cat([x, torch.full((4, n_padding, *shape), torch.nan)], dim=1)
        outputs = net(padded, lengths)
        sum(output.square().sum() for output in outputs.values()).backward()
        gradients = {name: p.grad for name, p in net.named_parameters()}
        states.append(gradients | dict(net.named_buffers()))
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("n_items, n_frames, n_bins", [(1, 1, 1), (1, 1, 2), (3, 2, 1)])
def test_the_smallest_utterances_train_and_predict(n_items, n_frames, n_bins, decoder):
    net = SentimentNetwork(in_frequencies=n_bins, n_tuned_blocks=2, decoder=decoder, **SMALL)
    x, lengths = torch.randn(n_items, n_frames, n_bins), torch.full((n_items,), n_frames)
    for mode in (True, False):
        outputs = net.train(mode)(x, lengths)
        assert outputs["regression"].shape == (n_items,)
        assert outputs["ordinal"].shape == (n_items, 6)
        assert all(output.isfinite().all() for output in outputs.values())
        sum(output.sum() for output in outputs.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("decoder", DECODERS)
def test_gradient_reaches_every_parameter(decoder):
    net = SentimentNetwork(3, 8, decoder=decoder, hidden_size=6)
    outputs = net(torch.randn(4, 20, 3, 8), torch.tensor([20, 3, 7, 12]))
    sum(output.square().sum() for output in outputs.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 1e-7, name


@pytest.mark.parametrize("network", [SentimentNetwork, EncoderNetwork])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_float_types_are_cast(dtype, network):
    net = with_statistics(network(6, 5))
    x = torch.randn(2, 9, 6, 5).to(dtype)
    lengths = torch.tensor([9, 4])
    assert_same(net(x, lengths), net(x.float(), lengths))


@pytest.mark.parametrize("heads", [["regression"], ["ordinal"], ["ordinal", "regression"]])
def test_each_head_has_its_decoder(heads):
    net = SentimentNetwork(6, 5, 2, heads=heads)
    assert list(net.decoders) == list(net.heads) == heads
    assert list(net(torch.randn(2, 9, 6, 5), torch.tensor([9, 4]))) == heads


def test_variant_sizes():
    assert SentimentNetwork(64, 40, heads=["ordinal"]).decoders["ordinal"].out_features == 128
    assert SentimentNetwork(64, 40, stext=34).decoders["ordinal"].out_features == 512
    assert SentimentNetwork(64, 40).srext is None


def test_dropout_acts_before_the_heads_in_training_only():
    net = SentimentNetwork(6, 5, dropout=0.5)
    x, lengths = torch.randn(4, 9, 6, 5), torch.tensor([9, 4, 9, 9])
    assert not torch.equal(net(x, lengths)["regression"], net(x, lengths)["regression"])
    net.eval()
    assert torch.equal(net(x, lengths)["regression"], net(x, lengths)["regression"])


@pytest.mark.parametrize("network", [SentimentNetwork, EncoderNetwork])
@pytest.mark.parametrize("shape", [(2, 9, 80), (2, 9, 5, 6), (2, 9, 6), (2, 6)])
def test_mismatched_input_names_both_shapes(shape, network):
    net = network(6, 5)
    with pytest.raises(ValueError, match=r"\(B, T, 6, 5\).*got \(2, "):
        net(torch.randn(shape), torch.tensor([1, 1]))


@pytest.mark.parametrize(
    "lengths", [torch.tensor([9]), torch.tensor([9, 10]), torch.tensor([0, 9])]
)
def test_impossible_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths"):
        SentimentNetwork(6, 5)(torch.randn(2, 9, 6, 5), lengths)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"stext": 18}, "variant"),
        ({"decoder": "mean"}, "decoder must be one of .*'stats'"),
        ({"in_channels": 64, "n_tuned_blocks": 1}, "log-mel"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SentimentNetwork(**parameters)


def test_pickle_keeps_the_outputs():
    net = with_statistics(SentimentNetwork(in_frequencies=6, n_frozen_blocks=1, **SMALL))
    x, lengths = torch.randn(2, 9, 6), torch.tensor([9, 4])
    assert_same(pickle.loads(pickle.dumps(net))(x, lengths), net(x, lengths))


# -- speaker embeddings ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("grad", [False, True])
def test_padding_and_batch_change_nothing_with_embeddings(kind, grad):
    shape, make = INPUTS[kind]
    net = with_statistics(make(embedding_size=5, spe_size=7))
    x, speakers = torch.randn(4, 40, *shape), torch.randn(4, 5)
    with torch.set_grad_enabled(grad):
        batch = net(x, LENGTHS, speakers)
        for i, length in enumerate(LENGTHS.tolist()):
            rows = slice(i, i + 1)
            assert_same(net(x[rows, :length], LENGTHS[rows], speakers[rows]), batch, rows)
        order = torch.tensor([2, 0, 3, 1])
        assert_same(net(x[order], LENGTHS[order], speakers[order]), batch, order)
        moved = net(x, LENGTHS, speakers[order])
        for name, output in moved.items():
            assert (output - batch[name]).abs().max() > 1e-3, name


def test_embeddings_join_every_decoder():
    net = with_statistics(SentimentNetwork(64, 40, embedding_size=5))
    assert net.heads["regression"].linear.in_features == 128 + 512
    net = with_statistics(SentimentNetwork(6, 5, embedding_size=5, spe_size=7))
    x, lengths, speakers = torch.randn(2, 9, 6, 5), torch.tensor([9, 4]), torch.randn(2, 5)
    maps, left = net.stext(x.permute(0, 2, 3, 1), lengths)
    unit = speakers / speakers.square().sum(1, keepdim=True).sqrt() * 5**0.5
    joined = torch.cat([net.decoders["regression"](maps, left), net.spe(unit)], dim=1)
    torch.testing.assert_close(
        net(x, lengths, speakers)["regression"], net.heads["regression"](joined)
    )


@pytest.mark.parametrize("shape", [(2, 4), (3, 5), (5,), None])
def test_embeddings_of_another_shape_are_named(shape):
    net = SentimentNetwork(6, 5, embedding_size=5)
    speakers = None if shape is None else torch.randn(shape)
    message = r"embeddings of shape \(2, 5\), got " + (str(shape).replace("(", r"\(")[:-1])
    with pytest.raises(ValueError, match=message):
        net(torch.randn(2, 9, 6, 5), torch.tensor([9, 4]), speakers)


def test_embeddings_without_a_projection_are_refused():
    with pytest.raises(ValueError, match=r"embeddings of none, got \(2, 5\)"):
        SentimentNetwork(6, 5)(torch.randn(2, 9, 6, 5), torch.tensor([9, 4]), torch.randn(2, 5))


@pytest.mark.parametrize("shape, parameters", [((80,), {"n_tuned_blocks": 1}), ((64, 40), {})])
def test_maps_are_channels_last_all_the_way(shape, parameters):
    channels, frequencies = (1, *shape)[-2:]
    net = SentimentNetwork(channels, frequencies, **parameters)
    layouts = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda conv, inputs, output: layouts.append(
                    output.is_contiguous(memory_format=torch.channels_last)
                )
            )
    net(torch.randn(2, 20, *shape), torch.tensor([20, 9]))
    assert layouts and all(layouts)


@pytest.mark.parametrize("decoder", DECODERS)
def test_bfloat16_is_near(decoder):
    net = with_statistics(SentimentNetwork(6, 20, decoder=decoder))
    x, lengths = torch.randn(4, 40, 6, 20), LENGTHS
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x, lengths)["regression"].float()
    full = net(x, lengths)["regression"]
    assert not torch.equal(low, full)
    torch.testing.assert_close(low, full, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", ["layers", "statistics"])
def test_an_exported_graph_serves_every_length_and_batch(kind):
    shape, make = INPUTS[kind]
    net = with_statistics(make())
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    inputs = (torch.randn(3, 40, *shape), torch.tensor([40, 13, 9]))
    graph = torch.export.export(net, inputs, dynamic_shapes=(free, {0: free[0]})).module()
    for lengths in ([61, 10], [17], [7, 9, 9, 5, 8]):
        x = torch.randn(len(lengths), max(lengths), *shape)
        assert_same(graph(x, torch.tensor(lengths)), net(x, torch.tensor(lengths)))
