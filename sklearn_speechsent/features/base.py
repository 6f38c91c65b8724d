"""The template of the steps that compute utterance by utterance."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.store import FeatureStore, check_store
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.store.rows import Rows
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin, reports_fit
from sklearn_speechsent.utils.sklearn_compat import fit_context

#: Types of the parameter ``memory``, for scikit-learn's validation of parameters.
MEMORY_CONSTRAINT = [str, os.PathLike, FeatureStore, joblib.Memory, None]


class UtteranceTransformer(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Transformer that computes each utterance independently of the others.

    A subclass says what its rows are (:meth:`_rows`, and :meth:`_fit` where more is learned), on
    which settings results depend (:meth:`_settings`), what is computed of a batch of rows
    (:meth:`_function`), and what becomes of the results (:meth:`_finish`). Where they are stored
    is the business of :mod:`sklearn_speechsent.store`.
    """

    #: Name of the step in a store.
    _step: ClassVar[str]
    #: Label of its progress bar.
    _label: ClassVar[str]
    n_jobs: int | None
    memory: Any
    verbose: int

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Any:
        """Check the input, and load what the step needs.

        Parameters
        ----------
        X : see the class
            What the step takes.
        y : array-like of shape (n,), optional
            Labels; only :class:`~sklearn_speechsent.MelFilterBank` looks at them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the input does not fit the step.
        """
        self._fit(X, y)
        return self

    @reports_fit()
    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Equal to ``fit(X, y).transform(X)``, checking the input once.

        Parameters
        ----------
        X : see the class
            What the step takes.
        y : array-like of shape (n,), optional
            Labels; only :class:`~sklearn_speechsent.MelFilterBank` looks at them.

        Returns
        -------
        UtteranceFrames or ndarray
            What ``transform`` gives.
        """
        return self._transform(self._fit(X, y))

    def transform(self, X: Any) -> Any:
        """Compute the utterances, or read them from ``memory``.

        Parameters
        ----------
        X : see the class
            What the step takes.

        Returns
        -------
        UtteranceFrames or ndarray
            What the step makes of each utterance, in the order of the rows.

        Raises
        ------
        ValueError
            If the input does not fit what ``fit`` saw.
        """
        check_is_fitted(self)
        return self._transform(self._rows(X, reset=False))

    def _fit(self, X: Any, y: Any) -> Any:
        """Learn what there is to learn; gives the rows of X."""
        return self._rows(X, y, reset=True)

    def _rows(self, X: Any, y: Any = None, *, reset: bool) -> Any:
        """Rows of X, once they are of the kind that the step takes; ``reset`` in ``fit``."""
        raise NotImplementedError

    def _settings(self, rows: Any) -> dict[str, Any]:
        """All that results depend on, next to the rows."""
        raise NotImplementedError

    def _function(self, rows: Any) -> Function:
        """What is computed of a batch of rows."""
        raise NotImplementedError

    @property
    def _makes_frames(self) -> bool:
        """Whether results are frames, rather than one row per utterance."""
        return True

    def _lengths(self, rows: Any) -> NDArray[np.int64] | None:
        """Number of frames of each result, where that is known beforehand."""
        return None

    def _finish(self, made: UtteranceFrames, rows: Any) -> Any:
        """Output of the step; what is known of the frames goes with their utterances."""
        frames = rows.frames
        made.frame_settings.update(frames.frame_settings)
        return made.with_embeddings(frames.embeddings).with_metadata(frames.metadata)

    def _transform(self, rows: Any) -> Any:
        made, problems = self._compute(rows)
        if made is None or problems:
            raise next(iter(problems.values()))
        return self._finish(made, rows)

    def _compute(self, rows: Rows, **options: Any) -> Computed:
        progress = {"n_jobs": self.n_jobs, "verbose": self.verbose, "label": self._label}
        return check_store(self.memory).compute(
            self._step,
            self._settings(rows),
            rows,
            self._function(rows),
            frames=self._makes_frames,
            lengths=self._lengths(rows),
            **{**progress, **options},
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class FramesOutputMixin:
    """Mixin of transformers whose output is :class:`~sklearn_speechsent.UtteranceFrames`.

    Frames are not a table: ``set_output`` is accepted, so that a whole Pipeline can be configured,
    and changes nothing.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        kwargs["auto_wrap_output_keys"] = None
        super().__init_subclass__(**kwargs)

    def set_output(self, *, transform: str | None = None) -> Any:
        """Accept the request and leave the output as it is.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            Ignored: utterances of unequal length do not fit into a data frame.

        Returns
        -------
        self
        """
        return self


class FramesTransformer(FramesOutputMixin, UtteranceTransformer):
    """Transformer from frames, or recordings, to frames."""
