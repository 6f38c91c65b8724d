"""
What the steps do to a recording
================================

Any part of a Pipeline can be run by itself. Here are the samples, the mel frames, what the detector
leaves of them, the frames without their mean, and the maps of a speaker network.
"""

import soundfile
from matplotlib import pyplot as plt

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerFeatureExtractor,
    VoiceActivityDetector,
)
from sklearn_speechsent.datasets import load_ravdess, make_speech_sentiment

# %%
# A recording of RAVDESS where the data home has it (Livingstone and Russo, 2018), otherwise one of
# a made-up voice.
try:
    path = load_ravdess().data[7]
except FileNotFoundError:
    path = make_speech_sentiment(1, 1, random_state=0).data[0]
samples, rate = soundfile.read(path)

# %%
# Each step takes what the one before it gives: utterances of frames.
frames = MelFilterBank().fit_transform([path])
speech = VoiceActivityDetector().fit_transform(frames)
normalised = SlidingCMN(window=None).fit_transform(speech)
maps = SpeakerFeatureExtractor(n_blocks=3, pooling=None).fit_transform(normalised)
for name, item in {"mfb": frames, "vad": speech, "cmn": normalised, "srext": maps}.items():
    print(f"{name:6}", item[0].shape)

# %%
# A network reads maps, a classifier their statistics: mean and deviation of each channel over time.
figure, axes = plt.subplots(5, 1, figsize=(9, 9), layout="constrained")
axes[0].plot([n / rate for n in range(len(samples))], samples, linewidth=0.4)
axes[0].set(title="Samples", xlim=(0, len(samples) / rate), xlabel="s")
for axis, item, title in zip(
    axes[1:4],
    (frames, speech, normalised),
    ("MelFilterBank: 80 bands, a frame per 10 ms", "VoiceActivityDetector", "SlidingCMN"),
    strict=True,
):
    axis.imshow(item[0].T, origin="lower", aspect="auto", cmap="magma")
    axis.set(title=title, ylabel="mel band")
channels = maps[0][:, :8].transpose(1, 2, 0).reshape(-1, maps[0].shape[0])
axes[4].imshow(channels, origin="lower", aspect="auto", cmap="viridis", vmax=channels.max() * 0.6)
axes[4].set(title="SpeakerFeatureExtractor: 8 of 128 channels", xlabel="column of 40 ms", yticks=[])
plt.show()
