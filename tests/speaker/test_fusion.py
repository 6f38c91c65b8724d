"""Speaker embeddings next to the frames: their source, and that each stays with its utterance."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from estimators import encoder_file
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, normalize
from sklearn.utils import get_tags, shuffle

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeechEncoder,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
    VoiceActivityDetector,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.nn import EncoderNetwork


@pytest.fixture
def fused(voices):
    """Frames with the normalised statistics of each utterance next to them."""
    return SpeakerEmbeddingFusion(FrameStatistics()).fit_transform(voices[0])


def own(frames):
    """Embedding that belongs to each utterance, computed from the utterance."""
    return np.array([normalize(FrameStatistics().fit_transform([u]))[0] for u in frames])


def assert_aligned(frames):
    np.testing.assert_allclose(frames.embeddings, own(frames), atol=1e-6)


# -- embedders -------------------------------------------------------------------------------------


def test_frames_pass_and_embeddings_have_unit_length(voices, fused):
    X, _ = voices
    assert fused.base is X.base and fused.frame_settings == X.frame_settings
    assert fused.embeddings.shape == (12, 32) and fused.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(fused.embeddings, axis=1), 1, rtol=1e-5)
    assert_aligned(fused)
    assert X.embeddings is None


def test_any_transformer_with_a_row_per_utterance(voices):
    X, y = voices
    chain = make_pipeline(FrameStatistics(), PCA(3, random_state=0))
    fused = SpeakerEmbeddingFusion(chain).fit(X, y).transform(X)
    np.testing.assert_allclose(fused.embeddings, normalize(chain.fit_transform(X)), atol=1e-5)
    frozen = FrozenEstimator(chain.fit(X[:6]))
    fused = clone(SpeakerEmbeddingFusion(frozen)).fit(X).transform(X)
    np.testing.assert_allclose(fused.embeddings, normalize(chain.transform(X)), atol=1e-5)
    tables = SpeakerEmbeddingFusion(FrameStatistics().set_output(transform="pandas"))
    assert isinstance(tables.fit(X).embedder_.transform(X), pd.DataFrame)
    assert tables.transform(X).embeddings.shape == (12, 32)


def test_a_verifier_as_embedder(voices, fitted):
    X, _ = voices
    frozen = FrozenEstimator(fitted)
    for embedder in (SpeakerEmbedder(frozen), frozen):
        fused = clone(SpeakerEmbeddingFusion(embedder)).fit(X).transform(X)
        np.testing.assert_allclose(fused.embeddings, fitted.transform(X), atol=1e-5)


class Labelled(TransformerMixin, BaseEstimator):
    """Sees y in fit."""

    def fit(self, X, y=None):
        self.seen_ = list(y)
        return self

    def transform(self, X):
        return np.ones((len(X), 2))


def test_the_embedder_gets_y_and_is_a_clone(voices):
    X, y = voices
    embedder = Labelled()
    fusion = SpeakerEmbeddingFusion(embedder).fit(X, y)
    assert fusion.embedder_.seen_ == list(y) and not hasattr(embedder, "seen_")
    assert fusion.embedder is embedder


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda X: np.ones((len(X) - 1, 2)), "11 rows for 12 utterances"),
        (lambda X: X, "gives frames where one row per utterance is needed"),
        (lambda X: csr_matrix(np.ones((len(X), 2))), "[Ss]parse"),
        (lambda X: np.ones(len(X)), "Expected 2D array"),
        (lambda X: [["a"]] * len(X), "could not convert|numeric"),
    ],
    ids=["rows", "frames", "sparse", "1-D", "strings"],
)
def test_output_that_is_not_a_table_of_embeddings(voices, function, says):
    X, _ = voices
    fusion = SpeakerEmbeddingFusion(FunctionTransformer(function)).fit(X)
    with pytest.raises((ValueError, TypeError), match=says):
        fusion.transform(X)


def test_an_embedder_must_be_a_transformer(voices):
    with pytest.raises(ValueError, match="'embedder' parameter"):
        SpeakerEmbeddingFusion(Ridge()).fit(voices[0])


def test_bad_recordings_have_nan_embeddings(voices):
    arrays = [u.copy() for u in voices[0]]
    arrays[3][0, 0] = np.nan
    for bad in (arrays, [np.full((5, 16), np.nan)] * 2):
        fused = SpeakerEmbeddingFusion(FrameStatistics()).fit_transform(bad)
        expected = [np.isnan(u).any() for u in bad]
        np.testing.assert_array_equal(np.isnan(fused.embeddings).all(axis=1), expected)
        np.testing.assert_array_equal(np.isnan(fused.embeddings).any(axis=1), expected)


# -- embeddings follow their utterance -------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [slice(2, 9, 3), slice(None, None, -1), [7, 0, 7], np.arange(12) % 5 == 0, np.array([-1, 2])],
    ids=str,
)
def test_subsets(fused, key):
    for subset in (fused[key], fused[key, ...], fused[::-1][key]):
        assert_aligned(subset)
        assert_aligned(subset.compact())
        assert_aligned(pickle.loads(pickle.dumps(subset)))


def test_shuffling_and_folds(fused):
    assert_aligned(shuffle(fused, random_state=0))
    for train, test in KFold(3, shuffle=True, random_state=0).split(fused):
        assert_aligned(fused[train])
        assert_aligned(fused[test])


def test_joblib(fused, tmp_path):
    joblib.dump(fused, tmp_path / "fused.joblib")
    assert_aligned(joblib.load(tmp_path / "fused.joblib", mmap_mode="r")[[5, 2]])


def test_later_steps_keep_them(fused, fitted):
    part = fused[[3, 1, 8]]
    subset = UtteranceFrames(part.base, part.starts, part.stops, embeddings=part.embeddings)
    made = VoiceActivityDetector("energy").fit_transform(subset)
    np.testing.assert_array_equal(made.embeddings, part.embeddings)
    for step in (
        SlidingCMN(window=None),
        SpeakerFeatureExtractor(fitted, n_blocks=1, pooling=None),
    ):
        made = step.fit(fused).transform(part)
        assert isinstance(made, UtteranceFrames)
        np.testing.assert_array_equal(made.embeddings, part.embeddings)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pooled_statistics_get_them_as_columns(voices, fused, fitted, dtype):
    X, _ = voices
    extractor = SpeakerFeatureExtractor(fitted, n_blocks=1, n_bands=4, dtype=dtype)
    plain = extractor.fit_transform(X)
    table = clone(extractor.set_params(weights=FrozenEstimator(fitted))).fit_transform(fused)
    assert table.dtype == dtype and table.shape == (12, plain.shape[1] + 32)
    np.testing.assert_array_equal(table[:, : plain.shape[1]], plain)
    np.testing.assert_allclose(table[:, plain.shape[1] :], fused.embeddings, atol=1e-3)
    extractor.set_output(transform="pandas").fit(fused)
    frame = extractor.transform(fused)
    assert frame.columns.tolist() == extractor.get_feature_names_out().tolist()
    assert frame.columns[-32:].tolist() == [f"spe{k:03d}" for k in range(32)]
    with pytest.raises(ValueError, match=r"embeddings of 0 values.*expecting 32"):
        extractor.transform(X)


def test_fusing_twice_replaces(fused):
    again = SpeakerEmbeddingFusion(make_pipeline(FrameStatistics(), PCA(2))).fit_transform(fused)
    assert again.embeddings.shape == (12, 2) and fused.embeddings.shape == (12, 32)


# -- frames that are made of recordings ------------------------------------------------------------


@pytest.fixture
def voice():
    """Embedder of recordings."""
    return make_pipeline(MelFilterBank(n_mels=16), FrameStatistics())


@pytest.fixture
def encoder():
    return SpeechEncoder(encoder_file(), layers=(1, 2), pooling=None, dtype="float16")


def test_frames_and_embeddings_are_of_the_same_recordings(recordings, voice, encoder, small):
    X = pd.DataFrame({"file": recordings[0]}, index=list("abcdefgh"))["file"]
    fusion = SpeakerEmbeddingFusion(voice, frames=encoder)
    fused = fusion.fit_transform(X)
    alone = clone(encoder).fit_transform(X)
    np.testing.assert_array_equal(fused.base, alone.base)
    assert fused.frame_settings == alone.frame_settings and fused.frame_shift == 0.02
    assert fused.metadata.equals(alone.metadata) and fused.metadata.index.tolist() == list(X.index)
    np.testing.assert_allclose(fused.embeddings, normalize(voice.fit_transform(X)), atol=1e-6)
    order = [5, 0, 3]
    part = fusion.transform(X.iloc[order])
    np.testing.assert_allclose(part.embeddings, fused.embeddings[order], atol=1e-6)
    for got, row in zip(part, order, strict=True):
        np.testing.assert_allclose(got, fused[row], rtol=1e-2, atol=1e-3)
    net = SpeechSentimentClassifier(EncoderNetwork, **{**small, "batch_size": 4})
    pipeline = make_pipeline(fusion, net).fit(X, recordings[1])
    assert pipeline[-1].embedding_size_ == 32 and pipeline[-1].module_.in_channels == 2
    expected = pipeline.predict_proba(X)
    np.testing.assert_allclose(pipeline.predict_proba(X[::-1])[::-1], expected, atol=1e-5)


def test_both_transformers_are_clones_and_can_be_frozen(recordings, voice, encoder):
    X, _ = recordings
    fusion = SpeakerEmbeddingFusion(voice, frames=encoder).fit(X)
    assert fusion.frames is encoder and not hasattr(encoder, "network_")
    expected = fusion.transform(X[:2])
    frozen = SpeakerEmbeddingFusion(
        FrozenEstimator(fusion.embedder_), frames=FrozenEstimator(fusion.frames_)
    )
    copies = [clone(frozen).fit(X[3:]), pickle.loads(pickle.dumps(fusion))]
    copies.append(clone(fusion).set_output(transform="pandas").fit(X[:3]))
    for copy in copies:
        made = copy.transform(X[:2])
        np.testing.assert_array_equal(made.base, expected.base)
        np.testing.assert_allclose(made.embeddings, expected.embeddings, atol=1e-6)
    assert clone(frozen).fit(X).frames_.estimator is fusion.frames_
    fusion.set_params(frames__layers=(0,), embedder__melfilterbank__n_mels=8).fit(X)
    made = fusion.transform(X[:2])
    assert made.frame_shape == (1, 64) and made.embeddings.shape == (2, 16)


def test_bad_recordings_are_nan_on_both_sides(recordings, voice, encoder):
    X = [*recordings[0][:2], recordings[0][2][:50], recordings[0][3]]
    voice.set_params(melfilterbank__on_error="nan")
    fusion = SpeakerEmbeddingFusion(voice, frames=encoder.set_params(on_error="nan"))
    with pytest.warns(UserWarning, match="1 of 4 recordings were kept as NaN"):
        fused = fusion.fit_transform(X)
    assert [bool(np.isnan(frames).all()) for frames in fused] == [False, False, True, False]
    assert np.isnan(fused.embeddings).all(axis=1).tolist() == [False, False, True, False]
    good = SpeakerEmbeddingFusion(voice, frames=encoder).fit_transform([X[3]])
    np.testing.assert_allclose(fused.embeddings[3:], good.embeddings, atol=1e-6)


@pytest.mark.filterwarnings("ignore:1 of 3 recordings were")
@pytest.mark.parametrize(
    ("frames", "embedder", "says"),
    [
        ("skip", "skip", "frames=MelFilterBank gives 2 utterances for 3 rows of X"),
        ("nan", "skip", "Pipeline gives 2 rows for 3 utterances"),
    ],
)
def test_nothing_may_be_left_out(recordings, voice, frames, embedder, says):
    voice.set_params(melfilterbank__on_error=embedder)
    fusion = SpeakerEmbeddingFusion(voice, frames=MelFilterBank(on_error=frames))
    X = [*recordings[0][:2], recordings[0][2][:50]]
    with pytest.raises(ValueError, match=says):
        fusion.fit(X).transform(X)


def test_frames_must_be_frames(recordings, voice, encoder):
    fusion = SpeakerEmbeddingFusion(voice, frames=encoder.set_params(pooling="stats"))
    with pytest.raises(ValueError, match=r"gives ndarray, not UtteranceFrames.*pooling=None"):
        fusion.fit(recordings[0]).transform(recordings[0])
    with pytest.raises(ValueError, match="'frames' parameter"):
        SpeakerEmbeddingFusion(voice, frames=Ridge()).fit(recordings[0])


def test_what_X_is_comes_from_what_makes_the_frames(recordings, voice, voices):
    fusion = SpeakerEmbeddingFusion(voice, frames=MelFilterBank(n_mels=8))
    tags = get_tags(fusion).input_tags
    assert tags.string and tags == get_tags(fusion.frames).input_tags
    assert not get_tags(SpeakerEmbeddingFusion()).input_tags.string
    fusion.fit(np.stack([X[:8000] for X in recordings[0]]))
    assert fusion.n_features_in_ == 8000
    assert fusion.get_feature_names_out().tolist() == [f"mel0{k}" for k in range(8)]
    assert not hasattr(fusion.fit(recordings[0]), "n_features_in_")
    fusion.set_params(frames=None, embedder=FrameStatistics()).fit(voices[0])
    assert fusion.n_features_in_ == 16 and fusion.frames_ is None


# -- in a sentiment network ------------------------------------------------------------------------


@pytest.fixture
def small():
    return dict(max_epochs=1, batch_size=6, n_jobs=1, random_state=0, module__spe_size=16)


@pytest.mark.parametrize("cls", [SpeechSentimentRegressor, SpeechSentimentClassifier])
def test_a_net_requires_the_embeddings_it_was_fitted_with(voices, fused, small, cls):
    X, y = voices[0], np.arange(12) % 3
    net = cls(**small).fit(fused, y)
    assert net.module_.embedding_size == 32
    for wrong, size in ((X, 0), (X.with_embeddings(np.ones((12, 5))), 5)):
        with pytest.raises(ValueError, match=rf"{size} values.*expecting 32.*SpeakerEmbeddingFus"):
            net.predict(wrong)
    refit = net.fit(X, y)
    assert refit.module_.spe is None
    with pytest.raises(ValueError, match=r"32 values.*expecting 0"):
        net.predict(fused)


def test_nan_embeddings_are_refused_in_training(fused, small):
    bad = fused.embeddings.copy()
    bad[5, 1] = np.nan
    with pytest.raises(ValueError, match="row 5"):
        SpeechSentimentRegressor(**small).fit(fused.with_embeddings(bad), np.arange(12.0))


def test_predictions_follow_the_embedding_and_its_direction_only(fused, small):
    net = SpeechSentimentRegressor(**small).fit(fused, np.arange(12) % 3)
    expected = net.predict(fused)
    np.testing.assert_allclose(
        net.predict(fused.with_embeddings(5 * fused.embeddings)), expected, atol=1e-5
    )
    other = net.predict(fused.with_embeddings(fused.embeddings[::-1]))
    assert np.abs(other - expected).max() > 1e-3
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_allclose(net.predict(fused[order]), expected[order], atol=1e-5)
    np.testing.assert_allclose([net.predict(fused[[k]])[0] for k in range(12)], expected, atol=1e-5)


def test_a_target_that_only_the_embedding_shows_is_learned(rng):
    """All utterances have the same frames: the target is a direction of the embedding."""
    y = np.arange(40) % 2
    embeddings = rng.normal(size=(40, 4)) + 3 * np.outer(2 * y - 1, [1, -1, 0, 0])
    X = UtteranceFrames.from_arrays([rng.normal(size=(12, 4)).astype("f4")] * 40)
    # Eight epochs leave it to the seed and the processor's rounding (.75 to 1), twenty do not.
    params = dict(max_epochs=20, batch_size=10, lr=1e-2, lr_schedule=None, spec_augment=False)
    net = SpeechSentimentClassifier(**params, n_jobs=1, random_state=0, module__spe_size=8)
    predicted = cross_val_predict(net, X.with_embeddings(embeddings), y, cv=2)
    assert np.mean(predicted == y) > 0.9
    assert np.mean(cross_val_predict(net, X, y, cv=2) == y) == 0.5
