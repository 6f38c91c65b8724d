"""
Which frames are speech?
========================

The U-net that ships looks at the shape of sounds over seconds; a threshold on the energy takes any
loud sound for speech. Here both hear the same recording, clean and under noise.
"""

import numpy as np
import soundfile
from matplotlib import pyplot as plt

from sklearn_speechsent import MelFilterBank, VoiceActivityDetector
from sklearn_speechsent.datasets import make_speech_sentiment

# %%
# Three utterances of made-up voices between pauses, with a knock and a hum.
corpus = make_speech_sentiment(3, 1, random_state=1)
rng, rate = np.random.default_rng(0), 16000
pause = 0.002 * rng.standard_normal((4, rate))
utterances = [soundfile.read(path)[0] for path in corpus.data]
parts = [part for pair in zip(pause, utterances, strict=False) for part in pair] + [pause[3]]
samples = np.concatenate(parts).astype("float32")
bounds = np.cumsum([len(part) for part in parts]) / rate
samples[4000:4400] += 0.3 * rng.standard_normal(400)  # a knock
first = int(bounds[5] * rate) + 3000
samples[first : first + 11000] += 0.05 * np.sin(np.arange(11000) * 2 * np.pi * 150 / rate)  # a hum
noise = 0.02 * rng.standard_normal(len(samples)).astype("float32")

# %%
# Scores of the U-net are probabilities, those of the energy decibels above the noise floor.
figure, axes = plt.subplots(3, 2, figsize=(11, 6), sharex=True, layout="constrained")
for column, (title, sound) in enumerate({"clean": samples, "noise": samples + noise}.items()):
    frames = MelFilterBank().fit_transform([(rate, sound)])
    seconds = np.arange(len(frames[0])) / 100
    axes[0, column].imshow(
        frames[0].T, origin="lower", aspect="auto", extent=(0, seconds[-1], 0, 80), cmap="magma"
    )
    axes[0, column].set(title=title.capitalize(), ylabel="mel band")
    for axis, method in zip(axes[1:, column], ["unet", "energy"], strict=True):
        detector = VoiceActivityDetector(method).fit(frames)
        axis.plot(seconds, detector.frame_scores(frames)[0], linewidth=1)
        for start, end in zip(bounds[:-1:2], bounds[1::2], strict=True):
            axis.axvspan(start, end, color="tab:green", alpha=0.15, linewidth=0)
        axis.set_ylabel({"unet": "U-net: probability", "energy": "energy: dB"}[method])
for axis in axes[-1]:
    axis.set_xlabel("s (green: somebody speaks)")
plt.show()
