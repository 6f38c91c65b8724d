"""Frozen networks by OpenVINO, against the same by torch."""

import importlib.util
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sklearn_speechsent import (
    FeatureStore,
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeechEncoder,
    VoiceActivityDetector,
    make_sentiment_pipeline,
)
from sklearn_speechsent.features import frozen
from sklearn_speechsent.graphs import openvino
from sklearn_speechsent.nn import SpeakerResNet, SpeechUNet
from sklearn_speechsent.pretrained import save_weights
from sklearn_speechsent.speech.layers import LayersFunction
from sklearn_speechsent.vad import scores as vad_scores
from tests.graph_runs import load_random_encoder

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the package openvino is not installed"
)
#: Frames of the longest piece here; utterances of one piece, of one exactly, of several.
PIECE = 40
LENGTHS = (1, 2, 25, PIECE, PIECE + 1, 133)


@pytest.fixture(autouse=True)
def nothing_compiled():
    yield
    openvino._compiled.clear()


@pytest.fixture
def frames(rng):
    return [3 * rng.standard_normal((n, 16)).astype(np.float32) for n in LENGTHS]


@pytest.fixture(params=[None, 4], ids=["plain", "gated"])
def weights(request, tmp_path, monkeypatch):
    """File of a small network whose normalisations matter; pieces are short."""
    monkeypatch.setattr(frozen, "PIECE", PIECE)
    monkeypatch.setattr(frozen, "GATED_WHOLE", 2 * PIECE)
    architecture = {"n_mels": 16, "widths": (8, 8, 16, 16), "depths": (1, 2, 1, 1)}
    architecture |= {"se_ratio": request.param, "embedding_size": 5}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SpeakerResNet(**architecture)
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"):
                buffer.normal_()
    return save_weights(
        tmp_path / "small.safetensors",
        network.state_dict(),
        architecture=architecture,
        frame_settings={"n_mels": 16, "cmn": None},
    )


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@needs_openvino
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (SpeakerFeatureExtractor, {"n_bands": 2}),
        (SpeakerFeatureExtractor, {"pooling": None, "n_blocks": 2}),
        (SpeakerEmbedder, {}),
    ],
)
def test_speaker_networks(frames, weights, computed, kind, settings, n_jobs):
    """All lengths; with squeeze-excitation torch computes what is longer than a piece."""
    expected = kind(weights, **settings).fit_transform(frames)
    assert computed
    computed.clear()
    step = kind(weights, backend="openvino", n_jobs=n_jobs, **settings).fit(frames)
    found = step.transform(frames)
    if settings.get("pooling", "") is None:
        expected, found = expected.base, found.base
    assert_close(found, expected)
    assert (not computed) or step.network_.has_gates
    assert all(length > PIECE for length in computed)


@needs_openvino
def test_scores_of_the_detector(rng, monkeypatch, speech):
    """With silence in between, a piece of 100 frames, and voices that are looked at twice."""
    monkeypatch.setattr(vad_scores, "_MAX_FRAMES", 100)
    X = [-5 + 3 * rng.standard_normal((n, 80)).astype(np.float32) for n in (1, 2, 33, 100, 337)]
    X[2][:9] = -16.0
    detector = VoiceActivityDetector().fit(X)
    expected = detector.frame_scores(X)
    pipeline = make_sentiment_pipeline("small").fit(speech.data, speech.target)
    masks = pipeline[:2].transform(speech.data)

    def fail(*args):
        raise AssertionError("torch computes")

    monkeypatch.setattr(SpeechUNet, "forward", fail)
    found = detector.set_params(backend="openvino").frame_scores(X)
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, wanted, atol=1e-5)
    pipeline.set_params(vad__backend="openvino")
    np.testing.assert_array_equal(pipeline[:2].transform(speech.data).lengths, masks.lengths)


@needs_openvino
@pytest.mark.parametrize("pooling", ["stats", None])
def test_whisper(rng, monkeypatch, pooling):
    """Utterances in one piece and in several; a piece is 2 s here."""
    X = [0.1 * rng.standard_normal(n).astype(np.float32) for n in (400, 16000, 16000 * 5)]
    load_random_encoder(monkeypatch)
    settings = {"layers": (0, 1, 3), "pooling": pooling}
    expected = SpeechEncoder(**settings).fit_transform(X)
    monkeypatch.setattr(LayersFunction, "_run", None)
    found = SpeechEncoder(backend="openvino", n_jobs=2, **settings).fit_transform(X)
    if pooling is None:
        expected, found = expected.base, found.base
    assert_close(found, expected)


