"""Classical features of openSMILE as a step."""

from __future__ import annotations

import importlib.util
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_speechsent.audio import Recording, as_recordings, read

#: Rate (Hz) that recordings are read at.
_RATE = 16000


def lacks_opensmile() -> str:
    """Say why functionals cannot be computed here; empty if they can.

    Returns
    -------
    str
    """
    if importlib.util.find_spec("opensmile") is None:
        return 'opensmile is not installed: pip install "sklearn-speechsent[benchmark]"'
    return ""


class EGeMAPS(TransformerMixin, BaseEstimator):
    """The 88 eGeMAPS functionals of openSMILE, cached per recording.

    Parameters
    ----------
    memory : str, optional
        Folder of the cache.

    References
    ----------
    .. [1] F. Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice
       research and affective computing", IEEE Trans. Affective Computing 7(2), 2016.
    """

    def __init__(self, memory: str | None = None) -> None:
        self.memory = memory

    def fit(self, X: Any, y: Any = None) -> EGeMAPS:
        """Learn nothing."""
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Extract functionals, shape (n, 88)."""
        import opensmile

        smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )
        extract = joblib.Memory(self.memory, verbose=0).cache(
            _functionals, ignore=["recording", "smile"]
        )
        version = opensmile.__version__
        recordings = as_recordings(X)
        return np.stack([extract(r.identity(), version, r, smile) for r in recordings])


def _functionals(
    identity: tuple[Any, ...], version: str, recording: Recording, smile: Any
) -> NDArray[np.float32]:
    """Functionals of one recording; ``identity`` and ``version`` are the key of the cache."""
    # Our own reader, as openSMILE's knows nothing of perturbations.
    return smile.process_signal(read(recording, _RATE), _RATE).to_numpy()[0]
