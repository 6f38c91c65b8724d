"""Common base of the estimators that learn from held-out speakers how far another one is right."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.utils import get_tags, indexable
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.inspection.out_of_fold import (
    OutOfFold,
    check_speakers,
    known_levels,
    ordinal_target,
    out_of_fold,
    predicted_values,
    speaker_folds,
)
from sklearn_speechsent.inspection.thresholds import known_rows
from sklearn_speechsent.metrics.exact import level_accuracy
from sklearn_speechsent.metrics.scale import target_labels, target_shares
from sklearn_speechsent.utils.estimators import EstimatorMixin, final_step


class SpeakerwiseEstimator(EstimatorMixin, MetaEstimatorMixin, BaseEstimator):
    """An estimator, fitted on all speakers, and what clones of it say about held-out ones."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cv": ["cv_object"],
        "n_jobs": [int, None],
        "verbose": ["verbose"],
    }
    # What the class is for: nobody should have to ask for it.
    __metadata_request__fit = {"groups": True}

    estimator: Any
    cv: Any
    n_jobs: int | None
    verbose: int
    estimator_: Any
    levels_: NDArray[Any]
    classes_: NDArray[Any]

    def _fit_apart(
        self, X: Any, y: Any, groups: Any, *, keep: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any], OutOfFold]:
        """Fit ``estimator_``; target, speakers, and what is said about them while held out.

        Raises
        ------
        ValueError
            If data do not fit together, a classifier gets one level only, or nothing was said
            about any held-out row.
        """
        (X,) = indexable(X)
        target, scale = ordinal_target(self.estimator, y)
        labels = target_labels(target, scale)
        if is_classifier(self.estimator) and target_shares(target, scale).any(axis=0).sum() < 2:
            raise ValueError(
                f"y has only one class, level {labels[:1].tolist()[0]!r}: nothing can be learned "
                "from one level."
            )
        speakers = check_speakers(labels, groups)
        folds = speaker_folds(self.estimator, self._folds(speakers), X, labels, speakers, scale)
        category = isinstance(getattr(y, "dtype", None), pd.CategoricalDtype)  # which has an order
        if not category and target.ndim == 1:
            y = labels
        found = out_of_fold(
            self.estimator,
            X,
            y,
            speakers,
            folds,
            scale,
            refit=True,
            keep=keep,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )
        if not known_rows(found.values).any():
            raise ValueError("There is no prediction for any held-out row: X holds NaN throughout.")
        self.estimator_ = found.final
        self.levels_ = scale
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)  # of an earlier fit
            if hasattr(found.final, name):
                setattr(self, name, getattr(found.final, name))
        return target, speakers, found

    def _folds(self, speakers: NDArray[Any]) -> Any:
        """Folds, as :func:`cross_val_ordinal` takes them."""
        return self.cv

    def _values(self, X: Any) -> NDArray[np.floating]:
        """Probabilities of ``estimator_`` in ordinal order, or its predictions."""
        check_is_fitted(self, "estimator_")
        return predicted_values(self.estimator_, X, self.levels_)

    def _on_error(self) -> str:
        """What the estimator does with rows that it cannot predict."""
        return getattr(final_step(self.estimator_)[1], "on_error", "nan")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of levels; of a regressor its own score.

        Parameters
        ----------
        X : see ``fit``
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Labels as in ``fit``; real ones count as the nearest level, votes as their median.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float
        """
        if not is_classifier(self):
            return self.estimator_.score(X, y, sample_weight)
        predicted = self.predict(X)
        given = known_levels(self.estimator) is not None
        return level_accuracy(y, predicted, self.levels_, sample_weight, given=given)

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.target_tags.multi_output = False
        tags.input_tags = inner.input_tags
        return tags
