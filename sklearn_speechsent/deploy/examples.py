"""Generated inputs of a model, whose outputs say whether a bundle computes what was saved."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_speechsent.audio import WaveformPerturbation
from sklearn_speechsent.deploy.errors import BundleError
from sklearn_speechsent.features import MelFilterBank
from sklearn_speechsent.inspection.speakerwise import SpeakerwiseEstimator
from sklearn_speechsent.sentiment.voting import VotingEstimator
from sklearn_speechsent.speaker import SpeakerEmbeddingFusion
from sklearn_speechsent.speech import SpeechEncoder
from sklearn_speechsent.vad import VoiceActivityDetector

#: Inputs, and what generates them.
N_EXAMPLES, SEED = 8, 18
_RATE = 16000
#: Largest difference between outputs, in units of the largest of them or of one: as computed in
#: single precision, and where a part of the model is in half precision or bfloat16.
TOLERANCE, ROUGH_TOLERANCE = 1e-3, 3e-2


def first_step(model: Any) -> Any:
    """Step of a model that sees its input.

    Parameters
    ----------
    model : estimator
        Fitted.

    Returns
    -------
    estimator
    """
    while True:
        if isinstance(model, Pipeline):
            model = next((s for _, s in model.steps if s != "passthrough"), model[-1])
        elif isinstance(model, WaveformPerturbation | SpeakerwiseEstimator):
            model = model.estimator_
        elif isinstance(model, FrozenEstimator):
            model = model.estimator
        elif isinstance(model, VotingEstimator):
            model = model.estimators_[0]
        elif isinstance(model, SpeakerEmbeddingFusion) and model.frames_ is not None:
            model = model.frames_
        else:
            return model


def sample_rate(model: Any) -> int | None:
    """Rate in Hz that a model hears recordings at; None if it takes a table.

    Parameters
    ----------
    model : estimator
        Fitted.

    Returns
    -------
    int or None
    """
    step = first_step(model)
    if isinstance(step, VoiceActivityDetector):
        step = step.frontend_
    if isinstance(step, SpeechEncoder):
        return _RATE
    if isinstance(step, Pipeline):
        return sample_rate(step)
    return int(step.sample_rate) if isinstance(step, MelFilterBank) else None


def example_outputs(model: Any) -> list[list[float | None]]:
    """Outputs of a model for the generated inputs.

    Parameters
    ----------
    model : estimator
        Takes recordings or a table.

    Returns
    -------
    list of list of float or None
        Probabilities, or one intensity, of each input; None for NaN.

    Raises
    ------
    BundleError
        If the model takes neither, gives no numbers, or fails.
    """
    if sample_rate(model) is not None:
        X: Any = [(_RATE, voice) for voice in _voices()]
    else:
        n_features = getattr(first_step(model), "n_features_in_", None)
        if n_features is None or not _takes_tables(first_step(model)):
            raise BundleError(
                f"{type(first_step(model)).__name__}, the first step, takes neither recordings nor "
                "a table: save the whole Pipeline from recordings to sentiment."
            )
        X = _generator().normal(size=(N_EXAMPLES, n_features))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the inputs are unlike any in fit
            predict = getattr(model, "predict_proba", None) or model.predict
            found = np.asarray(predict(X), dtype=np.float64).reshape(N_EXAMPLES, -1)
    except Exception as error:  # whatever a model of parts that do not fit each other raises
        raise BundleError(
            f"The model fails on the {N_EXAMPLES} generated inputs that check it: "
            f"{type(error).__name__}: {error}"
        ) from error
    return [[None if math.isnan(v) else v for v in row] for row in found.tolist()]


def _takes_tables(step: Any) -> bool:
    return step.__module__.startswith(("sklearn.", "sklearn_speechsent.sentiment.")) and not (
        hasattr(step, "frame_shape_")
    )


def check_outputs(found: list[list[float | None]], wanted: Any, tolerance: Any) -> None:
    """Compare outputs with those that a bundle was saved with.

    Parameters
    ----------
    found : list of list of float or None
    wanted : object
        From the manifest.
    tolerance : object
        From the manifest.

    Raises
    ------
    BundleError
        If they differ by more.
    """
    rows = isinstance(wanted, list) and all(isinstance(row, list) for row in wanted)
    if not rows or not isinstance(tolerance, float) or not 0 < tolerance <= ROUGH_TOLERANCE:
        raise BundleError("The manifest has no outputs of examples, or no tolerance of them.")
    numbers = (float, int, type(None))
    if not all(type(value) in numbers for row in wanted for value in row):
        raise BundleError("The manifest has outputs of examples that are not numbers.")
    if [len(row) for row in wanted] != [len(row) for row in found]:
        raise BundleError("The manifest has another number of outputs than the model gives.")
    ours, theirs = (_as_array(rows) for rows in (found, wanted))
    allowed = tolerance * max(1.0, float(np.nanmax(np.abs(theirs), initial=0.0)))
    differs = np.abs(ours - theirs)
    same = (differs <= allowed) | (np.isnan(ours) & np.isnan(theirs))
    if not same.all():
        k = int(np.flatnonzero(~same.all(axis=1))[0])
        raise BundleError(
            f"For generated input {k} the model gives {found[k]} here and gave {wanted[k]} when it "
            f"was saved, and {allowed:.1g} is allowed between them. The bundle was changed, or one "
            "of the versions in its manifest.json computes something else."
        )


def _as_array(rows: list[Any]) -> NDArray[np.float64]:
    return np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)


def _generator() -> np.random.RandomState:
    return np.random.RandomState(SEED)  # whose numbers no version changes


@functools.cache
def _voices() -> list[NDArray[np.float32]]:
    rng = _generator()
    voices = [_voice(rng, 0.8 + 0.1 * k) for k in range(N_EXAMPLES)]
    for voice in voices:  # the next model hears the same
        voice.setflags(write=False)
    return voices


def _voice(rng: np.random.RandomState, seconds: float) -> NDArray[np.float32]:
    """Syllables of a voice: harmonics under moving formants, and a little noise."""
    t = np.arange(round(seconds * _RATE)) / _RATE
    pitch = rng.uniform(100, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(1, 3) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / _RATE
    formants = [
        (centre * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(2, 4) * t + rng.uniform(0, 6))), width)
        for centre, width in ((550.0, 90.0), (1500.0, 130.0), (2600.0, 200.0))
    ]
    voice = np.zeros(len(t))
    for k in range(1, 30):
        gain = sum(1 / (1 + ((k * pitch - centre) / width) ** 2) for centre, width in formants)
        voice += (gain + 0.01) * np.sin(k * phase + rng.uniform(0, 6)) / np.sqrt(k)
    voice *= 0.35 + 0.65 * np.abs(np.sin(np.pi * rng.uniform(3, 5) * t))
    voice *= rng.uniform(0.05, 0.3) / np.abs(voice).max()
    return (voice + 1e-4 * rng.normal(size=len(t))).astype(np.float32)
