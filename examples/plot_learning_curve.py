"""
How many speakers are enough?
=============================

Is it better to record more people, or more of each? Learning curves over speakers say so, and
whether another ten are worth the work.
"""

import numpy as np
from matplotlib import pyplot as plt

from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.metrics import quadratic_weighted_kappa_score

# %%
# Eighteen made-up voices; the last six are for the test.
corpus = make_speech_sentiment(18, 6, levels=(-1, 0, 1), random_state=0)
X = make_sentiment_pipeline()[:-1].fit_transform(corpus.data)
y, speakers = corpus.target, corpus.groups
test = speakers >= 12
place = np.arange(len(y)) % 6  # number of the recording among those of its speaker


def kappa(rows):
    """Score on the six others of a model that learned from these rows."""
    model = OrdinalClassifier(levels=corpus.levels).fit(X[rows], y[rows])
    return quadratic_weighted_kappa_score(y[test], model.predict(X[test]), levels=corpus.levels)


# %%
# Eight draws of speakers for each number of them, with all or half of their recordings.
rng = np.random.default_rng(0)
numbers = [3, 4, 6, 8, 10, 12]
curves = {"6 recordings each": 6, "3 recordings each": 3}
figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
for name, most in curves.items():
    scores = np.array(
        [
            [
                kappa(np.isin(speakers, rng.permutation(12)[:number]) & (place < most))
                for _ in range(8)
            ]
            for number in numbers
        ]
    )
    mean, spread = scores.mean(axis=1), scores.std(axis=1)
    for axis, along in zip(axes, (numbers, np.multiply(numbers, most)), strict=True):
        axis.plot(along, mean, "o-", label=name)
        axis.fill_between(along, mean - spread, mean + spread, alpha=0.2)
axes[0].set(xlabel="speakers in training", ylabel="kappa on six other speakers")
axes[1].set(xlabel="recordings in training")
axes[0].legend(loc="lower right")
plt.show()
