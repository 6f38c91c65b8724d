"""A detector and a pipeline that are quick to follow, and signals cut into chunks."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from sklearn_speechsent.inference import CausalDetector
from sklearn_speechsent.inference.detection import BLOCK, CONTEXT, LENGTH, SHIFT

RATE = 16000


class TellingDetector(CausalDetector):
    """The first sample of each frame is the probability that somebody speaks in it."""

    def frames(self, samples):
        return samples[: len(samples) - LENGTH + 1 : SHIFT, None]

    def probabilities(self, frames):
        return frames[CONTEXT : CONTEXT + BLOCK, 0]

    def settings(self):
        return {"limits": (self.threshold, self.low)}


class Loudness(ClassifierMixin, BaseEstimator):
    """Levels of how loud a recording is, and the recordings that were asked about."""

    def fit(self, X=None, y=None):
        self.classes_ = self.levels_ = np.array([-1, 0, 1])
        self.asked_ = []
        return self

    def predict_proba(self, X):
        self.asked_ += [samples for _, samples in X]
        assert {rate for rate, _ in X} == {RATE}
        share = np.array([np.abs(samples).mean(dtype=np.float64) for _, samples in X])
        return np.stack([1 - share, share / 3, 2 * share / 3], axis=1)


def chunks(samples, seed, longest):
    """Samples in random pieces, the shortest of one and the longest of so many samples."""
    rng, first = np.random.default_rng(seed), 0
    while first < len(samples):
        size = int(np.exp(rng.uniform(0, np.log(longest))))
        yield samples[first : first + size]
        first += size


def told(probabilities):
    """Samples whose frames have these probabilities for `TellingDetector`."""
    return np.repeat(probabilities, SHIFT).astype(np.float32)
