"""
Are the probabilities right?
============================

Of all recordings for which a model gives 70 % to "above 0", some 70 % should lie above 0. Here
predictions for new speakers are compared with what came true, over all thresholds of the scale.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.model_selection import StratifiedGroupKFold

from sklearn_speechsent import OrdinalClassifier, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.inspection import speaker_interval, threshold_calibration
from sklearn_speechsent.metrics import ranked_probability_error

corpus = make_speech_sentiment(10, 8, levels=range(-2, 3), random_state=0)
levels, y, speakers = corpus.levels, corpus.target, corpus.groups
X = make_sentiment_pipeline()[:-1].fit_transform(corpus.data)

# %%
# Out of fold, so that no speaker is in training and test. A large C trusts the training data more,
# and its probabilities are bolder.
models = {"C = 0.1": 0.1, "C = 1": 1.0, "C = 100": 100.0}
proba = {name: np.empty((len(y), len(levels))) for name in models}
for train, test in StratifiedGroupKFold(4).split(X, y, speakers):
    for name, C in models.items():
        model = OrdinalClassifier(C=C, levels=levels).fit(X[train], y[train])
        proba[name][test] = model.predict_proba(X[test])

# %%
# The expected calibration error of a perfect forecaster is not 0 with as few recordings: compare
# with it. Intervals are over speakers, who differ more than recordings do.
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
axes[0].plot([0, 1], [0, 1], "k:", label="perfect")
for k, (name, values) in enumerate(proba.items()):
    found = threshold_calibration(y, values, levels=levels)
    print(f"{name}: error {found.error:.3f}, of a perfect forecaster {found.perfect:.3f}")
    axes[0].plot("predicted", "observed", "o-", data=found.reliability, label=name)

    def error(rows, values=values):
        return ranked_probability_error(y[rows], values[rows], levels=levels)

    low, high = np.ravel(speaker_interval(speakers, error))[:2]
    middle = error(np.arange(len(y)))
    axes[1].errorbar(middle, k, xerr=[[middle - low], [high - middle]], fmt="o", capsize=4)
axes[0].set(xlabel="predicted probability to lie above", ylabel="share that does")
axes[0].legend()
axes[1].set(xlabel="ranked probability error", yticks=range(3), yticklabels=models, ylim=(-1, 3))
plt.show()
