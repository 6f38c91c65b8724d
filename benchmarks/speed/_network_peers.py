"""The same speaker network in plain PyTorch, onnxruntime and OpenVINO."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

#: Widths and depths of WeSpeaker's ResNet34.
BLOCKS = ((32, 3), (64, 4), (128, 6), (256, 3))
#: Output of the network for the frames (T, 80) of one utterance.
Peer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class _Block(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut."""

    def __init__(self, n_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class _ResNet(nn.Module):
    """Stem and blocks; with ``embeds``, pooling and the linear layer as well."""

    def __init__(self, n_blocks: int, embeds: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        n_in, self.n_blocks = 32, n_blocks
        for number, (width, depth) in enumerate(BLOCKS[:n_blocks], 1):
            layer = []
            for i in range(depth):
                layer.append(_Block(n_in, width, 2 if number > 1 and i == 0 else 1))
                n_in = width
            setattr(self, f"layer{number}", nn.Sequential(*layer))
        if embeds:
            self.seg_1 = nn.Linear(5120, 256)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x.transpose(1, 2)[:, None])))
        for number in range(1, self.n_blocks + 1):
            x = getattr(self, f"layer{number}")(x)
        if not hasattr(self, "seg_1"):
            return x
        deviation = (x.var(dim=-1) + 1e-7).sqrt()
        return self.seg_1(torch.cat([x.mean(dim=-1).flatten(1), deviation.flatten(1)], dim=1))


def eager(state: dict[str, Tensor], n_blocks: int, embeds: bool) -> Peer:
    """PyTorch in float32: standard modules, one utterance after the other.

    Parameters
    ----------
    state : dict of str to Tensor
        Under WeSpeaker's names.
    n_blocks : int
    embeds : bool

    Returns
    -------
    callable
    """
    network = _ResNet(n_blocks, embeds).eval()
    network.load_state_dict({key: state[key] for key in network.state_dict()})

    def run(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(frames)[None]).numpy()[0]

    return run


def cut(path: Path, n_blocks: int, out: Path) -> None:
    """Write the first blocks of an ONNX file of WeSpeaker's ResNet34 as a file of their own.

    Parameters
    ----------
    path : Path
    n_blocks : int
    out : Path
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    rectified = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    last = rectified[2 * sum(depth for _, depth in BLOCKS[:n_blocks])]  # two a block, and the stem
    onnx.save(onnx.utils.Extractor(model).extract_model([model.graph.input[0].name], [last]), out)


def onnxruntime(path: Path, n_threads: int) -> Peer:
    """Run a file by onnxruntime with its own default optimisations.

    Parameters
    ----------
    path : Path
    n_threads : int

    Returns
    -------
    callable
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda frames: session.run(None, {name: frames[None]})[0][0]


def quantize(path: Path, utterances: list[NDArray[np.float32]], out: Path) -> None:
    """Write an 8-bit form of an ONNX file: weights per channel, maps by their range.

    Parameters
    ----------
    path : Path
    utterances : list of ndarray of shape (T, 80)
        To find the ranges on.
    out : Path
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = out.with_suffix(".ready.onnx")
    quant_pre_process(path, ready, skip_symbolic_shape=True)
    name = onnx.load(path).graph.input[0].name

    class Reader(quantization.CalibrationDataReader):
        feeds = iter([{name: utterance[None]} for utterance in utterances])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    quantization.quantize_static(ready, out, Reader(), per_channel=True)


def openvino(path: Path, n_threads: int, precision: str) -> Peer | None:
    """OpenVINO on an ONNX file; None if it is not installed.

    Parameters
    ----------
    path : Path
    n_threads : int
    precision : {"f32", "bf16"}

    Returns
    -------
    callable or None
    """
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino as ov

    settings = {
        "INFERENCE_NUM_THREADS": n_threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda frames: np.array(request.infer({0: frames[None]})[0][0])
