"""Weights and parameters of the systems in tables."""

from sklearn_speechsent.pretrained import has_weights

#: The speaker network that ships with the package, and the one that it was distilled from.
SHIPPED, WESPEAKER = "speechsent-seresnet", "wespeaker-voxceleb-resnet34"
#: The speech encoder of large.
WHISPER = "whisper-base"
#: Plainer parameters of small and medium: means and deviations in ten bands of all frames.
PLAIN = {"srext__n_bands": 10, "srext__statistics": ("mean", "std"), "vad": "passthrough"}


def lacks_weights(*names: str) -> str:
    """Say which pre-trained weights are not in the data home; empty if all are.

    Parameters
    ----------
    *names : str

    Returns
    -------
    str
    """
    missing = [repr(name) for name in names if not has_weights(name)]
    return f"the weights {', '.join(missing)} are not in the data home" if missing else ""
