"""Encoder of Whisper: parity with another implementation, and what is not computed."""

import pytest
import torch
from encoders import assert_same_layers, peer, random_encoder

from sklearn_speechsent.nn import WhisperEncoder


def test_every_layer_is_that_of_transformers():
    network = random_encoder(width=128, n_positions=150)
    frames = torch.randn(2, 300, 80, generator=torch.Generator().manual_seed(1))
    assert_same_layers(network, frames)
    with torch.no_grad():
        network.blocks[1].mlp[2].bias[5] += 0.1
    with torch.inference_mode():
        changed = list(network.layers(frames))
    assert (
        changed[2] - peer(random_encoder(width=128, n_positions=150))(frames)[1]
    ).abs().max() > (0.05)


def test_prepared_it_gives_the_same():
    network, prepared = random_encoder(), random_encoder().prepare()
    frames = torch.randn(1, 151, 80, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = network(frames, [0, 2, 3]), prepared(frames, [0, 2, 3])
        rough = random_encoder().prepare(torch.bfloat16)(frames, [0, 2, 3])
    assert found.shape == (1, 76, 3, 64) and rough.dtype == torch.float32
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    error = (rough - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.02  # bfloat16 has three digits
    assert not any(parameter.requires_grad for parameter in prepared.parameters())


def test_no_block_above_the_highest_layer_is_computed():
    network, seen = random_encoder(), []
    for number, block in enumerate(network.blocks):
        block.register_forward_hook(lambda *_, number=number: seen.append(number))
    frames = torch.zeros(1, 20, 80)
    assert network(frames, [1, 0]).shape == (1, 10, 2, 64) and seen == [0]
    with torch.inference_mode():
        both = network(frames, [2, 1])
        assert torch.equal(both[:, :, 0], network(frames, [2])[:, :, 0])
    assert network(frames).shape == (1, 10, 1, 64)


def test_a_width_without_whole_heads_is_an_error():
    with pytest.raises(ValueError, match="width=100 must be a multiple of 64"):
        WhisperEncoder(width=100)
