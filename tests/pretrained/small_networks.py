"""Small networks, and files of them, for the tests in this folder."""

import json

import safetensors.torch
import torch

from sklearn_speechsent.nn import SpeakerResNet, SpeechUNet

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
VAD = {"n_mels": 12, "widths": (4, 8)}
VAD_FRAME_SETTINGS = {"n_mels": 12, "sample_rate": 8000, "frame_shift": 0.01, "window": "hamming"}


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
    """Content of WeSpeaker's files: averaged counts, and layers that only training needs."""
    state = dict(net.state_dict())
    for key in state:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1.5)
    size = state["seg_1.bias"].shape[0]
    state["projection.weight"] = torch.ones(99, size)
    state["seg_bn_1.running_mean"] = torch.zeros(size)
    state["seg_2.weight"] = torch.ones(size, size)
    return state


def unet(seed=0, **changes):
    """Small detector whose normalisations have statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SpeechUNet(**{**VAD, **changes})
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return net.eval()


def write_records(path, state, records):
    """Safetensors with these records, as text or in the form that the package writes."""
    text = records if isinstance(records, str) else json.dumps(records)
    safetensors.torch.save_file(state, path, {"sklearn_speechsent": text})


def embed(net, frames):
    with torch.inference_mode():
        return net(frames, torch.tensor([frames.shape[1]] * len(frames)))
