"""
A search through all steps
==========================

Parameters of any step are searched together. What a candidate needs and another has computed is
taken from ``memory``: the network runs once for each recording, whatever the number of candidates.
"""

import tempfile

import pandas as pd
from matplotlib import pyplot as plt
from sklearn.model_selection import GridSearchCV

from sklearn_speechsent import make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.metrics import get_scorer
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold

corpus = make_speech_sentiment(8, 8, levels=range(-2, 3), random_state=1)

# %%
# The last step's strength, and how many bands of frequency the statistics have.
with tempfile.TemporaryDirectory() as memory:
    search = GridSearchCV(
        make_sentiment_pipeline(memory=memory, levels=corpus.levels),
        {"net__C": [0.1, 1.0, 10.0, 100.0], "srext__n_bands": [1, 2, 5, 10]},
        scoring=get_scorer("quadratic_weighted_kappa", levels=corpus.levels),
        cv=StratifiedSpeakerKFold(3),
    )
    search.fit(corpus.data, corpus.target, groups=corpus.groups)
print(search.best_params_, round(search.best_score_, 3))

# %%
# Spread over folds tells how much of the pattern to believe.
results = pd.DataFrame(search.cv_results_)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for axis, column in zip(axes, ["mean_test_score", "std_test_score"], strict=True):
    grid = results.pivot(index="param_net__C", columns="param_srext__n_bands", values=column)
    picture = axis.imshow(grid, origin="lower", cmap="viridis")
    for row, values in enumerate(grid.to_numpy()):
        for place, value in enumerate(values):
            axis.text(place, row, f"{value:.2f}", ha="center", va="center", color="white")
    axis.set(xticks=range(4), xticklabels=grid.columns, yticks=range(4), yticklabels=grid.index)
    axis.set(xlabel="srext__n_bands", ylabel="net__C")
    axis.set_title({"m": "Kappa, mean over folds", "s": "Its standard deviation"}[column[0]])
plt.show()
