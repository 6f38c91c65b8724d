"""Features of a CUDA device: those of the processor, in an estimator that stays there."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_speechsent import (
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeechEncoder,
    UtteranceFrames,
    make_sentiment_pipeline,
)
from sklearn_speechsent.utils.devices import exact_float32

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
STEPS = {
    "maps of two blocks": SpeakerFeatureExtractor(n_blocks=2, pooling=None),
    "maps of three blocks": SpeakerFeatureExtractor(n_blocks=3, pooling=None),
    "statistics": SpeakerFeatureExtractor(statistics=("mean", "std", "delta", "thirds")),
    "embeddings": SpeakerEmbedder(normalize=False),
}


def assert_close(found, expected, tolerance=1e-4):
    """Equal, relative to the largest value."""
    found, expected = (x.base if isinstance(x, UtteranceFrames) else x for x in (found, expected))
    assert found.shape == expected.shape and np.isfinite(found).all()
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def tensors_of(network):
    return [*network.parameters(), *network.buffers()]


@pytest.mark.parametrize("n_jobs", [None, 4])
@pytest.mark.parametrize("name", STEPS)
def test_the_speaker_network(name, n_jobs, spoken):
    """In batches, and one long recording in pieces."""
    here = clone(STEPS[name]).fit(spoken)
    there = clone(STEPS[name]).set_params(device=DEVICE, n_jobs=n_jobs)
    assert_close(there.fit_transform(spoken), here.transform(spoken))
    assert_close(there.transform(spoken[[0]]), here.transform(spoken[[0]]))
    assert {tensor.device.type for tensor in tensors_of(there.network_)} == {"cpu"}
    assert_close(pickle.loads(pickle.dumps(there)).transform(spoken), here.transform(spoken))


def test_bfloat16(spoken):
    exact = clone(STEPS["maps of two blocks"]).fit_transform(spoken).base
    step = clone(STEPS["maps of two blocks"]).set_params(precision="bfloat16", device=DEVICE)
    rough = step.fit_transform(spoken).base
    assert 1e-4 < np.linalg.norm(rough - exact) / np.linalg.norm(exact) < 4e-2


@pytest.mark.parametrize("n_jobs", [None, 4])
@pytest.mark.parametrize("pooling", ["stats", None])
def test_the_encoder(pooling, n_jobs, speech, model):
    """Positions for two seconds: longer recordings take several pieces."""
    here = SpeechEncoder(model, pooling=pooling).fit(speech.data)
    there = clone(here).set_params(device=DEVICE, n_jobs=n_jobs)
    assert_close(there.fit_transform(speech.data), here.transform(speech.data))
    assert {tensor.device.type for tensor in tensors_of(there.network_)} == {"cpu"}


def test_both_devices_share_a_store(spoken, tmp_path):
    there = SpeakerFeatureExtractor(device=DEVICE, memory=tmp_path / "store")
    expected = there.fit_transform(spoken)
    here = clone(there).set_params(device="cpu")
    np.testing.assert_array_equal(here.fit_transform(spoken), expected)  # read, not computed


def test_small(speech):
    here = make_sentiment_pipeline(n_jobs=2).fit(speech.data, speech.target)
    there = make_sentiment_pipeline(n_jobs=2, device=DEVICE).fit(speech.data, speech.target)
    found, expected = (p.predict_proba(speech.data) for p in (there, here))
    np.testing.assert_allclose(found, expected, atol=1e-3)  # calibrated by cross-validation


def test_products_are_exact_for_a_while():
    """As in float64, to the digits of float32; what the user has set comes back."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*s, generator=generator) for s in ((8, 64, 40, 40), (64, 64, 3, 3)))
    exact = torch.nn.functional.conv2d(x.double(), weight.double())
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        before = torch.backends.cudnn.conv.fp32_precision
        with exact_float32(torch.device(DEVICE)):
            maps = torch.nn.functional.conv2d(x.to(DEVICE), weight.to(DEVICE)).cpu()
            product = (x.to(DEVICE)[0, 0] @ x.to(DEVICE)[0, 1]).cpu()
        assert torch.backends.cudnn.conv.fp32_precision == before
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"
    assert (maps - exact).abs().max() < 2e-6 * exact.abs().max()
    assert (product - x[0, 0].double() @ x[0, 1].double()).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there(name, spoken, speech, model):
    for step, X in ((SpeakerEmbedder(), spoken), (SpeechEncoder(model), speech.data)):
        with pytest.raises(ValueError, match=f"device='{name}' cannot be used"):
            step.set_params(device=name).fit(X)
