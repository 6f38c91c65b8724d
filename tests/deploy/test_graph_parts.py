"""Parts of graphs against what the steps of a pipeline compute."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from sklearn_speechsent import MelFilterBank, OrdinalClassifier, SlidingCMN, VoiceActivityDetector
from sklearn_speechsent.deploy.graphs import detector, frames, pieces
from sklearn_speechsent.deploy.graphs.encoder import encoder_output
from sklearn_speechsent.deploy.graphs.models import _thresholds
from sklearn_speechsent.deploy.graphs.sentiment import network_output
from sklearn_speechsent.deploy.graphs.statistics import banded, pooled
from sklearn_speechsent.deploy.graphs.tables import TableGraph
from sklearn_speechsent.features import frozen
from sklearn_speechsent.features.statistics import STATISTICS, pool_statistics
from sklearn_speechsent.graphs.builder import Graph
from sklearn_speechsent.nn import EncoderNetwork, SentimentNetwork, SpeakerBlocks
from sklearn_speechsent.nn.heads import ORDINAL_HEADS
from sklearn_speechsent.speech import SpeechEncoder
from sklearn_speechsent.speech.log_mel import whisper_log_mel
from sklearn_speechsent.vad.segments import smooth, without_clicks
from tests.graph_runs import computed, load_random_encoder


def randomised(kind, *args, seed=0, **kwargs):
    """Network in eval mode whose batch normalisations matter too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        network = kind(*args, **kwargs)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point() and tensor.numel() > 1:
                tensor.normal_(std=1.5 / tensor[0].numel() ** 0.5, generator=generator)
    return network.eval()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# -- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window": "povey", "n_mels": 40, "low_freq": 100.0, "high_freq": 7000.0},
        {"sample_rate": 8000, "preemphasis": 0.0, "scale": 1.0},
    ],
)
@pytest.mark.parametrize("n_frames", [1, 2, 97])
def test_log_mel_frames(rng, changes, n_frames):
    step = MelFilterBank(**changes)
    length, shift = step.design().frame
    samples = 0.1 * rng.standard_normal(length + (n_frames - 1) * shift + 7).astype(np.float32)
    samples += 0.2  # an offset is removed
    found = computed(lambda graph, x: frames.mel_frames(graph, x, step), samples)
    expected = step.log_mel(samples)
    assert found.shape == expected.shape == (n_frames, step.n_mels)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.mean(np.abs(found - expected) > 1e-4) < 1e-3


def test_fewer_samples_than_a_frame_is_an_error_that_says_so(rng):
    step = MelFilterBank()
    with pytest.raises(Exception, match="shorter_than_one"):
        computed(lambda graph, x: frames.mel_frames(graph, x, step), np.ones(399, np.float32))


@pytest.mark.parametrize("n", [400, 401, 560, 5000])
def test_log_mel_frames_of_whisper(rng, n):
    samples = rng.standard_normal(n).astype(np.float32)
    found = computed(lambda graph, x: frames.whisper_frames(graph, x, 80), samples)
    np.testing.assert_allclose(found, whisper_log_mel([samples]), atol=1e-5)


