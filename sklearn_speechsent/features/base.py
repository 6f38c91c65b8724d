"""The template of the steps that compute utterance by utterance."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.store import FeatureStore, NullStore, StoreError, check_store
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.store.feature_store import Computed
from sklearn_speechsent.store.rows import Rows
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import EstimatorMixin
from sklearn_speechsent.utils.sklearn_compat import check_feature_names, fit_context, wrap_output

#: Types of the parameter ``memory``, for scikit-learn's validation of parameters.
MEMORY_CONSTRAINT = [str, os.PathLike, FeatureStore, joblib.Memory, None]
#: Frames that were computed without a store because it cannot be written to, by identity of their
#: base: the steps behind do without theirs, so that a Pipeline warns once.
_WITHOUT_STORE: WeakValueDictionary[int, Any] = WeakValueDictionary()


def as_table(estimator: Any, table: NDArray[Any], metadata: pd.DataFrame) -> Any:
    """Table in the container that was asked for, of which a DataFrame has the index of X.

    Parameters
    ----------
    estimator : transformer
        With ``set_output``.
    table : ndarray of shape (n, n_columns)
    metadata : DataFrame
        Of what it was made of, which has the index of X.

    Returns
    -------
    ndarray or DataFrame
    """
    return wrap_output("transform", table, metadata, estimator)


class UtteranceTransformer(EstimatorMixin, TransformerMixin, BaseEstimator):
    """Transformer that computes each utterance independently of the others.

    A subclass says what its rows are (:meth:`_rows`, and :meth:`_fit` where more is learned), on
    which settings results depend (:meth:`_settings`), what is computed of a batch of rows
    (:meth:`_function`), and what becomes of the results (:meth:`_finish`). Where they are stored
    is the business of :mod:`sklearn_speechsent.store`.

    ``fit`` finds the store that ``memory`` stands for, in ``_store_``. A copy of a fitted step,
    such as one from a pickle, has none until ``memory`` is set or it is fitted again: a model that
    is put to use leaves no features of new recordings behind.
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
        StoreError
            If nothing can be stored in ``memory``.
        """
        self._begin(X, y)
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
        rows = self._begin(X, y)
        return self._contained(self._transform(rows), rows)

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

        Warns
        -----
        UserWarning
            If ``memory`` cannot be written to; the results are then computed without it.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        base = rows.frames.base if hasattr(rows, "frames") else None
        if _WITHOUT_STORE.get(id(base)) is not base or base is None:
            try:
                return self._contained(self._transform(rows), rows)
            except StoreError as error:
                text = f"This call computes its features without a store: {error.strerror}"
                warnings.warn(text, stacklevel=3)
        # Not an attribute of this step, which other threads may use.
        plain = copy.copy(self)
        plain._store_ = NullStore()
        made = plain._transform(rows)
        if isinstance(made, UtteranceFrames):
            _WITHOUT_STORE[id(made.base)] = made.base
        return self._contained(made, rows)

    def _begin(self, *args: Any) -> Any:
        """Fit; gives the rows of X. That nothing can be stored is an error before the long work."""
        check_store(self.memory).prepare()
        rows = self._fit(*args)
        self._find_store()
        return rows

    def _find_store(self) -> None:
        """Use the store that ``memory`` stands for from here on; copies will have none."""
        self._store_: FeatureStore | NullStore = check_store(self.memory)

    @property
    def _store(self) -> FeatureStore | NullStore:
        """Store in use."""
        return self._store_ if "_store_" in vars(self) else check_store(self.memory)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "memory" and "_store_" in vars(self):
            self._find_store()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "_store_" in state:
            state["_store_"] = NullStore()
        return state

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

    def _contained(self, made: Any, rows: Any) -> Any:
        """Results in the container that was asked for."""
        return made if isinstance(made, UtteranceFrames) else as_table(self, made, rows.metadata())

    def _transform(self, rows: Any) -> Any:
        made, problems = self._compute(rows)
        if made is None or problems:
            raise next(iter(problems.values()))
        return self._finish(made, rows)

    def _compute(self, rows: Rows, **options: Any) -> Computed:
        progress = {"n_jobs": self.n_jobs, "verbose": self.verbose, "label": self._label}
        return self._store.compute(
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


def bin_names(n: int) -> NDArray[np.object_]:
    """Names of mel bins: ``mel00`` and so on.

    Parameters
    ----------
    n : int

    Returns
    -------
    ndarray of str

    Examples
    --------
    >>> bin_names(3)
    array(['mel00', 'mel01', 'mel02'], dtype=object)
    """
    digits = max(2, len(str(n - 1)))
    return np.array([f"mel{number:0{digits}d}" for number in range(n)], dtype=object)


class FramesOutputMixin:
    """Mixin of transformers whose output is :class:`~sklearn_speechsent.UtteranceFrames`.

    Frames are not a table: ``set_output`` is accepted, so that a whole Pipeline can be configured,
    and changes nothing. Feature names are those of the values of a frame.
    """

    n_features_in_: int

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

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the values of a frame.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names that the step before gives; by default ``mel00`` and so on.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        if input_features is None:
            return bin_names(self.n_features_in_)
        return check_feature_names(self, input_features)


class FramesTransformer(FramesOutputMixin, UtteranceTransformer):
    """Transformer from frames, or recordings, to frames."""
