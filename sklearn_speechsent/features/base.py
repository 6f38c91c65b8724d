"""What the transformers of this room share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import joblib
from sklearn.base import BaseEstimator, TransformerMixin
from tqdm.auto import tqdm

from sklearn_speechsent.store import FeatureStore
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin


class FramesTransformer(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers whose output is :class:`~sklearn_speechsent.UtteranceFrames`.

    Frames are no table: ``set_output`` is accepted, so that a whole Pipeline can be configured,
    and changes nothing.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)

    def set_output(self, *, transform: str | None = None) -> FramesTransformer:
        """Accept the request and leave the output as it is.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            Ignored: utterances of unequal length fit into no data frame.

        Returns
        -------
        self
        """
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


#: Largest number of utterances that a thread takes on at a time.
_TASK = 8
#: What ``memory`` may be, for scikit-learn's check of parameters.
MEMORY_CONSTRAINT = [str, os.PathLike, FeatureStore, None]


def map_utterances(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    *,
    n: int,
    n_jobs: int | None,
    verbose: int,
    description: str,
) -> list[Any]:
    """Call a function once per utterance on threads, in order, with a progress bar.

    Parameters
    ----------
    function : callable
    arguments : iterable of tuple
        Positional arguments of each call.
    n : int
        How many there are.
    n_jobs : int or None
    verbose : int
        Whether to show the bar.
    description : str
        Its label.

    Returns
    -------
    list

    Notes
    -----
    Threads, because decoding, resampling and Fourier transforms all release the interpreter lock
    and their results would be costly to send between processes.
    """
    # Handing over each short recording by itself would cost more than it gains.
    size = max(1, min(_TASK, n // (4 * joblib.effective_n_jobs(n_jobs))))
    parallel = joblib.Parallel(
        n_jobs=n_jobs, prefer="threads", return_as="generator", batch_size=size
    )
    results = parallel(joblib.delayed(function)(*item) for item in arguments)
    return list(tqdm(results, total=n, desc=description, unit="utt", disable=not verbose))
