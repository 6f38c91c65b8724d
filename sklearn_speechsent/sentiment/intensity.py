"""Regression of intensities on tables, and what all regressors of intensity have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, clone
from sklearn.metrics import r2_score
from sklearn.svm import SVR

from sklearn_speechsent.metrics.labels import as_labels
from sklearn_speechsent.metrics.votes import mean_votes
from sklearn_speechsent.sentiment.kernel_machine import without_libsvm
from sklearn_speechsent.sentiment.nan_rows import warn_nan
from sklearn_speechsent.sentiment.tables import TableEstimator
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import fit_context

#: Errors up to this, in standard deviations of the labels, cost nothing.
_EPSILON = 0.1
#: Tolerance of the solver in the same unit; that of SVR for labels of deviation one.
_TOLERANCE = 1e-3


def read_intensities(y: Any, levels: Any = None) -> NDArray[np.float64]:
    """Labels of a regressor, of votes the means.

    Parameters
    ----------
    y : array-like of shape (n,), or table of votes
    levels : array-like of shape (n_levels,), optional
        Of the columns of votes, where these have no names.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If a label is not a finite number, or votes cannot be used; the message names the row.

    Examples
    --------
    >>> read_intensities([1, -0.5])
    array([ 1. , -0.5])
    """
    values, _ = as_labels(mean_votes(y, levels), warn=True)
    if values.dtype.kind == "U":
        raise ValueError(
            f"A regressor needs numbers, and y holds text, such as {str(values[0])!r} in row 0. "
            "Convert it (pd.to_numeric), number the levels (series.cat.codes of an ordered "
            'category), or use OrdinalClassifier (target="level"), which takes text.'
        )
    return values.astype(np.float64)


class IntensityMixin(RegressorMixin):
    """First base of every regressor of intensity: its score."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², the coefficient of determination.

        Parameters
        ----------
        X : as in ``predict``
        y : array-like of shape (n,), or table of votes, of which the means count
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If what is predicted for a row is NaN; the message names the rows.
        """
        true = as_labels(mean_votes(y, getattr(self, "levels", None)))[0]
        predicted = as_labels(self.predict(X), "y_pred")[0]
        return float(r2_score(true, predicted, sample_weight=sample_weight))


class IntensityRegressor(IntensityMixin, TableEstimator):
    """Sentiment intensity by a support vector machine.

    The counterpart of :class:`~sklearn_speechsent.OrdinalClassifier` for labels that are real
    numbers, such as means of several ratings.

    Parameters
    ----------
    estimator : regressor, optional
        By default standardised features and a support vector machine with a radial kernel, which
        does not count errors of up to a tenth of the labels' standard deviation.
    C : float, default=5.0
        Inverse strength of regularisation of the default estimator, in standard deviations of the
        labels: another unit of labels is another unit of what is predicted, and nothing else.
    gamma : float, default=0.25
    n_components : int, optional
        Width of the kernel and principal components of the default estimator, and an error next to
        ``estimator``, as ``C`` is: see :class:`~sklearn_speechsent.OrdinalClassifier`.
    on_error : {"raise", "nan"}, default="raise"
        What to do with rows of NaN, see :class:`~sklearn_speechsent.OrdinalClassifier`. What is
        predicted for them is NaN in either case.

    Attributes
    ----------
    estimator_ : regressor
        Fitted clone of ``estimator``. Without one, a Pipeline that ends in the kernel with the rows
        that support it and a weighted sum of it, in NumPy.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, only if ``X`` had string column names.

    See Also
    --------
    OrdinalClassifier : Levels. Where labels are whole numbers, it is the better choice.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import IntensityRegressor
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> model = IntensityRegressor().fit(X, 2 * X.ravel())
    >>> model.predict([[-2.0], [0.0], [1.0]]).round() + 0.0
    array([-4.,  0.,  2.])
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        C: float = 5.0,
        gamma: float = 0.25,
        n_components: int | None = None,
        on_error: str = "raise",
    ) -> None:
        super().__init__(estimator, C=C, gamma=gamma, n_components=n_components, on_error=on_error)

    def _machine(self, gamma: float, y: NDArray[Any]) -> SVR:
        deviation = float(np.std(y)) if np.ptp(y) else 1.0
        # All in the unit of the labels, as the tolerance of the solver is too.
        machine = SVR(
            gamma=gamma,
            C=self.C * deviation,
            epsilon=_EPSILON * deviation,
            tol=_TOLERANCE * deviation,
        )
        # It changes nothing and is not a parameter, but without it, fit would advance NumPy's
        # global generator.
        machine.random_state = 0
        return machine

    @reports_fit()
    # The regressor is checked by its own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any
    ) -> IntensityRegressor:
        """Fit a clone of the estimator.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,), or DataFrame of votes of shape (n, n_levels)
            Finite numbers; or a number or share of votes for each level, which columns are named
            after: their mean is the label.
        sample_weight : array-like of shape (n,), optional
            Passed to the estimator, or to the last step of a Pipeline. Rows of weight zero are left
            out.
        **fit_params : dict
            Passed to ``fit`` of the estimator; through metadata routing if that is enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a label is not a finite number, if rows are NaN and ``on_error="raise"``, if weights
            are negative, all zero or not taken by ``estimator``, or if ``C``, ``gamma`` or
            ``n_components`` is changed next to ``estimator``.
        """
        y = read_intensities(y)
        X, y, fit_params = self._training_data(X, y, sample_weight, fit_params)
        estimator = self._estimator(X, y)
        if self.estimator is None:
            self.estimator_ = without_libsvm(estimator.fit(X, y, **fit_params))
        else:
            self.estimator_ = clone(estimator).fit(X, y, **fit_params)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Intensity of each row.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            In the unit of ``y``, not clipped; NaN for rows of NaN, with a warning if
            ``on_error="raise"``.
        """
        return warn_nan(self._outputs(X, 1, self._intensities).ravel(), self.on_error)

    def _intensities(self, X: Any) -> NDArray[np.float64]:
        return np.asarray(self.estimator_.predict(X), dtype=np.float64).reshape(-1, 1)
