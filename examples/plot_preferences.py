"""
From sentiment to preference
============================

A debate system puts forward arguments and listens to how its user answers. What a voice says is
unsure: it is evidence, weighed by the model's own confusion for speakers it was not trained on.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import cross_val_predict

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

# %%
# A model, and how it confuses levels of new speakers. Synthetic voices, to run anywhere.
LEVELS, ARGUMENTS = np.array([-1, 0, 1]), {"cheaper": 1, "faster": 0, "greener": -1}
corpus = make_speech_sentiment(9, 6, levels=LEVELS, random_state=0)
model = make_sentiment_pipeline(levels=LEVELS, n_jobs=-1)
X, y, speakers = np.array(corpus.data, object), corpus.target, corpus.groups
model.fit(X, y)
guesses = cross_val_predict(model, X, y, groups=speakers, cv=StratifiedSpeakerKFold(3))
counts = confusion_matrix(y, guesses, labels=LEVELS) + 0.5
confusion = counts / counts.sum(axis=1, keepdims=True)  # P(predicted | true)


# %%
# What is believed of an argument is a Dirichlet distribution over levels. After an answer it is a
# mixture of three, one for each level the answer may have been; the update takes the one
# Dirichlet distribution with the same mean and variance. An unsure answer leaves it as it was.
def updated(belief, likelihood):
    share, total = belief * likelihood / (belief @ likelihood), belief.sum()
    mean = (belief + share) / (total + 1)
    squares = (belief + 1) * (belief + 2 * share) / ((total + 1) * (total + 2))
    return mean * ((1 - mean @ mean) / (squares.sum() - mean @ mean) - 1)


# %%
# The debate: a new voice answers one argument or another, as it feels about it.
user, rng = make_speech_sentiment(1, 30, levels=LEVELS, random_state=7), np.random.default_rng(0)
beliefs = {argument: [(0, np.ones(len(LEVELS)))] for argument in ARGUMENTS}
for turn, argument in enumerate(rng.choice(list(ARGUMENTS), 24), start=1):
    answer = user.data[rng.choice(np.flatnonzero(user.target == ARGUMENTS[argument]))]
    likelihood = confusion @ model.predict_proba([answer])[0]
    beliefs[argument].append((turn, updated(beliefs[argument][-1][1], likelihood)))

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for argument, course in beliefs.items():
    turns, counts = (np.array(part) for part in zip(*course, strict=True))
    mean = counts / counts.sum(axis=1, keepdims=True)
    expected = mean @ LEVELS
    spread = np.sqrt((mean @ LEVELS**2 - expected**2) / (counts.sum(axis=1) + 1))
    label = f"{argument} (felt: {ARGUMENTS[argument]:+d})"
    axes.errorbar(turns, expected, spread, marker="o", capsize=2, label=label)
axes.set(xlabel="answers heard", ylabel="preference, one standard deviation", yticks=LEVELS)
axes.legend()
plt.show()
