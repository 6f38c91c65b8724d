"""Systems under the names that tables show."""

from __future__ import annotations

from typing import Any

from sklearn_speechsent import (
    FeatureStore,
    VoiceActivityDetector,
    WaveformPerturbation,
    make_sentiment_pipeline,
)

#: The speaker network that ships with the package, and the one that it was distilled from.
SHIPPED, WESPEAKER = "speechsent-seresnet", "wespeaker-voxceleb-resnet34"
#: Plainer parameters of small and medium: means and deviations in ten bands of all frames.
PLAIN = {"srext__n_bands": 10, "srext__statistics": ("mean", "std"), "vad": "passthrough"}


def make_system(system: str, **params: Any) -> Any:
    """Pipeline of a system.

    Parameters
    ----------
    system : str
        ``"small"``, ``"medium"``, or a name of the paper.
    **params
        Of `make_sentiment_pipeline`.

    Returns
    -------
    Pipeline
    """
    params = {"weights": SHIPPED if system == "small" else WESPEAKER, **params}
    if system not in ("small", "medium"):
        return make_sentiment_pipeline(system, **params)
    shared = {name: params[name] for name in ("memory", "n_jobs", "verbose") if name in params}
    return make_sentiment_pipeline(**{"vad": VoiceActivityDetector(**shared), **params})


def perturbed(pipeline: Any, random_state: Any) -> WaveformPerturbation:
    """Train a Pipeline also on perturbed copies, and average its predictions over three speeds.

    Parameters
    ----------
    pipeline : Pipeline
    random_state : int

    Returns
    -------
    WaveformPerturbation
    """
    return WaveformPerturbation(pipeline, predict_speeds=(0.9, 1.0, 1.1), random_state=random_state)


def stored_features(store: FeatureStore) -> Any:
    """Table of what a feature store holds, one row per step.

    Parameters
    ----------
    store : FeatureStore

    Returns
    -------
    DataFrame
        Columns ``step, utterances, files, bytes`` among others.
    """
    return store.statistics()
