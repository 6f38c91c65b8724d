"""Imports from scikit-learn's private modules, all in one place.

These names have been stable for years but are not promised: when a release moves one, this file
changes.
"""

from sklearn.base import _fit_context as fit_context
from sklearn.calibration import _SigmoidCalibration as SigmoidCalibration
from sklearn.ensemble._base import _BaseHeterogeneousEnsemble as BaseHeterogeneousEnsemble
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import _wrap_data_with_container as wrap_output
from sklearn.utils.validation import _check_feature_names_in as check_feature_names
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = [
    "BaseHeterogeneousEnsemble",
    "BaseSearchCV",
    "HasMethods",
    "Interval",
    "Options",
    "SigmoidCalibration",
    "StrOptions",
    "check_feature_names",
    "check_method_params",
    "check_sample_weight",
    "fit_context",
    "routing_enabled",
    "safe_indexing",
    "validate_parameter_constraints",
    "wrap_output",
]
