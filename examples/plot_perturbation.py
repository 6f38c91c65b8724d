"""
Copies through lines, noise and rooms
=====================================

A model that learned from clean recordings fails on a telephone. Perturbed copies of each recording,
made while it is read, teach it not to mind.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from sklearn_speechsent import MelFilterBank, WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.metrics import macro_mean_absolute_error

# %%
# Columns of a table ask for a copy; any step takes such a table.
corpus = make_speech_sentiment(8, 8, levels=range(-2, 3), random_state=0)
copies = {
    "as recorded": {},
    "20 % faster": {"speed": 1.2},
    "telephone": {"codec": "telephone"},
    "pink noise, 5 dB": {"noise": "pink", "snr_db": 5.0, "seed": 0},
    "room, 0.8 s": {"rt60": 0.8, "seed": 0},
    "clipped": {"gain_db": 25.0, "clip": True},
}
figure, axes = plt.subplots(2, 3, figsize=(11, 5), layout="constrained", sharey=True)
for axis, (name, columns) in zip(axes.flat, copies.items(), strict=True):
    table = pd.DataFrame([{"file": corpus.data[4], **columns}])
    frames = MelFilterBank().fit_transform(table)[0]
    axis.imshow(frames.T, origin="lower", aspect="auto", cmap="magma")
    axis.set(title=name, xlabel="frame of 10 ms", ylabel="mel band")

# %%
# Train on six speakers, with and without copies; test on two others, clean and through a telephone.
train, test = corpus.groups < 6, corpus.groups >= 6
plain = make_sentiment_pipeline(weights=None, levels=corpus.levels)
perturbed = WaveformPerturbation(plain, conditions=["telephone", "pink noise"])
errors = pd.DataFrame(index=["plain", "with copies"], columns=["as recorded", "telephone"])
for name, model in zip(errors.index, [plain, perturbed], strict=True):
    model.fit(corpus.data[train], corpus.target[train])
    for condition in errors.columns:
        rows = pd.DataFrame({"file": corpus.data[test], **copies[condition]})
        errors.loc[name, condition] = macro_mean_absolute_error(
            corpus.target[test], model.predict(rows), levels=corpus.levels
        )
axes = errors.astype(float).T.plot.bar(rot=0, figsize=(7, 3.5), ylabel="macro MAE")
axes.axhline(np.mean([2, 1, 0, 1, 2]), color="grey", linestyle=":")
axes.set_title("Lower is better; dotted: always 0")
plt.show()
