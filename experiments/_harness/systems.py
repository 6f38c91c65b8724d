"""Weights and parameters of the systems in tables."""

#: The speaker network that ships with the package, and the one that it was distilled from.
SHIPPED, WESPEAKER = "speechsent-seresnet", "wespeaker-voxceleb-resnet34"
#: The speech encoder of large.
WHISPER = "whisper-base"
#: Plainer parameters of small and medium: means and deviations in ten bands of all frames.
PLAIN = {"srext__n_bands": 10, "srext__statistics": ("mean", "std"), "vad": "passthrough"}
