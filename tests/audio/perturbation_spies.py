"""Small estimators that store what WaveformPerturbation gives them."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_speechsent import MelFilterBank, WaveformPerturbation
from sklearn_speechsent.features import FrameStatistics

RATE = 16000


def quick(estimator=None, **mfb):
    """Pipeline that trains in a moment."""
    net = LogisticRegression(max_iter=1000) if estimator is None else estimator
    steps = {"mfb": MelFilterBank(**mfb), "srext": FrameStatistics(), "scale": StandardScaler()}
    return Pipeline([*steps.items(), ("net", net)])


class Spy(ClassifierMixin, BaseEstimator):
    """Stores what its fit is given."""

    def __init__(self, tag=None):
        self.tag = tag

    def fit(self, X, y, groups=None, sample_weight=None):
        self.X_, self.y_, self.groups_, self.sample_weight_ = X, y, groups, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        """All classes in order, again and again."""
        self.asked_ = X
        return np.resize(self.classes_, len(X))

    def predict_proba(self, X):
        return (self.predict(X)[:, None] == self.classes_).astype(float)


class Plain(Spy):
    """The same for recordings, without groups or weights."""

    def fit(self, X, y):
        return super().fit(X, y)


class Through(TransformerMixin, BaseEstimator):
    """Hands recordings on."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


def spied(spy=None):
    return Pipeline([("mfb", Through()), ("net", Spy() if spy is None else spy)])


PATHS, Y = ["a.wav", "b.wav", "c.wav"], [1, 0, 2]


def perturbations(recordings):
    return [(r.source, r.speed, r.gain_db, r.snr_db) for r in recordings]


class Samples(TransformerMixin, BaseEstimator):
    """Waveforms themselves as features, so that what the checks learn from stays in them."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.stack([np.asarray(recording.source, dtype=float) for recording in X])


def with_copies(estimator, **params):
    """Estimator with two copies at other speeds and a noisy one, none of them drawn."""
    return WaveformPerturbation(
        estimator, **{"speeds": (0.9, 1.1), "snr_db": (15,), "conditions": (), **params}
    )
