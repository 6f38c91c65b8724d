"""Metrics, scorers and displays of ordinal sentiment intensity over a fixed set of levels."""

from sklearn_speechsent.metrics.agreement import (
    concordance_correlation_score,
    kendall_score,
    pearson_score,
    spearman_score,
)
from sklearn_speechsent.metrics.annotators import (
    expected_absolute_error,
    krippendorff_alpha_score,
    leave_one_out_agreement,
    vote_share_score,
)
from sklearn_speechsent.metrics.confusion_display import LevelConfusionDisplay
from sklearn_speechsent.metrics.det_display import VerificationDetDisplay
from sklearn_speechsent.metrics.exact import (
    binned_accuracy_score,
    rounded_accuracy_score,
    rounded_f1_score,
)
from sklearn_speechsent.metrics.ordinal import (
    macro_mean_absolute_error,
    quadratic_weighted_kappa_score,
    threshold_accuracy_score,
    within_one_accuracy_score,
)
from sklearn_speechsent.metrics.polarity import (
    nonnegative_accuracy_score,
    nonnegative_f1_score,
    polarity_accuracy_score,
    polarity_f1_score,
    polarity_from_proba,
)
from sklearn_speechsent.metrics.probabilistic import cross_entropy_error, ranked_probability_error
from sklearn_speechsent.metrics.report import ordinal_report
from sklearn_speechsent.metrics.scale import round_to_levels
from sklearn_speechsent.metrics.scorers import get_scorer, get_scorer_names
from sklearn_speechsent.metrics.verification import (
    equal_error_rate,
    make_trials,
    min_detection_cost,
)

__all__ = [
    "LevelConfusionDisplay",
    "VerificationDetDisplay",
    "binned_accuracy_score",
    "concordance_correlation_score",
    "cross_entropy_error",
    "equal_error_rate",
    "expected_absolute_error",
    "get_scorer",
    "get_scorer_names",
    "kendall_score",
    "krippendorff_alpha_score",
    "leave_one_out_agreement",
    "macro_mean_absolute_error",
    "make_trials",
    "min_detection_cost",
    "nonnegative_accuracy_score",
    "nonnegative_f1_score",
    "ordinal_report",
    "pearson_score",
    "polarity_accuracy_score",
    "polarity_f1_score",
    "polarity_from_proba",
    "quadratic_weighted_kappa_score",
    "ranked_probability_error",
    "round_to_levels",
    "rounded_accuracy_score",
    "rounded_f1_score",
    "spearman_score",
    "threshold_accuracy_score",
    "vote_share_score",
    "within_one_accuracy_score",
]
