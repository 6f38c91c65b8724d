"""Embeddings of a pre-trained network: parity, invariances, cache, files of every kind, errors."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    UtteranceFrames,
)
from sklearn_speechsent.metrics import equal_error_rate, make_trials
from sklearn_speechsent.nn import SpeakerResNet
from sklearn_speechsent.pretrained import get_weights, load_weights, weights_path

NAME = "wespeaker-voxceleb-resnet34"


@pytest.fixture
def computed(monkeypatch):
    """Lengths of the utterances that went through the network."""
    lengths = []
    maps = SpeakerResNet.maps

    def counting(self, x, *rest):
        lengths.append(x.shape[1])
        return maps(self, x, *rest)

    monkeypatch.setattr(SpeakerResNet, "maps", counting)
    return lengths


# -- a verifier as weights -------------------------------------------------------------------------


def test_embeddings_are_those_of_the_verifier(fitted, voices):
    X, _ = voices
    embedder = SpeakerEmbedder(fitted)
    embeddings = embedder.fit_transform(X)
    assert embedder.weights_.name == "SpeakerVerifier" and embedder.weights_.state == {}
    np.testing.assert_allclose(embeddings, fitted.transform(X), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    raw = SpeakerEmbedder(fitted, normalize=False).fit_transform(X)
    mean, matrix = fitted.wccn_
    expected = (fitted._outputs(X)["speaker"] - mean) @ matrix
    np.testing.assert_allclose(raw, expected, rtol=1e-3, atol=1e-3)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=1e-2)


def test_saved_weights_embed_the_same(fitted, voices, tmp_path):
    X, _ = voices
    path = fitted.save_weights(tmp_path / "mine.safetensors", licence="CC0")
    weights = load_weights(path)
    assert weights.extra == {"licence": "CC0"}
    assert weights.frame_settings == {**X.frame_settings} and not weights.folded
    for source in (path, str(path)):
        embeddings = SpeakerEmbedder(source).fit_transform(X)
        np.testing.assert_allclose(embeddings, fitted.transform(X), atol=1e-5)


def test_a_file_must_say_how_frames_were_made(voices, params, tmp_path):
    bare = UtteranceFrames.from_arrays(list(voices[0]))
    verifier = SpeakerVerifier(**params).fit(bare, voices[1])
    with pytest.raises(ValueError, match="without a record"):
        verifier.save_weights(tmp_path / "mine.safetensors")
    embeddings = SpeakerEmbedder(verifier).fit_transform(voices[0])  # in memory it may be unknown
    np.testing.assert_allclose(embeddings, verifier.transform(bare), atol=1e-5)


def test_further_training_does_not_change_a_fitted_embedder(fitted, voices):
    X, y = voices
    embedder = SpeakerEmbedder(FrozenEstimator(fitted)).fit(X)
    before = embedder.transform(X)
    fitted.partial_fit(X, y)
    np.testing.assert_array_equal(embedder.transform(X), before)
    assert not np.allclose(clone(embedder).fit_transform(X), before, atol=1e-4)


def test_a_clone_has_the_frozen_verifier_and_all_else(fitted, voices):
    X, _ = voices
    frozen = FrozenEstimator(fitted)
    embedder = SpeakerEmbedder(frozen, normalize=False).set_output(transform="pandas").fit(X)
    again = clone(make_pipeline(embedder))[0]
    assert again.weights is frozen and again.normalize is False
    assert not hasattr(again, "network_")
    table = again.fit_transform(X)
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == [f"speaker{k:03d}" for k in range(6)]
    np.testing.assert_array_equal(table, embedder.transform(X))


@pytest.mark.parametrize(
    "cls", [SpeakerEmbedder, partial(SpeakerFeatureExtractor, n_blocks=1, n_bands=4)]
)
def test_a_bare_verifier_is_cloned_like_any_parameter(fitted, voices, cls):
    """Only FrozenEstimator leaves it fitted, in every step that takes weights."""
    X, _ = voices
    step = cls(fitted)
    again = clone(step)
    assert isinstance(again.weights, SpeakerVerifier) and again.weights is not fitted
    for unfitted in (again, cls(clone(fitted))):
        with pytest.raises(NotFittedError, match=r"FrozenEstimator\(verifier\)"):
            unfitted.fit(X)
    with pytest.raises(NotFittedError):
        step.transform(X)
    frozen = clone(cls(FrozenEstimator(fitted)))
    np.testing.assert_array_equal(
        np.asarray(frozen.fit_transform(X)), np.asarray(step.fit_transform(X))
    )


def test_cross_validation_over_embeddings(fitted, make_voices):
    X, y = make_voices(n_each=6)
    pipeline = make_pipeline(SpeakerEmbedder(FrozenEstimator(fitted)), LogisticRegression())
    result = cross_validate(pipeline, X, y, cv=3, error_score="raise")
    assert result["test_score"].mean() > 0.5  # chance: 0.25


# -- invariances and cache -------------------------------------------------------------------------


def test_neither_batch_nor_order_matters(fitted, voices):
    X, _ = voices
    embedder = SpeakerEmbedder(fitted).fit(X)
    together = embedder.transform(X)
    np.testing.assert_array_equal(embedder.transform(X[::-1]), together[::-1])
    for k, utterance in enumerate(X):
        np.testing.assert_array_equal(embedder.transform([utterance])[0], together[k])


def test_memory_skips_the_network(fitted, voices, tmp_path, computed):
    X, y = voices
    embedder = SpeakerEmbedder(FrozenEstimator(fitted), memory=tmp_path)
    first = embedder.fit_transform(X)
    assert computed == X.lengths.tolist()
    again = clone(embedder).set_params(normalize=False).fit(X)
    np.testing.assert_allclose(
        again.transform(X[::-1]) / np.linalg.norm(again.transform(X[::-1]), axis=1)[:, None],
        first[::-1],
        atol=1e-6,
    )
    assert len(computed) == 12
    embedder.transform([X[0] * 1.01])
    assert len(computed) == 13  # other frames
    fitted.partial_fit(X, y)
    computed.clear()
    embedder.fit_transform(X[:2])
    assert len(computed) == 2  # other weights


def test_bad_recordings_have_nan_embeddings(fitted, voices):
    X, _ = voices
    arrays = [u.copy() for u in X]
    arrays[2][0, 0] = np.nan
    embeddings = SpeakerEmbedder(fitted).fit_transform(arrays)
    assert np.isnan(embeddings[2]).all()
    rest = np.arange(12) != 2
    np.testing.assert_allclose(
        embeddings[rest], SpeakerEmbedder(fitted).fit_transform(X)[rest], atol=1e-6
    )


# -- frames and files that do not fit --------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sample_rate": 8000}, r"sample_rate=8000 \(expected 16000\)"),
        ({"size": 24}, "16 mel bins|16 features"),
    ],
)
def test_frames_of_another_kind(fitted, voices, make_voices, settings, says):
    other = make_voices(**settings)[0]
    with pytest.raises(ValueError, match=says):
        SpeakerEmbedder(fitted).fit(other)
    with pytest.raises(ValueError, match=says):
        SpeakerEmbedder(fitted).fit(voices[0]).transform(other)


def test_another_cmn_warns(fitted, make_voices):
    with pytest.warns(UserWarning, match="CMN over 3.0 s"):
        SpeakerEmbedder(fitted).fit(make_voices(cmn=3.0)[0])


def wespeaker_file(path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SpeakerResNet(
            5,
            n_mels=16,
            widths=(4, 8),
            depths=(1, 1),
            se_ratio=None,
        )
    torch.save(network.state_dict(), path)
    return network.eval()


def test_state_dict_of_wespeaker(tmp_path, rng):
    network = wespeaker_file(tmp_path / "avg.pt")
    X = [rng.normal(size=(n, 16)).astype(np.float32) for n in (9, 30)]
    embeddings = SpeakerEmbedder(tmp_path / "avg.pt", normalize=False).fit_transform(X)
    for utterance, embedding in zip(X, embeddings, strict=True):
        with torch.no_grad():
            expected = network(torch.from_numpy(utterance)[None], torch.tensor([len(utterance)]))
        np.testing.assert_allclose(embedding, expected[0], atol=1e-5)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_files(fitted, voices, tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pt":
        wespeaker_file(path)
    else:
        fitted.save_weights(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=rf"mine{suffix}.*damaged, incomplete"):
        SpeakerEmbedder(path).fit(voices[0])


def test_another_architecture_names_the_first_key(tmp_path, voices):
    wespeaker_file(tmp_path / "odd.pt")
    state = torch.load(tmp_path / "odd.pt", weights_only=True)
    state["layer2.0.conv1.weight"] = state["layer2.0.conv1.weight"][:, :3]
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=r"'layer2.0.conv1.weight' has shape \(8, 3, 3, 3\)"):
        SpeakerEmbedder(tmp_path / "odd.pt").fit(voices[0])


def test_parameters_are_checked(voices):
    for wrong in ({"weights": 3}, {"normalize": "yes"}, {"memory": 1}):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter"):
            SpeakerEmbedder(**wrong).fit(voices[0])


def test_lower_blocks_of_a_verifier(fitted, voices):
    X, _ = voices
    for weights in (fitted, FrozenEstimator(fitted)):
        maps = SpeakerFeatureExtractor(weights, n_blocks=1, pooling=None).fit_transform(X)
        with torch.no_grad():
            utterance = torch.from_numpy(X[3])[None]
            embedder = fitted.module_.embedder.eval()
            n_blocks, embedder.n_blocks = embedder.n_blocks, 1
            expected, _ = embedder.maps(utterance, torch.tensor([len(X[3])]))
            embedder.n_blocks = n_blocks
        np.testing.assert_allclose(maps[3], expected[0].permute(2, 0, 1), atol=1e-5)


# -- the real network ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def librispeech(data_home):
    """Recordings of LibriSpeech test-other and their speakers."""
    paths = sorted((data_home / "librispeech_excerpts" / "test-other").rglob("*.flac"))
    if not paths:
        pytest.skip("no LibriSpeech excerpts in the data home")
    if not weights_path(get_weights(NAME)).is_file():
        pytest.skip("no pre-trained weights in the data home")
    return paths, np.array([path.stem.split("-")[0] for path in paths])


@pytest.mark.data
def test_embeddings_are_those_of_onnxruntime(librispeech):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = weights_path(get_weights(NAME))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    table = pd.DataFrame({"file": librispeech[0][::40], "start": 0.5, "end": [1.5, 2.0, 2.25]})
    X = make_pipeline(MelFilterBank(), SlidingCMN(window=None)).fit_transform(table)
    for weights in (NAME, path):
        embeddings = SpeakerEmbedder(weights, normalize=False, n_jobs=1).fit_transform(X)
        for utterance, embedding in zip(X, embeddings, strict=True):
            (expected,) = session.run(["embs"], {"feats": utterance[None]})
            np.testing.assert_allclose(embedding, expected[0], atol=1e-4)


@pytest.fixture(scope="module")
def short_segments(librispeech):
    """Frames of the first 3 seconds of all recordings of every other speaker, and the speakers."""
    paths, speakers = librispeech
    table = pd.DataFrame({"file": paths, "speaker": speakers})
    table = table[table["speaker"].isin(np.unique(speakers)[::2])]
    ends = [min(3.0, soundfile.info(path).duration) for path in table["file"]]
    frames = MelFilterBank().fit_transform(table[["file"]].assign(start=0.0, end=ends))
    return SlidingCMN(window=None).fit_transform(frames), table["speaker"].to_numpy()


@pytest.mark.data
@pytest.mark.parametrize(("name", "bound"), [(NAME, 0.006), ("speechsent-seresnet", 0.06)])
def test_error_rate_on_short_segments(short_segments, name, bound):
    """The whole recordings, and all of them, are for a benchmark."""
    frames, speakers = short_segments
    embeddings = SpeakerEmbedder(name, n_jobs=1).fit_transform(frames)
    first, second, same = make_trials(speakers)
    assert len(same) == 1225
    assert equal_error_rate(same, (embeddings[first] * embeddings[second]).sum(axis=1)) <= bound
