"""Sentiment level on an ordinal scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sklearn_speechsent.nn import class_probabilities, cumulative_probabilities
from sklearn_speechsent.sentiment._doc import document
from sklearn_speechsent.sentiment.labels import find_levels
from sklearn_speechsent.sentiment.net import SpeechSentimentNet
from sklearn_speechsent.utils.sklearn_compat import check_target

if TYPE_CHECKING:
    from sklearn_speechsent.sentiment.regressor import SpeechSentimentRegressor


@document
class SpeechSentimentClassifier(ClassifierMixin, SpeechSentimentNet):
    """Sentiment level of utterances by a residual network with a rank-consistent ordinal head.

    A skorch estimator over :class:`~sklearn_speechsent.nn.SentimentNetwork`: sentiment blocks
    (StExt), optionally on top of speaker blocks (SRExt), a decoder that pools over time and
    frequency, and an ordinal head, CORAL by default. The predicted level is the number of
    thresholds exceeded with a probability above one half.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}
    classes_ : ndarray of shape (n_levels,)
        Levels in ascending order.

    See Also
    --------
    SpeechSentimentRegressor : The same network with a regression head.
    OrdinalClassifier : Thresholds over any binary classifier.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import SpeechSentimentClassifier
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.normal(size=(n, 8)).astype("float32") for n in (30, 40, 50, 20)]
    >>> net = SpeechSentimentClassifier(max_epochs=2, random_state=0)
    >>> net.fit(utterances, [-1, 0, 2, 0]).predict_proba(utterances).shape
    (4, 3)
    """

    @property
    def classes_(self) -> NDArray[Any]:
        """Levels in ascending order, shape (n_levels,)."""
        return self.levels_

    def _heads(self) -> tuple[str, ...]:
        return ("regression", "ordinal") if self.two_headed else ("ordinal",)

    def _check_y(self, y: Any, n: int) -> NDArray[Any]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        if y.dtype.kind in "fc":
            y = check_target(y, estimator=self)
        check_consistent_length(np.empty(n), y)
        if self.two_headed and y.dtype.kind not in "iufb":
            raise ValueError(f"two_headed=True needs numbers as labels, got dtype {y.dtype}.")
        return y

    def _learn_levels(self, y: NDArray[Any], levels: Any) -> None:
        self.levels_ = find_levels(y, levels)

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each utterance.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)

        Returns
        -------
        ndarray of shape (n,)
            Values of ``classes_``.

        Raises
        ------
        ValueError
            If frames are NaN: no level stands for that. ``predict_proba`` gives NaN.
        """
        above = self._cumulative(X)
        bad = np.isnan(above).any(axis=1)
        if bad.any():
            raise ValueError(
                f"No level can be given for row {np.flatnonzero(bad)[0]}, whose frames are NaN. "
                "Leave such rows out, or use predict_proba."
            )
        return self.levels_[(above > 0.5).sum(axis=1)]

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each level.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)

        Returns
        -------
        ndarray of shape (n, n_levels), float32
            Rows sum to 1; NaN for utterances whose frames are.
        """
        return class_probabilities(torch.from_numpy(self._cumulative(X))).numpy()

    def _cumulative(self, X: Any) -> NDArray[np.float32]:
        """P(level > k) for each threshold, shape (n, n_levels - 1)."""
        logits = torch.from_numpy(self._outputs(X)["ordinal"])
        above = self._network.heads["ordinal"].cumulative(logits)
        if self.prior_correction:
            natural = class_probabilities(above) * torch.from_numpy(self.prior_ratio_).float()
            above = cumulative_probabilities(natural / natural.sum(dim=1, keepdim=True))
        return above.numpy()

    def as_regressor(self) -> SpeechSentimentRegressor:
        """See a fitted two-headed network from its regression side.

        Returns
        -------
        SpeechSentimentRegressor
            Fitted; shares the network with this estimator.

        Raises
        ------
        AttributeError
            If it was not trained with ``two_headed=True``.
        """
        if not self.two_headed:
            raise AttributeError("There is no regression head: fit with two_headed=True.")
        from sklearn_speechsent.sentiment.regressor import SpeechSentimentRegressor

        return self._face(SpeechSentimentRegressor)
