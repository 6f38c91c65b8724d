"""Sentiment intensity as a real number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_consistent_length

from sklearn_speechsent.sentiment._doc import document
from sklearn_speechsent.sentiment.classifier import SpeechSentimentClassifier
from sklearn_speechsent.sentiment.labels import find_levels
from sklearn_speechsent.sentiment.net import SpeechSentimentNet
from sklearn_speechsent.utils.sklearn_compat import check_target


@document
class SpeechSentimentRegressor(RegressorMixin, SpeechSentimentNet):
    """Sentiment intensity of utterances by a residual network trained on absolute error.

    A skorch estimator over :class:`~sklearn_speechsent.nn.SentimentNetwork`: sentiment blocks
    (StExt), optionally on top of speaker blocks (SRExt), a decoder that pools over time and
    frequency, and a linear head.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}
    levels_ : ndarray of shape (n_levels,)
        Only with ``two_headed``: levels of the ordinal head.

    See Also
    --------
    SpeechSentimentClassifier : The same network with an ordinal head.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import SpeechSentimentRegressor
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.normal(size=(n, 8)).astype("float32") for n in (30, 40, 50, 20)]
    >>> net = SpeechSentimentRegressor(max_epochs=2, random_state=0)
    >>> net.fit(utterances, [-1.5, 0.0, 2.0, 1.0]).predict(utterances).shape
    (4,)
    """

    def _heads(self) -> tuple[str, ...]:
        return ("regression", "ordinal") if self.two_headed else ("regression",)

    def _check_y(self, y: Any, n: int) -> NDArray[Any]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = check_target(y, y_numeric=True, estimator=self)
        check_consistent_length(np.empty(n), y)
        return y.astype(np.float64)

    def _learn_levels(self, y: NDArray[Any], levels: Any) -> None:
        if self.two_headed:
            self.levels_ = find_levels(y, levels)

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Intensity of each utterance.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)

        Returns
        -------
        ndarray of shape (n,), float32
            In the unit of ``y``, not clipped; NaN for utterances whose frames are.
        """
        return self._outputs(X)["regression"]

    # skorch gives every net predict_proba; to scikit-learn that would make this a classifier.
    predict_proba = property()

    def as_classifier(self) -> SpeechSentimentClassifier:
        """See a fitted two-headed network from its ordinal side.

        Returns
        -------
        SpeechSentimentClassifier
            Fitted; shares the network with this estimator.

        Raises
        ------
        AttributeError
            If it was not trained with ``two_headed=True``.
        """
        if not self.two_headed:
            raise AttributeError("There is no ordinal head: fit with two_headed=True.")
        return self._face(SpeechSentimentClassifier)
