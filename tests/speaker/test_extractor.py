"""Frozen speaker blocks: parity with the exported network, invariances, cache, errors."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerFeatureExtractor,
    UtteranceFrames,
    VoiceActivityDetector,
)
from sklearn_speechsent.features import pool_statistics
from sklearn_speechsent.nn import SpeakerResNet
from sklearn_speechsent.nn.resnet import SpeakerBlocks
from sklearn_speechsent.pretrained import get_weights, has_weights, load_weights, weights_path
from sklearn_speechsent.store import feature_store

NAME = "wespeaker-voxceleb-resnet34"


@pytest.fixture(scope="module")
def segments(data_home):
    paths = sorted((data_home / "ravdess" / "Actor_01").glob("03-01-05-*.flac"))[:3]
    starts = [1.0, 1.2, 0.9]
    ends = [1.61, 2.2, 1.4]
    return pd.DataFrame({"file": paths, "start": starts, "end": ends})


@pytest.fixture(scope="module")
def mfb(segments):
    return MelFilterBank().fit_transform(segments)


@pytest.fixture(scope="module")
def frames(mfb):
    return SlidingCMN(window=None).fit_transform(mfb)


@pytest.fixture
def computed(monkeypatch):
    """Lengths of the utterances that went through the network."""
    lengths = []
    maps = SpeakerBlocks.maps

    def counting(self, x, *rest):
        lengths.append(x.shape[1])
        return maps(self, x, *rest)

    monkeypatch.setattr(SpeakerBlocks, "maps", counting)
    return lengths


# --- parity


@pytest.mark.data
def test_maps_and_embeddings_are_those_of_the_onnx_network(frames):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = onnx.load(weights_path(get_weights(NAME)))
    added = {node.output[0] for node in model.graph.node if node.op_type == "Add"}
    residual = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Relu" and node.input[0] in added
    ]
    ends = [residual[i] for i in (2, 6, 12, 15)]  # 3 + 4 + 6 + 3 residual blocks
    for name in ends:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    with torch.random.fork_rng(devices=[]):
        network = SpeakerResNet(**get_weights(NAME).architecture).eval()
    network.load_state_dict(load_weights(NAME).state)
    for utterance in frames[:2]:
        *expected, embedding = session.run([*ends, "embs"], {"feats": utterance[None]})
        for n_blocks, theirs in enumerate(expected, start=1):
            extractor = SpeakerFeatureExtractor(NAME, n_blocks=n_blocks, pooling=None)
            ours = extractor.fit_transform([utterance])[0]
            np.testing.assert_allclose(ours, theirs[0].transpose(2, 0, 1), atol=1e-4)
        with torch.inference_mode():
            own = network(torch.from_numpy(utterance)[None], torch.tensor([len(utterance)]))
        np.testing.assert_allclose(own.numpy(), embedding, atol=1e-4)


# --- invariances


@pytest.mark.data
@pytest.mark.parametrize("pooling", ["stats", None])
def test_neither_batch_nor_order_matters(frames, pooling):
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=2, pooling=pooling).fit(frames)
    together = extractor.transform(frames)
    backwards = extractor.transform(frames[::-1])
    for i, utterance in enumerate(frames):
        alone = extractor.transform([utterance])[0]
        np.testing.assert_allclose(alone, together[i], atol=1e-5)
        np.testing.assert_allclose(backwards[len(frames) - 1 - i], together[i], atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("compress", [None, "sqrt", "log1p"])
@pytest.mark.parametrize("n_bands", [10, 5])
def test_statistics_are_those_of_the_maps(frames, compress, n_bands):
    maps = SpeakerFeatureExtractor(NAME, n_blocks=3, pooling=None).fit_transform(frames)
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=3, n_bands=n_bands, compress=compress)
    table = extractor.fit_transform(frames)
    assert table.shape == (3, 2 * 128 * n_bands) and table.dtype == np.float32
    for row, utterance in zip(table, maps, strict=True):
        wide = 20 // n_bands
        bands = [utterance[:, :, b * wide : (b + 1) * wide].mean(axis=2) for b in range(n_bands)]
        banded = np.stack(bands, axis=2).astype(np.float64)
        mean = banded.sum(axis=0) / len(banded)
        std = np.sqrt(((banded - mean) ** 2).sum(axis=0) / len(banded))
        expected = np.concatenate([mean.ravel(), std.ravel()])
        expected = {None: expected, "sqrt": expected**0.5, "log1p": np.log(1 + expected)}[compress]
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.data
def test_feature_names(frames):
    maps = SpeakerFeatureExtractor(NAME, n_blocks=2, pooling=None).fit_transform(frames)
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=2, n_bands=40).set_output(transform="pandas")
    table = extractor.fit_transform(frames)
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == extractor.get_feature_names_out().tolist()
    assert table["block2_mean_c003_b7"][1] == pytest.approx(maps[1][:, 3, 7].mean(), abs=1e-5)
    assert table["block2_std_c063_b39"][0] == pytest.approx(maps[0][:, 63, 39].std(), abs=1e-5)


@pytest.mark.data
def test_maps_have_no_names_and_stay_maps(frames):
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=1, pooling=None, dtype="float16")
    assert not hasattr(extractor, "get_feature_names_out")
    assert extractor.set_output(transform="pandas") is extractor
    maps = extractor.fit_transform(frames)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(extractor.transform(frames), UtteranceFrames)
    assert isinstance(maps, UtteranceFrames) and maps.dtype == np.float16
    assert maps.frame_shape == (32, 80) and maps.lengths.tolist() == frames.lengths.tolist()
    exact = clone(extractor).set_params(dtype="float32").fit_transform(frames)
    np.testing.assert_allclose(maps.base, exact.base, rtol=1e-3, atol=1e-3)


@pytest.mark.data
@pytest.mark.parametrize(("n_blocks", "stride"), [(1, 1), (2, 2), (4, 8)])
def test_the_record_of_maps(frames, n_blocks, stride):
    maps = SpeakerFeatureExtractor(NAME, n_blocks=n_blocks, pooling=None).fit_transform(frames)
    assert maps.frame_settings["frame_shift"] == pytest.approx(0.01 * stride)
    assert maps.lengths.tolist() == (-(-frames.lengths // stride)).tolist()
    assert NAME in maps.frame_settings["srext"]
    assert frames.frame_settings["frame_shift"] == 0.01


@pytest.mark.data
def test_a_pipeline_of_frames_can_be_set_to_pandas(segments, frames):
    pipeline = make_pipeline(
        MelFilterBank(),
        VoiceActivityDetector(),
        SlidingCMN(window=None),
        SpeakerFeatureExtractor(NAME, n_blocks=1),
    ).set_output(transform="pandas")
    table = pipeline.fit_transform(segments)
    assert isinstance(table, pd.DataFrame) and table.shape == (3, 640)
    assert isinstance(pipeline[:-1].transform(segments), UtteranceFrames)


def test_frame_level_steps_take_set_output(rng):
    """Also where the setting is global, and in a pipeline without any table."""
    waves = rng.normal(0, 0.1, (2, 16000))
    pipeline = make_pipeline(MelFilterBank(), VoiceActivityDetector("energy"), SlidingCMN())
    assert isinstance(pipeline.set_output(transform="pandas").fit_transform(waves), UtteranceFrames)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(clone(pipeline).fit_transform(waves), UtteranceFrames)


# --- cache, pickle, threads


@pytest.mark.data
def test_memory_skips_the_network(frames, tmp_path, computed):
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=1, memory=tmp_path)
    first = extractor.fit_transform(frames)
    assert computed == frames.lengths.tolist()
    np.testing.assert_array_equal(clone(extractor).fit(frames).transform(frames[::-1]), first[::-1])
    assert len(computed) == 3
    for params in (
        {"n_blocks": 2},
        {"pooling": None},
        {"pooling": None, "dtype": "float16"},
        {"precision": "bfloat16"},
    ):
        computed.clear()
        clone(extractor).set_params(**params).fit_transform(frames[:1])
        assert len(computed) == 1, params
    extractor.transform(UtteranceFrames.from_arrays([frames[0] * 1.01]))
    assert len(computed) == 2
    for params in ({"n_jobs": 1}, {"verbose": 1}, {"compress": "sqrt"}, {"dtype": "float16"}):
        clone(extractor).set_params(**params).fit_transform(frames)
    assert len(computed) == 2


def test_a_search_runs_the_network_once(fitted, voices, tmp_path, computed):
    """Bands, statistics and compression follow from what is stored; blocks do not."""
    X, y = voices
    pipeline = make_pipeline(
        SpeakerFeatureExtractor(FrozenEstimator(fitted), n_blocks=2, memory=tmp_path),
        LogisticRegression(),
    )
    grid = {
        "speakerfeatureextractor__n_bands": [1, 4, 8],
        "speakerfeatureextractor__statistics": [["mean"], ["std"], ["thirds", "delta", "mean"]],
        "speakerfeatureextractor__compress": [None, "sqrt", "log1p"],
    }
    GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert sorted(computed) == sorted(X.lengths)
    other = {"speakerfeatureextractor__n_blocks": [1, 2]}
    GridSearchCV(pipeline.set_params(**{k: v[0] for k, v in grid.items()}), other, cv=2).fit(X, y)
    assert len(computed) == 2 * len(X)


@pytest.mark.parametrize("n_bands", [1, 2, 8])
@pytest.mark.parametrize("statistics", [["delta"], ["thirds", "mean"], ["mean", "std", "mean"]])
def test_statistics_from_a_store_are_those_without(fitted, voices, tmp_path, n_bands, statistics):
    X, _ = voices
    params = dict(n_blocks=2, n_bands=n_bands, statistics=statistics)
    plain = SpeakerFeatureExtractor(fitted, **params).fit(X)
    stored = SpeakerFeatureExtractor(fitted, memory=tmp_path, **params).fit(X)
    expected = plain.transform(X)
    assert expected.shape[1] == len(plain.get_feature_names_out())
    for rows in (slice(None), [3, 3, 0]):
        np.testing.assert_array_equal(stored.transform(X[rows]), expected[rows])
    maps = SpeakerFeatureExtractor(fitted, n_blocks=2, pooling=None).fit_transform(X)
    for row, utterance in zip(expected, maps, strict=True):
        pooled = pool_statistics(utterance, n_bands=n_bands, statistics=statistics)
        np.testing.assert_allclose(row, pooled, atol=1e-6)


@pytest.mark.data
def test_a_fitted_extractor_needs_no_weights_file(frames, tmp_path, monkeypatch):
    """In another process neither: tests/test_common.py."""
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=1).fit(frames)
    content, expected = pickle.dumps(extractor), extractor.transform(frames)
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path))
    assert not has_weights(NAME)
    found = pickle.loads(content).transform(frames)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("several", [False, True])
def test_threads_are_restored_when_extraction_fails(several, frames, monkeypatch):
    before = torch.get_num_threads()
    frames = frames[[0, 1] * before] if several else frames[:1]
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=1, n_jobs=before + 1).fit(frames)
    seen = []

    def failing(*args):
        seen.append(torch.get_num_threads())
        raise RuntimeError("no more memory")

    monkeypatch.setattr(SpeakerBlocks, "maps", failing)
    with pytest.raises(RuntimeError, match="no more memory"):
        extractor.transform(frames)
    assert set(seen) == {1 if several else before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.data
@pytest.mark.parametrize("pooling", ["stats", None])
def test_utterances_on_several_threads_are_the_same(pooling, frames, tmp_path):
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=2, pooling=pooling).fit(frames)
    one = extractor.transform(frames)
    for params in ({"n_jobs": 3}, {"n_jobs": 2, "memory": tmp_path}):
        several = extractor.set_params(**params).transform(frames)
        for expected, found in zip(one, several, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("weights", [NAME, "speechsent-seresnet"])
def test_bfloat16_is_close(weights, frames):
    def relative(found, expected):
        return np.linalg.norm(found - expected) / np.linalg.norm(expected)

    maps = SpeakerFeatureExtractor(weights, pooling=None).fit(frames)
    exact = maps.transform(frames)
    rough = maps.set_params(precision="bfloat16").transform(frames)
    assert rough.dtype == np.float32
    for expected, found in zip(exact, rough, strict=True):
        assert 1e-4 < relative(found, expected) < 4e-2
    pooled = SpeakerFeatureExtractor(weights).fit(frames)
    expected = pooled.transform(frames)
    found = pooled.set_params(precision="bfloat16").transform(frames)
    assert 1e-4 < relative(found, expected) < 3e-2


@pytest.mark.data
def test_the_network_is_frozen(frames):
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=2).fit(frames)
    assert not any(parameter.requires_grad for parameter in extractor.network_.parameters())
    state = {key: value.clone() for key, value in extractor.network_.state_dict().items()}
    extractor.network_.train()
    extractor.transform(frames)
    for key, value in extractor.network_.state_dict().items():
        assert torch.equal(value, state[key])


@pytest.mark.data
def test_size_of_maps_is_announced(frames, monkeypatch, capsys):
    extractor = SpeakerFeatureExtractor(NAME, n_blocks=2, pooling=None, dtype="float16", verbose=1)
    size = 2 * 64 * 40 * int(np.sum(-(-frames.lengths // 2)))
    monkeypatch.setattr(feature_store, "_memory_size", lambda: 2 * size)
    extractor.fit_transform(frames)
    said = capsys.readouterr().out
    assert "3 utterances after 2 blocks" in said and f"{size / 2**30:.2f} GiB" in said
    monkeypatch.setattr(feature_store, "_memory_size", lambda: 2 * size - 1)
    with pytest.warns(ResourceWarning, match="more than half"):
        extractor.set_params(verbose=0).transform(frames)
    assert capsys.readouterr().out == ""
    extractor.set_params(pooling="stats").transform(frames)  # statistics take nothing


# --- frames of another kind


@pytest.mark.data
@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"n_mels": 40}, "80 mel bins"),
        ({"sample_rate": 8000}, r"sample_rate=8000 \(expected 16000\)"),
        ({"window": "povey"}, "window='povey'"),
        ({"scale": 1.0}, "scale=1.0"),
        ({"frame_shift": 0.02}, "frame_shift=0.02"),
    ],
    ids=str,
)
def test_frames_of_another_kind(segments, frames, params, says):
    mfb = MelFilterBank(**params).fit_transform(segments)
    other = SlidingCMN(None).fit_transform(mfb)
    with pytest.raises(ValueError, match=says):
        SpeakerFeatureExtractor(NAME, n_blocks=1).fit(other)
    fitted = SpeakerFeatureExtractor(NAME, n_blocks=1).fit(frames)
    with pytest.raises(ValueError, match="80 features" if "n_mels" in params else says):
        fitted.transform(other)


@pytest.mark.data
def test_another_cmn_only_warns(mfb):
    for other, says in [(mfb, "no CMN"), (SlidingCMN(3.0).fit_transform(mfb), "CMN over 3.0 s")]:
        with pytest.warns(UserWarning, match=says):
            extractor = SpeakerFeatureExtractor(NAME, n_blocks=1).fit(other)
        with pytest.warns(UserWarning, match=r"SlidingCMN\(window=None\)"):
            extractor.transform(other)


@pytest.mark.data
def test_frames_without_a_record_pass(frames):
    with_record = SpeakerFeatureExtractor(NAME, n_blocks=1).fit(frames).transform(frames)
    without = SpeakerFeatureExtractor(NAME, n_blocks=1).fit(list(frames)).transform(list(frames))
    np.testing.assert_array_equal(with_record, without)


@pytest.mark.data
def test_bands_must_divide_the_frequencies(frames):
    says = "n_bands=7 does not divide the 20 frequencies of block 3"
    with pytest.raises(ValueError, match=says):
        SpeakerFeatureExtractor(NAME, n_bands=7).fit(frames)
    fitted = SpeakerFeatureExtractor(NAME, n_bands=5).fit(frames).set_params(n_bands=7)
    with pytest.raises(ValueError, match=says):
        fitted.transform(frames)


def test_parameters_are_checked(rng):
    frames = [rng.normal(size=(20, 80))]
    for params in ({"n_blocks": 5}, {"pooling": "max"}, {"compress": "cbrt"}, {"memory": 1}):
        with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
            SpeakerFeatureExtractor(**params).fit(frames)
    with pytest.raises(ValueError, match=f"no pre-trained weights named 'ecapa'; known: .*{NAME}"):
        SpeakerFeatureExtractor("ecapa").fit(frames)
