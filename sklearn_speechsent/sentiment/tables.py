"""Common base of the classifier and the regressor of tables."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from sklearn_speechsent.sentiment.nan_rows import rows_to_fit, rows_without_prediction
from sklearn_speechsent.utils.estimators import EstimatorMixin, addressed_weight
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_method_params,
    check_sample_weight,
    routing_enabled,
)

#: Parameters of the default estimator.
_OF_DEFAULT = ("C", "gamma", "n_components")
#: Rows and labels where an estimator is only looked at.
_ANY = np.zeros((1, 1))


class TableEstimator(EstimatorMixin, MetaEstimatorMixin, BaseEstimator):
    """Estimator of tables by clones of another one, by default a support vector machine.

    It leaves rows of NaN and of weight zero out of training, predicts NaN for the former, and
    routes metadata. A subclass says which support vector machine is the default
    (:meth:`_machine`).
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "C": [Interval(Real, 0.0, None, closed="neither")],
        "gamma": [Interval(Real, 0.0, None, closed="neither")],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "on_error": [StrOptions({"raise", "nan"})],
    }

    def __init__(
        self, estimator: Any, *, C: float, gamma: float, n_components: int | None, on_error: str
    ) -> None:
        self.estimator = estimator
        self.C = C
        self.gamma = gamma
        self.n_components = n_components
        self.on_error = on_error

    def _machine(self, gamma: float, y: NDArray[Any]) -> Any:
        """Support vector machine for these labels, whose kernel has this ``gamma``."""
        raise NotImplementedError

    def _estimator(self, X: Any = _ANY, y: Any = _ANY) -> Any:
        """Estimator to clone for these rows and labels."""
        if self.estimator is not None:
            return self.estimator
        machine, scaler = self._machine(self.gamma / X.shape[1], y), StandardScaler()
        if routing_enabled():
            scaler.set_fit_request(sample_weight=False)
            machine.set_fit_request(sample_weight=True)
        if self.n_components is None:
            return make_pipeline(scaler, machine)
        # The seed changes nothing, but without one, fit would advance NumPy's global generator.
        pca = PCA(min(self.n_components, *X.shape), random_state=0)
        return make_pipeline(scaler, pca, machine)

    def _check_estimator(self) -> None:
        """Refuse parameters of the default estimator next to another one."""
        defaults = signature(type(self)).parameters
        changed = [
            f"{name}={getattr(self, name)}"
            for name in _OF_DEFAULT
            if getattr(self, name) != defaults[name].default
        ]
        if self.estimator is not None and changed:
            raise ValueError(
                f"{' and '.join(changed)} would be ignored: C, gamma and n_components belong to "
                f"the default estimator, and estimator={self.estimator!r} was given. Set its own "
                "parameters (estimator__… in set_params and searches), or leave out estimator."
            )

    def _training_data(
        self, X: Any, y: NDArray[Any], sample_weight: Any, fit_params: dict[str, Any]
    ) -> tuple[Any, NDArray[Any], dict[str, Any]]:
        """Rows to train on, their labels, and what else ``fit`` is given for them."""
        self._check_estimator()
        X = self._validate(X)
        check_consistent_length(X, y)
        # One more than in networks: fit checks parameters by a decorator.
        good = rows_to_fit(X, on_error=self.on_error, takes_nan=self._takes_nan(), stacklevel=7)
        if fit_params and routing_enabled():
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
            if not weight[good].any():
                raise ValueError("sample_weight is zero everywhere: there is nothing to train on.")
            good = good & (weight > 0)
            fit_params = {**fit_params, **addressed_weight(self._estimator(), weight)}
        if good.all():
            return X, y, fit_params
        return X[good], y[good], check_method_params(good, fit_params, np.flatnonzero(good))

    def _outputs(
        self, X: Any, n_outputs: int, function: Callable[[Any], NDArray[Any]]
    ) -> NDArray[Any]:
        """Outputs of shape (n, n_outputs) that a function gives for good rows; NaN for others."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        takes_nan = self._takes_nan()
        good = ~rows_without_prediction(X, on_error=self.on_error, takes_nan=takes_nan)
        if good.all():
            return function(X)
        outputs = np.full((len(good), n_outputs), np.nan)
        if good.any():
            outputs[good] = function(X[good])
        return outputs

    def _takes_nan(self) -> bool:
        """Whether the estimator takes NaN among numbers."""
        return bool(get_tags(self).input_tags.allow_nan)

    def _validate(self, X: Any, reset: bool = True) -> Any:
        sparse = "csr" if get_tags(self).input_tags.sparse else False
        return validate_data(
            self, X, reset=reset, accept_sparse=sparse, ensure_all_finite="allow-nan"
        )

    def get_metadata_routing(self) -> MetadataRouter:
        """Route what ``fit`` is given to the estimator.

        Returns
        -------
        MetadataRouter
        """
        router, own = MetadataRouter(owner=self), self._get_metadata_request()
        if self.estimator is not None:
            mapping = MethodMapping().add(caller="fit", callee="fit")
            router.add(estimator=self.estimator, method_mapping=mapping)
            inner = get_routing_for_object(self.estimator)
            if own.fit.requests["sample_weight"] is None and inner.consumes(
                "fit", ["sample_weight"]
            ):
                own.fit.add_request(param="sample_weight", alias=False)
        return router.add_self_request(own)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._estimator())
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags
