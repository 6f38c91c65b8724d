"""Every public estimator: small instances, their input and their output."""

import functools
import inspect
import tempfile

import numpy as np
import torch
from encoders import as_openai, random_encoder
from sklearn.base import BaseEstimator, is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

import sklearn_speechsent
from sklearn_speechsent import (
    IntensityRegressor,
    IntensityVotingRegressor,
    MelFilterBank,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    SpeechEncoder,
    UtteranceFrames,
    VoiceActivityDetector,
    WaveformPerturbation,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.sentiment.net import SpeechSentimentNet

#: Pre-trained networks take as many bins as they were trained on.
PRETRAINED = (SpeakerFeatureExtractor, SpeakerEmbedder, VoiceActivityDetector)
#: Classifiers and regressors of tables.
TABLES = (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
)
#: Sentiment blocks of a network that trains in a moment.
SMALL_BLOCKS = dict(module__stext=((1, 8),))
#: A speaker network that trains in a moment.
VERIFIER = dict(
    validation_fraction=0,
    max_epochs=1,
    batch_size=4,
    n_jobs=1,
    random_state=0,
    module__widths=(4, 8),
    module__depths=(1, 1),
    module__embedding_size=6,
)


def public_estimators():
    for name in sklearn_speechsent.__all__:
        cls = getattr(sklearn_speechsent, name)
        if inspect.isclass(cls) and issubclass(cls, BaseEstimator):
            yield cls


def small(cls):
    """Instance of a public estimator that fits in a moment."""
    if issubclass(cls, SpeechSentimentNet):
        return cls(max_epochs=1, batch_size=4, n_jobs=1, random_state=0, **SMALL_BLOCKS)
    if cls is SpeakerVerifier:
        return cls(**VERIFIER)
    if cls is SpeakerFeatureExtractor:
        return cls(n_blocks=1)
    if cls is SpeakerEmbedder:
        return cls(FrozenEstimator(verifier()))
    if cls is SpeakerEmbeddingFusion:
        return cls(FrameStatistics())
    if cls is VoiceActivityDetector:
        return cls("energy")  # noise holds no speech to the U-net
    if cls is SpeechEncoder:
        return cls(encoder_file(), layers=(1, 2))
    if cls is OrdinalVotingClassifier:
        return cls([("wide", OrdinalClassifier()), ("narrow", OrdinalClassifier(gamma=1.0))])
    if cls is IntensityVotingRegressor:
        return cls([("wide", IntensityRegressor()), ("narrow", IntensityRegressor(gamma=1.0))])
    if cls is WaveformPerturbation:
        return cls(make_pipeline(MelFilterBank(), FrameStatistics(), OrdinalClassifier()))
    return cls()


@functools.cache
def verifier():
    """Pre-trained network of 80 bins."""
    return SpeakerVerifier(**VERIFIER).fit(inputs(SpeakerVerifier), labels())


@functools.cache
def encoder_file():
    """File of a small encoder of Whisper, which is there as long as the tests run."""
    file = tempfile.NamedTemporaryFile(suffix=".pt")
    torch.save(as_openai(random_encoder(n_blocks=2)), file)
    file.flush()
    encoder_file.open = file
    return file.name


def inputs(cls, n=8, size=80, longer=1):
    """Input of the kind the estimator takes: waveforms, statistics or frames."""
    rng = np.random.default_rng(longer)
    lengths = longer * rng.integers(30, 70, n)
    if cls in (MelFilterBank, SpeechEncoder, WaveformPerturbation):
        return [0.1 * rng.normal(size=160 * length) for length in lengths]
    if cls in TABLES:
        return rng.normal(size=(n, size))
    return UtteranceFrames.from_arrays(
        [rng.normal(size=(length, size)).astype(np.float32) for length in lengths]
    )


def labels(n=8):
    return np.arange(n) % 3 - 1


def output(estimator, X):
    """Transformed rows, intensities or probabilities, one array per row of X."""
    if hasattr(estimator, "transform"):
        made = estimator.transform(X)
        if isinstance(made, UtteranceFrames) and made.embeddings is not None:
            return [np.append(*pair) for pair in zip(made, made.embeddings, strict=True)]
        return [np.asarray(row) for row in made]
    method = "predict" if is_regressor(estimator) else "predict_proba"
    return [np.asarray(row) for row in getattr(estimator, method)(X)]


def take(X, rows):
    return [X[row] for row in rows] if isinstance(X, list) else X[rows]


def assert_same(first, second, atol=1e-5):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)
