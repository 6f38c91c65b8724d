"""What the transformers of this room share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import joblib
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_memory
from tqdm.auto import tqdm


class FramesTransformer(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Base of the transformers whose output is :class:`~sklearn_speechsent.UtteranceFrames`.

    Frames are no table: ``set_output`` is accepted, so that a whole Pipeline can be configured,
    and changes nothing.
    """

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


def cached(memory: Any, function: Callable[..., Any], ignore: list[str]) -> Callable[..., Any]:
    """``function`` with its results kept per utterance in ``memory`` (None: not kept).

    joblib.Memory writes each result to a temporary name and renames it, so that processes can
    share a folder, and computes a damaged entry anew.
    """
    return check_memory(memory).cache(function, ignore=ignore)


def map_utterances(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    *,
    n: int,
    n_jobs: int | None,
    verbose: int,
    description: str,
) -> list[Any]:
    """Call ``function`` once per utterance on threads, in order, with a progress bar.

    Threads, because decoding, resampling and Fourier transforms all release the interpreter lock
    and their results would be costly to send between processes.
    """
    parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    results = parallel(joblib.delayed(function)(*item) for item in arguments)
    return list(tqdm(results, total=n, desc=description, unit="utt", disable=not verbose))
