"""
Why speakers must not cross a split
===================================

A model recognises voices. If recordings of one speaker are in training and in test, it may answer
by the speaker, and the score promises what it will not do for the next caller.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

# %%
# Suppose each speaker was recorded on a good or on a bad day: labels lie around a mean of the
# speaker, as in collections of videos.
corpus = make_speech_sentiment(10, 8, levels=range(-2, 3), random_state=0)
speakers = corpus.groups
day = np.random.default_rng(0).integers(-1, 2, size=10)
labels = np.clip(corpus.target + day[speakers], -2, 2)

# %%
# The steps before the last are frozen: they learn nothing from these recordings, and run once.
features = make_sentiment_pipeline()[:-1].fit_transform(corpus.data)
model = OrdinalClassifier(levels=corpus.levels)
splits = {
    "random folds": StratifiedKFold(5, shuffle=True, random_state=0),
    "folds of speakers": StratifiedSpeakerKFold(5),
}
errors, by_speaker = {}, {}
for name, cv in splits.items():
    folds = list(cv.split(features, labels, speakers))
    predictions = cross_val_predict(model, features, labels, cv=folds)
    errors[name] = mean_absolute_error(labels, predictions)
    by_speaker[name] = [np.abs(predictions - labels)[speakers == s].mean() for s in range(10)]
errors["always 0"] = np.abs(labels).mean()
print(errors)

# %%
# The lower error is the wrong one: nobody who will use the model is in the training data.
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for k, (name, values) in enumerate(by_speaker.items()):
    axes.bar(np.arange(10) + 0.4 * k, values, width=0.38, label=name)
    axes.axhline(errors[name], color=f"C{k}", linestyle="--", linewidth=1)
axes.axhline(errors["always 0"], color="grey", linestyle=":", label="always 0")
axes.set(xlabel="speaker", ylabel="mean absolute error", xticks=range(10))
axes.legend(ncols=3, loc="upper left")
axes.margins(y=0.2)
plt.show()
