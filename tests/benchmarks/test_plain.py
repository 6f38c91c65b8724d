import pytest
import torch

from benchmarks.speed._plain import Network
from benchmarks.speed.training import start_from_shares
from sklearn_speechsent import make_sentiment_pipeline


@pytest.mark.data
def test_the_loop_by_hand_trains_the_same_network(make_frames):
    system = "1/2SREx-SEResNet-16 + C + R"
    pipeline = make_sentiment_pipeline(system, levels=(-1, 0, 1))
    frames, y = make_frames(3, size=80)
    ours = pipeline["net"].fit(frames, y).module_.eval()
    with torch.random.fork_rng():
        by_hand = Network(1, 3).eval()
    by_hand.load_state_dict(ours.state_dict())
    inputs = torch.tensor(frames[0])[None], torch.tensor([len(frames[0])])
    with torch.inference_mode():
        expected, found = ours(*inputs), by_hand(*inputs)
    assert set(expected) == set(found)
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=0, atol=1e-5)


def test_its_heads_begin_with_the_shares_of_the_levels():
    with torch.random.fork_rng():
        heads = Network(1, 3).heads
    start_from_shares(heads, torch.tensor([0, 0, 0, 1, 2]))
    zero = torch.zeros(1, 128)
    torch.testing.assert_close(heads["ordinal"](zero)[0].sigmoid(), torch.tensor([0.4, 0.2]))
    assert heads["regression"](zero).item() == 0
