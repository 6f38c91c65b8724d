"""
While somebody speaks
=====================

Samples come in chunks, as from a microphone; events come out as soon as they are known. The stream
gives the same numbers as a time line of the whole recording.
"""

import numpy as np
import soundfile
from matplotlib import pyplot as plt

from sklearn_speechsent import StreamingSentiment, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.inference import Score, SpeechStart

# %%
# A model, and a new voice that says five sentences without a pause, from sad to glad.
levels = range(-2, 3)
corpus = make_speech_sentiment(8, 8, levels=levels, random_state=0)
pipeline = make_sentiment_pipeline(levels=levels).fit(corpus.data, corpus.target)
voice = make_speech_sentiment(1, 5, levels=levels, random_state=3)
order = np.argsort(voice.target)
quiet = np.zeros(16000)
said = np.concatenate([soundfile.read(voice.data[k])[0] for k in order])
samples = np.concatenate([quiet, said, quiet]).astype("float32")
samples += 0.001 * np.random.default_rng(0).standard_normal(len(samples)).astype("float32")

# %%
# 20 ms at a time. With each event the time at which it became known.
stream = StreamingSentiment(pipeline, sample_rate=16000, window=3.0, step=0.5)
known = []
for first in range(0, len(samples), 320):
    known += [((first + 320) / 16000, event) for event in stream.push(samples[first : first + 320])]
known += [(len(samples) / 16000, event) for event in stream.finish()]
for time, event in known:
    if isinstance(event, SpeechStart):
        print(f"{time:6.2f} s: somebody speaks since {event.time:.2f} s")
    elif isinstance(event, Score) and event.final:
        print(f"{time:6.2f} s: until {event.end:.2f} s, level {event.level}")

# %%
# Provisional scores are of the last three seconds; the probability of each level as it was known.
scores = [(time, event) for time, event in known if isinstance(event, Score) and not event.final]
times = [time for time, _ in scores]
figure, axes = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
axes[0].plot(np.arange(len(samples)) / 16000, samples, linewidth=0.3, color="tab:blue")
axes[0].set(ylabel="samples", title="What has been said")
probabilities = np.array([event.probabilities for _, event in scores])
colours = plt.get_cmap("RdYlGn")(np.linspace(0.08, 0.92, 5))
axes[1].stackplot(times, probabilities.T, colors=colours, labels=[f"{k:+d}" for k in levels])
axes[1].plot(times, [(event.expected + 2) / 4 for _, event in scores], "k-", label="expected")
axes[1].set(xlabel="s", ylabel="probability of the levels", ylim=(0, 1))
axes[1].legend(ncols=6, loc="upper left", fontsize="small")
plt.show()
