"""
A call over time
================

Two people on a telephone, one per channel. Each utterance is found and scored by itself, and its
windows show how the score came about while it lasted.
"""

import numpy as np
import soundfile
from matplotlib import pyplot as plt

from sklearn_speechsent import aggregate_timeline, make_sentiment_pipeline, sentiment_timeline
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.inference import TimelineDisplay

# %%
# A model of made-up voices.
levels = range(-2, 3)
corpus = make_speech_sentiment(8, 8, levels=levels, random_state=0)
pipeline = make_sentiment_pipeline(levels=levels).fit(corpus.data, corpus.target)

# %%
# The call: two new voices take turns. The agent stays friendly, the customer warms up.
agent, customer = (make_speech_sentiment(1, 20, levels=levels, random_state=s) for s in (21, 22))
rng, rate = np.random.default_rng(0), 16000
sounds, place = [], rate
for agent_feels, customer_feels in zip([1, 1, 2, 1, 2, 2], [-2, -2, -1, 0, 1, 2], strict=True):
    for channel, (voice, feels) in enumerate(((agent, agent_feels), (customer, customer_feels))):
        said = soundfile.read(rng.choice(voice.data[voice.target == feels]))[0]
        sounds.append((channel, place, said, feels))
        place += len(said) + int(rng.uniform(0.4, 1.0) * rate)
call = 0.001 * rng.standard_normal((place + rate, 2))
for channel, start, said, _ in sounds:
    call[start : start + len(said), channel] += said

# %%
# Utterances are found, not given. Rows that are not final are windows of an utterance.
timeline = sentiment_timeline(pipeline, [(rate, call)], channels="separate")
aggregate_timeline(timeline, by="channel").round(2)

# %%
# Bars are utterances with a band of 80 % probability; crosses are what was felt.
display = TimelineDisplay.from_timeline(timeline, audio=(rate, call))
display.figure_.set_size_inches(10, 5)
for channel, start, said, feels in sounds:
    middle = (start + len(said) / 2) / rate
    display.axes_[channel].plot(middle, feels, "kx", markersize=7)
for axis, who in zip(display.axes_, ["agent", "customer"], strict=True):
    axis.set_title(who, loc="left")
plt.show()
