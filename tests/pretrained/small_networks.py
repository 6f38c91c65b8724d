"""Small speaker networks for the tests beside this file."""

import torch

from sklearn_speechsent.nn import SpeakerResNet

SMALL = {
    "n_mels": 24,
    "widths": (4, 8, 16),
    "depths": (2, 1, 1),
    "se_ratio": None,
    "embedding_size": 6,
}
SMALL_BLOCKS = {name: value for name, value in SMALL.items() if name != "embedding_size"}
FRAME_SETTINGS = {
    "n_mels": 24,
    "sample_rate": 8000,
    "frame_shift": 0.01,
    "window": "hann",
    "cmn": None,
}


def network(seed=0, **changes):
    """Small network whose normalisations have statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SpeakerResNet(**{**SMALL, **changes}).eval()
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                buffer.normal_()
    return net


def wespeaker_state(net):
    """What WeSpeaker's training leaves in a file: averaged counts, and layers of the training."""
    state = dict(net.state_dict())
    for key in state:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1.5)
    size = state["seg_1.bias"].shape[0]
    state["projection.weight"] = torch.ones(99, size)
    state["seg_bn_1.running_mean"] = torch.zeros(size)
    state["seg_2.weight"] = torch.ones(size, size)
    return state


def embed(net, frames):
    with torch.inference_mode():
        return net(frames, torch.tensor([frames.shape[1]] * len(frames)))
