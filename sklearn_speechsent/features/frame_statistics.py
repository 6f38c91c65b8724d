"""Frames as a table, without any network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.features.statistics import pool_statistics
from sklearn_speechsent.utterances import check_frames


class FrameStatistics(TransformerMixin, BaseEstimator):
    """Mean and standard deviation over time of each bin.

    The light route where there are no pre-trained weights.

    Attributes
    ----------
    n_features_in_ : int
        Bins.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent.features.frame_statistics import FrameStatistics
    >>> FrameStatistics().fit_transform([np.array([[1.0, 2.0], [3.0, 2.0]])])
    array([[2., 2., 1., 0.]], dtype=float32)
    """

    def fit(self, X: Any, y: Any = None) -> FrameStatistics:
        """Remember the number of bins; nothing is learned.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        check_frames(self, X, reset=True)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Pool the frames of each utterance.

        Parameters
        ----------
        X : UtteranceFrames or sequence of (n_frames, n_bins)

        Returns
        -------
        ndarray of shape (n, 2 * n_bins), float32
            All means, then all standard deviations.
        """
        check_is_fitted(self)
        return np.stack([pool_statistics(u) for u in check_frames(self, X, reset=False)])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the statistics: ``mean_b0`` … ``std_b79``.

        Parameters
        ----------
        input_features : None
            Ignored: bins have no names.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        bins = range(self.n_features_in_)
        return np.array([f"{name}_b{bin}" for name in ("mean", "std") for bin in bins], object)
