import numpy as np
import pytest
import torch
from encoders import random_encoder

from benchmarks.speed import _encoder_peers as peers
from benchmarks.speed._network_peers import onnxruntime
from benchmarks.speed.encoders import normalised, operations

SECONDS = 0.6


@pytest.fixture(scope="module")
def network():
    return random_encoder(n_positions=1500)


def ours(network, frames):
    with torch.inference_mode():
        return normalised(network(torch.from_numpy(frames)[None])[0, :, 0].numpy())


def log_mel(n_frames, seed=0):
    return np.random.RandomState(seed).randn(n_frames, 80).astype(np.float32)


def test_transformers_pads_to_half_a_minute(network):
    pytest.importorskip("transformers")
    from transformers import WhisperFeatureExtractor

    samples = np.random.RandomState(0).randn(round(16000 * SECONDS)).astype(np.float32)
    frames = WhisperFeatureExtractor(80)(samples, sampling_rate=16000).input_features[0].T
    assert frames.shape == (3000, 80)
    run = peers.transformers_as_it_comes(peers.as_transformers(network), "sdpa")
    np.testing.assert_allclose(
        normalised(run(samples)), ours(network, np.ascontiguousarray(frames)), atol=1e-3
    )


def test_ctranslate2_takes_other_lengths(network, tmp_path):
    for module in ("ctranslate2", "transformers"):
        pytest.importorskip(module)
    peers.write_ctranslate2(peers.as_transformers(network), tmp_path / "model")
    run = peers.ctranslate2(tmp_path / "model", "float32", 1)
    for n_frames in (60, 200):
        frames = log_mel(n_frames)
        np.testing.assert_allclose(normalised(run(frames)), ours(network, frames), atol=1e-3)


def test_the_export_serves_every_length(network, tmp_path):
    pytest.importorskip("onnxscript")
    peers.write_onnx(network, tmp_path / "encoder.onnx")
    run = onnxruntime(tmp_path / "encoder.onnx", 1)
    for n_frames in (30, 61, 400):
        frames = log_mel(n_frames)
        np.testing.assert_allclose(normalised(run(frames)), ours(network, frames), atol=1e-3)


def test_operations_are_those_that_torch_counts(network):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # The fused attention of the processor is not counted, plain products are.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        ours(network, log_mel(101))
    assert operations(network, 101) == counter.get_total_flops()
