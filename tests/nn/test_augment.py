import pytest
import torch

from sklearn_speechsent.nn import SpecAugment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def runs(masked):
    """Width of the one masked stretch of each row."""
    starts = masked & ~torch.roll(masked, 1, dims=1)
    starts[:, 0] = masked[:, 0]
    assert (starts.sum(1) <= 1).all()
    return masked.sum(1)


@pytest.fixture(scope="module")
def masks():
    """Frames and bins that 2000 utterances lose to at most one mask per axis."""
    lengths = torch.full((2000,), 40)
    augment = SpecAugment(1, 1)
    masked = augment(torch.ones(2000, 60, 30), lengths, generator()) == 0
    # An uncovered column or row always exists; it tells the masks of the other axis.
    return masked.all(2), masked.all(1)


@pytest.mark.parametrize("axis, widest", [(0, 10), (1, 5)])
def test_widths_are_uniform_and_reach_their_maximum(masks, axis, widest):
    counts = torch.bincount(runs(masks[axis]))
    assert len(counts) == widest + 1
    # Half of the utterances have no mask, the others widths 0 … widest.
    torch.testing.assert_close(
        counts[1:] / 2000, torch.full((widest,), 0.5 / (widest + 1)), atol=0.025, rtol=0
    )


def test_time_masks_lie_within_the_valid_frames_and_reach_their_ends(masks):
    time = masks[0]
    assert not time[:, 40:].any()
    assert time[:, 0].any() and time[:, 39].any()


def test_number_of_masks_is_drawn_from_zero_to_n():
    x = torch.ones(3000, 400, 1)
    augment = SpecAugment(2, 0, max_time_width=1)
    n_masked = (augment(x, torch.full((3000,), 400), generator()) == 0).sum((1, 2))
    # Each mask has width 1 with probability 1/2; overlaps are rare.
    expected = torch.tensor([1 / 3 + 1 / 6 + 1 / 12, 1 / 6 + 1 / 6, 1 / 12])
    torch.testing.assert_close(torch.bincount(n_masked) / 3000, expected, atol=0.03, rtol=0)


def test_masks_differ_per_item_and_are_reproducible():
    x, lengths = torch.ones(8, 50, 20), torch.full((8,), 50)
    first = SpecAugment()(x, lengths, generator())
    assert len({tuple(item.flatten().tolist()) for item in first}) > 4
    assert torch.equal(first, SpecAugment()(x, lengths, generator()))
    assert not torch.equal(first, SpecAugment()(x, lengths, generator(1)))
    assert (x == 1).all()


def test_only_the_given_generator_is_used():
    x, lengths = torch.ones(2, 50, 20), torch.full((2,), 50)
    before = torch.get_rng_state()
    SpecAugment()(x, lengths, generator())
    assert torch.equal(before, torch.get_rng_state())
    SpecAugment()(x, lengths)
    assert not torch.equal(before, torch.get_rng_state())


def test_utterances_smaller_than_a_mask_work():
    x = torch.ones(4, 3, 1)
    assert SpecAugment()(x, torch.tensor([1, 2, 3, 1]), generator()).shape == x.shape


def test_no_masks_change_nothing():
    x = torch.rand(4, 30, 8)
    assert torch.equal(SpecAugment(0, 0)(x, torch.full((4,), 30)), x)


def test_layers_lose_whole_positions():
    x, lengths = torch.rand(40, 60, 3, 8) + 1, torch.full((40,), 50)
    masked = SpecAugment(n_frequency_masks=0)(x, lengths, generator()) == 0
    positions = masked.flatten(2).any(2)
    assert positions.any() and not positions[:, 50:].any()
    assert torch.equal(positions[:, :, None, None].expand_as(masked), masked)
    frames = SpecAugment(n_frequency_masks=0)(x[:, :, 0], lengths, generator())
    assert torch.equal(frames == 0, masked[:, :, 0])


def test_equality_repr_and_errors():
    assert SpecAugment() == SpecAugment(2, 2) != SpecAugment(1)
    assert repr(SpecAugment(1)).startswith("SpecAugment(n_time_masks=1,")
    with pytest.raises(ValueError, match=r"layers of an encoder.*n_frequency_masks=0"):
        SpecAugment()(torch.ones(2, 3, 4, 5), torch.tensor([3, 3]))
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        SpecAugment()(torch.ones(2, 3), torch.tensor([3, 3]))
    with pytest.raises(ValueError, match="max_time_width"):
        SpecAugment(max_time_width=-1)