@needs_openvino
def test_a_pickle_computes_the_same_and_holds_nothing_compiled(frames, weights):
    step = SpeakerEmbedder(weights, backend="openvino").fit(frames)
    before = len(pickle.dumps(step))
    expected = step.transform(frames)
    assert len(pickle.dumps(step)) == before
    (held,) = openvino._compiled.values()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(step)).transform(frames), expected)
    assert [*openvino._compiled.values()] == [held]  # of the same tensors


@needs_openvino
def test_a_network_that_is_changed_is_compiled_again(frames, weights):
    step = SpeakerEmbedder(weights, backend="openvino").fit(frames)
    before = step.transform(frames)
    with torch.no_grad():
        step.network_.conv1.weight.mul_(2.0)
    after = step.transform(frames)
    assert not np.allclose(after, before, atol=1e-3)
    assert_close(step.set_params(backend="torch").transform(frames), after)


@needs_openvino
def test_the_oldest_of_many_compiled_networks_is_dropped(frames, weights, monkeypatch):
    monkeypatch.setattr(openvino, "_HELD", 2)
    for n_blocks in (1, 2, 3):
        SpeakerFeatureExtractor(
            weights, n_blocks=n_blocks, n_bands=1, backend="openvino"
        ).fit_transform(frames)
    assert len(openvino._compiled) == 2


@needs_openvino
def test_threads_may_share_an_estimator(frames, weights):
    step = SpeakerEmbedder(weights, backend="openvino").fit(frames)
    expected = step.transform(frames)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(step.transform, [frames] * 8):
            np.testing.assert_array_equal(found, expected)


@needs_openvino
def test_a_store_holds_features_of_either_backend(frames, weights, computed, tmp_path):
    store = FeatureStore(tmp_path / "store")
    expected = SpeakerEmbedder(weights, memory=store).fit_transform(frames)
    computed.clear()
    found = SpeakerEmbedder(weights, backend="openvino", memory=store).fit_transform(frames)
    np.testing.assert_array_equal(found, expected)
    assert not computed and not openvino._compiled


def test_in_bfloat16_backends_have_keys_of_their_own():
    assert frozen.arithmetic("bfloat16", "torch") != frozen.arithmetic("bfloat16", "openvino")
    assert frozen.arithmetic("float32", "torch") == frozen.arithmetic("float32", "openvino")


@needs_openvino
def test_importing_it_reports_nothing():
    code = (
        "import sys; from sklearn_speechsent.graphs.openvino import load_openvino\n"
        "load_openvino().Core()\n"
        "assert not any(name.startswith('openvino_telemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_openvino
def test_bfloat16_needs_a_processor_that_has_it(frames, weights):
    step = SpeakerEmbedder(weights, backend="openvino", precision="bfloat16")
    units = openvino.load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in units:
        expected = SpeakerEmbedder(weights).fit_transform(frames)
        assert np.linalg.norm(step.fit_transform(frames) - expected) < 0.1 * len(frames) ** 0.5
    else:
        with pytest.raises(ValueError, match="units for it, and this one has none"):
            step.fit(frames)


# -- without it ------------------------------------------------------------------------------------


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)


@pytest.mark.parametrize("kind", [SpeakerEmbedder, SpeakerFeatureExtractor, VoiceActivityDetector])
def test_a_missing_package_is_an_error_of_fit(rng, not_installed, kind):
    step = kind(backend="openvino")
    with pytest.raises(ImportError, match=r'pip install "sklearn-speechsent\[openvino\]"'):
        step.fit([rng.standard_normal((50, 80))])


def test_a_missing_package_is_an_error_of_an_encoder(rng, not_installed, monkeypatch):
    load_random_encoder(monkeypatch)
    with pytest.raises(ImportError, match=r'pip install "sklearn-speechsent\[openvino\]"'):
        SpeechEncoder(layers=(1,), backend="openvino").fit([rng.standard_normal(16000)])


def test_a_model_that_is_loaded_where_it_is_missing_takes_torch(frames, weights, not_installed):
    expected = SpeakerEmbedder(weights).fit_transform(frames)
    step = SpeakerEmbedder(weights).fit(frames).set_params(backend="openvino")
    step = pickle.loads(pickle.dumps(step))
    with pytest.warns(UserWarning, match=r"openvino\].*torch is used instead"):
        found = step.transform(frames)
    np.testing.assert_array_equal(found, expected)
