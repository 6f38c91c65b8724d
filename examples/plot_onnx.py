"""
The same numbers without torch
==============================

A fitted Pipeline is exported as one graph, from samples to probabilities. It runs in onnxruntime,
in a container of 175 MB or in a browser, and gives the same numbers in less time.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from sklearn_speechsent import export_onnx, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.runtime import OnnxSentiment

levels = np.arange(-2, 3)
corpus = make_speech_sentiment(6, 8, levels=levels, random_state=0)
others = make_speech_sentiment(4, 5, levels=levels, random_state=9)
pipeline = make_sentiment_pipeline(levels=levels).fit(corpus.data, corpus.target)

# %%
# Export checks the graph against the Pipeline before it writes it.
with tempfile.TemporaryDirectory() as folder:
    path = export_onnx(pipeline, Path(folder) / "sentiment.onnx")
    print(f"{path.stat().st_size / 2**20:.1f} MiB")
    exported = OnnxSentiment(path)

# %%
# One answer at a time, as a server has it.
proba, milliseconds = {}, {}
for name, model in {"Pipeline": pipeline, "ONNX": exported}.items():
    proba[name], milliseconds[name] = [], []
    for recording in others.data:
        started = time.perf_counter()
        proba[name].append(model.predict_proba([recording])[0])
        milliseconds[name].append(1000 * (time.perf_counter() - started))
difference = np.abs(np.array(proba["Pipeline"]) - proba["ONNX"]).max()
print(f"largest difference of a probability: {difference:.1e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
axes[0].plot([-2, 2], [-2, 2], "k:", linewidth=1)
axes[0].scatter(proba["Pipeline"] @ levels, proba["ONNX"] @ levels, c=others.target, ec="grey")
axes[0].set(title="Expected level", xlabel="Pipeline", ylabel="ONNX")
axes[1].boxplot(list(milliseconds.values()), tick_labels=list(milliseconds), showfliers=False)
axes[1].set(title="One answer", ylabel="ms", ylim=(0, None))
plt.show()
