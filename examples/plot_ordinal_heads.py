"""
Heads of a network
==================

The networks learn levels by one of six heads. They differ in what they take for a small mistake:
for cross-entropy all are equal, the others know that -2 lies next to -1.
"""

import numpy as np
from matplotlib import pyplot as plt

from sklearn_speechsent import SpeechSentimentClassifier
from sklearn_speechsent.metrics import ranked_probability_error

# %%
# A toy instead of speech: utterances of 40 frames, whose first value follows the level.
levels = np.arange(-3, 4)
rng = np.random.default_rng(0)


def utterances(n):
    """Frames and levels; near neutral is common, as in speech."""
    y = rng.choice(levels, size=n, p=np.array([1, 2, 4, 8, 4, 2, 1]) / 22)
    frames = rng.standard_normal((n, 40, 8)).astype("float32")
    frames[:, :, 0] += 0.6 * y[:, None] + 0.8 * rng.standard_normal((n, 1))
    return list(frames), y


X, y = utterances(280)
X_test, y_test = utterances(200)

# %%
# The same small network under each head.
heads = {"coral": "CORAL", "corn": "CORN", "clm": "cumulative link", "ce": "cross-entropy"}
figure, axes = plt.subplots(1, 4, figsize=(12, 4.2), sharey=True, layout="constrained")
for axis, (ordinal, name) in zip(axes, heads.items(), strict=True):
    net = SpeechSentimentClassifier(
        ordinal=ordinal,
        levels=levels,
        module__stext=((1, 8),),
        module__hidden_size=16,
        spec_augment=False,
        max_epochs=10,
        lr=0.01,
        random_state=0,
    ).fit(X, y)
    proba = net.predict_proba(X_test)
    error = ranked_probability_error(y_test, proba, levels=levels)
    mean = np.array([proba[y_test == level].mean(axis=0) for level in levels])
    axis.imshow(mean, cmap="Greens", vmin=0, vmax=0.7, origin="lower", extent=(-3.5, 3.5) * 2)
    axis.plot(levels, levels, "k:", linewidth=1)
    axis.set(title=f"{name}\nranked probability error {error:.2f}", xlabel="level said")
axes[0].set(ylabel="true level")
figure.suptitle("Mean probability of each level, for new utterances")
plt.show()
