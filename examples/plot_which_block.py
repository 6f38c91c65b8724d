"""
Which block carries sentiment?
==============================

Low blocks of a speaker network see sounds, high blocks see who speaks, and how something is said
lies in between. How good each block is can be measured by changing one parameter. Of people the
third is best, which is what the systems take; made-up voices only show how to find out.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.model_selection import cross_val_predict

from sklearn_speechsent import OrdinalClassifier, SpeakerFeatureExtractor, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.metrics import quadratic_weighted_kappa_score
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

# %%
# Frames without silence and without their mean are computed once.
corpus = make_speech_sentiment(10, 6, levels=range(-2, 3), random_state=0)
frames = make_sentiment_pipeline()[:3].fit_transform(corpus.data)

# %%
# Statistics of each block: how well they tell the level, over folds of speakers, and how often the
# recording with the nearest statistics is of the same voice.
model, folds = OrdinalClassifier(levels=corpus.levels), StratifiedSpeakerKFold(4)
kappa, likeness = {}, {}
for n_blocks in (1, 2, 3, 4):
    extractor = SpeakerFeatureExtractor(n_blocks=n_blocks, n_bands=5, compress="sqrt")
    X = extractor.fit_transform(frames)
    predictions = cross_val_predict(model, X, corpus.target, groups=corpus.groups, cv=folds)
    kappa[n_blocks] = quadratic_weighted_kappa_score(
        corpus.target, predictions, levels=corpus.levels
    )
    centred = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
    distance = ((centred[:, None] - centred[None]) ** 2).mean(axis=-1)
    np.fill_diagonal(distance, np.inf)
    likeness[n_blocks] = (corpus.groups[distance.argmin(axis=1)] == corpus.groups).mean()

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for axis, values, title in zip(
    axes,
    (kappa, likeness),
    ("Sentiment: quadratic weighted kappa", "Voice: nearest recording is of the same speaker"),
    strict=True,
):
    axis.bar(
        list(values), list(values.values()), color=plt.get_cmap("Blues")([0.35, 0.5, 0.7, 0.9])
    )
    axis.bar_label(axis.containers[0], fmt="%.2f")
    axis.set(title=title, xlabel="n_blocks", xticks=list(values), ylim=(0, 1))
plt.show()