@pytest.mark.parametrize(("before", "sound", "after"), [(0, 900, 0), (7, 900, 3), (50, 30, 0)])
def test_zeros_at_the_ends_are_left_out(rng, before, sound, after):
    samples = np.zeros(before + sound + after, np.float32)
    samples[before : before + sound] = rng.uniform(0.1, 1.0, sound)
    samples[before + sound // 2] = 0.0
    found = computed(frames.trimmed, samples)
    assert len(found) == max(sound, 400)
    np.testing.assert_array_equal(found[:sound], samples[before : before + sound])
    assert not found[sound:].any()


@pytest.mark.parametrize("n_frames", [1, 4, 5, 6, 40])
@pytest.mark.parametrize("width", [None, 1, 4, 5])
def test_mean_normalisation(rng, n_frames, width):
    given = rng.normal(5.0, 3.0, (n_frames, 8)).astype(np.float32)
    step = SlidingCMN(width and width * 0.01)
    expected = step.fit_transform([given])[0]
    found = computed(lambda graph, x: frames.without_means(graph, x, width), given)
    np.testing.assert_allclose(found, expected, atol=1e-6)


# -- voice activity --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 11, 400])
@pytest.mark.parametrize("hangover", [0, 4])
def test_runs_of_speech(rng, n, hangover):
    scores = (rng.standard_normal(n).cumsum() / 5 % 1).astype(np.float32)

    def make(graph, x):
        filtered = detector._without_clicks(graph, x)
        speech = detector._runs(graph, filtered, 0.7, 0.3)
        return filtered, frames.widened(graph, speech, hangover)

    filtered, speech = computed(make, scores)
    np.testing.assert_array_equal(filtered, without_clicks(scores))
    expected = smooth(scores, threshold=0.7, hysteresis=0.3, hangover=hangover)
    np.testing.assert_array_equal(speech, expected)


@pytest.mark.parametrize("kind", ["voice", "shouted", "short voice", "noise", "hum", "one frame"])
def test_detector(speech, rng, kind):
    """Shouted: above the voices that the network knows, so that it looks a second time."""
    frontend = MelFilterBank()
    given = frontend.fit_transform([speech.data[0]])[0]
    given = given[: {"short voice": 60, "one frame": 1}.get(kind, len(given))]
    if kind == "shouted":
        given = np.roll(given, 8, axis=1)
    elif kind in ("noise", "hum"):
        sound = 0.01 * rng.standard_normal(40000)
        if kind == "hum":
            sound += 0.3 * np.sin(np.arange(40000) * 2 * np.pi * 100 / 16000)
        given = frontend.log_mel(sound.astype(np.float32))
    given = np.concatenate([np.full((30, 80), -15.95, np.float32), given])
    given = given if kind != "one frame" else given[-1:]
    step = VoiceActivityDetector()
    with nullcontext() if kind not in ("noise", "hum", "one frame") else pytest.warns(UserWarning):
        expected = step.fit_transform([given])[0]

    def make(graph, x):
        return detector.speech_frames(graph, x, step, frames.audible(graph, x, 2), 0.01)

    found, somebody = computed(make, given)
    assert somebody.item() == np.isfinite(expected).all()
    if somebody:
        np.testing.assert_array_equal(found, expected)


# -- statistics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 50])
def test_statistics(rng, n_frames):
    maps = rng.uniform(0.0, 9.0, (n_frames, 6, 4)).astype(np.float32)
    names = list(STATISTICS)

    def make(graph, x):
        bands = banded(graph, x, 4, 2).reshape(12, -1)
        return graph.Concat(*pooled(graph, bands, names), axis=0)

    found = computed(make, np.ascontiguousarray(maps.transpose(1, 2, 0)[None]))
    np.testing.assert_allclose(
        found, pool_statistics(maps, n_bands=2, statistics=names), rtol=1e-5, atol=1e-6
    )


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("se_ratio", [None, 8])
@pytest.mark.parametrize("n_frames", [1, 30, 41, 97, 131])
def test_speaker_blocks(rng, monkeypatch, se_ratio, n_frames):
    """With squeeze-excitation, what is longer than 40 frames here gets its means from pieces."""
    for module in (frozen, pieces):
        monkeypatch.setattr(module, "GATED_WHOLE", 40)
        monkeypatch.setattr(module, "PIECE", 17)
    shape = {"n_mels": 16, "widths": (8, 8, 16), "depths": (1, 1, 1)}
    network = randomised(SpeakerBlocks, 3, se_ratio=se_ratio, **shape)
    given = rng.standard_normal((n_frames, 16)).astype(np.float32)
    function = frozen.FrozenFunction(
        network, "float32", lambda maps, n: np.concatenate(list(maps)), None
    )
    (expected,) = function([given])
    found = computed(lambda graph, x: pieces.speaker_maps(graph, network, x), given)
    atol = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(found[0].transpose(2, 0, 1), expected, atol=atol)


@pytest.mark.parametrize("n", [400, 16000 * 2, 16000 * 2 + 500, 16000 * 5])
@pytest.mark.parametrize("normalize", [None, "level"])
def test_whisper_in_pieces(rng, monkeypatch, n, normalize):
    """A piece is 2 s here."""
    samples = (0.1 * rng.standard_normal(n)).astype(np.float32)
    samples[:100] = 0.0 if n > 400 else samples[:100]
    step = SpeechEncoder(layers=(0, 3), statistics=("mean", "std", "thirds"), normalize=normalize)
    load_random_encoder(monkeypatch)
    expected = step.fit([samples]).transform([samples])
    found = computed(lambda graph, x: encoder_output(graph, x, step), samples)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("head", ORDINAL_HEADS)
@pytest.mark.parametrize("decoder", ["cgd", "flat", "stats", "attentive"])
def test_sentiment_network(rng, head, decoder):
    network = randomised(
        SentimentNetwork,
        in_frequencies=24,
        n_levels=4,
        ordinal=head,
        decoder=decoder if decoder != "flat" else "cgd",
        flatten_frequency=decoder == "flat",
        stext=((1, 8), (1, 16)),
        n_tuned_blocks=1,
        widths=(8,),
        depths=(1,),
        embedding_size=6,
        spe_size=5,
    )
    check_heads(network, rng.standard_normal((33, 24)), rng.standard_normal((1, 6)))


def test_sentiment_network_on_maps(rng):
    network = randomised(SentimentNetwork, 4, 12, stext=((1, 8),), se_ratio=4)
    maps = rng.standard_normal((21, 4, 12))
    check_heads(network, maps, None, maps.transpose(1, 2, 0)[None])


def test_network_on_layers_of_an_encoder(rng):
    network = randomised(EncoderNetwork, 3, 16, 5, hidden_size=8)
    check_heads(network, rng.standard_normal((21, 3, 16)), None)


def check_heads(network, x, embedding, in_graph=None):
    """Compare both heads; ``in_graph`` is x as graphs have it."""
    x = x.astype(np.float32)
    in_graph = x if in_graph is None else np.ascontiguousarray(in_graph, np.float32)
    embeddings = [] if embedding is None else [embedding.astype(np.float32)]
    with torch.no_grad():
        given = [torch.from_numpy(e) for e in embeddings] or [None]
        expected = network(torch.from_numpy(x)[None], torch.tensor([len(x)]), *given)
        ordinal = network.heads["ordinal"].cumulative(expected["ordinal"])

    def make(graph, x, embedding=None):
        return [
            network_output(graph, network, x, embedding, head) for head in ("regression", "ordinal")
        ]

    found = computed(make, in_graph, *embeddings)
    np.testing.assert_allclose(found[0], expected["regression"].numpy(), atol=1e-4)
    np.testing.assert_allclose(found[1], ordinal.numpy(), atol=1e-5)


def test_another_module_is_an_error():
    graph = Graph()
    x = graph.input("x", np.float32, ["n", 3])
    with pytest.raises(ValueError, match="module=Flatten cannot be exported: SentimentNetwork"):
        network_output(graph, torch.nn.Flatten(), x, None, "ordinal")


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        SVC(kernel="rbf"),
        make_pipeline(StandardScaler(with_mean=False), PCA(3, whiten=True), SVC(kernel="poly")),
        make_pipeline(PCA(4), SVC(kernel="sigmoid", coef0=0.1)),
        make_pipeline("passthrough", SVC(kernel="linear")),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
)
def test_thresholds(rng, estimator):
    X = rng.standard_normal((60, 6)).astype(np.float32)
    y = np.clip(np.rint(X[:, 0] + 0.3 * rng.standard_normal(60)), -1, 1)
    with pytest.warns(UserWarning, match="No training label is at level 2"):
        model = OrdinalClassifier(estimator, levels=[-1, 0, 1, 2]).fit(X, y)
    proba = model.predict_proba(X[:5])
    for row, expected in zip(X[:5, None], proba, strict=True):
        found = computed(lambda graph, x: _thresholds(model, TableGraph(graph, x)), row)
        np.testing.assert_allclose(found[0], 1 - expected.cumsum()[:-1], atol=1e-6)


@pytest.mark.parametrize("estimator", [SVR(), make_pipeline(StandardScaler(), Ridge())])
def test_intensities(rng, estimator):
    X = rng.standard_normal((40, 6))
    estimator.fit(X, X[:, 0])
    found = computed(lambda graph, x: TableGraph(graph, x).output(estimator), X[:1])
    np.testing.assert_allclose(found.ravel(), estimator.predict(X[:1]), atol=1e-9)
