"""
A first model
=============

Recordings and labels go in, levels come out; speakers never cross a split. The corpus is made up:
eight voices, whose pitch, loudness and brightness follow a feeling from -2 to 2.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.model_selection import cross_val_predict

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.metrics import LevelConfusionDisplay, ordinal_report
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

corpus = make_speech_sentiment(8, 8, levels=range(-2, 3), random_state=1)
corpus.frame.head()

# %%
# The default system is a Pipeline, like any other of scikit-learn.
pipeline = make_sentiment_pipeline(levels=corpus.levels)
pipeline

# %%
# Each recording is predicted by a model that never heard its speaker. All predictions are scored
# once, next to a constant: it says how much of a score is for nothing.
predictions = cross_val_predict(
    pipeline, corpus.data, corpus.target, groups=corpus.groups, cv=StratifiedSpeakerKFold(3)
)
for name, values in {"model": predictions, "always 0": np.zeros(len(predictions))}.items():
    report = ordinal_report(corpus.target, values, levels=corpus.levels)
    print(f"{name:9}", {key: round(report[key], 2) for key in ("mae", "spearman", "qwk")})

# %%
# Mistakes are mostly one level off: that is what ordinal learning is for.
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
LevelConfusionDisplay.from_predictions(
    corpus.target, predictions, levels=corpus.levels, ax=axes[0], normalize="true"
)
axes[1].hist(predictions - corpus.target, bins=np.arange(-4.5, 5), rwidth=0.8, color="tab:green")
axes[1].set(xlabel="predicted - true level", ylabel="recordings", title="Errors")
plt.show()
